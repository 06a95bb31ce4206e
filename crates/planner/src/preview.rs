//! What an update would do, told before anything runs.

use std::time::Duration;

use evenkeel_model::{
    Action, Alone, Finding, JobOutcome, Lane, Milestone, Moment, NodeName, OperationEnd,
    OperationEvent, Plan, PlanEstimate, PlanMode, Refusal, Step, Task, Topology, UpdateRequest,
};

use crate::build;
use crate::estimate::{POST_CHECKS_S, PRE_CHECKS_S};
use crate::input::{Decision, Input};
use crate::learn::Learned;
use crate::update::{await_answers, close_jobs, look, refusal};

/// Names in the moments of a recorded estimate: an event has a limit, and a person reads totals.
const MOST_NAMES: usize = 400;

/// A plan that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Preview {
    /// What would be done and how long it takes, or why there is no plan.
    pub plan: Result<(Plan, PlanEstimate), Refusal>,
    /// What the checks find now. Those that a package brings are not run for a preview.
    pub findings: Vec<Finding>,
    /// What they would answer to the update.
    pub blocked: Option<Refusal>,
}

/// Previews an update from what is observed now. Red checks do not keep the plan from being shown.
pub fn preview(input: &Input<'_>, request: &UpdateRequest) -> Preview {
    let findings = look(input, &request.version);
    let blocked = refusal(&findings, request.skip_warnings);
    let plan = build::plan(input, request).map(|plan| {
        let estimate = plan_estimate(&plan, input.learned, input.topology);
        (plan, estimate)
    });
    Preview {
        plan,
        findings,
        blocked,
    }
}

/// The estimate of a plan, moment by moment.
pub fn plan_estimate(plan: &Plan, learned: &Learned, topology: &Topology) -> PlanEstimate {
    let (mut start, mut slow, mut moments) = (0, 0, Vec::new());
    for step in &plan.steps {
        let spans: Vec<Vec<Span>> = step.lanes.iter().map(|lane| spans(lane, learned)).collect();
        let longest = |of: fn(&Span) -> u32| {
            let lanes = spans.iter().map(|lane| lane.iter().map(of).sum::<u32>());
            lanes.max().unwrap_or(0)
        };
        let (seconds, p90) = (longest(|span| span.seconds), longest(|span| span.p90_s));
        moments.extend(together(step, &spans, start, topology));
        start += seconds;
        slow += p90;
    }
    PlanEstimate {
        mode: plan.mode,
        pre_checks_s: PRE_CHECKS_S,
        updates_s: start,
        updates_p90_s: slow,
        post_checks_s: POST_CHECKS_S,
        disruptive: plan.mode == PlanMode::SingleNode,
        moments,
    }
}

/// A part of a lane that people think of as one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Install,
    Gate,
    Prepare,
    TakenOver,
    SteadyAway,
    Giveback,
    Reboot,
    Home,
}

impl Part {
    /// The part that a task is of; `before` is that of the task before it.
    fn of(action: &Action, before: Option<Part>) -> Self {
        match action {
            Action::Install { .. } | Action::Firmware { .. } => Self::Install,
            Action::Gate { .. } | Action::GateScript { .. } => Self::Gate,
            Action::Activate { .. } | Action::Deactivate => Self::Prepare,
            Action::Takeover => Self::TakenOver,
            Action::Reboot => Self::Reboot,
            Action::AwaitBoot { .. } if before == Some(Self::Reboot) => Self::Reboot,
            Action::AwaitBoot { .. } => Self::TakenOver,
            Action::Stabilize {
                after: Milestone::Takeover,
                ..
            } => Self::SteadyAway,
            Action::Giveback => Self::Giveback,
            Action::VerifyHome { .. }
            | Action::Stabilize {
                after: Milestone::Giveback,
                ..
            }
            | Action::MarkGood => Self::Home,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Install => "install the image into the alternate slot",
            Self::Gate => "wait until the gates are open",
            Self::Prepare => "make the image the default",
            Self::TakenOver => "takeover and boot of the new version",
            Self::SteadyAway => "stabilize after takeover",
            Self::Giveback => "giveback",
            Self::Reboot => "reboot into the new version; data is not served",
            Self::Home => "verify, stabilize after giveback, mark the image good",
        }
    }

    /// Whether the partner serves for the node meanwhile.
    fn is_away(self) -> bool {
        match self {
            Self::TakenOver | Self::SteadyAway | Self::Giveback => true,
            Self::Install | Self::Gate | Self::Prepare | Self::Reboot | Self::Home => false,
        }
    }
}

