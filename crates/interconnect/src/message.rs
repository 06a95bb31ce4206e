//! What nodes say to one another.

use async_trait::async_trait;
use evenkeel_model::{
    AuditRecord, Awaiting, BootId, CheckOrder, Generation, NodeName, NodeObservation, TaskKey,
    TaskOrder, TaskReport, TransitionId,
};
use serde::{Deserialize, Serialize};

/// Version of the protocol. A node answers any request of this version or an older one.
pub const PROTOCOL: u32 = 1;

/// A request to a node's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum AgentRequest {
    /// Are you there?
    Ping,
    /// What do you see?
    Observe {
        /// How far to look.
        #[serde(default, skip_serializing_if = "Look::is_around")]
        look: Look,
    },
    /// From now on refuse commands below this generation; say what your journal holds.
    Install {
        /// The coordinator's generation.
        generation: Generation,
        /// The coordinator.
        coordinator: NodeName,
    },
    /// Carry this out. The same key again is the same order.
    Start {
        /// The order.
        order: Box<TaskOrder>,
    },
    /// How far are these orders?
    Reports {
        /// Which.
        keys: Vec<TaskKey>,
    },
    /// Run the checks that a package brings; what they find is in the next observations. The same order
    /// again is the same run.
    RunChecks {
        /// Which.
        order: CheckOrder,
    },
    /// What does the coordinator, if you are it, wait for?
    Explain,
    /// What was asked of your API lately? The newest so many requests.
    Audit {
        /// At most.
        most: usize,
    },
    /// The partner asks for consent to take this node over.
    Consent {
        /// The request.
        request: ConsentRequest,
    },
    /// The partner no longer needs the consent.
    Release {
        /// Of which takeover.
        transition: TransitionId,
        /// Generation of the order that it was given for.
        generation: Generation,
    },
}

/// How far a node looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// At its machine, and at whether every other member answers. What releases do that know no other.
    #[default]
    Around,
    /// At its own machine alone.
    Itself,
}

impl Look {
    fn is_around(&self) -> bool {
        *self == Self::Around
    }
}

/// An answer of a node's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum AgentResponse {
    /// Here.
    Pong {
        /// Who.
        node: NodeName,
        /// In which boot.
        boot_id: BootId,
        /// The newest protocol it speaks.
        protocol: u32,
    },
    /// What it sees.
    Observation {
        /// All of it.
        observation: Box<NodeObservation>,
    },
    /// Orders that its journal holds, newest state each.
    Journal {
        /// The reports.
        reports: Vec<TaskReport>,
    },
    /// What the coordinator waits for.
    Explained {
        /// Of every open operation.
        awaiting: Vec<Awaiting>,
    },
    /// What was asked of the node's API, oldest first.
    Audited {
        /// Requests.
        records: Vec<AuditRecord>,
    },
    /// The consent is durable.
    Consented {
        /// What was consented to.
        consent: Consent,
    },
    /// Done.
    Ok,
    /// The agent compared and refuses; nothing was changed.
    Refused {
        /// Why.
        reason: String,
        /// It has seen this higher generation: the sender is stale.
        stale: Option<Generation>,
    },
}

/// Asks a node to be taken over by its partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRequest {
    /// Which takeover.
    pub transition: TransitionId,
    /// The order that it serves.
    pub key: TaskKey,
    /// The coordinator's generation.
    pub generation: Generation,
    /// The partner that asks.
    pub by: NodeName,
    /// Its boot.
    pub by_boot: BootId,
    /// The boot of the asked node that the order expects.
    pub node_boot: BootId,
}

/// A durable promise: until released, the node starts nothing against its partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// What was asked.
    pub request: ConsentRequest,
}

/// Why a call got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The node was not reached: the request had no effect.
    #[error("{node} cannot be reached: {why}")]
    Unreachable {
        /// Whom.
        node: NodeName,
        /// Why.
        why: String,
    },
    /// The answer did not come: the request may have had its effect.
    #[error("{node} did not answer: {why}")]
    NoAnswer {
        /// Who.
        node: NodeName,
        /// Why.
        why: String,
    },
}

/// Calls the agents of the cluster, this node's own included. Every call is bounded.
#[async_trait]
pub trait AgentClient: Send + Sync + 'static {
    /// Asks `node`'s agent.
    async fn call(
        &self,
        node: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, CallError>;
}

/// Answers calls: implemented by the agent, served by this crate's server.
#[async_trait]
pub trait AgentService: Send + Sync + 'static {
    /// Answers `from`'s request. `from` is who the peer's certificate says it is.
    async fn answer(&self, from: &NodeName, request: AgentRequest) -> AgentResponse;
}
