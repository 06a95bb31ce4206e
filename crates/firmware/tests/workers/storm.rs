//! Kills, any number of them, at any step, with any fault: whatever comes of it, it ends, and no group pays for it.

use std::time::Duration;

use evenkeel_firmware::{Image, Phase};
use evenkeel_model::PoolHealth;
use evenkeel_platform::devices::DeviceId;
use evenkeel_platform::sim::{DeviceFault, ImageKind};
use proptest::prelude::*;

use crate::bench::{Bench, NVME, OLD, SSD, drive, image, module, name};
use crate::journal::{Kill, Steps};

/// Most runs of one worker, whatever kills it.
const RUNS: usize = 30;

fn work(number: usize) -> (DeviceId, Image) {
    let disk = |name: &str, model| (drive(name), image(ImageKind::Drive, model, "NA02"));
    match number {
        0 => disk("a-D1", SSD),
        1 => disk("a-D2", OLD),
        2 => disk("a-D3", NVME),
        3 => disk("a-D4", SSD),
        4 => (module("a", "A"), image(ImageKind::Module, "IOM12", "0300")),
        _ => (
            DeviceId::Processor(name("a")),
            image(ImageKind::Processor, "LABSP", "5.10"),
        ),
    }
}

fn fault() -> impl Strategy<Value = Option<DeviceFault>> {
    let all: Vec<_> = DeviceFault::ALL
        .into_iter()
        .filter(|fault| *fault != DeviceFault::NodeLoss)
        .collect();
    prop::option::of(prop::sample::select(all))
}

async fn storm(number: usize, kills: &[(bool, usize)], fault: Option<DeviceFault>) {
    let bench = Bench::new();
    let (device, image) = work(number);
    if let Some(fault) = fault {
        bench.device_fault(&device, fault, true);
    }
    let steps = Steps::default();
    for (before, step) in kills {
        steps.kill_next(if *before {
            Kill::Before(*step)
        } else {
            Kill::After(*step)
        });
        bench
            .work_until_killed("a", (&device, &image), &steps, None)
            .await;
        assert_eq!(bench.harms(), Vec::<String>::new());
    }
    steps.spare_them();
    if let Some(fault) = fault {
        bench.device_fault(&device, fault, false);
    }
    for _ in 0..RUNS {
        let ended = bench.work("a", &device, &image, &steps).await;
        assert_eq!(bench.harms(), Vec::<String>::new());
        match steps.phases().last() {
            Some(Phase::Done | Phase::Stopped) => break,
            None if ended.is_ok() => break,
            _ => tokio::time::sleep(Duration::from_secs(60)).await,
        }
    }
    let last = steps.phases().last().copied();
    assert!(
        matches!(last, Some(Phase::Done | Phase::Stopped)),
        "{last:?}"
    );
    for group in bench.groups("a").await {
        assert_eq!((group.health, group.out), (PoolHealth::Online, Vec::new()));
    }
    if last == Some(Phase::Done) {
        assert_eq!(bench.runs(&device), image.revision.as_str());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn however_often_a_worker_is_killed_it_comes_to_a_safe_end(
        number in 0..6_usize,
        kills in prop::collection::vec((any::<bool>(), 0..6_usize), 0..5),
        fault in fault(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(storm(number, &kills, fault));
    }
}
