//! Waiting, bounded by the lack of progress.

use std::time::Duration;

use tokio::time::Instant;

/// Waits for as long as what is seen keeps changing.
pub(super) struct Patience<S> {
    seen: Option<S>,
    since: Instant,
    bound: Duration,
}

impl<S: PartialEq> Patience<S> {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            seen: None,
            since: Instant::now(),
            bound,
        }
    }

    /// Sleeps for `pause`, unless `seen` has not changed for the bound.
    pub(super) async fn wait(&mut self, seen: S, pause: Duration) -> Result<(), Duration> {
        if self.seen.as_ref() != Some(&seen) {
            self.seen = Some(seen);
            self.since = Instant::now();
        }
        if self.since.elapsed() >= self.bound {
            return Err(self.bound);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
