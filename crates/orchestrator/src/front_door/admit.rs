//! How a request is admitted: decided on a fresh view, appended, and decided anew when someone else was first.

use std::sync::Arc;

use evenkeel_interconnect::AgentClient;
use evenkeel_model::{
    ControlEvent, JobId, NodeName, OperationEvent, OperationId, Refusal, Request, Sabotage,
    UserName, WallTime, code,
};
use evenkeel_planner::Tunables;
use evenkeel_record::{AppendError, Fence, Follower, Record, View, Writer};
use evenkeel_seam::watch;
use evenkeel_seam::{Clock, Ids};

use crate::commit::{Batch, CommitError, commit};
use crate::elect::{Parts, Role};

/// Tries against others who append at the same time.
const TRIES: u32 = 20;

/// Admission, on every node.
#[derive(Clone)]
pub struct FrontDoor {
    pub(crate) me: NodeName,
    pub(crate) record: Arc<dyn Record>,
    pub(crate) agents: Arc<dyn AgentClient>,
    pub(crate) follower: Arc<Follower>,
    writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) tunables: Tunables,
}

/// A package get that was admitted: its receiver ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetTicket {
    /// The operation.
    pub operation: OperationId,
    /// Its job.
    pub job: JobId,
}

/// What one try of an admission appends, or that nothing is left to do.
pub(crate) enum Attempt<T> {
    Append {
        /// Whose events are among the batch's, if any are an operation's.
        operation: Option<OperationId>,
        batch: Batch,
        answer: T,
    },
    Nothing(T),
}

impl Attempt<()> {
    pub(crate) fn control(event: ControlEvent) -> Self {
        let batch = Batch {
            control: vec![event],
            ..Batch::default()
        };
        Self::Append {
            operation: None,
            batch,
            answer: (),
        }
    }
}

impl FrontDoor {
    /// Admission through the parts of this node's orchestrator.
    pub fn new(parts: &Parts, role: watch::Receiver<Role>) -> Self {
        let record: Arc<dyn Record> = Arc::clone(&parts.record);
        Self {
            me: parts.me.clone(),
            record: Arc::clone(&parts.record),
            agents: Arc::clone(&parts.agents),
            follower: Arc::clone(&parts.follower),
            writer: Writer::new(record, Arc::clone(&parts.ids)),
            clock: Arc::clone(&parts.clock),
            ids: Arc::clone(&parts.ids),
            role,
            tunables: parts.tunables,
        }
    }

    pub(crate) async fn start(
        &self,
        request: Request,
        by: UserName,
        description: &str,
        fits: impl Fn(&View) -> Result<(), Refusal>,
    ) -> Result<GetTicket, Refusal> {
        let operation = OperationId(self.ids.uuid());
        let job = JobId(self.ids.uuid());
        let ticket = GetTicket { operation, job };
        self.admit(|view, at| {
            if view.operation(operation).is_some() {
                return Ok(Attempt::Nothing(ticket));
            }
            fits(view)?;
            let kind = request.kind();
            view.control().admits(kind)?;
            let (request, by) = (request.clone(), by.clone());
            let description = description.to_owned();
            let batch = Batch {
                control: vec![ControlEvent::OperationStarted {
                    at,
                    operation,
                    kind,
                }],
                catalogue: Vec::new(),
                operation: vec![
                    OperationEvent::Requested { at, by, request },
                    OperationEvent::JobOpened {
                        at,
                        job,
                        description,
                    },
                ],
            };
            Ok(Attempt::Append {
                operation: Some(operation),
                batch,
                answer: ticket,
            })
        })
        .await
    }

    pub(crate) async fn fresh(&self) -> Result<Arc<View>, Refusal> {
        self.follower
            .refresh()
            .await
            .map_err(|error| unreachable_record(&error.to_string()))
    }

    /// Decides on a fresh view and appends; decides anew when someone else appended first.
    pub(crate) async fn admit<T>(
        &self,
        decide: impl Fn(&View, WallTime) -> Result<Attempt<T>, Refusal>,
    ) -> Result<T, Refusal> {
        for _ in 0..TRIES {
            let view = self.fresh().await?;
            let (operation, batch, answer) = match decide(&view, self.clock.wall())? {
                Attempt::Nothing(answer) => return Ok(answer),
                Attempt::Append {
                    operation,
                    batch,
                    answer,
                } => (operation, batch, answer),
            };
            match commit(&self.writer, &view, Fence::None, operation, batch).await {
                Ok(position) => {
                    // The answer must not be ahead of what this node shows. A record that is lost just now
                    // does not take the acceptance back.
                    let _ = self.follower.at_least(position).await;
                    return Ok(answer);
                }
                Err(_) if Sabotage::AckEarly.is_on() => return Ok(answer),
                Err(CommitError::Append(AppendError::Conflict { .. })) => {}
                Err(error) => return Err(not_appended(&error)),
            }
        }
        Err(unreachable_record("others kept writing to it"))
    }
}

/// Only what may be otherwise in a moment says "try again".
fn not_appended(error: &CommitError) -> Refusal {
    match error {
        CommitError::Append(AppendError::Unknown(why)) => unknown_outcome(why),
        CommitError::Append(AppendError::Unavailable(_) | AppendError::Conflict { .. }) => {
            unreachable_record(&error.to_string())
        }
        CommitError::Append(AppendError::TooLarge { .. }) => {
            let text = format!(
                "The request is too large to be recorded: {error}. Nothing was changed; ask for less at once."
            );
            Refusal::new(code::INVALID_VALUE, text)
        }
        // No request can bring these about: it is decided on the newest state, and demands no generation.
        CommitError::Illegal(_)
        | CommitError::Append(AppendError::Invalid(_) | AppendError::Fenced { .. }) => {
            let text = format!(
                "Internal error: the request cannot be recorded: {error}. Nothing was changed; asking again does \
                 not help. Report it with the log of evenkeeld."
            );
            Refusal::new(code::INTERNAL, text)
        }
    }
}

/// The record went silent while it was written to: "nothing was changed" might be a lie. It does not say what
/// [`unreachable_record`] says: asked again by itself, an action might be done twice.
fn unknown_outcome(why: &str) -> Refusal {
    let text = format!(
        "Whether the request was accepted is not known: {why}. Look whether it was carried out (`evenkeel job \
         show`, `evenkeel image show`) before you try again."
    );
    Refusal::new(code::OUTCOME_UNKNOWN, text)
}

/// "Temporarily locked" are the words on which Ansible's modules ask again, three times, 30 s apart: a record or
/// a coordinator that is on its way to another node is back by then.
fn unreachable_record(why: &str) -> Refusal {
    let text = format!(
        "The cluster's record is temporarily locked: {why}. Nothing was changed; try again."
    );
    Refusal::new(code::CANNOT_CREATE_TASK, text)
}
