//! Appending: decide by the log, write on the condition that the log is up to date, read on if it was not.

use evenkeel_model::Position;
use tokio::time::{Instant, timeout_at};

use super::batch::{Description, Head, READER, bodies};
use super::log::{Decision, Log, head_after};
use super::open::Inner;
use super::read::PAGE;
use super::stage::{INLINE, Staged};
use super::trouble::Failed;
use super::wire::{self, TxnAnswer};
use crate::append::{Append, AppendError, Entry, REUSED_ID};
use crate::record::Unavailable;

/// How an attempt to append ended.
enum Attempt {
    /// It is in etcd.
    Done(Position),
    /// Someone else was first: nothing happened, and the log is behind.
    Behind,
}

impl Inner {
    /// One append, until it is settled or `until`.
    pub(super) async fn append(
        &self,
        append: &Append,
        until: Instant,
    ) -> Result<Position, AppendError> {
        append.check()?;
        let Ok(mut log) = timeout_at(until, self.log.lock()).await else {
            return Err(Unavailable::new("other appends of this node take all the time").into());
        };
        let mut staged = None;
        let outcome = self.settle(&mut log, append, &mut staged, until).await;
        if outcome.is_err()
            && let Some(staged) = staged
        {
            self.unstage(staged).await;
        }
        outcome
    }

    async fn settle(
        &self,
        log: &mut Log,
        append: &Append,
        staged: &mut Option<Staged>,
        until: Instant,
    ) -> Result<Position, AppendError> {
        let bodies = bodies(append);
        // What is in doubt: a transaction of this append whose outcome is not known.
        let mut doubt: Option<Failed> = None;
        // A refusal of what etcd may have done all the same. The read after it tells.
        let mut refusal: Option<Failed> = None;
        let mut is_fresh = false;
        loop {
            match log.decide(append) {
                Ok(Decision::IsThere(positions)) => {
                    return self.compare(append, &positions, until).await;
                }
                // Nothing that was sent before can still happen: the head that it was to replace is gone.
                Err(decided) if is_fresh => return Err(decided),
                Err(_) => {}
                Ok(Decision::Append) => {
                    if let Some(failed) = refusal {
                        return Err(not_done(doubt, failed.into()));
                    }
                    match self.attempt(log, append, &bodies, staged, until).await {
                        Ok(Attempt::Done(position)) => return Ok(position),
                        Ok(Attempt::Behind) => {}
                        Err(failed) if failed.may_happen_yet => doubt = Some(failed),
                        Err(failed) if failed.may_have_happened => refusal = Some(failed),
                        Err(failed) => return Err(not_done(doubt, failed.into())),
                    }
                }
            }
            if let Err(unavailable) = self.sync(log, until).await {
                return Err(not_done(refusal.or(doubt), unavailable));
            }
            is_fresh = true;
        }
    }

    /// One transaction.
    async fn attempt(
        &self,
        log: &mut Log,
        append: &Append,
        bodies: &[u8],
        staged: &mut Option<Staged>,
        until: Instant,
    ) -> Result<Attempt, Failed> {
        if bodies.len() > INLINE && staged.is_none() {
            let stored = self.stage(bodies, until).await;
            // A part may be stored though its answer is lost: that is nothing of the record yet.
            *staged = Some(stored.map_err(Failed::without_doubt)?);
        }
        let mut described = Description::new(append, log.head());
        described.parts = staged.as_ref().map(|staged| staged.parts.clone());
        let head = head_after(append, &described, log.head());
        let head_bytes = serde_json::to_vec(&head).expect("it has no maps and no floats");
        let (head_key, event_key) = (self.keys.head(), self.keys.event(described.last()));
        let mut compare = vec![wire::has(&head_key, log.head_bytes())];
        let mut success = vec![
            wire::puts(&head_key, &head_bytes),
            wire::puts(&event_key, &described.encode(bodies)),
        ];
        if let Some(staged) = staged {
            compare.extend(staged.compares(self));
            success.extend(staged.operations(self));
        }
        let txn = wire::txn(&compare, &success, &[]);
        let answer: TxnAnswer = self.client.call_once("kv/txn", &txn, until).await?;
        if !answer.succeeded {
            return Ok(Attempt::Behind);
        }
        let last = described.last();
        match log.push(&described) {
            Ok(()) => log.arrive(head, Some(head_bytes)),
            // It was decided by this very log.
            Err(damaged) => tracing::error!(%damaged, "an append of one's own"),
        }
        self.rings.send_modify(|rings| *rings += 1);
        Ok(Attempt::Done(last))
    }

