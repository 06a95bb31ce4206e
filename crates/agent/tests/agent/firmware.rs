//! Firmware orders, carried out by a real agent on simulated devices.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{
    Agent, AgentParts, Bounds, ClusterView, FirmwareWork, InstallError, InstallRequest, Installer,
    NodeDb, Packages, PackagesError,
};
use evenkeel_firmware::select::SelectionLimits;
use evenkeel_firmware::{
    DeviceStep, FirmwareError, FirmwareOrder, Images, ImagesError, JournalError, Limits,
    NodeFirmware, NodeFirmwareParts, NodeJournal, PackedImage, QualificationMark,
    QualificationStore, WorkError,
};
use evenkeel_interconnect::{AgentRequest, AgentResponse, AgentService, LocalNetwork, Look};
use evenkeel_model::*;
use evenkeel_platform::devices::{DeviceId, Devices};
use evenkeel_platform::sim::{
    DeviceFault, Fault, Hardware, HardwareSettings, ImageKind, Machine, firmware_image,
};
use evenkeel_seam::{TokioClock, watch};
use tokio::sync::Notify;

use crate::hardware::{NEW, OLD, image, name};
use crate::scripts::Scripts;
use crate::simulated::topology;
use crate::world::order;

const DISKS: u8 = 8;
const REVISION: &str = "NA09";

/// The node's packages: one of firmware, of whatever kind is asked for.
struct Shelf {
    kind: FirmwareKind,
    in_place: Mutex<Option<(QualificationMark, Vec<u8>)>>,
}

impl Shelf {
    fn models(&self) -> &'static [&'static str] {
        match self.kind {
            FirmwareKind::Qualification => &[],
            FirmwareKind::Disk => &["X423_SLTNG1T8SSX", "X422_SLTNG600A10", "X4011_LANES3T8"],
            FirmwareKind::Shelf => &["IOM12"],
            FirmwareKind::ServiceProcessor => &["LABSP"],
        }
    }

    fn revision(&self) -> FirmwareRevision {
        let text = match self.kind {
            FirmwareKind::Qualification => "20260131",
            FirmwareKind::Disk => REVISION,
            FirmwareKind::Shelf => "0300",
            FirmwareKind::ServiceProcessor => "5.9",
        };
        text.parse().unwrap()
    }
}

#[async_trait]
impl Packages for Shelf {
    async fn status(&self) -> Result<PackagesStatus, PackagesError> {
        Ok(PackagesStatus {
            held: vec![NEW],
            ..PackagesStatus::default()
        })
    }
    async fn pull(&self, _package: Digest) -> Result<(), PackagesError> {
        Err(PackagesError::Refused("it is in no catalogue".to_owned()))
    }
}

#[async_trait]
impl Installer for Shelf {
    async fn install(
        &self,
        _request: &InstallRequest,
        _progress: &watch::Sender<Progress>,
    ) -> Result<(), InstallError> {
        Err(InstallError::Refused("firmware alone".to_owned()))
    }
}

#[async_trait]
impl Images for Shelf {
    async fn summary(&self, _package: Digest) -> Result<FirmwareSummary, ImagesError> {
        let offer = |model: &&str| FirmwareOffer {
            model: Some(model.parse().unwrap()),
            revision: self.revision(),
        };
        Ok(FirmwareSummary {
            kind: self.kind,
            name: "firmware".to_owned(),
            build_time: None,
            offers: self.models().iter().map(offer).collect(),
            image_bytes: 1,
        })
    }

    async fn image(
        &self,
        package: Digest,
        model: Option<&DeviceModel>,
    ) -> Result<PackedImage, ImagesError> {
        let revision = self.revision();
        let kind = match self.kind {
            FirmwareKind::Shelf => ImageKind::Module,
            FirmwareKind::ServiceProcessor => ImageKind::Processor,
            FirmwareKind::Disk | FirmwareKind::Qualification => ImageKind::Drive,
        };
        let bytes = model.map(|model| firmware_image(kind, model, &revision, 9000));
        Ok(PackedImage {
            file: "qual_devices_v3".to_owned(),
            revision,
            digest: package,
            bytes: Arc::new(bytes.unwrap_or_default()),
        })
    }
}

