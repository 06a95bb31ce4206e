//! From the record's rows to wire types.

use std::time::Duration;

use evenkeel_api::{
    Acknowledgement, Action, Advice, Audited, Awaiting, CheckStatus, Cluster, Code, Download,
    DownloadState, Ha, History, HistoryState, Issue, Job, JobError, JobState, Key, KeyState,
    Metrocluster, MetroclusterSite, Node, NodeName, NodeRef, OpenOperation, Package, ProgressText,
    ReleaseVersion, Software, SoftwareImage, SoftwareNode, StatusAdvice, StatusDetails,
    StatusIssue, UpdateDetails, UpdateState, User, ValidationResult,
};
use evenkeel_model::{
    Account, Acknowledged, AuditRecord, Finding, OperationKind, Severity, Steering, TrustedKey,
    UserName, Version, WallTime,
};
use evenkeel_record::projections as rows;

/// Shown where a node has not yet said what it runs: clients need a text in every element.
const UNKNOWN_VERSION: &str = "unknown";

pub(crate) fn cluster(row: rows::ClusterRow) -> Cluster {
    Cluster {
        name: row.name,
        uuid: row.id.to_string(),
        version: ReleaseVersion::of(&version(row.version)),
    }
}

/// `live` is what only the node knows that downloads.
pub(crate) fn download(row: Option<rows::DownloadRow>, live: Option<String>) -> Download {
    let Some(row) = row else {
        return Download {
            state: DownloadState::NotStarted,
            message: None,
            code: None,
        };
    };
    let (state, code, message) = match row.state {
        rows::DownloadState::Downloading => {
            let live = live.map(|live| format!(": {live}")).unwrap_or_default();
            let message = format!("Package download in progress{live}");
            (
                DownloadState::Running,
                Code::DownloadRunning.number(),
                message,
            )
        }
        rows::DownloadState::Processing => {
            let message = "Package download completed. Package processing in progress.".to_owned();
            (
                DownloadState::Running,
                Code::DownloadRunning.number(),
                message,
            )
        }
        rows::DownloadState::Success { message } => {
            let done = "Package processing completed.";
            let message = match message.as_str() {
                "success" | "" => done.to_owned(),
                said => format!("{done} {said}"),
            };
            (DownloadState::Success, 0, message)
        }
        rows::DownloadState::Failure { code, message } => (DownloadState::Failure, code, message),
    };
    Download {
        state,
        message: Some(message),
        code: Some(code),
    }
}

pub(crate) fn node(row: rows::NodeRow) -> Node {
    let partner = row
        .partner
        .map(|(name, id)| NodeRef::new(name, id.to_string()));
    Node {
        uuid: row.id.to_string(),
        name: row.name.into(),
        serial_number: row.machine.serial_number,
        system_id: row.machine.system_id,
        model: Some(row.platform.into()),
        version: ReleaseVersion::of(&version(row.version)),
        state: row.away.map(|away| match away {
            rows::Away::TakenOver => "taken_over".to_owned(),
            rows::Away::WaitingForGiveback => "waiting_for_giveback".to_owned(),
        }),
        ha: partner.map(|partner| Ha {
            partners: vec![partner],
        }),
    }
}

fn version(version: Option<Version>) -> String {
    version.map_or_else(|| UNKNOWN_VERSION.to_owned(), String::from)
}

pub(crate) fn software(row: rows::Software) -> Software {
    // Before the first update or validation there are no lists at all; afterwards they are there even
    // when empty, since scripts read them without asking.
    let is_about_something = row.state.is_some();
    let image = |version: &Version| SoftwareImage {
        package: format!("{version}.tgz"),
    };
    let images: Vec<SoftwareImage> = row.images.iter().map(image).collect();
    let node = |node: rows::SoftwareNode| SoftwareNode {
        name: node.name.into(),
        version: version(node.version),
        firmware: None,
        software_images: Some(images.clone()),
    };
    Software {
        version: row.version.map(String::from),
        pending_version: row.pending_version.map(String::from),
        action: row.action.map(action),
        state: row.state.map(state),
        elapsed_duration: row.elapsed.map(seconds),
        estimated_duration: row.estimated.map(seconds),
        nodes: row.nodes.into_iter().map(node).collect(),
        validation_results: row.validation_results.map(findings),
        post_update_checks: row.post_update_checks.map(findings),
        status_details: is_about_something
            .then(|| row.status_details.into_iter().map(task).collect()),
        update_details: is_about_something
            .then(|| row.update_details.into_iter().map(phase).collect()),
        metrocluster: row.sites.map(metrocluster),
    }
}

