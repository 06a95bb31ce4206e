//! What is wired to what, and in which order. The pair's [`PairWatch`] comes first and needs nothing but the machine, then
//! the agent, which needs neither record nor coordinator; what comes later cannot take them down.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use evenkeel_agent::{Agent, AgentParts, Bounds, NodeDb, Packages};
use evenkeel_download::Trust;
use evenkeel_firmware::select::SelectionLimits;
use evenkeel_firmware::{NodeFirmware, NodeFirmwareParts, QualificationFolder};
use evenkeel_interconnect::{
    AgentClient, AgentService, ClientParts, JoinService, Members, PackageClient, PullBounds,
    Puller, ServerParts, StoreSource, TlsClient, TlsIdentity,
};
use evenkeel_model::{BootId, DownloadSettings, NodeSettings};
use evenkeel_orchestrator::{FrontDoor, Orchestrator, Parts};
use evenkeel_package_store::Store;
use evenkeel_planner::Tunables;
use evenkeel_platform::SharedPlatform;
use evenkeel_platform::devices::SharedDevices;
use evenkeel_record::{FollowOptions, Follower, LinkedRecord, Loyalty, Record, Writer};
use evenkeel_rest::{
    Api, AuditLog, Limits, LiveDownload, NodeDoor, NodeDoorParts, PackagePolicy, RecordCluster,
};
use evenkeel_seam::watch;
use evenkeel_seam::{Clock, Ids, Pulse, RandomIds, SystemClock};
use sd_notify::NotifyState;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::booted::{DAEMON, Reporter};
use crate::brought::Unpacker;
use crate::certificate::RestCertificate;
use crate::cluster::lobby::{self, Lobby};
use crate::cluster::renew::Keeping;
use crate::cluster::{self, Belonging, Doorman, Pki, Resident, ResidentParts};
use crate::door::Door;
use crate::error::chain;
use crate::firmware::StoreImages;
use crate::installer::SlotInstaller;
use crate::keeper::{Incoming, Keeper};
use crate::link::{self, Links};
use crate::listen::{self, Front};
use crate::mirror::DbMirror;
use crate::notify::{self, notify};
use crate::packages::{NodePackages, Served};
use crate::pair_watch::PairWatch;
use crate::peers::Peers;
use crate::pool::PoolRecord;
use crate::readiness::{Onlooker, Unjoined};
use crate::scripts::{CheckRunner, GateRunner};
use crate::scrub::{Scrubber, Suspects};
use crate::telling::Telling;
use crate::watchdog::{self, Watched};
use crate::{bootstrap, derived, expiry, local, log, machine, modes, readiness, record};

/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(200);
/// Packages that others found bad here, and that are yet to be examined; one is there at most twice.
const SUSPECTS: usize = 16;
/// How long everything may take to end after SIGTERM; then it is cut, which is safe at any instant.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// The parts that most others need.
struct Base {
    settings: NodeSettings,
    platform: SharedPlatform,
    devices: SharedDevices,
    boot_id: BootId,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    db: NodeDb,
    store: Store,
    record: Arc<dyn Record>,
    pool: Option<PoolRecord>,
    follower: Arc<Follower>,
    links: Links,
}

impl Base {
    /// What this node demands of packages.
    fn policy(&self) -> PackagePolicy {
        let lab = self.settings.lab.as_ref();
        PackagePolicy {
            node: self.settings.node.clone(),
            allow_unsigned: lab.is_some_and(|lab| lab.allow_unsigned),
        }
    }

    /// Length of a minute of stabilize, boot and gate times.
    fn minute(&self) -> Duration {
        match &self.settings.lab {
            Some(lab) => Duration::from_millis(lab.minute_ms),
            None => Duration::from_secs(60),
        }
    }
}

/// Runs the daemon until `stop`. One that cannot be started has looked after its pair before it ends, each time that
/// it is started.
pub(crate) async fn run(settings: NodeSettings, stop: CancellationToken) -> Result<()> {
    let watch = PairWatch::begin(settings.clone());
    let outcome = start(settings, stop).await;
    if outcome.is_err() {
        watch.looked().await;
    }
    outcome
}

