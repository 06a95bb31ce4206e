//! Firmware of all kinds on a whole cluster: brought in, and brought to every device, whatever happens meanwhile. No
//! group that is not whole ever loses another disk.

use std::time::Duration;

use evenkeel_model::{AccountChange, FirmwareKind, GetSource, Role, UserName};
use evenkeel_platform::devices::DeviceId;
use evenkeel_platform::sim::{DeviceFault, Fault};
use evenkeel_record::projections::{
    FirmwareRow, FirmwareState, WorkerRow, WorkerRowState, firmware,
};
use evenkeel_simulation::{Blow, Cluster, Edition, Settings, run};
use tokio::time::{Instant, sleep};

use crate::stories::REST;

const KINDS: [FirmwareKind; 4] = [
    FirmwareKind::Qualification,
    FirmwareKind::Disk,
    FirmwareKind::Shelf,
    FirmwareKind::ServiceProcessor,
];
/// Longer than any of it takes, resets of ten minutes and all tries included.
const LONG: Duration = Duration::from_secs(12 * 3600);

/// Sends a kind of firmware in; whoever receives it may die of what the story does, so it is sent until it is in.
async fn bring(cluster: &Cluster, kind: FirmwareKind, edition: Edition) {
    for node in cluster.names().iter().cycle().take(100) {
        match cluster.upload_firmware(node, kind, edition).await {
            Some(Ok(_)) => return,
            Some(Err(_)) | None => sleep(Duration::from_secs(5)).await,
        }
    }
    panic!("{kind} cannot be brought in\n{}", cluster.describe());
}

fn is_over(row: &FirmwareRow) -> bool {
    row.state.is_over()
}

/// Until as many firmware updates are over, and no other begins.
async fn over(cluster: &Cluster, count: usize) -> Vec<FirmwareRow> {
    let begun = Instant::now();
    loop {
        let view = cluster.view();
        let rows = firmware(&view);
        let asked = view
            .catalogue()
            .firmware
            .values()
            .any(|it| it.asked.is_some());
        if rows.len() >= count
            && rows.iter().all(is_over)
            && !asked
            && view.control().open.is_empty()
        {
            return rows;
        }
        assert!(begun.elapsed() < LONG, "{rows:#?}\n{}", cluster.describe());
        sleep(Duration::from_secs(1)).await;
    }
}

/// Devices that do not run what the packages of all kinds bring.
fn behind(cluster: &Cluster) -> Vec<String> {
    cluster.behind_firmware().into_values().flatten().collect()
}

/// What must hold whatever happened.
fn judge(cluster: &Cluster) {
    let harms: Vec<_> = cluster.hardware(|hardware, _| hardware.harms().cloned().collect());
    assert!(harms.is_empty(), "{harms:#?}\n{}", cluster.describe());
    let wrong = cluster.violations();
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", cluster.describe());
}

#[test]
fn every_device_of_the_cluster_is_brought_up_to_date() {
    run(async {
        let cluster = Cluster::start(Settings::new(4)).await;
        for kind in KINDS {
            bring(&cluster, kind, Edition::First).await;
        }
        let rows = over(&cluster, KINDS.len()).await;
        for row in &rows {
            assert_eq!(row.state, FirmwareState::Completed, "{row:#?}");
            let done = |worker: &WorkerRow| worker.state == WorkerRowState::Complete;
            assert!(
                row.workers.len() == 4 && row.workers.iter().all(done),
                "{row:#?}"
            );
        }
        assert_eq!(behind(&cluster), [""; 0]);
        judge(&cluster);
        // Once more is no work, and a newer one takes the place of the older.
        bring(&cluster, FirmwareKind::Disk, Edition::First).await;
        bring(&cluster, FirmwareKind::Disk, Edition::Second).await;
        over(&cluster, KINDS.len() + 2).await;
        assert_eq!(cluster.view().catalogue().firmware.len(), KINDS.len());
        judge(&cluster);
    });
}

