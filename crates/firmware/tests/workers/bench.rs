//! A pair of nodes with their devices, and hands to work on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evenkeel_firmware::{
    FirmwareError, Flash, FlashProgress, Image, Limits, renew_disk, renew_processor, renew_shelf,
};
use evenkeel_model::{
    ClusterId, DeviceModel, Digest, DiskSerial, FirmwareRevision, How, NodeConfig, NodeId,
    NodeName, PlatformName, PoolHealth, Slot, SlotImage, Topology, Version,
};
use evenkeel_platform::devices::{DeviceId, Devices, Drive, Group};
use evenkeel_platform::sim::{
    DeviceFault, Fault, Hardware, HardwareSettings, ImageKind, Machine, firmware_image,
};
use evenkeel_platform::wire::Port;
use evenkeel_seam::{Ids, SeededIds, watch};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::journal::Steps;
use crate::kill::Wire;

/// Big enough for several pieces on each side of the middle.
const BODY: usize = 40_000;

pub const SSD: &str = "X423_SLTNG1T8SSX";
pub const OLD: &str = "X422_SLTNG600A10";
pub const NVME: &str = "X4011_LANES3T8";

pub fn name(node: &str) -> NodeName {
    node.parse().unwrap()
}

pub fn serial(serial: &str) -> DiskSerial {
    serial.parse().unwrap()
}

pub fn drive(name: &str) -> DeviceId {
    DeviceId::Drive(serial(name))
}

pub fn module(node: &str, module: &str) -> DeviceId {
    DeviceId::Module {
        shelf: format!("{node}-S1"),
        module: module.to_owned(),
    }
}

pub fn image(kind: ImageKind, model: &str, revision: &str) -> Image {
    let model: DeviceModel = model.parse().unwrap();
    let revision: FirmwareRevision = revision.parse().unwrap();
    let bytes = Arc::new(firmware_image(kind, &model, &revision, BODY));
    Image {
        model,
        revision,
        bytes,
    }
}

fn topology(nodes: &[&str]) -> Topology {
    let ids = SeededIds::new(7);
    let config = |(number, node): (usize, &&str)| NodeConfig {
        id: NodeId(ids.uuid()),
        name: name(node),
        partner: Some(name(nodes[number ^ 1])),
        interconnect: format!("127.0.0.1:{}", 1000 + number * 10),
        rest: format!("127.0.0.1:{}", 1001 + number * 10),
        variant: None,
        features: Vec::new(),
        site: None,
        platform: PlatformName::new("lab-x86_64").unwrap(),
        lifs: Vec::new(),
    };
    let configs = nodes.iter().enumerate().map(config).collect();
    Topology::new(ClusterId(ids.uuid()), "lab".to_owned(), configs).unwrap()
}

/// Machines under test.
#[derive(Clone)]
pub struct Bench {
    pub machine: Arc<Machine>,
    pub limits: Limits,
}

impl Bench {
    /// Nodes `a` and `b`, four disks each.
    pub fn new() -> Self {
        Self::with(&["a", "b"], 4)
    }

    /// Pairs of nodes that are up, with so many disks each.
    pub fn with(nodes: &[&str], disks: u8) -> Self {
        let settings = HardwareSettings {
            seed: 9,
            disks,
            ..HardwareSettings::default()
        };
        let mut hardware = Hardware::new(&topology(nodes), settings);
        let image = SlotImage {
            digest: Digest([1; 32]),
            version: Version::new("1").unwrap(),
        };
        for node in nodes {
            let image = Some(image.clone());
            hardware.set_image(&name(node), Slot::A, image).unwrap();
        }
        hardware.cold_start(0);
        hardware.advance(0);
        Self {
            machine: Machine::new(hardware),
            limits: Limits::default(),
        }
    }

    /// A node's platform in its present boot.
    pub fn port(&self, node: &str) -> Port<Wire> {
        self.killing_port(node, None).0
    }

    /// The same, with the call at which its user is killed, and who tells it.
    pub fn killing_port(&self, node: &str, kill_at: Option<(usize, bool)>) -> (Port<Wire>, Wire) {
        let look = |h: &mut Hardware, now| {
            h.advance(now);
            h.boot_of(&name(node))
        };
        let boot = self.machine.with(look).unwrap();
        let wire = Wire {
            machine: Arc::clone(&self.machine),
            node: name(node),
            boot: boot.unwrap(),
            calls: Arc::new(AtomicUsize::new(0)),
            kill_at,
            killed: Arc::new(Notify::new()),
        };
        (Port::new(wire.clone()), wire)
    }

    pub fn device_fault(&self, device: &DeviceId, fault: DeviceFault, on: bool) {
        let set = |h: &mut Hardware, now| h.set_device_fault(device, fault, on, now);
        self.machine.with(set).unwrap().unwrap();
    }

    pub fn fault(&self, node: &str, fault: Fault, on: bool) {
        let set = |h: &mut Hardware, now| h.set_fault(&name(node), fault, on, now);
        self.machine.with(set).unwrap().unwrap();
    }

