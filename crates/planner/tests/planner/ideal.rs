//! An ideal machine room: orders are carried out at once, watched tasks come true, time passes when nothing
//! else happens. And the guard that every test has: no takeover starts that would cost a pair.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::{Decision, GateLook, GateMemory, Running, describe};

use crate::world::*;

impl World {
    /// One decision, carried out. True while something happened.
    pub(crate) fn step(&mut self) -> bool {
        let decision = self.decide();
        self.carry_out(decision)
    }

    /// Carries a decision out as the coordinator would.
    pub(crate) fn carry_out(&mut self, decision: Decision) -> bool {
        if !decision.events.is_empty() || !decision.catalogue.is_empty() {
            for event in &decision.catalogue {
                self.catalogue.apply(event).unwrap();
            }
            decision.events.iter().for_each(|event| self.guard(event));
            self.append(decision.events);
            return true;
        }
        if let Some(to) = decision.hand_over {
            self.hand_over(to);
            return true;
        }
        let mut acted = false;
        for order in decision.orders {
            let known = self.running.get(&order.key.task);
            if known.is_none_or(|known| known.report.is_none()) {
                self.act(&order);
                acted = true;
            }
        }
        acted
    }

    /// Works until the update has ended or waits for a person.
    pub(crate) fn run(&mut self) {
        self.run_until(|_| false);
    }

    /// The same, or until something is so.
    pub(crate) fn run_until(&mut self, reached: impl Fn(&Self) -> bool) {
        for _ in 0..3_000 {
            if reached(self) || self.is_at_rest() {
                return;
            }
            if !self.step() {
                self.pass(Duration::from_secs(20));
            }
        }
        panic!("goes on for ever: {:?}", self.decide());
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(
            self.operation.state,
            OperationState::Paused { .. } | OperationState::Ended { .. }
        )
    }

    /// Time in which nothing happens.
    pub(crate) fn pass(&mut self, time: Duration) {
        let decided = self.decide();
        let (before, gates) = (decided.awaiting, decided.gates);
        self.idle += time;
        self.monotonic.since_boot_ms += time.as_millis() as u64;
        self.silent.values_mut().for_each(|silent| *silent += time);
        let after = self.decide().awaiting;
        let tasks: Vec<Task> = self.running_tasks();
        for task in tasks {
            let what = describe(&task).what;
            let same = |list: &[Awaiting]| {
                let wait = list.iter().find(|wait| wait.what == what);
                wait.map(|wait| wait.seen.clone())
            };
            let known = self.running.entry(task.id).or_default();
            if let Some(look) = gates.get(&task.id) {
                remember(&mut known.gate, look, time);
            }
            match same(&before) == same(&after) {
                true => known.quiet += time,
                false => known.quiet = Duration::ZERO,
            }
        }
    }

    pub(crate) fn running_tasks(&self) -> Vec<Task> {
        let running = |t: &&Arc<TaskProgress>| matches!(t.state, TaskState::Running);
        let tasks = self.operation.tasks.values().filter(running);
        tasks.map(|t| t.task.clone()).collect()
    }

    pub(crate) fn hand_over(&mut self, to: NodeName) {
        self.monotonic = Monotonic {
            boot_id: self.observations[&to].known().unwrap().boot_id,
            since_boot_ms: 5_000_000,
        };
        self.me = to;
        self.control.generation = self.control.generation.next();
        self.idle = Duration::ZERO;
        // What the agents' journals hold is collected again; stopwatches start anew.
        let known = self.running.values_mut();
        known.for_each(|known| {
            (known.quiet, known.gate) = (Duration::ZERO, GateMemory::default());
        });
    }

