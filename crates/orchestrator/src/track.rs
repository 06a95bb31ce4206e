//! What the coordinator remembers of running tasks between two steps. All of it can be lost: a new
//! coordinator gathers it again from the agents' journals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{
    Awaiting, Executor, NodeName, Operation, OperationId, ReportState, Seq, TaskId, TaskKey,
    TaskProgress, TaskReport, TaskState,
};
use evenkeel_planner::{GateLook, GateMemory, Running, describe};
use tokio::time::Instant;

/// An operation's last sign of life.
struct Step {
    head: Seq,
    /// The most that each node ever had of what the operation carries: what is fetched anew after it was
    /// lost is no progress.
    moved: BTreeMap<NodeName, u64>,
    since: Instant,
}

/// Reports and stopwatches.
#[derive(Default)]
pub(crate) struct Tracker {
    reports: BTreeMap<TaskKey, (ReportState, Instant)>,
    /// What was last seen of a wait, by operation and what is awaited.
    seen: BTreeMap<(OperationId, String), (Option<String>, Instant)>,
    /// What was seen of gates so far: since when they hold, and what failed last.
    gates: BTreeMap<(OperationId, TaskId), (Option<Instant>, Option<String>)>,
    /// When each operation last made a step.
    steps: BTreeMap<OperationId, Step>,
}

impl Tracker {
    /// Takes an agent's report in. A report that says something new restarts the task's stopwatch.
    pub(crate) fn report(&mut self, report: TaskReport) {
        let same = |(known, _): &(ReportState, Instant)| *known == report.state;
        if !self.reports.get(&report.key).is_some_and(same) {
            self.reports
                .insert(report.key, (report.state, Instant::now()));
        }
    }

    /// Whether the agent has the order.
    pub(crate) fn has(&self, key: &TaskKey) -> bool {
        self.reports.contains_key(key)
    }

    /// Forgets reports of tasks that an agent no longer knows: the order is sent again.
    pub(crate) fn forget(&mut self, key: &TaskKey) {
        self.reports.remove(key);
    }

    /// Notes what is awaited now, for the stopwatches of what the coordinator watches itself.
    pub(crate) fn awaits(&mut self, operation: OperationId, awaiting: &[Awaiting]) {
        let now = Instant::now();
        let mut fresh = BTreeMap::new();
        for wait in awaiting {
            let key = (operation, wait.what.clone());
            let since = match self.seen.get(&key) {
                Some((seen, since)) if *seen == wait.seen => *since,
                Some(_) | None => now,
            };
            fresh.insert(key, (wait.seen.clone(), since));
        }
        self.seen.retain(|(id, _), _| *id != operation);
        self.seen.extend(fresh);
    }

    /// Notes what is seen of gates now. One that is not looked at any more is forgotten.
    pub(crate) fn gates(&mut self, operation: OperationId, looks: BTreeMap<TaskId, GateLook>) {
        self.gates
            .retain(|(id, task), _| *id != operation || looks.contains_key(task));
        for (task, look) in looks {
            let (since, failed) = self.gates.entry((operation, task)).or_default();
            match look {
                GateLook::Holds => {
                    since.get_or_insert_with(Instant::now);
                }
                GateLook::Fails(what) => (*since, *failed) = (None, Some(what)),
            }
        }
    }

    /// How long the operation has made no step, and no node has got more of what it carries than it ever had.
    pub(crate) fn idle(
        &mut self,
        operation: OperationId,
        head: Seq,
        moved: BTreeMap<NodeName, u64>,
    ) -> Duration {
        let now = Instant::now();
        let step = self.steps.entry(operation).or_insert_with(|| Step {
            head,
            moved: moved.clone(),
            since: now,
        });
        if step.head != head {
            (step.head, step.since) = (head, now);
        }
        for (node, bytes) in moved {
            let most = step.moved.entry(node).or_default();
            if bytes > *most {
                (*most, step.since) = (bytes, now);
            }
        }
        step.since.elapsed()
    }

    /// What the planner is told of the operation's running tasks.
    pub(crate) fn running(&self, operation: &Operation) -> BTreeMap<TaskId, Running> {
        let tasks = running_tasks(operation);
        tasks
            .map(|task| (task.task.id, self.of_task(operation.id, task)))
            .collect()
    }

    fn of_task(&self, operation: OperationId, task: &TaskProgress) -> Running {
        let elapsed = |(_, since): &(_, Instant)| since.elapsed();
        match &task.task.executor {
            Executor::Agent(_) => {
                let known = self.reports.get(&key_of(operation, task));
                let quiet = known.map(|(_, since)| since.elapsed()).unwrap_or_default();
                Running {
                    report: known.map(|(state, _)| state.clone()),
                    quiet,
                    gate: GateMemory::default(),
                }
            }
            Executor::Coordinator => {
                let key = (operation, describe(&task.task).what);
                let gate = self.gates.get(&(operation, task.task.id));
                let gate = gate.map(|(since, failed)| GateMemory {
                    held: since.map(|since| since.elapsed()),
                    failed: failed.clone(),
                });
                Running {
                    report: None,
                    quiet: self.seen.get(&key).map(elapsed).unwrap_or_default(),
                    gate: gate.unwrap_or_default(),
                }
            }
        }
    }

    /// Forgets operations that are over.
    pub(crate) fn keep_only(&mut self, open: &[OperationId]) {
        self.reports.retain(|key, _| open.contains(&key.operation));
        self.seen.retain(|(id, _), _| open.contains(id));
        self.gates.retain(|(id, _), _| open.contains(id));
        self.steps.retain(|id, _| open.contains(id));
    }
}

fn running_tasks(operation: &Operation) -> impl Iterator<Item = &TaskProgress> {
    operation
        .tasks
        .values()
        .map(Arc::as_ref)
        .filter(|task| matches!(task.state, TaskState::Running))
}

fn key_of(operation: OperationId, task: &TaskProgress) -> TaskKey {
    TaskKey {
        operation,
        task: task.task.id,
        attempt: task.attempt,
    }
}

/// Running tasks by the agent that carries them out.
pub(crate) fn keys_by_agent(operations: &[&Operation]) -> BTreeMap<NodeName, Vec<TaskKey>> {
    let mut keys: BTreeMap<NodeName, Vec<TaskKey>> = BTreeMap::new();
    for operation in operations {
        for task in running_tasks(operation) {
            if let Executor::Agent(agent) = &task.task.executor {
                keys.entry(agent.clone())
                    .or_default()
                    .push(key_of(operation.id, task));
            }
        }
    }
    keys
}
