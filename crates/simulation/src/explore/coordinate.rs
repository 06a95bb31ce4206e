//! The coordinator: the real planner over the real folds, fed with what the real agents answer, one round
//! at a time. A round looks and decides at one moment; what it decided is appended, and its orders arrive,
//! at any later one, whatever happened between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_interconnect::{AgentRequest, AgentResponse};
use evenkeel_model::{
    Action, ClusterObservation, ControlEvent, Event, EventId, Executor, Generation, Monotonic,
    NodeName, Observed, OperationEvent, OperationState, StreamId, TaskId, TaskKey, TaskOrder,
    TaskState,
};
use evenkeel_planner::{Decision, Input, Learned, Running, Tunables, next};
use evenkeel_record::{Append, Fence, NewEvent, StreamWrite};
use uuid::Uuid;

use super::kept::{Kept, join, print};
use super::rules;
use super::stage::Stepper;
use super::state::{Coordinator, Letter, Mail, State, name, operation_id};
use crate::settings::epoch;

/// How a coordinator's round goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// A node whose answers do not come.
    pub(crate) misses: Option<usize>,
    /// All that it waits for has lasted too long.
    pub(crate) impatient: bool,
}

/// What a round broke.
pub(crate) type Broken = Option<String>;

/// One round of the coordinator on a node.
pub(crate) fn round(stepper: &Stepper, state: &mut State, me: usize, round: Round) -> Broken {
    let coordinator = state.nodes[me].coordinator.clone()?;
    let control = state.recorded.view.control();
    let named = control.coordinator.as_ref().map(|c| &c.node);
    if control.generation != coordinator.generation || named != Some(&name(me)) {
        state.nodes[me].coordinator = None;
        return None;
    }
    let mut coordinator = (*coordinator).clone();
    let reached = [0, 1].map(|n| state.nodes[n].up.is_some() && round.misses != Some(n));
    for node in (0..2).filter(|node| reached[*node]) {
        introduce(stepper, state, me, node, &mut coordinator);
    }
    let decision = decide(stepper, state, me, round, reached, &coordinator);
    let broken = silent(state, &decision).or_else(|| rules::loses_the_record(state, &decision));
    let hand_over = decision.hand_over.clone();
    if !decision.events.is_empty() {
        if let Some(illegal) = illegal(state, &decision.events) {
            return Some(illegal);
        }
        let letter = letter(state, me, coordinator.generation, decision.events);
        coordinator.holds = Some(Kept::new(letter));
    } else if let Some(to) = hand_over {
        let generation = coordinator.generation;
        let event = ControlEvent::HandedOver {
            at: epoch(),
            generation,
            to,
        };
        let append = append(
            state,
            generation,
            vec![(StreamId::Control, vec![Event::Control(event)])],
        );
        coordinator.holds = Some(Kept::new(Letter {
            by: me,
            generation,
            append,
        }));
    } else {
        send(state, me, &coordinator, decision.orders);
    }
    state.nodes[me].coordinator = Some(Kept::new(coordinator));
    broken
}

/// The node refuses older coordinators from now on, and says what its journal holds of running tasks.
fn introduce(
    stepper: &Stepper,
    state: &mut State,
    me: usize,
    node: usize,
    coordinator: &mut Coordinator,
) {
    if !coordinator.installed[node] {
        let request = AgentRequest::Install {
            generation: coordinator.generation,
            coordinator: name(me),
        };
        let (response, memory) = stepper.answer(node, me, &state.scenery(), request);
        state.nodes[node].memory = memory;
        coordinator.installed[node] = matches!(response, AgentResponse::Journal { .. });
    }
    let keys = running_keys(state, node);
    coordinator
        .reports
        .retain(|key, _| running(state).any(|(_, k)| k == *key));
    let request = AgentRequest::Reports { keys: keys.clone() };
    let (response, _) = stepper.answer(node, me, &state.scenery(), request);
    if let AgentResponse::Journal { reports } = response {
        for key in keys {
            coordinator.reports.remove(&key);
        }
        let reports = reports.into_iter().map(|report| (report.key, report.state));
        coordinator.reports.extend(reports);
    }
}

fn running(state: &State) -> impl Iterator<Item = (&Executor, TaskKey)> {
    let tasks = state.operation().tasks.values();
    let running = tasks.filter(|task| matches!(task.state, TaskState::Running));
    running.map(|task| {
        let key = TaskKey {
            operation: operation_id(),
            task: task.task.id,
            attempt: task.attempt,
        };
        (&task.task.executor, key)
    })
}

fn running_keys(state: &State, node: usize) -> Vec<TaskKey> {
    let agent = Executor::Agent(name(node));
    let of_node = running(state).filter(|(executor, _)| **executor == agent);
    of_node.map(|(_, key)| key).collect()
}

fn observe(stepper: &Stepper, state: &State, me: usize, reached: [bool; 2]) -> ClusterObservation {
    let of = |node: usize| {
        let unknown = |why: &str| Observed::Unknown {
            why: why.to_owned(),
            since: epoch(),
        };
        let seen = match reached[node] {
            false => unknown("it does not answer"),
            true => match stepper.observe(node, me, &state.scenery()) {
                AgentResponse::Observation { observation } => Observed::Known {
                    value: *observation,
                    at: epoch(),
                },
                other => unknown(&format!("{other:?}")),
            },
        };
        (name(node), seen)
    };
    [0, 1].map(of).into_iter().collect()
}

