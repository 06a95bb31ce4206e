//! The HA engine and the boot loader: a roll, and what can come in between.

use crate::bench::{Bench, name, transition};
use evenkeel_model::{MemberHa, Slot, SlotHealth, TransitionStage};
use evenkeel_platform::PlatformError;
use evenkeel_platform::sim::{Cause, Effect, Fault, Hardware, PowerState};
use evenkeel_platform::wire::{Command, Reply};

const BOOT: u64 = 2_000;
const TAKEOVER: u64 = 300;
const DETECT: u64 = 1_000;

fn refused(result: Result<Reply, PlatformError>) -> String {
    match result {
        Err(PlatformError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn stage(bench: &Bench, node: &str) -> Option<TransitionStage> {
    bench.pair(node).transition.map(|t| t.stage)
}

#[test]
fn a_node_rolls_to_the_other_slot_while_its_partner_serves() {
    let mut bench = Bench::new();
    let before = bench.boot("a");
    bench.install("a", 2);
    bench.take_over("b", "a", 1).unwrap();
    assert_eq!(stage(&bench, "a"), Some(TransitionStage::TakingOver));
    assert_eq!(bench.ha("a"), MemberHa::Serving);
    bench.pass(TAKEOVER);
    assert_eq!(stage(&bench, "a"), Some(TransitionStage::TakenOver));
    assert_eq!(bench.pair("b").partner.ha, MemberHa::Booting);
    assert_eq!(bench.hosting("b"), ["lif_a", "lif_b"]);
    let shutdown = bench.effects.iter();
    let shutdown = shutdown.filter(|e| **e == Effect::Shutdown { node: name("a") });
    assert_eq!(shutdown.count(), 1);

    bench.pass(BOOT);
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
    assert_ne!(bench.boot("a"), before);
    let slots = bench.slots("a");
    assert_eq!((slots.booted, slots.default), (Slot::B, Slot::B));
    assert_eq!(slots.b.health, SlotHealth::Untried { tries: 1 });

    assert!(refused(bench.give_back("b", "a_data1", 1)).contains("root pool"));
    bench.give_back("b", "a_root", 1).unwrap();
    assert_eq!(bench.ha("a"), MemberHa::PartialGiveback);
    bench.give_back("b", "a_data1", 1).unwrap();
    bench.give_back("b", "a_data2", 1).unwrap();
    bench.give_back("b", "a_data2", 1).unwrap();
    assert_eq!(stage(&bench, "a"), Some(TransitionStage::GivenBack));
    bench.send_home("b", "lif_a").unwrap();
    assert_eq!(bench.hosting("a"), ["lif_a"]);
    bench
        .call("a", Command::MarkGood { slot: Slot::B })
        .unwrap();
    let windows: Vec<_> = bench.hardware.windows().cloned().collect();
    assert_eq!(windows.len(), 2);
    assert!(windows.iter().all(|w| w.until_ms.is_some()), "{windows:?}");
    assert_eq!(bench.hardware.incidents().count(), 0);
    bench.healthy();
}

#[test]
fn a_node_without_pools_is_taken_over_and_given_back() {
    let mut bench = Bench::new();
    bench.without_pools("a");
    assert_eq!(bench.ha("a"), MemberHa::Serving);
    bench.take_over("b", "a", 1).unwrap();
    assert!(refused(bench.give_nothing_back("b", 2)).contains("does not hold"));
    bench.pass(TAKEOVER);
    assert!(refused(bench.give_nothing_back("b", 1)).contains("does not wait"));
    bench.pass(BOOT);
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
    bench.give_nothing_back("b", 1).unwrap();
    bench.give_nothing_back("b", 1).unwrap();
    assert_eq!(bench.ha("a"), MemberHa::Serving);
    bench.send_home("b", "lif_a").unwrap();
    let stage = bench.pair("b").transition.unwrap().stage;
    assert_eq!(stage, TransitionStage::GivenBack);
    bench.take_over("a", "b", 3).unwrap();
    bench.pass(TAKEOVER + BOOT);
    assert!(refused(bench.give_nothing_back("a", 3)).contains("is to go home"));
}

#[test]
fn the_same_takeover_again_has_no_effect_even_after_it_was_given_back() {
    let mut bench = Bench::new();
    let request = bench.takeover_request("b", "a", 1);
    for _ in 0..3 {
        bench.call("b", Command::TakeOver(request.clone())).unwrap();
        bench.pass(TAKEOVER + BOOT);
    }
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
    for pool in ["a_root", "a_data1", "a_data2"] {
        bench.give_back("b", pool, 1).unwrap();
    }
    bench.call("b", Command::TakeOver(request)).unwrap();
    bench.pass(TAKEOVER);
    assert_eq!(bench.ha("a"), MemberHa::Serving);
    bench.healthy();
}

#[test]
fn a_takeover_by_which_a_pool_does_not_start_is_undone() {
    let mut bench = Bench::new();
    let boot = bench.boot("a");
    bench.fault("a", Fault::FailTakeover, true);
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER);
    let transition = bench.pair("b").transition.unwrap();
    assert_eq!(
        (transition.stage, transition.trouble.as_deref()),
        (
            TransitionStage::GivenBack,
            Some("a pool of a does not start on b")
        )
    );
    assert_eq!((bench.ha("a"), bench.boot("a")), (MemberHa::Serving, boot));
    // The same request again is none for another takeover.
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER);
    assert_eq!(bench.boot("a"), boot);
    // Of a node that is lost meanwhile the partner serves what it can.
    bench.take_over("b", "a", 2).unwrap();
    bench.fault("a", Fault::PowerOff, true);
    bench.pass(TAKEOVER + DETECT);
    assert_eq!(bench.hosting("b"), ["lif_a", "lif_b"]);
    bench.fault("a", Fault::PowerOff, false);
    bench.healthy();
}

#[test]
fn takeovers_that_would_harm_are_refused() {
    let mut bench = Bench::new();
    let mut stale = bench.takeover_request("b", "a", 1);
    stale.partner_boot = bench.boot("b");
    assert!(refused(bench.call("b", Command::TakeOver(stale))).contains("does not run in boot"));
    let counter = bench.takeover_request("a", "b", 3);
    bench.take_over("b", "a", 2).unwrap();
    let crossed = bench.call("a", Command::TakeOver(counter));
    assert!(refused(crossed).contains("b is taking a over"));
    bench.pass(TAKEOVER + BOOT);
    assert!(refused(bench.take_over("b", "a", 4)).contains("not given back"));
    assert!(refused(bench.take_over("a", "b", 5)).contains("not given back"));
    assert!(refused(bench.give_back("b", "a_root", 4)).contains("does not hold"));
    assert!(refused(bench.call("a", Command::ServeAlone)).contains("no proof"));
    assert_eq!(bench.hardware.refused().count(), 6);
    for (fault, on) in [("a", Fault::RefuseTakeover), ("d", Fault::DisableHa)] {
        bench.fault(fault, on, true);
    }
    assert!(refused(bench.take_over("c", "d", 6)).contains("switched off"));
    bench.healthy();
}

#[test]
fn a_bad_image_falls_back_by_itself_and_overwrites_nothing() {
    let mut bench = Bench::new();
    bench.install("a", 2);
    bench.fault("a", Fault::BadImage, true);
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + 3 * BOOT);
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
    let slots = bench.slots("a");
    assert_eq!((slots.booted, slots.default), (Slot::A, Slot::A));
    assert_eq!(slots.b.health, SlotHealth::Unbootable);
    assert_eq!(slots.b.image.unwrap().version.as_str(), "2");
    assert_eq!(slots.a.health, SlotHealth::Good);
    bench.healthy();
}

