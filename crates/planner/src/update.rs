//! The update and the validation, step by step.

use std::time::Duration;

use evenkeel_model::{
    Action, Awaiting, Before, Executor, Finding, JobOutcome, Lane, Milestone, NodeName,
    OperationEnd, OperationEvent, OperationState, PauseCause, PausePoint, Plan, Problem, Refusal,
    ReportState, Severity, Task, TaskEnd, TaskErrorKind, TaskKey, TaskOrder, TaskProgress,
    TaskState, TransitionId, TransitionStage, UpdateRequest, Version, code,
};

use crate::build::{self, NoPlan, pair_of};
use crate::checks::{CheckInput, check, post_check};
use crate::explain::describe;
use crate::input::{Decision, Input};
use crate::judge::{Verdict, fit_for_takeover, foreign, judge, permanent};
use crate::next::awaiting;

/// The next step of a validation.
pub(crate) fn validation(input: &Input<'_>, version: &Version) -> Decision {
    let Some(findings) = &input.operation.findings else {
        return Decision::events(vec![validated(input, version)]);
    };
    let at = input.wall;
    let end = match refusal(findings, true) {
        None => OperationEnd::Completed,
        Some(refusal) => OperationEnd::Failed {
            code: refusal.code,
            message: refusal.message,
        },
    };
    let message = "success".to_owned();
    let mut events = close_jobs(input, &JobOutcome::Success { message });
    events.push(OperationEvent::Ended { at, end });
    Decision::events(events)
}

/// The next step of an update.
pub(crate) fn next(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    match &input.operation.state {
        OperationState::Requested => Decision::events(vec![validated(input, &request.version)]),
        OperationState::Validated => admit(input, request),
        OperationState::Running | OperationState::PausePending => execute(input, request),
        OperationState::Replanning => replan(input, request),
        OperationState::CancelPending => cancel(input),
        OperationState::Paused { cause } => paused(input, cause),
        OperationState::Ended { .. } => Decision::default(),
    }
}

fn validated(input: &Input<'_>, version: &Version) -> OperationEvent {
    let findings = check(&CheckInput {
        topology: input.topology,
        catalogue: input.catalogue,
        observations: input.observations,
        target: version,
        survives_without: input.survives_without,
    });
    OperationEvent::Validated {
        at: input.wall,
        findings,
    }
}