    /// I1, looked at from outside: both serve, nothing stands, unless it is this very takeover.
    pub(crate) fn guard(&mut self, event: &OperationEvent) {
        let OperationEvent::TaskStarted {
            task, transition, ..
        } = event
        else {
            return;
        };
        self.running.remove(task);
        let task = self.operation.plan.as_ref().unwrap().task(*task).unwrap();
        if task.action != Action::Takeover {
            return;
        }
        let (node, seen) = (task.node.as_str(), self.seen());
        let views: Vec<Option<&PairState>> = [node, partner(node)]
            .iter()
            .map(|viewer| seen[&name(viewer)].known()?.pair.known()?.as_ref())
            .collect();
        let stands = |pair: &PairState| {
            let newest = pair.transition.clone();
            newest.filter(|t| t.stage != TransitionStage::GivenBack)
        };
        let is_this = |t: Transition| t.id == *transition && t.taken == task.node;
        let mut standing = views.iter().flatten().filter_map(|pair| stands(pair));
        if standing.any(is_this) {
            return;
        }
        for pair in views {
            let pair = pair.unwrap_or_else(|| panic!("takeover of {node} without a look"));
            assert_eq!(stands(pair), None, "takeover of {node} on top of another");
            let both = [pair.local.ha, pair.partner.ha];
            assert_eq!(both, [MemberHa::Serving; 2], "takeover of {node}");
        }
        assert_ne!(
            *node,
            *self.me.as_str(),
            "the coordinator has itself taken over"
        );
    }

    /// An agent carries an order out.
    fn act(&mut self, order: &TaskOrder) {
        let (node, action) = (order.task.node.clone(), &order.task.action);
        let failure = self
            .failures
            .iter()
            .position(|(at, what, _)| *at == node && *what == action.name());
        let end = match failure.map(|at| self.failures.remove(at)) {
            Some((_, _, error)) => TaskEnd::Failed { error },
            None => match self.refusal(order) {
                Some(error) => TaskEnd::Failed { error },
                None => {
                    self.effect(order);
                    let how = How::Completed;
                    TaskEnd::Done { how }
                }
            },
        };
        self.report(order.key.task, ReportState::Ended { end });
    }

    /// What the HA engine does not do, whoever orders it.
    fn refusal(&self, order: &TaskOrder) -> Option<TaskError> {
        let seen = self.observations[&order.task.node].known()?;
        let pair = seen.pair.known()?.as_ref()?;
        let newest = pair.transition.as_ref();
        let stands = newest.filter(|t| t.stage != TransitionStage::GivenBack);
        let both = pair.local.ha == MemberHa::Serving && pair.partner.ha == MemberHa::Serving;
        let ours = newest.is_some_and(|t| t.id.is_some() && t.id == order.transition);
        let no = |kind, why: &str| Some(error(kind, why));
        match order.task.action {
            Action::Takeover if ours && stands.is_some() => None,
            Action::Takeover if stands.is_some() || !both => {
                no(TaskErrorKind::Transient, "the engine refuses the takeover")
            }
            Action::Giveback if !ours => no(TaskErrorKind::Permanent, "not ours to give back"),
            Action::Giveback
                if stands.is_some() && pair.local.ha != MemberHa::WaitingForGiveback =>
            {
                no(TaskErrorKind::Transient, "it does not wait for giveback")
            }
            _ => None,
        }
    }

    pub(crate) fn report(&mut self, task: TaskId, state: ReportState) {
        let (report, quiet) = (Some(state), Duration::ZERO);
        let gate = GateMemory::default();
        self.running.insert(
            task,
            Running {
                report,
                quiet,
                gate,
            },
        );
    }

