//! Gathers what the checks say: one finding a check and severity, every node's trouble in it.

use std::collections::BTreeSet;

use evenkeel_model::{
    ClusterObservation, Finding, NodeName, NodeObservation, Observed, Sabotage, Severity, Topology,
};

pub(super) struct Collector<'a> {
    topology: &'a Topology,
    observations: &'a ClusterObservation,
    findings: Vec<Finding>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(topology: &'a Topology, observations: &'a ClusterObservation) -> Self {
        Self {
            topology,
            observations,
            findings: Vec::new(),
        }
    }

    pub(super) fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// Every node with what it sees, or why that is unknown.
    pub(super) fn nodes(&self) -> Vec<(&'a NodeName, Result<&'a NodeObservation, String>)> {
        let seen = |name: &NodeName| match self.observations.get(name).map(Observed::as_result) {
            Some(Ok(seen)) => Ok(seen),
            Some(Err(why)) => Err(why.to_owned()),
            None => Err("it was not asked".to_owned()),
        };
        self.topology
            .names()
            .map(|name| (name, seen(name)))
            .collect()
    }

    /// Runs `each` on one kind of observation of every node. Where that is unknown, the check has not
    /// run, and says so as an error.
    pub(super) fn each<T: 'a>(
        &mut self,
        check: &str,
        pick: impl Fn(&'a NodeObservation) -> &'a Observed<T>,
        mut each: impl FnMut(&mut Self, &'a NodeName, &'a T),
    ) {
        for (node, seen) in self.nodes() {
            match seen.and_then(|seen| pick(seen).as_result().map_err(str::to_owned)) {
                Ok(value) => each(self, node, value),
                Err(_) if Sabotage::UnknownHealthy.is_on() => {}
                Err(why) => self.blind(check, node, &why),
            }
        }
    }

    /// The check could not run on a node.
    pub(super) fn blind(&mut self, check: &str, node: &NodeName, why: &str) {
        let issue = format!("The check could not run on node \"{node}\": {why}.");
        self.error(
            check,
            issue,
            "Make the node answer the check, then validate again.",
        );
    }

    pub(super) fn error(&mut self, check: &str, issue: String, action: &str) {
        self.add(check, Severity::Error, issue, action);
    }

    pub(super) fn warning(&mut self, check: &str, issue: String, action: &str) {
        self.add(check, Severity::Warning, issue, action);
    }

    fn add(&mut self, check: &str, severity: Severity, issue: String, action: &str) {
        let same = |f: &&mut Finding| f.check == check && f.severity == severity;
        match self.findings.iter_mut().find(same) {
            Some(finding) => append(finding, &issue, action),
            None => self.findings.push(Finding {
                check: check.to_owned(),
                severity,
                issue,
                action: action.to_owned(),
                about: BTreeSet::new(),
                acknowledged: None,
            }),
        }
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        self.findings
    }
}

/// Adds another node's trouble; both members of a pair often say the same.
fn append(finding: &mut Finding, issue: &str, action: &str) {
    for (text, more) in [(&mut finding.issue, issue), (&mut finding.action, action)] {
        if !text.contains(more) {
            text.push(' ');
            text.push_str(more);
        }
    }
}
