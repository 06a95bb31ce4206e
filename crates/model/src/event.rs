//! What the record holds. New kinds of events wait until the whole cluster runs a version that knows
//! them; unknown fields are ignored; an unknown event that must be understood stops coordinating.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::estimate::PlanEstimate;
use crate::finding::{Finding, Problem};
use crate::gate::Gates;
use crate::id::Version;
use crate::id::{BootId, Digest, Generation, JobId, NodeName, OperationId, TransitionId, UserName};
use crate::manifest::ManifestSummary;
use crate::plan::{PauseAfter, PausePoint, Plan, Step, TaskId};
use crate::stream::StreamId;
use crate::task::{Before, TaskEnd};
use crate::time::{Monotonic, WallTime};
use crate::topology::Topology;

/// Events of the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlEvent {
    /// The cluster's first event; a later one replaces the topology.
    TopologySet {
        /// When.
        at: WallTime,
        /// The members.
        topology: Topology,
    },
    /// A user was added or changed.
    UserSet {
        /// When.
        at: WallTime,
        /// Who.
        user: UserName,
        /// PHC string, argon2id.
        password_hash: String,
    },
    /// Packages signed with this key are accepted from now on.
    KeyTrusted {
        /// When.
        at: WallTime,
        /// The text of the public-key file.
        public_key: String,
        /// Its id: what signatures and revocations name it by.
        #[serde(default)]
        key_id: String,
        /// What people call it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Who said so; none for a key that the cluster began with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserName>,
    },
    /// Packages signed with this key are refused from now on, whoever trusted it. Final.
    KeyRevoked {
        /// When.
        at: WallTime,
        /// Which.
        key_id: String,
        /// Who said so.
        by: UserName,
    },
    /// How many packages that nothing needs are kept.
    RetentionSet {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// The newest so many stay; none turns the collection off.
        #[serde(default)]
        keep: Option<u32>,
    },
    /// What an update waits for between nodes was set. Plans hold the gates of the moment they are made.
    GatesSet {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// All of them.
        gates: Gates,
    },
    /// A person knows of a check's warning and goes on, as long as it is about nothing more.
    WarningAcknowledged {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// Name of the check.
        check: String,
        /// Why it may be so.
        reason: String,
        /// What the warning was about.
        #[serde(default)]
        about: BTreeSet<String>,
    },
    /// An acknowledgement was taken back.
    AcknowledgementWithdrawn {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// Name of the check.
        check: String,
    },
    /// A node became the coordinator.
    CoordinatorElected {
        /// When.
        at: WallTime,
        /// One more than the last.
        generation: Generation,
        /// Who.
        node: NodeName,
    },
    /// The coordinator stepped down in favour of another node.
    HandedOver {
        /// When.
        at: WallTime,
        /// The generation that ends.
        generation: Generation,
        /// Who should be next.
        to: NodeName,
    },
    /// An operation was admitted.
    OperationStarted {
        /// When.
        at: WallTime,
        /// Its id, and so its stream.
        operation: OperationId,
        /// What kind: the lock matrix is a fold over these.
        kind: OperationKind,
    },
    /// An operation ended.
    OperationEnded {
        /// When.
        at: WallTime,
        /// Which.
        operation: OperationId,
    },
    /// A node's daemon says what it runs, whenever that changed.
    NodeBooted {
        /// When.
        at: WallTime,
        /// Who.
        node: NodeName,
        /// Its boot.
        boot_id: BootId,
        /// Version of the slot that booted; none when its manifest cannot be read.
        version: Option<Version>,
        /// Build version of the daemon.
        daemon: String,
    },
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Rolls the cluster to a version.
    Update,
    /// Runs the checks alone.
    Validation,
    /// Takes a package in and carries it to every node.
    PackageGet,
    /// Removes a package from every node.
    PackageDelete,
    /// Carries a package that the cluster has to nodes that lack it.
    PackageSync,
    /// Estimates an update, and changes nothing.
    Estimate,
}

impl OperationKind {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Validation => "validation",
            Self::PackageGet => "package get",
            Self::PackageDelete => "package delete",
            Self::PackageSync => "package synchronization",
            Self::Estimate => "estimate",
        }
    }
}

/// Events of the catalogue stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CatalogueEvent {
    /// A verified package is durable on at least one node.
    PackageAdded {
        /// When: the API's `create_time`.
        at: WallTime,
        /// The package.
        package: Box<PackageRef>,
        /// The node that took it in.
        node: NodeName,
    },
    /// The package is to be removed from every node, also from those that return later.
    PackageRemoved {
        /// When.
        at: WallTime,
        /// Its manifest digest.
        digest: Digest,
    },
    /// A node found its copy of a package changed on disk, and put it aside. It pulls another one.
    CopyDamaged {
        /// When.
        at: WallTime,
        /// Whose copy.
        node: NodeName,
        /// Manifest digest of the package.
        digest: Digest,
        /// What was found.
        why: String,
    },
    /// A node that had lost its copy has a verified one again.
    CopyRestored {
        /// When.
        at: WallTime,
        /// Who.
        node: NodeName,
        /// Manifest digest of the package.
        digest: Digest,
    },
}

