//! One order under way.

use std::collections::btree_map::{BTreeMap, Entry};
use std::future::Future;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_firmware::FirmwareOrder;
use evenkeel_interconnect::{AgentRequest, AgentResponse, CallError};
use evenkeel_model::{
    Action, BootId, How, NodeName, PairState, Progress, SlotsState, TaskEnd, TaskError,
    TaskErrorKind, TaskKey, TaskOrder, TransitionId,
};
use evenkeel_platform::PlatformError;
use evenkeel_seam::watch;
use tracing::{info, warn};

use super::{
    activate, deactivate, firmware, gate_script, giveback, install, mark_good, reboot, takeover,
};
use crate::agent::Inner;
use crate::db::{DbError, JournalEntry, Side, Stage};
use crate::logged::{TASK_BEGINS, TASK_ENDED, TASK_FAILED};
use crate::parts::{AgentParts, Bounds};

/// Between attempts to write down how an order ended.
const JOURNAL_PAUSE: Duration = Duration::from_secs(2);

/// An order under way, with all that its task needs.
pub(crate) struct Run {
    inner: Arc<Inner>,
    order: TaskOrder,
    /// An effect may have begun before this daemon started.
    was_acting: bool,
    resumed: u32,
    progress: watch::Sender<Progress>,
}

/// Progress of the orders that run.
type Running = BTreeMap<TaskKey, watch::Receiver<Progress>>;

/// What an answered act means for going on.
pub(super) enum Acted {
    /// Done, says the machine.
    Yes,
    /// It did not answer: whether it did must be seen.
    Unknown(String),
}

impl Run {
    /// None while the order runs: it is worked on once at a time.
    pub(crate) fn new(inner: Arc<Inner>, entry: JournalEntry) -> Option<Self> {
        let running = Arc::clone(&inner);
        let mut running = lock(&running);
        Self::claim(inner, &mut running, entry)
    }

    /// Of an order that is journaled as open and that nobody works on. The journal is read while nobody can begin
    /// or leave the order: its end is written before it leaves.
    pub(crate) fn lost(inner: Arc<Inner>, key: TaskKey) -> Result<Option<Self>, DbError> {
        let running = Arc::clone(&inner);
        let mut running = lock(&running);
        let entry = inner.parts.db.order(key)?;
        let open = entry.filter(|entry| entry.end.is_none());
        Ok(open.and_then(|entry| Self::claim(inner, &mut running, entry)))
    }

    fn claim(inner: Arc<Inner>, running: &mut Running, entry: JournalEntry) -> Option<Self> {
        let Entry::Vacant(place) = running.entry(entry.order.key) else {
            return None;
        };
        let progress = watch::Sender::new(Progress::default());
        place.insert(progress.subscribe());
        Some(Self {
            inner,
            order: entry.order,
            was_acting: entry.stage == Stage::Acting,
            resumed: entry.resumed,
            progress,
        })
    }

    /// Works, and writes down how it ended. The result waits in the journal.
    pub(crate) async fn run_to_end(self) {
        let (key, node) = (self.order.key, &self.order.task.node);
        let action = self.order.task.action.name();
        let TaskKey {
            operation, task, ..
        } = key;
        info!(target: TASK_BEGINS, %operation, %task, %node, action, "{action} of {node} begins");
        let result = match self.resumed > self.bounds().resumes {
            true => Err(self.given_up()),
            false => self.work().await,
        };
        let end = match result {
            Ok(how) => TaskEnd::Done { how },
            Err(error) => {
                warn!(target: TASK_FAILED, %operation, %task, %node, action, "{action} of {node} failed: {error}");
                TaskEnd::Failed { error }
            }
        };
        while let Err(error) = self.parts().db.end(self.order.key, &end) {
            self.say(&format!("the result cannot be written down: {error}"), 0, 0);
            tokio::time::sleep(JOURNAL_PAUSE).await;
        }
        info!(target: TASK_ENDED, %operation, %task, %node, action, ?end, "{action} of {node} ended");
        lock(&self.inner).remove(&self.order.key);
    }

