//! Looks, after every step of the hardware, for what must never happen.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::Side;
use evenkeel_model::{
    Action, BootId, MemberHa, NodeName, Slot, Task, Transition, TransitionId, TransitionStage,
};
use evenkeel_platform::PlatformError;
use evenkeel_platform::sim::Fault;
use evenkeel_platform::wire::{Command, DeviceCall, Reply, Transport};
use tokio::time::sleep;

use crate::conditions::Conditions;
use crate::shelf::may_write;
use crate::world::World;

/// How long an act takes to reach the machine, and its answer to come back: a kill may fall between.
const ACT: Duration = Duration::from_millis(10);

/// One boot's way to its hardware, watched.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) world: Arc<World>,
    pub(crate) node: NodeName,
    pub(crate) boot_id: BootId,
    pub(crate) conditions: Arc<Conditions>,
}

#[async_trait]
impl Transport for Watched {
    async fn call(&self, command: Command) -> Result<Reply, PlatformError> {
        let acts = command.acts();
        if acts {
            self.world.demand_last_look(&self.node, &command);
            sleep(ACT + self.conditions.act_lag()).await;
            self.world.demand_intent(&self.node, &command);
        }
        // A takeover that the engine refuses, because the pair has changed since, needs no consent any more.
        let unasked = self.world.lacks_consent(&self.node, &command);
        let answer = self
            .world
            .machine()
            .call(&self.node, Some(self.boot_id), &command);
        if let (Some(what), Ok(_)) = (unasked, &answer) {
            self.world.violated(what);
        }
        if acts {
            self.world.look();
            sleep(ACT).await;
        }
        answer
    }

    fn slot_path(&self, slot: Slot) -> PathBuf {
        let node = PathBuf::from("/slots").join(self.node.as_str());
        node.join(slot.as_str())
    }
}

/// The slot whose folder that is.
pub(crate) fn slot_of(path: &Path) -> Slot {
    match path.ends_with(Slot::A.as_str()) {
        true => Slot::A,
        false => Slot::B,
    }
}

impl World {
    /// What the hardware may never be in, whatever happened to it.
    pub(crate) fn look(&self) {
        for broken in self.hardware(|hardware, _| hardware.check()) {
            self.violated(broken);
        }
        for (name, node) in self.nodes().iter() {
            let seen = node.db.generation().expect("the database is in memory");
            if seen < node.generation {
                let text = format!("{name} forgot generation {}", node.generation);
                self.violated(text);
            }
        }
        self.note_service();
    }

    /// Immediately before a takeover its node looks once more: no time passes between. What is so now is
    /// what it saw.
    fn demand_last_look(&self, node: &NodeName, command: &Command) {
        let Command::TakeOver(request) = command else {
            return;
        };
        self.demand_current_order(node, request.id);
        let seen = self.hardware(|hardware, _| {
            let blind = hardware.faults(node).contains(&Fault::BlindPair);
            hardware.pair_state(node).filter(|_| !blind)
        });
        let Some(pair) = seen else {
            return self.violated(format!("{node} takes over and cannot see its pair"));
        };
        let stands = |t: &Transition| t.stage != TransitionStage::GivenBack;
        let standing = pair.transition.as_ref().filter(|t| stands(t));
        if standing.is_some_and(|t| t.id == Some(request.id)) {
            return;
        }
        let serve = [&pair.local, &pair.partner]
            .into_iter()
            .all(|member| member.ha == MemberHa::Serving);
        let booted = pair.local.boot_id == Some(request.local_boot)
            && pair.partner.boot_id == Some(request.partner_boot);
        let vetoed = pair.takeover_veto.is_some() || !pair.enabled;
        if standing.is_some() || !serve || !booted || vetoed {
            self.violated(format!("{node} takes over without a last look at {pair:?}"));
        }
    }

    /// Nobody takes over for a coordinator that the node has promised not to obey any more.
    fn demand_current_order(&self, node: &NodeName, id: TransitionId) {
        let (open, promised) = {
            let nodes = self.nodes();
            let node = &nodes[node];
            (node.db.open_orders().unwrap_or_default(), node.generation)
        };
        let stale = open
            .iter()
            .find(|entry| entry.order.transition == Some(id) && entry.order.generation < promised);
        if let Some(entry) = stale {
            let generation = entry.order.generation;
            self.violated(format!(
                "{node} takes over for generation {generation} after {promised}"
            ));
        }
    }

    /// No effect without its recorded intent.
    fn demand_intent(&self, node: &NodeName, command: &Command) {
        let intended = match command {
            Command::TakeOver(request) => self.has_transition(request.id),
            Command::GiveBack(request) => self.has_transition(request.id),
            Command::MarkUnbootable { .. } => self.has_started(|task| {
                task.node == *node && matches!(task.action, Action::Install { .. })
            }),
            Command::SetDefault { .. } => self.has_started(|task| {
                task.node == *node && matches!(task.action, Action::Activate { .. })
            }),
            Command::MarkGood { .. } => {
                self.has_started(|task| task.node == *node && task.action == Action::MarkGood)
            }
            Command::Reboot(_) => {
                self.has_started(|task| task.node == *node && task.action == Action::Reboot)
            }
            Command::SendHome { .. } => {
                self.has_started(|task| task.node != *node && task.action == Action::Giveback)
            }
            // A spare is in no group that it could leave.
            Command::Device(DeviceCall::TakeOffline(_)) => self.has_started(|task| {
                let of_all = matches!(
                    task.action,
                    Action::Firmware {
                        spares_only: false,
                        ..
                    }
                );
                task.node == *node && of_all
            }),
            // Serving alone needs no one's leave: the partner is proven dead. The rest only looks.
            _ => true,
        };
        if !intended {
            self.violated(format!(
                "{node} acts without a recorded intent: {command:?}"
            ));
        }
    }

    /// No takeover without the partner's durable word. Says what is wrong if it is not there.
    fn lacks_consent(&self, by: &NodeName, command: &Command) -> Option<String> {
        let Command::TakeOver(request) = command else {
            return None;
        };
        let Some(partner) = self.topology.partner_of(by) else {
            return Some(format!("{by} has no partner to take over"));
        };
        let given = self.nodes()[partner].db.consent(Side::Given, request.id);
        let missing = !matches!(given, Ok(Some(_)));
        missing.then(|| format!("{by} takes {partner} over without its consent"))
    }

    fn has_transition(&self, id: TransitionId) -> bool {
        let view = self.catch_up();
        view.operations()
            .any(|operation| operation.is_ours(Some(id)))
    }

    fn has_started(&self, fits: impl Fn(&Task) -> bool) -> bool {
        let view = self.catch_up();
        let mut tasks = view.operations().flat_map(|o| o.tasks.values());
        tasks.any(|progress| fits(&progress.task))
    }

    /// Bytes of a slot are about to change.
    pub(crate) fn watches_a_write(&self, node: &NodeName, slot: Slot) {
        let states = self.hardware(|hardware, now| hardware.handle(node, &Command::Slots, now));
        let Ok(Reply::Slots(slots)) = states else {
            return;
        };
        if slots.booted == slot || !may_write(slots.slot(slot).health) {
            let health = slots.slot(slot).health;
            self.violated(format!(
                "slot {slot} of {node} was written while {health:?}"
            ));
        }
    }
}