fn decide(
    stepper: &Stepper,
    state: &State,
    me: usize,
    round: Round,
    reached: [bool; 2],
    coordinator: &Coordinator,
) -> Decision {
    let long = match round.impatient {
        true => Duration::from_secs(1_000_000),
        false => Duration::ZERO,
    };
    let observations = observe(stepper, state, me, reached);
    let operation = state.operation();
    let tasks = running(state).map(|(_, key)| {
        let report = coordinator.reports.get(&key).cloned();
        (
            key.task,
            Running {
                report,
                quiet: long,
                ..Running::default()
            },
        )
    });
    let running: BTreeMap<TaskId, Running> = tasks.collect();
    let silent = (0..2).filter(|node| !reached[*node]);
    let silent: BTreeMap<NodeName, Duration> = silent.map(|node| (name(node), long)).collect();
    let control = state.recorded.view.control();
    let (number, me) = (me, name(me));
    next(&Input {
        me: &me,
        topology: control.topology.as_ref().expect("it is set up"),
        control,
        catalogue: state.recorded.view.catalogue(),
        operation,
        observations: &observations,
        running: &running,
        silent: &silent,
        idle: long,
        survives_without: &|down| state.survives_without(down),
        wall: epoch(),
        monotonic: Monotonic {
            boot_id: state.nodes[number].up.expect("its daemon runs"),
            since_boot_ms: 0,
        },
        tunables: tunables(),
        learned: &Learned::default(),
    })
}

/// Stabilize times are over as soon as they begin; patience is a step of its own.
pub(crate) fn tunables() -> Tunables {
    Tunables {
        minute: Duration::ZERO,
        attempts: 2,
        ..Tunables::default()
    }
}

/// I7: what does nothing says what it awaits, and until when.
fn silent(state: &State, decision: &Decision) -> Broken {
    let operation = state.operation();
    let acts =
        !decision.events.is_empty() || !decision.orders.is_empty() || decision.hand_over.is_some();
    if acts || operation.is_ended() {
        return None;
    }
    if decision.awaiting.is_empty() {
        return Some(format!("I7: nothing is said while {:?}", operation.state));
    }
    let person = matches!(operation.state, OperationState::Paused { .. });
    let endless = decision
        .awaiting
        .iter()
        .find(|wait| wait.remaining.is_none());
    match endless {
        Some(wait) if !person => Some(format!("I7: a wait without a bound: {wait:?}")),
        Some(_) | None => None,
    }
}

/// Every event that the planner decides must follow from the state that it was given.
fn illegal(state: &State, events: &[OperationEvent]) -> Broken {
    let mut operation = state.operation().clone();
    let applied = events.iter().try_for_each(|event| operation.apply(event));
    applied
        .err()
        .map(|illegal| format!("an illegal event was decided: {illegal}"))
}

fn letter(state: &State, by: usize, generation: Generation, events: Vec<OperationEvent>) -> Letter {
    let is_end = |event: &OperationEvent| matches!(event, OperationEvent::Ended { .. });
    let mut writes = Vec::new();
    if events.iter().any(is_end) {
        let ended = ControlEvent::OperationEnded {
            at: epoch(),
            operation: operation_id(),
        };
        writes.push((StreamId::Control, vec![Event::Control(ended)]));
    }
    let events = events.into_iter().map(Event::Operation).collect();
    writes.push((StreamId::Operation(operation_id()), events));
    Letter {
        by,
        generation,
        append: append(state, generation, writes),
    }
}

fn append(state: &State, generation: Generation, writes: Vec<(StreamId, Vec<Event>)>) -> Append {
    Append {
        fence: Fence::Holds(generation),
        writes: self::writes(state, generation, writes),
    }
}

/// Event ids follow from the decision: the same one, made again at the same place, is a retry.
pub(crate) fn writes(
    state: &State,
    generation: Generation,
    writes: Vec<(StreamId, Vec<Event>)>,
) -> Vec<StreamWrite> {
    let write = |(stream, events): (StreamId, Vec<Event>)| {
        let expected = state.recorded.view.head(stream);
        let id = |(at, body): (usize, &String)| {
            let high = join(&(generation, expected, at as u64));
            let low = join(&(print(&stream), body));
            EventId(Uuid::from_u64_pair(high, low))
        };
        let bodies: Vec<String> = events.iter().map(Event::encode).collect();
        let ids = bodies.iter().enumerate().map(id).collect::<Vec<_>>();
        let events = ids.into_iter().zip(bodies);
        StreamWrite {
            stream,
            expected,
            events: events.map(|(id, body)| NewEvent { id, body }).collect(),
        }
    };
    writes.into_iter().map(write).collect()
}

/// Orders go where they must: to agents that do not have them, and that refuse older coordinators.
fn send(state: &mut State, me: usize, coordinator: &Coordinator, orders: Vec<TaskOrder>) {
    let known: BTreeSet<TaskKey> = coordinator.reports.keys().copied().collect();
    for mut order in orders {
        // How long an agent waits is the explorer's own affair: patience is a step of its own.
        order.no_progress_ms = None;
        let number = |node: &NodeName| usize::from(*node == name(1));
        let Executor::Agent(agent) = &order.task.executor else {
            continue;
        };
        let pair_acts = order.task.action == Action::Takeover;
        let installed = coordinator.installed[number(agent)]
            && (!pair_acts || coordinator.installed[number(&order.task.node)]);
        if known.contains(&order.key) || !installed {
            continue;
        }
        let mail = Kept::new(Mail {
            to: number(agent),
            from: me,
            order,
        });
        state.mail.insert(mail.print, mail);
    }
}
