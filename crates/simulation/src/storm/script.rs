//! A story as data, and as text.

use std::fmt;

use evenkeel_model::{FirmwareKind, GateCondition, Gates, PauseAfter};
use evenkeel_platform::sim::Fault;
use evenkeel_record::MemoryFaults;

/// A storm over one cluster, from its start to the calm. Nodes are named by their numbers, from 0; a number that
/// is too high for the cluster counts around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Where it comes from; also draws what record and disks do.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// What lies between the nodes and the record.
    pub record: MemoryFaults,
    /// Options of the update.
    pub pause_after: PauseAfter,
    /// Warnings do not stop the update.
    pub skip_warnings: bool,
    /// No batches.
    pub force_rolling: bool,
    /// The pair of this node goes first.
    pub first: Option<usize>,
    /// Only the pairs of these nodes are updated; all when empty.
    pub only: Vec<usize>,
    /// Set before everything else.
    pub gates: Option<Gate>,
    /// The package brings a check.
    pub checks: bool,
    /// Warnings are acknowledged in the calm, where they would be skipped else.
    pub acknowledges: bool,
    /// So many gusts come before the update is asked for.
    pub early: usize,
    /// What happens, in order.
    pub gusts: Vec<Gust>,
}

/// What is waited for between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// All that must hold.
    pub conditions: &'static [GateCondition],
    /// For so many minutes.
    pub hold: u32,
    /// Within so many.
    pub longest: u32,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gates")?;
        for condition in self.conditions {
            write!(f, " {condition}")?;
        }
        write!(f, " for {} of {} minutes", self.hold, self.longest)
    }
}

impl Gate {
    pub(super) fn gates(self) -> Gates {
        Gates {
            conditions: self.conditions.to_vec(),
            hold_minutes: self.hold,
            longest_minutes: self.longest,
        }
    }
}

/// What the check that comes with the package does on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finds {
    /// It warns.
    Warning,
    /// It fails.
    Error,
    /// It never ends.
    Hangs,
}

/// Something that happens once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gust {
    /// When, seen from the gust before it.
    pub when: When,
    /// What.
    pub act: Act,
}

/// When a gust comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After a while.
    After {
        /// Milliseconds.
        ms: u64,
    },
    /// So long after the next task of that name has begun; after a while without one, anyway.
    Into {
        /// Name of the task's action.
        task: &'static str,
        /// Milliseconds.
        ms: u64,
    },
}

/// What happens. What is off for a while comes back by itself, after `ms` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the text says it")]
pub enum Act {
    Kill {
        node: usize,
    },
    PowerCut {
        node: usize,
        ms: u64,
    },
    Cut {
        node: usize,
        ms: u64,
    },
    CutRecord {
        node: usize,
        ms: u64,
    },
    NoRecord {
        ms: u64,
    },
    Lose {
        from: usize,
        to: usize,
        requests: u32,
        answers: u32,
    },
    Echo {
        from: usize,
        to: usize,
        requests: u32,
        after: u64,
    },
    Late {
        from: usize,
        to: usize,
        requests: u32,
        after: u64,
    },
    Delay {
        node: usize,
        by: u64,
        ms: u64,
    },
    LateAppends {
        node: usize,
        by: u64,
        ms: u64,
    },
    SlowMachine {
        node: usize,
        by: u64,
        ms: u64,
    },
    DiskFull {
        node: usize,
        ms: u64,
    },
    DiskErrors {
        node: usize,
        per_mille: u16,
        ms: u64,
    },
    ClockJump {
        node: usize,
        seconds: i64,
    },
    Fault {
        node: usize,
        fault: Fault,
        ms: u64,
    },
    TakeOver {
        node: usize,
    },
    GiveBack {
        node: usize,
    },
    Pause,
    Resume,
    Cancel,
    Upload {
        node: usize,
    },
    LosePackage {
        node: usize,
    },
    Firmware {
        node: usize,
        kind: FirmwareKind,
    },
    CancelFirmware,
    BackgroundFirmware {
        on: bool,
    },
    Delete,
    Validate,
    Acknowledge,
    Withdraw,
    Estimate {
        rolling: bool,
        only: Option<usize>,
    },
    Preview {
        node: usize,
    },
    Gates(Gate),
    ScriptHolds {
        trouble: bool,
        ms: u64,
    },
    Check {
        node: usize,
        finds: Finds,
        ms: u64,
    },
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster nodes={} seed={}", self.nodes, self.seed)?;
        if self.checks {
            writeln!(f, "# the package brings a check")?;
        }
        if let Some(gate) = self.gates {
            writeln!(f, "{gate}")?;
        }
        if self.record != MemoryFaults::default() {
            let MemoryFaults {
                unknown_per_mille,
                unavailable_per_mille,
                lost_doorbell_per_mille,
                max_delay,
                ..
            } = self.record;
            writeln!(
                f,
                "# record: of 1000 appends {unknown_per_mille} end unknown; of 1000 calls \
                 {unavailable_per_mille} fail; of 1000 rings {lost_doorbell_per_mille} are lost; \
                 up to {max_delay:?} each way"
            )?;
        }
        for (number, gust) in self.gusts.iter().enumerate() {
            if number == self.early {
                self.write_request(f)?;
            }
            writeln!(f, "{gust}")?;
        }
        if self.early >= self.gusts.len() {
            self.write_request(f)?;
        }
        let and = match self.acknowledges {
            true => ", acknowledge warnings",
            false => "",
        };
        writeln!(
            f,
            "heal everything, do what is asked for{and}, until the update is complete"
        )
    }
}

