//! Which disk is next, whatever the world looks like.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_firmware::select::{Decision, Reason, Selection, SelectionLimits, Tally, select};
use evenkeel_model::{DeviceModel, DiskSerial, FirmwareRevision, NodeName, PoolHealth};
use evenkeel_platform::devices::{Drive, DrivePlace, DriveState, DriveTransport, Group, GroupId};
use proptest::prelude::*;

const NODES: [&str; 2] = ["a", "b"];
const MODELS: [&str; 2] = ["X1", "X2"];
const GROUPS: usize = 3;

fn group(number: usize) -> GroupId {
    GroupId {
        pool: "p".parse().unwrap(),
        number: number as u8,
    }
}

fn model(number: usize) -> DeviceModel {
    MODELS[number].parse().unwrap()
}

/// All that a selection is made from.
#[derive(Clone, Debug)]
struct World {
    node: NodeName,
    drives: Vec<(Drive, Option<FirmwareRevision>)>,
    groups: Vec<Group>,
    offers: BTreeMap<DeviceModel, FirmwareRevision>,
    running: BTreeMap<DiskSerial, Option<GroupId>>,
    tally: BTreeMap<DeviceModel, Tally>,
    failed: BTreeSet<DiskSerial>,
    limits: SelectionLimits,
}

impl World {
    fn decide(&self) -> Decision {
        select(&Selection {
            node: &self.node,
            drives: &self.drives,
            groups: &self.groups,
            offers: &self.offers,
            running: &self.running,
            tally: &self.tally,
            failed: &self.failed,
            limits: &self.limits,
        })
    }

    fn drive(&self, serial: &DiskSerial) -> &Drive {
        let mut drives = self.drives.iter();
        let found = drives.find(|(drive, _)| drive.serial == *serial);
        &found.unwrap().0
    }

    /// Whether a disk could be flashed if it stood alone in the world.
    fn is_eligible(&self, drive: &Drive, runs: &Option<FirmwareRevision>) -> bool {
        let is_out = drive.state == DriveState::Offline;
        let older = |offer: &FirmwareRevision| {
            let runs = runs.as_ref();
            runs.is_some_and(|runs| is_out || runs.order(offer).is_lt())
        };
        drive.owner.as_ref() == Some(&self.node)
            && drive.state != DriveState::Failed
            && !self.failed.contains(&drive.serial)
            && !self.running.contains_key(&drive.serial)
            && self.offers.get(&drive.model).is_some_and(older)
    }

    fn canary_passed(&self, model: &DeviceModel) -> bool {
        self.tally
            .get(model)
            .is_some_and(|tally| tally.canary_passed)
    }
}

/// By number: model, owner, place, state, revision.
type Spec = (usize, usize, usize, usize, usize);

fn disk(
    number: usize,
    (kind, owner, place, state, runs): Spec,
) -> (Drive, Option<FirmwareRevision>) {
    let drive = Drive {
        serial: format!("D{number}").parse().unwrap(),
        model: model(kind),
        transport: DriveTransport::Scsi,
        owner: NODES.get(owner).map(|node| node.parse().unwrap()),
        place: match place < GROUPS {
            true => DrivePlace::Member(group(place)),
            false => DrivePlace::Spare,
        },
        state: match state {
            0 => DriveState::Failed,
            1 => DriveState::Offline,
            _ => DriveState::Online,
        },
        paths: Vec::new(),
    };
    let runs = ["NA01", "NA02", "NA03"]
        .get(runs)
        .map(|text| text.parse().unwrap());
    (drive, runs)
}

fn health(number: usize) -> PoolHealth {
    match number {
        0 => PoolHealth::Degraded,
        1 => PoolHealth::Resyncing,
        2 => PoolHealth::Offline,
        _ => PoolHealth::Online,
    }
}

fn world() -> impl Strategy<Value = World> {
    let disks = prop::collection::vec(
        (0..2_usize, 0..3_usize, 0..5_usize, 0..9_usize, 0..4_usize),
        0..12,
    );
    let groups = prop::collection::vec((0..9_usize, any::<bool>()), 0..=GROUPS);
    let tally = prop::collection::vec((any::<bool>(), 0..3_u32), 2);
    let limits = (1..3_u32, 1..4_usize, prop::bool::weighted(0.8));
    let running = prop::collection::vec(0..40_usize, 0..3);
    let failed = prop::collection::vec(0..40_usize, 0..2);
    (disks, groups, tally, limits, running, failed).prop_map(build)
}

type Parts = (
    Vec<Spec>,
    Vec<(usize, bool)>,
    Vec<(bool, u32)>,
    (u32, usize, bool),
    Vec<usize>,
    Vec<usize>,
);

