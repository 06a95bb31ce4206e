//! What every engine must do.

use evenkeel_model::{Slot, SlotHealth};

use super::bench::{Bench, Kind, TRIES};
use super::cut::Cut;
use evenkeel_platform::PlatformError;

macro_rules! cases {
    ($kind:expr; $($case:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            super::$case(Bench::new($kind)).await;
        })*
    };
}

macro_rules! conformance {
    ($module:ident, $kind:expr) => {
        mod $module {
            use super::*;

            cases! {
                $kind;
                a_fresh_host_runs_its_only_image,
                an_update_boots_and_is_proven,
                a_broken_image_falls_back_and_is_seen,
                a_sick_image_that_is_not_proven_falls_back,
                an_image_that_fell_back_is_replaced,
                the_running_slot_is_never_touched,
                nothing_unproven_is_chosen_without_a_fallback,
                what_is_not_whole_is_not_chosen,
                a_choice_is_taken_back,
                two_proven_slots_take_turns,
                repeating_changes_nothing,
                only_what_runs_is_proven,
                the_last_try_can_still_be_proven,
                the_last_try_can_be_chosen_again,
            }
        }
    };
}

conformance!(directory, Kind::Directory);
conformance!(systemd_boot, Kind::SystemdBoot);
conformance!(grub, Kind::Grub);
conformance!(rauc, Kind::Rauc);

fn is_refused(result: Result<(), PlatformError>) -> bool {
    matches!(result, Err(PlatformError::Refused(_)))
}

fn on_trial(health: SlotHealth) -> bool {
    matches!(health, SlotHealth::Untried { .. })
}

async fn a_fresh_host_runs_its_only_image(bench: Bench) {
    let slots = bench.slots();
    let state = slots.slots().await.unwrap();
    assert_eq!((state.booted, state.default), (Slot::A, Slot::A));
    assert_eq!(state.a.health, SlotHealth::Good);
    assert_eq!(state.a.image.unwrap().version.as_str(), "1");
    assert_eq!(state.b.health, SlotHealth::Unbootable);
    assert_eq!(state.b.image, None);
    assert!(state.writable);
    assert!(slots.boot_settings().await.unwrap().autoboot);
    assert_eq!(slots.path(Slot::B), bench.at("slots/b"));
}

async fn an_update_boots_and_is_proven(bench: Bench) {
    bench.activate().await;
    let state = bench.slots().slots().await.unwrap();
    assert_eq!((state.booted, state.default), (Slot::A, Slot::B));
    assert!(on_trial(state.b.health) && state.b.health.is_bootable());
    if bench.kind != Kind::Rauc {
        assert_eq!(state.b.health, SlotHealth::Untried { tries: TRIES });
    }
    assert_eq!(state.b.image.unwrap().version.as_str(), "2");

    assert_eq!(bench.boot(), Some(Slot::B));
    let state = bench.slots().slots().await.unwrap();
    assert_eq!((state.booted, state.default), (Slot::B, Slot::B));
    assert!(on_trial(state.b.health));
    bench.slots().mark_good(Slot::B).await.unwrap();
    let state = bench.slots().slots().await.unwrap();
    assert_eq!(state.b.health, SlotHealth::Good);
    assert_eq!(state.default, Slot::B);
    // A proven slot is not counted out by what follows.
    for _ in 0..2 {
        assert_eq!(bench.boot(), Some(Slot::B));
        assert_eq!(
            bench.slots().slots().await.unwrap().b.health,
            SlotHealth::Good
        );
    }
}

async fn a_broken_image_falls_back_and_is_seen(mut bench: Bench) {
    bench.activate().await;
    bench.broken.insert(Slot::B);
    assert_eq!(bench.boot(), Some(Slot::A));
    let state = bench.slots().slots().await.unwrap();
    assert_eq!((state.booted, state.default), (Slot::A, Slot::A));
    assert_eq!(state.b.health, SlotHealth::Unbootable);
    assert_eq!(state.a.health, SlotHealth::Good);
    assert_eq!(state.b.image.unwrap().version.as_str(), "2");
}

async fn a_sick_image_that_is_not_proven_falls_back(bench: Bench) {
    bench.activate().await;
    // It comes up and is reset before anyone marks it good.
    for _ in 0..TRIES {
        assert_eq!(bench.boot(), Some(Slot::B));
        assert!(on_trial(bench.slots().slots().await.unwrap().b.health));
    }
    assert_eq!(bench.boot(), Some(Slot::A));
    let state = bench.slots().slots().await.unwrap();
    assert_eq!(state.b.health, SlotHealth::Unbootable);
}

async fn an_image_that_fell_back_is_replaced(mut bench: Bench) {
    bench.activate().await;
    bench.broken.insert(Slot::B);
    assert_eq!(bench.boot(), Some(Slot::A));
    bench.broken.clear();
    bench.update().await;
    let state = bench.slots().slots().await.unwrap();
    assert_eq!((state.booted, state.b.health), (Slot::B, SlotHealth::Good));
}

