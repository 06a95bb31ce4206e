//! Service processors.

use evenkeel_firmware::{FirmwareError, Image, Phase};
use evenkeel_model::How;
use evenkeel_platform::devices::DeviceId;
use evenkeel_platform::sim::{DeviceFault, Fault, Hardware, ImageKind};

use crate::bench::{Bench, Watch, image, name};
use crate::journal::{Kill, Steps};

fn firmware() -> Image {
    image(ImageKind::Processor, "LABSP", "5.10")
}

fn processor() -> DeviceId {
    DeviceId::Processor(name("a"))
}

#[tokio::test(start_paused = true)]
async fn a_processor_runs_new_firmware_and_keeps_the_old_one_behind_it() {
    let bench = Bench::new();
    let watch = Watch::start();
    let how = bench
        .work("a", &processor(), &firmware(), &Steps::default())
        .await;
    assert_eq!(how, Ok(How::Completed));
    watch.within(150, 170);
    assert_eq!(bench.runs(&processor()), "5.10");
    let how = bench
        .work("a", &processor(), &firmware(), &Steps::default())
        .await;
    assert_eq!(how, Ok(How::AlreadyDone));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_anywhere_goes_on_from_there() {
    let (device, image) = (processor(), firmware());
    let mut kills = 0;
    for step in 0..3 {
        for kill in [Kill::Before(step), Kill::After(step)] {
            let bench = Bench::new();
            let steps = Steps::killing(kill);
            kills += usize::from(
                bench
                    .work_until_killed("a", (&device, &image), &steps, None)
                    .await,
            );
            let how = bench.work("a", &device, &image, &steps).await;
            assert!(how.is_ok(), "{kill:?}: {how:?}");
            assert_eq!(bench.runs(&device), "5.10");
        }
    }
    assert_eq!(kills, 6);
    let commands = Bench::new().commands("a", (&device, &image)).await;
    for at in 0..commands {
        for heard in [false, true] {
            let bench = Bench::new();
            let steps = Steps::default();
            let kill = Some((at, heard));
            assert!(
                bench
                    .work_until_killed("a", (&device, &image), &steps, kill)
                    .await
            );
            let how = bench.work("a", &device, &image, &steps).await;
            assert!(how.is_ok(), "at {at}, {heard}: {how:?}");
            assert_eq!(bench.runs(&device), "5.10");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_that_pass_do_not_keep_a_processor_from_its_firmware() {
    let faults = [
        DeviceFault::Slow,
        // It forgets its task: what it runs is what counts.
        DeviceFault::Attention,
        DeviceFault::PowerLoss,
        DeviceFault::LongReset,
    ];
    for fault in faults {
        let bench = Bench::new();
        bench.device_fault(&processor(), fault, true);
        let how = bench
            .work("a", &processor(), &firmware(), &Steps::default())
            .await;
        assert_eq!(how, Ok(How::Completed), "{fault:?}");
        assert_eq!(bench.runs(&processor()), "5.10");
    }
}

#[tokio::test(start_paused = true)]
async fn after_three_tries_it_stops_and_says_so() {
    let bench = Bench::new();
    bench.device_fault(&processor(), DeviceFault::Unchanged, true);
    let steps = Steps::default();
    let error = bench
        .work("a", &processor(), &firmware(), &steps)
        .await
        .unwrap_err();
    let FirmwareError::Unchanged { attempts: 3, .. } = error else {
        panic!("{error:?}");
    };
    assert!(
        error
            .to_string()
            .contains("still runs 5.8 after 3 attempts"),
        "{error}"
    );
    assert_eq!(bench.runs(&processor()), "5.8");
    // Nor does it try again after a restart of the daemon.
    let error = bench
        .work("a", &processor(), &firmware(), &steps)
        .await
        .unwrap_err();
    assert!(
        matches!(error, FirmwareError::GivenUp { attempts: 3, .. }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn faults_that_stay_end_the_work_within_their_bounds() {
    let faults = [
        (DeviceFault::Busy, true),
        (DeviceFault::WrongImage, false),
        (DeviceFault::PathLoss, true),
    ];
    for (fault, transient) in faults {
        let bench = Bench::new();
        bench.device_fault(&processor(), fault, true);
        let watch = Watch::start();
        let error = bench
            .work("a", &processor(), &firmware(), &Steps::default())
            .await;
        let error = error.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{fault:?}: {error:?}");
        watch.within(0, 3_000);
        assert_eq!(bench.runs(&processor()), "5.8");
        bench.device_fault(&processor(), fault, false);
        let how = bench
            .work("a", &processor(), &firmware(), &Steps::default())
            .await;
        assert_eq!(how, Ok(How::Completed), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_may_have_to_fence_its_node_is_left_alone() {
    let bench = Bench::new();
    let steps = Steps::default();
    bench.fault("b", Fault::SpDead, true);
    let error = bench
        .work("a", &processor(), &firmware(), &steps)
        .await
        .unwrap_err();
    assert!(matches!(error, FirmwareError::MayFence { .. }), "{error:?}");
    bench.fault("b", Fault::SpDead, false);
    bench.fault("a", Fault::BlindPair, true);
    let error = bench
        .work("a", &processor(), &firmware(), &steps)
        .await
        .unwrap_err();
    assert!(matches!(error, FirmwareError::Unseen { .. }), "{error:?}");
    bench.fault("a", Fault::BlindPair, false);
    let take = |h: &mut Hardware, now| h.take_over_by_hand(&name("b"), now);
    bench.machine.with(take).unwrap().unwrap().unwrap();
    let error = bench
        .work("a", &processor(), &firmware(), &steps)
        .await
        .unwrap_err();
    assert!(matches!(error, FirmwareError::MayFence { .. }), "{error:?}");
    assert!(error.is_transient());
    assert!(steps.phases().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_began_meanwhile_keeps_a_processor_from_its_reset() {
    let bench = Bench::new();
    let (device, image) = (processor(), firmware());
    let machine = bench.machine.clone();
    let steps = Steps::meanwhile(Kill::After(1), move || {
        let take = |h: &mut Hardware, now| h.take_over_by_hand(&name("b"), now);
        machine.with(take).unwrap().unwrap().unwrap();
    });
    let error = bench.work("a", &device, &image, &steps).await.unwrap_err();
    assert!(matches!(error, FirmwareError::MayFence { .. }), "{error:?}");
    assert_eq!(
        steps.phases(),
        [Phase::Writing, Phase::Activating, Phase::Stopped]
    );
    assert_eq!(bench.runs(&device), "5.8");
}

#[tokio::test(start_paused = true)]
async fn a_request_by_hand_is_one_try() {
    let mut bench = Bench::new();
    bench.limits.processor_attempts = 1;
    bench.device_fault(&processor(), DeviceFault::Unchanged, true);
    let error = bench
        .work("a", &processor(), &firmware(), &Steps::default())
        .await;
    let Err(FirmwareError::Unchanged { attempts: 1, .. }) = error else {
        panic!("{error:?}");
    };
}