/// What the findings forbid: errors always, warnings unless skipped.
fn refusal(findings: &[Finding], skip_warnings: bool) -> Option<Refusal> {
    let of = |severity| -> Vec<&str> {
        let same = findings
            .iter()
            .filter(|finding| finding.severity == severity);
        same.map(|finding| finding.check.as_str()).collect()
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    if !errors.is_empty() {
        let text = format!(
            "Validation failed: {}. See validation_results.",
            errors.join("; ")
        );
        return Some(Refusal::new(code::VALIDATION_FAILED, text));
    }
    if !warnings.is_empty() && !skip_warnings {
        let text = format!(
            "Validation gave warnings: {}. See validation_results, then update with skip_warnings.",
            warnings.join("; ")
        );
        return Some(Refusal::new(code::VALIDATION_WARNINGS, text));
    }
    None
}

/// Plans the update, or refuses it before any effect.
fn admit(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    let findings = input.operation.findings.as_deref().unwrap_or_default();
    let planned = match refusal(findings, request.skip_warnings) {
        Some(refusal) => Err(refusal),
        None => build::plan(input, request),
    };
    let at = input.wall;
    match planned {
        Ok(plan) => {
            let mut events = vec![OperationEvent::Planned { at, plan }];
            events.extend(close_jobs(
                input,
                &JobOutcome::Success {
                    message: "success".to_owned(),
                },
            ));
            Decision::events(events)
        }
        Err(Refusal { code, message, .. }) => {
            let outcome = JobOutcome::Failure {
                code,
                message: message.clone(),
            };
            let mut events = close_jobs(input, &outcome);
            events.push(OperationEvent::Ended {
                at,
                end: OperationEnd::Failed { code, message },
            });
            Decision::events(events)
        }
    }
}

fn close_jobs(input: &Input<'_>, outcome: &JobOutcome) -> Vec<OperationEvent> {
    let at = input.wall;
    let closed = |job: &evenkeel_model::Job| OperationEvent::JobClosed {
        at,
        job: job.id,
        outcome: outcome.clone(),
    };
    input.operation.open_jobs().map(closed).collect()
}

fn replan(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    match build::replan(input, request) {
        Ok(plan) => Decision::events(vec![OperationEvent::Planned {
            at: input.wall,
            plan,
        }]),
        Err(NoPlan::Unknown(problem)) if input.idle <= input.tunables.silence => {
            let mut wait = awaiting(
                input,
                format!("what is needed to plan anew: {}", problem.error),
                &problem.action,
            );
            wait.remaining = Some(input.tunables.silence.saturating_sub(input.idle));
            wait.node = problem.node;
            Decision {
                awaiting: vec![wait],
                ..Decision::default()
            }
        }
        Err(NoPlan::Unknown(problem) | NoPlan::Trouble(problem)) => pause_on(input, problem),
    }
}

fn pause_on(input: &Input<'_>, problem: Problem) -> Decision {
    let cause = PauseCause::Error { problem };
    Decision::events(vec![OperationEvent::Paused {
        at: input.wall,
        cause,
    }])
}

fn paused(input: &Input<'_>, cause: &PauseCause) -> Decision {
    let mut wait = awaiting(
        input,
        "an operator's decision".to_owned(),
        "Resume or cancel.",
    );
    if let PauseCause::Error { problem } = cause {
        wait.node = problem.node.clone();
        wait.seen = Some(problem.error.clone());
        wait.unblock = format!("{} Or cancel.", problem.action);
    }
    // Results that were on their way when the update paused are still recorded.
    Decision {
        events: settle(input),
        awaiting: vec![wait],
        ..Decision::default()
    }
}

/// Goes on with the plan.
fn execute(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    let settled = settle(input);
    if !settled.is_empty() {
        return Decision::events(settled);
    }
    let Some(plan) = &input.operation.plan else {
        let text = "the update runs without a plan";
        return pause_on(input, problem_of(None, text, "Cancel the update."));
    };
    let trouble = trouble(input, plan.tasks());
    if is_anything_running(input) {
        return in_flight(input);
    }
    if let Some(problem) = trouble {
        return pause_on(input, problem);
    }
    // A lane that was left early is brought home; nothing new begins after it.
    let left_early = |lane: &Lane| input.operation.restoring.contains_key(&lane.node);
    let goes_on = !plan.lanes().any(left_early);
    let step = plan.steps.iter().position(|step| {
        let open = step
            .lanes
            .iter()
            .any(|lane| !input.operation.lane_over(lane));
        open && (goes_on || step.lanes.iter().any(left_early))
    });
    if goes_on
        && let Some(point) = pause_point(input, plan, step)
        && pauses(input, request, point)
    {
        let cause = PauseCause::User { point };
        return Decision::events(vec![OperationEvent::Paused {
            at: input.wall,
            cause,
        }]);
    }
    match step {
        Some(step) => advance(input, &plan.steps[step].lanes),
        None => finish(input),
    }
}

fn problem_of(node: Option<NodeName>, error: &str, action: &str) -> Problem {
    Problem {
        node,
        error: error.to_owned(),
        action: action.to_owned(),
    }
}

fn is_anything_running(input: &Input<'_>) -> bool {
    running_tasks(input).next().is_some()
}

fn running_tasks<'a>(input: &Input<'a>) -> impl Iterator<Item = &'a TaskProgress> {
    input
        .operation
        .tasks
        .values()
        .filter(|task| matches!(task.state, TaskState::Running))
}

/// Records every result that is in.
fn settle(input: &Input<'_>) -> Vec<OperationEvent> {
    running_tasks(input)
        .flat_map(|task| settle_task(input, task))
        .collect()
}

fn settle_task(input: &Input<'_>, task: &TaskProgress) -> Vec<OperationEvent> {
    let known = input.running.get(&task.task.id);
    let quiet = known.map_or(Duration::ZERO, |known| known.quiet);
    let end = match &task.task.executor {
        Executor::Coordinator => judge(input, task, quiet).end(),
        Executor::Agent(agent) => match known.and_then(|known| known.report.as_ref()) {
            Some(ReportState::Ended { end }) => Some(end.clone()),
            Some(ReportState::Running { .. }) | None => given_up(input, task, agent, quiet),
        },
    };
    end.map(|end| ended(input, task, end)).unwrap_or_default()
}