impl Script {
    fn write_request(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "update {}", crate::settings::NEW)?;
        if self.pause_after != PauseAfter::None {
            write!(f, " pause_after={:?}", self.pause_after)?;
        }
        if self.skip_warnings {
            f.write_str(" skip_warnings")?;
        }
        if self.force_rolling {
            f.write_str(" force_rolling")?;
        }
        if let Some(first) = self.first {
            write!(f, " first={}", name(first))?;
        }
        for node in &self.only {
            write!(f, " pair_of={}", name(*node))?;
        }
        writeln!(f)
    }
}

fn name(node: usize) -> String {
    format!("node{:02}", node + 1)
}

impl fmt::Display for Gust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::After { ms } => write!(f, "after {ms} ms: ")?,
            When::Into { task, ms } => write!(f, "{ms} ms into the next {task}: ")?,
        }
        self.act.fmt(f)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Kill { node } => write!(f, "kill {}", name(node)),
            Self::PowerCut { node, ms } => write!(f, "power cut {} for {ms} ms", name(node)),
            Self::Cut { node, ms } => write!(f, "cut {} from everything for {ms} ms", name(node)),
            Self::CutRecord { node, ms } => write!(f, "cut {} from record for {ms} ms", name(node)),
            Self::NoRecord { ms } => write!(f, "record down for {ms} ms"),
            Self::Lose {
                from,
                to,
                requests,
                answers,
            } => {
                let (from, to) = (name(from), name(to));
                write!(
                    f,
                    "lose {requests} requests and {answers} answers of {from} to {to}"
                )
            }
            Self::Echo {
                from,
                to,
                requests,
                after,
            } => {
                let (from, to) = (name(from), name(to));
                write!(
                    f,
                    "repeat {requests} requests of {from} to {to} after {after} ms"
                )
            }
            Self::Late {
                from,
                to,
                requests,
                after,
            } => {
                let (from, to) = (name(from), name(to));
                write!(
                    f,
                    "{requests} requests of {from} to {to} arrive {after} ms late, when nobody waits for them"
                )
            }
            Self::Delay { node, by, ms } => {
                write!(
                    f,
                    "messages of {} take {by} ms longer for {ms} ms",
                    name(node)
                )
            }
            Self::LateAppends { node, by, ms } => {
                write!(f, "appends of {} are {by} ms late for {ms} ms", name(node))
            }
            Self::SlowMachine { node, by, ms } => {
                write!(f, "acts of {} take {by} ms longer for {ms} ms", name(node))
            }
            Self::DiskFull { node, ms } => write!(f, "disk of {} full for {ms} ms", name(node)),
            Self::DiskErrors {
                node,
                per_mille,
                ms,
            } => {
                write!(
                    f,
                    "of 1000 calls of the disk of {} {per_mille} fail for {ms} ms",
                    name(node)
                )
            }
            Self::ClockJump { node, seconds } => {
                write!(f, "clock of {} jumps {seconds}", name(node))
            }
            Self::Fault { node, fault, ms } => {
                write!(f, "fault {} {fault} for {ms} ms", name(node))
            }
            Self::TakeOver { node } => write!(f, "by hand: take over {}", name(node)),
            Self::GiveBack { node } => write!(f, "by hand: give back {}", name(node)),
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
            Self::Cancel => f.write_str("cancel"),
            Self::Upload { node } => write!(f, "upload {} to {}", super::play::EXTRA, name(node)),
            Self::LosePackage { node } => {
                let version = crate::settings::NEW;
                write!(f, "{} loses its copy of {version}", name(node))
            }
            Self::Firmware { node, kind } => write!(f, "upload {kind} to {}", name(node)),
            Self::BackgroundFirmware { on: true } => f.write_str("firmware for all disks"),
            Self::BackgroundFirmware { on: false } => f.write_str("firmware for spares only"),
            Self::CancelFirmware => f.write_str("cancel the firmware update, and those that wait"),
            Self::Delete => write!(f, "delete {}", super::play::EXTRA),
            Self::Validate => f.write_str("validate"),
            Self::Acknowledge => f.write_str("acknowledge every warning"),
            Self::Withdraw => f.write_str("withdraw every acknowledgement"),
            Self::Estimate { rolling, only } => {
                f.write_str("estimate")?;
                if rolling {
                    f.write_str(" force_rolling")?;
                }
                match only {
                    Some(node) => write!(f, " pair_of={}", name(node)),
                    None => Ok(()),
                }
            }
            Self::Preview { node } => write!(f, "look at the plan on {}", name(node)),
            Self::Gates(gate) => gate.fmt(f),
            Self::ScriptHolds { trouble, ms } => {
                let what = if trouble { "fails" } else { "says not yet" };
                write!(f, "the gate script {what} for {ms} ms")
            }
            Self::Check { node, finds, ms } => {
                let finds = match finds {
                    Finds::Warning => "warns",
                    Finds::Error => "fails",
                    Finds::Hangs => "hangs",
                };
                write!(
                    f,
                    "the package's check {finds} on {} for {ms} ms",
                    name(node)
                )
            }
        }
    }
}
