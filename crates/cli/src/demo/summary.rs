//! What the demo has to say at its end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_api::Software;
use evenkeel_lab::ProbeReport;
use serde_json::{Value, json};

use crate::outcome::Stop;
use crate::table::{Table, seconds};
use crate::watch::word;

/// The whole story in numbers.
pub(crate) struct Summary {
    pub(crate) dir: PathBuf,
    pub(crate) nodes: Vec<NodeSummary>,
    /// As the API showed it when the update had completed.
    pub(crate) software: Software,
    pub(crate) probed: ProbeReport,
    pub(crate) minute: Duration,
    pub(crate) total: Duration,
}

/// One node.
pub(crate) struct NodeSummary {
    pub(crate) name: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Summary {
    pub(crate) fn to_text(&self) -> String {
        let mut versions = Table::new(&["Node", "Before", "After"]);
        for node in &self.nodes {
            versions.row([node.name.clone(), node.before.clone(), node.after.clone()]);
        }
        let mut phases = Table::new(&["Phase", "Node", "State", "Elapsed", "Estimated"]);
        for detail in self.software.update_details.iter().flatten() {
            let (elapsed, estimated) = (
                seconds(detail.elapsed_duration),
                seconds(detail.estimated_duration),
            );
            let state = word(&detail.state);
            phases.row([
                detail.phase.clone(),
                detail.node.name.clone(),
                state,
                elapsed,
                estimated,
            ]);
        }
        format!(
            "\n{}\n{}\n\
             The update took {}, estimated {}; one minute was {:?}. All of this took {:.0?}.\n\
             Longest gap without an answer on any LIF: {} ms, of {} reads; the machine itself stalled {} ms.\n\
             Every node runs the evenkeeld of the new package.\n\
             Logs and databases: {}\n",
            versions.render("No node."),
            phases.render("No phase."),
            seconds(self.software.elapsed_duration),
            seconds(self.software.estimated_duration),
            self.minute,
            self.total,
            self.probed.longest_io_gap_ms,
            self.probed.reads,
            self.probed.stalled_ms,
            self.dir.display(),
        )
    }

    pub(crate) fn to_json(&self) -> Value {
        let node = |node: &NodeSummary| json!({"name": node.name, "before": node.before, "after": node.after});
        json!({
            "result": "completed",
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
            "phases": self.software.update_details,
            "elapsed_seconds": self.software.elapsed_duration,
            "estimated_seconds": self.software.estimated_duration,
            "total_seconds": self.total.as_secs(),
            "longest_io_gap_ms": self.probed.longest_io_gap_ms,
            "machine_stalled_ms": self.probed.stalled_ms,
            "dir": self.dir,
        })
    }
}

/// What a program reads when the demo did not come to its good end.
pub(crate) fn failure(stop: &Stop, dir: &Path) -> Value {
    json!({"result": "failed", "why": stop.to_string(), "dir": dir})
}
