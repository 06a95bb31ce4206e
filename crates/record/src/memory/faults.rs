//! What may go wrong between a node and the record, by seed or by script.

use std::collections::VecDeque;
use std::time::Duration;

/// The faults of one client. The default has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryFaults {
    /// Nothing gets through. An append whose answer is under way when this begins is `Unknown`.
    pub partitioned: bool,
    /// Of 1000 appends, how many end `Unknown`; half of those are applied.
    pub unknown_per_mille: u16,
    /// Of 1000 calls, how many find the record unavailable.
    pub unavailable_per_mille: u16,
    /// Of 1000 rings of the doorbell, how many are lost.
    pub lost_doorbell_per_mille: u16,
    /// The request and the answer each take up to this long.
    pub max_delay: Duration,
}

/// A scripted outcome of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAppend {
    /// Applied, but the caller learns `Unknown`.
    UnknownApplied,
    /// Not applied, and the caller learns `Unknown`.
    UnknownNotApplied,
    /// Not applied: `Unavailable`.
    Unavailable,
}

/// Faults with the randomness that draws them.
#[derive(Debug)]
pub(super) struct FaultState {
    pub(super) faults: MemoryFaults,
    pub(super) script: VecDeque<NextAppend>,
    random: u64,
}

impl FaultState {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            faults: MemoryFaults::default(),
            script: VecDeque::new(),
            random: seed,
        }
    }

    /// SplitMix64: small, and the same on every machine.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&mut self, per_mille: u16) -> bool {
        // No draw for a fault that is switched off, so that switching one on leaves the others' luck alone.
        per_mille > 0 && self.draw() % 1000 < u64::from(per_mille)
    }

    pub(super) fn delay(&mut self) -> Duration {
        match u64::try_from(self.faults.max_delay.as_micros()).unwrap_or(u64::MAX) {
            0 => Duration::ZERO,
            max => Duration::from_micros(self.draw() % max.saturating_add(1)),
        }
    }

    pub(super) fn finds_it_unavailable(&mut self) -> bool {
        self.faults.partitioned || self.happens(self.faults.unavailable_per_mille)
    }

    pub(super) fn loses_ring(&mut self) -> bool {
        self.faults.partitioned || self.happens(self.faults.lost_doorbell_per_mille)
    }

    /// What becomes of the next append, if not the ordinary.
    pub(super) fn next_append(&mut self) -> Option<NextAppend> {
        if let Some(scripted) = self.script.pop_front() {
            return Some(scripted);
        }
        if !self.happens(self.faults.unknown_per_mille) {
            return None;
        }
        match self.draw() % 2 {
            0 => Some(NextAppend::UnknownApplied),
            _odd => Some(NextAppend::UnknownNotApplied),
        }
    }
}
