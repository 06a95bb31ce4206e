//! `evenkeel image plan`, and estimates.

use evenkeel_api::{EstimateRecord, Job, PlanEstimate, PlanMoment, PlanPreview, encode_component};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::{PlanArgs, UpdateOptions};
use crate::client::Client;
use crate::image::{SOFTWARE, decode, findings_table};
use crate::outcome::{Stop, print, print_json};
use crate::table::{Table, seconds};
use crate::watch::word;

/// The options as a query, each behind a `&`.
pub(crate) fn query(options: &UpdateOptions) -> String {
    let mut query = String::new();
    if let Some(minutes) = options.stabilize_minutes {
        query += &format!("&stabilize_minutes={minutes}");
    }
    if options.force_rolling {
        query += "&force_rolling=true";
    }
    if !options.nodes.is_empty() {
        let nodes = encode_component(&options.nodes.join(","));
        query += &format!("&nodes_to_update={nodes}");
    }
    if let Some(first) = &options.first_pair {
        query += &format!("&first_pair={}", encode_component(first));
    }
    query
}

/// Shows what an update would do. Red checks are shown and are no failure: nothing was asked to run.
pub(crate) fn plan(client: &Client, args: &PlanArgs, json: bool) -> Result<(), Stop> {
    let version = encode_component(&args.version);
    let mut path = format!("/evenkeel/v1/plan?version={version}");
    path += &query(&args.options);
    if args.skip_warnings {
        path += "&skip_warnings=true";
    }
    let body: Value = client.get(&path)?;
    if json {
        return print_json(&body);
    }
    let preview: PlanPreview = decode(&body)?;
    print(&shown(&preview))?;
    match preview.refused {
        Some(refused) => Err(Stop::Failed(format!(
            "{} (code {})",
            refused.message, refused.code
        ))),
        None => Ok(()),
    }
}

fn shown(preview: &PlanPreview) -> String {
    let mut text = String::new();
    if let Some(estimate) = &preview.estimate {
        text += &format!("Update to {}, {}", preview.version, totals(estimate));
        text += &moments_table(&estimate.moments).render("Nothing is to be done.");
    }
    text += &found(preview);
    text += &match &preview.blocked {
        Some(blocked) => format!(
            "\nIt would be refused now ({}): {}\n",
            blocked.code, blocked.message
        ),
        None if preview.estimate.is_some() => {
            "\nNo check would keep it from starting.\n".to_owned()
        }
        None => String::new(),
    };
    text
}

/// What the checks find, and who knows of it.
fn found(preview: &PlanPreview) -> String {
    let mut text = String::new();
    if preview.validation_results.is_empty() {
        return text;
    }
    text += "\nThe checks find now:\n";
    // A daemon of an older release does not tell one by one.
    if preview.findings.is_empty() {
        return text + &findings_table(&preview.validation_results).render("");
    }
    let mut table = Table::new(&["Check", "Status", "Blocks", "Issue", "Action"]);
    let mut known = Table::new(&["Acknowledged", "By", "At", "Reason"]);
    for found in &preview.findings {
        let finding = &found.finding;
        let blocks = match (&found.code, &found.acknowledged) {
            (Some(code), _) => code.clone(),
            (None, Some(_)) => "no, acknowledged".to_owned(),
            (None, None) => "no, skipped".to_owned(),
        };
        table.row([
            finding.update_check.clone(),
            word(&finding.status),
            blocks,
            finding.issue.message.clone(),
            finding.action.message.clone(),
        ]);
        if let Some(by) = &found.acknowledged {
            let (check, reason) = (finding.update_check.clone(), by.reason.clone());
            known.row([check, by.by.clone(), by.at.clone(), reason]);
        }
    }
    text += &table.render("");
    if !known.is_empty() {
        text += &format!("\n{}", known.render(""));
    }
    text
}

fn totals(estimate: &PlanEstimate) -> String {
    let show = |duration| seconds(Some(duration));
    let disruptive = match estimate.disruptive {
        true => "It is DISRUPTIVE: data is not served while the node reboots.\n",
        false => "",
    };
    format!(
        "{}: about {}\n\
         (pre-update checks {}, updates {}, {} when things are slow; then post-update checks {})\n{disruptive}\n",
        estimate.mode.replace('_', " "),
        show(estimate.estimated_duration),
        show(estimate.pre_checks_duration),
        show(estimate.updates_duration),
        show(estimate.updates_duration_p90),
        show(estimate.post_checks_duration),
    )
}