    fn effect(&mut self, order: &TaskOrder) {
        let node = order.task.node.as_str();
        match &order.task.action {
            Action::Install { package } => {
                let (digest, version) = (*package, order.target.clone());
                self.slots(node, |slots| {
                    let slot = slots.slot_mut(slots.alternate());
                    slot.image = Some(SlotImage { digest, version });
                    slot.health = SlotHealth::Untried { tries: 3 };
                });
            }
            Action::Activate { .. } => self.slots(node, |slots| slots.default = slots.alternate()),
            Action::Deactivate => self.slots(node, |slots| slots.default = slots.booted),
            Action::Takeover => {
                let stands = |t: Transition| t.stage != TransitionStage::GivenBack;
                if !self.newest(node).is_some_and(stands) {
                    self.take_over(node, order.transition);
                }
            }
            Action::Giveback => self.give_back(node),
            Action::MarkGood => self.slots(node, |slots| {
                slots.slot_mut(slots.booted).health = SlotHealth::Good;
            }),
            Action::GateScript { .. } | Action::Firmware { .. } => {}
            Action::Reboot => self.reboot(node),
            Action::AwaitBoot { .. }
            | Action::Stabilize { .. }
            | Action::VerifyHome { .. }
            | Action::Gate { .. } => {
                panic!("not an agent's: {order:?}")
            }
        }
    }

    pub(crate) fn slots(&mut self, node: &str, change: impl FnOnce(&mut SlotsState)) {
        self.override_node(node, |seen| match &mut seen.slots {
            Observed::Known { value, .. } => change(value),
            Observed::Unknown { .. } => panic!("slots are unknown"),
        });
    }

    fn take_over(&mut self, node: &str, id: Option<TransitionId>) {
        let by = partner(node);
        let boot_before = Some(self.observations[&name(node)].known().unwrap().boot_id);
        let transition = Transition {
            id,
            taken: name(node),
            by: name(by),
            boot_before,
            clean: true,
            stage: TransitionStage::TakenOver,
            trouble: None,
        };
        self.override_transition(node, Some(transition));
        self.override_ha(node, MemberHa::WaitingForGiveback);
        self.serve(node, by);
        self.reboot(node);
    }

    fn reboot(&mut self, node: &str) {
        self.boots += 1;
        let (id, falls_back) = (boot(self.boots), self.bad_image.contains(&name(node)));
        self.override_node(node, |seen| {
            seen.boot_id = id;
            let Observed::Known { value: slots, .. } = &mut seen.slots else {
                panic!("slots are unknown")
            };
            if falls_back {
                let bad = slots.alternate();
                slots.slot_mut(bad).health = SlotHealth::Unbootable;
            } else {
                slots.booted = slots.default;
            }
            let image = slots.slot(slots.booted).image.as_ref().unwrap();
            seen.version = known(image.version.clone());
        });
    }

    /// The newest takeover in the node's pair, as it is.
    pub(crate) fn newest(&self, node: &str) -> Option<Transition> {
        let seen = self.observations[&name(partner(node))].known()?;
        let pair = seen.pair.known()?.as_ref()?;
        pair.transition.clone()
    }

    /// A node that is with its partner comes home.
    pub(crate) fn give_back(&mut self, node: &str) {
        let newest = self.newest(node).filter(|t| t.taken == name(node));
        if let Some(mut transition) = newest {
            transition.stage = TransitionStage::GivenBack;
            self.override_transition(node, Some(transition));
            self.override_ha(node, MemberHa::Serving);
            self.serve(node, node);
        }
    }

    /// Pools and LIFs of `node` go to `server`.
    fn serve(&mut self, node: &str, server: &str) {
        for viewer in [node, partner(node)] {
            self.override_node(viewer, |seen| {
                if let Observed::Known { value: pools, .. } = &mut seen.pools {
                    let of_node = pools.iter_mut().filter(|pool| pool.home == name(node));
                    of_node.for_each(|pool| pool.owner = Some(name(server)));
                }
                if let Observed::Known { value: lifs, .. } = &mut seen.lifs {
                    let of_node = lifs.iter_mut().filter(|lif| lif.home == name(node));
                    of_node.for_each(|lif| lif.current = Some(name(server)));
                }
            });
        }
    }
}

/// What the coordinator's stopwatches make of a gate that stayed as it was for a while.
fn remember(gate: &mut GateMemory, look: &GateLook, time: Duration) {
    match look {
        GateLook::Holds => *gate.held.get_or_insert_default() += time,
        GateLook::Fails(what) => (gate.held, gate.failed) = (None, Some(what.clone())),
    }
}
