//! Every fault shows, and only while it is set.

use crate::bench::{Bench, name};
use evenkeel_platform::PlatformError;
use evenkeel_platform::sim::Fault;
use evenkeel_platform::wire::Command;

const LOOKS: [Command; 20] = [
    Command::Pair,
    Command::Slots,
    Command::Pools,
    Command::Lifs,
    Command::Disks,
    Command::Load,
    Command::Sp,
    Command::TimeSync,
    Command::ExclusiveJobs,
    Command::Alerts,
    Command::ClientHazards,
    Command::Space,
    Command::Witness,
    Command::Fencing,
    Command::BootSettings,
    Command::PartnerSp,
    Command::Ports,
    Command::UnownedDisks,
    Command::Shelves,
    Command::ClientRisks,
];

fn view(bench: &mut Bench) -> Vec<String> {
    let mut seen = Vec::new();
    for node in ["a", "b"] {
        for command in &LOOKS {
            seen.push(format!("{:?}", bench.call(node, command.clone())));
        }
        seen.push(format!("{:?}", bench.hardware.link(&name(node))));
    }
    seen
}

#[test]
fn every_fault_that_can_be_seen_at_rest_is_seen_until_it_is_cleared() {
    // These show only in a takeover, a boot or a giveback; tests/ha.rs has them.
    let later = [
        Fault::HangBoot,
        Fault::SlowBoot,
        Fault::Flap,
        Fault::NoDaemon,
        Fault::BadImage,
        Fault::FailTakeover,
        Fault::RefuseGiveback,
    ];
    for fault in Fault::ALL.iter().copied() {
        let of_firmware = fault.name().starts_with("fw-");
        if later.contains(&fault) || of_firmware || fault == Fault::PowerOff {
            continue;
        }
        let mut bench = Bench::new();
        let before = view(&mut bench);
        bench.fault("a", fault, true);
        let during = view(&mut bench);
        let differs = before.iter().zip(&during).filter(|(b, d)| b != d).count();
        assert!(
            (1..=2).contains(&differs),
            "{fault}: {differs} views differ"
        );
        bench.fault("a", fault, false);
        assert_eq!(view(&mut bench), before, "{fault} does not clear");
        bench.healthy();
    }
}

#[test]
fn each_blind_fault_hides_one_observation() {
    let blind = Fault::ALL
        .iter()
        .filter(|fault| fault.name().starts_with("blind-"));
    let mut count = 0;
    for fault in blind.copied() {
        let mut bench = Bench::new();
        bench.fault("a", fault, true);
        let hidden = LOOKS.iter().filter(|command| {
            let answer = bench.call("a", (*command).clone());
            matches!(answer, Err(PlatformError::Unavailable(_)))
        });
        assert_eq!(hidden.count(), 1, "{fault}");
        count += 1;
    }
    assert_eq!(count, LOOKS.len());
}

#[test]
fn a_slow_boot_takes_longer_and_a_refused_giveback_says_why() {
    let mut bench = Bench::new();
    bench.fault("a", Fault::SlowBoot, true);
    bench.fault("a", Fault::RefuseGiveback, true);
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(300 + 19_000);
    assert!(bench.hardware.boot_of(&name("a")).is_none());
    bench.pass(1_000);
    assert!(bench.hardware.boot_of(&name("a")).is_some());
    let refused = bench.give_back("b", "a_root", 1);
    assert!(
        matches!(refused, Err(PlatformError::Refused(_))),
        "{refused:?}"
    );
    let veto = bench.pair("b").giveback_veto.unwrap();
    assert!(veto.contains("locks"), "{veto}");
}

#[test]
fn names_of_faults_are_their_words_on_the_command_line_and_in_json() {
    for fault in Fault::ALL.iter().copied() {
        assert_eq!(fault.name().parse(), Ok(fault));
        let json = serde_json::to_string(&fault).unwrap();
        assert_eq!(json, format!("{:?}", fault.name()));
    }
    assert!("no-such".parse::<Fault>().is_err());
}

#[test]
fn a_node_that_is_not_up_says_nothing() {
    let mut bench = Bench::new();
    bench.fault("a", Fault::PowerOff, true);
    for command in LOOKS {
        let answer = bench.call("a", command);
        assert!(matches!(answer, Err(PlatformError::Unavailable(_))));
    }
}
