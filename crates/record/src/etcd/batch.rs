//! How an append and the head of the record are written.

use evenkeel_model::{EventId, Generation, Position, Seq, StreamId};
use serde::{Deserialize, Serialize};

use crate::append::{Append, Entry};

/// What this release reads. It grows with changes that an older release must not read past.
pub(super) const READER: u32 = 1;

/// What stands between the prefix and the names of many keys. A record whose prefix ends there has its keys among those.
const FAMILIES: [&str; 4] = ["event/", "part/", "value/", "lease/"];

/// The names of all keys.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    pub(super) fn head(&self) -> String {
        self.of("head")
    }

    /// The append whose last event has this position. Twenty digits hold any, so that keys are in the order of positions.
    pub(super) fn event(&self, last: Position) -> String {
        self.of(&format!("event/{:020}", last.0))
    }

    /// Greater than the keys of all appends, and than nothing else: `:` follows the digits.
    pub(super) fn events_end(&self) -> String {
        self.of("event/:")
    }

    /// The heads of records among whose keys this one's would be.
    pub(super) fn heads_around(&self) -> Vec<String> {
        let slashes = self.prefix.match_indices('/');
        let parents = slashes.map(|(at, _)| self.prefix.split_at(at + 1));
        let among = parents.filter(|(_, rest)| FAMILIES.iter().any(|it| rest.starts_with(it)));
        among.map(|(parent, _)| format!("{parent}head")).collect()
    }

    /// The heads of records whose keys would be among this one's, right below.
    pub(super) fn heads_within(&self) -> Vec<String> {
        let families = FAMILIES.iter();
        families.map(|it| self.of(&format!("{it}head"))).collect()
    }

    pub(super) fn part(&self, parts: &Parts, number: usize) -> String {
        self.of(&format!("part/{}/{number:03}", parts.name))
    }

    pub(super) fn value(&self, digest: &str) -> String {
        self.of(&format!("value/{digest}"))
    }

    pub(super) fn piece(&self, digest: &str, number: usize) -> String {
        self.of(&format!("value/{digest}/{number:03}"))
    }

    pub(super) fn lease(&self, name: &str) -> String {
        self.of(&format!("lease/{name}"))
    }

    pub(super) fn compaction(&self) -> String {
        self.of("compaction")
    }

    pub(super) fn probe(&self) -> String {
        self.of("probe")
    }

    fn of(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }
}

/// The end of the record. Its bytes are what an append is conditional on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// Of the last event.
    pub(super) position: Position,
    /// The coordinator's.
    pub(super) generation: Generation,
    /// The last event's; makes every head's bytes unique.
    pub(super) last: Option<EventId>,
    /// The lowest [`READER`] that may read what is here.
    pub(super) min_reader: u32,
}

/// One append's events, without their bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    /// Position of the first of them.
    pub(super) first: Position,
    /// Id of the event before the first.
    pub(super) previous: Option<EventId>,
    pub(super) events: Vec<Described>,
    /// Where the bodies are, if they do not follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<Parts>,
}

/// One event, without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) stream: StreamId,
    pub(super) seq: Seq,
    pub(super) id: EventId,
    /// Bytes of its body.
    pub(super) size: usize,
}

/// Bodies under keys of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) count: usize,
}

/// What is stored is not what was written. For people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record on etcd is damaged: {0}")]
pub(super) struct Damaged(pub(super) String);

impl Description {
    /// Of an append that continues a record which ends with `head`.
    pub(super) fn new(append: &Append, head: &Head) -> Self {
        let mut events = Vec::new();
        for write in &append.writes {
            let mut seq = write.expected;
            for event in &write.events {
                seq = seq.next();
                events.push(Described {
                    stream: write.stream,
                    seq,
                    id: event.id,
                    size: event.body.len(),
                });
            }
        }
        Self {
            first: Position(head.position.0 + 1),
            previous: head.last,
            events,
            parts: None,
        }
    }

    /// The events, each with its position.
    pub(super) fn positioned(&self) -> impl Iterator<Item = (&Described, Position)> {
        let positions = (self.first.0..).map(Position);
        self.events.iter().zip(positions)
    }

    /// Position of the last event.
    pub(super) fn last(&self) -> Position {
        Position(self.first.0 + self.events.len() as u64 - 1)
    }

    /// The value of the append's key; `bodies` are left out where they are in parts.
    pub(super) fn encode(&self, bodies: &[u8]) -> Vec<u8> {
        let mut value = serde_json::to_vec(self).expect("it has no maps and no floats");
        value.push(b'\n');
        if self.parts.is_none() {
            value.extend_from_slice(bodies);
        }
        value
    }