/// A task whose agent is silent, or makes no progress, for too long. Whatever it did is observed when
/// the update resumes.
fn given_up(
    input: &Input<'_>,
    task: &TaskProgress,
    agent: &NodeName,
    quiet: Duration,
) -> Option<TaskEnd> {
    let what = describe(&task.task).what;
    let silence = input.silence(agent);
    let message = if silence > input.tunables.silence {
        let why = input.why_silent(agent);
        format!(
            "node \"{agent}\" has not answered for {} s: {why}; it should {what}",
            silence.as_secs()
        )
    } else if quiet > input.tunables.no_progress(&task.task.action) {
        format!(
            "node \"{agent}\" made no progress for {} s; it should {what}",
            quiet.as_secs()
        )
    } else {
        return None;
    };
    let error = permanent(
        message,
        "Bring the node and its evenkeeld back, then resume.",
    );
    Some(TaskEnd::Failed { error })
}

/// The end of a task, and what follows from it.
fn ended(input: &Input<'_>, progress: &TaskProgress, end: TaskEnd) -> Vec<OperationEvent> {
    let (at, task) = (input.wall, &progress.task);
    let mut follow = Vec::new();
    match &end {
        TaskEnd::Done { .. } if task.action == Action::MarkGood => {
            follow.extend(node_updated(input, &task.node));
        }
        TaskEnd::Failed { error } if error.kind == TaskErrorKind::FellBack => {
            let problem = problem_of(Some(task.node.clone()), &error.message, &error.action);
            follow.push(OperationEvent::Restoring {
                at,
                node: task.node.clone(),
                problem,
            });
        }
        TaskEnd::Done { .. } | TaskEnd::Failed { .. } => {}
    }
    let (id, attempt) = (task.id, progress.attempt);
    let mut events = vec![OperationEvent::TaskEnded {
        at,
        task: id,
        attempt,
        end,
    }];
    // While paused the lanes do not change course.
    if matches!(input.operation.state, OperationState::Paused { .. }) {
        follow.retain(|event| !matches!(event, OperationEvent::Restoring { .. }));
    }
    events.extend(follow);
    events
}

fn node_updated(input: &Input<'_>, node: &NodeName) -> Option<OperationEvent> {
    let plan = input.operation.plan.as_ref()?;
    let from = plan.from.get(node)?.clone();
    let (at, node, to) = (input.wall, node.clone(), plan.target.clone());
    Some(OperationEvent::NodeUpdated { at, node, from, to })
}

/// A task that failed for good, if one did.
fn trouble<'a>(input: &Input<'_>, tasks: impl Iterator<Item = &'a Task>) -> Option<Problem> {
    let failed = tasks.filter_map(|task| {
        let progress = input.operation.tasks.get(&task.id)?;
        match &progress.state {
            TaskState::Failed { error, .. } if is_final(input, progress, error.kind) => Some(
                problem_of(Some(task.node.clone()), &error.message, &error.action),
            ),
            TaskState::Failed { .. } | TaskState::Running | TaskState::Done { .. } => None,
        }
    });
    failed.into_iter().next()
}

fn is_final(input: &Input<'_>, progress: &TaskProgress, kind: TaskErrorKind) -> bool {
    match kind {
        TaskErrorKind::Permanent => progress.tries > 0,
        TaskErrorKind::FellBack => false,
        // Each new coordinator starts the timer anew: that says nothing against the task.
        TaskErrorKind::Transient if matches!(progress.task.action, Action::Stabilize { .. }) => {
            false
        }
        TaskErrorKind::Transient => progress.tries >= input.tunables.attempts,
    }
}

/// Orders for the agents that work, and what is awaited of each task.
fn in_flight(input: &Input<'_>) -> Decision {
    let orders = running_tasks(input)
        .filter_map(|task| order(input, task))
        .collect();
    let awaiting = running_tasks(input)
        .map(|task| awaited(input, task))
        .collect();
    Decision {
        orders,
        awaiting,
        ..Decision::default()
    }
}

