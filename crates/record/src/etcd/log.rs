//! What a handle knows of the record: enough to decide every append without asking.

use std::collections::BTreeMap;

use evenkeel_model::{EventId, Position, Seq, StreamId};

use super::batch::{Damaged, Description, Head};
use crate::append::{Append, AppendError, Fence, PARTLY_THERE};

/// A fold over the descriptions of all appends, up to a head.
#[derive(Debug, Default)]
pub(super) struct Log {
    head: Head,
    /// The head as it stands in etcd, byte for byte; none in an empty record.
    bytes: Option<Vec<u8>>,
    ids: BTreeMap<EventId, Position>,
    streams: BTreeMap<StreamId, Stream>,
}

/// How long a stream is, and where its events are.
#[derive(Debug, Default)]
struct Stream {
    length: Seq,
    /// Of each append to it: number and position of its last event there.
    appends: Vec<(Seq, Position)>,
}

/// What is to be done about an append.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// All its events are there, if what stands at these positions is the same.
    IsThere(Vec<Position>),
    /// Nothing speaks against it.
    Append,
}

impl Log {
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn head_bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// Decides by what is known. A refusal stands only if the log ends where the record does.
    pub(super) fn decide(&self, append: &Append) -> Result<Decision, AppendError> {
        let events = append.writes.iter().flat_map(|write| &write.events);
        let there: Vec<_> = events
            .clone()
            .filter_map(|event| self.ids.get(&event.id).copied())
            .collect();
        if !there.is_empty() {
            return match there.len() == events.count() {
                true => Ok(Decision::IsThere(there)),
                false => Err(AppendError::Invalid(PARTLY_THERE)),
            };
        }
        self.check_fence(append.fence)?;
        for write in &append.writes {
            let actual = self.length(write.stream);
            if actual != write.expected {
                return Err(AppendError::Conflict {
                    stream: write.stream,
                    expected: write.expected,
                    actual,
                });
            }
        }
        Ok(Decision::Append)
    }

    fn check_fence(&self, fence: Fence) -> Result<(), AppendError> {
        let mine = match fence {
            Fence::None => return Ok(()),
            Fence::Holds(mine) | Fence::Advance { from: mine, .. } => mine,
        };
        let current = self.head.generation;
        match mine == current {
            true => Ok(()),
            false => Err(AppendError::Fenced { mine, current }),
        }
    }

    fn length(&self, stream: StreamId) -> Seq {
        self.streams
            .get(&stream)
            .map(|stream| stream.length)
            .unwrap_or_default()
    }

    /// The first append that has events of the stream after `after`, and the last one of the stream, by position.
    pub(super) fn span(&self, stream: StreamId, after: Seq) -> Option<(Position, Position)> {
        let appends = &self.streams.get(&stream)?.appends;
        let begin = appends.partition_point(|(last, _)| *last <= after);
        let (_, first) = appends.get(begin)?;
        let (_, last) = appends.last()?;
        Some((*first, *last))
    }

    /// The next append, which must continue what is known.
    pub(super) fn push(&mut self, described: &Description) -> Result<(), Damaged> {
        let (first, previous) = (self.head.position.0 + 1, self.head.last);
        if described.first.0 != first || described.previous != previous {
            let at = described.first;
            return Err(Damaged(format!(
                "the append at {at} does not continue what is before it"
            )));
        }
        for (index, event) in described.events.iter().enumerate() {
            let position = Position(first + index as u64);
            let stream = self.streams.entry(event.stream).or_default();
            if event.seq != stream.length.next() {
                let (stream, seq) = (event.stream, event.seq);
                return Err(Damaged(format!("{stream} has event {seq} at {position}")));
            }
            stream.length = event.seq;
            match stream.appends.last_mut() {
                Some(last) if last.1 == described.last() => last.0 = event.seq,
                Some(_) | None => stream.appends.push((event.seq, described.last())),
            }
            self.ids.insert(event.id, position);
            self.head.last = Some(event.id);
        }
        self.head.position = described.last();
        Ok(())
    }

    /// Whether the log has come to this head.
    pub(super) fn ends_with(&self, head: &Head) -> bool {
        (self.head.position, self.head.last) == (head.position, head.last)
    }

    /// The log has come to this head, which stands in etcd with these bytes.
    pub(super) fn arrive(&mut self, head: Head, bytes: Option<Vec<u8>>) {
        self.head = head;
        self.bytes = bytes;
    }
}

/// The head after an append.
pub(super) fn head_after(append: &Append, described: &Description, before: &Head) -> Head {
    let generation = match append.fence {
        Fence::Advance { to, .. } => to,
        Fence::None | Fence::Holds(_) => before.generation,
    };
    Head {
        position: described.last(),
        generation,
        last: described.events.last().map(|event| event.id),
        min_reader: before.min_reader.max(1),
    }
}
