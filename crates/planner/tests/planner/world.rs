//! A healthy cluster of two pairs as the planner is told of it, and setters for what a test changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::{Decision, Input, Learned, Running, Tunables, next};
use uuid::Uuid;

pub(crate) const NAMES: [&str; 4] = ["n1", "n2", "n3", "n4"];

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

pub(crate) fn partner(text: &str) -> &'static str {
    match text {
        "n1" => "n2",
        "n2" => "n1",
        "n3" => "n4",
        "n4" => "n3",
        other => {
            // Of bigger clusters; the few names are never given back.
            let number: u32 = other[1..].parse().unwrap();
            let partner = if number % 2 == 1 {
                number + 1
            } else {
                number - 1
            };
            String::leak(format!("n{partner}"))
        }
    }
}

pub(crate) fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

pub(crate) fn old() -> Version {
    version("9.1")
}

pub(crate) fn new() -> Version {
    version("9.2")
}

pub(crate) fn old_image() -> Digest {
    Digest([1; 32])
}

pub(crate) fn new_image() -> Digest {
    Digest([2; 32])
}

pub(crate) fn wall() -> WallTime {
    WallTime::new(jiff::Timestamp::from_second(1_700_000_000).unwrap())
}

pub(crate) fn known<T>(value: T) -> Observed<T> {
    Observed::Known { value, at: wall() }
}

pub(crate) fn unknown<T>() -> Observed<T> {
    Observed::Unknown {
        why: "the probe timed out".to_owned(),
        since: wall(),
    }
}

pub(crate) fn boot(n: u128) -> BootId {
    BootId(Uuid::from_u128(n))
}

pub(crate) fn user() -> UserName {
    UserName::new("admin").unwrap()
}

pub(crate) fn error(kind: TaskErrorKind, message: &str) -> TaskError {
    TaskError {
        kind,
        message: message.to_owned(),
        action: "Mend it.".to_owned(),
        code: None,
    }
}

pub(crate) fn update_request() -> UpdateRequest {
    UpdateRequest::new(new())
}

/// What of a node the coordinator cannot see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    Everything,
    Pair,
    Pools,
    Lifs,
    Disks,
    Version,
    Slots,
}

/// All that a decision depends on.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) me: NodeName,
    pub(crate) topology: Topology,
    pub(crate) control: Control,
    pub(crate) catalogue: Catalogue,
    pub(crate) operation: Operation,
    pub(crate) events: Vec<OperationEvent>,
    pub(crate) observations: ClusterObservation,
    pub(crate) running: BTreeMap<TaskId, Running>,
    pub(crate) silent: BTreeMap<NodeName, Duration>,
    pub(crate) idle: Duration,
    pub(crate) learned: Learned,
    /// What the coordinator cannot see of what is there.
    pub(crate) masks: BTreeMap<NodeName, Mask>,
    /// Without these the record would not go on.
    pub(crate) indispensable: BTreeSet<NodeName>,
    pub(crate) monotonic: Monotonic,
    pub(crate) tunables: Tunables,
    /// What the next orders come to, instead of success: by node and action.
    pub(crate) failures: Vec<(NodeName, &'static str, TaskError)>,
    /// Nodes whose new slot does not boot.
    pub(crate) bad_image: BTreeSet<NodeName>,
    pub(crate) boots: u128,
}

impl World {
    /// An update that was just asked for.
    pub(crate) fn update() -> Self {
        Self::of(Request::Update(update_request()))
    }

    pub(crate) fn update_with(change: impl FnOnce(&mut UpdateRequest)) -> Self {
        let mut request = update_request();
        change(&mut request);
        Self::of(Request::Update(request))
    }

    /// An update of a cluster of so many nodes.
    pub(crate) fn update_of(nodes: u128, change: impl FnOnce(&mut UpdateRequest)) -> Self {
        let mut world = Self::update_with(change);
        world.grow(nodes);
        world
    }

    /// The cluster has so many nodes, more than four.
    pub(crate) fn grow(&mut self, nodes: u128) {
        self.topology = topology(nodes);
        for n in 5..=nodes {
            let node = format!("n{n}");
            let seen = healthy(&node, n);
            self.observations.insert(name(&node), known(seen));
        }
        self.boots = 1_000;
    }

