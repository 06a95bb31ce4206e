//! Judges tasks that the coordinator carries out by observing: done, failed, or not yet and why.

use std::time::Duration;

use evenkeel_model::{
    Action, How, MemberHa, Milestone, NodeName, TaskEnd, TaskError, TaskErrorKind, TaskProgress,
    Version,
};

use crate::explain::describe;
use crate::gate;
use crate::input::Input;
use crate::lack::Lack;
use crate::pair::{foreign, member, not_home, pair_of};
use crate::stand_in::{cannot_stand_in, lost_path};

/// A verdict on a watched task.
pub(crate) enum Verdict {
    Done,
    /// Not yet: what was last seen.
    Wait(String),
    Failed(TaskError),
    /// The timer's continuity is unproven: it starts anew.
    StartAnew,
}

impl Verdict {
    pub(crate) fn end(self) -> Option<TaskEnd> {
        match self {
            Self::Done => Some(TaskEnd::Done {
                how: How::Completed,
            }),
            Self::Failed(error) => Some(TaskEnd::Failed { error }),
            Self::StartAnew => {
                let message = "another coordinator carries on; the timer starts anew".to_owned();
                let action = "None while this is rare. Where one coordinator follows another all the time, the log of \
                              each evenkeeld says why it stopped: mostly the disk under the record is slow. Mend \
                              that, then resume."
                    .to_owned();
                let error = TaskError {
                    kind: TaskErrorKind::Transient,
                    message,
                    action,
                    code: None,
                };
                Some(TaskEnd::Failed { error })
            }
            Self::Wait(_) => None,
        }
    }
}

pub(crate) fn permanent(message: String, action: &str) -> TaskError {
    TaskError {
        kind: TaskErrorKind::Permanent,
        message,
        action: action.to_owned(),
        code: None,
    }
}

/// Judges a running task of the coordinator's own.
pub(crate) fn judge(input: &Input<'_>, progress: &TaskProgress, quiet: Duration) -> Verdict {
    let node = &progress.task.node;
    let verdict = match &progress.task.action {
        Action::AwaitBoot { version } => await_boot(input, node, version),
        Action::Stabilize { minutes, after } => stabilize(input, progress, *minutes, *after),
        Action::VerifyHome { version } => verify_home(input, node, version.as_ref()),
        Action::Gate { gates } => return gate::judge(input, progress, gates),
        Action::Install { .. }
        | Action::Activate { .. }
        | Action::Deactivate
        | Action::Takeover
        | Action::Giveback
        | Action::GateScript { .. }
        | Action::Reboot
        | Action::Firmware { .. }
        | Action::MarkGood => Verdict::Wait("its agent carries it out".to_owned()),
    };
    match verdict {
        Verdict::Wait(seen) if quiet > input.tunables.no_progress(&progress.task.action) => {
            let waited = input.tunables.no_progress(&progress.task.action).as_secs();
            let message = format!("{seen}, and nothing has changed for {waited} s");
            Verdict::Failed(permanent(message, &unblock(input, progress)))
        }
        verdict => verdict,
    }
}

/// What a person does about a watched task that has come to nothing.
fn unblock(input: &Input<'_>, progress: &TaskProgress) -> String {
    let node = &progress.task.node;
    let pair = pair_of(input, node);
    let waits = pair.is_some_and(|pair| member(pair, node).ha == MemberHa::WaitingForGiveback);
    match &progress.task.action {
        Action::AwaitBoot { version } if waits && input.seen(node).is_none() => format!(
            "Log in to node \"{node}\" through its service processor and start evenkeeld; its log says \
             why it does not run or does not join. If it cannot run on {version}, reset the node until \
             its boot loader falls back to the old version. Then resume."
        ),
        Action::AwaitBoot { version } => format!(
            "Look at the console of node \"{node}\" through its service processor and bring it up on \
             {version}, or reset it: after three boots in vain its boot loader falls back to the old \
             version. When it is in \"waiting for giveback\" state, resume."
        ),
        Action::VerifyHome { version } => {
            let lack = unverified(input, node, version.as_ref());
            lack.map_or(String::new(), |lack| {
                format!("{}, then resume.", lack.action)
            })
        }
        Action::Stabilize { .. } => {
            format!("Bring node \"{node}\" and its evenkeeld back, then resume.")
        }
        // An agent's, and gates, whose end says for itself what to do.
        Action::Install { .. }
        | Action::Activate { .. }
        | Action::Deactivate
        | Action::Takeover
        | Action::Giveback
        | Action::MarkGood
        | Action::Gate { .. }
        | Action::GateScript { .. }
        | Action::Firmware { .. }
        | Action::Reboot => describe(&progress.task).unblock,
    }
}

