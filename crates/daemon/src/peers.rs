//! What the other nodes say of their packages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse, PackageClient};
use evenkeel_model::{AuditRecord, NodeName, PackagesStatus};
use evenkeel_rest::{Audits, PeerRoom};
use futures_util::future::join_all;

use crate::packages::NodePackages;

/// A node that is up answers within milliseconds; nobody waits for the others.
const ANSWER: Duration = Duration::from_secs(2);

/// Asks all members at once.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) packages: Arc<NodePackages>,
    pub(crate) client: Arc<dyn PackageClient>,
    pub(crate) agents: Arc<dyn AgentClient>,
}

impl Peers {
    fn members(&self) -> Vec<NodeName> {
        let view = Arc::clone(&self.packages.views.borrow());
        let topology = view.control().topology.iter();
        topology.flat_map(|it| it.names()).cloned().collect()
    }

    async fn ask(&self, node: &NodeName) -> Option<PackagesStatus> {
        if *node == self.packages.policy.node {
            return Some(self.packages.state());
        }
        let asked = tokio::time::timeout(ANSWER, self.client.status(node));
        asked.await.ok()?.ok()
    }

    async fn ask_audit(&self, node: &NodeName, most: usize) -> Option<Vec<AuditRecord>> {
        let call = self.agents.call(node, AgentRequest::Audit { most });
        match tokio::time::timeout(ANSWER, call).await.ok()?.ok()? {
            AgentResponse::Audited { records } => Some(records),
            // A daemon of an earlier release keeps none.
            _ => None,
        }
    }
}

#[async_trait]
impl PeerRoom for Peers {
    async fn rooms(&self) -> Vec<(NodeName, u64)> {
        let states = self.states().await.into_iter();
        let others = states.filter(|(node, _)| *node != self.packages.policy.node);
        others
            .filter_map(|(node, status)| Some((node, status?.room?)))
            .collect()
    }

    async fn states(&self) -> Vec<(NodeName, Option<PackagesStatus>)> {
        let members = self.members();
        let states = join_all(members.iter().map(|node| self.ask(node))).await;
        members.into_iter().zip(states).collect()
    }
}

#[async_trait]
impl Audits for Peers {
    async fn newest(&self, most: usize) -> Vec<(NodeName, Option<Vec<AuditRecord>>)> {
        let members = self.members();
        let asked = members.iter().map(|node| self.ask_audit(node, most));
        let logs = join_all(asked).await;
        members.into_iter().zip(logs).collect()
    }
}
