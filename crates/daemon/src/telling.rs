//! Answers other nodes in the coordinator's name, before the agent does.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use evenkeel_interconnect::{AgentRequest, AgentResponse, AgentService};
use evenkeel_model::{AuditRecord, NodeName};
use evenkeel_orchestrator::FrontDoor;
use evenkeel_rest::AuditLog;

/// Entries of the audit log that are told at once: about half a mebibyte.
const MOST_AUDITED: usize = 1000;

/// The agent, and the coordinator's answers once it can give any: the agent starts first, and depends on nothing
/// of the coordinator's.
pub(crate) struct Telling {
    agent: Arc<dyn AgentService>,
    front: OnceLock<FrontDoor>,
    audit: OnceLock<Arc<AuditLog>>,
}

impl Telling {
    pub(crate) fn new(agent: Arc<dyn AgentService>) -> Arc<Self> {
        Arc::new(Self {
            agent,
            front: OnceLock::new(),
            audit: OnceLock::new(),
        })
    }

    /// Names the front door. Only the first call counts.
    pub(crate) fn set_front(&self, front: FrontDoor) {
        let _ = self.front.set(front);
    }

    /// Names the log of what is asked of this node. Only the first call counts.
    pub(crate) fn set_audit(&self, log: Arc<AuditLog>) {
        let _ = self.audit.set(log);
    }

    async fn audited(&self, most: usize) -> AgentResponse {
        let newest = self.audit.get().map(|log| newest(Arc::clone(log), most));
        let records = match newest {
            Some(newest) => newest.await,
            None => Vec::new(),
        };
        AgentResponse::Audited { records }
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
            (AgentRequest::Audit { most }, _) => self.audited(most).await,
            (request, _) => self.agent.answer(from, request).await,
        }
    }
}

/// Reads the log where that may block.
async fn newest(log: Arc<AuditLog>, most: usize) -> Vec<AuditRecord> {
    let read = tokio::task::spawn_blocking(move || log.newest(most.min(MOST_AUDITED)));
    read.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the audit log was not read");
        Vec::new()
    })
}
