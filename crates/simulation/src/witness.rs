//! A node's agent as its peers hear it, held against what it may say.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use evenkeel_agent::Side;
use evenkeel_interconnect::{AgentRequest, AgentResponse, AgentService};
use evenkeel_model::{Generation, NodeName, NodeObservation};
use evenkeel_platform::sim::Fault;

use crate::world::World;

/// Hears every answer before whoever asked does.
pub(crate) struct Witness {
    pub(crate) agent: Arc<dyn AgentService>,
    pub(crate) node: NodeName,
    pub(crate) world: Weak<World>,
}

#[async_trait]
impl AgentService for Witness {
    async fn answer(&self, from: &NodeName, request: AgentRequest) -> AgentResponse {
        let before = self.world.upgrade().map(|w| w.before(&self.node, &request));
        let answer = self.agent.answer(from, request.clone()).await;
        if let (Some(world), Some(before)) = (self.world.upgrade(), before) {
            world.heard(&self.node, &request, &answer, &before);
        }
        answer
    }
}

/// What was so when a request came.
#[derive(Default)]
struct Before {
    /// The order was accepted before: hearing of it again says nothing.
    is_known: bool,
    faults: BTreeSet<Fault>,
}

impl World {
    fn before(&self, node: &NodeName, request: &AgentRequest) -> Before {
        let mut before = Before::default();
        match request {
            AgentRequest::Start { order } => {
                let known = self.nodes()[node].db.order(order.key);
                before.is_known = matches!(known, Ok(Some(_)));
            }
            AgentRequest::Observe { .. } => {
                before.faults = self.hardware(|hardware, _| hardware.faults(node));
            }
            _ => {}
        }
        before
    }

    fn heard(
        &self,
        node: &NodeName,
        request: &AgentRequest,
        answer: &AgentResponse,
        before: &Before,
    ) {
        match (request, answer) {
            (AgentRequest::Install { generation, .. }, AgentResponse::Journal { .. }) => {
                self.promised(node, *generation);
            }
            (AgentRequest::Start { order }, AgentResponse::Journal { .. }) if !before.is_known => {
                self.demand_current(node, order.generation);
                let kept = self.nodes()[node].db.order(order.key);
                if !matches!(kept, Ok(Some(_))) {
                    self.violated(format!("{node} accepted an order that is not durable"));
                }
            }
            (AgentRequest::Consent { request }, AgentResponse::Consented { .. }) => {
                let kept = self.nodes()[node]
                    .db
                    .consent(Side::Given, request.transition);
                if !matches!(kept, Ok(Some(_))) {
                    self.violated(format!("{node} gave a consent that is not durable"));
                }
            }
            (AgentRequest::Observe { .. }, AgentResponse::Observation { observation }) => {
                self.looks.fetch_add(1, Ordering::Relaxed);
                self.demand_honesty(node, observation, &before.faults);
            }
            _ => {}
        }
    }

    /// From now on the node may work for no coordinator before this one.
    fn promised(&self, node: &NodeName, generation: Generation) {
        self.demand_current(node, generation);
        let mut nodes = self.nodes();
        let node = nodes.get_mut(node).expect("only nodes answer");
        node.generation = node.generation.max(generation);
    }

    fn demand_current(&self, node: &NodeName, generation: Generation) {
        let promised = self.nodes()[node].generation;
        if generation < promised {
            let text = format!("{node} obeys generation {generation} after {promised}");
            self.violated(text);
        }
    }

    /// What a node cannot see it may not say.
    fn demand_honesty(&self, node: &NodeName, seen: &NodeObservation, before: &BTreeSet<Fault>) {
        let faults = self.hardware(|hardware, _| hardware.faults(node));
        let known = [
            (Fault::BlindPair, seen.pair.known().is_some()),
            (Fault::BlindSlots, seen.slots.known().is_some()),
            (Fault::BlindPools, seen.pools.known().is_some()),
            (Fault::BlindLifs, seen.lifs.known().is_some()),
        ];
        for (fault, says) in known {
            if says && faults.contains(&fault) && before.contains(&fault) {
                self.violated(format!("{node} tells what it cannot see: {fault}"));
            }
        }
    }
}
