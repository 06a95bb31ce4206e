//! A whole cluster brings its disks up to date, with faults: no group that is not whole ever loses another disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_firmware::select::{Reason, Selection, SelectionLimits, Tally, select};
use evenkeel_firmware::{Image, Phase, revision_of_drive};
use evenkeel_model::{DeviceModel, DiskSerial, FirmwareRevision};
use evenkeel_platform::devices::{DeviceId, Devices, Drive, GroupId};
use evenkeel_platform::sim::{DeviceFault, Hardware, ImageKind};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use crate::bench::{Bench, NVME, OLD, SSD, drive, image, name};
use crate::journal::Steps;

const NODES: [&str; 4] = ["a", "b", "c", "d"];
const DISKS: u8 = 12;

/// What the nodes of the cluster know of each other's work.
#[derive(Default)]
struct Shared {
    running: BTreeMap<DiskSerial, Option<GroupId>>,
    tally: BTreeMap<DeviceModel, Tally>,
    failed: BTreeSet<DiskSerial>,
    /// Each node has its own.
    journals: BTreeMap<(String, DiskSerial), Arc<Steps>>,
    tries: BTreeMap<DiskSerial, u32>,
    /// How often a disk did not say what it runs.
    looks: BTreeMap<DiskSerial, u32>,
}

/// After so many looks it is given up.
const LOOKS: u32 = 200;

/// After so many a disk that only ever has passing trouble is given up.
const TRIES: u32 = 5;

struct Cluster {
    bench: Bench,
    images: BTreeMap<DeviceModel, Image>,
    shared: Mutex<Shared>,
    until: Instant,
}

impl Cluster {
    fn new() -> Self {
        let images = [SSD, OLD, NVME].map(|model| {
            let image = image(ImageKind::Drive, model, "NA02");
            (image.model.clone(), image)
        });
        Self {
            bench: Bench::with(&NODES, DISKS),
            images: images.into(),
            shared: Mutex::default(),
            until: Instant::now() + Duration::from_secs(6 * 3600),
        }
    }

    /// What one node does until nothing is left to do.
    async fn run(&self, node: &str) {
        while Instant::now() < self.until {
            let up = self.bench.machine.with(|h, now| {
                h.advance(now);
                h.boot_of(&name(node)).is_some()
            });
            match up.unwrap() {
                true if self.round(node).await => return,
                true | false => sleep(Duration::from_secs(5)).await,
            }
        }
    }

    /// One disk, if one can be done; whether nothing is left.
    async fn round(&self, node: &str) -> bool {
        let port = self.bench.port(node);
        let Ok(drives) = port.drives().await else {
            return false;
        };
        if let Some(drive) = self.unfinished(node, &drives) {
            self.flash(node, drive).await;
            return false;
        }
        let own = |drive: &&Drive| drive.serial.as_str().starts_with(&format!("{node}-"));
        let mut home = drives.iter().filter(own);
        let home = home.all(|drive| drive.owner == Some(name(node)));
        let mut known = Vec::new();
        for drive in drives {
            let runs = revision_of_drive(&port, &drive).await.ok();
            known.push((drive, runs));
        }
        let Ok(groups) = port.groups().await else {
            return false;
        };
        let (done, next) = self.decide(node, &known, &groups);
        if let Some(drive) = next {
            self.flash(node, &drive).await;
        }
        done && home
    }