/// A package in the catalogue. Its identity is the manifest's digest; the archive's digest and size
/// only guide transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRef {
    /// Manifest digest.
    pub digest: Digest,
    /// SHA-256 of the archive's chunk list: of the SHA-256 digests of its chunks, one after the other.
    pub archive_digest: Digest,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// What the manifest says.
    pub summary: ManifestSummary,
    /// Id of the key that signed it; none for an unsigned one of a lab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// Events of an operation's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OperationEvent {
    /// The first: what was asked for.
    Requested {
        /// When.
        at: WallTime,
        /// By whom.
        by: UserName,
        /// What.
        request: Request,
    },
    /// A request of the API has its job.
    JobOpened {
        /// When.
        at: WallTime,
        /// Its id.
        job: JobId,
        /// `PATCH /api/cluster/software`, say.
        description: String,
    },
    /// A job ended.
    JobClosed {
        /// When.
        at: WallTime,
        /// Which.
        job: JobId,
        /// How.
        outcome: JobOutcome,
    },
    /// A package get has the package, verified and durable, on the node that received it.
    Staged {
        /// When.
        at: WallTime,
        /// Its manifest digest.
        digest: Digest,
        /// Its version.
        version: Version,
        /// What is remarkable about how it came, for its job's message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remark: Option<String>,
    },
    /// The checks ran.
    Validated {
        /// When.
        at: WallTime,
        /// What they found.
        findings: Vec<Finding>,
    },
    /// A part of a plan too big for one event. Parts come directly before the plan, in the same append.
    PlanPart {
        /// When.
        at: WallTime,
        /// Revision of the plan that it is part of.
        revision: u32,
        /// The next steps.
        steps: Vec<Step>,
        /// Its first step holds more lanes of the last step of the part before.
        #[serde(default)]
        continues: bool,
    },
    /// How long the update that was asked about would take.
    Estimated {
        /// When.
        at: WallTime,
        /// The estimate.
        estimate: PlanEstimate,
    },
    /// The plan, or a new revision of it. Its steps follow those of the parts before it.
    Planned {
        /// When.
        at: WallTime,
        /// All of it.
        plan: Plan,
    },
    /// The intent of an attempt, before its effect.
    TaskStarted {
        /// When.
        at: WallTime,
        /// The coordinator's clock.
        since: Monotonic,
        /// Which task.
        task: TaskId,
        /// Counts from 1.
        attempt: u32,
        /// The takeover it makes or gives back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transition: Option<TransitionId>,
        /// Expected before-state.
        #[serde(default)]
        before: Before,
    },
    /// An attempt ended.
    TaskEnded {
        /// When.
        at: WallTime,
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
        /// How.
        end: TaskEnd,
    },
    /// A lane is left early; its restore tasks run.
    Restoring {
        /// When.
        at: WallTime,
        /// The lane's node.
        node: NodeName,
        /// Why.
        problem: Problem,
    },
    /// A person asked for a pause at the next pause point.
    PauseRequested {
        /// When.
        at: WallTime,
        /// Who.
        by: UserName,
    },
    /// The update stands still.
    Paused {
        /// When.
        at: WallTime,
        /// Why.
        cause: PauseCause,
    },
    /// A person asked to go on.
    Resumed {
        /// When.
        at: WallTime,
        /// Who.
        by: UserName,
        /// The plan is made anew: where it stood at the point after validation, the cluster is validated again
        /// first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anew: bool,
    },
    /// A person asked to end it.
    CancelRequested {
        /// When.
        at: WallTime,
        /// Who.
        by: UserName,
    },
    /// A node runs the new version at home and is marked good: a row of the history.
    NodeUpdated {
        /// When.
        at: WallTime,
        /// Who.
        node: NodeName,
        /// From which version.
        from: Version,
        /// To which.
        to: Version,
    },
    /// The post-update checks ran.
    PostChecked {
        /// When.
        at: WallTime,
        /// What they found.
        findings: Vec<Finding>,
    },
    /// The last.
    Ended {
        /// When.
        at: WallTime,
        /// How.
        end: OperationEnd,
    },
}