/// Firmware that is asked for while an update runs waits for its end, and an update waits for firmware.
#[test]
fn firmware_and_updates_exclude_each_other() {
    run(async {
        let cluster = Cluster::start(Settings::new(4)).await;
        bring(&cluster, FirmwareKind::Shelf, Edition::First).await;
        while firmware(&cluster.view()).is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
        let refused = cluster.start_update(Cluster::request()).await.unwrap_err();
        assert!(refused.message.contains("firmware"), "{refused}");
        over(&cluster, 1).await;
        let update = cluster.start_update(Cluster::request()).await.unwrap();
        bring(&cluster, FirmwareKind::Disk, Edition::First).await;
        let rows = over(&cluster, 2).await;
        let view = cluster.view();
        let ended = view.operation(update).and_then(|update| update.ended_at);
        let (ended, began) = (ended.unwrap().to_api(), rows[1].start.to_api());
        assert!(began >= ended, "{began} is before {ended}");
        assert!(cluster.all_run(), "{}", cluster.describe());
        judge(&cluster);
    });
}

/// Where in the work, in thousandths of the time that it takes undisturbed.
async fn struck(kind: FirmwareKind, victim: usize, blow: Blow, after: Duration) {
    let cluster = Cluster::start(Settings::new(2)).await;
    let node = cluster.names()[victim].clone();
    bring(&cluster, kind, Edition::First).await;
    sleep(after).await;
    cluster.strike(&node, blow);
    // Whoever was without power is given back by hand, as its alert says.
    for _ in 0..60 {
        sleep(Duration::from_secs(20)).await;
        if cluster.mend(REST).await.is_ok() && firmware(&cluster.view()).iter().all(is_over) {
            break;
        }
    }
    over(&cluster, 1).await;
    judge(&cluster);
    // What failed says so, and is mended by bringing the same in again.
    if firmware(&cluster.view()).iter().any(|row| {
        let failed = |worker: &WorkerRow| worker.state != WorkerRowState::Complete;
        row.workers.len() < 2 || row.workers.iter().any(failed)
    }) {
        bring(&cluster, kind, Edition::First).await;
        over(&cluster, 2).await;
    }
    let left = cluster.behind_firmware().remove(&kind).unwrap_or_default();
    let rows = firmware(&cluster.view());
    assert!(
        left.is_empty(),
        "{kind}, {node} {blow:?} after {after:?}: {left:#?} {rows:#?}\n{}",
        cluster.describe()
    );
    judge(&cluster);
}

/// How long a kind takes undisturbed.
fn takes(kind: FirmwareKind) -> Duration {
    run(async {
        let cluster = Cluster::start(Settings::new(2)).await;
        bring(&cluster, kind, Edition::First).await;
        let begun = Instant::now();
        over(&cluster, 1).await;
        begun.elapsed()
    })
}

#[test]
fn whoever_dies_whenever_every_device_gets_there() {
    for kind in KINDS {
        let span = takes(kind);
        let moments: u32 = match kind {
            FirmwareKind::Qualification => 8,
            FirmwareKind::Disk | FirmwareKind::Shelf | FirmwareKind::ServiceProcessor => 40,
        };
        for moment in 0..moments {
            let after = span * moment / moments;
            for victim in 0..2 {
                for blow in [Blow::Kill, Blow::PowerCut] {
                    run(struck(kind, victim, blow, after));
                }
            }
        }
    }
}

/// A fault of one node's devices keeps no other node's from theirs; without it, the same package brings the rest.
#[test]
fn whatever_is_wrong_with_devices_the_others_are_served() {
    for fault in DeviceFault::ALL {
        run(async {
            let cluster = Cluster::start(Settings::new(4)).await;
            let node = cluster.names()[2].clone();
            cluster.set_fault(&node, fault.of_node(), true);
            for kind in KINDS {
                bring(&cluster, kind, Edition::First).await;
            }
            settle(&cluster, KINDS.len()).await;
            judge(&cluster);
            // Its partner's shelves and SP are left as they are where writing failed on its own.
            let partner = cluster.names()[3].clone();
            let spared =
                |line: &String| fault != DeviceFault::Busy && line.contains(partner.as_str());
            let others: Vec<String> = behind(&cluster)
                .into_iter()
                .filter(|line| !line.contains(node.as_str()))
                .filter(|line| line.starts_with("disk") || !spared(line))
                .collect();
            assert!(
                others.is_empty(),
                "{fault:?}: {others:?}\n{}",
                cluster.describe()
            );
            cluster.set_fault(&node, fault.of_node(), false);
            for kind in KINDS {
                bring(&cluster, kind, Edition::First).await;
            }
            settle(&cluster, 2 * KINDS.len()).await;
            judge(&cluster);
            let rows = firmware(&cluster.view());
            assert_eq!(
                behind(&cluster),
                [""; 0],
                "{fault:?} {rows:#?}\n{}",
                cluster.describe()
            );
        });
    }
}

