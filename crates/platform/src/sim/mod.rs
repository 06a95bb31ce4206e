//! Simulated hardware. [`Hardware`] is one pure state machine for a whole cluster: no clock, no I/O.
//!
//! It is used twice, with the same behaviour: in one process under virtual time ([`Machine`] and its
//! [`InProcess`] platforms), and by the lab supervisor, which keeps it for real `evenkeeld` processes
//! that speak to it through a Unix socket ([`Client`]).
//!
//! What a slot holds is decided by its files. The keeper of the hardware tells it what it read there
//! ([`Hardware::set_image`]): the lab supervisor from the slot's folder, a simulation from whatever
//! stands for one.

mod abstract_time;
mod boot;
mod check;
mod client;
mod command;
mod devices;
mod fault;
mod ha;
mod hardware;
mod machine;
mod observe;
mod readiness;
mod short_path;

pub use abstract_time::Due;
pub use check::{Cause, Incident, LogEntry, Refused, Window, WindowKind};
pub use client::{Client, Socket};
pub use command::{Effect, Request, Response};
pub use devices::{DeviceFault, Harm, ImageKind, UnknownDevice, firmware_image, newer_firmware};
pub use fault::{Fault, NoSuchFault};
pub use hardware::{Hardware, HardwareSettings, PowerState, SLOW_LINK_MS, UnknownNode};
pub use machine::{InProcess, Local, Machine, Store};
pub use short_path::ShortPath;