async fn start(settings: NodeSettings, stop: CancellationToken) -> Result<()> {
    let base = match stop.run_until_cancelled(base(settings)).await {
        Some(base) => base?,
        None => return Ok(()),
    };
    let audit = audit_log(&base);
    if !belong_to_a_cluster(&base, audit.clone(), &stop).await {
        return Ok(());
    }
    base.follower.be_loyal();
    let mut tasks = JoinSet::new();
    let peering = peering(&base)?;
    let (telling, suspects, guard) = start_agent(&base, &mut tasks, &peering, &stop).await?;
    let belonging = peering.belonging.clone();
    let front = start_cluster(&base, &mut tasks, peering, suspects, audit.clone(), &stop).await;
    telling.set_front(front);
    if let Some(audit) = audit {
        telling.set_audit(audit);
    }
    let loops = vec![
        Watched::agent(guard),
        Watched::follower(base.follower.pulse()),
    ];
    tasks.spawn(until(stop.clone(), watchdog::feed(loops)));
    notify(&[NotifyState::Ready]);
    tracing::info!(target: log::READY, boot = %base.boot_id, "ready");
    tasks.spawn(until(
        stop.clone(),
        notify::follow(Arc::clone(&base.follower), belonging),
    ));
    stop.cancelled().await;
    notify(&[NotifyState::Stopping]);
    tracing::info!(target: log::STOPPING, "stopping");
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
        tracing::warn!("not everything ended within {STOP_WITHIN:?}; it is cut");
    }
    Ok(())
}

/// Waits, where this node belongs to no cluster yet, until it does; false when it is to stop instead.
async fn belong_to_a_cluster(
    base: &Base,
    audit: Option<Arc<AuditLog>>,
    stop: &CancellationToken,
) -> bool {
    let pki = Pki::of(&base.settings);
    if belongs(&base.settings) {
        return true;
    }
    let lobby = Arc::new(Lobby {
        settings: base.settings.clone(),
        follower: Arc::clone(&base.follower),
        writer: Writer::new(Arc::clone(&base.record), Arc::clone(&base.ids)),
        clock: Arc::clone(&base.clock),
        ids: Arc::clone(&base.ids),
        unjoined: Unjoined {
            node: base.settings.node.clone(),
            boot_id: base.boot_id,
            platform: Arc::clone(&base.platform),
            is_of_a_package: readiness::is_of_a_package(),
        },
        audit,
        changing: tokio::sync::Mutex::default(),
        entered: Notify::new(),
    });
    lobby::wait(lobby, stop).await;
    !stop.is_cancelled() && pki.is_there()
}

fn belongs(settings: &NodeSettings) -> bool {
    settings.names_its_identity() || Pki::of(settings).is_there()
}

async fn base(settings: NodeSettings) -> Result<Base> {
    let (machine, boot_id) = machine::open(&settings).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(boot_id));
    std::fs::create_dir_all(&settings.data)
        .with_context(|| format!("cannot make {}", settings.data.display()))?;
    modes::tighten(&settings);
    let db = NodeDb::open(&settings.data.join("node.db")).context("cannot open node.db")?;
    let store = Store::open(settings.data.join("packages")).context("cannot open the packages")?;
    let links = link::follow(settings.lab.as_ref().map(|lab| lab.link.clone()));
    let links = links.context("cannot follow the lab's links")?;
    let record::Opened { record, pool } = record::open(&settings, &clock, &machine.platform)?;
    let record: Arc<dyn Record> = match &settings.lab {
        Some(_) => Arc::new(LinkedRecord::new(record, links.record.clone())),
        None => record,
    };
    let mirror = Arc::new(DbMirror(db.clone()));
    let loyalty = match belongs(&settings) {
        true => Loyalty::ToItsCluster,
        false => Loyalty::ToNone,
    };
    let options = FollowOptions {
        loyalty,
        ..FollowOptions::default()
    };
    let follower = Follower::start(Arc::clone(&record), mirror, Arc::clone(&clock), options).await;
    let record = Arc::new(follower.own(record)) as Arc<dyn Record>;
    let (follower, ids) = (Arc::new(follower), Arc::new(RandomIds));
    Ok(Base {
        settings,
        platform: machine.platform,
        devices: machine.devices,
        boot_id,
        clock,
        ids,
        db,
        store,
        record,
        pool,
        follower,
        links,
    })
}

