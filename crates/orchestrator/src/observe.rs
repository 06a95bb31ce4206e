//! Asks every node what it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse};
use evenkeel_model::{ClusterObservation, NodeName, NodeObservation, Observed, Topology};
use evenkeel_seam::Clock;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

/// How long a node may take to say what it sees. The network's, so a lab minute does not scale it.
const OBSERVE_WITHIN: Duration = Duration::from_secs(10);

/// How long the answer of a node that nothing is done about is good for: this much for each node of the
/// cluster, so that watching a big one costs no more per second than watching a small one.
const FAR_FOR_EACH: Duration = Duration::from_millis(25);
/// And this much at least.
const FAR_FOR: Duration = Duration::from_secs(1);

/// Asks, and remembers who has been silent for how long.
pub(crate) struct Observer {
    agents: Arc<dyn AgentClient>,
    clock: Arc<dyn Clock>,
    silent_since: BTreeMap<NodeName, (Instant, evenkeel_model::WallTime)>,
    /// The newest answers, and when they came.
    answers: BTreeMap<NodeName, (Instant, Observed<NodeObservation>)>,
}

impl Observer {
    pub(crate) fn new(agents: Arc<dyn AgentClient>, clock: Arc<dyn Clock>) -> Self {
        Self {
            agents,
            clock,
            silent_since: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// One round: the nodes, side by side. Those that are not `near` what is done, where that is known,
    /// are asked less often; who did not answer is asked each time.
    pub(crate) async fn round(
        &mut self,
        topology: &Topology,
        near: Option<&BTreeSet<NodeName>>,
    ) -> ClusterObservation {
        let members: BTreeSet<&NodeName> = topology.names().collect();
        self.answers.retain(|name, _| members.contains(name));
        let good_for = FAR_FOR.max(FAR_FOR_EACH * members.len() as u32);
        let is_good = |name: &NodeName| {
            let known = self.answers.get(name);
            known.is_some_and(|(at, seen)| seen.known().is_some() && at.elapsed() < good_for)
        };
        let is_far = |name: &NodeName| near.is_some_and(|near| !near.contains(name));
        let names: Vec<&NodeName> = topology
            .names()
            .filter(|name| !(is_far(name) && is_good(name)))
            .collect();
        let answers = join_all(names.iter().map(|name| self.ask(name))).await;
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
            self.answers
                .insert(name.clone(), (Instant::now(), observed));
        }
        let newest = self.answers.iter();
        newest
            .map(|(name, (_, seen))| (name.clone(), seen.clone()))
            .collect()
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
