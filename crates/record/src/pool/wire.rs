//! What the two nodes of a pair say to one another about the record, as JSON.
//!
//! Old and new daemons run side by side in every update. Unknown fields are ignored, so a field may be added, with a default. A new
//! call is answered by an older node with [`Reply::NotUnderstood`], and a request of a newer [`VERSION`] too: nothing of it is
//! tried.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::append::{Append, AppendError, Entry, PARTLY_THERE, REUSED_ID};
use crate::record::Unavailable;

/// Raised when the meaning of a call changes, never for an addition.
pub(super) const VERSION: u32 = 1;

/// The calls of [`Record`](crate::Record), and what only the partner asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(super) enum Call {
    /// Do you sit?
    Seat,
    /// Appends.
    Append { append: Append },
    /// Events of one stream.
    Read {
        stream: StreamId,
        after: Seq,
        limit: usize,
    },
    /// Events of all streams.
    ReadSince { after: Position, limit: usize },
    /// The coordinator's generation.
    Generation,
    /// Takes or renews a lease.
    Lease {
        name: String,
        holder: NodeName,
        ttl_ms: u64,
    },
    /// Gives a lease up.
    Release { name: String, holder: NodeName },
    /// Stores a value; base64.
    PutBlob { bytes: String },
    /// Asks for a value.
    GetBlob { digest: Digest },
    /// Answers once the newest event is not `known`, or after so long at most.
    News {
        known: Option<Position>,
        within_ms: u64,
    },
}

/// The answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Reply {
    /// Whether this node has the file open, or is about to.
    Seat { holds: bool },
    /// Appended, or it was there already.
    Appended { position: Position },
    /// Not appended, or it is not known whether.
    Refused { refusal: Refusal },
    /// Events. `more`: the answer would have been too long, there are more of those that were asked for.
    Entries {
        entries: Vec<Entry>,
        #[serde(default)]
        more: bool,
    },
    /// The coordinator's generation.
    Generation { generation: Generation },
    /// Who holds the lease.
    Lease { holder: NodeName, remaining_ms: u64 },
    /// Done.
    Done,
    /// Stored.
    Stored { digest: Digest },
    /// The value, base64; none of that digest.
    Value { bytes: Option<String> },
    /// The place of the newest event, and which record it is of.
    News { position: Position, record: u64 },
    /// This node does not sit: nothing was done.
    NotSeated { why: String },
    /// It could not be done; nothing was, except for a value that may be stored.
    Unavailable { why: String },
    /// The request cannot be understood: nothing was done.
    NotUnderstood { why: String },
}

/// [`AppendError`], as it is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub(super) enum Refusal {
    Conflict {
        stream: StreamId,
        expected: Seq,
        actual: Seq,
    },
    Fenced {
        mine: Generation,
        current: Generation,
    },
    Unavailable {
        why: String,
    },
    Unknown {
        why: String,
    },
    TooLarge {
        what: String,
        size: usize,
        limit: usize,
    },
    Invalid {
        why: String,
    },
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict {
                stream,
                expected,
                actual,
            } => Self::Conflict {
                stream,
                expected,
                actual,
            },
            AppendError::Fenced { mine, current } => Self::Fenced { mine, current },
            AppendError::Unavailable(Unavailable { why }) => Self::Unavailable { why },
            AppendError::Unknown(why) => Self::Unknown { why },
            AppendError::TooLarge { what, size, limit } => Self::TooLarge {
                what: what.to_owned(),
                size,
                limit,
            },
            AppendError::Invalid(why) => Self::Invalid {
                why: why.to_owned(),
            },
        }
    }
}

impl From<Refusal> for AppendError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict {
                stream,
                expected,
                actual,
            } => Self::Conflict {
                stream,
                expected,
                actual,
            },
            Refusal::Fenced { mine, current } => Self::Fenced { mine, current },
            Refusal::Unavailable { why } => Unavailable::new(why).into(),
            Refusal::Unknown { why } => Self::Unknown(why),
            Refusal::TooLarge { what, size, limit } => {
                tracing::debug!(what, "an append is over a limit of the partner's");
                Self::TooLarge {
                    what: "of what the node with the record bounds",
                    size,
                    limit,
                }
            }
            Refusal::Invalid { why } => Self::Invalid(known_fault(&why)),
        }
    }
}

/// The text of a caller's fault. What can be told without the record is told before asking, so only these two are left.
fn known_fault(why: &str) -> &'static str {
    match [REUSED_ID, PARTLY_THERE].into_iter().find(|it| *it == why) {
        Some(known) => known,
        None => "the node with the record refuses it",
    }
}

/// A call, and which record it is meant for: the one that the asking node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) record: Option<u64>,
    pub(super) call: Call,
}

#[derive(Serialize)]
struct SentCall<'a> {
    version: u32,
    record: Option<u64>,
    call: &'a Call,
}