struct Span {
    part: Part,
    seconds: u32,
    p90_s: u32,
}

fn spans(lane: &Lane, learned: &Learned) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for task in &lane.tasks {
        let part = Part::of(&task.action, spans.last().map(|span| span.part));
        let (seconds, p90_s) = expected(task, learned);
        match spans.last_mut().filter(|span| span.part == part) {
            Some(span) => {
                span.seconds += seconds;
                span.p90_s += p90_s;
            }
            None => spans.push(Span {
                part,
                seconds,
                p90_s,
            }),
        }
    }
    spans
}

fn expected(task: &Task, learned: &Learned) -> (u32, u32) {
    let p90_s = learned.expected(&task.action).p90_s;
    (task.estimate_s, p90_s.max(task.estimate_s))
}

/// The moments of a step: lanes that do the same at the same time share theirs.
fn together(step: &Step, spans: &[Vec<Span>], start: u32, topology: &Topology) -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    for (lane, spans) in step.lanes.iter().zip(spans) {
        let mut at = start;
        for span in spans {
            let moment = moment(&lane.node, span, at, topology);
            at += span.seconds;
            let same = |other: &&mut Moment| {
                other.start_s == moment.start_s
                    && other.seconds == moment.seconds
                    && other.p90_s == moment.p90_s
                    && other.what == moment.what
            };
            match moments.iter_mut().find(same) {
                Some(other) => {
                    other.nodes.extend(moment.nodes);
                    other.alone.extend(moment.alone);
                }
                None => moments.push(moment),
            }
        }
    }
    moments.sort_by_key(|moment| moment.start_s);
    moments
}

fn moment(node: &NodeName, span: &Span, start_s: u32, topology: &Topology) -> Moment {
    let partner = topology
        .partner_of(node)
        .filter(|_| span.part.is_away())
        .cloned();
    let alone = partner.map(|serving| Alone {
        serving,
        away: node.clone(),
    });
    Moment {
        start_s,
        seconds: span.seconds,
        p90_s: span.p90_s,
        what: span.part.what().to_owned(),
        nodes: vec![node.clone()],
        alone: alone.into_iter().collect(),
    }
}

/// The next step of an estimate: look once, say how long it takes, end. Nothing is touched.
pub(crate) fn estimate(input: &Input<'_>, request: &UpdateRequest) -> Decision {
    if let Some(decision) = await_answers(input) {
        return decision;
    }
    let at = input.wall;
    let preview = preview(input, request);
    let (mut events, outcome, end) = match preview.plan {
        Ok((_, mut estimate)) => {
            let message = message(input, request, &estimate, preview.blocked.as_ref());
            shorten(&mut estimate);
            let estimated = OperationEvent::Estimated { at, estimate };
            let outcome = JobOutcome::Success { message };
            (vec![estimated], outcome, OperationEnd::Completed)
        }
        Err(Refusal { code, message, .. }) => {
            let end = OperationEnd::Failed {
                code,
                message: message.clone(),
            };
            (Vec::new(), JobOutcome::Failure { code, message }, end)
        }
    };
    events.extend(close_jobs(input, &outcome));
    events.push(OperationEvent::ended(at, end));
    Decision::events(events)
}

/// Leaves out the moments where they would be too many for an event: a live preview has them all.
fn shorten(estimate: &mut PlanEstimate) {
    let names = |moment: &Moment| 2 + moment.nodes.len() + 2 * moment.alone.len();
    if estimate.moments.iter().map(names).sum::<usize>() > MOST_NAMES {
        estimate.moments.clear();
    }
}

fn message(
    input: &Input<'_>,
    request: &UpdateRequest,
    estimate: &PlanEstimate,
    blocked: Option<&Refusal>,
) -> String {
    let shown = |seconds: u32| clock(input.tunables.minute * seconds / 60);
    let PlanEstimate {
        pre_checks_s,
        updates_s,
        updates_p90_s,
        post_checks_s,
        ..
    } = *estimate;
    let mut text = format!(
        "The update to {} is estimated to take {}: pre-update checks {}, updates {} ({} when things are slow); \
         post-update checks {} more. Nothing was changed.",
        request.version,
        shown(pre_checks_s + updates_s),
        shown(pre_checks_s),
        shown(updates_s),
        shown(updates_p90_s),
        shown(post_checks_s),
    );
    if estimate.disruptive {
        text += " It is disruptive: a single node does not serve while it reboots.";
    }
    if let Some(blocked) = blocked {
        text += &format!(" It would be refused now: {}", blocked.message);
    }
    text
}

/// `1:27:00`.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}", seconds % 60)
}
