//! Asks nodes what they see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_interconnect::{AgentClient, AgentRequest, AgentResponse, Look};
use evenkeel_model::{ClusterObservation, NodeName, NodeObservation, Observed, Topology, WallTime};
use evenkeel_seam::Clock;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

/// How long a node may take to say what it sees. The network's, so a lab minute does not scale it.
const OBSERVE_WITHIN: Duration = Duration::from_secs(10);

/// Asks, and remembers what was seen, and who has been silent for how long.
pub(crate) struct Observer {
    agents: Arc<dyn AgentClient>,
    clock: Arc<dyn Clock>,
    seen: Arc<ClusterObservation>,
    /// When the last look that completed one at all nodes began, and how far it went: until another look, or until it is outdated.
    whole: Option<(Instant, Look)>,
    silent_since: BTreeMap<NodeName, (Instant, WallTime)>,
}

impl Observer {
    pub(crate) fn new(agents: Arc<dyn AgentClient>, clock: Arc<dyn Clock>) -> Self {
        Self {
            agents,
            clock,
            seen: Arc::default(),
            whole: None,
            silent_since: BTreeMap::new(),
        }
    }

    /// The last look at all nodes, if it began no longer ago and is not outdated.
    pub(crate) fn all_seen_within(
        &self,
        time: Duration,
        look: Look,
    ) -> Option<Arc<ClusterObservation>> {
        let (begun, how_far) = self.whole?;
        (begun.elapsed() < time && how_far == look).then(|| Arc::clone(&self.seen))
    }

    /// Nodes are told something, or may have been by others: only another look shows what comes of it.
    pub(crate) fn outdate(&mut self) {
        self.whole = None;
    }

    /// Every node, side by side.
    pub(crate) async fn everyone(
        &mut self,
        topology: &Topology,
        look: Look,
    ) -> Arc<ClusterObservation> {
        Arc::make_mut(&mut self.seen).clear();
        self.some(&topology.names().cloned().collect(), look).await
    }

    /// Every other node, side by side, and of these what was seen since then.
    pub(crate) async fn others(
        &mut self,
        topology: &Topology,
        (just_seen, since): (&BTreeSet<NodeName>, Instant),
        look: Look,
    ) -> Arc<ClusterObservation> {
        Arc::make_mut(&mut self.seen).retain(|name, _| just_seen.contains(name));
        let others = topology.names().filter(|name| !just_seen.contains(*name));
        let seen = self.some(&others.cloned().collect(), look).await;
        self.whole = Some((since, look));
        seen
    }

    /// Some nodes, side by side; of the others what was seen before.
    pub(crate) async fn some(
        &mut self,
        names: &BTreeSet<NodeName>,
        look: Look,
    ) -> Arc<ClusterObservation> {
        self.whole = None;
        let answers = join_all(names.iter().map(|name| self.ask(name, look))).await;
        let seen = Arc::make_mut(&mut self.seen);
        for (name, answer) in names.iter().zip(answers) {
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
            seen.insert(name.clone(), observed);
        }
        Arc::clone(&self.seen)
    }

    async fn ask(&self, node: &NodeName, look: Look) -> Result<NodeObservation, String> {
        let call = self.agents.call(node, AgentRequest::Observe { look });
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
