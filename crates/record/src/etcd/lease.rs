//! Leases: a key that names the holder, attached to an etcd lease, so that etcd removes it when the holder does not renew.
//!
//! etcd counts in whole seconds, and no lease is shorter than one and a half of its election timeouts (2 s as it is delivered). A new
//! leader of etcd starts the leases' times anew, so a change of leaders never costs anyone a lease.

use std::time::Duration;

use evenkeel_model::NodeName;
use serde_json::json;
use tokio::time::Instant;

use super::open::Inner;
use super::trouble::Failed;
use super::wire::{self, AnyAnswer, Kv, LeaseAnswer, Num, RangeAnswer, Streamed, TxnAnswer};
use crate::record::{LeaseState, Unavailable};

/// How long asking for a lease may take. What comes later is of no use to who renews one of a few seconds.
const LEASE_CALL: Duration = Duration::from_secs(4);
/// How long giving back an etcd lease may take: it goes by itself too.
const REVOKE: Duration = Duration::from_secs(1);
/// Tries to take one that others take and lose meanwhile.
const TRIES: usize = 5;

/// An etcd lease of this handle's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    id: Num,
    /// What was asked for.
    ttl: Duration,
}

impl Inner {
    pub(super) async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        let until = Instant::now() + LEASE_CALL;
        let key = self.keys.lease(name);
        for _ in 0..TRIES {
            let found = self.holder(&key, until).await?;
            let state = match found {
                Some(kv) if kv.value.0 != holder.as_str().as_bytes() => {
                    self.others(&kv, until).await?
                }
                Some(kv) => self.renew(&key, &kv, holder, ttl, until).await?,
                None => self.take(&key, None, holder, ttl, until).await?,
            };
            if let Some(state) = state {
                return Ok(state);
            }
        }
        Err(Unavailable::new(format!(
            "etcd: the lease {name} changed hands {TRIES} times while it was asked for"
        )))
    }

    pub(super) async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        let until = Instant::now() + LEASE_CALL;
        let key = self.keys.lease(name);
        let mine = wire::has(&key, Some(holder.as_str().as_bytes()));
        let txn = wire::txn(&[mine], &[wire::deletes(&key)], &[]);
        let _: TxnAnswer = self.client.call_until("kv/txn", &txn, until).await?;
        let granted = self.granted().remove(&key);
        if let Some(granted) = granted {
            self.revoke(granted.id).await;
        }
        Ok(())
    }

    async fn holder(&self, key: &str, until: Instant) -> Result<Option<Kv>, Failed> {
        let get = wire::get(key);
        let answer: RangeAnswer = self.client.call_until("kv/range", &get, until).await?;
        Ok(answer.kvs.into_iter().next())
    }

    /// Who else holds it. None if it is over by now.
    async fn others(&self, kv: &Kv, until: Instant) -> Result<Option<LeaseState>, Unavailable> {
        let ask = json!({"ID": kv.lease.0.to_string()});
        let answer: LeaseAnswer = self
            .client
            .call_until("lease/timetolive", &ask, until)
            .await?;
        if answer.ttl.0 < 0 {
            // etcd is about to remove the key, or did already.
            return Ok(None);
        }
        let holder = std::str::from_utf8(&kv.value.0).ok();
        let holder = holder.and_then(|name| NodeName::new(name).ok());
        let holder = holder.ok_or_else(|| {
            Unavailable::new("etcd: the lease's holder is no node's name: who else writes there?")
        })?;
        Ok(Some(LeaseState {
            holder,
            remaining: seconds(answer.ttl),
        }))
    }

    /// None if it is over by now.
    async fn renew(
        &self,
        key: &str,
        kv: &Kv,
        holder: &NodeName,
        ttl: Duration,
        until: Instant,
    ) -> Result<Option<LeaseState>, Unavailable> {
        let granted = self.granted().get(key).copied();
        let is_mine = granted.filter(|granted| granted.id == kv.lease && granted.ttl == ttl);
        let Some(granted) = is_mine else {
            // Of this node before its daemon started anew, or for another time.
            return self.take(key, Some(kv), holder, ttl, until).await;
        };
        let ask = json!({"ID": granted.id.0.to_string()});
        let answer: Streamed<LeaseAnswer> = self
            .client
            .call_until("lease/keepalive", &ask, until)
            .await?;
        match answer.result {
            Some(kept) if kept.ttl.0 > 0 => Ok(Some(LeaseState {
                holder: holder.clone(),
                remaining: ttl.max(seconds(kept.ttl)),
            })),
            Some(_) | None => Ok(None),
        }
    }

    /// Takes it if it still is as it was `found`. None if it is not.
    async fn take(
        &self,
        key: &str,
        found: Option<&Kv>,
        holder: &NodeName,
        ttl: Duration,
        until: Instant,
    ) -> Result<Option<LeaseState>, Unavailable> {
        let grant = json!({"TTL": ttl.as_secs_f64().ceil().max(1.0).to_string()});
        let lease: LeaseAnswer = self.client.call_until("lease/grant", &grant, until).await?;
        let condition = match found {
            Some(kv) => wire::is_of_revision(key, kv.mod_revision),
            None => wire::has(key, None),
        };
        let value = holder.as_str().as_bytes();
        let put = json!({"request_put": wire::put_leased(key, value, lease.id)});
        let txn = wire::txn(&[condition], &[put], &[]);
        // Sent again after a lost answer it does not find what it demands; then the next look tells whose it is.
        let taken: Result<TxnAnswer, Failed> = self.client.call_until("kv/txn", &txn, until).await;
        if !matches!(&taken, Ok(answer) if answer.succeeded) {
            self.revoke_unless_held(key, lease.id, until).await;
            taken?;
            return Ok(None);
        }
        let id = lease.id;
        let before = self.granted().insert(key.to_owned(), Granted { id, ttl });
        if let Some(before) = before {
            self.revoke(before.id).await;
        }
        Ok(Some(LeaseState {
            holder: holder.clone(),
            remaining: ttl.max(seconds(lease.ttl)),
        }))
    }

    /// A lease whose taking failed as far as is known: where it did not after all, it is kept, and renewed next time.
    async fn revoke_unless_held(&self, key: &str, id: Num, until: Instant) {
        match self.holder(key, until).await {
            Ok(Some(kv)) if kv.lease == id => {}
            Ok(_) => self.revoke(id).await,
            // It ends by itself.
            Err(_) => {}
        }
    }

    /// To spare etcd leases that nobody needs. They end by themselves too.
    async fn revoke(&self, id: Num) {
        let revoke = json!({"ID": id.0.to_string()});
        let until = Instant::now() + REVOKE;
        let revoked: Result<AnyAnswer, _> =
            self.client.call_until("lease/revoke", &revoke, until).await;
        if let Err(why) = revoked {
            tracing::debug!(%why, "a lease that is not needed stays until its time is over");
        }
    }
}

fn seconds(ttl: Num) -> Duration {
    Duration::from_secs(u64::try_from(ttl.0).unwrap_or(0))
}
