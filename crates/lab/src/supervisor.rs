//! The supervisor: SP and boot loader of every lab node, and keeper of the simulated hardware.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use evenkeel_model::{BootId, MemberHa, NodeName, Slot, SlotHealth, SlotImage};
use evenkeel_platform::sim::{Effect, Hardware, HardwareSettings, Machine};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::durable::replace;
use crate::lab_json::{LAB_SCHEMA, LabFile, LabNode};
use crate::layout::Layout;
use crate::lif::{HostedLif, Hosting, LifProcess};
use crate::lock::Lock;
use crate::prepare::{Tools, prepare};
use crate::process::{Order, Report, Runner};
use crate::ready::cluster_answers;
use crate::settings::{Asked, Settings, USER};
use crate::slot_image::{Images, daemon_of};
use crate::{lines, serve};

/// How often LIF servers are looked after.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// How to bring a lab up.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// The lab's folder; made if it does not exist.
    pub dir: PathBuf,
    /// Number of nodes; a lab that exists keeps its own.
    pub nodes: Option<usize>,
    /// Number of sites that its pairs are dealt out to; a lab that exists keeps its own.
    pub sites: Option<usize>,
    /// Number of disks of each node; a lab that exists keeps its own.
    pub disks: Option<u8>,
    /// Length of a minute.
    pub minute: Option<Duration>,
    /// The cluster's address; port 0 is any free one.
    pub address: Option<String>,
    /// From one scrub of a stored package to the next.
    pub scrub_every: Option<Duration>,
    /// Most bytes per second that each node sends of packages.
    pub package_rate: Option<NonZeroU64>,
    /// The `evenkeeld` that runs where an image brings none.
    pub evenkeeld: PathBuf,
    /// The program whose `lab` commands run LIF servers and guard daemons: `evenkeel`.
    pub program: PathBuf,
    /// The package that new nodes boot first; none when the tools choose.
    pub image: Option<PathBuf>,
}

/// Runs a lab until `stop` ends; calls `ready` once, when the cluster answers.
pub async fn up(
    options: UpOptions,
    tools: &dyn Tools,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(),
) -> Result<()> {
    fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot make {}", options.dir.display()))?;
    let layout = Layout::new(&options.dir.canonicalize()?)?;
    let _lock = Lock::take(&layout.lock())?;
    let asked = Asked {
        nodes: options.nodes,
        sites: options.sites,
        disks: options.disks,
        minute: options.minute,
        address: options.address.clone(),
        scrub_every: options.scrub_every,
        package_rate: options.package_rate,
    };
    let image = options.image.clone();
    let prepared = prepare(&layout, &asked, tools, image, &options.evenkeeld).await?;
    let hardware = open_hardware(&layout, &prepared.settings, prepared.new)?;
    let lab = Arc::new(Lab::start(layout, prepared.settings, &options, hardware)?);
    let ended = lab.run(stop, ready).await;
    lab.shut_down().await;
    ended
}

/// The hardware as it was left: with a supervisor's end all nodes lost power, and now it returns.
fn open_hardware(layout: &Layout, settings: &Settings, new: bool) -> Result<Hardware> {
    let path = layout.hardware();
    let mut hardware = if new || !path.exists() {
        let hardware = HardwareSettings {
            minute_ms: settings.minute_ms,
            seed: settings.seed,
            disks: settings.disks,
            ..HardwareSettings::default()
        };
        Hardware::new(&settings.topology, hardware)
    } else {
        let bytes = fs::read(&path).context("the hardware's state")?;
        serde_json::from_slice(&bytes).context("the hardware's state is damaged")?
    };
    hardware.set_minute(settings.minute_ms);
    for node in settings.topology.names() {
        for (slot, image) in images_of(layout, &Images::default(), node)? {
            hardware.set_image(node, slot, image)?;
        }
    }
    let now = hardware.now_ms();
    hardware.cold_start(now);
    Ok(hardware)
}

/// What the folders of a node's slots hold: they are the truth.
fn images_of(
    layout: &Layout,
    images: &Images,
    node: &NodeName,
) -> Result<[(Slot, Option<SlotImage>); 2]> {
    let slots = layout.node(node).slots();
    let of = |slot: Slot| images.of(&slots.join(slot.as_str()));
    Ok([(Slot::A, of(Slot::A)?), (Slot::B, of(Slot::B)?)])
}

/// A lab that runs.
pub(crate) struct Lab {
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
    pub(crate) machine: Arc<Machine>,
    pub(crate) runners: BTreeMap<NodeName, Runner>,
    pub(crate) stopping: Notify,
    pub(crate) ready: AtomicBool,
    evenkeeld: PathBuf,
    program: PathBuf,
    images: Images,
    reports: Mutex<Option<mpsc::UnboundedReceiver<Report>>>,
}

