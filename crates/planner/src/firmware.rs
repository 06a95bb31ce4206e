//! A firmware update: its package comes to every node, then the nodes bring their devices up to date, in an order in
//! which data stays served whatever the firmware is worth.
//!
//! Disks: one disk of each model first, on one node after the other; then all nodes side by side, since every node touches its own
//! groups only. Shelves and service processors: one node of each pair, then its partner, since the partner's are what
//! is left should the firmware be bad: where one's failed in the writing, the partner's are left as they are. The disk qualification package is data: all nodes at once.
//!
//! A node that fails keeps none of the others from theirs, but for the first disks: if those fail, no other is touched.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    Action, DeviceFirmware, DeviceModel, Digest, Executor, FirmwareKind, FirmwareOffer, Gates,
    JobOutcome, Lane, NodeName, OperationEnd, OperationState, Plan, PlanMode, Problem, Step, Task,
    TaskId, TaskState, Version, code,
};

use crate::carry::{holders, list, patience, reasons, waits};
use crate::checks::NAMED;
use crate::input::{Decision, Input};
use crate::next::awaiting;
use crate::package::{end, failed};
use crate::pair::all_standing;
use crate::parts;
use crate::update::{each, problem_of, settle, trouble, with_flight};
use crate::words::cut;

/// What is said where disks that hold data were left out on an operator's word.
const SPARES_ONLY: &str =
    "Firmware in the background is off: disks that hold data were left as they are.";
/// Bytes of what one node says of its failure in the job's message.
const REASON_MAX: usize = 600;

/// The next step of a firmware update.
pub(crate) fn next(input: &Input<'_>, digest: Digest, kind: FirmwareKind) -> Decision {
    match &input.operation.state {
        OperationState::Requested => moving(input, digest, kind),
        OperationState::Running | OperationState::PausePending => working(input),
        OperationState::CancelPending => winding_down(input),
        OperationState::Validated
        | OperationState::Paused { .. }
        | OperationState::Replanning
        | OperationState::Ended { .. } => Decision::default(),
    }
}

/// Until the package is on every node that answers, or does not come.
fn moving(input: &Input<'_>, digest: Digest, kind: FirmwareKind) -> Decision {
    let Some(entry) = input.catalogue.firmware.get(&digest) else {
        let message = "The firmware package is not in the repository any more.".to_owned();
        return failed(input, code::FIRMWARE_ABSENT, message);
    };
    let holders = holders(input.topology, input.observations, digest);
    let patience = patience(input, &holders.without, digest);
    if !holders.without.is_empty() && input.idle <= patience {
        let name = &entry.firmware.summary.name;
        return Decision::waits(waits(input, &holders.without, digest, name));
    }
    if holders.with.is_empty() {
        let message = format!(
            "The firmware package is on no node that answers.{}",
            reasons(input, &holders.without, digest)
        );
        return failed(input, code::FIRMWARE_NOT_STAGED, message);
    }
    if let Some(decision) = not_now(input) {
        return decision;
    }
    let nodes: Vec<NodeName> = holders.with.into_iter().cloned().collect();
    let plan = plan(input, digest, kind, nodes);
    Decision::events(parts::planned(input.wall, plan))
}

/// Nothing is written while a partner serves for two.
fn not_now(input: &Input<'_>) -> Option<Decision> {
    let standing = all_standing(input.topology, input.observations);
    let takeover = standing.first()?;
    let (node, by) = (&takeover.taken, &takeover.by);
    let seen = format!("node \"{by}\" serves for node \"{node}\"");
    let bound = input.tunables.gate();
    if input.idle > bound {
        let message = format!(
            "No device was touched: {seen}, and that has not changed for {} s. Give node \"{node}\" back, then bring \
             the firmware in again.",
            bound.as_secs()
        );
        return Some(failed(input, code::FIRMWARE_NOT_STARTED, message));
    }
    let what = format!("node \"{node}\" to be given back before firmware is written");
    let unblock = format!("Give node \"{node}\" back; the firmware update goes on by itself.");
    let mut wait = awaiting(input, what, &unblock);
    wait.node = Some(node.clone());
    wait.seen = Some(seen);
    wait.remaining = Some(bound.saturating_sub(input.idle));
    Some(Decision::wait(wait))
}

