//! The handle: opening it, and each call of the trait handed to where it is done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Digest, Generation, NodeName, Position, Seq, StreamId};
use evenkeel_seam::{Ids, watch};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::append::head_of;
use super::batch::Keys;
use super::client::Client;
use super::lease::Granted;
use super::log::Log;
use super::options::{EtcdOptions, EtcdTls};
use super::read::{READ, within};
use super::stage::PART;
use super::survival::Knowledge;
use super::trouble::{Code, Failed};
use super::wire::{self, Num, RangeAnswer, TxnAnswer};
use super::{bell, compact, look};
use crate::append::{Append, AppendError, Entry};
use crate::blob::{check_blob_size, digest_of};
use crate::record::{LeaseState, PutBlobError, Record, Survival, Unavailable};

/// How long an append may take, its parts and another leader of etcd included.
const APPEND: Duration = Duration::from_secs(10);
/// How long an append may take beyond that for each MiB of it, where it goes ahead in parts.
const APPEND_MIB: Duration = Duration::from_secs(1);
/// How long storing a value of at most 16 MiB may take.
const VALUE: Duration = Duration::from_secs(30);
/// How long opening may read. It is tried again by whoever opens, from the beginning.
const OPENING: Duration = Duration::from_secs(300);
/// Operations of the longest transaction there can be; see the module.
const LONGEST_TXN: usize = 105;

/// Why the record was not opened.
#[derive(Debug, thiserror::Error)]
pub enum EtcdOpenError {
    /// What the settings say cannot be meant.
    #[error("{0}")]
    Settings(String),
    /// etcd does not answer, or not to this user.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A member's limit is too low for the record.
    #[error("etcd refuses {what}: raise {option} of its members ({why})")]
    Limit {
        /// What it refuses.
        what: &'static str,
        /// The option, with a value that suffices.
        option: &'static str,
        /// What it answers.
        why: String,
    },
}

/// The record on etcd. Dropping it ends its tasks.
pub struct EtcdRecord {
    inner: Arc<Inner>,
    /// Aborted when this is dropped.
    _tasks: JoinSet<()>,
}

/// What calls and tasks share.
pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) keys: Keys,
    pub(super) log: tokio::sync::Mutex<Log>,
    pub(super) rings: watch::Sender<u64>,
    pub(super) ids: Arc<dyn Ids>,
    pub(super) tls: Option<Arc<EtcdTls>>,
    /// The endpoint of the member that a node hosts.
    pub(super) members: BTreeMap<NodeName, String>,
    pub(super) look_every: Duration,
    pub(super) compact_every: Duration,
    granted: Mutex<BTreeMap<String, Granted>>,
    knowledge: Mutex<Knowledge>,
    learned: Mutex<BTreeMap<NodeName, Num>>,
}

impl EtcdRecord {
    /// Reads the record once from end to end, and asks etcd for its limits. Spawns tasks: a tokio runtime must be there.
    pub async fn open(options: EtcdOptions) -> Result<Self, EtcdOpenError> {
        let inner = Arc::new(Inner::new(options).map_err(EtcdOpenError::Settings)?);
        inner.probe().await?;
        let until = Instant::now() + OPENING;
        inner.stands_alone(until).await?;
        inner.sync(&mut *inner.log.lock().await, until).await?;
        look::look(&inner).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(bell::keep_watching(Arc::clone(&inner)));
        tasks.spawn(look::keep_looking(Arc::clone(&inner)));
        tasks.spawn(compact::keep_compacting(Arc::clone(&inner)));
        Ok(Self {
            inner,
            _tasks: tasks,
        })
    }
}

impl Inner {
    /// Contacts nobody. The error is for people.
    pub(super) fn new(options: EtcdOptions) -> Result<Self, String> {
        let client = Client::new(&options)?;
        let mut open = client
            .endpoints()
            .iter()
            .filter(|it| it.is_readable_by_others());
        if let (Some(_), Some(endpoint)) = (&options.user, open.next()) {
            let url = &endpoint.url;
            return Err(format!(
                "record.user is set and {url} is not https: the password could be read on its way"
            ));
        }
        let is_endpoint = |url: &String| {
            let mut endpoints = options.endpoints.iter();
            endpoints.any(|it| it.trim_end_matches('/') == url.trim_end_matches('/'))
        };
        let mut members = options.members.iter();
        if let Some((node, url)) = members.find(|(_, url)| !is_endpoint(url)) {
            return Err(format!(
                "record.members.{node} is {url:?}, which is none of record.endpoints"
            ));
        }
        if !options.prefix.ends_with('/') {
            let prefix = &options.prefix;
            return Err(format!("record.prefix is {prefix:?}, and must end with /"));
        }
        Ok(Self {
            client,
            keys: Keys::new(&options.prefix),
            log: tokio::sync::Mutex::default(),
            rings: watch::Sender::new(0),
            ids: options.ids,
            tls: options.tls.map(Arc::new),
            members: options.members,
            look_every: options.look_every,
            compact_every: options.compact_every,
            granted: Mutex::default(),
            knowledge: Mutex::default(),
            learned: Mutex::default(),
        })
    }

