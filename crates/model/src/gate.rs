//! What an update waits for between nodes, beyond the timer.

use std::fmt;
use std::str::FromStr;

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
    /// Whether nothing is waited for.
    pub fn is_off(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether both make an update wait for the same.
    pub fn same(&self, other: &Self) -> bool {
        (self.is_off() && other.is_off()) || self == other
    }

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

impl fmt::Display for GateCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PathsBack => f.write_str("paths_back"),
            Self::ResyncDone => f.write_str("resync_done"),
            Self::LifsHome => f.write_str("lifs_home"),
            Self::LoadBelow { percent } => write!(f, "load_below={percent}"),
            Self::Script => f.write_str("script"),
        }
    }
}

/// A word that names no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchCondition {
    /// Nothing is called so.
    #[error(
        "there is no condition {0:?}: there are paths_back, resync_done, lifs_home, load_below=PERCENT and script"
    )]
    Word(String),
    /// A load that is always or never reached.
    #[error("a load is below a number of percent from 1 to 100, not {0:?}")]
    Percent(String),
}

impl FromStr for GateCondition {
    type Err = NoSuchCondition;

    /// Dashes do for underscores.
    fn from_str(text: &str) -> Result<Self, NoSuchCondition> {
        let (word, value) = match text.split_once('=') {
            Some((word, value)) => (word, Some(value)),
            None => (text, None),
        };
        match (word.replace('-', "_").as_str(), value) {
            ("paths_back", None) => Ok(Self::PathsBack),
            ("resync_done", None) => Ok(Self::ResyncDone),
            ("lifs_home", None) => Ok(Self::LifsHome),
            ("script", None) => Ok(Self::Script),
            ("load_below", Some(value)) => {
                let percent = value.parse().ok().filter(|p| (1..=100).contains(p));
                let percent = percent.ok_or_else(|| NoSuchCondition::Percent(value.to_owned()))?;
                Ok(Self::LoadBelow { percent })
            }
            _ => Err(NoSuchCondition::Word(text.to_owned())),
        }
    }
}
