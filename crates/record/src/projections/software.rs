//! The picture of `GET /cluster/software`.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_model::{
    Finding, NodeId, NodeName, Operation, OperationEnd, OperationKind, OperationState, PauseCause,
    Severity, Steering, Version,
};

use super::At;
use super::durations::worked;
use super::phases::{CHECKS_ESTIMATE_S, PhaseRow, phases, total_estimate};
use super::sites::{Shown, SitesRow, sites};
use super::tasks::{TaskRow, tasks};
use crate::view::View;

/// State of an update or validation, of a phase, or of a task, in the API's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateState {
    /// Under way.
    InProgress,
    /// Not begun.
    Waiting,
    /// Standing still as a person asked.
    PausedByUser,
    /// Standing still because of trouble.
    PausedOnError,
    /// Done.
    Completed,
    /// Ended by a person.
    Canceled,
    /// Refused, or its checks found errors.
    Failed,
    /// On the way to the next pause point.
    PausePending,
    /// Bringing high availability back before it ends.
    CancelPending,
}

/// What is installed, and the update or validation under way or last done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Software {
    /// The version the cluster counts as. During an update still the old one.
    pub version: Option<Version>,
    /// The version that an update or validation under way is about.
    pub pending_version: Option<Version>,
    /// Its state; none before the first.
    pub state: Option<UpdateState>,
    /// What a person asked of it last.
    pub action: Option<Steering>,
    /// Since it was asked for, until it ended.
    pub elapsed: Option<Duration>,
    /// How long it takes, once that is planned.
    pub estimated: Option<Duration>,
    /// Every node.
    pub nodes: Vec<SoftwareNode>,
    /// What the checks before found. Empty when they found nothing, none when they have not run.
    pub validation_results: Option<Vec<Finding>>,
    /// What the checks afterwards found. None when they have not run.
    pub post_update_checks: Option<Vec<Finding>>,
    /// Tasks that were begun.
    pub status_details: Vec<TaskRow>,
    /// Phases per node.
    pub update_details: Vec<PhaseRow>,
    /// Its sites, where the cluster spans some.
    pub sites: Option<SitesRow>,
    /// The versions of the packages that every node holds, or pulls as soon as it is up.
    pub images: Vec<Version>,
}

/// A node's software.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftwareNode {
    /// Its name.
    pub name: NodeName,
    /// Its id.
    pub id: NodeId,
    /// What its booted slot's manifest says, once it said so.
    pub version: Option<Version>,
}

/// The whole picture.
pub fn software(view: &View, at: At) -> Software {
    let installed = Software {
        version: cluster_version(view),
        nodes: software_nodes(view),
        images: images(view),
        ..Software::default()
    };
    let Some(operation) = newest(view) else {
        return Software {
            sites: sites(view, None),
            ..installed
        };
    };
    let is_open = view.control().open.contains_key(&operation.id);
    let state = update_state(view, operation);
    let (begin, end) = (operation.requested_at, operation.ended_at);
    let elapsed = Some(worked(operation, begin, end, at));
    let estimated = estimated(operation, at);
    let shown = Shown {
        operation,
        state,
        estimated,
        elapsed,
    };
    Software {
        pending_version: operation.version().filter(|_| is_open).cloned(),
        state: Some(state),
        action: operation.steered,
        elapsed,
        estimated,
        sites: sites(view, Some(shown)),
        validation_results: fresh_findings(operation, at).map(unique),
        post_update_checks: operation.post_checks.as_deref().map(unique),
        status_details: tasks(view, operation),
        update_details: phases(view, operation, at),
        ..installed
    }
}

/// The update or validation that the picture is about: the newest. One that was refused before anything was
/// done hides what was there before, as it does in the original.
fn newest(view: &View) -> Option<&Operation> {
    let id = view
        .control()
        .newest_of(&[OperationKind::Update, OperationKind::Validation])?;
    view.operation(id)
}

fn software_nodes(view: &View) -> Vec<SoftwareNode> {
    let control = view.control();
    let configured = control.topology.iter().flat_map(|topology| &topology.nodes);
    let version = |name| {
        control
            .booted
            .get(name)
            .and_then(|booted| booted.version.clone())
    };
    configured
        .map(|node| SoftwareNode {
            name: node.name.clone(),
            id: node.id,
            version: version(&node.name),
        })
        .collect()
}

fn images(view: &View) -> Vec<Version> {
    let packages = view.catalogue().packages.values();
    let mut versions: Vec<_> = packages
        .map(|it| it.package.summary.version.clone())
        .collect();
    versions.sort();
    versions
}