fn build((disks, groups, tally, limits, running, failed): Parts) -> World {
    let drives: Vec<_> = disks
        .into_iter()
        .enumerate()
        .map(|(n, spec)| disk(n, spec))
        .collect();
    let groups = groups
        .into_iter()
        .enumerate()
        .map(|(number, (state, out))| Group {
            id: group(number),
            owner: None,
            health: health(state),
            out: Vec::from_iter((out && state < 3).then(|| format!("D{state}").parse().unwrap())),
        });
    let tally = tally
        .into_iter()
        .enumerate()
        .map(|(number, (canary_passed, failures))| {
            let tally = Tally {
                canary_passed,
                failures,
            };
            (model(number), tally)
        });
    // Some of the world's own disks, and some that only others see.
    let running = running.into_iter().map(|number| match drives.get(number) {
        Some((drive, _)) => (drive.serial.clone(), drive.place.group().cloned()),
        None => {
            let place = (number % 4 < GROUPS).then(|| group(number % 4));
            (format!("E{number}").parse().unwrap(), place)
        }
    });
    World {
        node: NODES[0].parse().unwrap(),
        groups: groups.collect(),
        offers: BTreeMap::from([
            (model(0), "NA02".parse().unwrap()),
            (model(1), "NA03".parse().unwrap()),
        ]),
        running: running.collect(),
        tally: tally.collect(),
        failed: failed
            .into_iter()
            .map(|n| format!("D{n}").parse().unwrap())
            .collect(),
        limits: SelectionLimits {
            failures: limits.0,
            at_once: limits.1,
            background: limits.2,
        },
        drives,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_world_looks_like_no_rule_is_broken(world in world()) {
        let decision = world.decide();
        let mut groups: Vec<&GroupId> = world.running.values().flatten().collect();
        for serial in &decision.flash {
            let (drive, runs) = world.drives.iter().find(|(d, _)| d.serial == *serial).unwrap();
            prop_assert!(world.is_eligible(drive, runs), "{drive:?}");
            let tally = world.tally[&drive.model];
            let begun = drive.place.group().is_some() && drive.state == DriveState::Offline;
            let stopped = tally.failures >= world.limits.failures;
            prop_assert!(begun || !stopped, "its model was stopped");
            if let Some(id) = drive.place.group() {
                prop_assert!(begun || world.limits.background);
                prop_assert!(!groups.contains(&id), "two of {id}");
                groups.push(id);
                let group = world.groups.iter().find(|group| group.id == *id).unwrap();
                let whole = group.health == PoolHealth::Online && group.out.is_empty();
                let lacks_it = drive.state == DriveState::Offline && group.out == [serial.clone()];
                prop_assert!(whole || lacks_it, "{group:?}");
            }
        }
    }

    #[test]
    fn the_first_of_a_model_is_tried_alone_and_is_a_spare_if_there_is_one(world in world()) {
        let decision = world.decide();
        for serial in &decision.flash {
            let drive = world.drive(serial);
            if world.canary_passed(&drive.model) {
                continue;
            }
            let same = |other: &DiskSerial| {
                world.drives.iter().any(|(d, _)| d.serial == *other && d.model == drive.model)
            };
            let all = world.running.keys().chain(&decision.flash);
            prop_assert_eq!(all.filter(|other| same(other)).count(), 1, "{} is not alone", serial);
            if drive.place.group().is_some() && drive.state != DriveState::Offline {
                let spare = world.drives.iter().find(|(other, runs)| {
                    other.place == DrivePlace::Spare
                        && other.model == drive.model
                        && world.is_eligible(other, runs)
                });
                prop_assert_eq!(spare, None, "{} went before a spare", serial);
            }
        }
    }

    #[test]
    fn every_disk_has_its_answer_and_what_can_be_done_is(world in world()) {
        let decision = world.decide();
        for (drive, runs) in &world.drives {
            let serial = &drive.serial;
            let answers = usize::from(decision.flash.contains(serial))
                + usize::from(decision.wait.contains_key(serial))
                + usize::from(decision.skip.contains_key(serial));
            prop_assert_eq!(answers, 1, "{}", serial);
            // A spare that needs it and may have it waits for nothing but others.
            if drive.place == DrivePlace::Spare && world.is_eligible(drive, runs) {
                let waits = decision.wait.get(serial);
                let fine = matches!(waits, None | Some(Reason::Canary(_) | Reason::Enough));
                prop_assert!(fine, "{serial}: {waits:?}");
            }
        }
        prop_assert!(decision.flash.len() <= world.limits.at_once);
    }
}
