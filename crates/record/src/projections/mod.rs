//! What people and the REST API see, as pure functions over a [`View`](crate::View).
//!
//! **What is not computed is omitted, never invented.** Wall times are shown, never compared: elapsed times
//! are what the clocks say, and zero when a clock went backwards.

mod cluster;
mod download;
mod durations;
mod estimates;
mod firmware;
mod history;
mod job;
mod package;
mod phases;
mod sites;
mod software;
mod tasks;

use std::time::Duration;

use evenkeel_model::WallTime;

pub use cluster::{
    Away, ClusterRow, LeftRow, NodeRow, OperationRow, cluster, left_behind, nodes, open_operations,
};
pub use download::{DownloadRow, DownloadState, download};
pub use estimates::{EstimateRow, estimates};
pub use firmware::{FirmwareRow, FirmwareState, WorkerRow, WorkerRowState, firmware};
pub use history::{HistoryRow, HistoryState, history};
pub use job::{JobRow, JobState, job, jobs};
pub use package::{PackageRow, package, packages};
pub use phases::{PhaseRow, phases};
pub use sites::{SiteRow, SitesRow};
pub use software::{Software, SoftwareNode, UpdateState, cluster_version, software, update_state};
pub use tasks::{Issue, TaskRow, tasks};

/// When, and in which measure, things are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Elapsed times run until here.
    pub now: WallTime,
    /// How long a minute of plans and estimates takes: 60 s but in a lab.
    pub minute: Duration,
}

impl At {
    /// Now, with ordinary minutes.
    pub fn new(now: WallTime) -> Self {
        Self {
            now,
            minute: Duration::from_secs(60),
        }
    }

    /// The same with a lab's minute.
    #[must_use]
    pub fn with_minute(self, minute: Duration) -> Self {
        Self { minute, ..self }
    }

    /// An estimate in seconds of ordinary minutes, as it is to be expected here.
    pub(crate) fn expected(self, estimate_s: u32) -> Duration {
        self.minute * estimate_s / 60
    }

    /// From `start` to `end`, or until now.
    pub(crate) fn elapsed(self, start: WallTime, end: Option<WallTime>) -> Duration {
        end.unwrap_or(self.now).shown_since(start)
    }
}
