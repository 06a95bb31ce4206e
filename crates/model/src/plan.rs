//! An update's immutable list of tasks.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::firmware::FirmwareKind;
use crate::gate::Gates;
use crate::id::{Digest, NodeName, Version};

/// What an update will do, in full. Executing it takes no meaningful choice. A changed plan is a new
/// revision, made only while the update is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Plan {
    /// Counts from 1.
    pub revision: u32,
    /// Version to bring every node to.
    pub target: Version,
    /// Manifest digest of the package.
    pub package: Digest,
    /// How the nodes take turns.
    #[serde(default)]
    pub mode: PlanMode,
    /// What is waited for between nodes.
    #[serde(default, skip_serializing_if = "Gates::is_off")]
    pub gates: Gates,
    /// Why it is not what is usual for such a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// Version of each node before the update.
    pub from: BTreeMap<NodeName, Version>,
    /// Steps in order; a step starts when every lane of the one before it has ended.
    pub steps: Vec<Step>,
}

/// How the nodes take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanMode {
    /// One node after the other.
    #[default]
    Rolling,
    /// Two batches of whole pairs: the nodes of a step side by side, never both of a pair.
    Batch,
    /// A cluster of one node, which does not serve while it reboots.
    SingleNode,
}

/// Lanes that run side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// One lane a node.
    pub lanes: Vec<Lane>,
}

/// Tasks of one node, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The node that changes.
    pub node: NodeName,
    /// What to do.
    pub tasks: Vec<Task>,
    /// What brings high availability back when the lane is left early: the node fell back to its old
    /// slot, or the update was cancelled while the partner served for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore: Vec<Task>,
    /// What a cancelled update does last for a node that is home on its old version. Best effort: it
    /// never holds the cancel up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Task>,
}

/// Number of a task, unique over all revisions of an update's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u32);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// The node that changes.
    pub node: NodeName,
    /// Who carries it out.
    pub executor: Executor,
    /// What.
    pub action: Action,
    /// Expected duration, in seconds of 60-second minutes.
    pub estimate_s: u32,
}

/// Who carries a task out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// The agent of that node.
    Agent(NodeName),
    /// The coordinator, by observing.
    Coordinator,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Verify the package again and extract it into the alternate slot.
    Install {
        /// Manifest digest.
        package: Digest,
    },
    /// Make the slot that holds the package the default, with a bounded number of tries.
    Activate {
        /// Manifest digest of what must be in it.
        package: Digest,
    },
    /// Make the running slot the default again, lest the next boot carries out a cancelled update.
    Deactivate,
    /// The partner takes the node over: a clean, negotiated shutdown of the node into its default slot.
    Takeover,
    /// Wait until the node is up again on `version`, waiting for giveback, with a new boot id.
    AwaitBoot {
        /// Version to see.
        version: Version,
    },
    /// Hold still and watch.
    Stabilize {
        /// For how many minutes.
        minutes: u32,
        /// After what.
        after: Milestone,
    },
    /// The partner gives the pools back, root pool first, then sends the LIFs home.
    Giveback,
    /// See that the node serves its own pools through its own LIFs, with all paths back.
    VerifyHome {
        /// Version that must run; none when any will do (a restore).
        version: Option<Version>,
    },
    /// Tell the boot loader that the running slot is good.
    MarkGood,
    /// Wait until the conditions have held for a while, an operator's script not among them.
    Gate {
        /// The conditions of the moment the plan was made.
        gates: Gates,
    },
    /// Run the operator's script on the node until it says to go on.
    GateScript {
        /// After so long the update pauses.
        longest_minutes: u32,
    },
    /// Reboot a node that nobody can take over, cleanly, into its default slot.
    Reboot,
    /// Bring the node's devices up to date.
    Firmware {
        /// Manifest digest of the firmware package.
        package: Digest,
        /// Which devices.
        kind: FirmwareKind,
        /// One disk of each model only, alone in the cluster: the others wait for how it goes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        first: bool,
        /// No disks that hold data.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        spares_only: bool,
    },
}

impl Task {
    /// Whether the coordinator carries it out, by observing.
    pub fn is_watched(&self) -> bool {
        self.executor == Executor::Coordinator
    }
}

impl Action {
    /// Whether it writes a slot.
    pub fn is_install(&self) -> bool {
        matches!(self, Self::Install { .. })
    }

    /// Whether it waits for conditions between nodes: it can be left at any time. A script that its agent runs is
    /// left alone, and ends at the agent's next order.
    pub fn is_gate(&self) -> bool {
        matches!(self, Self::Gate { .. } | Self::GateScript { .. })
    }

    /// Short name, as in `status_details[].name`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Install { .. } => "do-download-job",
            Self::Activate { .. } => "do-activate-job",
            Self::Deactivate => "do-deactivate-job",
            Self::Takeover => "do-failover-job",
            Self::AwaitBoot { .. } => "do-boot-job",
            Self::Stabilize {
                after: Milestone::Takeover,
                ..
            } => "do-stabilize-after-failover-job",
            Self::Stabilize {
                after: Milestone::Giveback,
                ..
            } => "do-stabilize-after-giveback-job",
            Self::Giveback => "do-giveback-job",
            Self::VerifyHome { .. } => "do-verify-job",
            Self::MarkGood => "do-commit-job",
            Self::Gate { .. } => "do-gate-job",
            Self::GateScript { .. } => "do-gate-script-job",
            Self::Reboot => "do-reboot-job",
            Self::Firmware { .. } => "do-firmware-job",
        }
    }
}

/// A point in a node's lane that operators think in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// The partner has taken the node over.
    Takeover,
    /// The node has its pools back.
    Giveback,
}

/// Where an update may pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PausePoint {
    /// After validation, before the first effect.
    Validation,
    /// After the image is installed on every node.
    Install,
    /// After a takeover and its stabilize time.
    Takeover,
    /// After a giveback and its stabilize time.
    Giveback,
}

/// `pause_after` of the API: points at which an update pauses without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseAfter {
    /// Only when asked.
    #[default]
    None,
    /// After every takeover and every giveback.
    TakeoverGiveback,
    /// At every pause point.
    All,
}

impl PauseAfter {
    /// Whether an update with this option pauses at `point`.
    pub fn pauses_at(self, point: PausePoint) -> bool {
        match (self, point) {
            (Self::None, _) => false,
            (Self::All, _) => true,
            (Self::TakeoverGiveback, PausePoint::Takeover | PausePoint::Giveback) => true,
            (Self::TakeoverGiveback, PausePoint::Validation | PausePoint::Install) => false,
        }
    }
}

impl Plan {
    /// All lanes, step by step.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.steps.iter().flat_map(|step| &step.lanes)
    }

    /// Every task, those that restore and undo included.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.lanes()
            .flat_map(|lane| lane.tasks.iter().chain(&lane.restore).chain(&lane.undo))
    }

    /// The task of that number.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.task_in_order(id)
            .or_else(|| self.tasks().find(|task| task.id == id))
    }

    /// The same, when tasks are numbered in their order, as the planner does.
    fn task_in_order(&self, id: TaskId) -> Option<&Task> {
        let first = |lane: &Lane| lane.tasks.first().is_none_or(|task| task.id <= id);
        let begins = |step: &Step| step.lanes.first().is_none_or(first);
        let step = self.steps.partition_point(begins).checked_sub(1)?;
        let lanes = &self.steps[step].lanes;
        let lane = &lanes[lanes.partition_point(first).checked_sub(1)?];
        let mut tasks = lane.tasks.iter().chain(&lane.restore).chain(&lane.undo);
        tasks.find(|task| task.id == id)
    }
}
