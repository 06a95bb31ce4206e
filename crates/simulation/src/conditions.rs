//! What is wrong with one node's surroundings: its disk, its ways to the record and to its
//! own machine. The faults of the simulated hardware are the hardware's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_agent::{Commit, Disk, DiskFault};

use crate::dice::Dice;

/// How a node's disk behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskState {
    /// Nothing can be written.
    pub full: bool,
    /// Of 1000 calls, how many fail. Half of the commits that do are durable all the same.
    pub errors_per_mille: u16,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    disk: DiskState,
    act_lag: Duration,
    append_lag: Duration,
}

/// Shared by everything of one node; outlives its daemons.
#[derive(Debug)]
pub(crate) struct Conditions(Mutex<State>);

impl Conditions {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            dice: Dice::new(seed),
            disk: DiskState::default(),
            act_lag: Duration::ZERO,
            append_lag: Duration::ZERO,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_disk(&self, disk: DiskState) {
        self.lock().disk = disk;
    }

    /// How long an act takes to reach the machine, beyond what it always takes.
    pub(crate) fn act_lag(&self) -> Duration {
        self.lock().act_lag
    }

    pub(crate) fn set_act_lag(&self, lag: Duration) {
        self.lock().act_lag = lag;
    }

    /// How long an append is on its way before it reaches the record, whatever becomes of who sent it.
    pub(crate) fn append_lag(&self) -> Duration {
        self.lock().append_lag
    }

    pub(crate) fn set_append_lag(&self, lag: Duration) {
        self.lock().append_lag = lag;
    }

    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.disk = DiskState::default();
        (state.act_lag, state.append_lag) = (Duration::ZERO, Duration::ZERO);
    }
}

impl State {
    fn fails(&mut self) -> bool {
        let per_mille = u64::from(self.disk.errors_per_mille);
        per_mille > 0 && self.dice.roll(1000) < per_mille
    }
}

impl Disk for Conditions {
    fn read(&self) -> Result<(), DiskFault> {
        match self.lock().fails() {
            true => Err(DiskFault::Io),
            false => Ok(()),
        }
    }

    fn begin(&self) -> Result<(), DiskFault> {
        let mut state = self.lock();
        match (state.disk.full, state.fails()) {
            (true, _) => Err(DiskFault::Full),
            (false, true) => Err(DiskFault::Io),
            (false, false) => Ok(()),
        }
    }

    fn commit(&self) -> Commit {
        let mut state = self.lock();
        match state.fails() {
            false => Commit::Done,
            true if state.dice.roll(2) == 0 => Commit::Lost(DiskFault::Io),
            true => Commit::Unheard(DiskFault::Io),
        }
    }
}
