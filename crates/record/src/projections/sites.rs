//! The sites of a cluster that spans some, as the API's `metrocluster` shows them.

use std::time::Duration;

use evenkeel_model::{Operation, OperationKind};

use super::software::UpdateState;
use crate::view::View;

/// A cluster that spans sites, and how the operation that is shown stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitesRow {
    /// Every site, by name.
    pub sites: Vec<SiteRow>,
    /// How far it is, in a sentence; none before the first operation.
    pub summary: Option<String>,
    /// What goes on; none while nothing does.
    pub details: Option<String>,
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRow {
    /// Its name.
    pub name: String,
    /// How the operation stands there; none before the first.
    pub state: Option<UpdateState>,
    /// How long it takes there, once that is known.
    pub estimated: Option<Duration>,
    /// Since it was asked for, until it ended.
    pub elapsed: Option<Duration>,
}

/// What is shown of an operation beside its sites. Operations are about all sites at once: one by one is a
/// switchover's, which there is none of yet.
pub(super) struct Shown<'a> {
    pub(super) operation: &'a Operation,
    pub(super) state: UpdateState,
    pub(super) estimated: Option<Duration>,
    pub(super) elapsed: Option<Duration>,
}

/// The sites; none where the cluster stands at one place.
pub(super) fn sites(view: &View, shown: Option<Shown<'_>>) -> Option<SitesRow> {
    let topology = view.control().topology.as_ref()?;
    let row = |name: &str| SiteRow {
        name: name.to_owned(),
        state: shown.as_ref().map(|shown| shown.state),
        estimated: shown.as_ref().and_then(|shown| shown.estimated),
        elapsed: shown.as_ref().and_then(|shown| shown.elapsed),
    };
    let sites: Vec<SiteRow> = topology.sites().into_iter().map(row).collect();
    let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
    let details = shown
        .as_ref()
        .filter(|shown| !shown.operation.is_ended())
        .map(|shown| format!("{} on {}.", under_way(shown.operation), listed(&names)));
    let summary = shown
        .as_ref()
        .map(|shown| summary(shown.operation.kind(), shown.state));
    let is_spread = !sites.is_empty();
    is_spread.then_some(SitesRow {
        sites,
        summary,
        details,
    })
}

/// The one sentence of it, the original's where it has one.
fn summary(kind: OperationKind, state: UpdateState) -> String {
    let what = match kind {
        OperationKind::Validation => "Validation",
        _update => "Update",
    };
    match (kind, state) {
        (OperationKind::Update, UpdateState::Completed) => {
            return "MetroCluster updated successfully.".to_owned();
        }
        (_, UpdateState::PausedByUser) => return "Update paused by user".to_owned(),
        (_, _) => {}
    }
    let how = match state {
        UpdateState::InProgress => "in progress",
        UpdateState::Waiting => "waiting",
        UpdateState::PausedByUser => "paused by user",
        UpdateState::PausedOnError => "paused on an error",
        UpdateState::Completed => "completed",
        UpdateState::Canceled => "canceled",
        UpdateState::Failed => "failed",
        UpdateState::PausePending => "about to pause",
        UpdateState::CancelPending => "being canceled",
    };
    format!("{what} {how}.")
}

fn under_way(operation: &Operation) -> &'static str {
    match operation.plan.is_some() {
        true => "Installing software image",
        false => "Pre-update checks",
    }
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("sites {}", quoted.join(", "))
}
