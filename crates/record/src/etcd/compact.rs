//! Dropping etcd's history of the keys, which nobody asks for: one of the handles does it, each time whoever is first.
//!
//! etcd's files do not shrink by that (room is used again); defragmenting is the admin's, since it stops a member meanwhile.

use std::sync::Arc;

use serde_json::json;
use tokio::time::sleep;

use super::open::Inner;
use super::trouble::{Code, Failed};
use super::wire::{self, AnyAnswer, Num, TxnAnswer};

/// What one handle saw last time.
#[derive(Debug, Default)]
struct Seen {
    /// The counter.
    counter: Option<Vec<u8>>,
    /// etcd's revision then. What is older is dropped: so readers have a whole interval to finish.
    revision: Num,
}

/// Compacts for as long as the handle is there.
pub(super) async fn keep_compacting(inner: Arc<Inner>) {
    let mut seen = Seen::default();
    loop {
        sleep(inner.compact_every).await;
        match turn(&inner, &mut seen).await {
            Ok(()) => {}
            Err(failed) if failed.code() == Some(Code::PermissionDenied) => {
                tracing::warn!(%failed, "the record's history is left to etcd: give it --auto-compaction-retention=1h");
                return;
            }
            Err(failed) => tracing::debug!(%failed, "the record's history stays until next time"),
        }
    }
}

/// Whoever moves the counter on compacts to what it saw itself one turn before; the others wait for a whole turn.
async fn turn(inner: &Inner, seen: &mut Seen) -> Result<(), Failed> {
    let key = inner.keys.compaction();
    let next = seen.revision.0.to_string().into_bytes();
    let txn = wire::txn(
        &[wire::has(&key, seen.counter.as_deref())],
        &[wire::puts(&key, &next)],
        &[wire::reads(&wire::get(&key))],
    );
    let mut answer: TxnAnswer = inner.client.call("kv/txn", &txn).await?;
    let before = std::mem::replace(&mut seen.revision, answer.header.revision);
    if !answer.succeeded {
        seen.counter = answer.found(0).pop().map(|kv| kv.value.0);
        return Ok(());
    }
    seen.counter = Some(next);
    if before == Num(0) {
        return Ok(());
    }
    let body = json!({"revision": before.0.to_string()});
    match inner.client.call("kv/compaction", &body).await {
        Ok(AnyAnswer { .. }) => Ok(()),
        // Someone else did it, or etcd itself.
        Err(failed) if failed.code() == Some(Code::OutOfRange) => Ok(()),
        Err(failed) => Err(failed),
    }
}