/// What this node says to others with.
struct Peering {
    identity: TlsIdentity,
    members: watch::Receiver<Members>,
    client: Arc<TlsClient>,
    packages: Arc<NodePackages>,
    belonging: Belonging,
    doorman: Arc<Doorman>,
}

fn peering(base: &Base) -> Result<Peering> {
    let settings = &base.settings;
    let identity = TlsIdentity::load(&settings.identity()).context("interconnect")?;
    let belonging = Belonging::follow(&base.follower, &settings.node, identity.key());
    let members = derived::members(&base.follower);
    let client = TlsClient::new(ClientParts {
        node: settings.node.clone(),
        identity: identity.clone(),
        members: members.clone(),
        link: base.links.peers.clone(),
    });
    if let Some(pool) = &base.pool {
        pool.connect(&client, &members);
    }
    let peers: Arc<dyn PackageClient> = Arc::clone(&client) as Arc<dyn PackageClient>;
    let bounds = PullBounds::default();
    let puller = Puller::new(settings.node.clone(), base.store.clone(), peers, bounds);
    let packages = Arc::new(NodePackages {
        policy: base.policy(),
        puller,
        views: base.follower.views(),
        live: LiveDownload::default(),
        kept: Mutex::default(),
    });
    Ok(Peering {
        identity,
        members,
        client,
        packages,
        belonging,
        doorman: Arc::default(),
    })
}

/// The firmware of this node's devices.
fn firmware(base: &Base) -> Arc<NodeFirmware> {
    let images = StoreImages {
        policy: base.policy(),
        store: base.store.clone(),
        views: base.follower.views(),
    };
    let qualification = QualificationFolder::new(base.settings.data.join("firmware"));
    let views = base.follower.views();
    NodeFirmware::new(NodeFirmwareParts {
        node: base.settings.node.clone(),
        devices: Arc::clone(&base.devices),
        platform: Arc::clone(&base.platform),
        images: Arc::new(images),
        qualification: Arc::new(qualification),
        clock: Arc::clone(&base.clock),
        limits: evenkeel_firmware::Limits::default(),
        selection: SelectionLimits::default(),
        is_over: Arc::new(move |operation| views.borrow().is_over(operation)),
    })
}

fn agent(base: &Base, peering: &Peering, firmware: Arc<NodeFirmware>) -> Arc<Agent> {
    let installer = SlotInstaller {
        policy: base.policy(),
        store: base.store.clone(),
        views: base.follower.views(),
    };
    let checks = CheckRunner {
        policy: base.policy(),
        store: base.store.clone(),
        views: base.follower.views(),
        folder: base.settings.data.join("checks"),
    };
    let update = &base.settings.update;
    let gate = GateRunner {
        script: update.gate_script.clone(),
        within: update
            .gate_script_seconds
            .map_or(GateRunner::WITHIN, |seconds| {
                Duration::from_secs(seconds.get())
            }),
    };
    Agent::new(AgentParts {
        node: base.settings.node.clone(),
        boot_id: base.boot_id,
        daemon: DAEMON.to_owned(),
        db: base.db.clone(),
        platform: Arc::clone(&base.platform),
        peers: Arc::clone(&peering.client) as Arc<dyn AgentClient>,
        packages: Arc::clone(&peering.packages) as Arc<dyn Packages>,
        installer: Arc::new(installer),
        checks: Arc::new(checks),
        gate: Arc::new(gate),
        firmware,
        clock: Arc::clone(&base.clock),
        cluster: derived::cluster(&base.follower),
        bounds: Bounds::default(),
        minute: base.minute(),
    })
}

