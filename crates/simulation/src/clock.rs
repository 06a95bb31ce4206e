//! A node's clock, whose wall time may be wrong and may jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use evenkeel_model::{Monotonic, WallTime};
use evenkeel_seam::{Clock, TokioClock};
use jiff::SignedDuration;

/// By how many seconds a node's wall clock is off. It outlives the node's daemon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skew(Arc<AtomicI64>);

impl Skew {
    /// The clock jumps, forward or back.
    pub(crate) fn jump(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

/// Virtual time as a node shows it. What it measures is always right.
pub(crate) struct SkewedClock {
    pub(crate) right: TokioClock,
    pub(crate) skew: Skew,
}

impl Clock for SkewedClock {
    fn wall(&self) -> WallTime {
        let off = SignedDuration::from_secs(self.skew.0.load(Ordering::Relaxed));
        let right = self.right.wall();
        let shown = right.timestamp().saturating_add(off);
        shown.map_or(right, WallTime::new)
    }

    fn monotonic(&self) -> Monotonic {
        self.right.monotonic()
    }
}
