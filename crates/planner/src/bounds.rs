//! How long anything may take.

use std::time::Duration;

use evenkeel_model::Action;

/// What scales time. A lab minute can be made short: it scales stabilize, boot and gate times, never
/// the bounds on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// Length of a minute of stabilize, boot and gate times.
    pub minute: Duration,
    /// Attempts of a task before the update pauses, counted since a person last intervened.
    pub attempts: u32,
    /// How long a node that should carry a task out may be silent.
    pub silence: Duration,
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            minute: Duration::from_secs(60),
            attempts: 3,
            silence: Duration::from_secs(120),
        }
    }
}

impl Tunables {
    /// `n` minutes.
    pub fn minutes(&self, n: u32) -> Duration {
        self.minute * n
    }

    /// Longest time without progress of a task, by what it does. The floors are for what a short lab
    /// minute does not make faster: processes, disks, the network.
    pub fn no_progress(&self, action: &Action) -> Duration {
        let floor = Duration::from_secs(60);
        match action {
            Action::Install { .. } => Duration::from_secs(600),
            Action::Activate { .. } | Action::Deactivate | Action::MarkGood => {
                Duration::from_secs(120)
            }
            Action::Takeover | Action::Giveback => self.minutes(15).max(floor),
            // BIOS and loader flashes make a first boot long; the partner serves meanwhile.
            Action::AwaitBoot { .. } => self.minutes(45).max(floor),
            Action::Stabilize { minutes, .. } => {
                self.minutes(*minutes) + self.minutes(15).max(floor)
            }
            Action::VerifyHome { .. } | Action::Reboot => self.minutes(15).max(floor),
            Action::Gate { gates } => self.minutes(gates.longest_minutes).max(floor),
            // Its agent gives it up in time, after the run that is under way.
            Action::GateScript { longest_minutes } => self.minutes(*longest_minutes) + floor,
            // Workers have bounds of their own, the longest of 15 minutes; they are never cut in the middle.
            Action::Firmware { .. } => Duration::from_secs(30 * 60),
        }
    }

    /// How long a node that carries such a task out may be silent. One that is lost in the middle of writing
    /// firmware goes on when it is back, so it is waited for.
    pub fn silence_of(&self, action: &Action) -> Duration {
        match action {
            Action::Firmware { .. } => self.silence.max(self.no_progress(action)),
            Action::Install { .. }
            | Action::Activate { .. }
            | Action::Deactivate
            | Action::Takeover
            | Action::AwaitBoot { .. }
            | Action::Stabilize { .. }
            | Action::Giveback
            | Action::VerifyHome { .. }
            | Action::MarkGood
            | Action::Gate { .. }
            | Action::GateScript { .. }
            | Action::Reboot => self.silence,
        }
    }

    /// How long a validation waits for nodes that do not answer: a daemon that is started again is back
    /// by then, and what is silent still is a finding.
    pub fn answer(&self) -> Duration {
        Duration::from_secs(15)
    }

    /// How long the update waits for a pair to become fit for its next takeover.
    pub fn gate(&self) -> Duration {
        self.minutes(30).max(Duration::from_secs(60))
    }

    /// From a try that failed in passing to the next: what passes by itself takes some seconds.
    pub fn another_try(&self) -> Duration {
        self.minute / 6
    }

    /// How long post-update checks may take to come clean.
    pub fn settle(&self) -> Duration {
        self.minutes(5).max(Duration::from_secs(10))
    }

    /// How long a package on its way to the nodes may stand still; they go on pulling it after that.
    pub fn carry(&self) -> Duration {
        Duration::from_secs(600)
    }

    /// How long a package that did not come to a node for the `nth` time in a row is not synchronized to it:
    /// 5, 10, 20, 40, then 60 minutes. A short lab minute leaves others at least some seconds.
    pub fn sync_again(&self, nth: u32) -> Duration {
        let minutes = (5 << nth.saturating_sub(1).min(4)).min(60);
        self.minutes(minutes).max(Duration::from_secs(20))
    }

    /// How long nothing must have been open before packages that nothing needs are collected: freeing their
    /// space just before a package comes in makes the disk slow when it is needed.
    pub fn collect_after(&self) -> Duration {
        self.minutes(60)
    }
}
