//! The agent: answers, journals, runs.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use evenkeel_interconnect::{AgentRequest, AgentResponse, AgentService, Consent, PROTOCOL};
use evenkeel_model::{
    Action, Executor, Generation, NodeName, Progress, ReportState, Sabotage, TaskKey, TaskOrder,
    TaskReport, WallTime,
};
use evenkeel_seam::{Pulse, watch};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tracing::info;

use crate::checks::Runs;
use crate::consent;
use crate::db::{Accepted, DbError, JournalEntry, Side};
use crate::guardian;
use crate::observe;
use crate::parts::AgentParts;
use crate::tasks::Run;

/// Ended orders that a new coordinator is told of.
const RECENT: u32 = 500;

/// A node's agent. Dropping it, or [`Agent::stop`], ends its tasks where they are: as if the daemon
/// was killed.
pub struct Agent {
    inner: Arc<Inner>,
    /// None once it was stopped: what is accepted then waits in the journal for the next daemon.
    work: Mutex<Option<JoinSet<()>>>,
}

/// What tasks share with the agent.
pub(crate) struct Inner {
    pub(crate) parts: AgentParts,
    /// Progress of the orders that run.
    pub(crate) running: Mutex<BTreeMap<TaskKey, watch::Receiver<Progress>>>,
    /// Since when each look at the machine fails.
    pub(crate) failing: Mutex<BTreeMap<&'static str, WallTime>>,
    /// The newest run of a package's checks.
    pub(crate) checks: Mutex<Option<Runs>>,
    /// Rings when a gate script is not waited for any more.
    pub(crate) cut: Notify,
    /// Rings when consents should be looked at now.
    pub(crate) settle: Notify,
    /// That the guard goes on.
    pub(crate) pulse: Pulse,
}

impl Agent {
    /// An agent that answers, but has not taken up what is open: see [`Agent::recover`].
    pub fn new(parts: AgentParts) -> Arc<Self> {
        let inner = Inner {
            parts,
            running: Mutex::default(),
            failing: Mutex::default(),
            checks: Mutex::default(),
            cut: Notify::new(),
            settle: Notify::new(),
            pulse: Pulse::default(),
        };
        Arc::new(Self {
            inner: Arc::new(inner),
            work: Mutex::new(Some(JoinSet::new())),
        })
    }

    /// Takes up the orders that an agent before this one journaled and did not end. Returns how many.
    /// Call it once, before the node is reachable for others.
    pub fn recover(&self) -> Result<usize, DbError> {
        if Sabotage::ConsentForgotten.is_on() {
            for given in self.inner.parts.db.consents(Side::Given)? {
                self.inner.parts.db.release(Side::Given, given.transition)?;
            }
        }
        let open = self.inner.parts.db.open_orders()?;
        for mut entry in open.iter().cloned() {
            entry.resumed = self.inner.parts.db.resume(entry.order.key)?;
            info!(task = %entry.order.task.id, action = entry.order.task.action.name(), "resuming");
            self.take_up(entry);
        }
        Ok(open.len())
    }

    /// Starts the guard that needs no one: serving alone after the partner's proven death, and ending
    /// promises that nobody needs any more.
    pub fn guard(&self) {
        let inner = Arc::clone(&self.inner);
        self.spawn(async move { guardian::run(&inner).await });
    }

    /// Beats with each round of the [guard](Self::guard), whatever the machine and the peers answer.
    pub fn pulse(&self) -> Pulse {
        self.inner.pulse.clone()
    }

