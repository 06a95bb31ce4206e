//! Time since a command began.

use std::time::Duration;

use evenkeel_model::{BootId, Monotonic};
use evenkeel_seam::{Clock, SystemClock};

/// Measures from its making on.
pub(crate) struct Stopwatch {
    clock: SystemClock,
    start: Monotonic,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        // Times are compared within this process only, so any boot will do.
        let boot = "00000000-0000-0000-0000-000000000000".parse::<BootId>();
        let clock = SystemClock::new(boot.expect("a UUID"));
        let start = clock.monotonic();
        Self { clock, start }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        let now = self.clock.monotonic();
        now.since(self.start)
            .expect("both times are of the same boot")
    }
}
