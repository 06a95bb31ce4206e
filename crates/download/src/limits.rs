//! Bounds, and the measure of a sender that is too slow.

use std::fmt;
use std::time::Duration;

/// Bounds on a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time to reach a server, and for each of its answers.
    pub answer: Duration,
    /// A sender that is silent longer has gone.
    pub stall: Duration,
    /// Fewest bytes per second, on average over [`window`](Self::window). 0 allows any rate.
    pub floor: u64,
    /// Over how much waiting the rate is measured.
    pub window: Duration,
    /// Tries in a row that bring nothing new.
    pub tries: u32,
    /// Pause after the first of them; doubled after each further one.
    pub backoff: Duration,
    /// Longest pause.
    pub max_backoff: Duration,
    /// Redirects that are followed.
    pub redirects: usize,
    /// A try that brought fewer bytes than this brought nothing.
    pub progress: u64,
}

impl Default for Limits {
    /// 30 s for an answer, as servers ask others first; 60 s of silence, above any retransmission; 1 KiB/s over five
    /// minutes, below any line worth waiting for; ten tries with pauses up to 30 s, three minutes in all,
    /// above a server's restart.
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            floor: 1024,
            window: Duration::from_secs(300),
            tries: 10,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            redirects: 5,
            progress: 64 << 10,
        }
    }
}

impl Limits {
    pub(crate) fn pause(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(16);
        (self.backoff * (1 << doublings)).min(self.max_backoff)
    }
}

/// How a sender was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooSlow {
    /// No byte.
    Silent(Duration),
    /// Fewer than the floor.
    Below {
        /// Bytes that came.
        bytes: u64,
        /// In which time of waiting.
        within: Duration,
    },
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => write!(f, "no byte in {} s", time.as_secs()),
            Self::Below { bytes, within } => {
                write!(f, "{bytes} bytes in {} s", within.as_secs())
            }
        }
    }
}

/// Measures a sender by the time that was spent waiting for it: a receiver that is busy does not count.
#[derive(Debug)]
pub struct Pace {
    floor: u64,
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Nothing measured yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            floor: limits.floor,
            window: limits.window,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// So many bytes came after so long a wait.
    pub fn came(&mut self, bytes: u64, waited: Duration) -> Result<(), TooSlow> {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < self.window {
            return Ok(());
        }
        let (bytes, within) = (self.bytes, self.waited);
        (self.bytes, self.waited) = (0, Duration::ZERO);
        let least = u128::from(self.floor) * within.as_millis() / 1000;
        match u128::from(bytes) < least {
            true => Err(TooSlow::Below { bytes, within }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_time_below_the_floor_is_too_slow() {
        let limits = Limits {
            floor: 10,
            window: Duration::from_secs(10),
            ..Limits::default()
        };
        let mut pace = Pace::new(&limits);
        for _ in 0..9 {
            assert_eq!(pace.came(0, Duration::from_secs(1)), Ok(()));
        }
        assert_eq!(pace.came(100, Duration::from_secs(1)), Ok(()), "on average");
        assert_eq!(pace.came(50, Duration::from_secs(9)), Ok(()));
        let slow = pace.came(40, Duration::from_secs(1)).unwrap_err();
        assert_eq!(slow.to_string(), "90 bytes in 10 s");
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let limits = Limits::default();
        let seconds: Vec<u64> = (1..8).map(|n| limits.pause(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
    }
}
