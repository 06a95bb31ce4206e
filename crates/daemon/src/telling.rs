//! Answers other nodes in the coordinator's name, before the agent does.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use evenkeel_interconnect::{AgentRequest, AgentResponse, AgentService};
use evenkeel_model::NodeName;
use evenkeel_orchestrator::FrontDoor;

/// The agent, and the coordinator's answers once it can give any: the agent starts first, and depends on nothing
/// of the coordinator's.
pub(crate) struct Telling {
    agent: Arc<dyn AgentService>,
    front: OnceLock<FrontDoor>,
}

impl Telling {
    pub(crate) fn new(agent: Arc<dyn AgentService>) -> Arc<Self> {
        let front = OnceLock::new();
        Arc::new(Self { agent, front })
    }

    /// Names the front door. Only the first call counts.
    pub(crate) fn set_front(&self, front: FrontDoor) {
        let _ = self.front.set(front);
    }
}

#[async_trait]
impl AgentService for Telling {
    async fn answer(&self, from: &NodeName, request: AgentRequest) -> AgentResponse {
        match (request, self.front.get()) {
            (AgentRequest::Explain, Some(front)) if front.coordinates() => {
                let awaiting = front.explain();
                AgentResponse::Explained { awaiting }
            }
            (request, _) => self.agent.answer(from, request).await,
        }
    }
}
