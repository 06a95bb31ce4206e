//! Whether a connection is worth keeping: a peer that is gone must not hold one for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_seam::watch;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use crate::package::PackageBytes;
use crate::uplink::{PIECE, Uplink};

/// A member asks every few seconds, over connections that it keeps; one that was silent for this long has
/// other ones, or is gone.
const IDLE: Duration = Duration::from_secs(600);
/// A peer that takes not one piece of a transfer within this time is gone, or as good as gone.
const STALLED: Duration = Duration::from_secs(30);
/// Without a bound on the uplink, bigger pieces cost less.
const UNBOUNDED_PIECE: usize = 256 << 10;

/// Says until when the peer has time for its next move; `None` while the move is ours.
#[derive(Clone)]
pub(crate) struct Activity(Arc<watch::Sender<Option<Instant>>>);

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Some(Instant::now() + IDLE))))
    }

    pub(crate) fn ours(&self) {
        self.0.send_replace(None);
    }

    pub(crate) fn idle(&self) {
        self.0.send_replace(Some(Instant::now() + IDLE));
    }

    fn theirs(&self) {
        self.0.send_replace(Some(Instant::now() + STALLED));
    }

    /// Returns when the peer is overdue.
    pub(crate) async fn overdue(&self) {
        let mut deadlines = self.0.subscribe();
        loop {
            let deadline = *deadlines.borrow_and_update();
            let late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = late => return,
                // This object holds the sender.
                _ = deadlines.changed() => {}
            }
        }
    }
}

/// Ends with the body: then the next move is a request.
struct Sending {
    bytes: PackageBytes,
    rest: Bytes,
    uplink: Arc<Uplink>,
    activity: Activity,
    _room: OwnedSemaphorePermit,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.activity.idle();
    }
}

/// The bytes in pieces, no faster than the uplink may carry them, watched for a peer that takes none.
pub(crate) fn paced(
    bytes: PackageBytes,
    uplink: Arc<Uplink>,
    activity: Activity,
    room: OwnedSemaphorePermit,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let sending = Sending {
        bytes,
        rest: Bytes::new(),
        uplink,
        activity,
        _room: room,
    };
    stream::unfold(sending, |mut sending| async {
        sending.activity.ours();
        while sending.rest.is_empty() {
            match sending.bytes.next().await? {
                Ok(bytes) => sending.rest = bytes,
                Err(error) => return Some((Err(error), sending)),
            }
        }
        let most = match sending.uplink.is_bounded() {
            true => PIECE,
            false => UNBOUNDED_PIECE,
        };
        let piece = sending.rest.split_to(sending.rest.len().min(most));
        sending.uplink.pass(piece.len()).await;
        sending.activity.theirs();
        Some((Ok(piece), sending))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_overdue_only_when_the_move_is_its_own() {
        let activity = Activity::new();
        activity.ours();
        let patience = Duration::from_secs(3600);
        let waited = tokio::time::timeout(patience, activity.overdue()).await;
        assert!(waited.is_err(), "our own slowness is not the peer's");
        activity.theirs();
        let before = Instant::now();
        activity.overdue().await;
        assert_eq!(before.elapsed(), STALLED);
        activity.idle();
        let before = Instant::now();
        activity.overdue().await;
        assert_eq!(before.elapsed(), IDLE);
    }
}
