//! What this cluster's own updates took, task by task: where estimates come from once there is a history.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use evenkeel_model::{Action, How, Operation, OperationId, TaskProgress, TaskState, WallTime};

use crate::bounds::Tunables;
use crate::estimate::task_seconds;

/// Fewer measurements say nothing yet.
const ENOUGH: usize = 3;
/// As many measurements of a task are remembered: older ones are of older releases and other loads, and a
/// coordinator's memory has a bound.
const REMEMBERED: usize = 64;
/// So many times what is assumed of a task it may take, beside the time it may stand still: a longer one is a
/// clock that jumped.
const MOST_TIMES: u32 = 4;

/// Durations of tasks, in seconds of 60-second minutes, per kind of task ([`Action::name`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    tasks: BTreeMap<&'static str, Measured>,
}

/// What tasks of one kind took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// How many were measured.
    pub samples: usize,
    /// Half of them took no longer.
    pub median_s: u32,
    /// Nine of ten took no longer.
    pub p90_s: u32,
}

/// How long a task is expected to take, in seconds of 60-second minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// As likely more as less.
    pub median_s: u32,
    /// More in one case of ten. The same as the median while nothing is known.
    pub p90_s: u32,
}

impl Learned {
    /// What was measured of tasks that do such a thing.
    pub fn of(&self, action: &Action) -> Option<Measured> {
        self.tasks.get(action.name()).copied()
    }

    /// What a task is expected to take: measured where there is enough of it, assumed otherwise.
    pub fn expected(&self, action: &Action) -> Expected {
        match self.of(action).filter(|m| m.samples >= ENOUGH) {
            Some(measured) if is_learned(action) => Expected {
                median_s: measured.median_s,
                p90_s: measured.p90_s,
            },
            Some(_) | None => {
                let assumed = task_seconds(action);
                Expected {
                    median_s: assumed,
                    p90_s: assumed,
                }
            }
        }
    }
}

/// Whether measuring tells more than the plan does: a stabilize time is what was asked for.
fn is_learned(action: &Action) -> bool {
    !matches!(action, Action::Stabilize { .. })
}

/// Learns from all of `operations`, oldest first; `minute` is how long a minute takes here.
pub fn learn<'a>(operations: impl IntoIterator<Item = &'a Operation>, minute: Duration) -> Learned {
    let mut learner = Learner::new(minute);
    learner.update(operations);
    learner.learned
}

/// Keeps [`Learned`] up to date without folding again what it knows.
#[derive(Clone, Debug)]
pub struct Learner {
    minute: Duration,
    known: BTreeSet<OperationId>,
    samples: BTreeMap<&'static str, VecDeque<u32>>,
    learned: Learned,
}

impl Learner {
    /// Knows nothing. `minute` is how long a minute takes here.
    pub fn new(minute: Duration) -> Self {
        Self {
            minute,
            known: BTreeSet::new(),
            samples: BTreeMap::new(),
            learned: Learned::default(),
        }
    }

    /// What is learned so far.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Learns from those of `operations`, oldest first, that have ended since it was last told.
    pub fn update<'a>(&mut self, operations: impl IntoIterator<Item = &'a Operation>) {
        let mut grew = false;
        for operation in operations {
            if operation.tasks.is_empty()
                || !operation.is_ended()
                || !self.known.insert(operation.id)
            {
                continue;
            }
            grew = true;
            for task in operation.tasks.values() {
                self.add(task);
            }
        }
        if grew {
            self.learned = self.summary();
        }
    }

    fn add(&mut self, task: &TaskProgress) {
        let Some(seconds) = measured(task, self.minute) else {
            return;
        };
        let samples = self.samples.entry(task.task.action.name()).or_default();
        if samples.len() == REMEMBERED {
            samples.pop_front();
        }
        samples.push_back(seconds);
    }

    fn summary(&self) -> Learned {
        let measured = |samples: &VecDeque<u32>| {
            let mut sorted: Vec<u32> = samples.iter().copied().collect();
            sorted.sort_unstable();
            // Nearest rank: the smallest that so many hundredths of all do not exceed.
            let rank = |hundredths: usize| sorted[(sorted.len() * hundredths).div_ceil(100) - 1];
            Measured {
                samples: sorted.len(),
                median_s: rank(50),
                p90_s: rank(90),
            }
        };
        let of = |(name, samples): (&&'static str, &VecDeque<u32>)| (*name, measured(samples));
        Learned {
            tasks: self.samples.iter().map(of).collect(),
        }
    }
}

/// What a task took from its start to its end, if this cluster did it in one go: one that was found done,
/// or was tried several times, says nothing about the next.
fn measured(task: &TaskProgress, minute: Duration) -> Option<u32> {
    let TaskState::Done { how, at } = &task.state else {
        return None;
    };
    let in_one_go = match how {
        How::Completed => task.attempt == 1,
        How::AlreadyDone | How::Resumed => false,
    };
    if !in_one_go || !is_learned(&task.task.action) {
        return None;
    }
    seconds_between(task, *at, minute)
}

/// In seconds of 60-second minutes; none where a clock jumped, or stood still.
fn seconds_between(task: &TaskProgress, end: WallTime, minute: Duration) -> Option<u32> {
    let took = end.shown_since(task.start);
    if took.is_zero() || minute.is_zero() || took > longest(&task.task.action, minute) {
        return None;
    }
    let ticks = took.as_micros() * 60 / minute.as_micros().max(1);
    u32::try_from(ticks).ok()
}

/// Longer than that no task takes that is done in one go.
fn longest(action: &Action, minute: Duration) -> Duration {
    let tunables = Tunables {
        minute,
        ..Tunables::default()
    };
    tunables.no_progress(action) + minute * task_seconds(action) * MOST_TIMES / 60
}
