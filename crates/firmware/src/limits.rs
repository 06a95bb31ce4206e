//! Bounds of a worker.

use std::time::Duration;

/// How long a worker waits, and how often it tries. No bound is on the time in all: what moves may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From one look to the next while something is awaited.
    pub poll: Duration,
    /// How long a device that is written to may make no progress.
    pub no_progress: Duration,
    /// How long a device may stay away when it starts anew. Service processors are known to take ten minutes.
    pub restart: Duration,
    /// How long a device that is back may still name the revision from before: some answer from a cache at first.
    pub settle: Duration,
    /// How long a group, or the paths to a shelf, may make no progress on their way back.
    pub recovery: Duration,
    /// How often one attempt begins to write anew because the device lost what it had.
    pub restarts: u32,
    /// How often a disk or a shelf's module is tried.
    pub attempts: u32,
    /// How often a service processor is tried by itself. Whoever starts it by hand tries once.
    pub processor_attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            no_progress: Duration::from_secs(120),
            restart: Duration::from_secs(12 * 60),
            settle: Duration::from_secs(30),
            recovery: Duration::from_secs(15 * 60),
            restarts: 3,
            attempts: 2,
            processor_attempts: 3,
        }
    }
}
