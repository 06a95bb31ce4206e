//! Two kinds of time: one to show, one to measure.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::BootId;

/// A wall-clock time: shown to people, stored with events, **never compared**. Clocks jump.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(Timestamp);

impl WallTime {
    /// Wraps a timestamp read by `evenkeel-seam`.
    pub fn new(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }

    /// Seconds since 1970. Saturates at the end of time.
    pub fn from_unix_seconds(seconds: u64) -> Self {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        Self(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
    }

    /// Whole seconds with a numeric offset, `2018-05-21T09:53:04+00:00`: the form that every client
    /// of the REST API reads.
    pub fn to_api(self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
    }

    /// Seconds since the epoch, for showing ages. Not for timeouts.
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// This time plus `duration`, for showing a deadline. Saturates at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration).unwrap_or(Timestamp::MAX))
    }

    /// The last multiple of `step` that is not after this time, counted from 1970. What is shown of two times
    /// with the same floor is the same.
    #[must_use]
    pub fn floor(self, step: Duration) -> Self {
        let step = i128::try_from(step.as_nanos()).unwrap_or(i128::MAX).max(1);
        let nanoseconds = self.0.as_nanosecond();
        let floor = nanoseconds - nanoseconds.rem_euclid(step);
        Self(Timestamp::from_nanosecond(floor).unwrap_or(Timestamp::MIN))
    }

    /// Shown duration since `earlier`; zero when the clock went backwards. Not for timeouts.
    pub fn shown_since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or(Duration::ZERO)
    }

    /// The timestamp itself, for formatting at the edge.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point on a clock that only goes forward while the machine is up: time since the boot `boot_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monotonic {
    /// The boot that this clock counts from. Times of different boots cannot be compared.
    pub boot_id: BootId,
    /// Time since that boot, in milliseconds.
    pub since_boot_ms: u64,
}

impl Monotonic {
    /// Time since `earlier`, or `None` when continuity is unproven: another boot.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        (self.boot_id == earlier.boot_id).then(|| {
            Duration::from_millis(self.since_boot_ms.saturating_sub(earlier.since_boot_ms))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_within_a_step_have_one_floor() {
        let time = |milliseconds| WallTime(Timestamp::from_millisecond(milliseconds).unwrap());
        let floor = |milliseconds| time(milliseconds).floor(Duration::from_millis(100));
        assert_eq!(floor(1_200), time(1_200));
        assert_eq!(floor(1_299), time(1_200));
        assert_eq!(floor(-1), time(-100));
        assert_eq!(time(5).floor(Duration::ZERO), time(5));
        let least = WallTime(Timestamp::MIN);
        assert_eq!(least.floor(Duration::MAX), least);
    }
}