fn order(input: &Input<'_>, progress: &TaskProgress) -> Option<TaskOrder> {
    let plan = input.operation.plan.as_ref()?;
    if progress.task.executor == Executor::Coordinator {
        return None;
    }
    Some(TaskOrder {
        key: TaskKey {
            operation: input.operation.id,
            task: progress.task.id,
            attempt: progress.attempt,
        },
        generation: input.control.generation,
        task: progress.task.clone(),
        partner: input.topology.partner_of(&progress.task.node).cloned(),
        transition: progress.transition,
        before: progress.before.clone(),
        package: plan.package,
        target: plan.target.clone(),
    })
}

fn awaited(input: &Input<'_>, progress: &TaskProgress) -> Awaiting {
    let described = describe(&progress.task);
    let known = input.running.get(&progress.task.id);
    let quiet = known.map_or(Duration::ZERO, |known| known.quiet);
    let seen = match &progress.task.executor {
        Executor::Coordinator => match judge(input, progress, quiet) {
            Verdict::Wait(seen) => Some(seen),
            Verdict::Done | Verdict::Failed(_) | Verdict::StartAnew => None,
        },
        Executor::Agent(agent) => match known.and_then(|known| known.report.as_ref()) {
            Some(ReportState::Running { progress }) => Some(progress.text.clone()),
            Some(ReportState::Ended { .. }) => None,
            None => Some(format!("node \"{agent}\" has not accepted it yet")),
        },
    };
    Awaiting {
        operation: Some(input.operation.id),
        node: Some(progress.task.node.clone()),
        what: described.what,
        since: progress.start,
        seen,
        remaining: Some(
            input
                .tunables
                .no_progress(&progress.task.action)
                .saturating_sub(quiet),
        ),
        unblock: described.unblock,
    }
}

/// The pause point at which the update stands between two tasks, if it is one.
fn pause_point(input: &Input<'_>, plan: &Plan, step: Option<usize>) -> Option<PausePoint> {
    let boundary = |step: usize| match step.checked_sub(1).map(|before| &plan.steps[before]) {
        None => PausePoint::Validation,
        Some(before) if before.lanes.iter().all(|lane| lane.restore.is_empty()) => {
            PausePoint::Install
        }
        Some(_) => PausePoint::Giveback,
    };
    let Some(step) = step else {
        return Some(boundary(plan.steps.len()));
    };
    let lanes = &plan.steps[step].lanes;
    let done = |lane: &Lane| {
        lane.tasks
            .iter()
            .take_while(|t| input.operation.is_done(t.id))
            .count()
    };
    let mut points = lanes.iter().map(|lane| match done(lane).checked_sub(1) {
        None => Some(boundary(step)),
        Some(last) => match lane.tasks[last].action {
            Action::Stabilize {
                after: Milestone::Takeover,
                ..
            } => Some(PausePoint::Takeover),
            _ if last + 1 == lane.tasks.len() => Some(PausePoint::Giveback),
            _ => None,
        },
    });
    let first = points.next()??;
    points.all(|point| point.is_some()).then_some(first)
}

fn pauses(input: &Input<'_>, request: &UpdateRequest, point: PausePoint) -> bool {
    let passed = input.operation.passed.last();
    let again = passed.is_some_and(|p| p.ended_tasks == input.operation.ended_tasks());
    match input.operation.state {
        OperationState::PausePending => true,
        _ => request.pause_after.pauses_at(point) && !again,
    }
}

/// Starts what can be started in the present step: the intent first, the order once it is recorded.
fn advance(input: &Input<'_>, lanes: &[Lane]) -> Decision {
    let mut decision = Decision::default();
    for lane in lanes.iter().filter(|lane| !input.operation.lane_over(lane)) {
        let tasks = match input.operation.restoring.contains_key(&lane.node) {
            true => &lane.restore,
            false => &lane.tasks,
        };
        let Some(task) = tasks.iter().find(|task| !input.operation.is_done(task.id)) else {
            continue;
        };
        match start(input, task) {
            Start::Intent(event) => decision.events.push(*event),
            Start::HandOver(to) => decision.hand_over = Some(to),
            Start::Wait(why) if input.idle > input.tunables.gate() => {
                let action = "Bring the pair into that state, then resume.";
                return pause_on(input, problem_of(Some(task.node.clone()), &why, action));
            }
            Start::Wait(why) => decision.awaiting.push(gated(input, task, why)),
        }
    }
    decision
}

