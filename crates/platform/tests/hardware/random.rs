//! Whatever is asked of the hardware and whatever befalls it, what must never happen does not.

use crate::bench::{Bench, image, name};
use evenkeel_model::{MemberHa, Slot};
use evenkeel_platform::sim::{Fault, PowerState};
use evenkeel_platform::wire::Command;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    TakeOver { by: usize, id: u64 },
    GiveBack { by: usize, pool: usize, id: u64 },
    SendHome { by: usize },
    ServeAlone(usize),
    Install { node: usize, tries: u8 },
    MarkGood(usize),
    SwitchBack(usize),
    Fault { node: usize, fault: Fault, on: bool },
    Reset(usize),
    ByHand { node: usize, back: bool },
    Restart,
    Pass(u64),
}

const NODES: [&str; 2] = ["a", "b"];
const DISRUPTIVE: [Fault; 8] = [
    Fault::PowerOff,
    Fault::HangBoot,
    Fault::BadImage,
    Fault::SlowBoot,
    Fault::DisableHa,
    Fault::LifDown,
    Fault::LifAway,
    Fault::NoFailoverTarget,
];

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES.len();
    prop_oneof![
        4 => (node.clone(), 0..4_u64).prop_map(|(by, id)| Step::TakeOver { by, id }),
        6 => (node.clone(), 0..3_usize, 0..4_u64)
            .prop_map(|(by, pool, id)| Step::GiveBack { by, pool, id }),
        2 => node.clone().prop_map(|by| Step::SendHome { by }),
        2 => node.clone().prop_map(Step::ServeAlone),
        2 => (node.clone(), 1..3_u8).prop_map(|(node, tries)| Step::Install { node, tries }),
        2 => node.clone().prop_map(Step::MarkGood),
        1 => node.clone().prop_map(Step::SwitchBack),
        4 => (node.clone(), prop::sample::select(&DISRUPTIVE[..]), any::<bool>())
            .prop_map(|(node, fault, on)| Step::Fault { node, fault, on }),
        1 => node.clone().prop_map(Step::Reset),
        1 => (node, any::<bool>()).prop_map(|(node, back)| Step::ByHand { node, back }),
        1 => Just(Step::Restart),
        9 => prop_oneof![Just(1_u64), Just(299), Just(700), Just(1_001), Just(2_500), Just(11_000)]
            .prop_map(Step::Pass),
    ]
}

fn other(node: usize) -> &'static str {
    NODES[1 - node]
}

fn run(bench: &mut Bench, step: &Step) {
    let up = |bench: &Bench, node: &str| bench.hardware.boot_of(&name(node)).is_some();
    match *step {
        Step::TakeOver { by, id } => {
            if up(bench, "a") && up(bench, "b") {
                let accepted = bench.take_over(NODES[by], other(by), id).is_ok();
                let again = bench.take_over(NODES[by], other(by), id).is_ok();
                assert!(
                    !accepted || again,
                    "an accepted takeover is refused when repeated"
                );
            }
        }
        Step::GiveBack { by, pool, id } => {
            let suffix = ["root", "data1", "data2"][pool];
            let _ = bench.give_back(NODES[by], &format!("{}_{suffix}", other(by)), id);
        }
        Step::SendHome { by } => {
            let _ = bench.send_home(NODES[by], &format!("lif_{}", other(by)));
        }
        Step::ServeAlone(node) => {
            let _ = bench.call(NODES[node], Command::ServeAlone);
        }
        Step::Install { node, tries } => install(bench, NODES[node], tries),
        Step::MarkGood(node) => {
            if up(bench, NODES[node]) {
                let slot = bench.slots(NODES[node]).booted;
                bench.call(NODES[node], Command::MarkGood { slot }).unwrap();
            }
        }
        Step::SwitchBack(node) => {
            if up(bench, NODES[node]) {
                let slot = bench.slots(NODES[node]).booted;
                let _ = bench.call(NODES[node], Command::SetDefault { slot, tries: 1 });
            }
        }
        Step::Fault { node, fault, on } => bench.fault(NODES[node], fault, on),
        Step::Reset(node) => {
            let reset = bench.hardware.reset(&name(NODES[node]), "panic", bench.now);
            reset.unwrap();
        }
        Step::ByHand { node, back } => {
            let node = name(NODES[node]);
            let _ = match back {
                true => bench.hardware.give_back_by_hand(&node, bench.now).unwrap(),
                false => bench.hardware.take_over_by_hand(&node, bench.now).unwrap(),
            };
        }
        Step::Restart => bench.hardware.cold_start(bench.now),
        Step::Pass(ms) => bench.pass(ms),
    }
}

/// As an agent would: the other slot is marked, written, made the default.
fn install(bench: &mut Bench, node: &str, tries: u8) {
    if bench.hardware.boot_of(&name(node)).is_none() {
        return;
    }
    let slot = bench.slots(node).alternate();
    if bench.call(node, Command::MarkUnbootable { slot }).is_ok() {
        for image in [None, Some(image("2"))] {
            bench.hardware.set_image(&name(node), slot, image).unwrap();
        }
        bench
            .call(node, Command::SetDefault { slot, tries })
            .unwrap();
    }
}

fn disruptive_faults(bench: &mut Bench) -> usize {
    let faults = NODES
        .iter()
        .map(|node| bench.hardware.faults(&name(node)).len());
    faults.sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new();
        for step in &steps {
            run(&mut bench, step);
            prop_assert_eq!(bench.hardware.check(), Vec::<String>::new(), "after {:?}", step);
        }
        // When everything is mended and time passes, every node is up and everything is served.
        for node in NODES {
            for fault in DISRUPTIVE {
                bench.fault(node, fault, false);
            }
        }
        prop_assert_eq!(disruptive_faults(&mut bench), 0);
        bench.pass(60_000);
        for node in NODES {
            let up = matches!(bench.power(node), PowerState::Up { .. });
            prop_assert!(up, "{} stays down: {:?}", node, bench.power(node));
            let slots = bench.slots(node);
            prop_assert!(slots.slot(slots.booted).image.is_some());
        }
        let serving = NODES.iter().filter(|node| bench.ha(node) == MemberHa::Serving).count();
        prop_assert!(serving >= 1, "a: {:?}, b: {:?}", bench.ha("a"), bench.ha("b"));
        let unserved = bench.hardware.pool_states(&name("a"));
        prop_assert!(unserved.iter().all(|pool| pool.owner.is_some()), "{:?}", unserved);
        prop_assert_eq!(bench.hardware.check(), Vec::<String>::new());
    }

    #[test]
    fn boot_counting_ends_on_a_slot_that_boots(tries in 1..5_u8, resets in 0..8_usize) {
        let mut bench = Bench::new();
        bench.install("a", tries);
        bench.fault("a", Fault::BadImage, true);
        for _ in 0..resets {
            bench.hardware.reset(&name("a"), "watchdog", bench.now).unwrap();
            bench.pass(700);
        }
        bench.pass(60_000);
        let booted = bench.slots("a").booted;
        prop_assert_eq!(booted, Slot::A);
        prop_assert_eq!(bench.hardware.check(), Vec::<String>::new());
    }
}