/// The agent, its guard, and the port where peers reach it. The guard's pulse is what tells that it goes on.
async fn start_agent(
    base: &Base,
    tasks: &mut JoinSet<()>,
    peering: &Peering,
    stop: &CancellationToken,
) -> Result<(Arc<Telling>, Suspects, Pulse)> {
    let firmware = firmware(base);
    let agent = agent(base, peering, Arc::clone(&firmware));
    let db = base.db.clone();
    tasks.spawn(until(stop.clone(), async move { firmware.keep(&db).await }));
    let telling = Telling::new(Arc::clone(&agent) as Arc<dyn AgentService>);
    let service: Arc<dyn AgentService> = Arc::clone(&telling) as Arc<dyn AgentService>;
    peering.client.set_own(&service);
    let resumed = agent.recover().context("cannot read the journal")?;
    if resumed > 0 {
        tracing::info!(resumed, "took up orders of an earlier daemon");
    }
    agent.guard();
    let guard = agent.pulse();
    keep_identity(base, tasks, peering, stop);
    let (suspect, suspects) = mpsc::channel(SUSPECTS);
    let puller = Arc::clone(&peering.packages.puller);
    let listener = listen::begin_to_bind(base.settings.interconnect.listen.clone()).await;
    let (identity, members) = (peering.identity.clone(), peering.members.clone());
    let joins = Some(Arc::clone(&peering.doorman) as Arc<dyn JoinService>);
    let packages = Arc::new(Served {
        source: StoreSource::new(base.store.clone(), puller, suspect),
        packages: Arc::clone(&peering.packages),
    });
    let package_bytes_per_second = base.settings.interconnect.package_bytes_per_second;
    let (link, stop) = (base.links.peers.clone(), stop.clone());
    let record = base.pool.as_ref().map(PoolRecord::serving);
    tasks.spawn(async move {
        if let Some(listener) = stop.run_until_cancelled(listener).await {
            let parts = ServerParts {
                listener,
                identity,
                members,
                agent: service,
                packages,
                record,
                package_bytes_per_second,
                link,
                joins,
            };
            evenkeel_interconnect::serve(parts, stop.cancelled_owned()).await;
        }
        agent.stop();
    });
    Ok((telling, suspects, guard))
}

/// This node's certificate stays good, and whether it belongs to its cluster is said.
fn keep_identity(
    base: &Base,
    tasks: &mut JoinSet<()>,
    peering: &Peering,
    stop: &CancellationToken,
) {
    let warnings = expiry::warn_daily(base.settings.identity(), Arc::clone(&base.clock));
    tasks.spawn(until(stop.clone(), warnings));
    let keeping = Keeping {
        settings: base.settings.clone(),
        identity: peering.identity.clone(),
        belonging: peering.belonging.clone(),
        clock: Arc::clone(&base.clock),
    };
    tasks.spawn(until(stop.clone(), keeping.run()));
    tasks.spawn(until(stop.clone(), peering.belonging.clone().tell()));
}

/// Everything that needs the cluster: its record, its coordinator, its users.
async fn start_cluster(
    base: &Base,
    tasks: &mut JoinSet<()>,
    peering: Peering,
    suspects: Suspects,
    audit: Option<Arc<AuditLog>>,
    stop: &CancellationToken,
) -> FrontDoor {
    start_record_work(base, tasks, peering.belonging.belongs(), stop);
    let parts = Parts {
        me: base.settings.node.clone(),
        record: Arc::clone(&base.record),
        follower: Arc::clone(&base.follower),
        agents: Arc::clone(&peering.client) as Arc<dyn AgentClient>,
        clock: Arc::clone(&base.clock),
        ids: Arc::clone(&base.ids),
        tunables: Tunables {
            minute: base.minute(),
            ..Tunables::default()
        },
    };
    let orchestrator = Orchestrator::new(parts.clone());
    let orchestrator = orchestrator.while_it_belongs(peering.belonging.belongs());
    let role = orchestrator.role();
    let front = FrontDoor::new(&parts, role.clone());
    let (stopping, stopped) = watch::channel(false);
    tasks.spawn(orchestrator.run(stopped));
    let token = stop.clone();
    tasks.spawn(async move {
        token.cancelled().await;
        stopping.send_replace(true);
    });
    let incoming = Incoming::default();
    keep_packages(base, tasks, &peering, &front, &incoming, suspects, stop);
    let incarnation = base.ids.uuid();
    let live = peering.packages.live.clone();
    let peers = Peers {
        packages: Arc::clone(&peering.packages),
        client: Arc::clone(&peering.client) as Arc<dyn PackageClient>,
        agents: Arc::clone(&peering.client) as Arc<dyn AgentClient>,
    };
    let inner = NodeDoor::new(NodeDoorParts {
        policy: base.policy(),
        incarnation,
        admission: front.clone(),
        follower: Arc::clone(&base.follower),
        store: base.store.clone(),
        peers: Arc::new(peers.clone()),
        client: download_client(&base.settings.download),
        live: live.clone(),
        upload_enabled: base.settings.upload.enabled,
    });
    tasks.spawn(until(stop.clone(), take_up_gets(inner.clone())));
    let door = Door { inner, incoming };
    let resident = Resident::new(ResidentParts {
        settings: base.settings.clone(),
        identity: peering.identity.clone(),
        belonging: peering.belonging.clone(),
        follower: Arc::clone(&base.follower),
        record: Arc::clone(&base.record),
        agents: Arc::clone(&peering.client) as Arc<dyn AgentClient>,
        front: front.clone(),
        clock: Arc::clone(&base.clock),
        ids: Arc::clone(&base.ids),
    });
    peering.doorman.set(Arc::clone(&resident));
    let rest = Rest {
        resident,
        belonging: peering.belonging.clone(),
        door,
        admission: front.clone(),
        live,
        peers,
        audit,
    };
    start_rest(base, tasks, rest, role, stop).await;
    front
}

