//! Waiting for what others must do, for as long as something changes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks: groups catch up in minutes.
const PAUSE: Duration = Duration::from_secs(5);

/// How long nothing has changed.
pub(super) struct Patience<S> {
    bound: Duration,
    seen: Option<S>,
    since: Instant,
}

impl<S: PartialEq> Patience<S> {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            seen: None,
            since: Instant::now(),
        }
    }

    /// Waits a little. False when what is seen has been the same for too long.
    pub(super) async fn goes_on(&mut self, seen: S) -> bool {
        if self.seen.as_ref() != Some(&seen) {
            (self.seen, self.since) = (Some(seen), Instant::now());
        }
        if self.since.elapsed() >= self.bound {
            return false;
        }
        sleep(PAUSE).await;
        true
    }

    /// Something was done: waiting begins anew.
    pub(super) fn renew(&mut self) {
        self.seen = None;
    }
}
