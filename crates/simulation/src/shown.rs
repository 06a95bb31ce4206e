//! What people and the REST API are shown, held against what is so.

use evenkeel_model::NodeName;
use evenkeel_record::View;
use evenkeel_record::projections::{HistoryState, cluster_version, history, jobs};

use crate::cluster::Cluster;
use crate::settings::{NEW, OLD, version};

/// What is wrong with the version that the cluster is shown to have after an update to [`NEW`].
pub(crate) fn wrong_version(view: &View) -> Option<String> {
    let shown = cluster_version(view);
    (shown != Some(version(NEW))).then(|| format!("the cluster shows {shown:?}"))
}

/// Nodes of whose update from [`OLD`] to [`NEW`] the history does not know.
pub(crate) fn without_history(view: &View, nodes: &[NodeName]) -> Vec<String> {
    let rows = history(view);
    let is_known = |node: &&NodeName| {
        rows.iter().any(|row| {
            let updates = row.from == version(OLD) && row.to == version(NEW);
            row.node == **node && updates && row.state == HistoryState::Successful
        })
    };
    let unknown = nodes.iter().filter(|node| !is_known(node));
    unknown
        .map(|node| format!("the history knows of no update of {node}"))
        .collect()
}

impl Cluster {
    /// Whoever is asked what an open operation waits for must have an answer.
    pub(crate) fn demand_answers(&self, view: &View) {
        if view.control().open.is_empty() {
            return;
        }
        let nodes = self.world.nodes();
        let silent: Vec<String> = nodes
            .iter()
            .filter_map(|(name, node)| Some((name, node.daemon.as_ref()?)))
            .filter(|(_, daemon)| daemon.follower.view().position() == view.position())
            .filter(|(_, daemon)| {
                let waits = daemon.door.explain();
                waits.is_empty()
                    || waits
                        .iter()
                        .any(|w| w.what.is_empty() || w.unblock.is_empty())
            })
            .map(|(name, _)| format!("{name} cannot say what is awaited"))
            .collect();
        drop(nodes);
        silent
            .into_iter()
            .for_each(|what| self.world.violated(what));
    }
}

/// What is wrong with the jobs: all must be over when nothing is open, and say something.
pub(crate) fn wrong_jobs(view: &View) -> Vec<String> {
    let idle = view.control().open.is_empty();
    let jobs = jobs(view).into_iter();
    jobs.filter(|job| (idle && !job.state.is_over()) || job.message.is_empty())
        .map(|job| {
            format!(
                "job {} is shown as {:?}: {:?}",
                job.id, job.state, job.message
            )
        })
        .collect()
}
