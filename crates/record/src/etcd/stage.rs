//! Bodies that do not fit into the request of their append go ahead, under an etcd lease that removes them if the append never comes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::batch::Parts;
use super::open::Inner;
use super::trouble::Failed;
use super::wire::{self, AnyAnswer, LeaseAnswer, Num};

/// Bodies of an append that go in one request with it.
pub(super) const INLINE: usize = 512 * 1024;
/// The longest value of a key, and so of a request: etcd's default is 1.5 MiB.
pub(super) const PART: usize = 1280 * 1024;
/// How long parts stay without their append. Far longer than a call that stores them may take.
const UNUSED_SECONDS: u32 = 600;

/// How long dropping them may take: they go by themselves too.
const UNSTAGE: Duration = Duration::from_secs(2);

/// Parts that wait for their append.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) parts: Parts,
    lease: Num,
}

impl Staged {
    /// What the append's transaction demands.
    pub(super) fn compares(&self, inner: &Inner) -> Vec<Value> {
        self.keys(inner).map(|key| wire::exists(&key)).collect()
    }

    /// What it does, so that the parts stay.
    pub(super) fn operations(&self, inner: &Inner) -> Vec<Value> {
        self.keys(inner).map(|key| wire::keeps(&key)).collect()
    }

    fn keys<'a>(&'a self, inner: &'a Inner) -> impl Iterator<Item = String> + 'a {
        (0..self.parts.count).map(|number| inner.keys.part(&self.parts, number))
    }
}

impl Inner {
    /// Stores the bodies ahead, under names that nobody else has.
    pub(super) async fn stage(&self, bodies: &[u8], until: Instant) -> Result<Staged, Failed> {
        let grant = json!({"TTL": UNUSED_SECONDS.to_string()});
        let lease: LeaseAnswer = self.client.call_until("lease/grant", &grant, until).await?;
        let staged = Staged {
            parts: Parts {
                name: self.ids.uuid().to_string(),
                count: bodies.len().div_ceil(PART),
            },
            lease: lease.id,
        };
        for (number, part) in bodies.chunks(PART).enumerate() {
            let key = self.keys.part(&staged.parts, number);
            let put = wire::put_leased(&key, part, staged.lease);
            let stored: Result<AnyAnswer, _> = self.client.call_until("kv/put", &put, until).await;
            if let Err(failed) = stored {
                self.unstage(staged).await;
                return Err(failed);
            }
        }
        Ok(staged)
    }

    /// Drops parts that are not used. Those of an append that did happen, unknown to this handle, are off the lease and stay.
    pub(super) async fn unstage(&self, staged: Staged) {
        let revoke = json!({"ID": staged.lease.0.to_string()});
        let until = Instant::now() + UNSTAGE;
        let revoked: Result<AnyAnswer, _> =
            self.client.call_until("lease/revoke", &revoke, until).await;
        if let Err(why) = revoked {
            tracing::debug!(%why, "unused parts of an append stay until their lease is over");
        }
    }
}