    async fn work(&self) -> Result<How, TaskError> {
        match &self.order.task.action {
            Action::Install { package } => install::run(self, *package).await,
            Action::Activate { package } => activate::run(self, *package).await,
            Action::Deactivate => deactivate::run(self).await,
            Action::Takeover => takeover::run(self).await,
            Action::Giveback => giveback::run(self).await,
            Action::MarkGood => mark_good::run(self).await,
            Action::GateScript { longest_minutes } => {
                gate_script::run(self, *longest_minutes).await
            }
            Action::Reboot => reboot::run(self).await,
            Action::Firmware {
                package,
                kind,
                first,
                spares_only,
            } => {
                let order = FirmwareOrder {
                    operation: self.order.key.operation,
                    package: *package,
                    kind: *kind,
                    first: *first,
                    spares_only: *spares_only,
                };
                firmware::run(self, &order).await
            }
            Action::AwaitBoot { .. }
            | Action::Stabilize { .. }
            | Action::VerifyHome { .. }
            | Action::Gate { .. } => Err(permanent("this task is not an agent's", REPORT)),
        }
    }

    fn given_up(&self) -> TaskError {
        let message = format!(
            "the daemon of {} was restarted {} times during this task",
            self.parts().node,
            self.resumed
        );
        let action = format!(
            "Find out from the daemon's log why it ends, then {}.",
            self.again()
        );
        permanent(message, &action)
    }

