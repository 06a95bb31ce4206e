//! Shelves: one module after the other.

use evenkeel_firmware::{FirmwareError, Image, Phase};
use evenkeel_model::How;
use evenkeel_platform::devices::{DeviceId, Devices};
use evenkeel_platform::sim::{DeviceFault, Fault, Hardware, ImageKind};

use crate::bench::{Bench, Watch, image, module, name};
use crate::journal::{Kill, Steps};

fn firmware() -> Image {
    image(ImageKind::Module, "IOM12", "0300")
}

fn modules() -> [DeviceId; 2] {
    [module("a", "A"), module("a", "B")]
}

async fn all_paths_work(bench: &Bench) {
    let drives = bench.port("a").drives().await.unwrap();
    let mut paths = drives.iter().flat_map(|drive| &drive.paths);
    assert!(paths.all(|path| path.works), "{drives:?}");
    bench.healthy(&["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn both_modules_run_new_firmware_and_every_path_is_back() {
    let bench = Bench::new();
    let [first, second] = modules();
    let watch = Watch::start();
    let how = bench
        .work("a", &first, &firmware(), &Steps::default())
        .await;
    assert_eq!(how, Ok(How::Completed));
    // One after the other: a minute each.
    watch.within(120, 200);
    assert_eq!(
        (bench.runs(&first), bench.runs(&second)),
        ("0300".into(), "0300".into())
    );
    all_paths_work(&bench).await;
    let how = bench
        .work("a", &first, &firmware(), &Steps::default())
        .await;
    assert_eq!(how, Ok(How::AlreadyDone));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_at_any_step_goes_on_from_there() {
    for step in 0.. {
        let mut killed = 0;
        for kill in [Kill::Before(step), Kill::After(step)] {
            let bench = Bench::new();
            let steps = Steps::killing(kill);
            let [first, second] = modules();
            let image = firmware();
            let work = (&first, &image);
            killed += usize::from(bench.work_until_killed("a", work, &steps, None).await);
            let how = bench.work("a", &first, &image, &steps).await;
            assert!(how.is_ok(), "{kill:?}: {how:?}");
            assert_eq!(bench.runs(&first), "0300", "{kill:?}");
            assert_eq!(bench.runs(&second), "0300", "{kill:?}");
            all_paths_work(&bench).await;
        }
        if killed == 0 {
            assert_eq!(step, 8, "write, activate, return, done, of two modules");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_at_any_command_goes_on_from_there() {
    let (image, [first, _]) = (firmware(), modules());
    let commands = Bench::new().commands("a", (&first, &image)).await;
    for at in 0..commands {
        for heard in [false, true] {
            let bench = Bench::new();
            let steps = Steps::default();
            let kill = Some((at, heard));
            assert!(
                bench
                    .work_until_killed("a", (&first, &image), &steps, kill)
                    .await
            );
            let how = bench.work("a", &first, &image, &steps).await;
            assert!(how.is_ok(), "at {at}, {heard}: {how:?}");
            all_paths_work(&bench).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_that_pass_do_not_keep_a_module_from_its_firmware() {
    let faults = [
        DeviceFault::Slow,
        DeviceFault::Attention,
        DeviceFault::PowerLoss,
        DeviceFault::LongReset,
    ];
    for device in modules() {
        for fault in faults {
            let bench = Bench::new();
            bench.device_fault(&device, fault, true);
            let how = bench
                .work("a", &device, &firmware(), &Steps::default())
                .await;
            assert_eq!(how, Ok(How::Completed), "{device}, {fault:?}");
            assert_eq!(bench.runs(&device), "0300");
            all_paths_work(&bench).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_that_stay_end_the_work_and_the_second_module_is_not_touched() {
    let faults = [
        (DeviceFault::Busy, true),
        (DeviceFault::WrongImage, false),
        (DeviceFault::PathLoss, true),
        (DeviceFault::Unchanged, false),
    ];
    for (fault, transient) in faults {
        let bench = Bench::new();
        let [first, second] = modules();
        bench.device_fault(&first, fault, true);
        let error = bench
            .work("a", &first, &firmware(), &Steps::default())
            .await;
        let error = error.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{fault:?}: {error:?}");
        assert_eq!(bench.runs(&first), "0210");
        assert_eq!(bench.runs(&second), "0210");
        assert_eq!(bench.harms(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_module_that_is_the_only_way_to_a_disk_does_not_start_anew() {
    for fault in [Fault::LosePath, Fault::IomDead] {
        let bench = Bench::new();
        bench.fault("a", fault, true);
        let [first, _] = modules();
        let steps = Steps::default();
        let error = bench
            .work("a", &first, &firmware(), &steps)
            .await
            .unwrap_err();
        assert!(matches!(error, FirmwareError::OnlyPath { .. }), "{error:?}");
        assert!(error.is_transient());
        assert!(steps.phases().is_empty());
        bench.fault("a", fault, false);
        let how = bench.work("a", &first, &firmware(), &steps).await;
        assert_eq!(how, Ok(How::Completed));
        all_paths_work(&bench).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_path_is_looked_at_again_immediately_before_a_module_starts() {
    let bench = Bench::new();
    let ([first, _], image) = (modules(), firmware());
    let meanwhile = bench.clone();
    // Written, and about to be activated.
    let steps = Steps::meanwhile(Kill::After(1), move || {
        meanwhile.fault("a", Fault::IomDead, true)
    });
    let error = bench.work("a", &first, &image, &steps).await.unwrap_err();
    assert!(matches!(error, FirmwareError::OnlyPath { .. }), "{error:?}");
    assert_eq!(
        steps.phases(),
        [Phase::Writing, Phase::Activating, Phase::Stopped]
    );
    assert_eq!(bench.runs(&first), "0210");
    assert_eq!(bench.harms(), Vec::<String>::new());
    bench.fault("a", Fault::IomDead, false);
    let how = bench.work("a", &first, &image, &steps).await;
    assert_eq!(how, Ok(How::Completed));
    all_paths_work(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_in_the_middle_goes_on_when_it_serves_again() {
    let bench = Bench::new();
    let [first, second] = modules();
    bench.device_fault(&first, DeviceFault::NodeLoss, true);
    let steps = Steps::default();
    let ended = bench
        .work_until_node_is_lost("a", &first, &firmware(), &steps)
        .await;
    assert_eq!(ended, None);
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    let error = bench
        .work("a", &first, &firmware(), &steps)
        .await
        .unwrap_err();
    assert!(matches!(error, FirmwareError::NotOwner { .. }), "{error:?}");
    let back = |h: &mut Hardware, now| h.give_back_by_hand(&name("a"), now);
    bench.machine.with(back).unwrap().unwrap().unwrap();
    let how = bench.work("a", &first, &firmware(), &steps).await;
    assert!(how.is_ok(), "{how:?}");
    assert_eq!(bench.runs(&second), "0300");
    all_paths_work(&bench).await;
}
