//! Runs of the checks that a package brings. They change nothing, so nothing of them is journaled: a daemon that
//! starts again knows of none, and is asked again.

use std::sync::{Arc, PoisonError};

use evenkeel_interconnect::{AgentResponse, Look};
use evenkeel_model::{
    BundledFinding, BundledRun, BundledState, CheckOrder, NodeObservation, Severity,
};
use tokio::task::AbortHandle;
use tracing::info;

use crate::agent::{Agent, Inner, refused};
use crate::observe;

/// The newest run.
pub(crate) struct Runs {
    newest: BundledRun,
    /// Ends it where it is.
    work: Option<AbortHandle>,
}

impl Agent {
    /// Begins a run, unless it is the one that is known. One that is under way for another order is over: the
    /// coordinator asks for the newest alone.
    pub(crate) fn run_checks(&self, order: CheckOrder) -> AgentResponse {
        let inner = self.inner();
        let mut runs = inner.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.as_ref().is_some_and(|run| run.newest.order == order) {
            return AgentResponse::Ok;
        }
        if let Some(work) = runs.take().and_then(|run| run.work) {
            work.abort();
        }
        info!(package = %order.package, operation = %order.operation, "running the package's checks");
        let state = BundledState::Running {
            text: "taking the checks out of the package".to_owned(),
            since: inner.parts.clock.wall(),
        };
        let Some(work) = self.spawn(run(Arc::clone(inner), order.clone())) else {
            return refused("the daemon stops");
        };
        *runs = Some(Runs {
            newest: BundledRun { order, state },
            work: Some(work),
        });
        AgentResponse::Ok
    }
}

impl Inner {
    /// The newest run, as it stands.
    pub(crate) fn bundled_run(&self) -> Option<BundledRun> {
        let runs = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        runs.as_ref().map(|run| run.newest.clone())
    }

    /// Notes how far the run of that order is, if it still is the newest.
    fn note(&self, order: &CheckOrder, change: impl FnOnce(&mut BundledState)) {
        let mut runs = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = runs.as_mut().filter(|run| run.newest.order == *order) {
            change(&mut run.newest.state);
        }
    }
}

async fn run(inner: Arc<Inner>, order: CheckOrder) {
    let findings = match observe::observe(&inner, Look::Itself).await {
        Ok(seen) => carry_out(&inner, &order, &seen).await,
        Err(error) => vec![could_not(&order, &error.to_string())],
    };
    let at = inner.parts.clock.wall();
    info!(package = %order.package, findings = findings.len(), "the package's checks have run");
    inner.note(&order, |state| {
        *state = BundledState::Ended { at, findings };
    });
}

async fn carry_out(
    inner: &Inner,
    order: &CheckOrder,
    seen: &NodeObservation,
) -> Vec<BundledFinding> {
    let say = |said: &str| {
        inner.note(order, |state| match state {
            BundledState::Running { text, .. } => said.clone_into(text),
            BundledState::Ended { .. } => {}
        });
    };
    inner.parts.checks.run(order, seen, &say).await
}

/// None of them could run.
fn could_not(order: &CheckOrder, why: &str) -> BundledFinding {
    BundledFinding {
        check: "Package checks".to_owned(),
        severity: Severity::Error,
        issue: format!("The checks of {} could not run: {why}.", order.target),
        action: "See to the node, then validate again.".to_owned(),
    }
}