fn await_boot(input: &Input<'_>, node: &NodeName, target: &Version) -> Verdict {
    let down = input.operation.taken_down(node);
    let before = down.and_then(|task| task.before.node_boot);
    if let Some(failed) = foreign(input, node) {
        return Verdict::Failed(failed);
    }
    let Some(seen) = input.seen(node) else {
        return Verdict::Wait(not_waiting(input, node));
    };
    let alone = input.topology.partner_of(node).is_none();
    // A single node that runs it already was rebooted by someone else: it began on another version.
    if alone && seen.version.known() == Some(target) {
        return Verdict::Done;
    }
    if Some(seen.boot_id) == before {
        return Verdict::Wait(format!("node \"{node}\" has not rebooted yet"));
    }
    if alone {
        return match seen.version.known() {
            Some(version) => fell_back(node, version, target),
            None => Verdict::Wait(format!("which version node \"{node}\" runs is not known")),
        };
    }
    let ha = seen
        .pair
        .known()
        .and_then(Option::as_ref)
        .map(|pair| pair.local.ha);
    match (seen.version.known(), ha) {
        (Some(version), Some(MemberHa::WaitingForGiveback | MemberHa::PartialGiveback)) => {
            if version == target {
                Verdict::Done
            } else {
                fell_back(node, version, target)
            }
        }
        (_, Some(MemberHa::Serving)) => Verdict::Failed(given_back(input, node)),
        (_, Some(MemberHa::Booting | MemberHa::Down | MemberHa::Fenced) | None) | (None, _) => {
            Verdict::Wait(not_waiting(input, node))
        }
    }
}

fn given_back(input: &Input<'_>, node: &NodeName) -> TaskError {
    let newest = pair_of(input, node).and_then(|pair| pair.transition.as_ref());
    let undone = newest.filter(|newest| input.operation.is_ours(newest.id));
    if let Some(why) = undone.and_then(|newest| newest.trouble.as_ref()) {
        return permanent(
            format!(
                "node \"{node}\" serves again, since the HA engine has undone its takeover: {why}"
            ),
            "See to the reason, then resume: the update goes on from there.",
        );
    }
    permanent(
        format!("node \"{node}\" serves again although this update did not give it back"),
        "Find out who gave it back, then resume: the update goes on from there.",
    )
}

fn fell_back(node: &NodeName, version: &Version, target: &Version) -> Verdict {
    let message = format!("node \"{node}\" did not come up on {target} and fell back to {version}");
    let action = "See the node's console log for why the new image did not boot. If it was the node, \
                  mend it, then resume: it is tried again. If it was the package, cancel, then update \
                  with another one.";
    Verdict::Failed(TaskError {
        kind: TaskErrorKind::FellBack,
        message,
        action: action.to_owned(),
        code: None,
    })
}

/// What the partner and the node say about a node that should be waiting for giveback.
fn not_waiting(input: &Input<'_>, node: &NodeName) -> String {
    let ha = pair_of(input, node).map(|pair| member(pair, node).ha);
    match ha {
        Some(MemberHa::WaitingForGiveback) => format!(
            "node \"{node}\" is in \"waiting for giveback\" state, but its evenkeeld does not \
             answer: {}",
            input.why_silent(node)
        ),
        Some(ha) => {
            let state = ha.text();
            format!("node \"{node}\" is not in \"waiting for giveback\" state: {state}")
        }
        None => format!(
            "nothing is known of node \"{node}\": {}",
            input.why_silent(node)
        ),
    }
}