fn plan(input: &Input<'_>, package: Digest, kind: FirmwareKind, nodes: Vec<NodeName>) -> Plan {
    let mut numbers = 1..;
    let mut step = |nodes: Vec<NodeName>, first: bool| {
        let lanes = nodes.into_iter().map(|node| {
            let action = Action::Firmware {
                package,
                kind,
                first,
                spares_only: kind == FirmwareKind::Disk && input.control.firmware_spares_only,
            };
            let task = Task {
                id: TaskId(numbers.next().unwrap_or(u32::MAX)),
                node: node.clone(),
                executor: Executor::Agent(node.clone()),
                estimate_s: input.learned.expected(&action).median_s,
                action,
            };
            Lane {
                node,
                tasks: vec![task],
                restore: Vec::new(),
                undo: Vec::new(),
            }
        });
        Step {
            lanes: lanes.collect(),
        }
    };
    let steps = match kind {
        FirmwareKind::Qualification => vec![step(nodes, false)],
        FirmwareKind::Disk => {
            let firsts = first_nodes(input, digest_offers(input, package), &nodes);
            let firsts = firsts.into_iter().map(|node| step(vec![node], true));
            let mut steps: Vec<Step> = firsts.collect();
            steps.push(step(nodes, false));
            steps
        }
        FirmwareKind::Shelf | FirmwareKind::ServiceProcessor => {
            let later = |node: &NodeName| {
                let partner = input.topology.partner_of(node);
                partner.is_some_and(|partner| partner < node && nodes.contains(partner))
            };
            let (second, first): (Vec<_>, Vec<_>) = nodes.iter().cloned().partition(later);
            let halves = [first, second].into_iter();
            let halves = halves.filter(|nodes| !nodes.is_empty());
            halves.map(|nodes| step(nodes, false)).collect()
        }
    };
    Plan {
        revision: 1,
        target: Version::new(kind.to_string().replace('/', "-")).expect("words and spaces"),
        package,
        mode: PlanMode::Batch,
        gates: Gates::default(),
        remark: None,
        from: BTreeMap::new(),
        steps,
    }
}

fn digest_offers<'a>(input: &Input<'a>, package: Digest) -> &'a [FirmwareOffer] {
    let entry = input.catalogue.firmware.get(&package);
    entry.map_or(&[], |entry| &entry.firmware.summary.offers)
}

/// Nodes that bring one disk of each model up to date before any other: the first one, and who has models that those
/// before it lack.
fn first_nodes(input: &Input<'_>, offers: &[FirmwareOffer], nodes: &[NodeName]) -> Vec<NodeName> {
    let models = |node: &NodeName| -> BTreeSet<&DeviceModel> {
        let seen = input.seen(node).and_then(|seen| seen.firmware.known());
        let devices = seen.into_iter().flat_map(|firmware| &firmware.devices);
        let spares_only = input.control.firmware_spares_only;
        let disks = devices
            .filter(|device| device.kind == FirmwareKind::Disk)
            .filter(|disk| disk.spare || !spares_only);
        let models = disks.filter_map(|disk| disk.model.as_ref());
        let is_offered =
            |model: &&DeviceModel| offers.iter().any(|it| it.model.as_ref() == Some(*model));
        models.filter(is_offered).collect()
    };
    let mut proven = BTreeSet::new();
    let mut firsts = Vec::new();
    for node in nodes {
        let new: Vec<_> = models(node).difference(&proven).copied().collect();
        if !new.is_empty() || firsts.is_empty() {
            proven.extend(new);
            firsts.push(node.clone());
        }
    }
    firsts
}

