//! Work on threads, which nothing can cut: it is told that nobody waits for it any more, and ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells work on a thread to stop when this is dropped, with whoever waits for it.
pub(crate) struct CancelOnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