fn action(steered: Steering) -> Action {
    match steered {
        Steering::Pause => Action::Pause,
        Steering::Resume => Action::Resume,
        Steering::Cancel => Action::Cancel,
    }
}

fn metrocluster(row: rows::SitesRow) -> Metrocluster {
    let site = |site: rows::SiteRow| MetroclusterSite {
        name: site.name,
        state: site.state.map(state),
        estimated_duration: site.estimated.map(seconds),
        elapsed_duration: site.elapsed.map(seconds),
    };
    let text = |message| ProgressText { message };
    Metrocluster {
        clusters: row.sites.into_iter().map(site).collect(),
        progress_summary: row.summary.map(text),
        progress_details: row.details.map(text),
    }
}

/// Whole seconds, rounded to the nearest: clients fail on anything but integers.
pub(crate) fn seconds(duration: Duration) -> u64 {
    (duration + Duration::from_millis(500)).as_secs()
}

pub(crate) fn findings(found: Vec<Finding>) -> Vec<ValidationResult> {
    found.into_iter().map(finding).collect()
}

pub(crate) fn finding(finding: Finding) -> ValidationResult {
    ValidationResult {
        update_check: finding.check,
        status: match finding.severity {
            Severity::Warning => CheckStatus::Warning,
            Severity::Error => CheckStatus::Error,
        },
        issue: Issue {
            message: finding.issue,
        },
        action: Advice {
            message: finding.action,
        },
    }
}

fn task(row: rows::TaskRow) -> StatusDetails {
    StatusDetails {
        name: row.name,
        state: state(row.state),
        issue: Some(StatusIssue {
            message: row.issue.message,
            code: row.issue.code,
        }),
        action: row.action.map(|message| StatusAdvice {
            message,
            code: None,
        }),
        start_time: Some(row.start.to_api()),
        end_time: row.end.map(WallTime::to_api),
        node: NodeName {
            name: row.node.into(),
        },
    }
}

fn phase(row: rows::PhaseRow) -> UpdateDetails {
    UpdateDetails {
        phase: row.phase.to_owned(),
        state: state(row.state),
        estimated_duration: row.estimated.map(seconds),
        elapsed_duration: row.elapsed.map(seconds),
        node: NodeName {
            name: row.node.into(),
        },
    }
}

fn state(state: rows::UpdateState) -> UpdateState {
    match state {
        rows::UpdateState::InProgress => UpdateState::InProgress,
        rows::UpdateState::Waiting => UpdateState::Waiting,
        rows::UpdateState::PausedByUser => UpdateState::PausedByUser,
        rows::UpdateState::PausedOnError => UpdateState::PausedOnError,
        rows::UpdateState::Completed => UpdateState::Completed,
        rows::UpdateState::Canceled => UpdateState::Canceled,
        rows::UpdateState::Failed => UpdateState::Failed,
        rows::UpdateState::PausePending => UpdateState::PausePending,
        rows::UpdateState::CancelPending => UpdateState::CancelPending,
    }
}

pub(crate) fn package(row: rows::PackageRow) -> Package {
    Package {
        version: row.version.into(),
        create_time: Some(row.create_time.to_api()),
    }
}

pub(crate) fn history(row: rows::HistoryRow) -> History {
    let node = match row.node_id {
        Some(id) => NodeRef::new(row.node, id.to_string()),
        None => NodeRef::departed(row.node),
    };
    History {
        node,
        start_time: row.start.to_api(),
        end_time: Some(row.end.to_api()),
        from_version: row.from.into(),
        to_version: row.to.into(),
        state: match row.state {
            rows::HistoryState::Successful => HistoryState::Successful,
            rows::HistoryState::Canceled => HistoryState::Canceled,
        },
    }
}

