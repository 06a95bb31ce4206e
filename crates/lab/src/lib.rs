//! The lab: a whole cluster of real `evenkeeld` processes on one machine, with simulated hardware.
//!
//! [`up`] is the supervisor: the SP and boot loader of every node, keeper of the hardware
//! (`platform::sim`), and service manager of the daemons. [`LabCommand`] is `evenkeel lab …`,
//! [`Control`] speaks to a supervisor that runs, [`Probe`] reads through the LIFs and keeps the gaps.
//!
//! Invariants: the lab needs no root and no other program; LIFs are served by a process per node that
//! ends with the node's power, never with its `evenkeeld`; whatever is in a slot's folder is what the
//! slot holds; nothing that the lab started outlives it.

mod addresses;
mod certs;
mod command;
mod control;
mod durable;
mod lab_json;
mod layout;
mod lif;
mod lines;
mod lock;
mod minute;
mod prepare;
mod probe;
mod process;
mod ready;
mod serve;
mod settings;
mod slot_image;
mod status;
mod supervisor;

pub use command::{FaultArgs, LabCommand, OfLab, OfNode, Up, fault_table};
pub use control::{Control, ControlRequest, ControlResponse};
pub use evenkeel_platform::sim::{Fault, Incident, LogEntry, PowerState, Window, WindowKind};
pub use lab_json::{LAB_SCHEMA, LabFile, LabNode};
pub use layout::{Layout, NodeLayout};
pub use minute::parse_duration;
pub use prepare::{FirstImage, Tools};
pub use probe::{During, Gap, Probe, ProbeReport};
pub use settings::{MAX_NODES, PLATFORM};
pub use slot_image::DAEMON_IN_IMAGE;
pub use status::{LabStatus, NodeStatus};
pub use supervisor::{UpOptions, up};
