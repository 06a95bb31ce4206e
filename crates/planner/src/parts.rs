//! Cuts a plan that is too big for one event.

use evenkeel_model::{Event, Lane, OperationEvent, Plan, Refusal, Step, WallTime, code};

use crate::input::Input;

/// Longest event that a plan is put into. The record's own limit is higher.
const MOST_BYTES: usize = 48 * 1024;

/// The events of a plan: itself, after as many parts as it takes. All in one append.
pub(crate) fn planned(at: WallTime, mut plan: Plan) -> Vec<OperationEvent> {
    let revision = plan.revision;
    let room = |bytes: usize| bytes <= MOST_BYTES;
    // A lane is at most a few kilobytes: what has few of them needs no measuring.
    let lanes = plan.lanes().count();
    if lanes <= 8 {
        return vec![OperationEvent::Planned { at, plan }];
    }
    let sizes: Vec<Vec<usize>> = plan
        .steps
        .iter()
        .map(|step| step.lanes.iter().map(|lane| size(at, lane)).collect())
        .collect();
    if room(sizes.iter().flatten().sum()) {
        let whole = OperationEvent::Planned { at, plan };
        if room(Event::Operation(whole.clone()).encode().len()) {
            return vec![whole];
        }
        let OperationEvent::Planned { plan: back, .. } = whole else {
            unreachable!("it was just made")
        };
        plan = back;
    }
    let steps = std::mem::take(&mut plan.steps);
    let mut events = parts(at, revision, steps, &sizes);
    events.push(OperationEvent::Planned { at, plan });
    events
}

/// Why a plan in parts cannot be recorded now, if it cannot: a daemon of an older release may not read parts.
/// One that reads those of the plan before does.
pub(crate) fn not_readable(input: &Input<'_>, events: &[OperationEvent]) -> Option<Refusal> {
    let in_parts = events.len() > 1;
    if !in_parts || !input.control.mixed_daemons() {
        return None;
    }
    let before = input.operation.plan.as_deref().cloned();
    if before.is_some_and(|before| planned(input.wall, before).len() > 1) {
        return None;
    }
    let text = "The plan is too long to be recorded while the nodes run different releases of evenkeeld, or one \
                has not said which: not every one would understand it. Bring all nodes to one release first, or \
                update fewer nodes at a time (nodes_to_update).";
    Some(Refusal::new(code::WRONG_STATE, text))
}

/// Bytes of a lane, and of what stands around it.
fn size(at: WallTime, lane: &Lane) -> usize {
    let lanes = vec![lane.clone()];
    let alone = OperationEvent::PlanPart {
        at,
        revision: 0,
        steps: vec![Step { lanes }],
        continues: false,
    };
    Event::Operation(alone).encode().len()
}

fn parts(
    at: WallTime,
    revision: u32,
    steps: Vec<Step>,
    sizes: &[Vec<usize>],
) -> Vec<OperationEvent> {
    /// What stands around the steps of a part.
    const AROUND: usize = 256;
    let mut events = Vec::new();
    let (mut part, mut bytes, mut continues) = (Vec::<Step>::new(), AROUND, false);
    for (step, sizes) in steps.into_iter().zip(sizes) {
        part.push(Step { lanes: Vec::new() });
        for (lane, size) in step.lanes.into_iter().zip(sizes) {
            let last = part.last_mut().expect("a step was just pushed");
            if bytes + size > MOST_BYTES && bytes > AROUND {
                let goes_on = !last.lanes.is_empty();
                if !goes_on {
                    part.pop();
                }
                let steps = std::mem::replace(&mut part, vec![Step { lanes: Vec::new() }]);
                events.push(OperationEvent::PlanPart {
                    at,
                    revision,
                    steps,
                    continues,
                });
                (bytes, continues) = (AROUND, goes_on);
            }
            bytes += size;
            let last = part.last_mut().expect("a part begins with a step");
            last.lanes.push(lane);
        }
    }
    events.push(OperationEvent::PlanPart {
        at,
        revision,
        steps: part,
        continues,
    });
    events
}
