//! What a seed stands for.

use std::time::Duration;

use evenkeel_model::{FirmwareKind, GateCondition, PauseAfter};
use evenkeel_platform::sim::{DeviceFault, Fault};
use evenkeel_record::MemoryFaults;

use super::script::{Act, Finds, Gate, Gust, Script, When};
use crate::dice::Dice;

/// Faults of the hardware that pass.
const FAULTS: &[Fault] = &[
    Fault::BadImage,
    Fault::BadImage,
    Fault::SlowBoot,
    Fault::HangBoot,
    Fault::RefuseTakeover,
    Fault::FailTakeover,
    Fault::RefuseGiveback,
    Fault::DisableHa,
    Fault::DisableHa,
    Fault::BlindPair,
    Fault::BlindPair,
    Fault::BlindSlots,
    Fault::BlindPools,
    Fault::BlindLifs,
    Fault::SpDead,
    Fault::HighLoad,
    Fault::LifAway,
    Fault::LifDown,
    Fault::ResyncPool,
    Fault::DegradePool,
    Fault::LosePath,
    Fault::FillDisk,
    Fault::ReadonlySlot,
    Fault::Flap,
    Fault::LosePath,
    Fault::HoldTakeover,
    Fault::HoldGiveback,
    Fault::HideDisk,
    Fault::NoDaemon,
];

/// Faults that only warn.
const WARNINGS: &[Fault] = &[
    Fault::SpDead,
    Fault::LifAway,
    Fault::SoftMount,
    Fault::Alert,
    Fault::NoTimeSource,
    Fault::OldSmb,
    Fault::ShelfSensor,
];

/// One story in so many brings firmware, beside everything else.
const FIRMWARE_IN: u64 = 40;

/// Kinds of firmware, the longest work the most often.
const KINDS: &[FirmwareKind] = &[
    FirmwareKind::Disk,
    FirmwareKind::Disk,
    FirmwareKind::Disk,
    FirmwareKind::Shelf,
    FirmwareKind::Shelf,
    FirmwareKind::ServiceProcessor,
    FirmwareKind::Qualification,
];

/// What may be waited for between nodes.
const CONDITIONS: &[&[GateCondition]] = &[
    &[],
    &[GateCondition::Script],
    &[GateCondition::LifsHome],
    &[GateCondition::PathsBack, GateCondition::ResyncDone],
    &[
        GateCondition::LoadBelow { percent: 60 },
        GateCondition::Script,
    ],
    &[
        GateCondition::PathsBack,
        GateCondition::ResyncDone,
        GateCondition::LifsHome,
        GateCondition::LoadBelow { percent: 80 },
        GateCondition::Script,
    ],
];

/// What an operator of a story is busy with, beside pausing and resuming.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Busy {
    Little,
    Gates,
    Warnings,
    Looking,
}

/// Tasks amid which something happens.
const TASKS: &[&str] = &[
    "do-download-job",
    "do-activate-job",
    "do-failover-job",
    "do-failover-job",
    "do-failover-job",
    "do-boot-job",
    "do-giveback-job",
    "do-giveback-job",
    "do-commit-job",
];

/// The story of a seed. The same for ever, unless this file changes.
pub fn draw(seed: u64) -> Script {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let nodes = match dice.roll(1000) {
        0..80 => 1,
        80..620 => 2,
        620..930 => 4,
        930..984 => 6,
        984..993 => 8,
        993..997 => 12,
        997..999 => 16,
        _ => 24,
    };
    let gusts = dice.between(3, 13) as usize;
    let busy = match dice.roll(100) {
        0..55 => Busy::Little,
        55..70 => Busy::Gates,
        70..88 => Busy::Warnings,
        _ => Busy::Looking,
    };
    let early = if dice.chance(15) {
        dice.between(1, 2) as usize
    } else {
        0
    };
    let mut script = Script {
        seed,
        nodes,
        record: record(&mut dice),
        pause_after: match dice.roll(12) {
            0 => PauseAfter::All,
            1 => PauseAfter::TakeoverGiveback,
            _ => PauseAfter::None,
        },
        skip_warnings: dice.chance(25),
        force_rolling: dice.chance(20) && nodes > 1,
        first: dice.chance(20).then(|| dice.roll(nodes as u64) as usize),
        only: match dice.chance(15) {
            true => vec![dice.roll(nodes as u64) as usize],
            false => Vec::new(),
        },
        gates: (busy == Busy::Gates && dice.chance(70)).then(|| gate(&mut dice)),
        checks: busy == Busy::Warnings && dice.chance(40),
        acknowledges: busy == Busy::Warnings && dice.chance(60),
        early,
        gusts: (0..gusts)
            .map(|_| gust(&mut dice, nodes as u64, busy))
            .collect(),
    };
    if seed % FIRMWARE_IN == FIRMWARE_IN - 1 {
        bring_firmware(&mut dice, &mut script);
    }
    script
}

/// Puts firmware, and trouble with it, between the other gusts, most of which come before the update: no firmware comes in
/// beside one.
fn bring_firmware(dice: &mut Dice, script: &mut Script) {
    let nodes = script.nodes as u64;
    // Work on devices takes minutes.
    for gust in &mut script.gusts {
        if dice.chance(60) {
            let ms = dice.roll(150_000);
            gust.when = When::After { ms };
        }
    }
    for number in 0..dice.between(2, 7) {
        let node = dice.roll(nodes) as usize;
        let act = match dice.roll(11) {
            5..=8 if number > 0 => Act::Fault {
                node,
                fault: dice.pick(&DeviceFault::ALL).of_node(),
                ms: dice.between(2_000, 900_000),
            },
            9 if number > 0 => Act::CancelFirmware,
            0 => Act::BackgroundFirmware {
                on: dice.chance(50),
            },
            _ => Act::Firmware {
                node,
                kind: dice.pick(KINDS),
            },
        };
        // Some of it comes while devices are worked on.
        let ms = dice.pick(&[500, 5_000, 60_000, 300_000]);
        let when = When::After {
            ms: 50 + dice.roll(ms),
        };
        let at = dice.roll(script.gusts.len() as u64 + 1) as usize;
        script.gusts.insert(at, Gust { when, act });
    }
    let gusts = script.gusts.len();
    script.early = match dice.chance(70) {
        true => gusts,
        false => gusts / 2,
    };
}