/// Until so many are over; a node that is lost on the way is given back.
async fn settle(cluster: &Cluster, count: usize) {
    for _ in 0..600 {
        let rows = firmware(&cluster.view());
        if rows.len() >= count && rows.iter().all(is_over) {
            break;
        }
        sleep(Duration::from_secs(60)).await;
        let _ = cluster.mend(REST).await;
    }
    over(cluster, count).await;
}

/// The first device of a node is busy for good: what is said names it.
#[test]
fn what_is_said_names_the_device() {
    run(async {
        let cluster = Cluster::start(Settings::new(2)).await;
        let node = cluster.names()[1].clone();
        cluster.set_fault(&node, Fault::FwWrongImage, true);
        bring(&cluster, FirmwareKind::ServiceProcessor, Edition::First).await;
        let rows = over(&cluster, 1).await;
        let worker = rows[0].workers.iter().find(|it| it.node == node).unwrap();
        let device = DeviceId::Processor(node).to_string();
        assert_eq!(worker.state, WorkerRowState::Failed, "{worker:?}");
        assert!(worker.message.contains(&device), "{worker:?} {device}");
        judge(&cluster);
    });
}

/// What is being written comes to its end, nothing more begins, and it is told how much was left.
#[test]
fn a_cancel_is_heard_between_two_devices() {
    run(async {
        let cluster = Cluster::start(Settings::new(4)).await;
        bring(&cluster, FirmwareKind::Disk, Edition::First).await;
        let all = behind(&cluster).len();
        let works = |cluster: &Cluster| {
            let rows = firmware(&cluster.view());
            let mut workers = rows.iter().flat_map(|row| &row.workers);
            workers.any(|worker| worker.state == WorkerRowState::Working)
        };
        while !works(&cluster) {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_secs(3)).await;
        let job = firmware(&cluster.view())[0].job.unwrap();
        let canceled = cluster
            .tell(async |door| {
                door.cancel_firmware(job, evenkeel_simulation::admin())
                    .await
            })
            .await;
        canceled.unwrap();
        let rows = over(&cluster, 1).await;
        assert_eq!(rows[0].state, FirmwareState::Failed, "{rows:#?}");
        let left = |worker: &WorkerRow| {
            worker.state == WorkerRowState::Failed
                && (worker.message.contains("canceled before")
                    || worker.message.contains("Not all"))
        };
        assert!(rows[0].workers.iter().all(left), "{rows:#?}");
        let disks = |cluster: &Cluster| {
            let behind = behind(cluster).into_iter();
            behind.filter(|line| line.starts_with("disk")).count()
        };
        assert!(disks(&cluster) > 0 && behind(&cluster).len() < all);
        judge(&cluster);
        bring(&cluster, FirmwareKind::Disk, Edition::First).await;
        over(&cluster, 2).await;
        assert_eq!(disks(&cluster), 0);
        judge(&cluster);
    });
}

/// Who may stage and not update brings firmware into the repository, and nothing follows.
#[test]
fn a_stagers_firmware_waits_for_an_admin() {
    run(async {
        let cluster = Cluster::start(Settings::new(2)).await;
        let node = cluster.names()[0].clone();
        let door = cluster.door(&node).unwrap();
        let stager: UserName = "ann".parse().unwrap();
        let account = AccountChange::Set {
            role: Role::Stager,
            password_hash: None,
            certificate: true,
        };
        let made = door.create_user(&stager, account, evenkeel_simulation::admin());
        made.await.unwrap();
        let kind = FirmwareKind::Qualification;
        let call = "POST /api/cluster/software/upload";
        let begun = door.begin_get(node, uuid::Uuid::nil(), GetSource::Upload, stager, call);
        let package = evenkeel_simulation::firmware(kind, Edition::First);
        let ticket = begun.await.unwrap();
        let staged = door.firmware_staged(ticket, package.clone(), "dqp.zip".to_owned());
        staged.await.unwrap();
        sleep(Duration::from_secs(60)).await;
        let view = cluster.view();
        assert!(view.catalogue().firmware[&package.digest].asked.is_none());
        assert!(firmware(&view).is_empty(), "{}", cluster.describe());
        bring(&cluster, kind, Edition::First).await;
        let rows = over(&cluster, 1).await;
        assert_eq!(rows[0].state, FirmwareState::Completed, "{rows:#?}");
        judge(&cluster);
    });
}
