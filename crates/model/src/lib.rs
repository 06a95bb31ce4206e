//! Evenkeel's vocabulary: ids, time, topology, manifests, observations, plans, events and their folds.
//! Serde types and pure functions; no I/O, no clock, no async.
//!
//! [`Event`] is what the record holds; [`Control`], [`Catalogue`] and [`Operation`] are its folds.

mod audit;
mod bundled;
mod catalogue;
mod config;
mod control;
mod error;
mod estimate;
mod event;
mod finding;
mod firmware;
mod fold;
mod gate;
mod id;
mod manifest;
mod membership;
mod observation;
mod operation;
mod plan;
mod refusal;
mod sabotage;
mod stream;
mod task;
mod time;
mod topology;
mod transfer;
mod user;

pub use audit::{AuditOutcome, AuditRecord};
pub use bundled::{BundledFinding, BundledRun, BundledState, CheckOrder};
pub use catalogue::{Catalogue, CatalogueEntry, FirmwareAsked, FirmwareEntry};
pub use config::{
    Bootstrap, ClusterSettings, DownloadSettings, EntrySettings, EtcdSettings, FailoverSettings,
    GrubSettings, IdentityFiles, InterconnectSettings, InventorySettings, LabSettings, LanSp, Link,
    LinuxSettings, NodeSettings, PlatformSettings, PoolSettings, PowerSettings, RaucSettings,
    RaucSlot, RecordSettings, RedfishSettings, RestSettings, SharedPoolSettings, SlotSettings,
    SpSettings, Storage, SystemdBootSettings, UpdateSettings, UploadSettings,
};
pub use control::{Acknowledged, Booted, Control, Coordinator, TrustedKey};
pub use error::error_chain;
pub use estimate::{Alone, Moment, PlanEstimate};
pub use event::{
    CatalogueEvent, ControlEvent, DEFAULT_STABILIZE_MINUTES, DecodeError, Event, FirmwareRef,
    GetSource, JobOutcome, OperationEnd, OperationEvent, OperationKind, PackageRef, PauseCause,
    Request, UpdateRequest,
};
pub use finding::{Acknowledgement, Awaiting, Finding, Problem, Severity};
pub use firmware::*;
pub use fold::Illegal;
pub use gate::{GateCondition, Gates, NoSuchCondition};
pub use id::*;
pub use manifest::*;
pub use membership::{
    Admitted, Candidate, Entrant, Estranged, MAX_OFFERS, Membership, MembershipError, Offer,
    Standing, Used,
};
pub use observation::*;
pub use operation::{
    Job, Operation, OperationState, PassedPoint, Pause, Steering, TaskProgress, TaskState, Tasks,
    Updated,
};
pub use plan::{
    Action, Executor, Lane, Milestone, PauseAfter, PausePoint, Plan, PlanMode, Step, Task, TaskId,
};
pub use refusal::{Refusal, code};
pub use sabotage::Sabotage;
pub use stream::*;
pub use task::{
    Before, How, Progress, ReportState, TaskEnd, TaskError, TaskErrorKind, TaskKey, TaskOrder,
    TaskReport,
};
pub use time::{Monotonic, WallTime};
pub use topology::{LifConfig, MachineId, NodeConfig, Topology, TopologyError};
pub use transfer::{PackagesStatus, Transfer, TransferSource, Trouble};
pub use user::{Account, AccountChange, NoSuchRole, Role};
