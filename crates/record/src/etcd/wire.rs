//! What goes over the wire: etcd's messages in the JSON form of protobuf. Bytes are base64, 64-bit numbers are texts, and fields with
//! their type's default value are absent. The source is etcd's `rpc.proto` and what etcd 3.4.23 answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

/// A 64-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Num(pub(super) i128);

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Number(i64),
        }
        match Form::deserialize(deserializer)? {
            Form::Text(text) => text.parse().map(Num).map_err(de::Error::custom),
            Form::Number(number) => Ok(Self(number.into())),
        }
    }
}

/// Bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Blob).map_err(de::Error::custom)
    }
}

/// Comes with nearly every answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    pub(super) cluster_id: Num,
    pub(super) member_id: Num,
    pub(super) revision: Num,
}

/// The header alone of any answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnyAnswer {
    pub(super) header: Option<Header>,
}

/// A key with its value.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kv {
    pub(super) value: Blob,
    pub(super) mod_revision: Num,
    pub(super) lease: Num,
}

/// Of `kv/range`, and of a range in a transaction.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RangeAnswer {
    /// The default in a transaction's answer.
    pub(super) header: Header,
    pub(super) kvs: Vec<Kv>,
}

/// Of `kv/txn`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TxnAnswer {
    pub(super) header: Header,
    pub(super) succeeded: bool,
    pub(super) responses: Vec<OpAnswer>,
}

impl TxnAnswer {
    /// What the operation number `index`, a range, found.
    pub(super) fn found(&mut self, index: usize) -> Vec<Kv> {
        let answer = self.responses.get_mut(index);
        let range = answer.and_then(|answer| answer.response_range.take());
        range.unwrap_or_default().kvs
    }
}

/// Of one operation of a transaction.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OpAnswer {
    response_range: Option<RangeAnswer>,
}

/// Of `lease/grant`, `lease/timetolive` and, wrapped, `lease/keepalive`. A lease that is gone has no or a negative TTL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LeaseAnswer {
    #[serde(rename = "ID")]
    pub(super) id: Num,
    #[serde(rename = "TTL")]
    pub(super) ttl: Num,
}

/// One message of a stream.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct Streamed<T> {
    pub(super) result: Option<T>,
    pub(super) error: Option<Value>,
}

/// A message of `watch`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WatchAnswer {
    pub(super) created: bool,
    pub(super) canceled: bool,
    pub(super) cancel_reason: String,
    pub(super) events: Vec<Value>,
}

/// Of `auth/authenticate`.
#[derive(Debug, Deserialize)]
pub(super) struct TokenAnswer {
    pub(super) token: String,
}

/// Of `cluster/member/list`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MembersAnswer {
    pub(super) members: Vec<MemberAnswer>,
}

/// A member as its peers know it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct MemberAnswer {
    #[serde(rename = "ID")]
    pub(super) id: Num,
    pub(super) name: String,
    #[serde(rename = "clientURLs")]
    pub(super) client_urls: Vec<String>,
    #[serde(rename = "isLearner")]
    pub(super) is_learner: bool,
}

/// Of `maintenance/alarm`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AlarmsAnswer {
    pub(super) alarms: Vec<Alarm>,
}

/// What a member is in trouble with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alarm {
    #[serde(rename = "memberID")]
    pub(super) member_id: Num,
    /// `NOSPACE` or `CORRUPT`.
    pub(super) alarm: String,
}

/// A refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    /// gRPC's code.
    pub(super) code: u32,
    #[serde(default)]
    pub(super) message: String,
}

pub(super) fn text(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn range(from: &str, end: &str, limit: usize) -> Value {
    json!({"key": text(from), "range_end": text(end), "limit": limit.to_string()})
}

pub(super) fn get(key: &str) -> Value {
    json!({"key": text(key)})
}

/// The operation of a transaction that reads.
pub(super) fn reads(range: &Value) -> Value {
    json!({"request_range": range})
}

/// The operation of a transaction that writes.
pub(super) fn puts(key: &str, value: &[u8]) -> Value {
    json!({"request_put": put(key, value)})
}

pub(super) fn put(key: &str, value: &[u8]) -> Value {
    json!({"key": text(key), "value": text(value)})
}

pub(super) fn put_leased(key: &str, value: &[u8], lease: Num) -> Value {
    json!({"key": text(key), "value": text(value), "lease": lease.0.to_string()})
}

/// The operation of a transaction that takes a key off its lease and leaves its value.
pub(super) fn keeps(key: &str) -> Value {
    json!({"request_put": {"key": text(key), "ignore_value": true}})
}

/// The operation of a transaction that removes.
pub(super) fn deletes(key: &str) -> Value {
    json!({"request_delete_range": {"key": text(key)}})
}

/// Holds if the key has exactly this value; without one, if it is not there.
pub(super) fn has(key: &str, value: Option<&[u8]>) -> Value {
    match value {
        Some(value) => {
            json!({"target": "VALUE", "result": "EQUAL", "key": text(key), "value": text(value)})
        }
        None => {
            json!({"target": "CREATE", "result": "EQUAL", "key": text(key), "create_revision": "0"})
        }
    }
}

/// Holds if the key is there.
pub(super) fn exists(key: &str) -> Value {
    json!({"target": "CREATE", "result": "GREATER", "key": text(key), "create_revision": "0"})
}

/// Holds if the key was last written at this revision.
pub(super) fn is_of_revision(key: &str, revision: Num) -> Value {
    json!({"target": "MOD", "result": "EQUAL", "key": text(key), "mod_revision": revision.0.to_string()})
}

/// Never holds.
pub(super) fn never(key: &str) -> Value {
    json!({"target": "CREATE", "result": "LESS", "key": text(key), "create_revision": "0"})
}

pub(super) fn txn(compare: &[Value], success: &[Value], failure: &[Value]) -> Value {
    json!({"compare": compare, "success": success, "failure": failure})
}
