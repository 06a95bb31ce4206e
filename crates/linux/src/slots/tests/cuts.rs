//! The daemon is killed, or the power cut, at every step of every act: the host must come up with a whole image, and an update
//! must then go through as if nothing had been.

use evenkeel_model::{Slot, SlotHealth};

use super::bench::{Bench, Kind, TRIES};
use super::cut::{Cut, Left};
use evenkeel_platform::{BootSlots, PlatformError};

/// What is cut off.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Slot b, which holds an old image, is taken out before it is written to.
    MarkUnbootable,
    /// Slot b, freshly written, becomes the default.
    Activate,
    /// Slot b, proven before, becomes the default again.
    Return,
    /// Slot b was the default, and the running slot is again.
    Deactivate,
    /// Slot b runs and is proven.
    MarkGood,
    /// Slot b runs on its last try and gets new ones.
    Renew,
}

const ACTS: [Act; 6] = [
    Act::MarkUnbootable,
    Act::Activate,
    Act::Return,
    Act::Deactivate,
    Act::MarkGood,
    Act::Renew,
];

impl Act {
    /// Brings a host to where the act begins.
    async fn prepare(self, bench: &Bench) {
        match self {
            Self::MarkUnbootable | Self::Return => {
                bench.update().await;
                bench.slots().set_default(Slot::A, TRIES).await.unwrap();
                assert_eq!(bench.boot(), Some(Slot::A));
            }
            Self::Activate => {
                bench.slots().mark_unbootable(Slot::B).await.unwrap();
                bench.install(Slot::B, "2");
            }
            Self::Deactivate => bench.activate().await,
            Self::MarkGood => {
                bench.activate().await;
                assert_eq!(bench.boot(), Some(Slot::B));
            }
            Self::Renew => {
                bench.activate().await;
                for _ in 0..TRIES {
                    assert_eq!(bench.boot(), Some(Slot::B));
                }
            }
        }
    }

    async fn run(self, slots: &dyn BootSlots) -> Result<(), PlatformError> {
        match self {
            Self::MarkUnbootable => slots.mark_unbootable(Slot::B).await,
            Self::Activate | Self::Return | Self::Renew => slots.set_default(Slot::B, TRIES).await,
            Self::Deactivate => slots.set_default(Slot::A, TRIES).await,
            Self::MarkGood => slots.mark_good(Slot::B).await,
        }
    }
}

/// One act, cut at one step, with one thing left. Whether it was cut at all.
async fn one(kind: Kind, act: Act, step: usize, left: Left) -> bool {
    let about = format!("{kind:?} {act:?} cut before step {step}, {left:?} left");
    let bench = Bench::new(kind);
    act.prepare(&bench).await;
    let cut = match kind {
        Kind::SystemdBoot => Cut::on_fat(bench.root(), Some(step)),
        Kind::Directory | Kind::Grub | Kind::Rauc => Cut::new(bench.root(), Some(step)),
    };
    let done = act.run(&*bench.slots_on(&cut)).await;
    if !cut.was_cut() {
        done.unwrap_or_else(|error| panic!("{about}: {error}"));
        cut.leave(left);
        verify_done(&bench, act, &about).await;
        return false;
    }
    done.expect_err(&about);
    cut.leave(left);
    if left == Left::All {
        // The daemon alone died: it starts anew, and repeats.
        let again = act.run(&*bench.slots()).await;
        again.unwrap_or_else(|error| panic!("{about}, repeated: {error}"));
        verify_done(&bench, act, &about).await;
    }
    let booted = bench.boot();
    assert!(booted.is_some(), "{about}: nothing boots");
    recover(&bench, &about).await;
    true
}

/// What was acknowledged survives any power cut.
async fn verify_done(bench: &Bench, act: Act, about: &str) {
    let state = bench.slots().slots().await;
    let state = state.unwrap_or_else(|error| panic!("{about}: {error}"));
    let default = match act {
        Act::MarkUnbootable | Act::Deactivate => Slot::A,
        Act::Activate | Act::Return | Act::MarkGood | Act::Renew => Slot::B,
    };
    assert_eq!(state.default, default, "{about}");
    match act {
        Act::MarkUnbootable => assert_eq!(state.b.health, SlotHealth::Unbootable, "{about}"),
        Act::MarkGood | Act::Return => assert_eq!(state.b.health, SlotHealth::Good, "{about}"),
        Act::Activate | Act::Deactivate | Act::Renew => {
            assert!(state.b.health.is_bootable(), "{about}");
        }
    }
    if matches!(act, Act::MarkUnbootable) {
        // Now it is written to: whatever happens, it is not booted.
        bench.wipe(Slot::B);
    }
    let slot = bench.boot();
    assert_eq!(slot, Some(default), "{about}");
}

/// After the boot an update goes through: what was left behind is in nobody's way.
async fn recover(bench: &Bench, about: &str) {
    let slots = bench.slots();
    let state = slots.slots().await;
    let state = state.unwrap_or_else(|error| panic!("{about}: {error}"));
    let (running, target) = (state.booted, state.alternate());
    let stage = |what: &'static str| failed(about, what);
    slots.mark_good(running).await.unwrap_or_else(stage("good"));
    slots
        .mark_unbootable(target)
        .await
        .unwrap_or_else(stage("unbootable"));
    bench.install(target, "3");
    slots
        .set_default(target, TRIES)
        .await
        .unwrap_or_else(stage("default"));
    assert_eq!(bench.boot(), Some(target), "{about}");
    let slots = bench.slots();
    slots
        .mark_good(target)
        .await
        .unwrap_or_else(stage("good again"));
    let state = slots.slots().await.unwrap();
    assert_eq!(state.slot(target).health, SlotHealth::Good, "{about}");
    assert_eq!(
        state.slot(target).image.as_ref().unwrap().version.as_str(),
        "3"
    );
}

fn failed<'a>(about: &'a str, what: &'a str) -> impl FnOnce(PlatformError) + 'a {
    move |error| panic!("{about}: afterwards, {what}: {error}")
}

async fn matrix(kind: Kind, lefts: &[Left], fewest: usize) {
    let mut cuts = 0;
    for act in ACTS {
        for left in lefts {
            let mut step = 0;
            while one(kind, act, step, *left).await {
                step += 1;
                cuts += 1;
            }
        }
    }
    assert!(cuts >= fewest, "{kind:?}: only {cuts} cuts");
}

#[tokio::test]
async fn directory() {
    matrix(Kind::Directory, &Left::JOURNAL, 60).await;
}

#[tokio::test]
async fn systemd_boot() {
    matrix(Kind::SystemdBoot, &Left::FAT, 150).await;
}

#[tokio::test]
async fn grub() {
    matrix(Kind::Grub, &Left::JOURNAL, 40).await;
}

#[tokio::test]
async fn rauc() {
    matrix(Kind::Rauc, &Left::JOURNAL, 40).await;
}
