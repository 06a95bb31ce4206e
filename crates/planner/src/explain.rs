//! What every open operation waits for, told from the record alone: any node can answer.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::{
    Action, Awaiting, Control, Executor, Milestone, Operation, OperationId, OperationState,
    PauseCause, Task, TaskState, WallTime,
};

use crate::bounds::Tunables;

/// What ends a pause on an error: what the problem says, and what always does.
pub(crate) fn or_cancel(action: &str) -> String {
    match action.contains("cancel") {
        true => action.to_owned(),
        false => format!("{action} Or cancel."),
    }
}

/// A task in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What is to happen, as in "it should …".
    pub what: String,
    /// What ends the wait for it.
    pub unblock: String,
}

/// Describes a task.
pub fn describe(task: &Task) -> Described {
    let node = &task.node;
    let by = match &task.executor {
        Executor::Agent(agent) => format!("node \"{agent}\""),
        Executor::Coordinator => "the coordinator".to_owned(),
    };
    let (what, unblock) = match &task.action {
        Action::Install { .. } => (
            format!("install the image into the alternate slot of node \"{node}\""),
            format!("{by} reports that the slot is written and verified"),
        ),
        Action::Activate { .. } => (
            format!("make the new image the default of node \"{node}\""),
            format!("{by} reports that the boot loader has it"),
        ),
        Action::Deactivate => (
            format!("make the running slot the default of node \"{node}\" again"),
            format!("{by} reports that the boot loader has it"),
        ),
        Action::Takeover => (
            format!("take node \"{node}\" over"),
            format!("{by} reports that it serves for \"{node}\""),
        ),
        Action::AwaitBoot { version } => (
            format!("see node \"{node}\" up on {version}, waiting for giveback"),
            format!("node \"{node}\" answers from a new boot, in \"waiting for giveback\" state"),
        ),
        Action::Stabilize { minutes, after } => {
            let after = match after {
                Milestone::Takeover => "takeover",
                Milestone::Giveback => "giveback",
            };
            (
                format!("let node \"{node}\" stabilize for {minutes} min after its {after}"),
                "the time passes while the pair stays as it is".to_owned(),
            )
        }
        Action::Giveback => (
            format!("give back to node \"{node}\""),
            format!("{by} reports that pools and LIFs of \"{node}\" are home"),
        ),
        Action::VerifyHome { .. } => (
            format!("see node \"{node}\" serve its own pools through its own LIFs"),
            format!("node \"{node}\" shows pools, LIFs and paths at home"),
        ),
        Action::Gate { .. } => (
            format!("see the conditions hold before the turn of node \"{node}\""),
            "every condition holding for as long as was set; or other gates (\"evenkeel image gates set\"), \
             then a pause and a resume"
                .to_owned(),
        ),
        Action::GateScript { .. } => (
            format!("run the operator's script before the turn of node \"{node}\""),
            format!(
                "the script on {by} says to go on; or other gates (\"evenkeel image gates set\"), then a \
                 pause and a resume"
            ),
        ),
        Action::Reboot => (
            format!("reboot node \"{node}\" into the new image"),
            format!("{by} reports that the reboot began"),
        ),
        Action::Firmware {
            kind,
            first,
            spares_only,
            ..
        } => {
            let which = match (first, spares_only) {
                (true, false) => "the first disk of each model",
                (true, true) => "the first spare of each model",
                (false, false) => "the devices",
                (false, true) => "the spares",
            };
            (
                format!("bring {which} of node \"{node}\" up to date: {kind}"),
                format!("{by} reports how it went with each device; what is being written is never cut short"),
            )
        }
        Action::MarkGood => (
            format!("tell the boot loader of node \"{node}\" that its slot is good"),
            format!("{by} reports that the boot loader has it"),
        ),
    };
    Described { what, unblock }
}

/// What is awaited, from the record alone: for nodes that do not coordinate, and while nobody does.
pub fn explain(
    control: &Control,
    operations: &BTreeMap<OperationId, Operation>,
    now: WallTime,
    tunables: &Tunables,
) -> Vec<Awaiting> {
    let open = control.open.keys().filter_map(|id| operations.get(id));
    let mut awaiting: Vec<Awaiting> = open
        .flat_map(|operation| of_operation(control, operation, now, tunables))
        .collect();
    if control.coordinator.is_none() {
        awaiting.push(election(control, now));
    }
    awaiting
}

fn election(control: &Control, now: WallTime) -> Awaiting {
    let what = match &control.handed_to {
        Some(to) => format!("node \"{to}\" to become the coordinator"),
        None => "a node to become the coordinator".to_owned(),
    };
    Awaiting {
        operation: None,
        node: control.handed_to.clone(),
        what,
        since: control.vacant_since.unwrap_or(now),
        seen: None,
        remaining: None,
        unblock: "A node that reaches the record takes over by itself.".to_owned(),
    }
}

fn of_operation(
    control: &Control,
    operation: &Operation,
    now: WallTime,
    tunables: &Tunables,
) -> Vec<Awaiting> {
    let one = |what: &str, seen: Option<String>, unblock: &str| Awaiting {
        operation: Some(operation.id),
        node: None,
        what: what.to_owned(),
        since: operation.state_since,
        seen,
        remaining: None,
        unblock: unblock.to_owned(),
    };
    let running: Vec<Awaiting> = operation
        .tasks
        .values()
        .filter(|task| matches!(task.state, TaskState::Running))
        .map(|task| {
            let described = describe(&task.task);
            let bound = tunables.no_progress(&task.task.action);
            Awaiting {
                operation: Some(operation.id),
                node: Some(task.task.node.clone()),
                what: described.what,
                since: task.start,
                seen: None,
                remaining: Some(bound.saturating_sub(age(now, task.start))),
                unblock: described.unblock,
            }
        })
        .collect();
    match &operation.state {
        OperationState::Paused {
            cause: PauseCause::User { .. },
        } => {
            vec![one("an operator's decision", None, "Resume or cancel.")]
        }
        OperationState::Paused {
            cause: PauseCause::Error { problem },
        } => {
            let mut wait = one("an operator's decision", Some(problem.error.clone()), "");
            wait.unblock = or_cancel(&problem.action);
            wait.node = problem.node.clone();
            vec![wait]
        }
        _ if !running.is_empty() => running,
        OperationState::Requested | OperationState::Validated => {
            vec![one(
                "the coordinator to carry it out",
                None,
                "It goes on by itself.",
            )]
        }
        OperationState::Running | OperationState::PausePending => {
            // What it may wait for is seen, not recorded.
            let mut wait = one("the coordinator's next step", None, "It goes on by itself.");
            if let Some(coordinator) = &control.coordinator {
                wait.unblock += &format!(
                    " Node \"{}\" coordinates: its explain tells more.",
                    coordinator.node
                );
            }
            vec![wait]
        }
        OperationState::Replanning => {
            vec![one(
                "a new revision of the plan",
                None,
                "Every node's state being known.",
            )]
        }
        OperationState::CancelPending => {
            vec![one(
                "high availability to be restored",
                None,
                "Pending givebacks being done.",
            )]
        }
        OperationState::Ended { .. } => Vec::new(),
    }
}

fn age(now: WallTime, since: WallTime) -> Duration {
    now.shown_since(since)
}