    /// What a person does when the trouble is mended.
    fn again(&self) -> &'static str {
        match self.order.task.action {
            Action::Firmware { .. } => "bring the firmware in again",
            _ => "resume the update",
        }
    }

    pub(super) fn parts(&self) -> &AgentParts {
        &self.inner.parts
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.parts().bounds
    }

    /// How long nothing about the task may change: as long as the coordinator says that it waits.
    pub(super) fn no_progress(&self) -> Duration {
        let said = self.order.no_progress_ms.map(Duration::from_millis);
        said.unwrap_or(self.bounds().no_progress)
    }

    pub(super) fn order(&self) -> &TaskOrder {
        &self.order
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(super) fn progress(&self) -> &watch::Sender<Progress> {
        &self.progress
    }

    pub(super) fn say(&self, text: &str, done: u64, total: u64) {
        self.progress.send_replace(Progress {
            text: text.to_owned(),
            done,
            total,
        });
    }

    /// Whether an effect may have begun before this daemon started.
    pub(super) fn has_acted(&self) -> bool {
        self.was_acting
    }

    /// How a goal was reached that this attempt found reached.
    pub(super) fn found(&self) -> How {
        match self.was_acting {
            true => How::Resumed,
            false => How::AlreadyDone,
        }
    }

    /// How a goal was reached that this attempt worked for.
    pub(super) fn reached(&self) -> How {
        match self.resumed > 0 {
            true => How::Resumed,
            false => How::Completed,
        }
    }

    /// Notes, durably, that an effect may begin; the last look at the generation. Once something has
    /// begun it is brought to its safe end, whoever coordinates meanwhile.
    pub(super) fn begin(&self) -> Result<(), TaskError> {
        match self.was_acting {
            true => Ok(()),
            false => self.begin_strictly(),
        }
    }

    /// The same, also for an order that had begun: for an act that is one step and was not seen.
    pub(super) fn begin_strictly(&self) -> Result<(), TaskError> {
        match self
            .parts()
            .db
            .begin_acting(self.order.key, self.order.generation)
        {
            Ok(true) => Ok(()),
            Ok(false) => Err(transient(
                "another coordinator took over before anything was done",
                "None: the new coordinator goes on.",
            )),
            Err(error) => Err(journal_failed(&error)),
        }
    }

    /// The takeover that the order makes or gives back.
    pub(super) fn transition(&self) -> Result<TransitionId, TaskError> {
        let missing = || permanent("the order names no takeover", REPORT);
        self.order.transition.ok_or_else(missing)
    }

    /// Refuses when this node has booted since the order was decided.
    pub(super) fn check_own_boot(&self, expected: Option<BootId>) -> Result<(), TaskError> {
        match expected {
            Some(boot) if boot != self.parts().boot_id => Err(transient(
                format!(
                    "{} has booted since the task was decided",
                    self.parts().node
                ),
                "None: the task is decided anew.",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The pair as the engine sees it.
    pub(super) async fn pair(&self) -> Result<PairState, TaskError> {
        let pair = self
            .inner
            .pair()
            .await
            .map_err(|e| self.unseen("the HA pair", &e))?;
        let pair = pair.ok_or_else(|| {
            permanent(
                format!("{} has no HA partner", self.parts().node),
                "Configure the HA pair.",
            )
        })?;
        match pair.partner.node == self.order.task.node {
            true => Ok(pair),
            false => Err(permanent(
                format!(
                    "{} is not the partner of {}",
                    pair.partner.node,
                    self.parts().node
                ),
                "Correct the cluster's configuration: its pairs are not the machine's.",
            )),
        }
    }

    pub(super) async fn slots(&self) -> Result<SlotsState, TaskError> {
        let slots = self.inner.bounded(self.parts().platform.slots()).await;
        slots.map_err(|e| self.unseen("the boot slots", &e))
    }

    /// Bounds an act of the machine, and sorts its answer.
    pub(super) async fn act(
        &self,
        act: impl Future<Output = Result<(), PlatformError>>,
    ) -> Result<Acted, String> {
        let bound = self.bounds().act;
        match tokio::time::timeout(bound, act).await {
            Ok(Ok(())) => Ok(Acted::Yes),
            Ok(Err(PlatformError::Refused(why))) => Err(why),
            Ok(Err(PlatformError::Unavailable(why))) => Ok(Acted::Unknown(why)),
            Err(_) => Ok(Acted::Unknown(format!("no answer within {bound:?}"))),
        }
    }

    /// What could not be seen, as the task's end.
    pub(super) fn unseen(&self, what: &str, error: &PlatformError) -> TaskError {
        let message = format!("{} cannot see {what}: {error}", self.parts().node);
        let action = format!(
            "See to the node's hardware services, then {}.",
            self.again()
        );
        transient(message, &action)
    }

    pub(super) async fn ask(
        &self,
        node: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, CallError> {
        self.parts().peers.call(node, request).await
    }

    /// Ends the partner's promise, and the memory of it. A release that is lost does no harm: the
    /// partner ends the promise when it sees that it is over.
    pub(super) async fn release_consent(&self, transition: TransitionId) {
        let generation = self.order.generation;
        let partner = &self.order.task.node;
        let asked = self
            .ask(
                partner,
                AgentRequest::Release {
                    transition,
                    generation,
                },
            )
            .await;
        match asked {
            Ok(AgentResponse::Ok) => {}
            Ok(other) => warn!(%partner, "release of the consent: {other:?}"),
            Err(error) => warn!("release of the consent: {error}"),
        }
        if let Err(error) = self.parts().db.release(Side::Held, transition) {
            warn!("{error}");
        }
    }
}

fn lock(inner: &Inner) -> MutexGuard<'_, Running> {
    inner.running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an operator does about what cannot happen.
pub(super) const REPORT: &str = "Collect the logs of all nodes and report the fault.";

pub(super) fn transient(message: impl Into<String>, action: impl Into<String>) -> TaskError {
    let kind = TaskErrorKind::Transient;
    TaskError {
        kind,
        message: message.into(),
        action: action.into(),
        code: None,
    }
}

pub(super) fn permanent(message: impl Into<String>, action: impl Into<String>) -> TaskError {
    let kind = TaskErrorKind::Permanent;
    TaskError {
        kind,
        message: message.into(),
        action: action.into(),
        code: None,
    }
}

pub(super) fn journal_failed(error: &DbError) -> TaskError {
    transient(
        error.to_string(),
        "Free space on the node's root volume, then resume the update.",
    )
}
