//! Reading: pages of appends, and of each its bodies.

use evenkeel_model::{Generation, Position, Seq, StreamId};
use tokio::time::{Instant, timeout_at};

use super::append::head_of;
use super::batch::{Damaged, Description, Parts};
use super::log::generation;
use super::open::Inner;
use super::options::CALL;
use super::wire::{self, Kv, RangeAnswer};
use crate::append::Entry;
use crate::record::Unavailable;

/// Appends per request: with 0.7 MiB at most each, and ordinarily with less than one KiB.
pub(super) const PAGE: usize = 32;

impl From<Damaged> for Unavailable {
    fn from(damaged: Damaged) -> Self {
        Self::new(damaged.to_string())
    }
}

impl Inner {
    pub(super) async fn generation(&self) -> Result<Generation, Unavailable> {
        let bytes = self.get(&self.keys.head()).await?.map(|kv| kv.value.0);
        let head = head_of(bytes.as_deref())?;
        Ok(generation(Some(&head)))
    }

    pub(super) async fn read_since(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let mut entries = Vec::new();
        let mut next = after;
        while entries.len() < limit {
            let appends = self.appends_after(next, limit - entries.len()).await?;
            let Some(last) = appends.last() else { break };
            next = last.description.last();
            for found in appends {
                let of_append = self.entries_of(&found).await?;
                entries.extend(of_append.into_iter().filter(|entry| entry.position > after));
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }

    pub(super) async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let Some((first, last)) = self.span(stream, after).await? else {
            return Ok(Vec::new());
        };
        let mut entries = Vec::new();
        let mut next = Position(first.0 - 1);
        while entries.len() < limit && next < last {
            let appends = self.appends_after(next, PAGE).await?;
            let Some(newest) = appends.last() else { break };
            next = newest.description.last();
            for found in appends {
                if !found.has(stream, after) {
                    continue;
                }
                let of_append = self.entries_of(&found).await?;
                let wanted = |entry: &Entry| entry.stream == stream && entry.seq > after;
                entries.extend(of_append.into_iter().filter(wanted));
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }

    /// Where the stream's events are, by a log that ends where the record does.
    async fn span(
        &self,
        stream: StreamId,
        after: Seq,
    ) -> Result<Option<(Position, Position)>, Unavailable> {
        let until = Instant::now() + CALL;
        let Ok(mut log) = timeout_at(until, self.log.lock()).await else {
            return Err(Unavailable::new("appends of this node take all the time"));
        };
        self.sync(&mut log, until).await?;
        Ok(log.span(stream, after))
    }

    /// All events of the append that has the event at `position`.
    pub(super) async fn append_around(
        &self,
        position: Position,
    ) -> Result<Vec<Entry>, Unavailable> {
        let before = Position(position.0.saturating_sub(1));
        match self.appends_after(before, 1).await?.first() {
            Some(found) => self.entries_of(found).await,
            None => Ok(Vec::new()),
        }
    }

    /// The next appends that have events after a position, at most a page of them, and at least one if there is one.
    async fn appends_after(&self, after: Position, most: usize) -> Result<Vec<Found>, Unavailable> {
        let Some(from) = after.0.checked_add(1) else {
            return Ok(Vec::new());
        };
        let mut limit = most.clamp(1, PAGE);
        loop {
            let from = self.keys.event(Position(from));
            let range = wire::range(&from, &self.keys.events_end(), limit);
            let asked = self.client.call("kv/range", &range).await;
            let answer: RangeAnswer = match asked {
                Ok(answer) => answer,
                Err(failed) if failed.is_too_much() && limit > 1 => {
                    limit /= 2;
                    continue;
                }
                Err(failed) => return Err(failed.into()),
            };
            let found = answer.kvs.into_iter().map(Found::new);
            return Ok(found.collect::<Result<_, _>>()?);
        }
    }

    async fn entries_of(&self, found: &Found) -> Result<Vec<Entry>, Unavailable> {
        let entries = match &found.description.parts {
            None => found.description.entries(&found.bodies),
            Some(parts) => found.description.entries(&self.bodies_in(parts).await?),
        };
        Ok(entries?)
    }

    async fn bodies_in(&self, parts: &Parts) -> Result<Vec<u8>, Unavailable> {
        let mut bodies = Vec::new();
        for number in 0..parts.count {
            let key = self.keys.part(parts, number);
            let part = self.get(&key).await?;
            let part = part.ok_or_else(|| Damaged(format!("the key {key} is missing")))?;
            bodies.extend(part.value.0);
        }
        Ok(bodies)
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Kv>, Unavailable> {
        let answer: RangeAnswer = self.client.call("kv/range", &wire::get(key)).await?;
        Ok(answer.kvs.into_iter().next())
    }
}

/// One append, as it was found.
struct Found {
    description: Description,
    bodies: Vec<u8>,
}

impl Found {
    fn new(kv: Kv) -> Result<Self, Damaged> {
        let (description, bodies) = Description::decode(&kv.value.0)?;
        let bodies = bodies.to_vec();
        Ok(Self {
            description,
            bodies,
        })
    }

    fn has(&self, stream: StreamId, after: Seq) -> bool {
        let mut events = self.description.events.iter();
        events.any(|event| event.stream == stream && event.seq > after)
    }
}
