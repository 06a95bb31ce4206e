//! NVMe: admin commands, as the kernel's passthrough carries them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::scsi::ScsiData;
use crate::traits::PlatformError;

/// Opcodes of admin commands (NVM Express Base Specification 2.0).
pub mod admin {
    /// Get Log Page.
    pub const GET_LOG_PAGE: u8 = 0x02;
    /// Identify.
    pub const IDENTIFY: u8 = 0x06;
    /// Firmware Commit.
    pub const FIRMWARE_COMMIT: u8 = 0x10;
    /// Firmware Image Download.
    pub const FIRMWARE_DOWNLOAD: u8 = 0x11;
}

/// One admin command: the fields of its 64 bytes that a caller sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvmeCommand {
    /// Which ([`admin`]).
    pub opcode: u8,
    /// The namespace; zero for the controller.
    pub namespace: u32,
    /// Command dwords 10 to 15.
    pub dwords: [u32; 6],
    /// What goes with it, and which way.
    pub data: ScsiData,
    /// How long the controller may take, in milliseconds.
    pub timeout_ms: u32,
}

/// How a controller completed a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvmeCompletion {
    /// Status code type and status code, as in `0x107`; the bits for *more* and *do not retry* are taken
    /// off. Zero is success.
    pub status: u16,
    /// Dword 0 of the completion.
    pub result: u32,
    /// Data from the controller.
    #[serde(with = "super::bytes")]
    pub data: Vec<u8>,
}

/// How far a reset goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NvmeReset {
    /// Of the controller (CC.EN).
    Controller,
    /// Of the whole subsystem (NSSR): of a dual-ported drive both nodes lose their path for a while.
    Subsystem,
    /// A conventional reset of the PCI function.
    Conventional,
}

/// An NVMe controller's admin queue.
#[async_trait]
pub trait NvmeAdmin: Send + Sync {
    /// Carries one command. A completion is `Ok`, whatever it says.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] when no completion came back: whether the command was carried out
    /// is not known.
    async fn submit(&self, command: &NvmeCommand) -> Result<NvmeCompletion, PlatformError>;
    /// Begins a reset; the controller answers again when it is over.
    async fn reset(&self, reset: NvmeReset) -> Result<(), PlatformError>;
}
