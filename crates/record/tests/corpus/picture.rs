//! What people are shown of a record: none of it may depend on when, or on words that may be bettered.

use std::fmt::Debug;

use evenkeel_model::{Control, Operation, OperationState, WallTime};
use evenkeel_record::View;
use evenkeel_record::projections::{self, At};
use jiff::Timestamp;

/// A moment after everything that was recorded.
pub(crate) fn at() -> At {
    At::new(WallTime::new(
        Timestamp::from_second(1_900_000_000).unwrap(),
    ))
}

/// The picture, line by line.
pub(crate) fn picture(view: &View) -> String {
    let mut lines = software(view);
    lines.extend(control(view.control()));
    for operation in view.operations() {
        lines.extend(shown(view, operation));
    }
    for row in projections::history(view) {
        let (node, from, to, state) = (row.node, row.from, row.to, row.state);
        lines.push(format!("history: {node} {from} to {to} {state:?}"));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn software(view: &View) -> Vec<String> {
    let software = projections::software(view, at());
    let version = software.version.as_ref().map_or("none", |v| v.as_str());
    let mut lines = vec![format!("version {version}, {:?}", software.state)];
    for node in &software.nodes {
        lines.push(format!("node {}: {:?}", node.name, node.version));
    }
    for package in projections::packages(view) {
        lines.push(format!("package {}", package.version));
    }
    lines
}

/// Who belongs to the cluster, who may use it, and what is set.
fn control(control: &Control) -> Vec<String> {
    let (generation, open) = (control.generation, control.open.len());
    let coordinator = control.coordinator.as_ref().map(|c| c.node.as_str());
    let coordinator = coordinator.unwrap_or("nobody");
    let mut lines = vec![format!(
        "{coordinator} coordinates, generation {generation}; {open} open"
    )];
    for (node, booted) in &control.booted {
        let serial = booted.machine.serial_number.as_deref().unwrap_or("unsaid");
        lines.push(format!(
            "booted {node}: {:?}, serial {serial}",
            booted.version
        ));
    }
    for (name, account) in &control.users {
        let (role, certificate) = (account.role, account.certificate);
        let password = account.password_hash.is_some();
        lines.push(format!(
            "user {name}: {role}, password {password}, certificate {certificate}"
        ));
    }
    for key in &control.trusted_keys {
        let (id, revoked) = (&key.key_id, key.revoked.is_some());
        lines.push(format!("key {id} {:?}, revoked {revoked}", key.name));
    }
    lines.extend(
        control
            .retention
            .map(|keep| format!("packages kept: {keep}")),
    );
    for condition in &control.gates.conditions {
        let (hold, longest) = (control.gates.hold_minutes, control.gates.longest_minutes);
        lines.push(format!("gate {condition}, for {hold} of {longest} minutes"));
    }
    for (check, known) in &control.acknowledged {
        lines.push(format!("acknowledged {check} by {}", known.by));
    }
    lines
}

fn shown(view: &View, operation: &Operation) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {}",
        operation.kind().as_str(),
        state(&operation.state)
    )];
    let jobs = projections::jobs(view).into_iter();
    for job in jobs.filter(|job| job.operation == operation.id) {
        lines.push(format!("  job {:?} {}", job.state, job.code));
    }
    for finding in operation.findings.iter().flatten() {
        let known = finding.acknowledged.is_some();
        let (severity, check) = (&finding.severity, &finding.check);
        lines.push(format!("  {severity:?} {check}, acknowledged {known}"));
    }
    if let Some(plan) = &operation.plan {
        let (revision, mode, lanes) = (plan.revision, plan.mode, plan.lanes().count());
        lines.push(format!("  plan {revision}: {mode:?}, {lanes} lanes"));
    }
    if let Some(estimate) = &operation.estimate {
        let (mode, seconds) = (estimate.mode, estimate.updates_s);
        lines.push(format!("  estimate: {mode:?}, {seconds} s"));
    }
    for task in operation.tasks.values() {
        let (name, node) = (task.task.action.name(), &task.task.node);
        let state = word(&task.state);
        let attempt = task.attempt;
        lines.push(format!("  {name} of {node}: {state}, attempt {attempt}"));
    }
    lines
}

fn state(state: &OperationState) -> String {
    match state {
        OperationState::Ended { end } => format!("ended {}", word(end)),
        open => format!("{open:?}"),
    }
}

/// The name of a variant alone.
fn word(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(']).next().unwrap().to_owned()
}
