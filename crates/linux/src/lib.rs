//! The backend `linux`: a real controller, run by engines that people trust there already.
//!
//! [`Linux`] is one node's platform, put together from parts that know nothing of each other. They reach the machine through
//! [`Host`] alone: files below a root, and programs that are run with a bound. What programs print is read where it is made
//! for machines (XML, JSON), never where it is meant for people.

mod block;
mod host;
mod look;
mod machine;
mod mounts;
mod once;
mod pacemaker;
mod power;
mod program;
pub mod slots;

pub mod devices;
pub mod inventory;
pub mod storage;

pub use host::Host;
pub use machine::{Linux, LinuxParts, pacemaker};
pub use pacemaker::{CleanReboot, Keeper, Pacemaker};
pub use power::LinuxPower;
pub use program::{Call, Finished, Programs, SystemPrograms};