fn gated(input: &Input<'_>, task: &Task, why: String) -> Awaiting {
    let described = describe(task);
    let mut wait = awaiting(
        input,
        format!("before the update can {}", described.what),
        "The pair becoming healthy; the update goes on by itself.",
    );
    wait.node = Some(task.node.clone());
    wait.seen = Some(why);
    wait.remaining = Some(input.tunables.gate().saturating_sub(input.idle));
    wait
}

enum Start {
    Intent(Box<OperationEvent>),
    HandOver(NodeName),
    Wait(String),
}

fn start(input: &Input<'_>, task: &Task) -> Start {
    let earlier = input.operation.tasks.get(&task.id);
    let attempt = earlier.map_or(1, |earlier| earlier.attempt + 1);
    let transition = transition_of(input, task);
    let standing = stands(input, &task.node, transition);
    if task.action == Action::Takeover && !standing {
        if task.node == *input.me {
            return match heir(input) {
                Some(to) => Start::HandOver(to),
                None => Start::Wait("no other node can coordinate".to_owned()),
            };
        }
        if let Err(why) = fit_for_takeover(input, &task.node) {
            return Start::Wait(why);
        }
    }
    let before = match earlier.filter(|_| standing) {
        Some(earlier) => earlier.before.clone(),
        None => before(input, &task.node),
    };
    Start::Intent(Box::new(OperationEvent::TaskStarted {
        at: input.wall,
        since: input.monotonic,
        task: task.id,
        attempt,
        transition,
        before,
    }))
}

fn before(input: &Input<'_>, node: &NodeName) -> Before {
    let boot = |name: &NodeName| input.seen(name).map(|seen| seen.boot_id);
    let partner = input.topology.partner_of(node);
    Before {
        node_boot: boot(node),
        partner_boot: partner.and_then(boot),
    }
}

/// The takeover that a task makes or undoes. Its id follows from the operation and the task that makes
/// it, so that every attempt of it is the same takeover to the HA engine.
fn transition_of(input: &Input<'_>, task: &Task) -> Option<TransitionId> {
    match task.action {
        Action::Takeover => {
            let mut bytes = *input.operation.id.0.as_bytes();
            for (byte, id) in bytes[12..].iter_mut().zip(task.id.0.to_be_bytes()) {
                *byte ^= id;
            }
            Some(TransitionId(uuid::Uuid::from_bytes(bytes)))
        }
        Action::Giveback => {
            let pair = pair_of(input, &task.node);
            let standing = pair.and_then(|pair| pair.transition.as_ref());
            let ours = standing.filter(|t| t.taken == task.node && input.operation.is_ours(t.id));
            let newest = input
                .operation
                .takeover_of(&task.node)
                .and_then(|t| t.transition);
            ours.map_or(newest, |t| t.id)
        }
        Action::Install { .. }
        | Action::Activate { .. }
        | Action::AwaitBoot { .. }
        | Action::Stabilize { .. }
        | Action::VerifyHome { .. }
        | Action::MarkGood => None,
    }
}

fn stands(input: &Input<'_>, node: &NodeName, transition: Option<TransitionId>) -> bool {
    let standing = pair_of(input, node).and_then(|pair| pair.transition.as_ref());
    standing.is_some_and(|t| {
        t.taken == *node && t.id == transition && t.stage != TransitionStage::GivenBack
    })
}

/// Who coordinates while this node is taken over: one that answers, updated ones first, the partner last
/// since it has a takeover to carry out.
fn heir(input: &Input<'_>) -> Option<NodeName> {
    let partner = input.topology.partner_of(input.me);
    let able = input
        .topology
        .names()
        .filter(|name| *name != input.me && serves(input, name));
    let rank = |name: &&NodeName| {
        (
            Some(*name) == partner,
            !input.operation.updated.contains_key(*name),
        )
    };
    able.min_by_key(rank).cloned()
}

fn serves(input: &Input<'_>, name: &NodeName) -> bool {
    let pair = input.seen(name).and_then(|seen| seen.pair.known());
    pair.is_some_and(|pair| pair.as_ref().is_none_or(|pair| pair.local.ha.serves()))
}