    /// A retry is one only if everything else is the same too.
    async fn compare(
        &self,
        append: &Append,
        positions: &[Position],
        until: Instant,
    ) -> Result<Position, AppendError> {
        let doubtful = |unavailable: Unavailable| AppendError::Unknown(unavailable.why);
        let mut positions = positions.iter();
        let mut page: Vec<Entry> = Vec::new();
        let mut last = Position::default();
        for write in &append.writes {
            for (event, position) in write.events.iter().zip(positions.by_ref()) {
                if !page.iter().any(|entry| entry.position == *position) {
                    let asked = self.append_around(*position, until).await;
                    page = asked.map_err(doubtful)?;
                }
                let found = page.iter().find(|entry| entry.position == *position);
                let wanted = (write.stream, event.id, &event.body);
                if found.map(|entry| (entry.stream, entry.id, &entry.body)) != Some(wanted) {
                    return Err(AppendError::Invalid(REUSED_ID));
                }
                last = last.max(*position);
            }
        }
        Ok(last)
    }

    /// Reads on until the log ends where the record does. A record that does not continue the log is another one, put back
    /// from a backup: the log begins anew.
    pub(super) async fn sync(&self, log: &mut Log, until: Instant) -> Result<(), Unavailable> {
        for _ in 0..2 {
            match self.read_on(log, until).await? {
                Continues::Yes => return Ok(()),
                Continues::No(why) => {
                    tracing::warn!(why, "the record on etcd is read anew");
                    *log = Log::default();
                }
            }
        }
        Err(Unavailable::new(
            "the record on etcd does not fit together: restore it from a backup",
        ))
    }

    async fn read_on(&self, log: &mut Log, until: Instant) -> Result<Continues, Unavailable> {
        let mut limit = PAGE;
        loop {
            let from = self.keys.event(Position(log.head().position.0 + 1));
            let events = wire::range(&from, &self.keys.events_end(), limit);
            let reads = [
                wire::reads(&wire::get(&self.keys.head())),
                wire::reads(&events),
            ];
            let txn = wire::txn(&[], &reads, &[]);
            let asked = self.client.call_until("kv/txn", &txn, until).await;
            let mut answer: TxnAnswer = match asked {
                Ok(answer) => answer,
                Err(failed) if failed.is_too_much() && limit > 1 => {
                    limit /= 2;
                    continue;
                }
                Err(failed) => return Err(failed.into()),
            };
            let bytes = answer.found(0).pop().map(|kv| kv.value.0);
            let head = head_of(bytes.as_deref())?;
            let page = answer.found(1);
            let is_whole = page.len() < limit;
            for kv in page {
                let pushed = Description::decode(&kv.value.0)
                    .and_then(|(described, _)| log.push(&described));
                if let Err(damaged) = pushed {
                    return Ok(Continues::No(damaged.to_string()));
                }
            }
            if log.ends_with(&head) {
                log.arrive(head, bytes);
                return Ok(Continues::Yes);
            }
            if is_whole {
                let (has, knows) = (head.position, log.head().position);
                let why = format!("it ends with {has}, and {knows} is known");
                return Ok(Continues::No(why));
            }
        }
    }
}

enum Continues {
    Yes,
    No(String),
}

/// Parsed and understood; the head of an empty record is the default.
pub(super) fn head_of(bytes: Option<&[u8]>) -> Result<Head, Unavailable> {
    let Some(bytes) = bytes else {
        return Ok(Head::default());
    };
    let head: Head = serde_json::from_slice(bytes)
        .map_err(|error| Unavailable::new(format!("the head of the record on etcd: {error}")))?;
    match head.min_reader > READER {
        true => Err(Unavailable::new(format!(
            "the record on etcd needs a reader of at least {}, this release is {READER}",
            head.min_reader
        ))),
        false => Ok(head),
    }
}

fn not_done(doubt: Option<Failed>, now: Unavailable) -> AppendError {
    match doubt {
        Some(failed) => AppendError::Unknown(format!("{failed}; then {}", now.why)),
        None => AppendError::Unavailable(now),
    }
}