impl Lab {
    fn start(
        layout: Layout,
        settings: Settings,
        options: &UpOptions,
        hardware: Hardware,
    ) -> Result<Self> {
        let path = layout.hardware();
        let machine = Machine::stored(
            hardware,
            Box::new(move |hardware| {
                let bytes = serde_json::to_vec(hardware).map_err(|error| error.to_string())?;
                let stored = replace(&path, 0o600, &bytes);
                stored.map_err(|error| format!("the lab's disk: {error}"))
            }),
        );
        let (sender, reports) = mpsc::unbounded_channel();
        let mut runners = BTreeMap::new();
        for node in settings.topology.names() {
            let paths = layout.node(node);
            let runner = Runner::start(
                node.clone(),
                paths.config(),
                paths.daemon_log(),
                options.program.clone(),
                sender.clone(),
            );
            runners.insert(node.clone(), runner);
        }
        let lab = Self {
            layout,
            settings,
            machine,
            runners,
            stopping: Notify::new(),
            ready: AtomicBool::new(false),
            evenkeeld: options.evenkeeld.clone(),
            program: options.program.clone(),
            images: Images::default(),
            reports: Mutex::new(Some(reports)),
        };
        for node in lab.settings.topology.names() {
            lab.write_link(node)?;
        }
        lab.write_lab_json()?;
        Ok(lab)
    }

    async fn run(
        self: &Arc<Self>,
        stop: impl Future<Output = ()>,
        ready: impl FnOnce(),
    ) -> Result<()> {
        // Dropped at the end, and with it everyone who listens.
        let mut tasks = JoinSet::new();
        let control = lines::listen(&self.layout.control_socket())?;
        tasks.spawn(serve::control(Arc::clone(self), control));
        for node in self.settings.topology.names() {
            let listener = lines::listen(&self.layout.node(node).hardware_socket())?;
            tasks.spawn(serve::hardware(Arc::clone(self), node.clone(), listener));
        }
        let ca = self.layout.ca();
        let answers = cluster_answers(&ca, &self.settings.address);
        let announce = async {
            answers.await?;
            self.ready.store(true, Ordering::SeqCst);
            ready();
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            () = stop => Ok(()),
            () = self.stopping.notified() => Ok(()),
            failed = announce => failed,
            failed = self.follow_hardware() => failed,
            () = self.follow_reports() => Ok(()),
        }
    }

    /// Makes happen to processes what happened to the hardware.
    async fn follow_hardware(&self) -> Result<()> {
        let mut servers = BTreeMap::new();
        for node in self.settings.topology.names() {
            let log = self.layout.node(node).lif_log();
            let server = LifProcess::new(node.clone(), self.program.clone(), log);
            servers.insert(node.clone(), server);
        }
        let mut look = tokio::time::interval(LOOK_AFTER);
        loop {
            tokio::select! {
                effects = self.machine.next_effects() => {
                    for effect in effects {
                        self.follow(&effect, &mut servers).await?;
                    }
                }
                _ = look.tick() => {
                    for server in servers.values_mut() {
                        complain(server.watch().await);
                    }
                }
            }
        }
    }

    async fn follow(
        &self,
        effect: &Effect,
        servers: &mut BTreeMap<NodeName, LifProcess>,
    ) -> Result<()> {
        let (Effect::Boot { node, .. }
        | Effect::Daemon { node, .. }
        | Effect::PowerLost { node }
        | Effect::Shutdown { node }
        | Effect::Lifs { node, .. }) = effect;
        let server = servers.get_mut(node).context("effects name nodes")?;
        let runner = self.runners.get(node).context("effects name nodes")?;
        match effect {
            Effect::Boot { .. } => complain(server.start()),
            Effect::Daemon { slot, boot_id, .. } => {
                runner.tell(self.boot_order(node, *slot, *boot_id)?);
            }
            Effect::PowerLost { .. } => {
                runner.tell(Order::Kill);
                server.stop().await;
            }
            Effect::Shutdown { .. } => {
                runner.tell(Order::End);
                server.stop().await;
            }
            Effect::Lifs { hosting, .. } => {
                let hosting = self.hosting(hosting.iter().map(|lif| lif.as_str()));
                // Its watch starts a server that is stuck or gone anew.
                complain(server.host(hosting).await);
            }
        }
        Ok(())
    }

    fn boot_order(&self, node: &NodeName, slot: Slot, boot_id: BootId) -> Result<Order> {
        let folder = self.layout.node(node).slots().join(slot.as_str());
        Ok(Order::Start {
            program: daemon_of(&folder, &self.evenkeeld),
            boot_id,
        })
    }

