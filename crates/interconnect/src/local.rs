//! A network within one process: for tests and the simulation. Deterministic under paused time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Link, NodeName};
use evenkeel_seam::watch;

use crate::client::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
use crate::message::{AgentClient, AgentRequest, AgentResponse, AgentService, CallError};

/// What is lost of one node's calls to another, beyond what the links of both do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// This many requests to come are lost before they arrive.
    pub requests: u32,
    /// This many answers to come are lost after the request had its effect.
    pub answers: u32,
}

/// What of one node's calls to another arrives a second time, or only late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// This many requests to come are delivered once more. With a lost request that is a late one.
    pub requests: u32,
    /// How much later. Nobody hears the answer.
    pub after: Duration,
}

/// The network. Clones are the same network.
#[derive(Clone, Default)]
pub struct LocalNetwork {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    services: BTreeMap<NodeName, Attached>,
    links: BTreeMap<NodeName, watch::Sender<Link>>,
    paths: BTreeMap<(NodeName, NodeName), Link>,
    losses: BTreeMap<(NodeName, NodeName), Loss>,
    echoes: BTreeMap<(NodeName, NodeName), Echo>,
}

/// A service for as long as it lives: dropping the sender tells calls in flight that it died.
struct Attached {
    service: Arc<dyn AgentService>,
    alive: watch::Sender<()>,
}

impl LocalNetwork {
    /// A network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's service, and what changes when it dies.
    fn attached(&self, node: &NodeName) -> Option<(Arc<dyn AgentService>, watch::Receiver<()>)> {
        let shared = self.lock();
        let attached = shared.services.get(node)?;
        Some((Arc::clone(&attached.service), attached.alive.subscribe()))
    }

    /// `node`'s agent answers from now on.
    pub fn attach(&self, node: NodeName, service: Arc<dyn AgentService>) {
        let alive = watch::Sender::new(());
        self.lock()
            .services
            .insert(node, Attached { service, alive });
    }

    /// `node`'s agent is gone. Requests that it was working on are not worked on any further.
    pub fn detach(&self, node: &NodeName) {
        let gone = self.lock().services.remove(node);
        drop(gone);
    }

    /// Sets the link of a node to all others. It reaches itself in any case.
    pub fn set_link(&self, node: &NodeName, link: Link) {
        self.lock().link(node).send_replace(link);
    }

    /// A node's link, as it changes: to feed the node's record with the same faults.
    pub fn link(&self, node: &NodeName) -> watch::Receiver<Link> {
        self.lock().link(node).subscribe()
    }

    /// Sets what lies between two nodes, in one direction.
    pub fn set_path(&self, from: &NodeName, to: &NodeName, path: Link) {
        self.lock().paths.insert((from.clone(), to.clone()), path);
    }

    /// Loses messages of calls that one node makes to another.
    pub fn lose(&self, caller: &NodeName, called: &NodeName, loss: Loss) {
        let key = (caller.clone(), called.clone());
        self.lock().losses.insert(key, loss);
    }

    /// Delivers requests of calls that one node makes to another once more.
    pub fn echo(&self, caller: &NodeName, called: &NodeName, echo: Echo) {
        let key = (caller.clone(), called.clone());
        self.lock().echoes.insert(key, echo);
    }

    /// Takes every fault off.
    pub fn heal(&self) {
        let mut shared = self.lock();
        for link in shared.links.values() {
            link.send_replace(Link::default());
        }
        shared.paths.clear();
        shared.losses.clear();
        shared.echoes.clear();
    }

    /// The client of `node`.
    pub fn client(&self, node: NodeName) -> Arc<LocalClient> {
        Arc::new(LocalClient {
            node,
            network: self.clone(),
        })
    }
}

impl Shared {
    fn link(&mut self, node: &NodeName) -> &watch::Sender<Link> {
        self.links.entry(node.clone()).or_default()
    }