#[test]
fn the_slot_to_fall_back_to_is_never_given_up() {
    let mut bench = Bench::new();
    bench.install("a", 2);
    let booted = bench.call("a", Command::MarkUnbootable { slot: Slot::A });
    assert!(refused(booted).contains("runs from"));
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + BOOT);
    let unproven = bench.call("a", Command::MarkUnbootable { slot: Slot::A });
    assert!(refused(unproven).contains("not marked good"));
    bench
        .call("a", Command::MarkGood { slot: Slot::B })
        .unwrap();
    bench
        .call("a", Command::MarkUnbootable { slot: Slot::A })
        .unwrap();
    bench.healthy();
}

#[test]
fn a_lost_node_is_taken_over_after_detection_by_no_one_s_order() {
    let mut bench = Bench::new();
    bench.fault("a", Fault::PowerOff, true);
    assert_eq!(bench.pair("b").partner.ha, MemberHa::Down);
    assert!(bench.hosting("b") == ["lif_b"]);
    bench.pass(DETECT);
    assert_eq!(bench.pair("b").partner.ha, MemberHa::Fenced);
    assert_eq!(bench.hosting("b"), ["lif_a", "lif_b"]);
    let transition = bench.pair("b").transition.unwrap();
    assert_eq!((transition.id, transition.clean), (None, false));
    bench.fault("a", Fault::PowerOff, false);
    bench.pass(BOOT);
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
    assert!(refused(bench.give_back("b", "a_root", 1)).contains("does not hold"));
    let by_hand = bench.hardware.give_back_by_hand(&name("a"), bench.now);
    by_hand.unwrap().unwrap();
    assert_eq!(bench.ha("a"), MemberHa::Serving);
    assert_eq!(bench.hosting("a"), ["lif_a"]);
    bench.healthy();
}

