//! Everything at once, drawn from a seed: kills, power cuts, cut links, lost answers, a bad record. When
//! the storm is over and what is asked for is done, the update completes.

use std::time::Duration;

use evenkeel_model::{NodeName, OperationEnd, OperationKind};
use evenkeel_orchestrator::UpdateAction;
use evenkeel_platform::sim::Fault;
use evenkeel_record::MemoryFaults;
use evenkeel_simulation::{Blow, Cluster, Settings, Stand, run};
use tokio::time::sleep;

use crate::stories::{REST, sound};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn node(&mut self, cluster: &Cluster) -> NodeName {
        let names = cluster.names();
        names[self.roll(names.len() as u64) as usize].clone()
    }
}

/// One gust.
async fn gust(cluster: &Cluster, dice: &mut Dice, with_power: bool) {
    let node = dice.node(cluster);
    let pause = Duration::from_millis(100 + dice.roll(6_000));
    match dice.roll(if with_power { 11 } else { 7 }) {
        0..=2 => cluster.strike(&node, Blow::Kill),
        3 => {
            cluster.cut(&node, true);
            sleep(pause).await;
            cluster.cut(&node, false);
        }
        4 => {
            cluster.cut_record(&node, true);
            sleep(pause).await;
            cluster.cut_record(&node, false);
        }
        5 => {
            let partner = dice.node(cluster);
            cluster.lose(&node, &partner, dice.roll(4) as u32, dice.roll(4) as u32);
        }
        6 => act(cluster, dice).await,
        7 => by_hand(cluster, &node, dice.roll(2) == 0),
        8 => {
            cluster.set_fault(&node, Fault::BadImage, true);
            sleep(pause).await;
            cluster.set_fault(&node, Fault::BadImage, false);
        }
        9 => {
            let slow = dice.roll(2) == 0;
            cluster.set_fault(&node, Fault::SlowBoot, slow);
        }
        _ => cluster.strike(&node, Blow::PowerCut),
    }
    sleep(pause).await;
}

/// An operator who changes his mind; what does not fit is refused.
async fn act(cluster: &Cluster, dice: &mut Dice) {
    let actions = [
        UpdateAction::Pause,
        UpdateAction::Pause,
        UpdateAction::Resume,
        UpdateAction::Cancel,
    ];
    let _ = cluster.act(actions[dice.roll(4) as usize]).await;
}

/// A hand that takes over, or gives back; the HA engine refuses what it must.
fn by_hand(cluster: &Cluster, node: &NodeName, takes: bool) {
    let _ = cluster.hardware(|hardware, now| match takes {
        true => hardware.take_over_by_hand(node, now),
        false => hardware.give_back_by_hand(node, now),
    });
}

async fn storm(seed: u64, nodes: usize, with_power: bool) {
    let mut dice = Dice(seed);
    let mut settings = Settings::new(nodes);
    settings.seed = seed;
    settings.record_faults = MemoryFaults {
        unknown_per_mille: dice.roll(60) as u16,
        unavailable_per_mille: dice.roll(30) as u16,
        lost_doorbell_per_mille: dice.roll(300) as u16,
        max_delay: Duration::from_millis(dice.roll(60)),
        ..MemoryFaults::default()
    };
    let cluster = Cluster::start(settings).await;
    let started = cluster.start_update(Cluster::request()).await;
    started.unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
    for _ in 0..12 {
        gust(&cluster, &mut dice, with_power).await;
        if matches!(rest_now(&cluster), Some(Stand::PausedOnError(_))) {
            let _ = cluster.act(UpdateAction::Resume).await;
        }
    }
    for node in cluster.names() {
        cluster.set_fault(&node, Fault::SlowBoot, false);
    }
    calm(&cluster, seed).await;
    sound(&cluster);
    assert_eq!(cluster.unfinished(), Vec::<String>::new(), "seed {seed}");
    if !with_power {
        crate::stories::served_always(&cluster);
    }
}

fn rest_now(cluster: &Cluster) -> Option<Stand> {
    let view = cluster.view();
    let newest = view.control().newest_of(&[OperationKind::Update])?;
    evenkeel_simulation::stand_of(view.operation(newest)?)
}

/// After the storm: mends, resumes, starts anew, until it is done.
async fn calm(cluster: &Cluster, seed: u64) {
    for _ in 0..8 {
        let mended = cluster.mend(REST).await;
        mended.unwrap_or_else(|stuck| panic!("seed {seed}: {stuck:?}"));
        let rest = cluster.rest(REST).await;
        match rest.unwrap_or_else(|stuck| panic!("seed {seed}: {stuck:?}")) {
            Stand::Ended(OperationEnd::Completed) => return,
            // Cancelled when there was nothing left to do.
            Stand::Ended(_) if cluster.unfinished().is_empty() => return,
            Stand::Ended(_) => {
                let mut again = Cluster::request();
                again.skip_warnings = true;
                let _ = cluster.start_update(again).await;
            }
            Stand::PausedOnError(_) | Stand::PausedByUser(_) => {
                let _ = cluster.mend(REST).await;
                let _ = cluster.act(UpdateAction::Resume).await;
            }
        }
    }
    panic!(
        "seed {seed}: it does not come to its end\n{}",
        cluster.describe()
    );
}

/// How many storms of a kind there are, unless `EVENKEEL_STORMS` says otherwise.
const STORMS: u64 = 12;

/// The seeds are those from `first`, or from what `EVENKEEL_STORMS_FROM` says.
fn storms(first: u64, nodes: usize, with_power: bool) {
    let asked = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().expect("a number"))
    };
    let count = asked("EVENKEEL_STORMS").unwrap_or(STORMS);
    let first = asked("EVENKEEL_STORMS_FROM").unwrap_or(first);
    for seed in first..first + count {
        run(storm(seed, nodes, with_power));
    }
}

#[test]
fn a_pair_in_a_storm_of_kills_and_cuts() {
    storms(10_000, 2, false);
}

#[test]
fn two_pairs_in_a_storm_of_kills_and_cuts() {
    storms(20_000, 4, false);
}

#[test]
fn a_pair_in_a_storm_that_takes_the_power_too() {
    storms(30_000, 2, true);
}

#[test]
fn two_pairs_in_a_storm_that_takes_the_power_too() {
    storms(40_000, 4, true);
}
