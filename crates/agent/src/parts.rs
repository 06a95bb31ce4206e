//! What an agent is made of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_firmware::{FirmwareOrder, NodeFirmware, NodeJournal, WorkError};
use evenkeel_interconnect::AgentClient;
use evenkeel_model::{
    BootId, BundledFinding, CheckOrder, Digest, FirmwareStatus, How, NodeName, NodeObservation,
    PackagesStatus, Progress, Slot, Version,
};
use evenkeel_platform::SharedPlatform;
use evenkeel_seam::Clock;
use evenkeel_seam::watch;

use crate::db::NodeDb;

/// All that an agent needs.
pub struct AgentParts {
    /// Whose agent it is.
    pub node: NodeName,
    /// The boot that the node runs in: an agent does not outlive it.
    pub boot_id: BootId,
    /// Build version of the daemon.
    pub daemon: String,
    /// What it must not forget.
    pub db: NodeDb,
    /// The node's machine.
    pub platform: SharedPlatform,
    /// The other agents.
    pub peers: Arc<dyn AgentClient>,
    /// Packages on the node's disk.
    pub packages: Arc<dyn Packages>,
    /// Writes slots.
    pub installer: Arc<dyn Installer>,
    /// Runs the checks that packages bring.
    pub checks: Arc<dyn PackageChecks>,
    /// The operator's gate.
    pub gate: Arc<dyn GateScript>,
    /// The firmware of the node's devices.
    pub firmware: Arc<dyn FirmwareWork>,
    /// Time to show.
    pub clock: Arc<dyn Clock>,
    /// What the daemon knows of the cluster.
    pub cluster: watch::Receiver<ClusterView>,
    /// How long things may take.
    pub bounds: Bounds,
    /// Length of a minute of gate times.
    pub minute: Duration,
}

/// What the daemon knows of the cluster and its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// All members, this node too; empty while the topology is not known.
    pub members: Vec<NodeName>,
    /// The record answered when it was last asked.
    pub record_reachable: bool,
}

/// How long things may take. Network and machine bounds: a lab's short minute does not scale them.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// One look at the machine.
    pub look: Duration,
    /// One act of the machine: giving a pool back, sending a LIF home.
    pub act: Duration,
    /// A ping of a peer.
    pub ping: Duration,
    /// Between looks while something is awaited.
    pub poll: Duration,
    /// A task whose surroundings do not change for this long has failed, where its order does not say how long.
    pub no_progress: Duration,
    /// Asking a machine that did not answer again, within one task.
    pub tries: u32,
    /// An order that outlives this many restarts of the daemon is given up: it may be what ends them.
    pub resumes: u32,
    /// Between the guardian's looks.
    pub guard: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(5),
            act: Duration::from_secs(30),
            ping: Duration::from_secs(3),
            poll: Duration::from_millis(250),
            no_progress: Duration::from_secs(120),
            tries: 3,
            resumes: 5,
            guard: Duration::from_secs(1),
        }
    }
}

/// Packages on the node's disk.
#[async_trait]
pub trait Packages: Send + Sync + 'static {
    /// What is here, what is on its way, and why what is missing is missing.
    async fn status(&self) -> Result<PackagesStatus, PackagesError>;
    /// Gets a package from another node and verifies it; returns when it is held. Bounded.
    async fn pull(&self, package: Digest) -> Result<(), PackagesError>;
}

/// Why packages were not had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackagesError {
    /// Nobody who holds it answers, the disk is full, and the like: another try may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The package was refused: it is not in the catalogue, or what came is not what was signed.
    #[error("{0}")]
    Refused(String),
}

/// What to write where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallRequest {
    /// Manifest digest of the package.
    pub package: Digest,
    /// The slot: marked unbootable before.
    pub slot: Slot,
    /// Its folder.
    pub path: PathBuf,
    /// Folder of the slot that runs: never written; files that are the same may be taken from it.
    pub running: PathBuf,
}

/// Writes a package into a slot.
#[async_trait]
pub trait Installer: Send + Sync + 'static {
    /// Verifies the package again while extracting it. `Ok` when all of it is durable. Where a writer
    /// from before a restart is still at work in the slot, waits for its end first.
    async fn install(
        &self,
        request: &InstallRequest,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), InstallError>;
}

/// Why a slot was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// Another try may succeed: the disk was full, a read failed.
    #[error("{0}")]
    Failed(String),
    /// The package is not what was signed, or does not fit this node.
    #[error("{0}")]
    Refused(String),
}

/// Runs the checks that packages bring.
#[async_trait]
pub trait PackageChecks: Send + Sync + 'static {
    /// Runs them all on this node, each within its time and confined. One that could not run is a finding, an
    /// error. Dropping the call ends what it runs.
    async fn run(
        &self,
        order: &CheckOrder,
        seen: &NodeObservation,
        say: &(dyn for<'t> Fn(&'t str) + Send + Sync),
    ) -> Vec<BundledFinding>;
}

/// What an operator's gate script is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateContext {
    /// The node that is about to be taken over.
    pub node: NodeName,
    /// Its partner.
    pub partner: Option<NodeName>,
    /// The version that it is updated to.
    pub version: Version,
}

/// What one run of an operator's gate script came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateAnswer {
    /// The update may go on.
    Open,
    /// Not yet: the last line of what it said.
    NotYet(String),
    /// It could not say, or says that a person is needed.
    Trouble(String),
}

/// The operator's gate: asked again and again, until it opens.
#[async_trait]
pub trait GateScript: Send + Sync + 'static {
    /// Whether there is a script to ask.
    fn is_configured(&self) -> bool;
    /// Asks once. Bounded. Dropping the call ends what it runs.
    async fn ask(&self, context: &GateContext) -> GateAnswer;
}

/// The firmware of the node's devices.
#[async_trait]
pub trait FirmwareWork: Send + Sync + 'static {
    /// Brings devices up to date with a package that the node holds. Dropped at any instant and given the same order
    /// and journal again, it goes on.
    async fn renew(
        &self,
        order: &FirmwareOrder,
        journal: &dyn NodeJournal,
        progress: &watch::Sender<Progress>,
    ) -> Result<How, WorkError>;
    /// What is known of the devices, without asking them. Says why nothing is.
    fn status(&self) -> Result<FirmwareStatus, String>;
}

#[async_trait]
impl FirmwareWork for NodeFirmware {
    async fn renew(
        &self,
        order: &FirmwareOrder,
        journal: &dyn NodeJournal,
        progress: &watch::Sender<Progress>,
    ) -> Result<How, WorkError> {
        NodeFirmware::renew(self, order, journal, progress).await
    }

    fn status(&self) -> Result<FirmwareStatus, String> {
        NodeFirmware::status(self)
    }
}
