//! Breadth first over all states, so that what is found is told by a shortest story.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use evenkeel_agent::Memory;
use evenkeel_model::{
    CatalogueEvent, ControlEvent, Event, Generation, OperationEvent, OperationKind, Request, Slot,
    SlotImage, StreamId, UpdateRequest,
};
use evenkeel_platform::sim::Hardware;
use evenkeel_record::{Append, Fence, MemoryHub, View};

use super::carry::apply;
use super::coordinate::writes;
use super::kept::Kept;
use super::moves::{Move, moves, patience};
use super::rules::{Lasts, Rules, lasts};
use super::stage::{Stepper, keep_memory};
use super::state::{Budget, Node, Recorded, State, name, operation_id};
use crate::Settings;
use crate::settings::{NEW, OLD, admin, digest, epoch, package, version};

/// How much may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Faults in one run: crashes, lost or repeated messages, lost leases, an admin's hand.
    pub faults: u8,
    /// Pauses, resumptions and cancels that an operator asks for in one run.
    pub requests: u8,
    /// Only runs of which the first coordinator is this node: halves that can be explored side by side.
    pub first: Option<usize>,
    /// Gives up, saying so, when there are more states.
    pub most_states: usize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// States that were reached, each looked at once.
    pub states: usize,
    /// Moves between them.
    pub moves: usize,
    /// Moves of the longest of the shortest ways to a state.
    pub depth: usize,
    /// States in which the update is over.
    pub ends: usize,
    /// States in which it stands for a person.
    pub pauses: usize,
    /// Whether all there are were reached.
    pub complete: bool,
    /// The first thing that must never happen, as a story.
    pub violation: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            moves,
            depth,
            ends,
            pauses,
            ..
        } = self;
        let all = if self.complete { "all" } else { "the first" };
        write!(
            f,
            "{all} {states} states, {moves} moves, up to {depth} from the start; the update is over in {ends} \
             and stands for a person in {pauses}"
        )
    }
}

/// A state's way from the beginning.
struct Trail {
    from: u32,
    step: Option<Move>,
    depth: u32,
    lasts: Option<Lasts>,
}

struct Search {
    first: Option<usize>,
    stepper: Stepper,
    rules: Rules,
    known: BTreeMap<u64, u32>,
    trails: Vec<Trail>,
    /// Moves that need no fault.
    free: Vec<(u32, u32)>,
    open: VecDeque<(u32, State)>,
    moves: usize,
}

/// Explores everything that may happen to the update of one pair.
pub fn explore(scope: Scope, rules: Rules) -> Report {
    let mut stepper = Stepper::new();
    stepper.forgets_generations = !rules.nodes_fence;
    let mut search = Search {
        first: scope.first,
        stepper,
        rules,
        known: BTreeMap::new(),
        trails: Vec::new(),
        free: Vec::new(),
        open: VecDeque::new(),
        moves: 0,
    };
    let begin = begin(scope);
    search.add(begin, 0, None);
    let mut violation = None;
    while let Some((number, state)) = search.open.pop_front() {
        violation = search.expand(number, &state);
        if violation.is_some() || search.trails.len() > scope.most_states {
            break;
        }
    }
    let complete = search.open.is_empty();
    if violation.is_none() && complete {
        violation = search.dead_end();
    }
    search.report(complete, violation)
}

impl Search {
    /// The number of a state, which is new if nobody came to it before.
    fn add(&mut self, state: State, from: u32, step: Option<Move>) -> u32 {
        let next = u32::try_from(self.trails.len()).expect("fewer states than that fit in memory");
        let number = *self.known.entry(state.print()).or_insert(next);
        if number == next {
            let depth = match &step {
                Some(_) => self.trails[from as usize].depth + 1,
                None => 0,
            };
            let lasts = lasts(&state);
            self.trails.push(Trail {
                from,
                step,
                depth,
                lasts,
            });
            self.open.push_back((number, state));
        }
        number
    }

    fn expand(&mut self, number: u32, state: &State) -> Option<String> {
        let mut goes_on = false;
        for step in moves(state) {
            if self.of_another_half(state, &step) {
                continue;
            }
            let free = step.faults(state) == 0 && !step.is_help();
            match self.take(number, state, step, false) {
                Err(violation) => return Some(violation),
                Ok(next) => goes_on |= free && next.is_some_and(|next| next != number),
            }
        }
        if goes_on || state.operation().is_ended() {
            return None;
        }
        // Nothing happens by itself: then time passes.
        for step in patience(state) {
            if let Err(violation) = self.take(number, state, step, true) {
                return Some(violation);
            }
        }
        None
    }

    /// Whether the move begins runs of another half.
    fn of_another_half(&self, state: &State, step: &Move) -> bool {
        let unled = state.recorded.view.control().generation == Generation(0);
        match (step, self.first) {
            (Move::Elect(node), Some(first)) => unled && *node != first,
            _ => false,
        }
    }