    /// An update of a cluster of one node.
    pub(crate) fn update_alone() -> Self {
        let mut world = Self::update_with(|request| request.skip_warnings = true);
        let mut alone = world.topology.nodes[0].clone();
        alone.partner = None;
        world.topology = Topology::new(world.topology.id, "one".to_owned(), vec![alone]).unwrap();
        world.observations.retain(|node, _| *node == name("n1"));
        world.override_node("n1", |seen| {
            seen.pair = known(None);
            if let Observed::Known { value, .. } = &mut seen.pools {
                value.retain(|pool| pool.home == name("n1"));
            }
            if let Observed::Known { value, .. } = &mut seen.lifs {
                value.retain(|lif| lif.home == name("n1"));
            }
        });
        world
    }

    pub(crate) fn of(request: Request) -> Self {
        let requested = OperationEvent::Requested {
            at: wall(),
            by: user(),
            request,
        };
        let id = OperationId(Uuid::from_u128(0xabc));
        let operation = Operation::begin(id, &requested).unwrap();
        let mut world = Self {
            me: name("n1"),
            topology: topology(4),
            control: Control {
                generation: Generation(7),
                ..Control::default()
            },
            catalogue: Catalogue::default(),
            operation,
            events: vec![requested],
            observations: ClusterObservation::new(),
            running: BTreeMap::new(),
            silent: BTreeMap::new(),
            idle: Duration::ZERO,
            learned: Learned::default(),
            masks: BTreeMap::new(),
            indispensable: BTreeSet::new(),
            monotonic: Monotonic {
                boot_id: boot(1),
                since_boot_ms: 0,
            },
            tunables: Tunables::default(),
            failures: Vec::new(),
            bad_image: BTreeSet::new(),
            boots: 100,
        };
        for (n, node) in (1..).zip(NAMES) {
            let seen = healthy(node, n);
            world.observations.insert(name(node), known(seen));
        }
        world.override_package(|_| {});
        world
    }

    /// Replaces the package in the catalogue by a changed one.
    pub(crate) fn override_package(&mut self, change: impl FnOnce(&mut ManifestSummary)) {
        let mut summary = ManifestSummary {
            version: new(),
            name: "evenkeel".to_owned(),
            platform: platform(),
            variant: None,
            features: vec![],
            source_versions: SourceVersions::Any,
            manual_steps: Vec::new(),
            firmware: Vec::new(),
            checks: Vec::new(),
            unpacked_bytes: 1 << 20,
            entry_count: 3,
            build_time: wall(),
        };
        change(&mut summary);
        let package = PackageRef {
            signed_by: None,
            digest: new_image(),
            archive_digest: Digest([9; 32]),
            archive_bytes: 1 << 20,
            summary,
        };
        let entry = CatalogueEntry {
            package,
            create_time: wall(),
            origin: name("n1"),
            order: 0,
            firmware_unpacked: false,
            firmware_refused: Vec::new(),
        };
        self.catalogue.packages = BTreeMap::from([(new_image(), entry)]);
    }

    /// Changes what a node sees.
    pub(crate) fn override_node(&mut self, node: &str, change: impl FnOnce(&mut NodeObservation)) {
        match self.observations.get_mut(&name(node)).unwrap() {
            Observed::Known { value, .. } => change(value),
            Observed::Unknown { .. } => panic!("{node} is silent"),
        }
    }

    /// Changes what a node sees of its pair.
    pub(crate) fn override_pair(&mut self, node: &str, change: impl FnOnce(&mut PairState)) {
        self.override_node(node, |seen| match &mut seen.pair {
            Observed::Known {
                value: Some(pair), ..
            } => change(pair),
            other => panic!("no pair: {other:?}"),
        });
    }

    /// What both partners, where they answer, see a member do.
    pub(crate) fn override_ha(&mut self, node: &str, ha: MemberHa) {
        for viewer in [node, partner(node)] {
            if self.observations[&name(viewer)].known().is_none() {
                continue;
            }
            self.override_pair(viewer, |pair| {
                let local = pair.local.node == name(node);
                let member = if local {
                    &mut pair.local
                } else {
                    &mut pair.partner
                };
                member.ha = ha;
            });
        }
    }

    pub(crate) fn override_transition(&mut self, node: &str, transition: Option<Transition>) {
        for viewer in [node, partner(node)] {
            if self.observations[&name(viewer)].known().is_some() {
                self.override_pair(viewer, |pair| pair.transition.clone_from(&transition));
            }
        }
    }

