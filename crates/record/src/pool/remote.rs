//! The side that does not sit: asks the partner.

use std::time::Duration;

use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use tokio::time::{Instant, timeout_at};

use super::answer::millis;
use super::peer::PeerError;
use super::state::Pool;
use super::wire::{Call, Reply, bytes_of, decode_reply, encode_call, text_of};
use crate::append::{Append, AppendError, Entry};
use crate::blob::{check_blob_size, digest_of};
use crate::record::{LeaseState, PutBlobError, Unavailable};

/// How long one call may take: what the partner's database takes at most, and the way there. Below what a follower of the record
/// is given for an answer, before it counts as one that hangs.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no answer.
pub(super) enum Failed {
    /// Nothing was done.
    NotDone(String),
    /// It may have been done.
    Unknown(String),
}

impl Failed {
    fn why(self) -> String {
        match self {
            Self::NotDone(why) | Self::Unknown(why) => why,
        }
    }
}

impl From<Failed> for Unavailable {
    fn from(failed: Failed) -> Self {
        Self::new(failed.why())
    }
}

/// Calls of the record by way of the partner. `here` says why this node cannot answer itself.
pub(super) struct Remote<'a> {
    pub(super) pool: &'a Pool,
    pub(super) here: String,
}

impl Remote<'_> {
    /// One exchange, until then at the latest. What the partner says of not having done anything is told from an answer.
    pub(super) async fn ask(&self, call: &Call, until: Instant) -> Result<Reply, Failed> {
        let partner = &self.pool.options.partner;
        let say = |why: String| format!("{}; {partner}: {why}", self.here);
        let known = self.pool.known.get();
        let known = known.map_err(|e| Failed::NotDone(evenkeel_model::error_chain(&e)))?;
        let answered = timeout_at(until, self.pool.peer.call(encode_call(call, known)));
        let bytes = match answered.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error @ PeerError::Unreachable(_))) => {
                return Err(Failed::NotDone(say(error.to_string())));
            }
            Ok(Err(error @ PeerError::NoAnswer(_))) => {
                return Err(Failed::Unknown(say(error.to_string())));
            }
            Err(_) => return Err(Failed::Unknown(say("it did not answer in time".to_owned()))),
        };
        self.pool.hear();
        match decode_reply(&bytes) {
            Ok(Reply::NotSeated { why } | Reply::Unavailable { why }) => {
                Err(Failed::NotDone(say(why)))
            }
            Ok(Reply::NotUnderstood { why }) => Err(Failed::NotDone(say(why))),
            Ok(reply) => {
                self.pool.hear_holder();
                Ok(reply)
            }
            Err(why) => Err(Failed::Unknown(say(why))),
        }
    }

    async fn answer(&self, call: &Call) -> Result<Reply, Failed> {
        self.ask(call, Instant::now() + CALL_WITHIN).await
    }

    fn beside_the_point(&self, reply: &Reply) -> Failed {
        let partner = &self.pool.options.partner;
        tracing::debug!(?reply, "an answer that answers something else");
        Failed::Unknown(format!("{partner} answers something else"))
    }

    pub(super) async fn append(&self, append: Append) -> Result<Position, AppendError> {
        append.check()?;
        match self.answer(&Call::Append { append }).await {
            Ok(Reply::Appended { position }) => Ok(position),
            Ok(Reply::Refused { refusal }) => Err(refusal.into()),
            Ok(other) => Err(AppendError::Unknown(self.beside_the_point(&other).why())),
            Err(Failed::NotDone(why)) => Err(Unavailable::new(why).into()),
            Err(Failed::Unknown(why)) => Err(AppendError::Unknown(why)),
        }
    }

    pub(super) async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let from = |last: Option<&Entry>, limit| Call::Read {
            stream,
            after: last.map_or(after, |last| last.seq),
            limit,
        };
        self.pages(from, limit).await
    }

    pub(super) async fn read_since(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let from = |last: Option<&Entry>, limit| Call::ReadSince {
            after: last.map_or(after, |last| last.position),
            limit,
        };
        self.pages(from, limit).await
    }

    /// Asks until there is no more of it, so that what is shorter than `limit` is all there is.
    async fn pages(
        &self,
        from: impl Fn(Option<&Entry>, usize) -> Call,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let mut read = Vec::new();
        loop {
            let call = from(read.last(), limit - read.len());
            let (entries, more) = match self.answer(&call).await? {
                Reply::Entries { entries, more } => (entries, more),
                other => return Err(self.beside_the_point(&other).into()),
            };
            let stands_still = entries.is_empty();
            read.extend(entries);
            read.truncate(limit);
            if !more || read.len() == limit {
                return Ok(read);
            }
            if stands_still {
                let why = "there is more to read, and none of it comes".to_owned();
                return Err(Failed::NotDone(why).into());
            }
        }
    }

    pub(super) async fn generation(&self) -> Result<Generation, Unavailable> {
        match self.answer(&Call::Generation).await? {
            Reply::Generation { generation } => Ok(generation),
            other => Err(self.beside_the_point(&other).into()),
        }
    }

    pub(super) async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        let call = Call::Lease {
            name: name.to_owned(),
            holder: holder.clone(),
            ttl_ms: millis(ttl),
        };
        match self.answer(&call).await? {
            Reply::Lease {
                holder,
                remaining_ms,
            } => Ok(LeaseState {
                holder,
                remaining: Duration::from_millis(remaining_ms),
            }),
            other => Err(self.beside_the_point(&other).into()),
        }
    }

    pub(super) async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        let call = Call::Release {
            name: name.to_owned(),
            holder: holder.clone(),
        };
        match self.answer(&call).await? {
            Reply::Done => Ok(()),
            other => Err(self.beside_the_point(&other).into()),
        }
    }

    pub(super) async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        check_blob_size(&bytes)?;
        let (expected, bytes) = (digest_of(&bytes), text_of(&bytes));
        let stored = self.answer(&Call::PutBlob { bytes }).await;
        match stored.map_err(Unavailable::from)? {
            Reply::Stored { digest } if digest == expected => Ok(digest),
            other => Err(Unavailable::from(self.beside_the_point(&other)).into()),
        }
    }

    pub(super) async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        let text = match self.answer(&Call::GetBlob { digest }).await? {
            Reply::Value { bytes } => bytes,
            other => return Err(self.beside_the_point(&other).into()),
        };
        let Some(text) = text else {
            return Ok(None);
        };
        match bytes_of(&text).map_err(Unavailable::new)? {
            bytes if digest_of(&bytes) == digest => Ok(Some(bytes)),
            _damaged => Err(Unavailable::new(format!(
                "the value sent as {digest} is damaged"
            ))),
        }
    }
}
