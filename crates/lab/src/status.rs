//! How a lab is, for people and for programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use evenkeel_model::{BootId, MemberHa, NodeName, Slot, SlotsState, TransitionId, Version};
use evenkeel_platform::sim::{Fault, Incident, PowerState, Window};
use serde::{Deserialize, Serialize};

/// Everything a supervisor knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabStatus {
    /// The lab's folder.
    pub dir: PathBuf,
    /// The cluster's address.
    pub url: String,
    /// Whether the cluster has answered since the supervisor started.
    pub ready: bool,
    /// Length of a minute.
    pub minute_ms: u64,
    /// The hardware's clock: what all times here are of.
    pub now_ms: u64,
    /// The nodes, by name.
    pub nodes: Vec<NodeStatus>,
    /// Takeovers and givebacks, oldest first.
    pub windows: Vec<Window>,
    /// Times in which a whole pair was out of service, oldest first.
    pub incidents: Vec<Incident>,
    /// Rules that the hardware is found to break: none, ever.
    pub broken: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: NodeName,
    /// Its HA partner.
    pub partner: Option<NodeName>,
    /// What its power and boot loader do.
    pub power: PowerState,
    /// Its part in its pair.
    pub ha: MemberHa,
    /// Its running boot.
    pub boot_id: Option<BootId>,
    /// Its slots, while it is up.
    pub slots: Option<SlotsState>,
    /// The takeover that stands or was the last in its pair.
    pub transition: Option<TransitionId>,
    /// LIFs it hosts.
    pub lifs: Vec<String>,
    /// Process of its `evenkeeld`.
    pub pid: Option<u32>,
    /// Its faults.
    pub faults: BTreeSet<Fault>,
}

impl NodeStatus {
    /// The version of the image that it booted.
    pub fn version(&self) -> Option<&Version> {
        let slots = self.slots.as_ref()?;
        let image = slots.slot(slots.booted).image.as_ref()?;
        Some(&image.version)
    }

    fn state(&self) -> String {
        let ha = match self.ha {
            MemberHa::Serving => "serving",
            MemberHa::WaitingForGiveback => "waiting for giveback",
            MemberHa::PartialGiveback => "partial giveback",
            MemberHa::Booting => "booting",
            MemberHa::Down => "down",
            MemberHa::Fenced => "fenced",
        };
        match &self.power {
            PowerState::Booting { until: None, .. } => "boot hangs".to_owned(),
            PowerState::Halted => format!("{ha}, no slot boots"),
            PowerState::Off | PowerState::Booting { .. } | PowerState::Up { .. } => ha.to_owned(),
        }
    }

    fn row(&self) -> [String; 7] {
        let dash = || "-".to_owned();
        let slot = match self.power {
            PowerState::Up { slot, .. } | PowerState::Booting { slot, .. } => {
                Some(Slot::as_str(slot))
            }
            PowerState::Off | PowerState::Halted => None,
        };
        let faults: Vec<&str> = self.faults.iter().map(|fault| fault.name()).collect();
        [
            self.name.to_string(),
            self.state(),
            slot.map_or_else(dash, str::to_owned),
            self.version().map_or_else(dash, |v| v.to_string()),
            if self.lifs.is_empty() {
                dash()
            } else {
                self.lifs.join(" ")
            },
            self.pid.map_or_else(dash, |pid| pid.to_string()),
            if faults.is_empty() {
                dash()
            } else {
                faults.join(" ")
            },
        ]
    }
}

impl LabStatus {
    /// A table for people.
    pub fn table(&self) -> String {
        let head = [
            "Node",
            "State",
            "Slot",
            "Version",
            "LIFs",
            "evenkeeld",
            "Faults",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.nodes.iter().map(NodeStatus::row));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let mut text = format!(
            "{}  minute {} ms  {}\n",
            self.url,
            self.minute_ms,
            self.dir.display()
        );
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                write!(line, "{cell:width$}  ").ok();
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for broken in &self.broken {
            text.push_str(&format!("BROKEN: {broken}\n"));
        }
        text
    }
}