    pub fn runs(&self, device: &DeviceId) -> String {
        let look = |h: &mut Hardware, now| {
            h.advance(now);
            h.firmware_of(device)
        };
        self.machine.with(look).unwrap().unwrap().to_string()
    }

    pub fn harms(&self) -> Vec<String> {
        let harms = |h: &mut Hardware, _: u64| {
            let harms = h.harms().map(|harm| format!("{harm:?}"));
            harms.chain(h.check()).collect()
        };
        self.machine.with(harms).unwrap()
    }

    /// Nobody was harmed, every group that is served is whole.
    pub async fn healthy(&self, nodes: &[&str]) {
        assert_eq!(self.harms(), Vec::<String>::new());
        for node in nodes {
            for group in self.groups(node).await {
                assert_eq!(group.health, PoolHealth::Online, "{group:?}");
                assert!(group.out.is_empty(), "{group:?}");
            }
        }
    }

    pub async fn groups(&self, node: &str) -> Vec<Group> {
        self.port(node).groups().await.unwrap()
    }

    pub async fn drive(&self, node: &str, disk: &str) -> Drive {
        let drives = self.port(node).drives().await.unwrap();
        let mut drives = drives.into_iter();
        drives.find(|drive| drive.serial == serial(disk)).unwrap()
    }

    /// Runs a worker to its end.
    pub async fn work(
        &self,
        node: &str,
        target: &DeviceId,
        image: &Image,
        steps: &Steps,
    ) -> Result<How, FirmwareError> {
        self.work_through(&self.port(node), node, (target, image), steps)
            .await
    }

    /// The same, through a platform.
    pub async fn work_through(
        &self,
        port: &Port<Wire>,
        node: &str,
        (target, image): (&DeviceId, &Image),
        steps: &Steps,
    ) -> Result<How, FirmwareError> {
        let node = name(node);
        let progress = watch::Sender::new(FlashProgress::default());
        let flash = Flash {
            node: &node,
            devices: port,
            image,
            journal: steps,
            progress: &progress,
            limits: &self.limits,
            is_over: &|| false,
        };
        match target {
            DeviceId::Drive(serial) => renew_disk(&flash, serial).await,
            DeviceId::Module { shelf, .. } => renew_shelf(&flash, shelf).await,
            DeviceId::Processor(_) => {
                let attempts = self.limits.processor_attempts;
                renew_processor(&flash, (port, port), attempts).await
            }
        }
    }

    /// Runs a worker, and keeps what it told of its progress.
    pub async fn watch_progress(
        &self,
        node: &str,
        (target, image): (&DeviceId, &Image),
    ) -> (Vec<FlashProgress>, Result<How, FirmwareError>) {
        let (port, node, steps) = (self.port(node), name(node), Steps::default());
        let progress = watch::Sender::new(FlashProgress::default());
        let mut told = progress.subscribe();
        let flash = Flash {
            node: &node,
            devices: &port,
            image,
            journal: &steps,
            progress: &progress,
            limits: &self.limits,
            is_over: &|| false,
        };
        let DeviceId::Drive(serial) = target else {
            panic!("{target} is no disk");
        };
        let mut seen = Vec::new();
        let mut work = std::pin::pin!(renew_disk(&flash, serial));
        loop {
            tokio::select! {
                biased;
                _ = told.changed() => seen.push(told.borrow_and_update().clone()),
                ended = &mut work => return (seen, ended),
            }
        }
    }

    /// Runs a worker until its node is lost, and it with it.
    pub async fn work_until_node_is_lost(
        &self,
        node: &str,
        target: &DeviceId,
        image: &Image,
        steps: &Steps,
    ) -> Option<Result<How, FirmwareError>> {
        let boot = self.machine.with(|h, _| h.boot_of(&name(node))).unwrap();
        let lost = async {
            while self.machine.with(|h, _| h.boot_of(&name(node))).unwrap() == boot {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            biased;
            () = lost => None,
            ended = self.work(node, target, image, steps) => Some(ended),
        }
    }

    /// Runs a worker until it is killed; whether it was.
    pub async fn work_until_killed(
        &self,
        node: &str,
        work: (&DeviceId, &Image),
        steps: &Steps,
        kill_at: Option<(usize, bool)>,
    ) -> bool {
        let (port, wire) = self.killing_port(node, kill_at);
        tokio::select! {
            biased;
            _ = self.work_through(&port, node, work, steps) => false,
            () = steps.killed.notified() => true,
            () = wire.killed.notified() => true,
        }
    }

    /// How many commands a worker sends when nothing goes wrong.
    pub async fn commands(&self, node: &str, work: (&DeviceId, &Image)) -> usize {
        let (port, wire) = self.killing_port(node, None);
        let steps = Steps::default();
        self.work_through(&port, node, work, &steps).await.unwrap();
        wire.calls.load(Ordering::SeqCst)
    }
}

/// Measures virtual time.
pub struct Watch(Instant);

impl Watch {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn within(&self, least: u64, most: u64) {
        let passed = self.0.elapsed();
        let bounds = Duration::from_secs(least)..=Duration::from_secs(most);
        assert!(bounds.contains(&passed), "it took {passed:?}");
    }
}
