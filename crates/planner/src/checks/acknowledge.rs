//! Warnings that a person knows of: said so, and no longer in the way, until there is more to know.

use std::collections::BTreeMap;

use evenkeel_model::{Acknowledged, Acknowledgement, Finding, Severity};

/// Marks the warnings that were acknowledged as they are. They stay warnings, for all to see. One that is about
/// more than what was acknowledged says that it has changed. Errors are nobody's to acknowledge.
pub(crate) fn acknowledge(findings: &mut [Finding], known: &BTreeMap<String, Acknowledged>) {
    for finding in findings {
        match (finding.severity, known.get(&finding.check)) {
            (Severity::Error, _) | (Severity::Warning, None) => {}
            (Severity::Warning, Some(known)) => mark(finding, known),
        }
    }
}

fn mark(finding: &mut Finding, known: &Acknowledged) {
    let Acknowledged { by, at, reason, .. } = known;
    if finding.about.is_subset(&known.about) {
        let reason = reason.trim_end_matches('.');
        let text = format!(" Acknowledged by {by} at {at:.0}: {reason}.");
        finding.action.push_str(&text);
        finding.acknowledged = Some(Acknowledgement {
            by: by.clone(),
            at: *at,
            reason: known.reason.clone(),
        });
    } else {
        let new: Vec<&str> = finding
            .about
            .difference(&known.about)
            .take(3)
            .map(String::as_str)
            .collect();
        let text = format!(
            " It has changed since it was acknowledged by {by} at {at:.0}: new is {}.",
            new.join(", ")
        );
        finding.issue.push_str(&text);
    }
}

/// What an operator types to let a warning of the check pass.
pub(crate) fn command(check: &str) -> String {
    format!("evenkeel image acknowledge \"{check}\" --reason TEXT")
}
