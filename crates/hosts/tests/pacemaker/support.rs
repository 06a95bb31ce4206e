//! A pair of hosts and what an `evenkeeld` on each would do for Pacemaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_hosts::{Cluster, Host, Probe};
use evenkeel_linux::Host as Machine;
use evenkeel_linux::storage::PoolPlaces as _;
use evenkeel_linux::{Call, CleanReboot, Finished, Keeper, Pacemaker, Programs};
use evenkeel_model::TransitionStage;
use evenkeel_model::{BootId, MemberHa, NodeName, PairState, PoolName, TransitionId};
use evenkeel_platform::{Failover as _, GivebackRequest, PlatformError, TakeoverRequest};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

pub(crate) fn id(number: u128) -> TransitionId {
    TransitionId(uuid::Uuid::from_u128(number))
}

/// Reboots a host as its init would.
struct Power(Host);

#[async_trait]
impl CleanReboot for Power {
    async fn reboot(&self, boot: BootId) -> Result<(), PlatformError> {
        let host = self.0.clone();
        let reboot = move || match host.boot_id()? == boot {
            true => host.reboot(),
            false => Ok(()),
        };
        let done = tokio::task::spawn_blocking(reboot).await.unwrap();
        done.map_err(|error| PlatformError::Unavailable(format!("{error:#}")))
    }
}

/// Two hosts, and the keepers of both.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    keepers: Vec<JoinHandle<()>>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(2).unwrap());
        let cluster = cluster.await.unwrap();
        let keepers = cluster
            .hosts()
            .iter()
            .cloned()
            .map(|host| tokio::spawn(keep(host)));
        let keepers = keepers.collect();
        let bench = Self { cluster, keepers };
        for index in [A, B] {
            bench
                .until(index, "both to serve", |pair| {
                    pair.local.ha == MemberHa::Serving && pair.partner.ha == MemberHa::Serving
                })
                .await;
        }
        bench
    }

    pub(crate) fn host(&self, index: usize) -> &Host {
        self.cluster.host(index)
    }

    /// The engine of a host, over these programs.
    pub(crate) fn engine_over(&self, index: usize, programs: Arc<dyn Programs>) -> Pacemaker {
        engine(self.host(index), programs)
    }

    pub(crate) fn engine(&self, index: usize) -> Pacemaker {
        self.engine_over(index, Arc::new(self.host(index).clone()))
    }

    pub(crate) async fn pair(&self, index: usize) -> PairState {
        self.engine(index).pair().await.unwrap().unwrap()
    }

    /// Waits until the pair is as wanted in the eyes of a host.
    pub(crate) async fn until(
        &self,
        index: usize,
        what: &str,
        is: impl Fn(&PairState) -> bool,
    ) -> PairState {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let seen = self.engine(index).pair().await;
            if let Ok(Some(pair)) = &seen
                && is(pair)
            {
                return pair.clone();
            }
            assert!(Instant::now() < deadline, "waited for {what}: {seen:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for an alert of a host that has these words in it.
    pub(crate) async fn alert(&self, index: usize, words: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        let engine = self.engine(index);
        loop {
            let alerts = engine.alerts().await;
            let found = alerts.iter().flatten().find(|alert| alert.contains(words));
            if let Some(alert) = found {
                return alert.clone();
            }
            assert!(
                Instant::now() < deadline,
                "waited for {words:?}: {alerts:?}"
            );
            sleep(Duration::from_millis(500)).await;
        }
    }

    pub(crate) async fn request(&self, number: u128) -> TakeoverRequest {
        TakeoverRequest {
            id: id(number),
            partner_boot: self.host(A).boot_id().unwrap(),
            local_boot: self.host(B).boot_id().unwrap(),
        }
    }

    /// B takes A over, A reboots, and waits for giveback.
    pub(crate) async fn roll_to_waiting(&self, number: u128) {
        let request = self.request(number).await;
        self.engine(B).take_over(&request).await.unwrap();
        self.until(B, "the takeover", |pair| {
            stage(pair) == Some(TransitionStage::TakenOver)
        })
        .await;
        self.until(B, "the node to wait for giveback", |pair| {
            pair.partner.ha == MemberHa::WaitingForGiveback
                && pair.partner.boot_id != Some(request.partner_boot)
        })
        .await;
    }

    pub(crate) async fn owners(&self, index: usize) -> Vec<(String, Option<String>)> {
        let pools = self.engine(index).pools().await.unwrap();
        let pools = pools.into_iter();
        pools
            .map(|pool| {
                (
                    pool.name.to_string(),
                    pool.owner.map(|node| node.to_string()),
                )
            })
            .collect()
    }

    /// The ids of all constraints.
    pub(crate) fn constraints(&self, index: usize) -> String {
        self.host(index)
            .output("cibadmin", ["--query", "--scope", "constraints"])
            .unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.keepers.iter().for_each(JoinHandle::abort);
    }
}

fn engine(host: &Host, programs: Arc<dyn Programs>) -> Pacemaker {
    let partner = match host.name() {
        "ctl-a" => "ctl-b",
        _ => "ctl-a",
    };
    let machine = Machine::new("/", programs);
    Pacemaker::new(
        machine,
        name(host.name()),
        name(partner),
        host.boot_id().unwrap(),
    )
}

/// What the daemon of a host does, boot after boot.
async fn keep(host: Host) {
    let mut keeper: Option<(BootId, Keeper)> = None;
    loop {
        sleep(Duration::from_millis(200)).await;
        if !host.is_running().unwrap_or(false) {
            continue;
        }
        let Ok(boot) = host.boot_id() else { continue };
        let kept = keeper.take_if(|(kept, _)| *kept == boot);
        let (_, kept) = keeper.insert(kept.unwrap_or_else(|| {
            let pacemaker = engine(&host, Arc::new(host.clone()));
            (boot, Keeper::new(pacemaker, Arc::new(Power(host.clone()))))
        }));
        // What it cannot do now it does in the next turn.
        let _later = timeout(Duration::from_secs(90), kept.turn()).await;
    }
}

/// Waits until clients are answered by that host.
pub(crate) async fn answered_by(probe: &Probe, host: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while probe.newest().as_deref() != Some(host) {
        let newest = probe.newest();
        assert!(Instant::now() < deadline, "waited for {host}: {newest:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn stage(pair: &PairState) -> Option<TransitionStage> {
    pair.transition.as_ref().map(|transition| transition.stage)
}

pub(crate) fn giveback(number: u128, pool: &str) -> GivebackRequest {
    GivebackRequest {
        id: id(number),
        pool: Some(PoolName::new(pool).unwrap()),
    }
}

pub(crate) fn refused(result: Result<(), PlatformError>) -> String {
    match result {
        Err(PlatformError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// Programs of a process that is killed: after so many runs there are no more. The last one is run or not, and its caller
/// never learns.
pub(crate) struct Killed {
    pub(crate) host: Host,
    pub(crate) runs: AtomicUsize,
    pub(crate) last_is_run: bool,
}

#[async_trait]
impl Programs for Killed {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let left = self.runs.fetch_sub(1, Ordering::SeqCst);
        assert!(left > 0, "it went on after it was killed");
        if left > 1 {
            return self.host.run(call).await;
        }
        if self.last_is_run {
            let _unheard = self.host.run(call).await;
        }
        Err(PlatformError::Unavailable("killed".to_owned()))
    }
}