#[async_trait]
impl QualificationStore for Shelf {
    async fn current(&self) -> Result<Option<QualificationMark>, FirmwareError> {
        let in_place = self.in_place.lock().unwrap();
        Ok(in_place.as_ref().map(|(mark, _)| mark.clone()))
    }
    async fn replace(&self, mark: &QualificationMark, bytes: &[u8]) -> Result<(), FirmwareError> {
        *self.in_place.lock().unwrap() = Some((mark.clone(), bytes.to_vec()));
        Ok(())
    }
    async fn content(&self) -> Result<Option<Vec<u8>>, FirmwareError> {
        let in_place = self.in_place.lock().unwrap();
        Ok(in_place.as_ref().map(|(_, bytes)| bytes.clone()))
    }
}

/// Where the daemon is killed.
#[derive(Default)]
struct Kill {
    /// At which recorded step, counted over all daemons; before it is durable, or after.
    at: Mutex<Option<(usize, bool)>>,
    steps: AtomicUsize,
    rings: Notify,
}

impl Kill {
    async fn perhaps(&self, step: usize, after: bool) {
        if *self.at.lock().unwrap() == Some((step, after)) {
            self.rings.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// A node's firmware whose daemon can be killed at any step.
struct Mortal {
    work: Arc<NodeFirmware>,
    kill: Arc<Kill>,
}

struct MortalJournal<'a> {
    journal: &'a dyn NodeJournal,
    kill: &'a Kill,
}

#[async_trait]
impl FirmwareWork for Mortal {
    async fn renew(
        &self,
        order: &FirmwareOrder,
        journal: &dyn NodeJournal,
        progress: &watch::Sender<Progress>,
    ) -> Result<How, WorkError> {
        let kill = &*self.kill;
        let journal = MortalJournal { journal, kill };
        self.work.renew(order, &journal, progress).await
    }

    fn status(&self) -> Result<FirmwareStatus, String> {
        self.work.status()
    }
}

#[async_trait]
impl NodeJournal for MortalJournal<'_> {
    async fn record(&self, step: &DeviceStep) -> Result<(), JournalError> {
        let number = self.kill.steps.fetch_add(1, Ordering::SeqCst);
        self.kill.perhaps(number, false).await;
        self.journal.record(step).await?;
        self.kill.perhaps(number, true).await;
        Ok(())
    }
    async fn last(&self, device: &DeviceId) -> Result<Option<DeviceStep>, JournalError> {
        self.journal.last(device).await
    }
    async fn all(&self) -> Result<Vec<DeviceStep>, JournalError> {
        self.journal.all().await
    }
    async fn forget(&self, device: &DeviceId) -> Result<(), JournalError> {
        self.journal.forget(device).await
    }
}

/// Node `a` of a pair, with its devices.
struct Bench {
    machine: Arc<Machine>,
    db: NodeDb,
    shelf: Arc<Shelf>,
    kill: Arc<Kill>,
    /// The operation was canceled.
    over: Arc<AtomicBool>,
}

impl Bench {
    fn new(kind: FirmwareKind) -> Self {
        let settings = HardwareSettings {
            disks: DISKS,
            ..HardwareSettings::default()
        };
        let mut hardware = Hardware::new(&topology(), settings);
        for node in ["a", "b"] {
            let image = Some(image(OLD));
            hardware.set_image(&name(node), Slot::A, image).unwrap();
        }
        hardware.cold_start(0);
        hardware.advance(0);
        Self {
            machine: Machine::new(hardware),
            db: NodeDb::open_in_memory().unwrap(),
            shelf: Arc::new(Shelf {
                kind,
                in_place: Mutex::default(),
            }),
            kill: Arc::default(),
            over: Arc::default(),
        }
    }

