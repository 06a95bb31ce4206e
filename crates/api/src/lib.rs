//! The REST API as both ends see it: wire types of ONTAP 9.10.1 `cluster/software` and of Evenkeel's
//! own `/evenkeel/v1`, error codes, and the query grammar. Used by the server and by the CLI; no I/O.
//!
//! Invariants: an unset field is omitted, never `null`; numbers are integers; times are text in whole
//! seconds with a numeric offset (see `WallTime::to_api`).

mod body;
mod certificate;
mod cluster;
mod code;
mod error;
pub mod errors;
mod evenkeel;
mod filter;
mod firmware;
mod job;
mod links;
mod membership;
mod node_firmware;
mod package;
mod params;
mod plan;
mod query;
mod resource;
mod software;
mod users;

pub use body::{BodyError, parse_body};
pub use certificate::{Certificate, CertificateSource, NewCertificate};
pub use cluster::{Cluster, Ha, HaPartner, Node, ReleaseVersion};
pub use code::{Class, Code};
pub use error::{ApiError, ErrorArgument, ErrorBody, ErrorObject};
pub use evenkeel::{
    Acknowledgement, Acknowledgements, Audit, Audited, Awaiting, BegunFirmware, Device, Devices,
    EventLine, Explain, Firmware, FirmwareChange, GateChange, GateSettings, Key, KeyState, Keys,
    NewAcknowledgement, NewKey, NodeDevices, NodeTransfers, OpenOperation, RefusedFirmware,
    Retention, Transfer, TransferTrouble, Transfers, WaitingFirmware,
};
pub use filter::{Filter, FilterError};
pub use firmware::{
    FirmwareHistory, FirmwareUpdateState, FirmwareWorker, FirmwareWorkerError,
    FirmwareWorkerStatus, WorkerState,
};
pub use job::{Job, JobError, JobLink, JobLinks, JobRef, JobState};
pub use links::{Href, Links, NodeRef};
pub use membership::{
    CLUSTER, CLUSTER_INIT, CLUSTER_JOIN, CLUSTER_REMOVE, CLUSTER_RENEW, CLUSTER_TOKEN, InitCluster,
    JoinCluster, LocalCluster, LocalNode, LocalToken, MadeToken, MakeToken, MembershipState,
    NewNode, RemoveNodes,
};
pub use node_firmware::{
    DiskFirmware, Dqp, DqpRecords, FirmwareProgress, FirmwareWorkerProgress, LastUpdateState,
    NodeFirmware, ProcessorImage, ProcessorImageState, ProcessorType, ShelfFirmware, SpBmc,
    UpdateStatus,
};
pub use package::{Download, DownloadState, History, HistoryState, Package};
pub use params::{Params, decode_component, encode_component};
pub use plan::{
    Alone, EstimateRecord, Estimates, PlanAcknowledged, PlanEstimate, PlanFinding, PlanMoment,
    PlanPreview, PlanRefusal,
};
pub use query::{CollectionQuery, Direction, MAX_RECORDS, Order, ReadQuery, Search, Selection};
pub use resource::{Cost, Field, Identity, Resource};
pub use software::{
    Action, Advice, CheckStatus, Issue, Metrocluster, MetroclusterSite, NodeName, ProgressText,
    Software, SoftwareImage, SoftwareNode, StatusAdvice, StatusDetails, StatusIssue, UpdateDetails,
    UpdateState, ValidationResult,
};
pub use users::{NewUser, Secret, User, UserChange, Users};