    fn hosting<'a>(&self, names: impl Iterator<Item = &'a str>) -> Hosting {
        let lifs = || {
            self.settings
                .topology
                .nodes
                .iter()
                .flat_map(|node| &node.lifs)
        };
        let address = |name: &str| lifs().find(|lif| lif.name.as_str() == name);
        let hosted = names.filter_map(address).map(|lif| HostedLif {
            lif: lif.name.to_string(),
            address: lif.address.clone(),
        });
        Hosting {
            lifs: hosted.collect(),
        }
    }

    async fn follow_reports(&self) {
        let reports = self
            .reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut reports) = reports else { return };
        while let Some(report) = reports.recv().await {
            match report {
                Report::Pid(_) => complain(self.write_lab_json()),
                Report::BadStarts { node, boot_id } => self.give_image_up(&node, boot_id),
            }
        }
    }

    /// The boot loader's watchdog: a node whose image on trial cannot run its daemon starts anew, and
    /// counting brings it to the other slot. Not one that serves, though: whoever killed its daemon
    /// must not cost its clients anything.
    fn give_image_up(&self, node: &NodeName, boot_id: BootId) {
        let reset = self.machine.with(|hardware, now| {
            let waits = hardware.ha(node) == Some(MemberHa::WaitingForGiveback);
            if !waits || hardware.boot_of(node) != Some(boot_id) || !on_trial(hardware, node) {
                return Ok(());
            }
            hardware.reset(node, "evenkeeld does not stay up", now)
        });
        match reset {
            Ok(done) => complain(done.map_err(anyhow::Error::from)),
            Err(error) => tracing::error!(%error, "a reset was not stored"),
        }
    }

    /// Tells the hardware what the slots of a node hold now.
    pub(crate) fn refresh_images(&self, node: &NodeName) -> Result<()> {
        let images = images_of(&self.layout, &self.images, node)?;
        self.machine.with(|hardware, _| {
            for (slot, image) in images {
                hardware.set_image(node, slot, image)?;
            }
            Ok(())
        })?
    }

    /// Tells a node's daemon how its links are.
    pub(crate) fn write_link(&self, node: &NodeName) -> Result<()> {
        let link = self.machine.with(|hardware, _| hardware.link(node))?;
        let text = serde_json::to_vec(&link)?;
        replace(&self.layout.node(node).link(), 0o600, &text).context("a node's links")
    }

    pub(crate) fn write_lab_json(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.lab_file())?;
        replace(&self.layout.lab_json(), 0o600, &text).context("lab.json")
    }

    fn lab_file(&self) -> LabFile {
        let nodes = self.settings.topology.nodes.iter().map(|node| LabNode {
            name: node.name.clone(),
            uuid: node.id,
            partner: node.partner.clone().unwrap_or_else(|| node.name.clone()),
            url: format!("https://{}", node.rest),
            lif: node
                .lifs
                .first()
                .map(|lif| lif.address.clone())
                .unwrap_or_default(),
            pid: self.runners.get(&node.name).and_then(Runner::pid),
            dir: self.layout.node(&node.name).dir().to_owned(),
        });
        let (client_certificate, client_key) = self.layout.client_certificate();
        LabFile {
            schema: LAB_SCHEMA,
            url: format!("https://{}", self.settings.address),
            ca: self.layout.ca(),
            user: USER.to_owned(),
            password: self.settings.password.clone(),
            client_certificate: Some(client_certificate),
            client_key: Some(client_key),
            signing_key: self.layout.signing_key(),
            public_key: self.layout.public_key(),
            nodes: nodes.collect(),
        }
    }

    /// Ends every daemon, side by side; LIF servers end with their handles.
    async fn shut_down(&self) {
        for runner in self.runners.values() {
            runner.tell(Order::Quit);
        }
        for runner in self.runners.values() {
            runner.ended().await;
        }
        complain(self.write_lab_json());
        let nodes = self.settings.topology.names();
        let mut sockets = vec![self.layout.control_socket()];
        sockets.extend(nodes.map(|node| self.layout.node(node).hardware_socket()));
        for socket in sockets {
            complain(fs::remove_file(socket).map_err(anyhow::Error::from));
        }
    }
}

/// Whether the image that the node booted is not proven good.
fn on_trial(hardware: &Hardware, node: &NodeName) -> bool {
    let slots = hardware.slots_state(node);
    slots.is_some_and(|slots| slots.slot(slots.booted).health != SlotHealth::Good)
}

/// Trouble that the lab outlives.
fn complain(result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!("{error:#}");
    }
}