#[test]
fn a_waiting_node_serves_alone_only_with_proof_that_its_partner_is_dead() {
    let mut bench = Bench::new();
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + BOOT);
    bench.fault("b", Fault::PowerOff, true);
    assert!(refused(bench.call("a", Command::ServeAlone)).contains("no proof"));
    bench.pass(DETECT);
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
    assert_eq!(bench.pair("a").partner.ha, MemberHa::Fenced);
    bench.call("a", Command::ServeAlone).unwrap();
    bench.call("a", Command::ServeAlone).unwrap();
    assert_eq!(bench.hosting("a"), ["lif_a", "lif_b"]);
    let transition = bench.pair("a").transition.unwrap();
    assert_eq!((transition.id, transition.taken), (None, name("b")));
    let incident = bench.hardware.incidents().next().unwrap().clone();
    assert!(matches!(incident.cause, Cause::Outside { .. }));
    assert_eq!(incident.during, Some(crate::bench::transition(1)));
    assert!(incident.until_ms.is_some());
    bench.fault("b", Fault::PowerOff, false);
    bench.pass(BOOT);
    assert_eq!(bench.ha("b"), MemberHa::WaitingForGiveback);
    bench.healthy();
}

#[test]
fn a_booting_node_whose_partner_is_fenced_serves_by_itself() {
    let mut bench = Bench::new();
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + BOOT / 4);
    bench.fault("b", Fault::PowerOff, true);
    bench.pass(BOOT);
    assert_eq!(bench.hosting("a"), ["lif_a", "lif_b"]);
    assert_eq!(bench.pair("a").transition.unwrap().id, None);
    bench.healthy();
}

#[test]
fn a_carrier_that_starts_anew_goes_on_carrying() {
    let mut bench = Bench::new();
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + BOOT);
    bench.give_back("b", "a_root", 1).unwrap();
    bench.hardware.cold_start(bench.now);
    bench.pass(1);
    assert_eq!(bench.ha("b"), MemberHa::Serving);
    assert_eq!(bench.hosting("b"), ["lif_a", "lif_b"]);
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
    let standing = bench.pair("b").transition.unwrap();
    assert_eq!(standing.id, Some(transition(1)));
    for pool in ["a_root", "a_data1", "a_data2"] {
        bench.give_back("b", pool, 1).unwrap();
    }
    assert_eq!(bench.ha("a"), MemberHa::Serving);
    bench.healthy();
}

