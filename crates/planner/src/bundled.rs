//! The checks that a package brings: who still has to run them, and what they found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::{
    Awaiting, BundledFinding, BundledRun, BundledState, CatalogueEntry, CheckOrder, Digest,
    Finding, NodeName, Severity, Version,
};

use crate::checks::{NAMED, about, weight};
use crate::input::{Decision, Input};
use crate::next::awaiting;
use crate::words;

/// What findings are called that are about all checks of a package.
const NAME: &str = "Package checks";
/// More findings than these nobody reads: the rest is counted.
const MAX_FINDINGS: usize = 48;
/// Bytes of JSON that the findings of an event may have, everybody's together: less than the half of what the record
/// takes in one (128 KiB; daemons before 0.3 took 64), and an update whose findings it never took would stand still for good.
const EVENT_BUDGET: usize = 56 << 10;
/// Taking the checks out of the package, beside running them: a big one is read to where they lie.
const UNPACK: Duration = Duration::from_secs(120);

/// Where the checks of the package stand.
pub(crate) enum Bundled {
    /// Some nodes have not said yet.
    Awaited(Box<Decision>),
    /// All have, or had their time to.
    Over(Vec<Finding>),
}

/// Judges what the nodes say of the checks that the package of `target` brings.
pub(crate) fn judge(input: &Input<'_>, target: &Version) -> Bundled {
    let Some(entry) = input.catalogue.by_version(target) else {
        // That is a finding of its own.
        return Bundled::Over(Vec::new());
    };
    if entry.package.summary.checks.is_empty() {
        return Bundled::Over(Vec::new());
    }
    let patience = patience(input, entry);
    let mut found = Found::default();
    let mut decision = Decision::default();
    for node in input.topology.names() {
        match stand(input, entry, node) {
            Stand::Ended(findings) => found.take(node, findings),
            Stand::Impossible(why) => found.could_not(target, node, &why),
            Stand::Due(_) | Stand::Running(..) if input.idle > patience => {
                let why = format!("no result within {} s", patience.as_secs());
                found.could_not(target, node, &why);
            }
            Stand::Due(order) => {
                let seen = "its evenkeeld is being asked".to_owned();
                decision.awaiting.push(wait(input, node, target, seen));
                decision.run_checks.push((node.clone(), order));
            }
            Stand::Running(text) => decision.awaiting.push(wait(input, node, target, text)),
        }
    }
    for wait in &mut decision.awaiting {
        wait.remaining = Some(patience.saturating_sub(input.idle));
    }
    match decision.awaiting.is_empty() {
        true => Bundled::Over(found.findings(entry.package.digest)),
        false => Bundled::Awaited(Box::new(decision)),
    }
}

/// All their times, one after the other, on a node that has had its time to answer.
fn patience(input: &Input<'_>, entry: &CatalogueEntry) -> Duration {
    let checks = &entry.package.summary.checks;
    let work: Duration = checks.iter().map(|check| check.within()).sum();
    input.tunables.answer() + UNPACK + work
}

/// Where one node stands.
enum Stand {
    Ended(Vec<BundledFinding>),
    /// Under way: what it is doing.
    Running(String),
    /// Not begun.
    Due(CheckOrder),
    Impossible(String),
}

fn stand(input: &Input<'_>, entry: &CatalogueEntry, node: &NodeName) -> Stand {
    let Some(seen) = input.seen(node) else {
        return Stand::Impossible(input.why_silent(node));
    };
    let from = match seen.version.as_result() {
        Ok(from) => from.clone(),
        Err(why) => return Stand::Impossible(format!("its version is not known: {why}")),
    };
    let order = CheckOrder {
        operation: input.operation.id,
        round: input.operation.validations,
        package: entry.package.digest,
        from,
        target: entry.package.summary.version.clone(),
    };
    let same = |run: &&BundledRun| run.order == order;
    match seen.bundled_checks.as_ref().filter(same) {
        None => Stand::Due(order),
        Some(run) => match &run.state {
            BundledState::Running { text, .. } => Stand::Running(text.clone()),
            BundledState::Ended { findings, .. } => Stand::Ended(findings.clone()),
        },
    }
}

fn wait(input: &Input<'_>, node: &NodeName, target: &Version, seen: String) -> Awaiting {
    let what = format!("the checks that {target} brings, on node \"{node}\"");
    let unblock = "The checks ending; after that time their silence is a finding.";
    let mut wait = awaiting(input, what, unblock);
    wait.node = Some(node.clone());
    wait.seen = Some(seen);
    wait
}

/// Findings that say the same of several nodes are one.
#[derive(Default)]
struct Found {
    by_text: BTreeMap<Said, Vec<NodeName>>,
}

impl Found {
    fn take(&mut self, node: &NodeName, findings: Vec<BundledFinding>) {
        for finding in findings {
            self.add(node, finding);
        }
    }

    fn add(&mut self, node: &NodeName, finding: BundledFinding) {
        let BundledFinding {
            check,
            severity,
            issue,
            action,
        } = finding;
        let nodes = self.by_text.entry((check, severity, issue, action));
        let nodes = nodes.or_default();
        if !nodes.contains(node) {
            nodes.push(node.clone());
        }
    }

    fn could_not(&mut self, target: &Version, node: &NodeName, why: &str) {
        let finding = BundledFinding {
            check: NAME.to_owned(),
            severity: Severity::Error,
            issue: format!("The checks that {target} brings could not run: {why}."),
            action: "See to the node and its evenkeeld, then validate again.".to_owned(),
        };
        self.add(node, finding);
    }

    /// Errors first: what is left out is no worse than what is said.
    fn findings(self, package: Digest) -> Vec<Finding> {
        let of_package = |(said, nodes)| finding(package, said, nodes);
        let mut all: Vec<Finding> = self.by_text.into_iter().map(of_package).collect();
        all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        all
    }
}

/// The findings of the checks that the package brings, as many as fit into an event beside `others`.
pub(crate) fn beside(others: &[Finding], mut own: Vec<Finding>) -> Vec<Finding> {
    let mut bytes: usize = others.iter().map(weight).sum();
    let fits = |finding: &&Finding| {
        bytes += weight(finding);
        bytes <= EVENT_BUDGET
    };
    let fitting = own.iter().take(MAX_FINDINGS).take_while(fits).count();
    let left = own.split_off(fitting);
    own.extend(summed_up(&left));
    own
}

type Said = (String, Severity, String, String);

/// What a check of this package said, and where. It is about those very words: another package's check of the
/// same name, or other words of this one, are none that anybody acknowledged.
fn finding(
    package: Digest,
    (check, severity, issue, action): Said,
    nodes: Vec<NodeName>,
) -> Finding {
    let subjects = nodes.iter().map(|node| format!("{node} {package} {issue}"));
    let subjects = about(&subjects.collect(), NAMED);
    let named = words::quoted(&nodes, NAMED);
    Finding {
        check,
        severity,
        issue: format!("On {named}: {issue}"),
        action,
        about: subjects,
        acknowledged: None,
    }
}

fn summed_up(left: &[Finding]) -> Option<Finding> {
    let severity = left.iter().map(|finding| finding.severity).max()?;
    let nodes: BTreeSet<String> = left.iter().flat_map(|f| f.about.clone()).collect();
    Some(Finding {
        check: NAME.to_owned(),
        severity,
        issue: format!("The checks found {} more problems.", left.len()),
        action: "Mend those that are shown, then validate again.".to_owned(),
        about: about(&nodes, NAMED),
        acknowledged: None,
    })
}
