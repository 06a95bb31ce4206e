//! Disks of every make.

use std::time::Duration;

use evenkeel_firmware::{FirmwareError, Image, NODE_UPDATE_FAILED, Phase, WORKER_START_FAILED};
use evenkeel_model::{How, PoolHealth};
use evenkeel_platform::devices::{DeviceId, DriveState};
use evenkeel_platform::sim::{DeviceFault, Fault, Hardware, ImageKind};

use crate::bench::{Bench, NVME, OLD, SSD, Watch, drive, image, name};
use crate::journal::{Kill, Steps};

fn firmware(model: &str) -> Image {
    image(ImageKind::Drive, model, "NA02")
}

/// A disk of each make that is in a group, and a spare.
fn every_make() -> [(DeviceId, Image); 4] {
    [
        (drive("a-D1"), firmware(SSD)),
        (drive("a-D2"), firmware(OLD)),
        (drive("a-D3"), firmware(NVME)),
        (drive("a-D4"), firmware(SSD)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_disk_runs_new_firmware_and_its_group_is_whole_again() {
    for (device, image) in every_make() {
        let bench = Bench::new();
        let steps = Steps::default();
        let how = bench.work("a", &device, &image, &steps).await;
        assert_eq!(how, Ok(How::Completed), "{device}");
        assert_eq!(bench.runs(&device), "NA02");
        bench.healthy(&["a", "b"]).await;
        assert_eq!(steps.phases().last(), Some(&Phase::Done));
        let how = bench.work("a", &device, &image, &steps).await;
        assert_eq!(how, Ok(How::AlreadyDone));
        let how = bench.work("a", &device, &image, &Steps::default()).await;
        assert_eq!(how, Ok(How::AlreadyDone));
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_out_of_its_group_while_it_is_written_and_the_partner_sees_it() {
    let bench = Bench::new();
    let (device, image) = (drive("a-D1"), firmware(SSD));
    let steps = Steps::killing(Kill::After(1));
    assert!(
        bench
            .work_until_killed("a", (&device, &image), &steps, None)
            .await
    );
    assert_eq!(steps.phases(), [Phase::Offline, Phase::Writing]);
    let seen = bench.drive("b", "a-D1").await;
    assert_eq!(seen.state, DriveState::Offline);
    let groups = bench.groups("b").await;
    assert!(
        groups
            .iter()
            .any(|group| group.health == PoolHealth::Degraded)
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_at_any_step_goes_on_from_there() {
    for (device, image) in every_make() {
        for step in 0.. {
            let mut killed = 0;
            for kill in [Kill::Before(step), Kill::After(step)] {
                let bench = Bench::new();
                let steps = Steps::killing(kill);
                let work = (&device, &image);
                killed += usize::from(bench.work_until_killed("a", work, &steps, None).await);
                let how = bench.work("a", &device, &image, &steps).await;
                assert!(how.is_ok(), "{device}, {kill:?}: {how:?}");
                assert_eq!(bench.runs(&device), "NA02", "{device}, {kill:?}");
                bench.healthy(&["a", "b"]).await;
            }
            if killed == 0 {
                assert!(step >= 3, "{device}: only {step} steps");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_at_any_command_goes_on_from_there() {
    for (device, image) in every_make() {
        let commands = Bench::new().commands("a", (&device, &image)).await;
        for at in 0..commands {
            for heard in [false, true] {
                let bench = Bench::new();
                let steps = Steps::default();
                let work = (&device, &image);
                let kill = Some((at, heard));
                assert!(bench.work_until_killed("a", work, &steps, kill).await);
                let how = bench.work("a", &device, &image, &steps).await;
                assert!(how.is_ok(), "{device} at {at}, {heard}: {how:?}");
                assert_eq!(bench.runs(&device), "NA02", "{device} at {at}, {heard}");
                bench.healthy(&["a", "b"]).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_that_pass_do_not_keep_a_disk_from_its_firmware() {
    let faults = [
        DeviceFault::Slow,
        DeviceFault::Attention,
        DeviceFault::PowerLoss,
        DeviceFault::LongReset,
    ];
    for (device, image) in every_make() {
        for fault in faults {
            let bench = Bench::new();
            bench.device_fault(&device, fault, true);
            let watch = Watch::start();
            let how = bench.work("a", &device, &image, &Steps::default()).await;
            assert_eq!(how, Ok(How::Completed), "{device}, {fault:?}");
            assert_eq!(bench.runs(&device), "NA02");
            bench.healthy(&["a", "b"]).await;
            if fault == DeviceFault::LongReset {
                watch.within(600, 700);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_its_firmware_goes_back_as_it_was() {
    for (device, image) in every_make() {
        let bench = Bench::new();
        bench.device_fault(&device, DeviceFault::WrongImage, true);
        let error = bench.work("a", &device, &image, &Steps::default()).await;
        let error = error.unwrap_err();
        assert!(!error.is_transient(), "{device}: {error:?}");
        assert_eq!(error.code(), NODE_UPDATE_FAILED);
        assert_eq!(bench.runs(&device), "NA01");
        bench.healthy(&["a", "b"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn success_without_a_new_revision_is_no_success() {
    for (device, image) in every_make() {
        let bench = Bench::new();
        bench.device_fault(&device, DeviceFault::Unchanged, true);
        let error = bench.work("a", &device, &image, &Steps::default()).await;
        let Err(FirmwareError::Unchanged { attempts, .. }) = error else {
            panic!("{device}: {error:?}");
        };
        assert_eq!(attempts, bench.limits.attempts);
        bench.healthy(&["a", "b"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_disk_is_given_up_within_the_bound_and_never_left_its_group() {
    for (device, image) in every_make() {
        let bench = Bench::new();
        bench.device_fault(&device, DeviceFault::Busy, true);
        let (watch, steps) = (Watch::start(), Steps::default());
        let error = bench.work("a", &device, &image, &steps).await;
        assert!(error.unwrap_err().is_transient(), "{device}");
        watch.within(100, 200);
        assert!(steps.phases().is_empty());
        bench.healthy(&["a", "b"]).await;
        bench.device_fault(&device, DeviceFault::Busy, false);
        let how = bench.work("a", &device, &image, &steps).await;
        assert_eq!(how, Ok(How::Completed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_whose_path_is_lost_stays_out_until_the_worker_finds_it_again() {
    for (device, image) in every_make() {
        let bench = Bench::new();
        bench.device_fault(&device, DeviceFault::PathLoss, true);
        let steps = Steps::default();
        let error = bench.work("a", &device, &image, &steps).await.unwrap_err();
        assert!(error.is_transient(), "{device}: {error:?}");
        assert_eq!(bench.harms(), Vec::<String>::new());
        bench.device_fault(&device, DeviceFault::PathLoss, false);
        let how = bench.work("a", &device, &image, &Steps::default()).await;
        assert_eq!(how, Ok(How::Completed), "{device}");
        assert_eq!(bench.runs(&device), "NA02");
        bench.healthy(&["a", "b"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stays_away_longer_than_the_bound_is_reported_and_found_later() {
    let mut bench = Bench::new();
    bench.limits.restart = Duration::from_secs(60);
    let (device, image) = (drive("a-D1"), firmware(SSD));
    bench.device_fault(&device, DeviceFault::LongReset, true);
    let steps = Steps::default();
    let error = bench.work("a", &device, &image, &steps).await.unwrap_err();
    let FirmwareError::LeftOut { drive, source, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(drive.as_str(), "a-D1");
    assert!(source.is_transient());
    assert!(error.action().contains("a-D1"), "{}", error.action());
    tokio::time::sleep(Duration::from_secs(600)).await;
    let how = bench.work("a", &device, &image, &steps).await;
    assert_eq!(how, Ok(How::Resumed));
    bench.healthy(&["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_in_the_middle_brings_its_disk_back_when_it_serves_again() {
    for (device, image) in every_make() {
        let bench = Bench::new();
        bench.device_fault(&device, DeviceFault::NodeLoss, true);
        let steps = Steps::default();
        let ended = bench
            .work_until_node_is_lost("a", &device, &image, &steps)
            .await;
        assert_eq!(ended, None, "{device}");
        tokio::time::sleep(Duration::from_secs(300)).await;
        // The partner serves the group now: nobody touches the disk meanwhile.
        let error = bench.work("a", &device, &image, &steps).await.unwrap_err();
        assert!(matches!(error, FirmwareError::NotOwner { .. }), "{error:?}");
        assert!(error.is_transient());
        let back = |h: &mut Hardware, now| h.give_back_by_hand(&name("a"), now);
        bench.machine.with(back).unwrap().unwrap().unwrap();
        let how = bench.work("a", &device, &image, &steps).await;
        assert_eq!(how, Ok(How::Resumed), "{device}");
        assert_eq!(bench.runs(&device), "NA02");
        bench.healthy(&["a", "b"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn power_of_everything_is_cut_in_the_middle_and_the_work_goes_on() {
    for (device, image) in every_make() {
        for step in 0..4 {
            let bench = Bench::new();
            let steps = Steps::killing(Kill::After(step));
            bench
                .work_until_killed("a", (&device, &image), &steps, None)
                .await;
            let cut = |h: &mut Hardware, now| {
                h.cold_start(now);
                h.advance(now);
            };
            bench.machine.with(cut).unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            let how = bench.work("a", &device, &image, &steps).await;
            assert!(how.is_ok(), "{device}, {step}: {how:?}");
            assert_eq!(bench.runs(&device), "NA02");
            bench.healthy(&["a", "b"]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_owner_touches_a_disk_and_only_in_a_group_that_is_whole() {
    let bench = Bench::new();
    let (device, ssd) = (drive("b-D1"), firmware(SSD));
    let steps = Steps::default();
    let error = bench.work("a", &device, &ssd, &steps).await.unwrap_err();
    assert!(matches!(error, FirmwareError::NotOwner { .. }), "{error:?}");
    assert_eq!(error.code(), WORKER_START_FAILED);
    let error = bench.work("b", &device, &firmware(OLD), &steps).await;
    assert!(matches!(error, Err(FirmwareError::WrongModel { .. })));
    for fault in [Fault::DegradePool, Fault::ResyncPool, Fault::BlindPools] {
        bench.fault("b", fault, true);
        let error = bench.work("b", &device, &ssd, &steps).await.unwrap_err();
        assert!(error.is_transient(), "{fault}: {error:?}");
        bench.fault("b", fault, false);
    }
    bench.fault("b", Fault::FailDisk, true);
    assert!(bench.work("b", &device, &ssd, &steps).await.is_err());
    let other = drive("b-D3");
    let error = bench.work("b", &other, &firmware(NVME), &steps).await;
    assert!(matches!(error, Err(FirmwareError::GroupNotWhole { .. })));
    assert!(steps.phases().is_empty());
    assert_eq!(bench.harms(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_somebody_put_back_meanwhile_is_not_started_anew() {
    use evenkeel_platform::wire::{Command, DeviceCall};
    let bench = Bench::new();
    let (device, image) = (drive("a-D1"), firmware(SSD));
    let group = bench.drive("a", "a-D1").await.place.group().cloned();
    let request = evenkeel_platform::devices::OfflineRequest {
        drive: crate::bench::serial("a-D1"),
        group: group.unwrap(),
    };
    let machine = bench.machine.clone();
    // Written, and about to be activated.
    let steps = Steps::meanwhile(Kill::After(2), move || {
        let back = Command::Device(DeviceCall::BringOnline(request));
        machine.call(&name("a"), None, &back).unwrap();
    });
    let error = bench.work("a", &device, &image, &steps).await.unwrap_err();
    assert!(
        matches!(error, FirmwareError::GroupNotWhole { .. }),
        "{error:?}"
    );
    assert_eq!(steps.phases()[2..], [Phase::Activating, Phase::Stopped]);
    assert_eq!(bench.runs(&device), "NA01");
    assert_eq!(bench.harms(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_fails_and_is_killed_meanwhile_leaves_its_group_whole_all_the_same() {
    for (device, image) in every_make() {
        for step in 0.. {
            let bench = Bench::new();
            bench.device_fault(&device, DeviceFault::Unchanged, true);
            let steps = Steps::killing(Kill::After(step));
            let killed = bench
                .work_until_killed("a", (&device, &image), &steps, None)
                .await;
            if !killed {
                break;
            }
            if steps.phases().last() == Some(&Phase::Stopped) {
                continue;
            }
            let error = bench.work("a", &device, &image, &steps).await.unwrap_err();
            assert!(!error.is_transient(), "{device}, {step}: {error:?}");
            assert_eq!(steps.phases().last(), Some(&Phase::Stopped));
            bench.healthy(&["a", "b"]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_failed_for_good_is_not_taken_out_of_its_group_again() {
    let bench = Bench::new();
    let (device, image) = (drive("a-D1"), firmware(SSD));
    bench.device_fault(&device, DeviceFault::Unchanged, true);
    let steps = Steps::default();
    bench.work("a", &device, &image, &steps).await.unwrap_err();
    let before = steps.phases().len();
    let error = bench.work("a", &device, &image, &steps).await.unwrap_err();
    assert!(
        matches!(error, FirmwareError::GivenUp { attempts: 2, .. }),
        "{error:?}"
    );
    assert_eq!(steps.phases()[before..], [Phase::Stopped]);
    // New work for it begins anew.
    bench.device_fault(&device, DeviceFault::Unchanged, false);
    let how = bench.work("a", &device, &image, &Steps::default()).await;
    assert_eq!(how, Ok(How::Completed));
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_as_it_goes() {
    let bench = Bench::new();
    let (device, image) = (drive("a-D1"), firmware(SSD));
    bench.device_fault(&device, DeviceFault::Slow, true);
    let (seen, ended) = bench.watch_progress("a", (&device, &image)).await;
    assert_eq!(ended, Ok(How::Completed));
    let written = seen
        .iter()
        .filter(|seen| seen.phase == Some(Phase::Writing));
    let done: Vec<u64> = written.map(|seen| seen.done).collect();
    assert!(done.is_sorted() && done.len() > 3, "{done:?}");
    assert!(
        done.last() > Some(&(image.bytes.len() as u64 / 2)),
        "{done:?}"
    );
    assert!(seen.iter().all(|seen| seen.device == Some(device.clone())));
}

#[tokio::test(start_paused = true)]
async fn the_hardware_records_harm_that_a_careless_worker_would_do() {
    use evenkeel_platform::devices::{Devices, OfflineRequest};
    let bench = Bench::new();
    let port = bench.port("a");
    for disk in ["a-D1", "a-D2"] {
        let group = bench.drive("a", disk).await.place.group().cloned();
        let request = OfflineRequest {
            drive: crate::bench::serial(disk),
            group: group.unwrap(),
        };
        port.take_offline(&request).await.unwrap();
    }
    // Once as harm, once as a rule that was broken.
    assert_eq!(bench.harms().len(), 2, "{:?}", bench.harms());
}