pub(crate) fn job(row: rows::JobRow) -> Job {
    let failure = || JobError {
        message: row.message.clone(),
        code: row.code.to_string(),
        target: None,
    };
    let (state, error) = match row.state {
        rows::JobState::Running => (JobState::Running, None),
        rows::JobState::Success => (JobState::Success, None),
        rows::JobState::Failure => (JobState::Failure, Some(failure())),
    };
    // Clients compare it with method and path alone.
    let (call, _) = row
        .description
        .split_once('?')
        .unwrap_or((&row.description, ""));
    Job {
        uuid: row.id.to_string(),
        description: call.to_owned(),
        state,
        message: row.message,
        code: row.code,
        start_time: row.start.to_api(),
        end_time: row.end.map(WallTime::to_api),
        error,
    }
}

pub(crate) fn open_operation(
    row: rows::OperationRow,
    coordinator: Option<&str>,
    waiting: Vec<Awaiting>,
) -> OpenOperation {
    let kind = match row.kind {
        OperationKind::Update => "update",
        OperationKind::Validation => "validation",
        OperationKind::PackageGet => "package_get",
        OperationKind::PackageDelete => "package_delete",
        OperationKind::PackageSync => "package_sync",
        OperationKind::Firmware => "firmware",
        OperationKind::Estimate => "estimate",
    };
    OpenOperation {
        uuid: row.id.to_string(),
        kind: kind.to_owned(),
        version: row.version.map(String::from),
        state: state(row.state),
        coordinator: coordinator.map(str::to_owned),
        waiting,
    }
}

/// How the newest update left the cluster.
pub(crate) fn left(row: rows::LeftRow) -> String {
    format!(
        "The update to {} was canceled at {}, and left the cluster so: {}",
        row.version,
        row.at.to_api(),
        row.left
    )
}

pub(crate) fn awaiting(awaiting: evenkeel_model::Awaiting, now: WallTime) -> Awaiting {
    Awaiting {
        awaiting: awaiting.what,
        node: awaiting.node.map(String::from),
        since: Some(awaiting.since.to_api()),
        seen: awaiting.seen,
        until: awaiting
            .remaining
            .map(|remaining| now.plus(remaining).to_api()),
        unblock: awaiting.unblock,
    }
}

pub(crate) fn acknowledgement((check, known): (&String, &Acknowledged)) -> Acknowledgement {
    Acknowledgement {
        check: check.clone(),
        reason: known.reason.clone(),
        by: known.by.clone().into(),
        at: known.at.to_api(),
        about: known.about.iter().cloned().collect(),
    }
}

pub(crate) fn audited((node, record): (evenkeel_model::NodeName, AuditRecord)) -> Audited {
    let outcome = record.outcome.as_ref();
    let mut what = record.what;
    what.extend(outcome.iter().flat_map(|it| it.told.clone()));
    Audited {
        node: node.into(),
        at: record.at.to_api(),
        user: record.user,
        role: record.role,
        from: record.from,
        method: record.method,
        path: record.path,
        what,
        is_over: outcome.is_some(),
        status: outcome.and_then(|it| it.status),
        code: outcome.and_then(|it| it.code).map(|code| code.to_string()),
        job: outcome.and_then(|it| it.job).map(|job| job.to_string()),
        left_out: record.left_out,
    }
}

pub(crate) fn user((name, account): (&UserName, &Account)) -> User {
    User {
        name: name.as_str().to_owned(),
        role: account.role.to_string(),
        password: account.password_hash.is_some(),
        certificate: account.certificate,
        changed_at: account.set_at.to_api(),
        changed_by: account.set_by.clone().map(String::from),
    }
}

pub(crate) fn key(key: &TrustedKey) -> Key {
    let revoked = key.revoked.as_ref();
    Key {
        id: key.key_id.clone(),
        name: key.name.clone(),
        state: match revoked {
            Some(_) => KeyState::Revoked,
            None => KeyState::Trusted,
        },
        trusted_at: key.since.to_api(),
        trusted_by: key.by.clone().map(String::from),
        revoked_at: revoked.map(|(at, _)| at.to_api()),
        revoked_by: revoked.map(|(_, by)| by.clone().into()),
        public_key: key.public_key.clone(),
    }
}
