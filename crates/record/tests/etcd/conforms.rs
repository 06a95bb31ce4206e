//! The conformance suite, against one server and against three with TLS and authentication. The cases share the servers as long as
//! any of them runs, each below a prefix of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_record::Record;
use evenkeel_record::conformance::Backend;

use crate::cluster::Cluster;
use crate::support::{open, single, three_secured};

/// How much later than it could etcd removes a lease that is over: it looks every half second, and agrees on it then.
const LEASE_SLACK: Duration = Duration::from_secs(2);

struct Etcd {
    cluster: Arc<Cluster>,
    prefix: String,
}

impl Etcd {
    fn of(shared: &Mutex<Weak<Cluster>>, start: impl FnOnce() -> Cluster) -> Self {
        static CASE: AtomicU64 = AtomicU64::new(0);
        let mut shared = shared.lock().unwrap();
        let cluster = shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(start());
            *shared = Arc::downgrade(&cluster);
            cluster
        });
        let case = CASE.fetch_add(1, Ordering::Relaxed);
        Self {
            cluster,
            prefix: format!("case{case}"),
        }
    }

    fn single() -> Self {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        Self::of(&SHARED, single)
    }

    fn three() -> Self {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        Self::of(&SHARED, three_secured)
    }
}

#[async_trait]
impl Backend for Etcd {
    async fn open(&self) -> Arc<dyn Record> {
        open(self.cluster.options(&self.prefix)).await
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time + LEASE_SLACK).await;
    }
}

mod one {
    evenkeel_record::conformance_tests!(
        ignore = "needs etcd",
        super::Etcd::single,
        flavor = "multi_thread"
    );
}

mod three {
    evenkeel_record::conformance_tests!(
        ignore = "needs etcd",
        super::Etcd::three,
        flavor = "multi_thread"
    );
}