    /// A daemon.
    fn start(&self) -> Arc<Agent> {
        let node = name("a");
        let platform = self.machine.platform(&node, PathBuf::new()).unwrap();
        let boot_id = self.machine.with(|h, _| h.boot_of(&node)).unwrap().unwrap();
        let epoch = WallTime::new(jiff::Timestamp::UNIX_EPOCH);
        let clock = Arc::new(TokioClock::new(boot_id, tokio::time::Instant::now(), epoch));
        let platform = Arc::new(platform);
        let work = NodeFirmware::new(NodeFirmwareParts {
            node: node.clone(),
            devices: Arc::clone(&platform) as _,
            platform: Arc::clone(&platform) as _,
            images: Arc::clone(&self.shelf) as _,
            qualification: Arc::clone(&self.shelf) as _,
            clock: Arc::clone(&clock) as _,
            limits: Limits::default(),
            selection: SelectionLimits::default(),
            is_over: {
                let over = Arc::clone(&self.over);
                Arc::new(move |_| over.load(Ordering::SeqCst))
            },
        });
        let looked = Arc::clone(&work);
        tokio::spawn(async move { looked.look_around().await });
        let agent = Agent::new(AgentParts {
            node: node.clone(),
            boot_id,
            daemon: "test".to_owned(),
            db: self.db.clone(),
            platform,
            peers: LocalNetwork::new().client(node),
            packages: Arc::clone(&self.shelf) as _,
            installer: Arc::clone(&self.shelf) as _,
            checks: Arc::new(Scripts),
            gate: Arc::new(Scripts),
            firmware: Arc::new(Mortal {
                work,
                kill: Arc::clone(&self.kill),
            }),
            clock,
            cluster: watch::channel(ClusterView::default()).1,
            bounds: Bounds::default(),
            minute: Duration::from_secs(1),
        });
        agent.recover().unwrap();
        agent
    }

    fn order(&self, task: u32, first: bool) -> TaskOrder {
        order(
            task,
            Action::Firmware {
                package: NEW,
                kind: self.shelf.kind,
                first,
                spares_only: false,
            },
        )
    }

    fn runs(&self, device: &DeviceId) -> String {
        let look = |h: &mut Hardware, now| {
            h.advance(now);
            h.firmware_of(device)
        };
        self.machine.with(look).unwrap().unwrap().to_string()
    }

    /// Disks of the node that run the package's firmware.
    fn renewed(&self) -> BTreeSet<u8> {
        let disks = 1..=DISKS;
        let runs = |disk: &u8| self.runs(&drive(*disk)) == REVISION;
        disks.filter(runs).collect()
    }

    fn device_fault(&self, device: &DeviceId, fault: DeviceFault) {
        let set = |h: &mut Hardware, now| h.set_device_fault(device, fault, true, now);
        self.machine.with(set).unwrap().unwrap();
    }