    /// Someone else takes a node over.
    pub(crate) fn take_over_by_hand(&mut self, node: &str) {
        let transition = Transition {
            id: None,
            taken: name(node),
            by: name(partner(node)),
            boot_before: None,
            clean: true,
            stage: TransitionStage::TakenOver,
            trouble: None,
        };
        self.override_transition(node, Some(transition));
        self.override_ha(node, MemberHa::WaitingForGiveback);
    }

    /// A node stops answering the coordinator.
    pub(crate) fn silence(&mut self, node: &str, time: Duration) -> Observed<NodeObservation> {
        self.silent.insert(name(node), time);
        self.observations.insert(name(node), unknown()).unwrap()
    }

    /// What the coordinator sees.
    pub(crate) fn seen(&self) -> ClusterObservation {
        let mut seen = self.observations.clone();
        for (node, mask) in &self.masks {
            let Some(observed @ Observed::Known { .. }) = seen.get_mut(node) else {
                continue;
            };
            let Observed::Known { value, .. } = observed else {
                continue;
            };
            match mask {
                Mask::Everything => *observed = unknown(),
                Mask::Pair => value.pair = unknown(),
                Mask::Pools => value.pools = unknown(),
                Mask::Lifs => value.lifs = unknown(),
                Mask::Disks => value.disks = unknown(),
                Mask::Version => value.version = unknown(),
                Mask::Slots => value.slots = unknown(),
            }
        }
        seen
    }

