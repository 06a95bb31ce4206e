//! Updates that are only looked at: `GET /evenkeel/v1/plan` and `/evenkeel/v1/estimates`.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{
    Alone, ApiError, Code, EstimateRecord, Estimates, PlanAcknowledged, PlanEstimate, PlanFinding,
    PlanMoment, PlanPreview, PlanRefusal,
};
use evenkeel_model::{Finding, Moment, PlanMode, Refusal, Severity, UpdateRequest, code};
use evenkeel_orchestrator::Preview;
use evenkeel_record::projections::EstimateRow;

use crate::app::Shared;
use crate::project;
use crate::request::Asked;
use crate::respond::{Failure, json};
use crate::software::Options;

/// `GET /evenkeel/v1/plan?version=…`: asks every node what it sees, for as long as one may take to answer.
pub(crate) async fn plan(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        let mut params = asked.params()?;
        let version = params.take("version");
        let options = Options::take(&mut params)?;
        params.finish()?;
        let version = version.ok_or_else(|| ApiError::new(Code::NoVersion).target("version"))?;
        let request = options.request(crate::software::parse_version(&version)?);
        Ok(app.door.preview(request, asked.caller.user.clone()).await?)
    };
    let preview = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, json(&preview)))
}

/// `GET /evenkeel/v1/estimates`.
pub(crate) async fn estimates(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let records = app.cluster.estimates().await?;
        let num_records = records.len();
        Ok(Estimates {
            records,
            num_records,
        })
    };
    let estimates = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, json(&estimates)))
}

/// `GET /evenkeel/v1/estimates/{uuid}`, by the id of the operation or of its job.
pub(crate) async fn estimate(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let key = asked.key();
        let is_it = |record: &EstimateRecord| {
            record.uuid == key || record.job.as_deref() == Some(key.as_str())
        };
        let found = app.cluster.estimates().await?.into_iter().find(is_it);
        let found = match found {
            Some(found) => Some(found),
            // The mirror may be behind: only the record can say that there is none.
            None => {
                app.cluster.refresh().await?;
                app.cluster.estimates().await?.into_iter().find(is_it)
            }
        };
        found.ok_or_else(|| ApiError::new(Code::NoEntry).target("uuid"))
    };
    let estimate = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, json(&estimate)))
}

pub(crate) fn preview(request: &UpdateRequest, preview: Preview, minute: Duration) -> PlanPreview {
    let (estimate, refused) = match preview.plan {
        Ok((_, estimate)) => (Some(scaled(estimate, minute)), None),
        Err(refusal) => (None, Some(refusal_of(refusal))),
    };
    PlanPreview {
        version: request.version.to_string(),
        estimate,
        refused,
        findings: (preview.findings.iter())
            .map(|finding| plan_finding(finding, request.skip_warnings))
            .collect(),
        validation_results: project::findings(preview.findings),
        blocked: preview.blocked.map(refusal_of),
    }
}

fn plan_finding(finding: &Finding, skip_warnings: bool) -> PlanFinding {
    let code = match (finding.severity, &finding.acknowledged) {
        (Severity::Error, _) => Some(code::VALIDATION_FAILED),
        (Severity::Warning, Some(_)) => None,
        (Severity::Warning, None) => (!skip_warnings).then_some(code::VALIDATION_WARNINGS),
    };
    let known = finding.acknowledged.as_ref();
    PlanFinding {
        finding: project::finding(finding.clone()),
        code: code.map(|code| code.to_string()),
        acknowledged: known.map(|known| PlanAcknowledged {
            by: known.by.to_string(),
            at: known.at.to_api(),
            reason: known.reason.clone(),
        }),
    }
}

fn refusal_of(refusal: Refusal) -> PlanRefusal {
    PlanRefusal {
        code: refusal.code.to_string(),
        message: refusal.message,
    }
}

pub(crate) fn record(row: EstimateRow, minute: Duration) -> EstimateRecord {
    EstimateRecord {
        uuid: row.operation.to_string(),
        job: row.job.map(|job| job.to_string()),
        version: row.version.to_string(),
        requested_at: row.at.to_api(),
        requested_by: row.by.to_string(),
        estimate: row.estimate.map(|estimate| scaled(estimate, minute)),
    }
}

/// In seconds as they pass here.
fn scaled(estimate: evenkeel_model::PlanEstimate, minute: Duration) -> PlanEstimate {
    let here = |seconds: u32| project::seconds(minute * seconds / 60);
    let moment = |moment: Moment| PlanMoment {
        start: here(moment.start_s),
        duration: here(moment.seconds),
        duration_p90: here(moment.p90_s),
        what: moment.what,
        nodes: moment.nodes.into_iter().map(String::from).collect(),
        alone: moment
            .alone
            .into_iter()
            .map(|alone| Alone {
                serving: alone.serving.into(),
                away: alone.away.into(),
            })
            .collect(),
    };
    let mode = match estimate.mode {
        PlanMode::Rolling => "rolling",
        PlanMode::Batch => "batch",
        PlanMode::SingleNode => "single_node",
    };
    PlanEstimate {
        mode: mode.to_owned(),
        disruptive: estimate.disruptive,
        estimated_duration: here(estimate.pre_checks_s + estimate.updates_s),
        pre_checks_duration: here(estimate.pre_checks_s),
        updates_duration: here(estimate.updates_s),
        updates_duration_p90: here(estimate.updates_p90_s),
        post_checks_duration: here(estimate.post_checks_s),
        moments: estimate.moments.into_iter().map(moment).collect(),
    }
}
