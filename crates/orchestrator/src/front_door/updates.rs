//! Updates and validations: begun, paused, resumed, cancelled.

use evenkeel_model::{
    JobId, JobOutcome, Operation, OperationEvent, OperationState, PauseCause, PausePoint, Refusal,
    Request, UpdateRequest, UserName,
};
use evenkeel_record::View;

use super::{Attempt, FrontDoor};
use crate::admission::{UpdateAction, names_nodes, not_there_yet, package, possible, update_for};
use crate::commit::Batch;

impl FrontDoor {
    /// Starts an update.
    pub async fn start_update(
        &self,
        request: UpdateRequest,
        by: UserName,
    ) -> Result<JobId, Refusal> {
        let fits = |view: &View| {
            possible(view, &request)?;
            package(view, &request.version)?;
            not_there_yet(view, &request)
        };
        let description = "PATCH /api/cluster/software";
        self.start(Request::Update(request.clone()), by, description, fits)
            .await
            .map(|t| t.job)
    }

    /// Starts a validation of such an update. The checks look at every node, whichever are named: an update of
    /// some is checked no less. So the names are looked at here, and of the request the version alone is kept.
    pub async fn validate(&self, update: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        let fits = |view: &View| {
            names_nodes(view, &update)?;
            package(view, &update.version).map(drop)
        };
        let version = update.version.clone();
        let request = Request::Validate { version };
        let description = "PATCH /api/cluster/software?validate_only=true";
        self.start(request, by, description, fits)
            .await
            .map(|ticket| ticket.job)
    }

    /// Pauses, resumes or cancels the open update. The job succeeds with the acceptance.
    pub async fn act(&self, action: UpdateAction, by: UserName) -> Result<JobId, Refusal> {
        let job = JobId(self.ids.uuid());
        self.admit(|view, at| {
            if view.operation_of(job).is_some() {
                return Ok(Attempt::Nothing(job));
            }
            let update = update_for(view, action)?;
            let by = by.clone();
            let (event, query) = match action {
                UpdateAction::Pause => (OperationEvent::PauseRequested { at, by }, "pause"),
                UpdateAction::Resume => (
                    OperationEvent::Resumed {
                        at,
                        by,
                        anew: plans_anew(view, update),
                    },
                    "resume",
                ),
                UpdateAction::Cancel => (OperationEvent::CancelRequested { at, by }, "cancel"),
            };
            let description = format!("PATCH /api/cluster/software?action={query}");
            let outcome = JobOutcome::Success {
                message: "success".to_owned(),
            };
            let operation = vec![
                OperationEvent::JobOpened {
                    at,
                    job,
                    description,
                },
                event,
                OperationEvent::JobClosed { at, job, outcome },
            ];
            let batch = Batch {
                operation,
                ..Batch::default()
            };
            Ok(Attempt::Append {
                operation: Some(update.id),
                batch,
                answer: job,
            })
        })
        .await
    }
}

/// Whether a resume plans anew: the update stands at the point before its first effect, or the gates were
/// changed since it was planned. Not while a daemon of an older release could read that.
fn plans_anew(view: &View, update: &Operation) -> bool {
    let cause = PauseCause::User {
        point: PausePoint::Validation,
    };
    let stands_there = update.state == OperationState::Paused { cause };
    let control = view.control();
    let gates = update.plan.as_ref().map(|plan| &plan.gates);
    let anew = (stands_there && update.tasks.is_empty())
        || gates.is_some_and(|gates| !gates.same(&control.gates));
    anew && !control.mixed_daemons()
}