    pub(crate) fn input<R>(&self, f: impl FnOnce(&Input<'_>) -> R) -> R {
        let survives =
            |down: &[NodeName]| match down.iter().find(|n| self.indispensable.contains(n)) {
                Some(node) => Err(format!("only {node} keeps it")),
                None => Ok(()),
            };
        f(&Input {
            me: &self.me,
            topology: &self.topology,
            control: &self.control,
            catalogue: &self.catalogue,
            operation: &self.operation,
            observations: &self.seen(),
            running: &self.running,
            silent: &self.silent,
            idle: self.idle,
            survives_without: &survives,
            wall: wall(),
            monotonic: self.monotonic,
            tunables: self.tunables,
            learned: &self.learned,
        })
    }

    pub(crate) fn decide(&self) -> Decision {
        self.input(next)
    }

    /// Appends events; every one must be legal.
    pub(crate) fn append(&mut self, events: Vec<OperationEvent>) {
        for event in events {
            if let Err(illegal) = self.operation.apply(&event) {
                panic!("{illegal}\n{event:?}");
            }
            self.events.push(event);
        }
        self.idle = Duration::ZERO;
    }

    pub(crate) fn ask_pause(&mut self) {
        let (at, by) = (wall(), user());
        self.append(vec![OperationEvent::PauseRequested { at, by }]);
    }

    pub(crate) fn resume(&mut self) {
        let (at, by) = (wall(), user());
        let cause = PauseCause::User {
            point: PausePoint::Validation,
        };
        let anew = self.operation.state == OperationState::Paused { cause };
        self.append(vec![OperationEvent::Resumed { at, by, anew }]);
    }

    pub(crate) fn cancel(&mut self) {
        let (at, by) = (wall(), user());
        self.append(vec![OperationEvent::CancelRequested { at, by }]);
    }

    /// The problem that it is paused on.
    pub(crate) fn problem(&self) -> &Problem {
        match &self.operation.state {
            OperationState::Paused {
                cause: PauseCause::Error { problem },
            } => problem,
            other => panic!("not paused on an error: {other:?}"),
        }
    }

    /// The point that it is paused at.
    pub(crate) fn point(&self) -> PausePoint {
        match &self.operation.state {
            OperationState::Paused {
                cause: PauseCause::User { point },
            } => *point,
            other => panic!("not paused at a point: {other:?}"),
        }
    }

    /// Started tasks as `node action`, in order.
    pub(crate) fn started(&self) -> Vec<String> {
        let of = |event: &OperationEvent| match event {
            OperationEvent::TaskStarted { task, .. } => {
                let task = &self.operation.tasks[task].task;
                Some(format!("{} {}", task.node, task.action.name()))
            }
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }
}

fn platform() -> PlatformName {
    PlatformName::new("lab-x86_64").unwrap()
}

fn topology(nodes: u128) -> Topology {
    let config = |n: u128| NodeConfig {
        id: NodeId(Uuid::from_u128(n)),
        name: name(&format!("n{n}")),
        partner: Some(name(partner(&format!("n{n}")))),
        interconnect: "127.0.0.1:1".to_owned(),
        rest: "127.0.0.1:2".to_owned(),
        variant: None,
        features: Vec::new(),
        site: None,
        platform: platform(),
        lifs: Vec::new(),
    };
    let nodes = (1..=nodes).map(config).collect();
    Topology::new(ClusterId(Uuid::from_u128(99)), "lab".to_owned(), nodes).unwrap()
}

fn member(node: &str, n: u128) -> MemberState {
    MemberState {
        node: name(node),
        ha: MemberHa::Serving,
        boot_id: Some(boot(n)),
    }
}

fn number(node: &str) -> u128 {
    node[1..].parse().unwrap()
}

/// What a healthy node sees.
fn healthy(node: &str, n: u128) -> NodeObservation {
    let other = partner(node);
    let (low, high) = if node < other {
        (node, other)
    } else {
        (other, node)
    };
    let pool = |home: &str| PoolState {
        name: PoolName::new(format!("pool_{home}")).unwrap(),
        home: name(home),
        owner: Some(name(home)),
        root: true,
        health: PoolHealth::Online,
        scrubbing: false,
        unseen: false,
    };
    let lif = |home: &str| LifState {
        name: LifName::new(format!("lif_{home}")).unwrap(),
        home: name(home),
        current: Some(name(home)),
        has_failover_target: true,
    };
    let disk = |serial: String| DiskState {
        serial: DiskSerial::new(serial).unwrap(),
        paths: 2,
        failed: false,
    };
    let image = SlotImage {
        digest: old_image(),
        version: old(),
    };
    NodeObservation {
        transfers: Vec::new(),
        package_room: None,
        pull_trouble: BTreeMap::new(),
        accepts_unsigned: true,
        gate_script: known(true),
        bundled_checks: None,
        node: name(node),
        boot_id: boot(n),
        daemon: "0.1.0".to_owned(),
        version: known(old()),
        generation: Generation(7),
        slots: known(SlotsState {
            booted: Slot::A,
            default: Slot::A,
            a: SlotState {
                health: SlotHealth::Good,
                image: Some(image),
            },
            b: SlotState {
                health: SlotHealth::Unbootable,
                image: None,
            },
            writable: true,
        }),
        pair: known(Some(PairState {
            enabled: true,
            local: member(node, n),
            partner: member(other, number(other)),
            takeover_veto: None,
            takeover_veto_passes: false,
            giveback_veto: None,
            giveback_veto_passes: false,
            transition: None,
        })),
        pools: known(vec![pool(low), pool(high)]),
        lifs: known(vec![lif(low), lif(high)]),
        disks: known(vec![disk(format!("D1{low}")), disk(format!("D2{low}"))]),
        load: known(Load {
            cpu_percent: 20,
            disk_percent: 30,
        }),
        sp: known(SpState {
            reachable: true,
            image_ok: true,
            absent: false,
        }),
        time_sync: known(TimeSync {
            synchronized: true,
            offset_ms: 3,
        }),
        exclusive_jobs: known(Vec::new()),
        alerts: known(Vec::new()),
        client_hazards: known(Vec::new()),
        quorum: known(Quorum {
            record_reachable: true,
            silent: Vec::new(),
        }),
        space: known(Space {
            store_free: 1 << 40,
            slot_free: 1 << 40,
            root_free: 1 << 40,
        }),
        packages: known(vec![old_image(), new_image()]),
        witness: known(Some(WitnessState {
            name: "witness".to_owned(),
            votes: true,
        })),
        fencing: known(Some(FencingState {
            enabled: true,
            device: FenceDevice::Other {
                name: "outlet".to_owned(),
                answers: true,
            },
            tested_s_ago: Some(60),
        })),
        partner_sp: known(Some(PartnerSp {
            reachable: true,
            absent: false,
        })),
        boot_settings: known(BootSettings {
            autoboot: true,
            stops_in_menu: false,
        }),
        shelves: known(vec![ShelfState {
            name: format!("S1{low}"),
            modules: ["A", "B"]
                .map(|name| ShelfModule {
                    name: name.to_owned(),
                    ok: true,
                })
                .into(),
            sensors: Vec::new(),
        }]),
        unowned_disks: known(Vec::new()),
        ports: known(vec![PortState {
            name: "e0c".to_owned(),
            broadcast_domain: "data".to_owned(),
            up: true,
        }]),
        client_risks: known(Vec::new()),
        firmware: known(FirmwareStatus::default()),
    }
}