    /// Two transactions that change nothing: would the longest pass?
    async fn probe(&self) -> Result<(), EtcdOpenError> {
        let key = self.keys.probe();
        let never = [wire::never(&key)];
        let reads = vec![wire::reads(&wire::get(&key)); LONGEST_TXN];
        let refused = self.refuses(wire::txn(&never, &reads, &[])).await?;
        if let Some(why) = refused {
            return Err(EtcdOpenError::Limit {
                what: "transactions of 105 operations",
                option: "--max-txn-ops=128",
                why,
            });
        }
        let puts = [wire::puts(&key, &vec![0; PART])];
        match self.refuses(wire::txn(&never, &puts, &[])).await? {
            None => Ok(()),
            Some(why) => Err(EtcdOpenError::Limit {
                what: "requests of 1.25 MiB",
                option: "--max-request-bytes=1572864",
                why,
            }),
        }
    }

    /// Refuses a prefix among the keys of another record, and one that has another record's keys among its own, unless it
    /// was there first.
    async fn stands_alone(&self, until: Instant) -> Result<(), EtcdOpenError> {
        let (mine, mut others) = (self.keys.head(), self.keys.heads_around());
        if self.get(&mine, until).await?.is_none() {
            others.extend(self.keys.heads_within());
        }
        for other in others {
            let get = wire::get(&other);
            let call = self.client.call_until("kv/range", &get, within(until));
            let found: RangeAnswer = match call.await {
                Ok(found) => found,
                // A user that may read its own prefix only; whoever let it in has looked after that.
                Err(failed) if failed.code() == Some(Code::PermissionDenied) => continue,
                Err(failed) => return Err(Unavailable::from(failed).into()),
            };
            let value = found.kvs.first().map(|kv| kv.value.0.as_slice());
            if value.is_some_and(|it| head_of(Some(it)).is_ok()) {
                let mine = mine.trim_end_matches("head");
                let other = other.trim_end_matches("head");
                return Err(EtcdOpenError::Settings(format!(
                    "record.prefix is {mine:?}, and another record is at {other:?} on this etcd: the keys of one would be among the \
                     other's. Give this one a prefix beside it"
                )));
            }
        }
        Ok(())
    }

    async fn refuses(&self, txn: Value) -> Result<Option<String>, Unavailable> {
        let asked: Result<TxnAnswer, Failed> = self.client.call("kv/txn", &txn).await;
        match asked {
            Ok(_) => Ok(None),
            // What is wrong with a transaction that is well formed is its size.
            Err(failed) if failed.code() == Some(Code::InvalidArgument) => {
                Ok(Some(failed.to_string()))
            }
            Err(failed) => Err(failed.into()),
        }
    }

    pub(super) fn granted(&self) -> MutexGuard<'_, BTreeMap<String, Granted>> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        let lock = self.knowledge.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn learned(&self) -> MutexGuard<'_, BTreeMap<NodeName, Num>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts take their time, and each of their requests is bounded.
fn append_bound(append: &Append) -> Duration {
    let events = append.writes.iter().flat_map(|write| &write.events);
    let bytes: usize = events.map(|event| event.body.len()).sum();
    let mib = u32::try_from(bytes / (1024 * 1024)).unwrap_or(u32::MAX);
    APPEND.saturating_add(APPEND_MIB.saturating_mul(mib))
}

#[async_trait]
impl Record for EtcdRecord {
    async fn append(&self, append: Append) -> Result<Position, AppendError> {
        let until = Instant::now() + append_bound(&append);
        self.inner.append(&append, until).await
    }

    async fn read(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let until = Instant::now() + READ;
        self.inner.read(stream, after, limit, until).await
    }

    async fn read_since(&self, after: Position, limit: usize) -> Result<Vec<Entry>, Unavailable> {
        let until = Instant::now() + READ;
        self.inner.read_since(after, limit, until).await
    }

    async fn generation(&self) -> Result<Generation, Unavailable> {
        self.inner.generation().await
    }

    fn doorbell(&self) -> watch::Receiver<u64> {
        self.inner.rings.subscribe()
    }

    async fn lease(
        &self,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, Unavailable> {
        self.inner.lease(name, holder, ttl).await
    }

    async fn release(&self, name: &str, holder: &NodeName) -> Result<(), Unavailable> {
        self.inner.release(name, holder).await
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, PutBlobError> {
        check_blob_size(&bytes)?;
        let digest = digest_of(&bytes);
        let until = Instant::now() + VALUE;
        self.inner.put_value(digest, &bytes, until).await?;
        Ok(digest)
    }

    async fn get_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Unavailable> {
        let until = Instant::now() + READ;
        self.inner.get_value(digest, until).await
    }

    fn survives_without(&self, down: &[NodeName]) -> Survival {
        let knowledge = self.inner.knowledge();
        knowledge.survives_without(down, Instant::now())
    }
}