async fn the_running_slot_is_never_touched(bench: Bench) {
    let cut = Cut::new(bench.root(), None);
    let slots = bench.slots_on(&cut);
    assert!(is_refused(slots.mark_unbootable(Slot::A).await));
    assert_eq!(cut.done(), 0);
    bench.update().await;
    let slots = bench.slots_on(&cut);
    assert!(is_refused(slots.mark_unbootable(Slot::B).await));
    assert_eq!(cut.done(), 0);
}

async fn nothing_unproven_is_chosen_without_a_fallback(bench: Bench) {
    bench.activate().await;
    assert_eq!(bench.boot(), Some(Slot::B));
    // b, on trial, is all that would be left.
    assert!(is_refused(bench.slots().mark_unbootable(Slot::A).await));
    assert_eq!(
        bench.slots().slots().await.unwrap().a.health,
        SlotHealth::Good
    );
}

async fn what_is_not_whole_is_not_chosen(bench: Bench) {
    let slots = bench.slots();
    slots.mark_unbootable(Slot::B).await.unwrap();
    bench.install(Slot::B, "2");
    bench.wipe(Slot::B);
    assert!(is_refused(slots.set_default(Slot::B, TRIES).await));
    bench.install(Slot::B, "2");
    assert!(is_refused(slots.set_default(Slot::B, 0).await));
    assert_eq!(slots.slots().await.unwrap().default, Slot::A);
    assert_eq!(bench.boot(), Some(Slot::A));
}

async fn a_choice_is_taken_back(bench: Bench) {
    bench.activate().await;
    let slots = bench.slots();
    slots.set_default(Slot::A, TRIES).await.unwrap();
    let state = slots.slots().await.unwrap();
    assert_eq!(state.default, Slot::A);
    assert_eq!(state.a.health, SlotHealth::Good);
    assert_eq!(bench.boot(), Some(Slot::A));
    bench.slots().set_default(Slot::B, TRIES).await.unwrap();
    assert_eq!(bench.boot(), Some(Slot::B));
}

async fn two_proven_slots_take_turns(bench: Bench) {
    bench.update().await;
    for turn in [Slot::A, Slot::B, Slot::A, Slot::B] {
        bench.slots().set_default(turn, TRIES).await.unwrap();
        let state = bench.slots().slots().await.unwrap();
        assert_eq!(state.default, turn);
        assert_eq!(state.slot(turn).health, SlotHealth::Good);
        assert_eq!(bench.boot(), Some(turn));
        let state = bench.slots().slots().await.unwrap();
        assert_eq!(
            (state.a.health, state.b.health),
            (SlotHealth::Good, SlotHealth::Good)
        );
    }
}

async fn repeating_changes_nothing(bench: Bench) {
    bench.activate().await;
    let cut = Cut::new(bench.root(), None);
    let before = bench.slots().slots().await.unwrap();
    bench
        .slots_on(&cut)
        .set_default(Slot::B, TRIES)
        .await
        .unwrap();
    bench
        .slots_on(&cut)
        .set_default(Slot::B, TRIES + 1)
        .await
        .unwrap();
    assert_eq!(cut.done(), 0);
    assert_eq!(bench.slots().slots().await.unwrap(), before);

    assert_eq!(bench.boot(), Some(Slot::B));
    bench.slots().mark_good(Slot::B).await.unwrap();
    bench.slots_on(&cut).mark_good(Slot::B).await.unwrap();
    assert_eq!(cut.done(), 0);

    bench.slots().mark_unbootable(Slot::A).await.unwrap();
    let before = bench.slots().slots().await.unwrap();
    bench.slots().mark_unbootable(Slot::A).await.unwrap();
    assert_eq!(bench.slots().slots().await.unwrap(), before);
}

async fn only_what_runs_is_proven(bench: Bench) {
    bench.activate().await;
    assert!(is_refused(bench.slots().mark_good(Slot::B).await));
    assert!(on_trial(bench.slots().slots().await.unwrap().b.health));
    assert_eq!(bench.boot(), Some(Slot::B));
    assert!(is_refused(bench.slots().mark_good(Slot::A).await));
}

async fn the_last_try_can_still_be_proven(bench: Bench) {
    bench.activate().await;
    for _ in 0..TRIES {
        assert_eq!(bench.boot(), Some(Slot::B));
    }
    let state = bench.slots().slots().await.unwrap();
    assert_eq!(state.booted, Slot::B);
    assert_eq!(state.b.health, SlotHealth::Untried { tries: 0 });
    assert_eq!(state.default, Slot::A);
    bench.slots().mark_good(Slot::B).await.unwrap();
    let state = bench.slots().slots().await.unwrap();
    assert_eq!((state.default, state.b.health), (Slot::B, SlotHealth::Good));
    assert_eq!(bench.boot(), Some(Slot::B));
}

async fn the_last_try_can_be_chosen_again(bench: Bench) {
    bench.activate().await;
    for _ in 0..TRIES {
        assert_eq!(bench.boot(), Some(Slot::B));
    }
    // Chosen again while it runs on its last try, it gets new ones; the other stays what it was.
    bench.slots().set_default(Slot::B, TRIES).await.unwrap();
    let state = bench.slots().slots().await.unwrap();
    assert_eq!((state.default, state.a.health), (Slot::B, SlotHealth::Good));
    assert!(state.b.health.is_bootable() && on_trial(state.b.health));
    assert_eq!(bench.boot(), Some(Slot::B));
}
