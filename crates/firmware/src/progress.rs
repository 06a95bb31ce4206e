//! How far a worker is.

use evenkeel_platform::devices::DeviceId;

use crate::journal::Phase;

/// What a worker does now. Pushed as it goes; never recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlashProgress {
    /// The device that is worked on; none before the first.
    pub device: Option<DeviceId>,
    /// What is done to it; none while it is only looked at.
    pub phase: Option<Phase>,
    /// In which attempt.
    pub attempt: u32,
    /// Bytes written, or percent, or what else the phase counts.
    pub done: u64,
    /// Of how many; zero when unknown.
    pub total: u64,
    /// Why it is not gone on with; none while it is.
    pub waits: Option<String>,
}