/// Packages as the catalogue says, and as they were when they came in.
fn keep_packages(
    base: &Base,
    tasks: &mut JoinSet<()>,
    peering: &Peering,
    front: &FrontDoor,
    incoming: &Incoming,
    suspects: Suspects,
    stop: &CancellationToken,
) {
    let bell = Arc::new(Notify::new());
    let keeper = Keeper {
        store: base.store.clone(),
        db: base.db.clone(),
        packages: Arc::clone(&peering.packages),
        follower: Arc::clone(&base.follower),
        incoming: Arc::clone(incoming),
        bell: Arc::clone(&bell),
    };
    tasks.spawn(until(stop.clone(), keeper.run()));
    let unpacker = Unpacker {
        store: base.store.clone(),
        policy: base.policy(),
        follower: Arc::clone(&base.follower),
        front: front.clone(),
        incoming: Arc::clone(incoming),
        folder: base.settings.data.join("brought"),
    };
    tasks.spawn(until(stop.clone(), unpacker.run()));
    let lab = base.settings.lab.as_ref();
    let scrubber = Scrubber {
        store: base.store.clone(),
        packages: Arc::clone(&peering.packages),
        follower: Arc::clone(&base.follower),
        front: front.clone(),
        file: base.settings.data.join("scrub.json"),
        every: lab.and_then(|lab| Some(Duration::from_millis(lab.scrub_every_ms?.get()))),
        bell,
        stop: stop.clone(),
    };
    tasks.spawn(until(stop.clone(), scrubber.run(suspects)));
}

/// A get that an earlier start of this daemon was receiving goes on or is over, as soon as the record can
/// be had.
async fn take_up_gets(door: NodeDoor) {
    while let Err(error) = door.take_up_gets().await {
        tracing::debug!(%error, "interrupted package gets cannot be taken up yet");
        tokio::time::sleep(RETRY).await;
    }
}

fn download_client(settings: &DownloadSettings) -> evenkeel_download::Client {
    let mut limits = evenkeel_download::Limits::default();
    if let Some(seconds) = settings.stall_seconds {
        limits.stall = Duration::from_secs(seconds);
    }
    limits.floor = settings.floor_bytes_per_second.unwrap_or(limits.floor);
    limits.tries = settings.tries.unwrap_or(limits.tries);
    let trust = Trust::new(settings.ca.clone());
    if let Err(error) = trust.check() {
        tracing::error!(error = chain(&error), "downloads over https will fail");
    }
    evenkeel_download::Client::new(trust, limits)
}

