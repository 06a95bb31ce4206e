//! Evenkeel's own part of the API, under `/evenkeel/v1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::UpdateState;

/// `GET /evenkeel/v1/explain`: why each open operation is not further along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explain {
    /// Every open operation. Empty when nothing is going on.
    pub operations: Vec<OpenOperation>,
    /// What the cluster itself waits for, an election for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Awaiting>,
    /// How the newest update left the cluster, where that is not plain from its end: after a cancel. While none
    /// is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// How old this answer is, when it comes from a mirror and not from the record itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
}

/// An operation that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenOperation {
    /// Its id.
    pub uuid: String,
    /// `update`, `validation`, `package_get`, `package_delete`, …
    pub kind: String,
    /// The version it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its state.
    pub state: UpdateState,
    /// The coordinator's node, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
    /// What it waits for. Never empty while the operation is open.
    pub waiting: Vec<Awaiting>,
}

/// One thing that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Awaiting {
    /// What.
    pub awaiting: String,
    /// On which node, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
    /// What was last seen of it, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Until when at most, when there is a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub until: Option<String>,
    /// What would end the wait.
    pub unblock: String,
}

/// `GET /evenkeel/v1/keys`: the keys that packages are signed with, those that were revoked too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Keys {
    /// In the order of their coming.
    pub records: Vec<Key>,
    /// How many.
    pub num_records: usize,
}

/// A key that was trusted once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// What signatures name it by.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether its signatures are believed.
    pub state: KeyState,
    /// Since when it was trusted.
    #[schemars(extend("format" = "date-time"))]
    pub trusted_at: String,
    /// Who said so; absent for a key that the cluster began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_by: Option<String>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub revoked_at: Option<String>,
    /// Who did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// The text of the public-key file.
    pub public_key: String,
}

/// Whether a key's signatures are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// They are.
    Trusted,
    /// Not any more.
    Revoked,
}

/// Body of `POST /evenkeel/v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The text of the public-key file.
    pub public_key: String,
    /// What people call it: one line.
    #[schemars(regex(
        pattern = "^[^\\u0000-\\u0020\\u007f-\\u00a0][^\\u0000-\\u001f\\u007f-\\u009f]{0,99}$"
    ))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `GET /evenkeel/v1/acknowledgements`: the warnings of checks that somebody knows of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledgements {
    /// By the check's name.
    pub records: Vec<Acknowledgement>,
    /// How many.
    pub num_records: usize,
}

/// A warning that somebody knows of: it does not block as long as it is about nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledgement {
    /// Name of the check.
    pub check: String,
    /// Why it may be so.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// What the warning was about.
    pub about: Vec<String>,
}

/// Something, and no control characters.
const ONE_LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";

/// Body of `POST /evenkeel/v1/acknowledgements`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAcknowledgement {
    /// Name of the check, as in `validation_results`.
    pub check: String,
    /// Why it may be so, in one line of at most 300 bytes.
    #[schemars(length(max = 300), regex(pattern = ONE_LINE))]
    pub reason: String,
}

/// `GET /evenkeel/v1/audit`: who asked for which change, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// Oldest first.
    pub records: Vec<Audited>,
    /// How many.
    pub num_records: usize,
    /// Nodes that did not answer: what was asked of them is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent_nodes: Vec<String>,
}

/// A request that would have changed something, or one that was not let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audited {
    /// The node that was asked.
    pub node: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// Who asked, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// As what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Where from.
    pub from: String,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What was asked, as far as it is no secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub what: BTreeMap<String, String>,
    /// Whether it is known what became of it. If not, it is still being carried out, or its daemon was killed.
    pub is_over: bool,
    /// The HTTP status of the answer; absent when the client left before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The job that it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// So many like it came before it that are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// `GET` and `PUT /evenkeel/v1/retention`: how many packages that nothing needs are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["keep"]))]
pub struct Retention {
    /// The newest so many, beside all that some node runs or could fall back to. `null`: all, the default.
    // Said in any case: a body without it was meant to say something else.
    #[serde(deserialize_with = "Option::deserialize")]
    pub keep: Option<u32>,
}

/// `GET /evenkeel/v1/gates`: what an update waits for between nodes, beyond the timer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateSettings {
    /// All of them must hold: `paths_back`, `resync_done`, `lifs_home`, `load_below=PERCENT`, `script`.
    pub conditions: Vec<String>,
    /// For so many minutes without a break.
    pub hold_minutes: u32,
    /// After so many minutes the update pauses. 0 until gates are set for the first time.
    pub longest_minutes: u32,
}

