//! SCSI: command descriptor blocks, as `SG_IO` carries them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::traits::PlatformError;

/// Operation codes: byte 0 of a command descriptor block (SPC-5, SBC-4).
pub mod opcode {
    /// TEST UNIT READY.
    pub const TEST_UNIT_READY: u8 = 0x00;
    /// INQUIRY.
    pub const INQUIRY: u8 = 0x12;
    /// RECEIVE DIAGNOSTIC RESULTS.
    pub const RECEIVE_DIAGNOSTIC: u8 = 0x1c;
    /// SEND DIAGNOSTIC.
    pub const SEND_DIAGNOSTIC: u8 = 0x1d;
    /// READ (10).
    pub const READ_10: u8 = 0x28;
    /// WRITE BUFFER.
    pub const WRITE_BUFFER: u8 = 0x3b;
}

/// Status bytes (SAM-6).
pub mod status {
    /// The command was carried out.
    pub const GOOD: u8 = 0x00;
    /// The sense data say what is the matter.
    pub const CHECK_CONDITION: u8 = 0x02;
    /// Not now: nothing was done.
    pub const BUSY: u8 = 0x08;
    /// Not now, too many commands: nothing was done.
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// One command to a SCSI device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScsiCommand {
    /// The command descriptor block.
    #[serde(with = "super::bytes")]
    pub cdb: Vec<u8>,
    /// What goes with it, and which way.
    pub data: ScsiData,
    /// How long the device may take, in milliseconds. Activating microcode may take minutes.
    pub timeout_ms: u32,
}

/// The data phase of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScsiData {
    /// None.
    None,
    /// To the device.
    Out(#[serde(with = "super::bytes")] Vec<u8>),
    /// From the device, at most so many bytes.
    In(u32),
}

/// What a SCSI device answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScsiReply {
    /// The status byte ([`status`]).
    pub status: u8,
    /// Sense data; empty unless the status is CHECK CONDITION.
    #[serde(with = "super::bytes")]
    pub sense: Vec<u8>,
    /// Data from the device.
    #[serde(with = "super::bytes")]
    pub data: Vec<u8>,
}

/// A device that takes SCSI commands: a drive, or the process of an enclosure.
#[async_trait]
pub trait ScsiDevice: Send + Sync {
    /// Carries one command. An answer of the device is `Ok`, whatever it says.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] when the command did not get through, or no answer came back in
    /// time: whether it was carried out is not known.
    async fn execute(&self, command: &ScsiCommand) -> Result<ScsiReply, PlatformError>;
}
