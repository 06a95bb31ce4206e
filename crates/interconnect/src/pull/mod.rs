//! Gets packages from other nodes into the store, and serves what the store has or is receiving.
//!
//! Every chunk is compared with the chunk list before it is written or sent on; the list is compared with
//! the archive's digest in the catalogue; and the store verifies the whole, whoever it came from. A source
//! that dies, stalls, is much slower than others get it, or sends what is not the catalogue's is left for
//! another one, and the transfer goes on from the byte it was at, also after a restart.

mod hop;
mod inlet;
mod judge;
mod list;
mod run;
mod source;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_model::{
    Digest, NodeName, PackagesStatus, TransferSource, Trouble, code, error_chain,
};
use evenkeel_package_store::{FirmwareError, FirmwareStageError, Policy, StageError, Store};

use crate::package::PackageClient;
pub use source::StoreSource;

/// What a package holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A system image.
    Software,
    /// Firmware of devices. It is small: what breaks off comes anew, and nothing is sent on before it is whole.
    Firmware,
}

/// What is to be pulled, and from where it can come.
#[derive(Clone, Debug)]
pub struct PullOrder {
    /// Manifest digest of the package.
    pub package: Digest,
    /// What it holds.
    pub content: Content,
    /// Digest of its archive, as the catalogue has it.
    pub archive: Digest,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// The node that took it in.
    pub origin: NodeName,
    /// The cluster's members, in the order that every node has them in.
    pub members: Vec<NodeName>,
    /// What this node demands of a package.
    pub policy: Policy,
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub struct PullBounds {
    /// A source that gives nothing, or little, for this long is asked how far it is itself.
    pub look: Duration,
    /// A source that has nothing more to give, because it waits itself, is left after this.
    pub patience: Duration,
    /// Predecessors that have not begun to receive are waited for this long, all together.
    pub begin: Duration,
    /// Between two looks at it.
    pub poll: Duration,
    /// An answer that needs no disk comes within this.
    pub ask: Duration,
    /// Between two rounds through all sources.
    pub pause: Duration,
    /// Rounds without one byte more after which a pull is given up, to be begun anew later.
    pub rounds: u32,
}

impl Default for PullBounds {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            // Two nodes may hear of a package a second or so apart.
            begin: Duration::from_secs(3),
            poll: Duration::from_millis(50),
            ask: Duration::from_secs(3),
            pause: Duration::from_millis(500),
            rounds: 3,
        }
    }
}

/// Why a package was not pulled. What is on disk of it stays, except where it was refused or did not fit.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The store does not take it.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The firmware is refused.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// Every other member answers, and none has it.
    #[error("no node holds package {package}: upload it again")]
    NobodyHolds {
        /// The package.
        package: Digest,
    },
    /// Nobody gives it now.
    #[error("package {package} cannot be had: {}", why.join("; "))]
    NoSource {
        /// The package.
        package: Digest,
        /// What each source said last.
        why: Vec<String>,
    },
}

impl From<FirmwareStageError> for PullError {
    fn from(error: FirmwareStageError) -> Self {
        match error {
            FirmwareStageError::Refused(refused) => Self::Firmware(refused),
            FirmwareStageError::Stage(error) => Self::Stage(error),
        }
    }
}

impl PullError {
    /// The API's code for it.
    pub fn code(&self) -> u32 {
        match self {
            Self::Stage(StageError::NoSpace { .. }) => code::NO_SPACE,
            Self::Firmware(_)
            | Self::Stage(StageError::Refused(_) | StageError::TooLarge { .. }) => {
                code::PROCESSING_FAILED
            }
            Self::Stage(StageError::VersionExists { .. }) => code::PACKAGE_EXISTS,
            Self::Stage(
                StageError::BadId { .. }
                | StageError::Busy { .. }
                | StageError::NothingKept { .. }
                | StageError::Io { .. }
                | StageError::Aborted
                | StageError::Ended,
            )
            | Self::NobodyHolds { .. }
            | Self::NoSource { .. } => code::GET_FAILED,
        }
    }

    /// Whether the same package would fail again.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Firmware(FirmwareError::Read(_)) => false,
            Self::Firmware(_) => true,
            Self::Stage(
                StageError::Refused(_)
                | StageError::TooLarge { .. }
                | StageError::VersionExists { .. },
            ) => true,
            Self::Stage(
                StageError::NoSpace { .. }
                | StageError::BadId { .. }
                | StageError::Busy { .. }
                | StageError::NothingKept { .. }
                | StageError::Io { .. }
                | StageError::Aborted
                | StageError::Ended,
            )
            | Self::NobodyHolds { .. }
            | Self::NoSource { .. } => false,
        }
    }
}

/// Pulls packages into a store, one at a time: the disk gains nothing from more.
pub struct Puller {
    node: NodeName,
    store: Store,
    peers: Arc<dyn PackageClient>,
    bounds: PullBounds,
    one: tokio::sync::Mutex<()>,
    current: Mutex<Option<Current>>,
    trouble: Mutex<BTreeMap<Digest, Trouble>>,
}