#[derive(Serialize)]
struct SentReply<'a> {
    version: u32,
    reply: &'a Reply,
}

#[derive(Deserialize)]
struct ReceivedCall<'a> {
    version: u32,
    #[serde(default)]
    record: Option<u64>,
    #[serde(borrow, default)]
    call: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ReceivedReply<'a> {
    #[serde(borrow, default)]
    reply: Option<&'a RawValue>,
}

pub(super) fn encode_call(call: &Call, record: Option<u64>) -> Vec<u8> {
    let sent = SentCall {
        version: VERSION,
        record,
        call,
    };
    serde_json::to_vec(&sent).expect("plain data: JSON can say it")
}

pub(super) fn encode_reply(reply: &Reply) -> Vec<u8> {
    let version = VERSION;
    serde_json::to_vec(&SentReply { version, reply }).expect("plain data: JSON can say it")
}

/// The request, or why it cannot be understood.
pub(super) fn decode_call(bytes: &[u8]) -> Result<Asked, String> {
    let received: ReceivedCall<'_> = serde_json::from_slice(bytes)
        .map_err(|error| format!("it is no request for the record: {error}"))?;
    if received.version > VERSION {
        let version = received.version;
        return Err(format!(
            "it is of version {version}, and this node's release knows {VERSION}"
        ));
    }
    let call = received.call.ok_or("it asks for nothing")?;
    let call = serde_json::from_str(call.get());
    let call = call.map_err(|error| format!("this node's release does not know it: {error}"))?;
    let record = received.record;
    Ok(Asked { record, call })
}

/// The answer, or why it cannot be understood.
pub(super) fn decode_reply(bytes: &[u8]) -> Result<Reply, String> {
    let received: ReceivedReply<'_> = serde_json::from_slice(bytes)
        .map_err(|error| format!("its answer is none of the record's: {error}"))?;
    let reply = received.reply.ok_or("its answer says nothing")?;
    serde_json::from_str(reply.get())
        .map_err(|error| format!("its answer cannot be understood: {error}"))
}

pub(super) fn text_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn bytes_of(text: &str) -> Result<Vec<u8>, String> {
    let decoded = STANDARD.decode(text);
    decoded.map_err(|error| format!("a value is not base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_once_is_understood_for_ever() {
        let call =
            br#"{"version":1,"call":{"ask":"read_since","after":7,"limit":5,"new":1},"more":{}}"#;
        let (after, limit) = (Position(7), 5);
        let read = Call::ReadSince { after, limit };
        let record = None;
        assert_eq!(decode_call(call), Ok(Asked { record, call: read }));
        let append = br#"{"version":1,"call":{"ask":"append","append":{"fence":{"advance":{"from":1,"to":2}},"writes":[
            {"stream":"control","expected":3,"events":[{"id":"8d0f0b3c-6d0b-4c7a-9f6e-3f6d5a1f2b4c","body":"{}"}]}]}}}"#;
        let call = decode_call(append).unwrap().call;
        let record = Some(7);
        let said = encode_call(&call, record);
        assert_eq!(decode_call(&said), Ok(Asked { record, call }));
        let reply = br#"{"version":2,"reply":{"answer":"entries","entries":[]}}"#;
        let (entries, more) = (vec![], false);
        assert_eq!(decode_reply(reply), Ok(Reply::Entries { entries, more }));
    }

    #[test]
    fn what_is_newer_is_not_tried() {
        let newer = br#"{"version":2,"call":{"ask":"seat"}}"#;
        assert!(decode_call(newer).unwrap_err().contains("version 2"));
        let unknown = br#"{"version":1,"call":{"ask":"compact"}}"#;
        let why = decode_call(unknown).unwrap_err();
        assert!(why.contains("unknown variant `compact`"), "{why}");
        for nonsense in [&b""[..], b"{}", b"[]", br#"{"version":1}"#, b"\xff"] {
            assert!(decode_call(nonsense).is_err());
            assert!(decode_reply(nonsense).is_err());
        }
    }

    #[test]
    fn every_refusal_comes_back_as_it_was() {
        let (mine, current) = (Generation(1), Generation(2));
        let (stream, expected, actual) = (StreamId::Catalogue, Seq(1), Seq(4));
        for error in [
            AppendError::Conflict {
                stream,
                expected,
                actual,
            },
            AppendError::Fenced { mine, current },
            AppendError::Unavailable(Unavailable::new("a")),
            AppendError::Unknown("b".to_owned()),
            AppendError::Invalid(REUSED_ID),
            AppendError::Invalid(PARTLY_THERE),
        ] {
            let refusal = Refusal::from(error.clone());
            let reply = Reply::Refused { refusal };
            let said = decode_reply(&encode_reply(&reply)).unwrap();
            let Reply::Refused { refusal } = said else {
                panic!("{said:?}")
            };
            assert_eq!(AppendError::from(refusal), error);
        }
    }
}
