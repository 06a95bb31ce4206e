//! What the coordinator starts unasked.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::{Chores, HeldOff, Leisure, chores};

use crate::world::*;

struct Idle {
    world: World,
    held_off: BTreeMap<(Digest, NodeName), HeldOff>,
    rested: Duration,
}

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

/// Every node runs 9.1 and holds it, and as many other packages as asked for, 10 and above.
fn idle(spare: u8) -> Idle {
    let mut world = World::update();
    world.catalogue = Catalogue::default();
    let mut all = Vec::new();
    for (n, text) in std::iter::once((1, "9.1".to_owned()))
        .chain((10..10 + spare).map(|n| (n, format!("10.{n}"))))
    {
        add(&mut world.catalogue, n, &text);
        all.push(digest(n));
    }
    for n in NAMES {
        world.override_node(n, |seen| seen.packages = known(all.clone()));
    }
    Idle {
        world,
        held_off: BTreeMap::new(),
        rested: Duration::from_secs(7200),
    }
}

fn add(catalogue: &mut Catalogue, n: u8, text: &str) {
    let mut of = World::update();
    of.override_package(|summary| summary.version = version(text));
    let mut package = of.catalogue.packages[&new_image()].package.clone();
    package.digest = digest(n);
    let event = CatalogueEvent::PackageAdded {
        at: wall(),
        package: Box::new(package),
        node: name("n1"),
    };
    catalogue.apply(&event).unwrap();
}

impl Idle {
    fn chores(&self) -> Chores {
        chores(&Leisure {
            topology: &self.world.topology,
            control: &self.world.control,
            catalogue: &self.world.catalogue,
            observations: &self.world.observations,
            held_off: &self.held_off,
            rested: self.rested,
            tunables: self.world.tunables,
        })
    }

    fn deleted(&self) -> Option<Digest> {
        match self.chores().start? {
            Request::Delete { digest, .. } => Some(digest),
            other => panic!("{other:?}"),
        }
    }

    fn lacks(&mut self, node: &str, package: Digest) {
        self.world.override_node(node, |seen| {
            let Observed::Known { value, .. } = &mut seen.packages else {
                panic!("unknown")
            };
            value.retain(|held| *held != package);
        });
    }
}

#[test]
fn a_package_that_a_node_lacks_is_synchronized() {
    let mut idle = idle(1);
    assert_eq!(idle.chores(), Chores::default());
    idle.lacks("n3", digest(10));
    let version = version("10.10");
    let digest = digest(10);
    assert_eq!(idle.chores().start, Some(Request::Sync { digest, version }));
    // A node that does not answer catches up on its return.
    idle.world.silence("n3", Duration::from_secs(1));
    assert_eq!(idle.chores(), Chores::default());
}

#[test]
fn a_takeover_that_no_update_gives_back_is_told_of() {
    let mut idle = idle(0);
    assert_eq!(idle.chores().awaiting, []);
    idle.world.take_over_by_hand("n1");
    let awaiting = idle.chores().awaiting;
    let [wait] = &awaiting[..] else {
        panic!("{awaiting:?}")
    };
    assert_eq!(wait.node, Some(name("n1")));
    assert!(
        wait.what.contains("node \"n1\" to be given back"),
        "{wait:?}"
    );
    assert!(wait.unblock.contains("give it back"), "{wait:?}");
}

#[test]
fn nothing_is_started_beside_an_open_operation() {
    let mut idle = idle(1);
    idle.lacks("n3", digest(10));
    idle.world
        .control
        .open
        .insert(OperationId(uuid::Uuid::nil()), OperationKind::Update);
    assert_eq!(idle.chores(), Chores::default());
}

#[test]
fn a_package_that_did_not_come_is_held_off_and_said_to_be_missing() {
    let mut idle = idle(2);
    idle.lacks("n3", digest(10));
    idle.world.override_node("n3", |seen| {
        let (code, message) = (code::NO_SPACE, "no space".to_owned());
        seen.pull_trouble
            .insert(digest(10), Trouble { code, message });
    });
    let held = HeldOff {
        since: wall(),
        remaining: Duration::from_secs(200),
    };
    idle.held_off.insert((digest(10), name("n3")), held);
    let chores = idle.chores();
    assert_eq!(chores.start, None);
    let wait = &chores.awaiting[0];
    assert_eq!(wait.what, "package 10.10, which is not on node \"n3\"");
    assert_eq!(wait.seen.as_deref(), Some("no space"));
    assert!(wait.unblock.contains("Free space on node \"n3\""));
    // Nor is another one opened for as long as only a person can help: not before the bytes come again.
    let key = (digest(10), name("n3"));
    idle.held_off.get_mut(&key).unwrap().remaining = Duration::ZERO;
    let chores = idle.chores();
    assert_eq!((chores.start, chores.awaiting[0].remaining), (None, None));
    let before = idle.world.observations.clone();
    idle.world.override_node("n3", |seen| {
        seen.transfers.push(Transfer {
            package: Some(digest(10)),
            version: None,
            source: TransferSource::Pull { from: None },
            received_bytes: 1,
            total_bytes: None,
            bytes_per_second: 1,
            since: wall(),
            trouble: None,
        });
    });
    assert!(idle.chores().start.is_some());
    idle.world.observations = before;
    // Another package, or another node, does not wait for that.
    idle.lacks("n3", digest(11));
    assert!(idle.chores().start.is_some());
}

#[test]
fn retention_is_off_by_default_and_keeps_the_newest() {
    let mut idle = idle(4);
    assert_eq!(idle.deleted(), None);
    for (keep, oldest) in [(0, Some(10)), (3, Some(10)), (4, None), (9, None)] {
        idle.world.control.retention = Some(keep);
        assert_eq!(idle.deleted(), oldest.map(digest), "keep {keep}");
    }
}

#[test]
fn what_runs_or_is_a_fallback_on_any_node_stays() {
    let mut idle = idle(3);
    idle.world.control.retention = Some(1);
    // n2 could fall back to the first; n4 says that it booted the second.
    idle.world.override_node("n2", |seen| {
        let Observed::Known { value, .. } = &mut seen.slots else {
            panic!("unknown")
        };
        value.b.image = Some(SlotImage {
            digest: digest(10),
            version: version("10.10"),
        });
    });
    assert_eq!(idle.deleted(), Some(digest(11)));
    let booted = Booted {
        at: wall(),
        boot_id: boot(4),
        version: Some(version("10.11")),
        daemon: String::new(),
        machine: MachineId::default(),
    };
    idle.world.control.booted.insert(name("n4"), booted);
    assert_eq!(idle.deleted(), None);
}

#[test]
fn nothing_is_collected_on_ignorance_or_soon_after_work() {
    let mut idle = idle(3);
    idle.world.control.retention = Some(0);
    idle.rested = idle.world.tunables.collect_after() - Duration::from_secs(1);
    assert_eq!(idle.deleted(), None);
    idle.rested += Duration::from_secs(2);
    assert!(idle.deleted().is_some());
    idle.world
        .override_node("n4", |seen| seen.slots = unknown());
    assert_eq!(idle.deleted(), None);
    idle.world.silence("n4", Duration::from_secs(1));
    assert_eq!(idle.deleted(), None);
}
