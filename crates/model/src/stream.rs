//! Where an event stands in the record: its stream, its number there, and its place among all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::OperationId;

/// A stream of the record: events in it are numbered from 1 without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StreamId {
    /// Cluster configuration, coordinator generation, which operations are open.
    Control,
    /// The packages of the cluster.
    Catalogue,
    /// What happened in one operation.
    Operation(OperationId),
}

/// A text that names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no stream of the record")]
pub struct StreamIdError(pub String);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("control"),
            Self::Catalogue => f.write_str("catalogue"),
            Self::Operation(id) => write!(f, "operation/{id}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = StreamIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let unknown = || StreamIdError(s.to_owned());
        match s {
            "control" => Ok(Self::Control),
            "catalogue" => Ok(Self::Catalogue),
            other => {
                let id = other.strip_prefix("operation/").ok_or_else(unknown)?;
                id.parse().map(Self::Operation).map_err(|_| unknown())
            }
        }
    }
}

impl TryFrom<String> for StreamId {
    type Error = StreamIdError;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<StreamId> for String {
    fn from(stream: StreamId) -> Self {
        stream.to_string()
    }
}

/// How many events a stream has; also the number of its last event. The first event has 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number of the event after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event's place among the events of all streams. Strictly increasing; gaps are allowed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OperationId;

    #[test]
    fn streams_are_read_back_from_their_names() {
        let operation = OperationId("8d0f0b3c-6d0b-4c7a-9f6e-3f6d5a1f2b4c".parse().unwrap());
        for stream in [
            StreamId::Control,
            StreamId::Catalogue,
            StreamId::Operation(operation),
        ] {
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        assert!("operation/".parse::<StreamId>().is_err());
        assert!("Control".parse::<StreamId>().is_err());
    }
}
