//! What an update waits for between nodes, beyond the timer.

use serde::{Deserialize, Serialize};

/// Conditions that must hold before the next node's turn. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gates {
    /// All of them must hold.
    #[serde(default)]
    pub conditions: Vec<GateCondition>,
    /// For so long without a break.
    #[serde(default)]
    pub hold_minutes: u32,
    /// After so long the update pauses.
    #[serde(default)]
    pub longest_minutes: u32,
}

impl Gates {
    /// Whether an operator's script is among the conditions.
    pub fn has_script(&self) -> bool {
        self.conditions.contains(&GateCondition::Script)
    }

    /// Whether there is a condition that the coordinator watches.
    pub fn is_watched(&self) -> bool {
        let watched = |condition: &GateCondition| *condition != GateCondition::Script;
        self.conditions.iter().any(watched)
    }
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateCondition {
    /// Every disk is seen over two paths again.
    PathsBack,
    /// No pool resynchronizes.
    ResyncDone,
    /// Every LIF is at home.
    LifsHome,
    /// No node is busier than that.
    LoadBelow {
        /// In percent.
        percent: u8,
    },
    /// The operator's script on the node whose turn it is says so.
    Script,
}
