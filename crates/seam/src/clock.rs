//! Wall and monotonic time.

use std::time::Duration;

use evenkeel_model::{BootId, Monotonic, WallTime};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Reads both kinds of time. Waiting is `tokio::time`.
pub trait Clock: Send + Sync {
    /// The time to show and to store with events.
    fn wall(&self) -> WallTime;
    /// The time to measure with, bound to this boot of the node.
    fn monotonic(&self) -> Monotonic;
}

/// The machine's clocks. Monotonic time is CLOCK_BOOTTIME: it counts suspended time too.
#[derive(Debug, Clone)]
pub struct SystemClock {
    boot_id: BootId,
}

impl SystemClock {
    /// `boot_id` is what the node's platform says this boot is.
    pub fn new(boot_id: BootId) -> Self {
        Self { boot_id }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn wall(&self) -> WallTime {
        WallTime::new(Timestamp::now())
    }

    fn monotonic(&self) -> Monotonic {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME");
        let since_boot_ms = Duration::from(now).as_millis() as u64;
        Monotonic {
            boot_id: self.boot_id,
            since_boot_ms,
        }
    }
}

/// tokio's clock, which a test may pause and which then jumps to the next timer.
#[derive(Debug, Clone)]
pub struct TokioClock {
    boot_id: BootId,
    origin: tokio::time::Instant,
    epoch: WallTime,
}

impl TokioClock {
    /// Counts from `origin`, which is shown as the wall time `epoch`.
    pub fn new(boot_id: BootId, origin: tokio::time::Instant, epoch: WallTime) -> Self {
        Self {
            boot_id,
            origin,
            epoch,
        }
    }
}

impl Clock for TokioClock {
    fn wall(&self) -> WallTime {
        self.epoch.plus(self.origin.elapsed())
    }

    fn monotonic(&self) -> Monotonic {
        let since_boot_ms = self.origin.elapsed().as_millis() as u64;
        Monotonic {
            boot_id: self.boot_id,
            since_boot_ms,
        }
    }
}