    /// The description, and the bodies that follow it.
    pub(super) fn decode(value: &[u8]) -> Result<(Self, &[u8]), Damaged> {
        let end = value.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| Damaged("an append has no description".to_owned()))?;
        let description: Self = serde_json::from_slice(&value[..end])
            .map_err(|error| Damaged(format!("an append's description: {error}")))?;
        if description.events.is_empty() {
            return Err(Damaged("an append has no events".to_owned()));
        }
        Ok((description, &value[end + 1..]))
    }

    /// The events with their bodies.
    pub(super) fn entries(&self, bodies: &[u8]) -> Result<Vec<Entry>, Damaged> {
        let mut rest = bodies;
        let mut entries = Vec::with_capacity(self.events.len());
        for (event, position) in self.positioned() {
            let damaged = |what: &str| Damaged(format!("the event at {position} {what}"));
            let body = rest.split_at_checked(event.size);
            let (body, others) = body.ok_or_else(|| damaged("is cut off"))?;
            rest = others;
            let body = String::from_utf8(body.to_vec()).map_err(|_| damaged("is no text"))?;
            entries.push(Entry {
                position,
                stream: event.stream,
                seq: event.seq,
                id: event.id,
                body,
            });
        }
        match rest.is_empty() {
            true => Ok(entries),
            false => Err(Damaged(format!(
                "more bodies than events from {}",
                self.first
            ))),
        }
    }
}

/// All bodies of an append, one after the other.
pub(super) fn bodies(append: &Append) -> Vec<u8> {
    let events = append.writes.iter().flat_map(|write| &write.events);
    events.flat_map(|event| event.body.bytes()).collect()
}

#[cfg(test)]
mod tests {
    use evenkeel_seam::{Ids, SeededIds};

    use super::*;
    use crate::append::{Fence, NewEvent, StreamWrite};

    fn append(texts: &[&str]) -> Append {
        let ids = SeededIds::new(1);
        let event = |text: &&str| NewEvent {
            id: EventId(ids.uuid()),
            body: (*text).to_owned(),
        };
        Append {
            fence: Fence::None,
            writes: vec![StreamWrite {
                stream: StreamId::Control,
                expected: Seq(4),
                events: texts.iter().map(event).collect(),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_damage_is_noticed() {
        let append = append(&["{\n}", "", "\u{1f6e1}"]);
        let head = Head {
            position: Position(8),
            ..Head::default()
        };
        let described = Description::new(&append, &head);
        assert_eq!(described.last(), Position(11));
        let value = described.encode(&bodies(&append));
        let (read, rest) = Description::decode(&value).unwrap();
        assert_eq!(read, described);
        let entries = read.entries(rest).unwrap();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| (entry.position.0, entry.seq.0, entry.body.as_str()))
            .collect();
        assert_eq!(found, [(9, 5, "{\n}"), (10, 6, ""), (11, 7, "\u{1f6e1}")]);
        for damaged in [&rest[1..], &[rest, b"x"].concat(), &[0xff; 7][..]] {
            assert!(read.entries(damaged).is_err());
        }
        assert!(Description::decode(b"{}").is_err());
        assert!(Description::decode(b"{}\n").is_err());
    }

    #[test]
    fn keys_are_in_the_order_of_positions_and_end_where_they_say() {
        let keys = Keys::new("/evenkeel/");
        let all = [1, 9, 10, 999, u64::MAX].map(|position| keys.event(Position(position)));
        assert!(all.is_sorted());
        assert!(all[4] < keys.events_end());
    }

    #[test]
    fn keys_of_a_record_within_are_no_appends_of_the_one_around() {
        let (around, within) = (Keys::new("P/"), Keys::new("P/event/"));
        let end = around.events_end();
        let keys = [within.head(), within.event(Position(1)), within.probe()];
        assert!(keys.iter().all(|key| *key > end));
        assert_eq!(within.heads_around(), ["P/head"]);
        assert!(around.heads_within().contains(&within.head()));
        let deep = Keys::new("/a/value/b/lease/").heads_around();
        assert_eq!(deep, ["/a/head", "/a/value/b/head"]);
        for apart in ["/evenkeel/", "/evenkeel/second/", "/events/"] {
            assert_eq!(Keys::new(apart).heads_around(), [""; 0], "{apart}");
        }
    }

    #[test]
    fn the_longest_description_leaves_room_in_a_request() {
        let ids = SeededIds::new(1);
        let longest = Described {
            stream: StreamId::Operation(evenkeel_model::OperationId(ids.uuid())),
            seq: Seq(u64::MAX),
            id: EventId(ids.uuid()),
            size: crate::MAX_EVENT_BYTES,
        };
        let description = Description {
            first: Position(u64::MAX - 5000),
            previous: Some(longest.id),
            events: vec![longest; crate::MAX_EVENTS_PER_APPEND],
            parts: None,
        };
        let size = description.encode(&[]).len() + super::super::stage::INLINE;
        assert!(size < 700 * 1024 + 16 * 1024, "{size}");
    }
}
