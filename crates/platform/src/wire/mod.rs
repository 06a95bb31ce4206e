//! The platform traits as lines of JSON: what a process says that has the machine, or keeps a simulated one, and whoever asks it.
//!
//! [`Command`] and [`Reply`] are the vocabulary, [`Port`] the platform of whoever asks, over any [`Transport`] that carries them.

mod command;
mod device;
mod device_port;
mod port;

pub use command::{Command, Reply};
pub use device::{DeviceCall, DeviceReply};
pub use port::{Port, Transport};

/// Longest line: a service processor's image, as text. Nothing else comes near it.
pub const MAX_LINE_BYTES: u64 = 1 << 27;