/// A condition of a gate. Dashes do for underscores.
const CONDITION: &str =
    "^(paths[_-]back|resync[_-]done|lifs[_-]home|script|load[_-]below=([1-9][0-9]?|100))$";

/// Body of `PATCH /evenkeel/v1/gates`; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateChange {
    /// All conditions; an empty list: no gates.
    #[schemars(inner(regex(pattern = CONDITION)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<String>>,
    /// For so many minutes without a break, and for fewer than `longest_minutes`.
    #[schemars(range(max = 120))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_minutes: Option<u32>,
    /// After so many minutes the update pauses.
    #[schemars(range(min = 1, max = 1440))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_minutes: Option<u32>,
}

/// One line of `GET /evenkeel/v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    /// Position in the record; pass the last one seen as `since` to go on from there.
    pub seq: u64,
    /// When it was recorded, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub time: Option<String>,
    /// The stream it belongs to.
    pub stream: String,
    /// The event as recorded, but for password hashes.
    pub event: Value,
}

/// `GET /evenkeel/v1/transfers`: packages on their way to any node, and why others are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transfers {
    /// Every node of the cluster, those that do not answer too.
    pub nodes: Vec<NodeTransfers>,
}

/// What one node says of its packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeTransfers {
    /// The node.
    pub node: String,
    /// Whether it answered. If not, nothing is known of it.
    pub answers: bool,
    /// Bytes that a package may still take on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_bytes: Option<u64>,
    /// What is on its way to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
    /// Packages that it should have and cannot get, as of the last try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<TransferTrouble>,
}

/// `GET /evenkeel/v1/devices`: devices that take firmware, and what they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Devices {
    /// Every node of the cluster, those that said nothing too.
    pub nodes: Vec<NodeDevices>,
}

/// What one node says of its devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeDevices {
    /// The node.
    pub node: String,
    /// Whether it said anything.
    pub answers: bool,
    /// Its devices. One that does not say what it runs is not among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// What is done to devices just now, a line for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<String>,
}

/// A device that takes firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Its name: a serial, a shelf and a module, a node.
    pub device: String,
    /// `disk`, `shelf`, `service_processor` or `qualification`.
    pub kind: String,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// `GET /evenkeel/v1/firmware`: to which disks firmware goes, and firmware updates that wait to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Firmware {
    /// Whether firmware also goes to disks that hold data; if not, it goes to spares only.
    pub background: bool,
    /// Firmware updates that were asked for and have not begun, in the order in which they will.
    pub waiting: Vec<WaitingFirmware>,
    /// The newest firmware updates that have begun, oldest first: which package is whose job.
    #[serde(default)]
    pub begun: Vec<BegunFirmware>,
    /// Firmware that software packages of the repository brought, and that was not taken in.
    #[serde(default)]
    pub refused: Vec<RefusedFirmware>,
}

/// A firmware update that has begun, or is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BegunFirmware {
    /// Manifest digest of its package.
    pub digest: String,
    /// Its job.
    pub job: String,
}

/// Firmware in a software package that was not taken in when the cluster had been updated to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedFirmware {
    /// Version of the software package.
    pub version: String,
    /// The path in the package, and why.
    pub why: String,
}

/// A firmware update that was asked for and has not begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingFirmware {
    /// Manifest digest of its package.
    pub digest: String,
    /// `qualification`, `disk`, `shelf` or `service_processor`.
    pub kind: String,
    /// What the package calls itself.
    pub name: String,
    /// Name of the file that it came in.
    pub file: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
}

/// Body of `PATCH /evenkeel/v1/firmware`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirmwareChange {
    /// Whether firmware also goes to disks that hold data: from the next firmware update on.
    pub background: bool,
}

/// A package on its way to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// Manifest digest, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Version, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `upload`, `download`, or `pull`: from another node.
    pub source: String,
    /// The server or node that it comes from just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Bytes that are here.
    pub received_bytes: u64,
    /// Bytes of all of it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// How fast it comes just now.
    pub bytes_per_second: u64,
    /// How long it will take at that rate, where that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<u64>,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    /// What it met last that keeps it from going on, and when it tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Why a node does not have a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransferTrouble {
    /// Manifest digest.
    pub package: String,
    /// The API's error code for it.
    pub code: String,
    /// What it is, in words.
    pub message: String,
}
