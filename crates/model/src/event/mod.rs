//! What the record holds. New kinds of events wait until the whole cluster runs a version that knows
//! them; unknown fields are ignored; an unknown event that must be understood stops coordinating.

mod catalogue;
mod control;
mod operation;
mod request;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::stream::StreamId;

pub use catalogue::{CatalogueEvent, FirmwareRef, PackageRef};
pub use control::{ControlEvent, OperationKind};
pub use operation::{JobOutcome, OperationEnd, OperationEvent, PauseCause};
pub use request::{DEFAULT_STABILIZE_MINUTES, GetSource, Request, UpdateRequest};

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
    "background_firmware_set",
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
    "firmware_added",
    "firmware_asked",
    "firmware_begun",
    "firmware_withdrawn",
    "firmware_unpacked",
    "firmware_removed",
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
