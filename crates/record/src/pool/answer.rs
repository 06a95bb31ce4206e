//! The side that sits: answers what the partner asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_model::Position;
use tokio::time::{Instant, sleep_until};

use super::state::Pool;
use super::wire::{Asked, Call, Refusal, Reply, bytes_of, decode_call, encode_reply, text_of};
use crate::append::Entry;
use crate::record::{PutBlobError, Record, Unavailable};
use crate::sqlite::SqliteRecord;

/// Entries of one answer, at most: what a follower asks for at once.
const MAX_ENTRIES: usize = 256;
/// Bytes of events of one answer, about: an answer stays small in memory on both sides, and quick on a slow link.
const PAGE_BYTES: usize = 4 << 20;
/// The longest wait for news: within the bounds of whatever carries it.
pub(super) const MAX_NEWS_WAIT: Duration = Duration::from_secs(8);

/// Answers one request of the partner's. Bounded by the calls of the record itself, and by [`MAX_NEWS_WAIT`].
pub(super) async fn answer(pool: &Pool, request: &[u8]) -> Vec<u8> {
    pool.hear();
    let reply = match decode_call(request) {
        Ok(asked) => asked_of(pool, asked).await,
        Err(why) => Reply::NotUnderstood { why },
    };
    encode_reply(&reply)
}

async fn asked_of(pool: &Pool, asked: Asked) -> Reply {
    if asked.call == Call::Seat {
        return seat(pool);
    }
    let record = match pool.seated() {
        Ok(record) => record,
        Err(why) => return Reply::NotSeated { why },
    };
    match asked.record {
        Some(meant) if meant != record.id() => {
            let (node, id) = (&pool.options.node, record.id());
            let why = format!("{node} holds the record {id}, and the partner knows {meant}");
            Reply::Unavailable { why }
        }
        Some(_) | None => said(call(pool, record, asked.call).await),
    }
}

/// Also of a node that has the file open and does not sit yet, or not any more.
fn seat(pool: &Pool) -> Reply {
    let holds = pool.holds.load(Ordering::Acquire);
    Reply::Seat { holds }
}

fn said(outcome: Result<Reply, Unavailable>) -> Reply {
    outcome.unwrap_or_else(|unavailable| Reply::Unavailable {
        why: unavailable.why,
    })
}

async fn call(pool: &Pool, record: Arc<SqliteRecord>, call: Call) -> Result<Reply, Unavailable> {
    Ok(match call {
        Call::Seat => seat(pool),
        Call::Append { append } => match record.append(append).await {
            Ok(position) => Reply::Appended { position },
            Err(error) => Reply::Refused {
                refusal: Refusal::from(error),
            },
        },
        Call::Read {
            stream,
            after,
            limit,
        } => {
            let found = record.read(stream, after, limit.min(MAX_ENTRIES)).await?;
            page(found, limit)
        }
        Call::ReadSince { after, limit } => {
            let found = record.read_since(after, limit.min(MAX_ENTRIES)).await?;
            page(found, limit)
        }
        Call::Generation => Reply::Generation {
            generation: record.generation().await?,
        },
        Call::Lease {
            name,
            holder,
            ttl_ms,
        } => {
            let ttl = Duration::from_millis(ttl_ms);
            let state = record.lease(&name, &holder, ttl).await?;
            Reply::Lease {
                holder: state.holder,
                remaining_ms: millis(state.remaining),
            }
        }
        Call::Release { name, holder } => {
            record.release(&name, &holder).await?;
            Reply::Done
        }
        Call::PutBlob { bytes } => put(&record, &bytes).await,
        Call::GetBlob { digest } => Reply::Value {
            bytes: record.get_blob(digest).await?.map(|bytes| text_of(&bytes)),
        },
        Call::News { known, within_ms } => {
            let within = Duration::from_millis(within_ms).min(MAX_NEWS_WAIT);
            return news(pool, &record, known, within).await;
        }
    })
}

/// As many of them as fit into one answer.
fn page(mut entries: Vec<Entry>, limit: usize) -> Reply {
    let mut bytes = 0;
    let fitting = entries.iter().position(|entry| {
        bytes += entry.body.len();
        bytes > PAGE_BYTES
    });
    // One event always fits: it is far smaller than a page.
    let fitting = fitting.unwrap_or(entries.len());
    let more = fitting < entries.len() || (entries.len() == MAX_ENTRIES && limit > MAX_ENTRIES);
    entries.truncate(fitting);
    Reply::Entries { entries, more }
}

async fn put(record: &SqliteRecord, text: &str) -> Reply {
    let bytes = match bytes_of(text) {
        Ok(bytes) => bytes,
        Err(why) => return Reply::NotUnderstood { why },
    };
    match record.put_blob(bytes).await {
        Ok(digest) => Reply::Stored { digest },
        Err(PutBlobError::Unavailable(Unavailable { why })) => Reply::Unavailable { why },
        // The partner has counted before it asked.
        Err(error @ PutBlobError::TooLarge { .. }) => Reply::NotUnderstood {
            why: error.to_string(),
        },
    }
}

/// Waits until there is something that the partner does not know, or for so long, or until this node does not sit any more.
async fn news(
    pool: &Pool,
    record: &SqliteRecord,
    known: Option<Position>,
    within: Duration,
) -> Result<Reply, Unavailable> {
    let until = Instant::now() + within;
    let (mut bell, mut sits) = (record.doorbell(), pool.sits.subscribe());
    loop {
        bell.mark_unchanged();
        let position = record.last_position().await?;
        if known != Some(position) || Instant::now() >= until {
            let record = record.id();
            return Ok(Reply::News { position, record });
        }
        tokio::select! {
            biased;
            _rung = bell.changed() => {}
            _moved = sits.wait_for(|sits| !sits) => {
                let why = "it has just let the record go".to_owned();
                return Ok(Reply::NotSeated { why });
            }
            () = sleep_until(until) => {}
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
