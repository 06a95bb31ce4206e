//! How fast this node may send packages, all transfers together.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Bytes that are weighed at once: small, so that transfers share fairly and none waits long for another.
pub(crate) const PIECE: usize = 64 << 10;
/// What was not sent in time may be made up for within this: timers are late by a millisecond or two.
const SLACK: Duration = Duration::from_millis(50);

/// A bound on bytes per second. Those who wait are served in turn, so each transfer gets the same share.
#[derive(Debug)]
pub(crate) struct Uplink {
    bytes_per_second: Option<NonZeroU64>,
    /// From when on the next piece may go. The lock is held while waiting for that: it is the queue.
    next: Mutex<Instant>,
}

impl Uplink {
    /// `None`: no bound.
    pub(crate) fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self {
            bytes_per_second,
            next: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.bytes_per_second.is_some()
    }

    /// Waits until so many bytes may be sent.
    pub(crate) async fn pass(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else {
            return;
        };
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        let earliest = Instant::now().checked_sub(SLACK).unwrap_or(*next);
        let nanos = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(rate.get()));
        *next =
            (*next).max(earliest) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn uplink(rate: u64) -> Arc<Uplink> {
        Arc::new(Uplink::new(NonZeroU64::new(rate)))
    }

    async fn send(uplink: Arc<Uplink>, bytes: usize) -> Duration {
        let before = Instant::now();
        for _ in 0..bytes / PIECE {
            uplink.pass(PIECE).await;
        }
        before.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_takes_its_time() {
        let took = send(uplink(1 << 20), 10 << 20).await;
        let seconds = took.as_secs_f64();
        assert!((9.8..10.1).contains(&seconds), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn transfers_share_the_bound_and_each_gets_its_part() {
        let uplink = uplink(4 << 20);
        let all = [4 << 20, 4 << 20, 8 << 20].map(|bytes| send(Arc::clone(&uplink), bytes));
        let [a, b, c] = <[Duration; 3]>::try_from(futures_util::future::join_all(all).await)
            .expect("three were started");
        // Three share until the short ones are through; then the long one has all of it.
        assert!(
            a.as_secs_f64() > 2.8 && b.as_secs_f64() > 2.8,
            "{a:?} {b:?}"
        );
        assert!((3.8..4.2).contains(&c.as_secs_f64()), "{c:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_rest_allows_no_burst() {
        let uplink = uplink(1 << 20);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(send(uplink, 4 << 20).await.as_secs_f64() > 3.8);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nothing_waits() {
        let uplink = Arc::new(Uplink::new(None));
        assert_eq!(send(uplink, 100 << 20).await, Duration::ZERO);
    }
}
