//! Asks every node what it sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse};
use evenkeel_model::{ClusterObservation, NodeName, NodeObservation, Observed, Topology};
use evenkeel_seam::Clock;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

/// How long a node may take to say what it sees. The network's, so a lab minute does not scale it.
const OBSERVE_WITHIN: Duration = Duration::from_secs(10);

/// Asks, and remembers who has been silent for how long.
pub(crate) struct Observer {
    agents: Arc<dyn AgentClient>,
    clock: Arc<dyn Clock>,
    silent_since: BTreeMap<NodeName, (Instant, evenkeel_model::WallTime)>,
}

impl Observer {
    pub(crate) fn new(agents: Arc<dyn AgentClient>, clock: Arc<dyn Clock>) -> Self {
        Self {
            agents,
            clock,
            silent_since: BTreeMap::new(),
        }
    }

    /// One round: every node, side by side.
    pub(crate) async fn round(&mut self, topology: &Topology) -> ClusterObservation {
        let names: Vec<&NodeName> = topology.names().collect();
        let answers = join_all(names.iter().map(|name| self.ask(name))).await;
        let mut observations = ClusterObservation::new();
        for (name, answer) in names.into_iter().zip(answers) {
            let at = self.clock.wall();
            let observed = match answer {
                Ok(value) => {
                    self.silent_since.remove(name);
                    Observed::Known { value, at }
                }
                Err(why) => {
                    let entry = self.silent_since.entry(name.clone());
                    let (_, since) = *entry.or_insert_with(|| (Instant::now(), at));
                    Observed::Unknown { why, since }
                }
            };
            observations.insert(name.clone(), observed);
        }
        observations
    }

    async fn ask(&self, node: &NodeName) -> Result<NodeObservation, String> {
        let call = self.agents.call(node, AgentRequest::Observe);
        match timeout(OBSERVE_WITHIN, call).await {
            Err(_) => Err(format!("no answer within {} s", OBSERVE_WITHIN.as_secs())),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(AgentResponse::Observation { observation })) => Ok(*observation),
            Ok(Ok(AgentResponse::Refused { reason, .. })) => Err(reason),
            Ok(Ok(other)) => Err(format!("an answer to another question: {other:?}")),
        }
    }

    /// How long each silent node has been silent.
    pub(crate) fn silent(&self) -> BTreeMap<NodeName, Duration> {
        let elapsed =
            |(name, (since, _)): (&NodeName, &(Instant, _))| (name.clone(), since.elapsed());
        self.silent_since.iter().map(elapsed).collect()
    }
}