/// What others may ask about the pull under way.
struct Current {
    package: Digest,
    archive: Digest,
    /// Whole from the beginning, unlike the archive.
    list: Bytes,
    from: Option<NodeName>,
}

impl Puller {
    /// A puller of `node`.
    pub fn new(
        node: NodeName,
        store: Store,
        peers: Arc<dyn PackageClient>,
        bounds: PullBounds,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            store,
            peers,
            bounds,
            one: tokio::sync::Mutex::default(),
            current: Mutex::default(),
            trouble: Mutex::default(),
        })
    }

    /// Gets a package, unless it is here. Returns when it is proven and durable, or when for some time
    /// nobody gave one byte more. What is here of it when this is dropped is gone on with by the next call.
    pub async fn pull(&self, order: &PullOrder) -> Result<(), PullError> {
        let _one = self.one.lock().await;
        let _over = Over(self);
        let result = match self.holds(order) {
            true => Ok(()),
            false => run::run(self, order).await,
        };
        let mut troubles = self.troubles();
        match &result {
            Ok(()) => troubles.remove(&order.package),
            Err(error) => troubles.insert(
                order.package,
                Trouble {
                    code: error.code(),
                    message: error_chain(error),
                },
            ),
        };
        result
    }

    fn holds(&self, order: &PullOrder) -> bool {
        match order.content {
            Content::Software => self.store.get(order.package).is_some(),
            Content::Firmware => self.store.get_firmware(order.package).is_some(),
        }
    }

    /// Whom else the package could come from: asked of everybody, bounded.
    pub async fn holders(&self, order: &PullOrder) -> Vec<NodeName> {
        let others = order.members.iter().filter(|member| **member != self.node);
        let asked = others.map(|member| async move {
            let status = self.ask(member).await.ok()?;
            status.held.contains(&order.package).then(|| member.clone())
        });
        let answers = futures_util::future::join_all(asked).await;
        answers.into_iter().flatten().collect()
    }

    /// Nothing more is said of trouble with packages that are not among these.
    pub fn forget_trouble_except(&self, wanted: impl Fn(Digest) -> bool) {
        self.troubles().retain(|package, _| wanted(*package));
    }

    /// What this node says of its packages.
    pub fn status(&self) -> PackagesStatus {
        let held = self.store.list();
        let mut transfers = self.store.transfers();
        if let Some(current) = &*self.current() {
            let pulls = transfers.iter_mut();
            for pull in pulls.filter(|pull| pull.package == Some(current.package)) {
                if let TransferSource::Pull { from } = &mut pull.source {
                    from.clone_from(&current.from);
                }
            }
        }
        let firmware = self.store.firmware().into_iter();
        let held = held.iter().map(|stored| stored.manifest_digest);
        let held: Vec<_> = held.chain(firmware.map(|stored| stored.digest)).collect();
        // What could not be pulled may have come another way.
        let mut trouble = self.troubles().clone();
        trouble.retain(|package, _| !held.contains(package));
        PackagesStatus {
            held,
            transfers,
            room: self.store.room_bytes().ok(),
            trouble,
            // The configuration says so, which is not known here.
            accepts_unsigned: false,
        }
    }

    /// The chunk list of the pull under way.
    fn current_list(&self, package: Digest, archive: Option<Digest>) -> Option<Bytes> {
        let current = self.current();
        let current = current.as_ref()?;
        let is_it =
            current.package == package && archive.is_none_or(|archive| archive == current.archive);
        is_it.then(|| current.list.clone())
    }

    async fn ask(&self, node: &NodeName) -> Result<PackagesStatus, String> {
        match tokio::time::timeout(self.bounds.ask, self.peers.status(node)).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{node} does not answer")),
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        // Each change is one assignment.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<Digest, Trouble>> {
        // Each change is one insert or remove.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pull that ends, also by being dropped: others are not told any more that it is under way.
struct Over<'a>(&'a Puller);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        *self.0.current() = None;
    }
}

/// The name of a package's staging: what it has left is found by it.
pub fn pull_stage_id(package: Digest) -> String {
    format!("{PULL_PREFIX}{package}")
}

/// The package that a staging of that name pulls.
pub fn pulled_package(stage_id: &str) -> Option<Digest> {
    stage_id.strip_prefix(PULL_PREFIX)?.parse().ok()
}

const PULL_PREFIX: &str = "pull-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_refusal_have_their_codes_and_only_one_may_pass_by_itself() {
        let full = PullError::Stage(StageError::NoSpace {
            dir: "/packages".into(),
            needed: 2,
            free: 1,
        });
        assert_eq!((full.code(), full.is_refusal()), (10_551_804, false));
        let large = PullError::Stage(StageError::TooLarge { limit: 1 });
        assert_eq!((large.code(), large.is_refusal()), (10_551_359, true));
        let lost = PullError::NobodyHolds {
            package: Digest([1; 32]),
        };
        assert_eq!((lost.code(), lost.is_refusal()), (10_551_391, false));
    }

    #[test]
    fn what_a_pull_has_left_is_found_by_its_package() {
        let package = Digest([7; 32]);
        assert_eq!(pulled_package(&pull_stage_id(package)), Some(package));
        assert_eq!(pulled_package("get-1"), None);
    }
}