/// The first events of a new cluster, and what this node runs.
fn start_record_work(
    base: &Base,
    tasks: &mut JoinSet<()>,
    mut belongs: watch::Receiver<bool>,
    stop: &CancellationToken,
) {
    let writer = Writer::new(Arc::clone(&base.record), Arc::clone(&base.ids));
    let named = base.settings.cluster.bootstrap.clone();
    // What `evenkeel cluster init` began is recorded already: a file that the configuration names is not its beginning.
    if let Some(path) = named.filter(|_| base.settings.names_its_identity()) {
        let (follower, writer) = (Arc::clone(&base.follower), writer.clone());
        let clock = Arc::clone(&base.clock);
        tasks.spawn(until(stop.clone(), async move {
            // A cluster that exists needs no first events, and may have lost the file.
            match bootstrap::load(&path) {
                Ok(start) => bootstrap::append_if_empty(start, &follower, &writer, &clock).await,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "no new cluster can begin here")
                }
            }
        }));
    }
    let reporter = Reporter {
        node: base.settings.node.clone(),
        boot_id: base.boot_id,
        platform: Arc::clone(&base.platform),
        follower: Arc::clone(&base.follower),
        writer,
        clock: Arc::clone(&base.clock),
    };
    tasks.spawn(until(stop.clone(), async move {
        // What a node that waits for its partner runs is nobody's business yet.
        if belongs.wait_for(|it| *it).await.is_ok() {
            reporter.run().await;
        }
    }));
}

/// What the REST API is made of.
struct Rest {
    resident: Arc<Resident>,
    belonging: Belonging,
    door: Door,
    admission: FrontDoor,
    live: LiveDownload,
    peers: Peers,
    audit: Option<Arc<AuditLog>>,
}

/// Who asked this node for what.
///
/// A log that cannot be kept is no reason not to serve, and not to coordinate.
fn audit_log(base: &Base) -> Option<Arc<AuditLog>> {
    let folder = base.settings.data.join("audit");
    let (clock, ids) = (Arc::clone(&base.clock), Arc::clone(&base.ids));
    match AuditLog::open(&folder, clock, ids) {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::error!(error = chain(&error), "requests are not noted");
            None
        }
    }
}

async fn start_rest(
    base: &Base,
    tasks: &mut JoinSet<()>,
    rest: Rest,
    role: watch::Receiver<evenkeel_orchestrator::Role>,
    stop: &CancellationToken,
) {
    let settings = &base.settings.rest;
    let host = derived::rest_host(&base.follower, base.settings.node.clone());
    let certificate = RestCertificate::open(&base.settings, host, Arc::clone(&base.clock));
    let tls = certificate.configs();
    tasks.spawn(until(stop.clone(), Arc::clone(&certificate).follow()));
    let cluster = RecordCluster::new(
        Arc::clone(&base.follower),
        Arc::clone(&base.record),
        Arc::clone(&base.clock),
        base.minute(),
    )
    .with_live(rest.live)
    .with_devices(rest.admission);
    let api = Api::new(Arc::new(cluster), Arc::new(rest.door), base.ids.as_ref());
    let router = api.with_audit(rest.audit.clone(), Arc::new(rest.peers));
    let router = router.with_certificates(certificate).router();
    let router = cluster::only_while_it_belongs(router, rest.belonging.clone());
    let front = Front {
        tls,
        router,
        limits: Limits::default(),
    };
    let onlooker = Onlooker {
        node: base.settings.node.clone(),
        boot_id: base.boot_id,
        platform: Arc::clone(&base.platform),
        follower: Arc::clone(&base.follower),
        belonging: rest.belonging,
        pacemaker_brings_the_record: readiness::is_brought_by_pacemaker(&base.settings.record),
    };
    tasks.spawn(local::serve(
        base.settings.data.join(local::SOCKET),
        readiness::beside(
            cluster::routes(&rest.resident, rest.audit, front.router.clone()),
            onlooker,
        ),
        stop.clone(),
    ));
    let listener = listen::begin_to_bind(settings.listen.clone()).await;
    let (own, until) = (front.clone(), stop.clone());
    tasks.spawn(async move {
        if let Some(listener) = until.run_until_cancelled(listener).await {
            own.serve(listener, until.clone()).await;
        }
    });
    if let Some(address) = settings.cluster_address.clone() {
        tasks.spawn(listen::follow_coordinator(
            front,
            address,
            role,
            stop.clone(),
        ));
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    let _cut = stop.run_until_cancelled(work).await;
}
