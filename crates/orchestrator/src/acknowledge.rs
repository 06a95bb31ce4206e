//! Admits what people say of warnings: that they know, and that they take it back.

use std::collections::BTreeSet;

use evenkeel_model::{ControlEvent, Finding, Refusal, Severity, UserName, code};
use evenkeel_record::View;

use crate::front_door::{Attempt, FrontDoor};

/// Longest reason: it is shown with the warning, in every validation.
const REASON_MAX: usize = 300;

impl FrontDoor {
    /// From the next validation on, the check's warning does not block while it is about nothing more than now.
    ///
    /// # Errors
    /// When the newest checks gave no warning of that name: what can be acknowledged is in the text.
    pub async fn acknowledge(
        &self,
        check: &str,
        reason: &str,
        by: UserName,
    ) -> Result<(), Refusal> {
        let reason = well_formed(reason)?;
        self.admit(|view, at| {
            not_while_mixed(view)?;
            let about = warned_about(view, check)?;
            let known = view.control().acknowledged.get(check);
            if known.is_some_and(|k| k.about == about && k.reason == reason && k.by == by) {
                return Ok(Attempt::Nothing(()));
            }
            Ok(Attempt::control(ControlEvent::WarningAcknowledged {
                at,
                by: by.clone(),
                check: check.to_owned(),
                reason: reason.clone(),
                about,
            }))
        })
        .await
    }

    /// The check's warning blocks again, from the next validation on.
    pub async fn withdraw_acknowledgement(&self, check: &str, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            not_while_mixed(view)?;
            if !view.control().acknowledged.contains_key(check) {
                let text = format!("No warning of check \"{check}\" is acknowledged.");
                return Err(Refusal::new(code::NO_ENTRY, text).about("check"));
            }
            Ok(Attempt::control(ControlEvent::AcknowledgementWithdrawn {
                at,
                by: by.clone(),
                check: check.to_owned(),
            }))
        })
        .await
    }
}

fn well_formed(reason: &str) -> Result<String, Refusal> {
    let reason = reason.trim();
    let wrong = |text: String| Err(Refusal::new(code::INVALID_VALUE, text).about("reason"));
    if reason.is_empty() {
        return wrong("Say why the warning may be so.".to_owned());
    }
    if reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        return wrong(format!(
            "The reason must be one line of at most {REASON_MAX} bytes."
        ));
    }
    Ok(reason.to_owned())
}

/// A daemon of an older release could not read it.
fn not_while_mixed(view: &View) -> Result<(), Refusal> {
    if !view.control().mixed_daemons() {
        return Ok(());
    }
    let text = "The nodes run different releases of evenkeeld: warnings can be acknowledged once all run the \
                same. Until then, update with skip_warnings.";
    Err(Refusal::new(code::NOT_SUPPORTED, text))
}

/// What the check's warning among the newest findings is about.
fn warned_about(view: &View, check: &str) -> Result<BTreeSet<String>, Refusal> {
    let findings = newest_findings(view);
    let of_check = || findings.iter().filter(|finding| finding.check == check);
    let mut warnings = of_check()
        .filter(|finding| finding.severity == Severity::Warning)
        .peekable();
    if warnings.peek().is_some() {
        return Ok(warnings.flat_map(|finding| finding.about.clone()).collect());
    }
    let all: BTreeSet<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Warning)
        .map(|finding| format!("\"{}\"", finding.check))
        .collect();
    let can = match all.is_empty() {
        true => "The newest validation gave no warnings.".to_owned(),
        false => {
            let all: Vec<String> = all.into_iter().collect();
            format!("These can be acknowledged: {}.", all.join(", "))
        }
    };
    if of_check().next().is_some() {
        let text = format!(
            "Check \"{check}\" found an error, and errors cannot be acknowledged: mend it. {can}"
        );
        return Err(Refusal::new(code::INVALID_VALUE, text).about("check"));
    }
    let text = format!(
        "The newest validation gave no warning of check \"{check}\". {can} Validate first if that is old."
    );
    Err(Refusal::new(code::NO_ENTRY, text).about("check"))
}

/// Of the newest validation or update whose checks have run.
fn newest_findings(view: &View) -> &[Finding] {
    let mut newest = view.operations().rev();
    newest
        .find_map(|operation| operation.findings.as_deref())
        .unwrap_or_default()
}