#[test]
fn a_node_lost_while_it_has_half_its_pools_back_is_taken_over_anew() {
    let mut bench = Bench::new();
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + BOOT);
    bench.give_back("b", "a_root", 1).unwrap();
    bench
        .hardware
        .reset(&name("a"), "panic", bench.now)
        .unwrap();
    bench.pass(DETECT);
    assert_eq!(bench.pair("b").transition.unwrap().id, None);
    assert!(refused(bench.give_back("b", "a_root", 1)).contains("does not hold"));
    bench.pass(BOOT);
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
    bench.healthy();
}

#[test]
fn a_takeover_does_not_shut_the_node_down_when_the_taker_is_lost_first() {
    let mut bench = Bench::new();
    bench.take_over("b", "a", 1).unwrap();
    bench.fault("b", Fault::PowerOff, true);
    bench.pass(TAKEOVER);
    assert_eq!(bench.ha("a"), MemberHa::Serving);
    assert_eq!(bench.pair("a").transition, None);
    bench.pass(DETECT);
    assert_eq!(bench.hosting("a"), ["lif_a", "lif_b"]);
    assert_eq!(bench.hardware.incidents().count(), 0);
    bench.healthy();
}

#[test]
fn a_hanging_boot_goes_on_when_the_fault_is_cleared() {
    let mut bench = Bench::new();
    bench.fault("a", Fault::HangBoot, true);
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + 100 * BOOT);
    let PowerState::Booting { until: None, .. } = bench.power("a") else {
        panic!("{:?}", bench.power("a"));
    };
    bench.fault("a", Fault::HangBoot, false);
    bench.pass(BOOT);
    assert_eq!(bench.ha("a"), MemberHa::WaitingForGiveback);
}

#[test]
fn a_lif_without_a_target_is_down_while_its_home_is() {
    let mut bench = Bench::new();
    bench.fault("a", Fault::NoFailoverTarget, true);
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + BOOT);
    assert_eq!(bench.hosting("b"), ["lif_b"]);
    assert!(refused(bench.send_home("b", "lif_a")).contains("does not serve"));
    for pool in ["a_root", "a_data1", "a_data2"] {
        bench.give_back("b", pool, 1).unwrap();
    }
    bench.send_home("b", "lif_a").unwrap();
    assert_eq!(bench.hosting("a"), ["lif_a"]);
}

#[test]
fn kept_state_is_the_whole_state() {
    let mut bench = Bench::new();
    bench.install("a", 2);
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER);
    let text = serde_json::to_string(&bench.hardware).unwrap();
    let mut again: Hardware = serde_json::from_str(&text).unwrap();
    assert_eq!(again.next_wake(), bench.hardware.next_wake());
    let (old, new) = (bench.hardware.advance(9_000), again.advance(9_000));
    assert_eq!(old, new);
    assert_eq!(again.pair_state(&name("a")), Some(bench.pair("a")));
}

#[test]
fn what_a_node_had_back_is_its_own_when_no_one_took_it_again() {
    let mut bench = Bench::new();
    bench.take_over("b", "a", 1).unwrap();
    bench.pass(TAKEOVER + BOOT);
    bench.give_back("b", "a_root", 1).unwrap();
    bench.fault("b", Fault::DisableHa, true);
    bench
        .hardware
        .reset(&name("a"), "panic", bench.now)
        .unwrap();
    bench.pass(DETECT);
    assert_eq!(bench.hosting("b"), ["lif_a", "lif_b"]);
    bench.pass(BOOT);
    assert_eq!(bench.ha("a"), MemberHa::PartialGiveback);
    bench.give_back("b", "a_data1", 1).unwrap();
    bench.healthy();
}