fn stabilize(
    input: &Input<'_>,
    progress: &TaskProgress,
    minutes: u32,
    after: Milestone,
) -> Verdict {
    let Some(elapsed) = input.monotonic.since(progress.since) else {
        return Verdict::StartAnew;
    };
    let node = &progress.task.node;
    let steady = match steady(input, node, after) {
        Steady::Yes => None,
        Steady::Unknown(seen) => Some(seen),
        Steady::No(error) => return Verdict::Failed(error),
    };
    let needed = input.tunables.minutes(minutes);
    match steady {
        _ if elapsed < needed => {
            let left = (needed - elapsed).as_secs_f64();
            Verdict::Wait(steady.unwrap_or_else(|| format!("{left:.1} s to go")))
        }
        Some(seen) => Verdict::Wait(seen),
        None => Verdict::Done,
    }
}

/// Who serves for a node that does not.
fn partner_text(input: &Input<'_>, node: &NodeName) -> String {
    let serves = |partner: &&NodeName| {
        pair_of(input, node).is_some_and(|pair| member(pair, partner).ha.serves())
    };
    let partner = input.topology.partner_of(node).filter(serves);
    partner.map_or(String::new(), |partner| {
        format!("; node \"{partner}\" serves")
    })
}

enum Steady {
    Yes,
    No(TaskError),
    Unknown(String),
}

/// Whether the pair still is as the milestone left it.
fn steady(input: &Input<'_>, node: &NodeName, after: Milestone) -> Steady {
    if let Some(error) = foreign(input, node) {
        return Steady::No(error);
    }
    let Some(pair) = pair_of(input, node) else {
        return Steady::Unknown(format!("the pair of node \"{node}\" does not answer"));
    };
    let ha = member(pair, node).ha;
    let (expected, stays) = match after {
        // A giveback that was left half-way stays so until the next task finishes it.
        Milestone::Takeover => (
            MemberHa::WaitingForGiveback,
            matches!(ha, MemberHa::WaitingForGiveback | MemberHa::PartialGiveback),
        ),
        Milestone::Giveback => (MemberHa::Serving, ha == MemberHa::Serving),
    };
    if ha == MemberHa::Serving && after == Milestone::Takeover {
        return Steady::No(given_back(input, node));
    }
    if !stays {
        let state = ha.text();
        let (left, partner) = (expected.text(), partner_text(input, node));
        let message = format!(
            "while stabilizing, node \"{node}\" left its state: {left} no more, but {state}{partner}"
        );
        return Steady::No(permanent(
            message,
            "Find out from its console log why. Bring it up until it is in that state again, then \
             resume.",
        ));
    }
    match input.seen(node) {
        Some(_) => Steady::Yes,
        None => Steady::Unknown(format!("node \"{node}\": {}", input.why_silent(node))),
    }
}

fn verify_home(input: &Input<'_>, node: &NodeName, version: Option<&Version>) -> Verdict {
    if let Some(error) = foreign(input, node) {
        return Verdict::Failed(error);
    }
    let runs = input.seen(node).and_then(|seen| seen.version.known());
    if let (Some(expected), Some(runs)) = (version, runs)
        && expected != runs
    {
        let message = format!("node \"{node}\" runs {runs}, not {expected}");
        return Verdict::Failed(permanent(message, "Find out why; then resume."));
    }
    match unverified(input, node, version) {
        None => Verdict::Done,
        Some(Lack { what, .. }) => Verdict::Wait(what),
    }
}

/// What a node lacks that should be at home. One that goes on with the update must also be able to carry its
/// partner, and its partner it; one that comes home before a pause or at a cancel need not.
fn unverified(input: &Input<'_>, node: &NodeName, version: Option<&Version>) -> Option<Lack> {
    let Some(seen) = input.seen(node) else {
        return Some(Lack::silent(node, &input.why_silent(node)));
    };
    let goes_on = version.is_some();
    if let Err(why) = seen.version.as_result()
        && goes_on
    {
        return Some(Lack::blind(node, "boot slots", why));
    }
    not_home(input, node, seen)
        .or_else(|| lost_path(node, seen))
        .or_else(|| cannot_stand_in(input, node).filter(|_| goes_on))
}
