//! Whether an update is let in: checks, refusals, the first plan. And the validation, which is no more
//! than that.

use evenkeel_model::{
    Finding, Job, JobOutcome, NodeName, OperationEnd, OperationEvent, Refusal, Severity,
    UpdateRequest, Version, code,
};

use crate::build;
use crate::bundled::{self, Bundled};
use crate::checks::{CheckInput, acknowledge, check, command};
use crate::input::{Decision, Input};
use crate::next::awaiting;
use crate::parts;

/// The next step of a validation.
pub(crate) fn validation(input: &Input<'_>, version: &Version) -> Decision {
    let Some(findings) = &input.operation.findings else {
        return validate(input, version);
    };
    let at = input.wall;
    let end = match refusal(findings, true) {
        None => OperationEnd::Completed,
        Some(refusal) => OperationEnd::Failed {
            code: refusal.code,
            message: refusal.message,
        },
    };
    let message = "success".to_owned();
    let mut events = close_jobs(input, &JobOutcome::Success { message });
    events.push(OperationEvent::ended(at, end));
    Decision::events(events)
}

/// Runs the checks, once every node has answered or has had its time to.
pub(super) fn validate(input: &Input<'_>, version: &Version) -> Decision {
    if let Some(decision) = await_answers(input) {
        return decision;
    }
    let mut bundled = match bundled::judge(input, version) {
        Bundled::Awaited(decision) => return *decision,
        Bundled::Over(findings) => findings,
    };
    acknowledge(&mut bundled, &input.control.acknowledged);
    let mut findings = look(input, version);
    let bundled = bundled::beside(&findings, bundled);
    findings.extend(bundled);
    let at = input.wall;
    Decision::events(vec![OperationEvent::Validated { at, findings }])
}

/// What the checks of this release find now.
pub(crate) fn look(input: &Input<'_>, version: &Version) -> Vec<Finding> {
    let mut findings = check(&CheckInput {
        trusted_keys: &input.control.trusted_keys,
        topology: input.topology,
        catalogue: input.catalogue,
        observations: input.observations,
        target: version,
        gates: &input.control.gates,
        survives_without: input.survives_without,
    });
    acknowledge(&mut findings, &input.control.acknowledged);
    findings
}

/// A node that is silent, or cut off, right now may only be starting its daemon again.
pub(crate) fn await_answers(input: &Input<'_>) -> Option<Decision> {
    let mut names = input.topology.names();
    let (node, why) = names.find_map(|name| Some((name, out_of_touch(input, name)?)))?;
    let remaining = input.tunables.answer().checked_sub(input.idle)?;
    let what = format!("node \"{node}\" to be in touch with the cluster");
    let unblock = "Its evenkeeld answering; after that time its silence is a finding.";
    let mut wait = awaiting(input, what, unblock);
    wait.node = Some(node.clone());
    wait.seen = Some(why);
    wait.remaining = Some(remaining);
    Some(Decision {
        awaiting: vec![wait],
        ..Decision::default()
    })
}

/// Why the node is not in touch with the others and the record; none when it is.
fn out_of_touch(input: &Input<'_>, node: &NodeName) -> Option<String> {
    let Some(seen) = input.seen(node) else {
        return Some(input.why_silent(node));
    };
    let quorum = seen.quorum.known()?;
    if !quorum.record_reachable {
        return Some("it does not reach the record".to_owned());
    }
    let silent = quorum.silent.first()?;
    Some(format!("node \"{silent}\" does not answer it"))
}

/// What the findings forbid: errors always, warnings unless skipped or acknowledged.
pub(crate) fn refusal(findings: &[Finding], skip_warnings: bool) -> Option<Refusal> {
    let of = |severity| -> Vec<&str> {
        let same = findings
            .iter()
            .filter(|finding| finding.severity == severity && finding.acknowledged.is_none());
        let mut names: Vec<&str> = same.map(|finding| finding.check.as_str()).collect();
        // A package's check may warn of several things.
        names.dedup();
        names
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    if !errors.is_empty() {
        let text = format!(
            "Validation failed: {}. See validation_results.",
            errors.join("; ")
        );
        return Some(Refusal::new(code::VALIDATION_FAILED, text));
    }
    if !warnings.is_empty() && !skip_warnings {
        let commands: Vec<String> = warnings.iter().map(|check| command(check)).collect();
        let text = format!(
            "Validation gave warnings: {}. See validation_results, then update with skip_warnings, or \
             acknowledge what may be so: {}",
            warnings.join("; "),
            commands.join("; ")
        );
        return Some(Refusal::new(code::VALIDATION_WARNINGS, text));
    }
    None
}

/// Plans the update, or refuses it before any effect.
pub(super) fn admit(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    let findings = input.operation.findings.as_deref().unwrap_or_default();
    let planned = match refusal(findings, request.skip_warnings) {
        Some(refusal) => Err(refusal),
        None => match await_answers(input) {
            Some(decision) => return decision,
            None => build::plan(input, request),
        },
    };
    let at = input.wall;
    let planned = planned.and_then(|plan| {
        let events = parts::planned(at, plan);
        parts::not_readable(input, &events).map_or(Ok(events), Err)
    });
    match planned {
        Ok(mut events) => {
            events.extend(close_jobs(
                input,
                &JobOutcome::Success {
                    message: "success".to_owned(),
                },
            ));
            Decision::events(events)
        }
        Err(Refusal { code, message, .. }) => {
            let outcome = JobOutcome::Failure {
                code,
                message: message.clone(),
            };
            let mut events = close_jobs(input, &outcome);
            events.push(OperationEvent::ended(
                at,
                OperationEnd::Failed { code, message },
            ));
            Decision::events(events)
        }
    }
}

pub(crate) fn close_jobs(input: &Input<'_>, outcome: &JobOutcome) -> Vec<OperationEvent> {
    let at = input.wall;
    let closed = |job: &Job| OperationEvent::JobClosed {
        at,
        job: job.id,
        outcome: outcome.clone(),
    };
    input.operation.open_jobs().map(closed).collect()
}
