//! What the two sides of the record share: who this node is, and whether it sits.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_model::{BootId, Monotonic, NodeName, WallTime};
use evenkeel_seam::{Clock, watch};

use super::known::Known;
use super::peer::{RecordPeer, StandIn};
use crate::record::Survival;
use crate::sqlite::SqliteRecord;

/// A partner whose daemon runs asks for news at least three times in this.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// Where the record's file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountRule {
    /// On a filesystem that is not the root's: where the pool is not mounted, nothing is opened or made.
    Mounted,
    /// Anywhere: for tests, and for labs whose pool is a folder.
    Anywhere,
}

/// What a record on the pair's pool is made of.
#[derive(Clone)]
pub struct PoolOptions {
    /// This node.
    pub node: NodeName,
    /// The other node of the pair.
    pub partner: NodeName,
    /// The file, on the pool.
    pub path: PathBuf,
    /// The seat file; its lock is beside it ([`lock_path`](super::lock_path)).
    pub seat: PathBuf,
    /// Where this node remembers which record it knows: a file of its own, not on the pool.
    pub memory: PathBuf,
    /// Where the file may be.
    pub mount: MountRule,
    /// Measures leases while this node sits, and how long the partner has been silent.
    pub clock: Arc<dyn Clock>,
    /// The boot of this machine.
    pub machine_boot: BootId,
    /// What the HA engine says of the nodes; none: it is not asked.
    pub stand_in: Option<Arc<dyn StandIn>>,
}

/// Whether this node sits.
pub(super) enum State {
    /// It does not.
    Stands {
        /// Why, for people.
        why: String,
        /// Since when: shown, never compared.
        since: WallTime,
    },
    /// It has the file open.
    Sits {
        /// The open file.
        record: Arc<SqliteRecord>,
    },
}

/// Shared by the loop that follows the seat, by this node's own calls, and by the partner's.
pub(super) struct Pool {
    pub(super) options: PoolOptions,
    pub(super) peer: Arc<dyn RecordPeer>,
    pub(super) known: Arc<Known>,
    /// Rings for this node's readers.
    pub(super) bell: watch::Sender<u64>,
    /// Whether it sits, for those who wait for a change of it.
    pub(super) sits: watch::Sender<bool>,
    state: Mutex<State>,
    /// Whether this node has the file open, or is about to, or has not closed it yet.
    pub(super) holds: Arc<AtomicBool>,
    /// When the partner was last heard to ask, or to answer.
    heard: Mutex<Option<Monotonic>>,
    /// When it last answered as the one who sits.
    served: Mutex<Option<Monotonic>>,
}

impl Pool {
    pub(super) fn new(options: PoolOptions, peer: Arc<dyn RecordPeer>) -> Self {
        let state = State::Stands {
            why: NO_SEAT.to_owned(),
            since: options.clock.wall(),
        };
        Self {
            known: Arc::new(Known::new(options.memory.clone())),
            options,
            peer,
            bell: watch::Sender::new(0),
            sits: watch::Sender::new(false),
            state: Mutex::new(state),
            holds: Arc::default(),
            heard: Mutex::default(),
            served: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file, if this node sits; otherwise why not, and since when.
    pub(super) fn seated(&self) -> Result<Arc<SqliteRecord>, String> {
        match &*self.lock() {
            State::Sits { record } => Ok(Arc::clone(record)),
            State::Stands { why, since } => Err(format!(
                "{} does not hold the record since {since}: {why}",
                self.options.node
            )),
        }
    }

    /// This node sits from now on.
    pub(super) fn sit(&self, record: Arc<SqliteRecord>) {
        *self.lock() = State::Sits { record };
        self.sits.send_replace(true);
        self.ring();
    }

    /// This node does not sit, for this reason. Says so in the log when it is news.
    pub(super) fn stand(&self, now: &str) {
        let mut state = self.lock();
        let since = match &*state {
            State::Stands { why, .. } if why == now => return,
            State::Stands { since, .. } => *since,
            State::Sits { .. } => self.options.clock.wall(),
        };
        tracing::info!(
            why = now,
            "this node does not hold the record on the pair's pool: {now}"
        );
        let why = now.to_owned();
        *state = State::Stands { why, since };
        drop(state);
        if self.sits.send_replace(false) {
            self.ring();
        }
    }

    /// There may be something to read.
    pub(super) fn ring(&self) {
        self.bell.send_modify(|rings| *rings += 1);
    }

    /// The partner's daemon runs and is reached: it asked, or answered.
    pub(super) fn hear(&self) {
        self.note(&self.heard);
    }

    /// The partner answered as the one who sits.
    pub(super) fn hear_holder(&self) {
        self.note(&self.served);
    }

    fn note(&self, when: &Mutex<Option<Monotonic>>) {
        let now = self.options.clock.monotonic();
        *when.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn lately(&self, when: &Mutex<Option<Monotonic>>) -> bool {
        let when = *when.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.options.clock.monotonic();
        let ago = when.and_then(|when| now.since(when));
        ago.is_some_and(|ago| ago <= HEARD_WITHIN)
    }

    /// Whether the record can be written with `down` out of service: who is left of the pair has it open or can take it.
    pub(super) fn survives_without(&self, down: &[NodeName]) -> Survival {
        let PoolOptions { node, partner, .. } = &self.options;
        match (down.contains(node), down.contains(partner)) {
            (true, true) => lost(format!(
                "the record is on the pool of {node} and {partner}, and nobody else can mount it"
            )),
            (false, false) => Survival::Survives,
            (false, true) => match self.seated() {
                Ok(_) => Survival::Survives,
                Err(_) => self.can_take(node),
            },
            (true, false) if !self.lately(&self.heard) => lost(format!(
                "{partner} would have to hold the record, and its daemon has not been heard of for {} s",
                HEARD_WITHIN.as_secs()
            )),
            (true, false) if self.lately(&self.served) && self.seated().is_err() => {
                Survival::Survives
            }
            (true, false) => self.can_take(partner),
        }
    }

    fn can_take(&self, node: &NodeName) -> Survival {
        let asked = self.options.stand_in.as_ref();
        match asked.map(|engine| engine.can_take(node)) {
            Some(Err(why)) => lost(format!("{node} cannot take the record's pool: {why}")),
            Some(Ok(())) | None => Survival::Survives,
        }
    }
}

/// While there is no seat file.
pub(super) const NO_SEAT: &str = "the HA engine has not given it the pool";

fn lost(why: String) -> Survival {
    Survival::Lost { why }
}