/// Starts what is due, step by step; a lane is over when its task is done, or failed for good.
fn working(input: &Input<'_>) -> Decision {
    let settled = settle(input);
    if !settled.is_empty() {
        return Decision::events(settled);
    }
    let Some(plan) = &input.operation.plan else {
        return Decision::default();
    };
    for step in &plan.steps {
        let lanes = || step.lanes.iter().flat_map(|lane| &lane.tasks);
        let is_due = |task: &&Task| is_open(input, task) && held_back(input, plan, task).is_none();
        let open: Vec<&Task> = lanes().filter(is_due).collect();
        if !open.is_empty() {
            let due = open.into_iter().filter(|task| !runs(input, task));
            let decision = each(input, due).decision;
            return match decision.events.is_empty() {
                true => with_flight(input, decision),
                false => decision,
            };
        }
        let is_first = |task: &Task| matches!(task.action, Action::Firmware { first: true, .. });
        if lanes().any(|task| is_first(task) && trouble(input, task).is_some()) {
            break;
        }
    }
    finish(input, plan)
}

/// After a cancel nothing more begins; what is being written comes to its end.
fn winding_down(input: &Input<'_>) -> Decision {
    let settled = settle(input);
    if !settled.is_empty() {
        return Decision::events(settled);
    }
    let tasks = input.operation.tasks.values();
    if tasks
        .map(|it| &it.state)
        .any(|state| *state == TaskState::Running)
    {
        return with_flight(input, Decision::default());
    }
    let message = "The firmware update was canceled. Devices that were written to by then run the new firmware.";
    let outcome = JobOutcome::Failure {
        code: code::FIRMWARE_WITH_ERRORS,
        message: message.to_owned(),
    };
    end(input, OperationEnd::Canceled, outcome)
}

fn runs(input: &Input<'_>, task: &Task) -> bool {
    let progress = input.operation.tasks.get(&task.id);
    progress.is_some_and(|progress| progress.state == TaskState::Running)
}

fn is_open(input: &Input<'_>, task: &Task) -> bool {
    !input.operation.is_done(task.id) && trouble(input, task).is_none()
}

/// A node that had no turn, since the first disks failed.
fn not_begun(input: &Input<'_>, plan: &Plan, node: &NodeName) -> Option<Problem> {
    let mut own = plan.tasks().filter(|task| task.node == *node);
    let left = own.any(|task| !input.operation.tasks.contains_key(&task.id));
    let error = "not begun, since the first disks failed";
    let action = "Find out why those failed first; then bring the firmware in again.";
    left.then(|| problem_of(Some(node.clone()), error, action))
}

/// The partner, whose shelves or service processor the firmware harmed perhaps: then these are not touched.
fn held_back<'a>(input: &'a Input<'_>, plan: &'a Plan, task: &Task) -> Option<&'a NodeName> {
    let partner = input.topology.partner_of(&task.node)?;
    let in_halves = match task.action {
        Action::Firmware { kind, .. } => {
            matches!(kind, FirmwareKind::Shelf | FirmwareKind::ServiceProcessor)
        }
        _ => false,
    };
    let begun = input.operation.tasks.contains_key(&task.id);
    let mut others = plan.tasks().filter(|other| other.node == *partner);
    let harmed = others.any(|other| {
        let state = input.operation.tasks.get(&other.id).map(|it| &it.state);
        let code = match state {
            Some(TaskState::Failed { error, .. }) => error.code,
            Some(TaskState::Running | TaskState::Done { .. }) | None => None,
        };
        code == Some(code::FIRMWARE_OF_NODE_FAILED) && trouble(input, other).is_some()
    });
    (in_halves && !begun && harmed).then_some(partner)
}

