//! Tells systemd that the daemon makes progress, for as long as it does. One that hangs is ended and started anew, which is
//! safe at any instant.
//!
//! [`feed`] is a task of the runtime that does the daemon's work, so that it is woken at all proves that the timers run and
//! that tasks are taken up. Then it looks whether the loops go on that everything hangs on. Whatever they wait for has a
//! bound, also where nobody answers: a record, a machine or a peer that is out of reach is no hang.
//!
//! **Invariants.** No thread of its own feeds the watchdog: it would go on when the runtime does not. The coordinator's
//! loop is not watched, since trouble in coordinating must never take the agent down.

use std::time::Duration;

use evenkeel_seam::Pulse;
use sd_notify::NotifyState;
use tokio::time::{Instant, sleep};

use crate::log;
use crate::notify::notify;

/// So often within systemd's bound it is told: a busy machine may make it late.
const TIMES: u32 = 4;
/// Between two looks at least, whatever bound is set.
const SHORTEST: Duration = Duration::from_millis(10);

/// The agent's guard looks (5 s), acts (30 s) and settles consents (15 s); the rest is for a disk that is slow to commit.
const AGENT_BOUND: Duration = Duration::from_secs(120);
/// One answer of the record takes 20 s at most, or is what could be read by then; the rest is for the mirror's disk.
const FOLLOWER_BOUND: Duration = Duration::from_secs(120);

/// A loop that must go on.
pub(crate) struct Watched {
    what: &'static str,
    pulse: Pulse,
    /// Longer than whatever it may wait for between two beats.
    bound: Duration,
    seen: Seen,
}

impl Watched {
    /// The agent's guard.
    pub(crate) fn agent(pulse: Pulse) -> Self {
        Self::new("the agent's guard", pulse, AGENT_BOUND)
    }

    /// Whoever follows the record.
    pub(crate) fn follower(pulse: Pulse) -> Self {
        Self::new("the follower of the record", pulse, FOLLOWER_BOUND)
    }

    fn new(what: &'static str, pulse: Pulse, bound: Duration) -> Self {
        let seen = Seen {
            beats: pulse.beats(),
            still: Duration::ZERO,
        };
        Self {
            what,
            pulse,
            bound,
            seen,
        }
    }

    /// Looks again, `passed` after the look before.
    fn look(&mut self, passed: Duration) -> Verdict {
        self.seen = self.seen.then(self.pulse.beats(), passed);
        judge(self.seen, self.bound)
    }
}

/// What is known of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Its beats at the newest look.
    beats: u64,
    /// For how long no look has found more of them.
    still: Duration,
}

impl Seen {
    /// What a look makes of it that is `passed` later.
    fn then(self, beats: u64, passed: Duration) -> Self {
        let still = match beats == self.beats {
            true => self.still.saturating_add(passed),
            false => Duration::ZERO,
        };
        Self { beats, still }
    }
}

/// What a loop is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It goes on, or waits for something bounded.
    GoesOn,
    /// Nothing that it may wait for takes so long.
    Hangs {
        /// For how long it has not gone on.
        still: Duration,
    },
}

fn judge(seen: Seen, bound: Duration) -> Verdict {
    match seen.still > bound {
        true => Verdict::Hangs { still: seen.still },
        false => Verdict::GoesOn,
    }
}

/// How much of the time between two looks counts against the loops. While the runtime, the process or the whole machine stood
/// still, no loop could go on: that is not the loop's doing, and systemd has its own bound for it.
fn counted(elapsed: Duration, every: Duration) -> Duration {
    elapsed.min(every * 2)
}

/// Feeds systemd's watchdog while the loops go on. Without a watchdog on this process it returns at once.
pub(crate) async fn feed(mut loops: Vec<Watched>) {
    let Some(within) = sd_notify::watchdog_enabled() else {
        return;
    };
    let every = (within / TIMES).max(SHORTEST);
    let mut looked = Instant::now();
    loop {
        let elapsed = looked.elapsed();
        looked = Instant::now();
        if elapsed > every * 2 {
            tracing::warn!(?elapsed, ?within, "the daemon stood still; it goes on");
        }
        if all_go_on(&mut loops, counted(elapsed, every)) {
            notify(&[NotifyState::Watchdog]);
        }
        sleep(every).await;
    }
}

/// Looks at each of them. Names those that hang: the log is all that is left of a daemon that is ended for it.
fn all_go_on(loops: &mut [Watched], passed: Duration) -> bool {
    let mut all = true;
    for watched in loops {
        let (what, bound) = (watched.what, watched.bound);
        if let Verdict::Hangs { still } = watched.look(passed) {
            tracing::error!(
                target: log::HANGS,
                what,
                ?still,
                ?bound,
                "it hangs: systemd ends this daemon unless it goes on"
            );
            all = false;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(looks: &[(u64, Duration)]) -> Seen {
        let first = Seen {
            beats: 0,
            still: Duration::ZERO,
        };
        let look = |seen: Seen, (beats, passed): &(u64, Duration)| seen.then(*beats, *passed);
        looks.iter().fold(first, look)
    }

    #[test]
    fn a_loop_that_goes_on_is_never_taken_for_one_that_hangs() {
        // However seldom it beats, as long as it does within its bound.
        let looks: Vec<_> = (0..100).map(|n| (n / 4 + 1, SECOND)).collect();
        for seen in (1..looks.len()).map(|n| after(&looks[..n])) {
            assert_eq!(judge(seen, 3 * SECOND), Verdict::GoesOn, "{seen:?}");
        }
        // A count that wraps is another count.
        let wrapped = after(&[(u64::MAX, SECOND), (0, SECOND)]);
        assert_eq!(wrapped.still, Duration::ZERO);
    }

    #[test]
    fn one_that_stands_still_hangs_once_its_bound_is_over_and_not_before() {
        let still = after(&[(7, SECOND), (7, SECOND), (7, 2 * SECOND)]);
        assert_eq!(judge(still, 3 * SECOND), Verdict::GoesOn);
        let longer = still.then(7, Duration::from_millis(1));
        let hangs = Verdict::Hangs {
            still: Duration::from_millis(3001),
        };
        assert_eq!(judge(longer, 3 * SECOND), hangs);
        assert_eq!(judge(longer.then(8, SECOND), 3 * SECOND), Verdict::GoesOn);
    }

    #[test]
    fn time_in_which_nothing_ran_is_not_held_against_a_loop() {
        assert_eq!(counted(SECOND, SECOND), SECOND);
        assert_eq!(counted(1000 * SECOND, SECOND), 2 * SECOND);
    }

    #[test]
    fn one_loop_that_hangs_is_enough() {
        let (agent, follower) = (Pulse::default(), Pulse::default());
        let mut loops = [
            Watched::agent(agent.clone()),
            Watched::follower(follower.clone()),
        ];
        let mut looks = 0;
        while all_go_on(&mut loops, 10 * SECOND) {
            agent.beat();
            looks += 1;
        }
        assert_eq!(looks, FOLLOWER_BOUND.as_secs() / 10);
        follower.beat();
        agent.beat();
        assert!(all_go_on(&mut loops, 10 * SECOND));
    }
}