    /// Nobody was harmed, and every group is whole.
    async fn healthy(&self, context: &str) {
        let harms = |h: &mut Hardware, _: u64| {
            let harms = h.harms().map(|harm| format!("{harm:?}"));
            harms.chain(h.check()).collect::<Vec<_>>()
        };
        let harms = self.machine.with(harms).unwrap();
        assert!(harms.is_empty(), "{context}: {harms:?}");
        let platform = self.machine.platform(&name("a"), PathBuf::new()).unwrap();
        for group in platform.groups().await.unwrap() {
            assert_eq!(group.health, PoolHealth::Online, "{context}: {group:?}");
            assert!(group.out.is_empty(), "{context}: {group:?}");
        }
    }
}

fn drive(disk: u8) -> DeviceId {
    DeviceId::Drive(format!("a-D{disk}").parse().unwrap())
}

async fn ask(agent: &Agent, request: AgentRequest) -> AgentResponse {
    agent.answer(&name("b"), request).await
}

async fn begin(agent: &Agent, order: &TaskOrder) {
    let order = Box::new(order.clone());
    let answer = ask(agent, AgentRequest::Start { order }).await;
    let accepted = matches!(answer, AgentResponse::Journal { .. });
    assert!(accepted, "{answer:?}");
}

async fn state(agent: &Agent, key: TaskKey) -> ReportState {
    let keys = vec![key];
    match ask(agent, AgentRequest::Reports { keys }).await {
        AgentResponse::Journal { reports } => reports[0].state.clone(),
        other => panic!("{other:?}"),
    }
}

async fn ended(agent: &Agent, key: TaskKey) -> TaskEnd {
    for _ in 0..40_000 {
        if let ReportState::Ended { end } = state(agent, key).await {
            return end;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("{key:?} does not end");
}

async fn run(agent: &Agent, order: &TaskOrder) -> TaskEnd {
    begin(agent, order).await;
    ended(agent, order.key).await
}

const DONE: TaskEnd = TaskEnd::Done {
    how: How::Completed,
};

#[tokio::test(start_paused = true)]
async fn all_disks_of_a_node_are_brought_up_to_date_and_it_says_so() {
    let bench = Bench::new(FirmwareKind::Disk);
    let agent = bench.start();
    let first = bench.order(1, true);
    assert_eq!(run(&agent, &first).await, DONE);
    assert_eq!(bench.renewed().len(), 3, "one of each model");
    let rest = bench.order(2, false);
    assert_eq!(run(&agent, &rest).await, DONE);
    assert_eq!(bench.renewed().len(), usize::from(DISKS));
    bench.healthy("all disks").await;
    let look = Look::Itself;
    let seen = match ask(&agent, AgentRequest::Observe { look }).await {
        AgentResponse::Observation { observation } => observation,
        other => panic!("{other:?}"),
    };
    let firmware = seen.firmware.known().unwrap();
    let disks = firmware.devices.iter();
    let disks = disks.filter(|device| device.kind == FirmwareKind::Disk);
    let running: Vec<_> = disks.map(|disk| disk.revision.clone().unwrap()).collect();
    let wanted: FirmwareRevision = REVISION.parse().unwrap();
    assert_eq!(running, vec![wanted; usize::from(DISKS)]);
    assert!(firmware.work.is_empty() && firmware.disks_waiting == 0);
    assert!(firmware.seconds_per_disk.is_some_and(|seconds| seconds > 0));
    // Once more there is nothing to do.
    let how = How::AlreadyDone;
    let again = bench.order(3, false);
    assert_eq!(run(&agent, &again).await, TaskEnd::Done { how });
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_named_and_the_others_are_brought_up_to_date() {
    let bench = Bench::new(FirmwareKind::Disk);
    bench.device_fault(&drive(2), DeviceFault::WrongImage);
    let agent = bench.start();
    let order = bench.order(1, false);
    let TaskEnd::Failed { error } = run(&agent, &order).await else {
        panic!("a disk took another image");
    };
    assert!(error.message.contains("disk a-D2"), "{error:?}");
    assert!(!error.message.contains("a-D1"), "{error:?}");
    assert_eq!(error.kind, TaskErrorKind::Permanent);
    assert_eq!(error.code, Some(2_228_328));
    let others = (1..=DISKS).filter(|disk| *disk != 2);
    assert_eq!(bench.renewed(), others.collect());
    bench.healthy("one failed").await;
    // Another attempt of the same operation does not try the disk again.
    let mut again = order;
    again.key.attempt = 2;
    let TaskEnd::Failed { error } = run(&agent, &again).await else {
        panic!("it has failed before");
    };
    assert!(error.message.contains("it was tried"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn while_a_group_is_not_whole_its_disks_wait_and_that_is_said() {
    let bench = Bench::new(FirmwareKind::Disk);
    let degraded = |on| {
        let set = |h: &mut Hardware, now| h.set_fault(&name("a"), Fault::DegradePool, on, now);
        bench.machine.with(set).unwrap().unwrap();
    };
    degraded(true);
    let agent = bench.start();
    let order = bench.order(1, false);
    begin(&agent, &order).await;
    let waiting = async {
        loop {
            if let ReportState::Running { progress } = state(&agent, order.key).await
                && progress.text.contains("its group is not whole")
            {
                return progress.text;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(1200), waiting).await;
    assert!(waiting.unwrap().contains("disk a-D"));
    degraded(false);
    assert_eq!(ended(&agent, order.key).await, DONE);
    assert_eq!(bench.renewed().len(), usize::from(DISKS));
    bench.healthy("degraded").await;
}

#[tokio::test(start_paused = true)]
async fn modules_the_service_processor_and_the_qualification_package_are_renewed_too() {
    let module = |module: &str| DeviceId::Module {
        shelf: "a-S1".to_owned(),
        module: module.to_owned(),
    };
    let bench = Bench::new(FirmwareKind::Shelf);
    assert_eq!(run(&bench.start(), &bench.order(1, false)).await, DONE);
    assert_eq!(bench.runs(&module("A")), "0300");
    assert_eq!(bench.runs(&module("B")), "0300");
    bench.healthy("modules").await;
    let bench = Bench::new(FirmwareKind::ServiceProcessor);
    assert_eq!(run(&bench.start(), &bench.order(1, false)).await, DONE);
    assert_eq!(bench.runs(&DeviceId::Processor(name("a"))), "5.9");
    let bench = Bench::new(FirmwareKind::Qualification);
    assert_eq!(run(&bench.start(), &bench.order(1, false)).await, DONE);
    let mark = bench.shelf.current().await.unwrap().unwrap();
    assert_eq!(mark.revision.as_str(), "20260131");
}

/// Kills the daemon at each step that it records, before and after it is durable.
#[tokio::test(start_paused = true)]
async fn a_daemon_killed_at_any_step_goes_on_when_it_starts_again() {
    let bench = Bench::new(FirmwareKind::Disk);
    assert_eq!(run(&bench.start(), &bench.order(1, false)).await, DONE);
    let steps = bench.kill.steps.load(Ordering::SeqCst);
    // Six for each disk of a group.
    assert!(steps > 36, "{steps} steps prove little");
    for step in 0..steps {
        for after in [false, true] {
            let context = format!("killed at step {step}, durable: {after}");
            let bench = Bench::new(FirmwareKind::Disk);
            *bench.kill.at.lock().unwrap() = Some((step, after));
            let agent = bench.start();
            let order = bench.order(1, false);
            begin(&agent, &order).await;
            let bound = Duration::from_secs(7200);
            let killed = tokio::time::timeout(bound, bench.kill.rings.notified()).await;
            assert!(killed.is_ok(), "{context}: it was not");
            agent.stop();
            drop(agent);
            let agent = bench.start();
            let how = How::Resumed;
            let end = ended(&agent, order.key).await;
            assert_eq!(end, TaskEnd::Done { how }, "{context}");
            assert_eq!(bench.renewed().len(), usize::from(DISKS), "{context}");
            bench.healthy(&context).await;
        }
    }
}

/// Disks that hold data are left out where the order says so.
#[tokio::test(start_paused = true)]
async fn spares_alone_are_brought_up_to_date_where_that_is_ordered() {
    let bench = Bench::new(FirmwareKind::Disk);
    let agent = bench.start();
    let mut order = bench.order(1, false);
    if let Action::Firmware { spares_only, .. } = &mut order.task.action {
        *spares_only = true;
    }
    assert_eq!(run(&agent, &order).await, DONE);
    let platform = bench.machine.platform(&name("a"), PathBuf::new()).unwrap();
    let drives = platform.drives().await.unwrap().into_iter();
    let own = drives.filter(|drive| drive.owner == Some(name("a")));
    let (mut spares, mut others) = (0, 0);
    for disk in own {
        let runs = bench.runs(&DeviceId::Drive(disk.serial));
        match disk.place.group() {
            None => spares += usize::from(runs == REVISION),
            Some(_) => others += usize::from(runs == REVISION),
        }
    }
    assert!(spares > 0);
    assert_eq!(others, 0);
}

/// What has no time for it is given up by its own node, within the half hour that the coordinator waits for any news, and
/// is no word against the firmware.
#[tokio::test(start_paused = true)]
async fn a_device_that_stays_busy_is_given_up_in_time_and_named() {
    let module = DeviceId::Module {
        shelf: "a-S1".to_owned(),
        module: "A".to_owned(),
    };
    for (kind, device) in [
        (FirmwareKind::Disk, drive(2)),
        (FirmwareKind::Shelf, module),
        (
            FirmwareKind::ServiceProcessor,
            DeviceId::Processor(name("a")),
        ),
    ] {
        let bench = Bench::new(kind);
        bench.device_fault(&device, DeviceFault::Busy);
        let agent = bench.start();
        let order = bench.order(1, false);
        begin(&agent, &order).await;
        let (mut said, mut since) = (None, tokio::time::Instant::now());
        let error = loop {
            match state(&agent, order.key).await {
                ReportState::Ended {
                    end: TaskEnd::Failed { error },
                } => break error,
                ReportState::Ended { end } => panic!("{kind}: {end:?}"),
                ReportState::Running { progress } if said != Some(progress.clone()) => {
                    (said, since) = (Some(progress), tokio::time::Instant::now());
                }
                ReportState::Running { .. } => {
                    let quiet = since.elapsed();
                    assert!(quiet < Duration::from_secs(25 * 60), "{kind}: {said:?}");
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        assert!(error.message.contains(&device.to_string()), "{error:?}");
        assert!(error.message.contains("busy"), "{error:?}");
        assert_eq!(error.code, Some(2_228_329), "{kind}: {error:?}");
        bench.healthy("busy").await;
    }
}

/// What is being written comes to its end; the next module, and a disk that only was looked at, are left alone.
#[tokio::test(start_paused = true)]
async fn a_cancel_is_heard_before_the_next_module_and_before_a_disk_leaves_its_group() {
    let module = |module: &str| DeviceId::Module {
        shelf: "a-S1".to_owned(),
        module: module.to_owned(),
    };
    let until = async |agent: &Agent, key: TaskKey, text: &str| {
        loop {
            match state(agent, key).await {
                ReportState::Running { progress } if progress.text.contains(text) => return,
                ReportState::Running { .. } => {}
                ReportState::Ended { end } => panic!("{text}: {end:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let canceled = async |agent: &Agent, key: TaskKey| match ended(agent, key).await {
        TaskEnd::Failed { error } => error.message,
        TaskEnd::Done { how } => panic!("{how:?}"),
    };
    let bench = Bench::new(FirmwareKind::Shelf);
    let old = bench.runs(&module("B"));
    let (agent, order) = (bench.start(), bench.order(1, false));
    begin(&agent, &order).await;
    until(&agent, order.key, "starting the new firmware").await;
    bench.over.store(true, Ordering::SeqCst);
    let said = canceled(&agent, order.key).await;
    assert!(said.contains("canceled before 1 more"), "{said}");
    assert_eq!(bench.runs(&module("A")), "0300");
    assert_eq!(bench.runs(&module("B")), old);
    bench.healthy("a shelf").await;

    let bench = Bench::new(FirmwareKind::Disk);
    for disk in 1..=DISKS {
        bench.device_fault(&drive(disk), DeviceFault::Busy);
    }
    let (agent, order) = (bench.start(), bench.order(1, false));
    begin(&agent, &order).await;
    until(&agent, order.key, "busy").await;
    bench.over.store(true, Ordering::SeqCst);
    let said = canceled(&agent, order.key).await;
    assert!(said.contains("canceled before"), "{said}");
    assert_eq!(bench.renewed(), BTreeSet::new());
    assert_eq!(
        bench.kill.steps.load(Ordering::SeqCst),
        0,
        "nothing was begun"
    );
}

/// A device on which the same firmware was begun before, for another operation, and that is busy now, is no untouched one.
#[tokio::test(start_paused = true)]
async fn firmware_that_is_brought_in_again_is_not_said_to_have_touched_nothing() {
    let processor = DeviceId::Processor(name("a"));
    let bench = Bench::new(FirmwareKind::ServiceProcessor);
    bench.device_fault(&processor, DeviceFault::WrongImage);
    let agent = bench.start();
    let first = bench.order(1, false);
    let TaskEnd::Failed { error } = run(&agent, &first).await else {
        panic!("it took another image");
    };
    assert_eq!(error.code, Some(2_228_328), "{error:?}");
    bench.device_fault(&processor, DeviceFault::Busy);
    let mut again = bench.order(2, false);
    again.key.operation = OperationId(uuid::Uuid::from_u128(77));
    let TaskEnd::Failed { error } = run(&agent, &again).await else {
        panic!("it is busy");
    };
    assert_eq!(error.code, Some(2_228_328), "{error:?}");
}