    /// Works on one journaled order to its end, in the caller's own time: what accepting and recovering
    /// make the agent do by itself, unless it was [stopped](Self::stop).
    pub fn carry_out(&self, entry: JournalEntry) -> impl Future<Output = ()> + Send + 'static {
        let run = Run::new(Arc::clone(&self.inner), entry);
        async move {
            if let Some(run) = run {
                run.run_to_end().await;
            }
        }
    }

    /// One round of the [guard](Self::guard), in the caller's own time.
    pub async fn guard_once(&self) -> Result<(), DbError> {
        guardian::look(&self.inner).await?;
        consent::settle(&self.inner).await
    }

    /// Ends all tasks where they are, for good. The journal keeps them.
    pub fn stop(&self) {
        let work = self
            .work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(work);
    }

    fn take_up(&self, entry: JournalEntry) {
        if let Some(run) = Run::new(Arc::clone(&self.inner), entry) {
            self.spawn(run.run_to_end());
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// None once the agent was stopped.
    pub(crate) fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Option<AbortHandle> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let work = work.as_mut()?;
        while work.try_join_next().is_some() {}
        Some(work.spawn(task))
    }

    fn install(&self, generation: Generation) -> Result<AgentResponse, DbError> {
        let highest = self.inner.parts.db.raise(generation)?;
        if highest > generation {
            return Ok(stale(highest));
        }
        self.inner.settle.notify_one();
        let entries = self.inner.parts.db.recent_orders(RECENT)?;
        let reports = entries
            .iter()
            .map(|entry| self.inner.report(entry))
            .collect();
        Ok(AgentResponse::Journal { reports })
    }

    /// A disk that reports a failure may have kept the order all the same: one that is journaled and that
    /// nobody works on is taken up when it is asked for, or sent again.
    fn adopt(&self, known: &JournalEntry) -> Result<(), DbError> {
        if known.end.is_none()
            && let Some(run) = Run::lost(Arc::clone(&self.inner), known.order.key)?
        {
            self.spawn(run.run_to_end());
        }
        Ok(())
    }

    async fn start(&self, order: TaskOrder) -> Result<AgentResponse, DbError> {
        if let Some(known) = self.inner.parts.db.order(order.key)? {
            self.adopt(&known)?;
            return Ok(AgentResponse::Journal {
                reports: vec![self.inner.report(&known)],
            });
        }
        if let Err(reason) = fits(&order, &self.inner.parts.node) {
            return Ok(refused(reason));
        }
        consent::settle(&self.inner).await?;
        match self.inner.parts.db.accept(&order)? {
            Accepted::New => {
                let entry = JournalEntry::new(order);
                let report = entry.report();
                self.take_up(entry);
                Ok(AgentResponse::Journal {
                    reports: vec![report],
                })
            }
            Accepted::Known(entry) => Ok(AgentResponse::Journal {
                reports: vec![self.inner.report(&entry)],
            }),
            Accepted::Busy(other) => {
                if matches!(other.task.action, Action::GateScript { .. }) {
                    // Whoever asks for something else does not wait for that gate any more.
                    self.inner.cut.notify_waiters();
                }
                Ok(refused(busy(&other)))
            }
            Accepted::Consented(request) => Ok(refused(format!(
                "this node has consented to be taken over by {} and starts nothing against it",
                request.by
            ))),
            Accepted::Stale(highest) => Ok(stale(highest)),
        }
    }

    fn reports(&self, keys: &[TaskKey]) -> Result<AgentResponse, DbError> {
        let mut reports = Vec::new();
        for key in keys {
            if let Some(entry) = self.inner.parts.db.order(*key)? {
                self.adopt(&entry)?;
                reports.push(self.inner.report(&entry));
            }
        }
        Ok(AgentResponse::Journal { reports })
    }

    async fn answer_or_fail(
        &self,
        from: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, DbError> {
        let parts = &self.inner.parts;
        match request {
            AgentRequest::Ping => Ok(AgentResponse::Pong {
                node: parts.node.clone(),
                boot_id: parts.boot_id,
                protocol: PROTOCOL,
            }),
            AgentRequest::Observe { look } => {
                let observation = observe::observe(&self.inner, look).await?;
                Ok(AgentResponse::Observation {
                    observation: Box::new(observation),
                })
            }
            AgentRequest::Install {
                generation,
                coordinator,
            } => {
                info!(%generation, %coordinator, "{coordinator} introduces itself as the coordinator");
                self.install(generation)
            }
            AgentRequest::Start { order } => self.start(*order).await,
            AgentRequest::Reports { keys } => self.reports(&keys),
            AgentRequest::RunChecks { order } => Ok(self.run_checks(order)),
            // An agent coordinates nothing. Whoever wires it to a coordinator answers before it.
            AgentRequest::Explain => Ok(refused("no coordinator answers here".to_owned())),
            AgentRequest::Audit { .. } => Ok(refused("no API is served here".to_owned())),
            AgentRequest::Consent { request } => {
                match consent::give(&self.inner, from, &request).await? {
                    Ok(()) => Ok(AgentResponse::Consented {
                        consent: Consent { request },
                    }),
                    Err(refusal) => Ok(refusal),
                }
            }
            AgentRequest::Release { transition, .. } => {
                consent::release(&self.inner, from, transition)
            }
        }
    }
}

#[async_trait]
impl AgentService for Agent {
    async fn answer(&self, from: &NodeName, request: AgentRequest) -> AgentResponse {
        match self.answer_or_fail(from, request).await {
            Ok(response) => response,
            // Nothing was changed: what cannot be made durable is not done.
            Err(error) => refused(error.to_string()),
        }
    }
}

impl Inner {
    /// The newest report on an order, with the progress of one that runs.
    pub(crate) fn report(&self, entry: &JournalEntry) -> TaskReport {
        let mut report = entry.report();
        if let ReportState::Running { progress } = &mut report.state {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(newest) = running.get(&report.key) {
                *progress = newest.borrow().clone();
            }
        }
        report
    }
}

/// Whether the order is for this node, in the role that its action needs.
fn fits(order: &TaskOrder, node: &NodeName) -> Result<(), String> {
    match &order.task.executor {
        Executor::Agent(executor) if executor == node => {}
        Executor::Agent(other) => return Err(format!("this order is for {other}, this is {node}")),
        Executor::Coordinator => return Err("this order is the coordinator's own".to_owned()),
    }
    let action = order.task.action.name();
    match &order.task.action {
        Action::Install { .. }
        | Action::Activate { .. }
        | Action::Deactivate
        | Action::GateScript { .. }
        | Action::Reboot
        | Action::Firmware { .. }
        | Action::MarkGood => match order.task.node == *node {
            true => Ok(()),
            false => Err(format!("{action} is done by {} itself", order.task.node)),
        },
        Action::Takeover | Action::Giveback => {
            match order.task.node != *node && order.partner.as_ref() == Some(node) {
                true => Ok(()),
                false => Err(format!(
                    "{action} is done by the partner of {}",
                    order.task.node
                )),
            }
        }
        Action::AwaitBoot { .. }
        | Action::Stabilize { .. }
        | Action::VerifyHome { .. }
        | Action::Gate { .. } => Err(format!(
            "{action} is judged by the coordinator, not by an agent"
        )),
    }
}

pub(crate) fn refused(reason: impl Into<String>) -> AgentResponse {
    AgentResponse::Refused {
        reason: reason.into(),
        stale: None,
    }
}

pub(crate) fn stale(highest: Generation) -> AgentResponse {
    let reason = format!("a coordinator of generation {highest} has introduced itself");
    AgentResponse::Refused {
        reason,
        stale: Some(highest),
    }
}

pub(crate) fn busy(order: &TaskOrder) -> String {
    let TaskOrder { key, task, .. } = order;
    format!(
        "this node works on {} of {} (task {}, attempt {})",
        task.action.name(),
        task.node,
        key.task,
        key.attempt
    )
}
