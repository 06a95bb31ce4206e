//! What can be wrong with a device that is brought new firmware.

use serde::{Deserialize, Serialize};

use crate::sim::fault::Fault;

/// A fault of one device. A [`Fault`] of a node puts it on the node's first drive, module A of its shelf
/// and its service processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceFault {
    /// It takes no command that matters: "not now".
    Busy,
    /// It takes five times as long over everything that it does by itself, and a while over each piece.
    Slow,
    /// It says that the image is not for it.
    WrongImage,
    /// It answers the last piece with a unit attention though it took it; an NVMe drive does not answer it,
    /// once; a service processor forgets the update's task.
    Attention,
    /// It loses power when half of the image is written. Once.
    PowerLoss,
    /// The way to it is gone from half of the image on, until the fault is cleared.
    PathLoss,
    /// It takes ten minutes to come back.
    LongReset,
    /// It says that all went well, and runs what it ran before.
    Unchanged,
    /// The node that writes loses power when half of the image is written. Once.
    NodeLoss,
}

impl DeviceFault {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Busy,
        Self::Slow,
        Self::WrongImage,
        Self::Attention,
        Self::PowerLoss,
        Self::PathLoss,
        Self::LongReset,
        Self::Unchanged,
        Self::NodeLoss,
    ];

    /// The node's fault that puts it on devices.
    pub fn of_node(self) -> Fault {
        match self {
            Self::Busy => Fault::FwBusy,
            Self::Slow => Fault::FwSlow,
            Self::WrongImage => Fault::FwWrongImage,
            Self::Attention => Fault::FwAttention,
            Self::PowerLoss => Fault::FwPowerLoss,
            Self::PathLoss => Fault::FwPathLoss,
            Self::LongReset => Fault::FwLongReset,
            Self::Unchanged => Fault::FwUnchanged,
            Self::NodeLoss => Fault::FwNodeLoss,
        }
    }
}
