//! Reading: pages of appends, and of each its bodies.

use std::time::Duration;

use evenkeel_model::{Generation, Position, Seq, StreamId};
use tokio::time::{Instant, timeout_at};

use super::append::head_of;
use super::batch::{Damaged, Described, Description, Parts};
use super::open::Inner;
use super::options::CALL;
use super::wire::{self, Kv, RangeAnswer};
use crate::append::Entry;
use crate::record::Unavailable;

/// Appends per request: with 0.7 MiB at most each, and ordinarily with less than one KiB.
pub(super) const PAGE: usize = 32;
/// How long a read may take in all: some calls, with another leader of etcd among them, and less than anyone waits for it.
pub(super) const READ: Duration = Duration::from_secs(20);

impl From<Damaged> for Unavailable {
    fn from(damaged: Damaged) -> Self {
        Self::new(damaged.to_string())
    }
}

impl Inner {
    pub(super) async fn generation(&self) -> Result<Generation, Unavailable> {
        let until = Instant::now() + CALL;
        let found = self.get(&self.keys.head(), until).await?;
        let bytes = found.map(|kv| kv.value.0);
        Ok(head_of(bytes.as_deref())?.generation)
    }

    /// What is read until then, if all of it takes longer.
    pub(super) async fn read_since(
        &self,
        after: Position,
        limit: usize,
        until: Instant,
    ) -> Result<Vec<Entry>, Unavailable> {
        let wanted = |_: &Described, position| position > after;
        let reading = Reading::new(after, Position(u64::MAX), limit);
        self.gather(reading, until, wanted).await
    }

    /// What is read until then, if all of it takes longer.
    pub(super) async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
        until: Instant,
    ) -> Result<Vec<Entry>, Unavailable> {
        let Some((first, last)) = self.span(stream, after, until).await? else {
            return Ok(Vec::new());
        };
        let wanted = |event: &Described, _| event.stream == stream && event.seq > after;
        let reading = Reading::new(Position(first.0 - 1), last, limit);
        self.gather(reading, until, wanted).await
    }

    /// Trouble ends it: what was read before is the answer, unless that is nothing.
    async fn gather(
        &self,
        mut reading: Reading,
        until: Instant,
        wanted: impl Fn(&Described, Position) -> bool + Sync,
    ) -> Result<Vec<Entry>, Unavailable> {
        while reading.goes_on() {
            let read = self.read_page(&mut reading, until, &wanted).await;
            if let Err(why) = read {
                match reading.entries.is_empty() {
                    true => return Err(why),
                    false => break,
                }
            }
        }
        reading.entries.truncate(reading.limit);
        Ok(reading.entries)
    }

    async fn read_page(
        &self,
        reading: &mut Reading,
        until: Instant,
        wanted: &(impl Fn(&Described, Position) -> bool + Sync),
    ) -> Result<(), Unavailable> {
        let most = reading.limit - reading.entries.len();
        let appends = self.appends_after(reading.next, most, until).await?;
        let Some(newest) = appends.last() else {
            reading.next = reading.last;
            return Ok(());
        };
        let next = newest.description.last();
        for found in appends {
            let wants: Vec<_> = found
                .description
                .positioned()
                .map(|(event, position)| wanted(event, position))
                .collect();
            if wants.contains(&true) {
                let of_append = self.entries_of(&found, until).await?;
                let pairs = of_append.into_iter().zip(wants);
                let entries = pairs.filter_map(|(entry, is_wanted)| is_wanted.then_some(entry));
                reading.entries.extend(entries);
            }
        }
        reading.next = next;
        Ok(())
    }

    /// Where the stream's events are, by a log that ends where the record does.
    async fn span(
        &self,
        stream: StreamId,
        after: Seq,
        until: Instant,
    ) -> Result<Option<(Position, Position)>, Unavailable> {
        let until = within(until);
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
        until: Instant,
    ) -> Result<Vec<Entry>, Unavailable> {
        let before = Position(position.0.saturating_sub(1));
        match self.appends_after(before, 1, until).await?.first() {
            Some(found) => self.entries_of(found, until).await,
            None => Ok(Vec::new()),
        }
    }

    /// The next appends that have events after a position, at most a page of them, and at least one if there is one.
    async fn appends_after(
        &self,
        after: Position,
        most: usize,
        until: Instant,
    ) -> Result<Vec<Found>, Unavailable> {
        let Some(from) = after.0.checked_add(1) else {
            return Ok(Vec::new());
        };
        let mut limit = most.clamp(1, PAGE);
        loop {
            let from = self.keys.event(Position(from));
            let range = wire::range(&from, &self.keys.events_end(), limit);
            let call = self.client.call_until("kv/range", &range, within(until));
            let asked = call.await;
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

    async fn entries_of(&self, found: &Found, until: Instant) -> Result<Vec<Entry>, Unavailable> {
        let entries = match &found.description.parts {
            None => found.description.entries(&found.bodies),
            Some(parts) => found
                .description
                .entries(&self.bodies_in(parts, until).await?),
        };
        Ok(entries?)
    }

    async fn bodies_in(&self, parts: &Parts, until: Instant) -> Result<Vec<u8>, Unavailable> {
        let mut bodies = Vec::new();
        for number in 0..parts.count {
            let key = self.keys.part(parts, number);
            let part = self.get(&key, until).await?;
            let part = part.ok_or_else(|| Damaged(format!("the key {key} is missing")))?;
            bodies.extend(part.value.0);
        }
        Ok(bodies)
    }

    pub(super) async fn get(&self, key: &str, until: Instant) -> Result<Option<Kv>, Unavailable> {
        let (get, until) = (wire::get(key), within(until));
        let answer: RangeAnswer = self.client.call_until("kv/range", &get, until).await?;
        Ok(answer.kvs.into_iter().next())
    }
}

/// One call of several that are to end by `until`.
pub(super) fn within(until: Instant) -> Instant {
    until.min(Instant::now() + CALL)
}

/// How far a read has come.
struct Reading {
    /// What comes after it is still to be read.
    next: Position,
    /// Up to it.
    last: Position,
    limit: usize,
    entries: Vec<Entry>,
}

impl Reading {
    fn new(next: Position, last: Position, limit: usize) -> Self {
        Self {
            next,
            last,
            limit,
            entries: Vec::new(),
        }
    }

    fn goes_on(&self) -> bool {
        self.entries.len() < self.limit && self.next < self.last
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
}