    /// A disk that a worker before left in the middle.
    fn unfinished<'a>(&self, node: &str, drives: &'a [Drive]) -> Option<&'a Drive> {
        let shared = self.shared.lock().unwrap();
        let own = |drive: &&Drive| drive.owner == Some(name(node));
        drives.iter().filter(own).find(|drive| {
            let journal = shared
                .journals
                .get(&(node.to_owned(), drive.serial.clone()));
            let last = journal.and_then(|steps| steps.phases().last().copied());
            let open = last.is_some_and(|phase| !matches!(phase, Phase::Done | Phase::Stopped));
            open && !shared.failed.contains(&drive.serial)
        })
    }

    fn decide(
        &self,
        node: &str,
        drives: &[(Drive, Option<FirmwareRevision>)],
        groups: &[evenkeel_platform::devices::Group],
    ) -> (bool, Option<Drive>) {
        let mut guard = self.shared.lock().unwrap();
        let shared = &mut *guard;
        let offers = self.images.iter();
        let offers = offers.map(|(model, image)| (model.clone(), image.revision.clone()));
        let decision = select(&Selection {
            node: &name(node),
            drives,
            groups,
            offers: &offers.collect(),
            running: &shared.running,
            tally: &shared.tally,
            failed: &shared.failed,
            limits: &SelectionLimits::default(),
        });
        let silent = decision.wait.iter();
        for (serial, _) in silent.filter(|(_, why)| **why == Reason::Unknown) {
            let looks = shared.looks.entry(serial.clone()).or_default();
            *looks += 1;
            if *looks >= LOOKS {
                shared.failed.insert(serial.clone());
            }
        }
        let next = decision.flash.first().and_then(|serial| {
            let found = drives.iter().find(|(drive, _)| drive.serial == *serial);
            found.map(|(drive, _)| drive.clone())
        });
        if let Some(drive) = &next {
            let group = drive.place.group().cloned();
            shared.running.insert(drive.serial.clone(), group);
        }
        (decision.is_done(), next)
    }

    async fn flash(&self, node: &str, drive: &Drive) {
        let journal = {
            let mut shared = self.shared.lock().unwrap();
            let journals = &mut shared.journals;
            let key = (node.to_owned(), drive.serial.clone());
            Arc::clone(journals.entry(key).or_default())
        };
        let device = DeviceId::Drive(drive.serial.clone());
        let image = &self.images[&drive.model];
        let work = self
            .bench
            .work_until_node_is_lost(node, &device, image, &journal);
        let ended = work.await;
        let mut shared = self.shared.lock().unwrap();
        shared.running.remove(&drive.serial);
        let Some(ended) = ended else { return };
        let tries = shared.tries.entry(drive.serial.clone()).or_default();
        *tries += 1;
        let last = *tries >= TRIES;
        let tally = shared.tally.entry(drive.model.clone()).or_default();
        match ended {
            Ok(_) => tally.canary_passed = true,
            Err(error) if error.is_transient() && !last => {}
            Err(_) => {
                tally.failures += 1;
                shared.failed.insert(drive.serial.clone());
            }
        }
    }

    /// Somebody gives pools back that a partner has taken, and clears what holds up a path.
    async fn look_after(&self, paths: &[DeviceId]) {
        loop {
            sleep(Duration::from_secs(900)).await;
            for node in NODES {
                let back = |h: &mut Hardware, now| h.give_back_by_hand(&name(node), now);
                let _ = self.bench.machine.with(back).unwrap();
            }
            for device in paths {
                self.bench
                    .device_fault(device, DeviceFault::PathLoss, false);
            }
        }
    }
}

fn run(faults: &[(usize, u8, DeviceFault)]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let cluster = Cluster::new();
        let mut paths = Vec::new();
        for (node, disk, fault) in faults {
            let device = drive(&format!("{}-D{disk}", NODES[*node]));
            cluster.bench.device_fault(&device, *fault, true);
            paths.push(device);
        }
        let all = async {
            tokio::join!(
                cluster.run("a"),
                cluster.run("b"),
                cluster.run("c"),
                cluster.run("d"),
            )
        };
        tokio::select! {
            biased;
            _ = all => {}
            () = cluster.look_after(&paths) => {}
        }
        assert!(Instant::now() < cluster.until, "they never came to an end");
        cluster.bench.healthy(&NODES).await;
        if faults.is_empty() {
            for node in NODES {
                for disk in 1..=DISKS {
                    let device = drive(&format!("{node}-D{disk}"));
                    assert_eq!(cluster.bench.runs(&device), "NA02", "{device}");
                }
            }
        }
    });
}

#[test]
fn forty_eight_disks_in_four_groups_are_brought_up_to_date() {
    run(&[]);
}

#[test]
fn a_disk_that_the_partner_left_out_before_it_gave_the_group_back_comes_back() {
    run(&[
        (0, 11, DeviceFault::NodeLoss),
        (0, 1, DeviceFault::PathLoss),
    ]);
}

#[test]
fn a_disk_is_not_waited_for_by_another_that_is_back() {
    run(&[(1, 1, DeviceFault::NodeLoss), (0, 7, DeviceFault::NodeLoss)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 6, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_no_group_loses_a_second_disk(
        faults in prop::collection::vec(
            (0..4_usize, 1..=DISKS, prop::sample::select(&DeviceFault::ALL[..])),
            1..6,
        )
    ) {
        run(&faults);
    }
}