fn record(dice: &mut Dice) -> MemoryFaults {
    if dice.chance(25) {
        return MemoryFaults::default();
    }
    MemoryFaults {
        unknown_per_mille: dice.roll(60) as u16,
        unavailable_per_mille: dice.roll(30) as u16,
        lost_doorbell_per_mille: dice.roll(300) as u16,
        max_delay: Duration::from_millis(dice.roll(60)),
        ..MemoryFaults::default()
    }
}

fn gate(dice: &mut Dice) -> Gate {
    let hold = dice.roll(4) as u32;
    Gate {
        conditions: dice.pick(CONDITIONS),
        hold,
        longest: hold + dice.between(2, 25) as u32,
    }
}

fn gust(dice: &mut Dice, nodes: u64, busy: Busy) -> Gust {
    let when = match dice.chance(45) {
        true => When::Into {
            task: dice.pick(TASKS),
            ms: dice.pick(&[0, 5, 12, 30, 100, 250, 400, 900]),
        },
        false => When::After {
            ms: 50 + dice.roll(5_000),
        },
    };
    Gust {
        when,
        act: match busy != Busy::Little && dice.chance(40) {
            true => errand(dice, nodes, busy),
            false => act(dice, nodes),
        },
    }
}

/// What an operator does who is busy with that, or what makes it interesting.
fn errand(dice: &mut Dice, nodes: u64, busy: Busy) -> Act {
    let node = dice.roll(nodes) as usize;
    let ms = dice.between(200, 20_000);
    match busy {
        Busy::Little => act(dice, nodes),
        Busy::Gates => match dice.roll(8) {
            0..=2 => Act::Gates(gate(dice)),
            3..=4 => Act::ScriptHolds {
                trouble: dice.chance(25),
                ms,
            },
            5 => Act::Pause,
            6 => Act::Resume,
            _ => Act::Fault {
                node,
                fault: dice.pick(&[Fault::HighLoad, Fault::LosePath, Fault::ResyncPool]),
                ms,
            },
        },
        Busy::Warnings => match dice.roll(10) {
            0..=2 => Act::Acknowledge,
            3 => Act::Withdraw,
            4..=5 => Act::Validate,
            6 => Act::Check {
                node,
                finds: dice.pick(&[Finds::Warning, Finds::Error, Finds::Hangs]),
                ms,
            },
            _ => Act::Fault {
                node,
                fault: dice.pick(WARNINGS),
                ms: ms * 3,
            },
        },
        Busy::Looking => match dice.roll(8) {
            0..=3 => Act::Estimate {
                rolling: dice.chance(30),
                only: dice.chance(30).then_some(node),
            },
            4..=5 => Act::Preview { node },
            6 => Act::Validate,
            _ => Act::Delete,
        },
    }
}

fn act(dice: &mut Dice, nodes: u64) -> Act {
    let any = |dice: &mut Dice| dice.roll(nodes) as usize;
    let node = any(dice);
    let ms = dice.between(100, 9_000);
    match dice.roll(42) {
        0..=4 => Act::Kill { node },
        5..=7 => Act::PowerCut {
            node,
            ms: dice.pick(&[500, 6_000, 6_000, 30_000, 90_000]),
        },
        8..=9 => Act::Cut { node, ms },
        10 => Act::CutRecord { node, ms },
        11 => Act::NoRecord { ms },
        12 => Act::Lose {
            from: node,
            to: any(dice),
            requests: dice.roll(4) as u32,
            answers: dice.roll(4) as u32,
        },
        13..=14 => Act::Echo {
            from: node,
            to: any(dice),
            requests: dice.between(1, 40) as u32,
            after: dice.pick(&[20, 400, 3_000, 9_000]),
        },
        15..=16 => Act::Delay {
            node,
            by: dice.pick(&[30, 300, 1_500]),
            ms,
        },
        17..=18 => Act::LateAppends {
            node,
            by: dice.pick(&[100, 2_000, 5_000, 8_000]),
            ms,
        },
        19..=20 => Act::SlowMachine {
            node,
            by: dice.pick(&[50, 1_000, 4_000]),
            ms: ms * 2,
        },
        21 => Act::DiskFull { node, ms },
        22 => Act::DiskErrors {
            node,
            per_mille: dice.pick(&[5, 50, 300]),
            ms,
        },
        23 => Act::ClockJump {
            node,
            seconds: dice.between(0, 200_000) as i64 - 100_000,
        },
        24..=31 => Act::Fault {
            node,
            fault: dice.pick(FAULTS),
            ms: dice.between(200, 20_000),
        },
        32..=33 => Act::TakeOver { node },
        34 => Act::GiveBack { node },
        35..=36 => Act::Pause,
        37 => Act::Resume,
        38 => Act::Cancel,
        39 => Act::LosePackage { node },
        40 => Act::Late {
            from: node,
            to: any(dice),
            requests: dice.between(1, 20) as u32,
            after: dice.pick(&[400, 3_000, 9_000, 15_000]),
        },
        _ => Act::Upload { node },
    }
}
