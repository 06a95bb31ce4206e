//! A sign of life: a loop counts its turns, and whoever watches sees whether the count still moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The turns of a loop. Clones are the same count.
///
/// It holds no time: how long a loop has not turned is measured by whoever watches, so that a loop costs one addition
/// and reads no clock.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The loop goes on. Called so often that there is a bound on what it waits for in between.
    pub fn beat(&self) {
        // Nothing else is told by it, so it orders nothing.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has turned so far.
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_the_same_count() {
        let (pulse, watched) = (Pulse::default(), Pulse::default());
        let seen = pulse.clone();
        pulse.beat();
        pulse.beat();
        assert_eq!((seen.beats(), watched.beats()), (2, 0));
    }
}