    /// State of the whole way: cut if any part is, delays add up.
    fn way(&self, from: &NodeName, to: &NodeName) -> Link {
        let link = |node| {
            self.links
                .get(node)
                .map(|l| *l.borrow())
                .unwrap_or_default()
        };
        let path = self
            .paths
            .get(&(from.clone(), to.clone()))
            .copied()
            .unwrap_or_default();
        let parts = [link(from), path, link(to)];
        Link {
            cut: parts.iter().any(|l| l.cut),
            delay_ms: parts.iter().map(|l| l.delay_ms).sum(),
        }
    }

    fn loses(&mut self, caller: &NodeName, called: &NodeName, direction: Direction) -> bool {
        let Some(loss) = self.losses.get_mut(&(caller.clone(), called.clone())) else {
            return false;
        };
        let left = match direction {
            Direction::There => &mut loss.requests,
            Direction::Back => &mut loss.answers,
        };
        let lost = *left > 0;
        *left = left.saturating_sub(1);
        lost
    }
}

impl Shared {
    /// How much later a request to come arrives once more, if it does.
    fn echoes(&mut self, caller: &NodeName, called: &NodeName) -> Option<Duration> {
        let echo = self.echoes.get_mut(&(caller.clone(), called.clone()))?;
        echo.requests = echo.requests.checked_sub(1)?;
        Some(echo.after)
    }
}

/// One node's client.
pub struct LocalClient {
    node: NodeName,
    network: LocalNetwork,
}

impl LocalClient {
    /// One message's way to or from `node`. False: it does not arrive.
    async fn carry(&self, node: &NodeName, direction: Direction) -> bool {
        let (way, lost) = {
            let mut shared = self.network.lock();
            let way = match direction {
                Direction::There => shared.way(&self.node, node),
                Direction::Back => shared.way(node, &self.node),
            };
            (way, shared.loses(&self.node, node, direction))
        };
        if way.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(way.delay_ms)).await;
        }
        !way.cut && !lost
    }

    /// Lets a request arrive once more, whatever becomes of the caller meanwhile.
    fn echo(&self, node: &NodeName, request: &AgentRequest) {
        let Some(after) = self.network.lock().echoes(&self.node, node) else {
            return;
        };
        let (from, node, request) = (self.node.clone(), node.clone(), request.clone());
        let network = self.network.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some((service, mut alive)) = network.attached(&node) {
                tokio::select! {
                    biased;
                    _died = alive.changed() => {}
                    _unheard = service.answer(&from, request) => {}
                }
            }
        });
    }

    async fn call_own(&self, request: AgentRequest) -> Result<AgentResponse, CallError> {
        match self.network.attached(&self.node) {
            Some((service, _)) => Ok(service.answer(&self.node, request).await),
            None => Err(self.unreachable(&self.node, "this node's agent does not run")),
        }
    }

    fn unreachable(&self, node: &NodeName, why: &str) -> CallError {
        CallError::Unreachable {
            node: node.clone(),
            why: why.to_owned(),
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    There,
    Back,
}

#[async_trait]
impl AgentClient for LocalClient {
    async fn call(
        &self,
        node: &NodeName,
        request: AgentRequest,
    ) -> Result<AgentResponse, CallError> {
        if *node == self.node {
            return self.call_own(request).await;
        }
        self.echo(node, &request);
        if !self.carry(node, Direction::There).await {
            tokio::time::sleep(CONNECT_TIMEOUT).await;
            return Err(self.unreachable(node, "the request was lost"));
        }
        let Some((service, mut alive)) = self.network.attached(node) else {
            return Err(self.unreachable(node, "connection refused"));
        };
        let no_answer = |why: &str| CallError::NoAnswer {
            node: node.clone(),
            why: why.to_owned(),
        };
        let answer = tokio::select! {
            biased;
            died = alive.changed() => match died {
                Ok(()) | Err(_) => return Err(no_answer("it died meanwhile")),
            },
            answer = tokio::time::timeout(ANSWER_TIMEOUT, service.answer(&self.node, request)) => {
                answer.map_err(|_| no_answer("no answer in time"))?
            }
        };
        drop(service);
        if !self.carry(node, Direction::Back).await {
            tokio::time::sleep(ANSWER_TIMEOUT).await;
            return Err(no_answer("the answer was lost"));
        }
        Ok(answer)
    }
}