    fn take(
        &mut self,
        number: u32,
        state: &State,
        step: Move,
        free: bool,
    ) -> Result<Option<u32>, String> {
        let is_free = free || (step.faults(state) == 0 && !step.is_help());
        let applied = apply(&self.stepper, &self.rules, state, &step, free);
        let Some((next, broken)) = applied else {
            return Ok(None);
        };
        self.moves += 1;
        if let Some(broken) = broken {
            return Err(self.story(number, Some(&step), &broken));
        }
        let to = self.add(next, number, Some(step));
        if is_free && to != number {
            self.free.push((number, to));
        }
        Ok(Some(to))
    }

    /// A state from which no way without a new fault leads to one that may last.
    fn dead_end(&self) -> Option<String> {
        let mut back: Vec<Vec<u32>> = vec![Vec::new(); self.trails.len()];
        for (from, to) in &self.free {
            back[*to as usize].push(*from);
        }
        let lasting = self
            .trails
            .iter()
            .enumerate()
            .filter(|(_, t)| t.lasts.is_some());
        let mut open: Vec<u32> = lasting.map(|(number, _)| number as u32).collect();
        let mut leads: Vec<bool> = self
            .trails
            .iter()
            .map(|trail| trail.lasts.is_some())
            .collect();
        while let Some(number) = open.pop() {
            for from in &back[number as usize] {
                if !std::mem::replace(&mut leads[*from as usize], true) {
                    open.push(*from);
                }
            }
        }
        let stuck = leads.iter().position(|leads| !leads)?;
        Some(self.story(stuck as u32, None, "from here no way leads to an end"))
    }

    fn story(&self, number: u32, last: Option<&Move>, broken: &str) -> String {
        let mut steps: Vec<String> = last.map(ToString::to_string).into_iter().collect();
        let mut trail = &self.trails[number as usize];
        while let Some(step) = &trail.step {
            steps.push(step.to_string());
            trail = &self.trails[trail.from as usize];
        }
        let steps = (1..).zip(steps.into_iter().rev());
        let lines = steps.map(|(number, step)| format!("{number:4}. {step}\n"));
        format!("{broken}\n{}", lines.collect::<String>())
    }

    fn report(self, complete: bool, violation: Option<String>) -> Report {
        let depth = self.trails.iter().map(|trail| trail.depth).max();
        let count = |how| self.trails.iter().filter(|t| t.lasts == Some(how)).count();
        let (ends, pauses) = (count(Lasts::Over), count(Lasts::Paused));
        Report {
            states: self.trails.len(),
            moves: self.moves,
            depth: depth.unwrap_or_default() as usize,
            ends,
            pauses,
            complete,
            violation,
        }
    }
}

/// Both nodes serve at the old version, the package is everywhere, and an update was asked for.
fn begin(scope: Scope) -> State {
    let settings = Settings::new(2);
    let topology = settings.topology();
    let mut hardware = Hardware::new(&topology, settings.hardware());
    for node in [0, 1] {
        let image = SlotImage {
            digest: digest(OLD),
            version: version(OLD),
        };
        let set = hardware.set_image(&name(node), Slot::A, Some(image));
        set.expect("it is a node");
    }
    hardware.cold_start(0);
    while let Some(wake) = hardware.next_wake() {
        hardware.advance(wake);
    }
    hardware.forget_past();
    let node = |number: usize| Node {
        memory: keep_memory(Memory::default()),
        up: hardware.boot_of(&name(number)),
        work: None,
        coordinator: None,
    };
    let nodes = [node(0), node(1)];
    let mut state = State {
        hardware: Kept::new(hardware),
        recorded: Kept::with(
            0,
            Recorded {
                hub: MemoryHub::new(),
                view: View::default(),
            },
        ),
        nodes,
        mail: Default::default(),
        late: Default::default(),
        voter_away: false,
        budget: Budget {
            faults: scope.faults,
            requests: scope.requests,
        },
    };
    let (hub, append) = (MemoryHub::new(), first_append(&state, topology));
    hub.append(&append).expect("the record is empty");
    let view = View::replay(&hub.entries()).expect("it has no gaps");
    state.recorded = Kept::with(1, Recorded { hub, view });
    state
}

fn first_append(state: &State, topology: evenkeel_model::Topology) -> Append {
    let at = epoch();
    let control = [
        ControlEvent::TopologySet { at, topology },
        ControlEvent::OperationStarted {
            at,
            operation: operation_id(),
            kind: OperationKind::Update,
        },
    ];
    let added = [OLD, NEW].map(|version| CatalogueEvent::PackageAdded {
        at,
        package: Box::new(package(version)),
        node: name(0),
    });
    let mut request = UpdateRequest::new(version(NEW));
    request.skip_warnings = true;
    let requested = OperationEvent::Requested {
        at,
        by: admin(),
        request: Request::Update(request),
    };
    let events = vec![
        (StreamId::Control, control.map(Event::Control).into()),
        (StreamId::Catalogue, added.map(Event::Catalogue).into()),
        (
            StreamId::Operation(operation_id()),
            vec![Event::Operation(requested)],
        ),
    ];
    Append {
        fence: Fence::None,
        writes: writes(state, Generation(0), events),
    }
}
