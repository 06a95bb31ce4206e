//! Bytes under way from the sender to the verification, bounded by their number and not only by how many
//! pieces they come in.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;
use evenkeel_model::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most bytes under way: what the network brings while the disk is busy for a moment.
const UNDER_WAY_BYTES: usize = 8 << 20;

/// Bytes, and the room that they take until they are dropped.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// If the caller has computed it.
    pub(crate) digest: Option<Digest>,
    _room: Option<OwnedSemaphorePermit>,
}

/// The room of one staging.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(UNDER_WAY_BYTES)))
    }

    /// Waits until there is room. One piece that is bigger than all of it passes alone.
    pub(crate) async fn take(&self, bytes: Bytes, digest: Option<Digest>) -> Piece {
        let weight = u32::try_from(bytes.len().min(UNDER_WAY_BYTES));
        let weight = weight.expect("the room is a few megabytes");
        let room = self.0.clone().acquire_many_owned(weight).await;
        Piece {
            bytes,
            digest,
            // It is never closed.
            _room: room.ok(),
        }
    }
}

/// Waits for a future on a thread that has nothing else to do; not for async code.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_wait_for_room_and_one_that_is_too_big_passes_alone() {
        let room = Room::new();
        let big = wait(room.take(vec![0; 2 * UNDER_WAY_BYTES].into(), None));
        let waiting = room.clone();
        let next = thread::spawn(move || wait(waiting.take(vec![0; 1].into(), None)));
        assert_eq!(room.0.available_permits(), 0);
        assert!(!next.is_finished());
        drop(big);
        drop(next.join().unwrap());
        assert_eq!(room.0.available_permits(), UNDER_WAY_BYTES);
    }
}