/// What an operation was asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Roll to a version.
    Update(UpdateRequest),
    /// Check whether the cluster could.
    Validate {
        /// Version.
        version: Version,
    },
    /// Estimate an update with these options.
    Estimate(UpdateRequest),
    /// Take a package in on a node.
    Get {
        /// The node that receives it.
        node: NodeName,
        /// The boot of that node's *daemon* that receives it: an upload does not survive it.
        incarnation: uuid::Uuid,
        /// Where it comes from.
        #[serde(default)]
        source: GetSource,
    },
    /// Remove a package.
    Delete {
        /// Manifest digest.
        digest: Digest,
        /// Version.
        version: Version,
    },
    /// Carry a package to the nodes that lack it.
    Sync {
        /// Manifest digest.
        digest: Digest,
        /// Version.
        version: Version,
    },
}

/// Where a package get has its package from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum GetSource {
    /// A client sends it.
    #[default]
    Upload,
    /// The node fetches it.
    Download {
        /// Where. Without user, password, query and fragment: see [`GetSource::download`].
        url: String,
        /// It was given a user, a password or a query, which are kept in memory only.
        needs_secret: bool,
    },
}

impl GetSource {
    /// A download from `url`, stripped of all that may be secret: user and password, query, fragment.
    pub fn download(url: &str, needs_secret: bool) -> Self {
        let (bare, secret) = without_secrets(url);
        Self::Download {
            url: bare,
            needs_secret: needs_secret || secret,
        }
    }
}

/// The URL without user info, query and fragment, and whether it had any but a fragment.
fn without_secrets(url: &str) -> (String, bool) {
    let url = url.split('#').next().unwrap_or_default();
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, true),
        None => (url, false),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return (url.to_owned(), query);
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    // The last `@`: a password may hold others.
    match authority.rsplit_once('@') {
        Some((_, host)) => (format!("{scheme}://{host}{path}"), true),
        None => (url.to_owned(), query),
    }
}

impl Request {
    /// Its kind.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Update(_) => OperationKind::Update,
            Self::Validate { .. } => OperationKind::Validation,
            Self::Estimate(_) => OperationKind::Estimate,
            Self::Get { .. } => OperationKind::PackageGet,
            Self::Delete { .. } => OperationKind::PackageDelete,
            Self::Sync { .. } => OperationKind::PackageSync,
        }
    }
}

/// Options of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// To which version.
    pub version: Version,
    /// Go on although checks warn.
    pub skip_warnings: bool,
    /// 1 to 60; after every takeover and every giveback.
    pub stabilize_minutes: u32,
    /// Where to pause unasked.
    #[serde(default)]
    pub pause_after: PauseAfter,
    /// One node after the other, however many there are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_rolling: bool,
    /// The nodes to update, whole pairs; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
    /// The pair of this node goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<NodeName>,
}

impl UpdateRequest {
    /// An update of all nodes with the default options.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            skip_warnings: false,
            stabilize_minutes: DEFAULT_STABILIZE_MINUTES,
            pause_after: PauseAfter::None,
            force_rolling: false,
            nodes: Vec::new(),
            first: None,
        }
    }
}

/// Stabilize time when the request names none, in minutes.
pub const DEFAULT_STABILIZE_MINUTES: u32 = 8;

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// What was asked for is done, or accepted.
    Success {
        /// A word to the user.
        message: String,
    },
    /// It is not.
    Failure {
        /// The API's code.
        code: u32,
        /// Never empty.
        message: String,
    },
}

/// Why an update stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// A person asked for it, or for a pause at such points; this one was reached.
    User {
        /// Where it stands.
        point: PausePoint,
    },
    /// Trouble.
    Error {
        /// What, where, what to do.
        problem: Problem,
    },
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationEnd {
    /// It did what was asked.
    Completed,
    /// A person ended it.
    Canceled,
    /// It was refused before any effect, or a package could not be taken in or removed.
    Failed {
        /// The API's code.
        code: u32,
        /// Why.
        message: String,
    },
}

/// An event of any stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of the control stream.
    Control(ControlEvent),
    /// Of the catalogue.
    Catalogue(CatalogueEvent),
    /// Of an operation.
    Operation(OperationEvent),
    /// Of a kind that this build does not know.
    Foreign {
        /// Its kind.
        kind: String,
        /// Its author marked it as one that must be understood to coordinate.
        must_understand: bool,
    },
}

/// An event that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("event of stream {stream} cannot be read")]
pub struct DecodeError {
    /// Its stream.
    pub stream: StreamId,
    /// Why.
    #[source]
    pub source: serde_json::Error,
}