fn moments_table(moments: &[PlanMoment]) -> Table {
    let header = [
        "Begins after",
        "Takes",
        "Slow",
        "Nodes",
        "What",
        "On one controller",
    ];
    let mut table = Table::new(&header);
    for moment in moments {
        let alone: Vec<String> = moment
            .alone
            .iter()
            .map(|alone| format!("{} for {}", alone.serving, alone.away))
            .collect();
        table.row([
            seconds(Some(moment.start)),
            seconds(Some(moment.duration)),
            seconds(Some(moment.duration_p90)),
            moment.nodes.join(", "),
            moment.what.clone(),
            match alone.is_empty() {
                true => "-".to_owned(),
                false => alone.join(", "),
            },
        ]);
    }
    table
}

/// Asks for an estimate, which is recorded, and shows it.
pub(crate) fn estimate(
    client: &Client,
    version: &str,
    options: &UpdateOptions,
    skip_warnings: bool,
    json: bool,
) -> Result<(), Stop> {
    let mut path = format!("{SOFTWARE}?estimate_only=true&skip_warnings={skip_warnings}");
    path += &query(options);
    let job: Job = client.change(&Method::PATCH, &path, Some(&json!({ "version": version })))?;
    let body: Value = client.get(&format!("/evenkeel/v1/estimates/{}", job.uuid))?;
    if json {
        return print_json(&body);
    }
    let record: EstimateRecord = decode(&body)?;
    let mut text = format!("{}\n", job.message);
    if let Some(estimate) = record.estimate.filter(|it| !it.moments.is_empty()) {
        text += &format!("\n{}", moments_table(&estimate.moments).render(""));
    }
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_api::{
        Advice, Alone, CheckStatus, Issue, PlanAcknowledged, PlanFinding, PlanRefusal,
        ValidationResult,
    };

    #[test]
    fn a_plan_shows_who_stands_alone_and_what_blocks() {
        let moment = PlanMoment {
            start: 790,
            duration: 760,
            duration_p90: 900,
            what: "takeover and boot of the new version".to_owned(),
            nodes: vec!["n1".to_owned()],
            alone: vec![Alone {
                serving: "n2".to_owned(),
                away: "n1".to_owned(),
            }],
        };
        let message = |text: &str| text.to_owned();
        let finding = ValidationResult {
            update_check: "Running Jobs Status".to_owned(),
            status: CheckStatus::Warning,
            issue: Issue {
                message: message("a job runs"),
            },
            action: Advice {
                message: message("Wait."),
            },
        };
        let preview = PlanPreview {
            version: "9.2".to_owned(),
            estimate: Some(PlanEstimate {
                mode: "rolling".to_owned(),
                disruptive: false,
                estimated_duration: 5220,
                pre_checks_duration: 600,
                updates_duration: 4620,
                updates_duration_p90: 5000,
                post_checks_duration: 600,
                moments: vec![moment],
            }),
            refused: None,
            validation_results: vec![finding.clone()],
            findings: vec![
                PlanFinding {
                    finding: finding.clone(),
                    code: Some("10551395".to_owned()),
                    acknowledged: None,
                },
                PlanFinding {
                    finding,
                    code: None,
                    acknowledged: Some(PlanAcknowledged {
                        by: "ann".to_owned(),
                        at: "2026-01-01T00:00:00+00:00".to_owned(),
                        reason: "the backup ends at noon".to_owned(),
                    }),
                },
            ],
            blocked: Some(PlanRefusal {
                code: "10551396".to_owned(),
                message: "Validation failed: HA.".to_owned(),
            }),
        };
        let text = shown(&preview);
        for part in [
            "9.2, rolling: about 1h27m",
            "n2 for n1",
            "10551396",
            "13m10s",
            "warning  10551395          a job runs",
            "warning  no, acknowledged  a job runs",
            "Running Jobs Status  ann  2026-01-01T00:00:00+00:00  the backup ends at noon",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