/// A device that the package is for and that still runs something older, though no task says so: whoever served it in a
/// takeover meanwhile passed it over.
fn behind(input: &Input<'_>, plan: &Plan, node: &NodeName) -> Option<Problem> {
    let spares_only = is_for_spares_only(plan);
    let firmware = &input.catalogue.firmware.get(&plan.package)?.firmware;
    let seen = input.seen(node)?.firmware.known()?;
    let of_kind =
        |it: &&DeviceFirmware| it.kind == firmware.summary.kind && (it.spare || !spares_only);
    seen.devices.iter().filter(of_kind).find_map(|device| {
        let runs = device.revision.as_ref()?;
        let mut offers = firmware.summary.offers.iter();
        let offer = offers.find(|offer| offer.model == device.model)?;
        let (device, offered) = (&device.device, &offer.revision);
        runs.order(offered).is_lt().then(|| {
            let error = format!("{device} still runs {runs}, not {offered}");
            problem_of(Some(node.clone()), &error, "Bring the firmware in again.")
        })
    })
}

fn is_for_spares_only(plan: &Plan) -> bool {
    plan.tasks().any(|task| {
        matches!(
            task.action,
            Action::Firmware {
                spares_only: true,
                ..
            }
        )
    })
}

/// What the job says: all is well, or which nodes are not up to date and why.
fn finish(input: &Input<'_>, plan: &Plan) -> Decision {
    let mut problems: BTreeMap<&NodeName, Problem> = BTreeMap::new();
    let mut left: BTreeMap<&NodeName, Problem> = BTreeMap::new();
    for task in plan.tasks() {
        let held_back = || {
            let partner = held_back(input, plan, task)?;
            let error = format!("not begun, since it failed on its partner \"{partner}\"");
            let action = "When its partner is well, bring the firmware in again.";
            Some(problem_of(Some(task.node.clone()), &error, action))
        };
        if let Some(problem) = trouble(input, task).or_else(held_back) {
            problems.insert(&task.node, problem);
        }
    }
    for lane in plan
        .lanes()
        .filter(|lane| !problems.contains_key(&lane.node))
    {
        let problem = not_begun(input, plan, &lane.node);
        if let Some(problem) = problem.or_else(|| behind(input, plan, &lane.node)) {
            left.insert(&lane.node, problem);
        }
    }
    problems.append(&mut left);
    let planned = |name: &&NodeName| plan.lanes().any(|lane| lane.node == **name);
    let left_out: Vec<&NodeName> = input.topology.names().filter(|it| !planned(it)).collect();
    if problems.is_empty() && left_out.is_empty() {
        let message = match is_for_spares_only(plan) {
            false => "Firmware update completed.".to_owned(),
            true => format!("Firmware update completed. {SPARES_ONLY}"),
        };
        let outcome = JobOutcome::Success { message };
        return end(input, OperationEnd::Completed, outcome);
    }
    let done = plan.lanes().any(|lane| !problems.contains_key(&lane.node));
    let (code, mut message) = match done {
        true => (
            code::FIRMWARE_WITH_ERRORS,
            "Firmware update completed with errors.".to_owned(),
        ),
        false => (
            code::FIRMWARE_OF_NODE_FAILED,
            "Firmware update failed.".to_owned(),
        ),
    };
    for (node, problem) in problems.iter().take(NAMED) {
        let why = cut(problem.error.trim_end_matches('.'), REASON_MAX);
        message += &format!(" Node \"{node}\": {why}. {}", problem.action);
    }
    if let Some(more) = problems.len().checked_sub(NAMED).filter(|more| *more > 0) {
        message += &format!(" And {more} more nodes.");
    }
    if !left_out.is_empty() {
        message += &format!(
            " Not begun on {}: down, not answering, or without the package. Bring the firmware in again when they \
             are back.",
            list(&left_out)
        );
    }
    match done {
        true => end(
            input,
            OperationEnd::Completed,
            JobOutcome::Failure { code, message },
        ),
        false => failed(input, code, message),
    }
}