/// The kinds of [`ControlEvent`].
const CONTROL_KINDS: &[&str] = &[
    "topology_set",
    "user_set",
    "key_trusted",
    "key_revoked",
    "retention_set",
    "gates_set",
    "warning_acknowledged",
    "acknowledgement_withdrawn",
    "coordinator_elected",
    "handed_over",
    "operation_started",
    "operation_ended",
    "node_booted",
];
/// The kinds of [`CatalogueEvent`].
const CATALOGUE_KINDS: &[&str] = &[
    "package_added",
    "package_removed",
    "copy_damaged",
    "copy_restored",
];
/// The kinds of [`OperationEvent`].
const OPERATION_KINDS: &[&str] = &[
    "requested",
    "job_opened",
    "job_closed",
    "staged",
    "validated",
    "plan_part",
    "estimated",
    "planned",
    "task_started",
    "task_ended",
    "restoring",
    "pause_requested",
    "paused",
    "resumed",
    "cancel_requested",
    "node_updated",
    "post_checked",
    "ended",
];

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    must_understand: bool,
}

impl Event {
    /// Reads an event of `stream`. A kind that this build does not know is not an error.
    pub fn decode(stream: StreamId, body: &str) -> Result<Self, DecodeError> {
        let decoded = match stream {
            StreamId::Control => decode_kind(body, CONTROL_KINDS).map(|r| r.map(Self::Control)),
            StreamId::Catalogue => {
                decode_kind(body, CATALOGUE_KINDS).map(|r| r.map(Self::Catalogue))
            }
            StreamId::Operation(_) => {
                decode_kind(body, OPERATION_KINDS).map(|r| r.map(Self::Operation))
            }
        };
        match decoded {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(Envelope {
                kind,
                must_understand,
            })) => Ok(Self::Foreign {
                kind,
                must_understand,
            }),
            Err(source) => Err(DecodeError { stream, source }),
        }
    }

    /// The text to store.
    pub fn encode(&self) -> String {
        let text = match self {
            Self::Control(event) => serde_json::to_string(event),
            Self::Catalogue(event) => serde_json::to_string(event),
            Self::Operation(event) => serde_json::to_string(event),
            Self::Foreign { .. } => unreachable!("a foreign event is read, never written"),
        };
        text.expect("events hold strings, numbers, maps with string keys: JSON can say all of it")
    }
}

fn decode_kind<T: DeserializeOwned>(
    body: &str,
    kinds: &[&str],
) -> Result<Result<T, Envelope>, serde_json::Error> {
    let envelope: Envelope = serde_json::from_str(body)?;
    if !kinds.contains(&envelope.kind.as_str()) {
        return Ok(Err(envelope));
    }
    serde_json::from_str(body).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names the variants of a tagged enum, by asking serde which it expects.
    fn kinds_of<T: DeserializeOwned>() -> String {
        serde_json::from_str::<T>(r#"{"type":"?"}"#)
            .err()
            .expect("no such kind")
            .to_string()
    }

    #[test]
    fn every_kind_is_listed() {
        let listed = [
            (kinds_of::<ControlEvent>(), CONTROL_KINDS),
            (kinds_of::<CatalogueEvent>(), CATALOGUE_KINDS),
            (kinds_of::<OperationEvent>(), OPERATION_KINDS),
        ];
        for (message, kinds) in listed {
            let named: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
            assert_eq!(named, kinds, "{message}");
        }
    }

    #[test]
    fn the_source_of_a_get_holds_no_secret() {
        let cases = [
            ("https://h/p.tgz", "https://h/p.tgz", false),
            ("https://u:p@h:8/p.tgz?token=t#f", "https://h:8/p.tgz", true),
            ("ftp://u:p@ss@h/p.tgz", "ftp://h/p.tgz", true),
            ("http://h/a@b.tgz", "http://h/a@b.tgz", false),
            ("http://h?X-Amz-Signature=s", "http://h", true),
            ("http://u@h", "http://h", true),
        ];
        for (given, bare, secret) in cases {
            let kept = GetSource::download(given, false);
            let (url, needs_secret) = (bare.to_owned(), secret);
            assert_eq!(kept, GetSource::Download { url, needs_secret }, "{given}");
        }
        let older = r#"{"request":"get","node":"n1",
            "incarnation":"6ba7b810-9dad-41d1-80b4-00c04fd430c8"}"#;
        let Request::Get { source, .. } = serde_json::from_str(older).unwrap() else {
            panic!("a get")
        };
        assert_eq!(source, GetSource::Upload);
    }

    #[test]
    fn unknown_kinds_and_fields_of_a_newer_version_are_read() {
        let newer = r#"{"type":"soak_started","must_understand":true,"minutes":3}"#;
        let event = Event::decode(StreamId::Control, newer).unwrap();
        assert_eq!(
            event,
            Event::Foreign {
                kind: "soak_started".to_owned(),
                must_understand: true
            }
        );
        let more = r#"{"type":"operation_ended","at":"2026-01-01T00:00:00Z",
            "operation":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","because":"newer"}"#;
        assert!(matches!(
            Event::decode(StreamId::Control, more),
            Ok(Event::Control(ControlEvent::OperationEnded { .. }))
        ));
        assert!(Event::decode(StreamId::Control, r#"{"type":"handed_over"}"#).is_err());
    }
}
