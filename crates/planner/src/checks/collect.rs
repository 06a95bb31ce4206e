//! Gathers what the checks say: one finding a check and severity, every node's trouble in it.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    ClusterObservation, Finding, NodeName, NodeObservation, Observed, Sabotage, Severity, Topology,
};

use super::render::render;

/// One check's troubles of one severity.
pub(super) struct Troubles {
    pub(super) check: String,
    pub(super) severity: Severity,
    /// What is wrong and what to do, in the order of coming; nothing twice.
    pub(super) sentences: Vec<Sentence>,
    /// Nodes on which the check could not run, by the reason.
    pub(super) blind: BTreeMap<String, BTreeSet<NodeName>>,
    pub(super) about: BTreeSet<String>,
}

pub(super) struct Sentence {
    pub(super) issue: String,
    pub(super) action: String,
}

pub(super) struct Collector<'a> {
    topology: &'a Topology,
    observations: &'a ClusterObservation,
    found: Vec<Troubles>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(topology: &'a Topology, observations: &'a ClusterObservation) -> Self {
        Self {
            topology,
            observations,
            found: Vec::new(),
        }
    }

    pub(super) fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// What a node sees, if it answers.
    pub(super) fn seen(&self, node: &NodeName) -> Option<&'a NodeObservation> {
        self.observations.get(node)?.known()
    }

    /// Runs `each` on one kind of observation of every node. Where that is unknown, the check has not
    /// run, and says so as an error.
    pub(super) fn each<T: 'a>(
        &mut self,
        check: &str,
        pick: impl Fn(&'a NodeObservation) -> &'a Observed<T>,
        each: impl FnMut(&mut Self, &'a NodeName, &'a T),
    ) {
        self.each_or(check, Severity::Error, pick, each);
    }

    /// The same of what only ever warns: that a node which answers does not know it is no more than a warning.
    pub(super) fn each_or<T: 'a>(
        &mut self,
        check: &str,
        unknown: Severity,
        pick: impl Fn(&'a NodeObservation) -> &'a Observed<T>,
        mut each: impl FnMut(&mut Self, &'a NodeName, &'a T),
    ) {
        for node in self.topology.names() {
            let seen = match self.observations.get(node).map(Observed::as_result) {
                Some(Ok(seen)) => pick(seen),
                Some(Err(_)) if Sabotage::UnknownHealthy.is_on() => continue,
                Some(Err(why)) => {
                    self.blind(check, node, why, Severity::Error);
                    continue;
                }
                None => {
                    self.blind(check, node, "it was not asked", Severity::Error);
                    continue;
                }
            };
            match seen.as_result() {
                Ok(value) => each(self, node, value),
                Err(_) if Sabotage::UnknownHealthy.is_on() => {}
                // An error would forbid for good to finish an update that left older daemons behind.
                Err(why) if seen.is_unsaid() => self.blind(check, node, why, Severity::Warning),
                Err(why) => self.blind(check, node, why, unknown),
            }
        }
    }

    /// The check could not run on a node.
    fn blind(&mut self, check: &str, node: &NodeName, why: &str, severity: Severity) {
        let found = self.of(check, severity);
        let nodes = found.blind.entry(why.to_owned()).or_default();
        nodes.insert(node.clone());
        found.about.insert(format!("{node}: not known"));
    }

    /// `about` names the trouble among the check's, the same as long as it is the same trouble.
    pub(super) fn error(&mut self, check: &str, about: impl ToString, issue: String, action: &str) {
        self.add(check, Severity::Error, about.to_string(), issue, action);
    }

    /// The same, for what an operator may let pass.
    pub(super) fn warning(
        &mut self,
        check: &str,
        about: impl ToString,
        issue: String,
        action: &str,
    ) {
        self.add(check, Severity::Warning, about.to_string(), issue, action);
    }

    fn add(&mut self, check: &str, severity: Severity, about: String, issue: String, action: &str) {
        let found = self.of(check, severity);
        found.about.insert(about);
        // Both members of a pair often say the same.
        if !found.sentences.iter().any(|said| said.issue == issue) {
            let action = action.to_owned();
            found.sentences.push(Sentence { issue, action });
        }
    }

    fn of(&mut self, check: &str, severity: Severity) -> &mut Troubles {
        let same = |f: &Troubles| f.check == check && f.severity == severity;
        let index = match self.found.iter().position(same) {
            Some(index) => index,
            None => {
                self.found.push(Troubles {
                    check: check.to_owned(),
                    severity,
                    sentences: Vec::new(),
                    blind: BTreeMap::new(),
                    about: BTreeSet::new(),
                });
                self.found.len() - 1
            }
        };
        &mut self.found[index]
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        render(&self.found)
    }
}