/// The validation counts 10 minutes; the checks afterwards are not in the original's total.
fn estimated(operation: &Operation, at: At) -> Option<Duration> {
    let checks = at.expected(CHECKS_ESTIMATE_S);
    match operation.kind() {
        OperationKind::Update => total_estimate(operation, at),
        OperationKind::Validation => {
            Some(checks.max(at.elapsed(operation.requested_at, operation.ended_at)))
        }
        OperationKind::PackageGet
        | OperationKind::PackageDelete
        | OperationKind::PackageSync
        | OperationKind::Firmware
        | OperationKind::Estimate => None,
    }
}

/// How long the results of a validation say anything about the cluster as it is.
const RESULTS_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the checks found; of a validation that nobody updated after, while it is not too old.
fn fresh_findings(operation: &Operation, at: At) -> Option<&[Finding]> {
    let age = operation.validated_at.map(|then| at.elapsed(then, None));
    let is_old = operation.kind() == OperationKind::Validation
        && operation.is_ended()
        && age.is_some_and(|age| age > RESULTS_AGE);
    operation.findings.as_deref().filter(|_| !is_old)
}

/// Clients know a finding by check and status, so each such pair is there once: further ones of the same
/// check are told in its text.
fn unique(findings: &[Finding]) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = |other: &&mut Finding| {
            other.check == finding.check && other.severity == finding.severity
        };
        match merged.iter_mut().find(same) {
            None => merged.push(finding.clone()),
            Some(first) => {
                add_line(&mut first.issue, &finding.issue);
                add_line(&mut first.action, &finding.action);
            }
        }
    }
    merged
}

fn add_line(text: &mut String, line: &str) {
    if !text.lines().any(|known| known == line) {
        text.push('\n');
        text.push_str(line);
    }
}

/// Where an operation stands, in the API's words. One whose events cannot be read to the end stands still.
pub fn update_state(view: &View, operation: &Operation) -> UpdateState {
    let is_over = operation.is_ended();
    if !is_over && view.quarantine_of(operation.id).is_some() {
        return UpdateState::PausedOnError;
    }
    match &operation.state {
        OperationState::Requested | OperationState::Validated if operation.pause_asked => {
            UpdateState::PausePending
        }
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Running
        | OperationState::Replanning => UpdateState::InProgress,
        OperationState::PausePending => UpdateState::PausePending,
        OperationState::Paused {
            cause: PauseCause::User { .. },
        } => UpdateState::PausedByUser,
        OperationState::Paused {
            cause: PauseCause::Error { .. },
        } => UpdateState::PausedOnError,
        OperationState::CancelPending => UpdateState::CancelPending,
        OperationState::Ended { end } => ended_state(operation, end),
    }
}

/// A validation that ran and found errors has `failed`, though its job succeeded.
fn ended_state(operation: &Operation, end: &OperationEnd) -> UpdateState {
    match end {
        OperationEnd::Completed if operation.kind() == OperationKind::Validation => {
            match found_errors(operation) {
                true => UpdateState::Failed,
                false => UpdateState::Completed,
            }
        }
        OperationEnd::Completed => UpdateState::Completed,
        OperationEnd::Canceled => UpdateState::Canceled,
        OperationEnd::Failed { .. } => UpdateState::Failed,
    }
}

pub(super) fn found_errors(operation: &Operation) -> bool {
    let findings = operation.findings.as_deref().unwrap_or_default();
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
}

/// The version that the cluster counts as: what all its nodes run. While they differ, what those run that
/// the newest update has not changed; and while an update is open, the version before it. None when that
/// leaves more than one: versions have no order, so there is no lowest.
pub fn cluster_version(view: &View) -> Option<Version> {
    let control = view.control();
    // One that was refused has changed nothing.
    let mut newest_first = view.operations().rev();
    let update = newest_first.find(|it| it.kind() == OperationKind::Update && it.plan.is_some());
    let plan = update.and_then(|update| update.plan.as_ref());
    let names = control
        .topology
        .iter()
        .flat_map(|topology| topology.names());
    if let (Some(update), Some(plan)) = (update, plan)
        && control.open.contains_key(&update.id)
    {
        let others = names.filter(|name| !plan.from.contains_key(*name));
        let of_others = others.filter_map(|name| control.booted.get(name)?.version.as_ref());
        let versions = plan.from.values().chain(of_others);
        return only(versions.collect(), Some(&plan.target));
    }
    let booted: Option<BTreeSet<&Version>> = names
        .map(|name| control.booted.get(name)?.version.as_ref())
        .collect();
    only(booted?, plan.map(|plan| &plan.target))
}

/// The only version, or the only one that is not the newer one.
fn only(mut versions: BTreeSet<&Version>, newer: Option<&Version>) -> Option<Version> {
    if versions.len() > 1
        && let Some(newer) = newer
    {
        versions.remove(newer);
    }
    match versions.len() {
        1 => versions.pop_first().cloned(),
        _none_or_several => None,
    }
}