/// Everything of the plan is done, or a lane was left early.
fn finish(input: &Input<'_>) -> Decision {
    if let Some(problem) = input.operation.restoring.values().next() {
        return pause_on(input, problem.clone());
    }
    let at = input.wall;
    let findings = post_check(input.topology, input.observations);
    if findings.is_empty() {
        return Decision::events(vec![
            OperationEvent::PostChecked { at, findings },
            OperationEvent::Ended {
                at,
                end: OperationEnd::Completed,
            },
        ]);
    }
    if input.idle <= input.tunables.settle() {
        let issues: Vec<&str> = findings
            .iter()
            .map(|finding| finding.issue.as_str())
            .collect();
        let mut wait = awaiting(
            input,
            "the post-update checks to come clean".to_owned(),
            "The cluster settling after the last giveback.",
        );
        wait.seen = Some(issues.join(" "));
        wait.remaining = Some(input.tunables.settle().saturating_sub(input.idle));
        return Decision {
            awaiting: vec![wait],
            ..Decision::default()
        };
    }
    let failed: Vec<&str> = findings
        .iter()
        .map(|finding| finding.check.as_str())
        .collect();
    let error = format!("post-update checks failed: {}", failed.join("; "));
    let action = "See post_update_checks; mend what they name, then resume: they run again.";
    let cause = PauseCause::Error {
        problem: problem_of(None, &error, action),
    };
    Decision::events(vec![
        OperationEvent::PostChecked { at, findings },
        OperationEvent::Paused { at, cause },
    ])
}

/// Gives back whoever is with its partner by this update's doing, then ends.
fn cancel(input: &Input<'_>) -> Decision {
    let settled = settle(input);
    if !settled.is_empty() {
        return Decision::events(settled);
    }
    if is_anything_running(input) {
        return in_flight(input);
    }
    let canceled = OperationEvent::Ended {
        at: input.wall,
        end: OperationEnd::Canceled,
    };
    let Some(plan) = &input.operation.plan else {
        return Decision::events(vec![canceled]);
    };
    let lanes: Vec<&Lane> = plan
        .lanes()
        .filter(|lane| !lane.restore.is_empty())
        .collect();
    for lane in &lanes {
        if let Some(decision) = join_restore(input, lane) {
            return decision;
        }
    }
    let restoring = |lane: &&&Lane| input.operation.restoring.contains_key(&lane.node);
    let left: Vec<Lane> = lanes
        .iter()
        .filter(restoring)
        .filter(|lane| !input.operation.lane_over(lane))
        .map(|lane| Lane::clone(lane))
        .collect();
    if let Some(problem) = trouble(input, left.iter().flat_map(|lane| &lane.restore)) {
        return pause_on(input, problem);
    }
    match left.is_empty() {
        true => Decision::events(vec![canceled]),
        false => advance(input, &left),
    }
}

/// Marks a lane for restore if its node is with its partner by our doing; waits while that is unknown.
fn join_restore(input: &Input<'_>, lane: &Lane) -> Option<Decision> {
    if input.operation.restoring.contains_key(&lane.node) {
        return None;
    }
    if let Some(error) = foreign(input, &lane.node) {
        let problem = problem_of(Some(lane.node.clone()), &error.message, &error.action);
        return Some(pause_on(input, problem));
    }
    let Some(pair) = pair_of(input, &lane.node) else {
        return Some(cancel_unknown(input, lane));
    };
    let standing = pair
        .transition
        .as_ref()
        .filter(|t| t.stage != TransitionStage::GivenBack);
    standing.filter(|t| t.taken == lane.node)?;
    let problem = problem_of(
        Some(lane.node.clone()),
        "the update is being canceled",
        "Wait for its end.",
    );
    let (at, node) = (input.wall, lane.node.clone());
    Some(Decision::events(vec![OperationEvent::Restoring {
        at,
        node,
        problem,
    }]))
}

fn cancel_unknown(input: &Input<'_>, lane: &Lane) -> Decision {
    let why = input.why_silent(&lane.node);
    let error = format!("whether it is with its partner is not known: {why}");
    let action = "Bring evenkeeld of the pair back, then cancel again.";
    if input.idle > input.tunables.silence {
        return pause_on(input, problem_of(Some(lane.node.clone()), &error, action));
    }
    let mut wait = awaiting(input, format!("the pair of node \"{}\"", lane.node), action);
    wait.node = Some(lane.node.clone());
    wait.seen = Some(error);
    wait.remaining = Some(input.tunables.silence.saturating_sub(input.idle));
    Decision {
        awaiting: vec![wait],
        ..Decision::default()
    }
}
