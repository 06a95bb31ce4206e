//! Who coordinates: a short lease chooses, the record's generation decides.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_interconnect::AgentClient;
use evenkeel_model::{
    Awaiting, Control, ControlEvent, Event, Generation, NodeName, Position, StreamId, WallTime,
};
use evenkeel_planner::Tunables;
use evenkeel_record::{AppendError, Fence, Follower, Record, View, Writer};
use evenkeel_seam::watch;
use evenkeel_seam::{Clock, Ids};
use tokio::time::{Instant, sleep};

use crate::coordinate::{Coordination, Left};

/// Name of the lease.
const LEASE: &str = "coordinator";
/// How long a coordinator that says nothing keeps the lease. Leases are never scaled.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(3);
/// How often it is renewed, and asked for by the others.
const LEASE_EVERY: Duration = Duration::from_millis(700);
/// How long the others let the node go first that a hand-over names.
const HEIR_FIRST: Duration = Duration::from_secs(6);

/// What an orchestrator works with.
#[derive(Clone)]
pub struct Parts {
    /// This node.
    pub me: NodeName,
    /// The cluster's record.
    pub record: Arc<dyn Record>,
    /// Its fold.
    pub follower: Arc<Follower>,
    /// The agents of all nodes, this one's included.
    pub agents: Arc<dyn AgentClient>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn Ids>,
    /// Bounds.
    pub tunables: Tunables,
}

/// Whether this node coordinates, and if so, what it awaits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Another node does, or none.
    Follower {
        /// Why this one cannot, if it could not when it last stood, and since when that is so.
        hindered: Option<(String, WallTime)>,
    },
    /// This node does.
    Coordinator {
        /// Its generation.
        generation: Generation,
        /// What every open operation waits for.
        awaiting: Vec<Awaiting>,
        /// The last event that was known when that was decided.
        decided_at: Position,
    },
}

impl Default for Role {
    fn default() -> Self {
        Self::Follower { hindered: None }
    }
}

/// Runs on every node; coordinates when it is elected.
pub struct Orchestrator {
    parts: Parts,
    writer: Writer,
    role: watch::Sender<Role>,
    belongs: Option<watch::Receiver<bool>>,
}

impl Orchestrator {
    /// Ready to [`run`](Self::run).
    pub fn new(parts: Parts) -> Self {
        let writer = Writer::new(Arc::clone(&parts.record), Arc::clone(&parts.ids));
        Self {
            parts,
            writer,
            role: watch::Sender::default(),
            belongs: None,
        }
    }

    /// Coordinates only while this node belongs to the cluster. It may reach the record for longer: a machine that was
    /// removed, or that another one has replaced under the same name.
    #[must_use]
    pub fn while_it_belongs(mut self, belongs: watch::Receiver<bool>) -> Self {
        self.belongs = Some(belongs);
        self
    }

    /// This node's role, as it changes.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Stands for election and coordinates, until `stop` turns true. Trouble with the record is waited out.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut heir_seen: Option<(NodeName, Instant)> = None;
        while !*stop.borrow() {
            match self.stand(&mut heir_seen).await {
                Ok(Some(generation)) => {
                    let left = self.coordinate(generation, &mut stop).await;
                    let why = left.why();
                    tracing::info!(%generation, why, "no longer the coordinator: {why}");
                    self.role.send_replace(Role::default());
                    self.leave(left).await;
                }
                Ok(None) => self.follow(None),
                Err(why) => self.follow(Some(why)),
            }
            tokio::select! {
                biased;
                _ = stop.changed() => {}
                () = sleep(LEASE_EVERY) => {}
            }
        }
    }

    /// Another node coordinates, or none; and this one cannot, if it is `hindered`.
    fn follow(&self, hindered: Option<String>) {
        self.role.send_if_modified(|role| {
            let known = match role {
                Role::Follower { hindered } => hindered.as_ref().map(|(why, _)| why),
                Role::Coordinator { .. } => None,
            };
            if known == hindered.as_ref() {
                return false;
            }
            if let Some(why) = &hindered {
                tracing::warn!(why, "this node cannot coordinate: {why}");
            }
            let at = self.parts.clock.wall();
            *role = Role::Follower {
                hindered: hindered.map(|why| (why, at)),
            };
            true
        });
    }

    /// Tries to become the coordinator: none when another node is, or should be. The error says why this one cannot,
    /// whoever else may.
    async fn stand(
        &self,
        heir_seen: &mut Option<(NodeName, Instant)>,
    ) -> Result<Option<Generation>, String> {
        // That the record cannot be read is told by whoever follows it.
        let Ok(view) = self.parts.follower.refresh().await else {
            return Ok(None);
        };
        // A node that could misread the record does not stand.
        view.may_coordinate().map_err(|why| why.to_string())?;
        if self.belongs.as_ref().is_some_and(|it| !*it.borrow()) {
            return Err("it does not belong to the cluster".to_owned());
        }
        if view.control().topology.is_none() || !self.may_stand(&view, heir_seen) {
            return Ok(None);
        }
        let lease = self
            .parts
            .record
            .lease(LEASE, &self.parts.me, LEASE_TTL)
            .await
            .map_err(|error| error.to_string())?;
        if !lease.is_held_by(&self.parts.me) {
            return Ok(None);
        }
        match self.elect(&view).await {
            Ok(generation) => Ok(Some(generation)),
            Err(AppendError::Conflict { .. } | AppendError::Fenced { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A node that a hand-over names goes first.
    fn may_stand(&self, view: &View, heir_seen: &mut Option<(NodeName, Instant)>) -> bool {
        match &view.control().handed_to {
            None => {
                *heir_seen = None;
                true
            }
            Some(heir) if *heir == self.parts.me => true,
            Some(heir) => match heir_seen {
                Some((seen, since)) if seen == heir => since.elapsed() > HEIR_FIRST,
                Some(_) | None => {
                    *heir_seen = Some((heir.clone(), Instant::now()));
                    false
                }
            },
        }
    }

    async fn elect(&self, view: &View) -> Result<Generation, AppendError> {
        let from = view.control().generation;
        let to = from.next();
        let event = ControlEvent::CoordinatorElected {
            at: self.parts.clock.wall(),
            generation: to,
            node: self.parts.me.clone(),
        };
        let write = view.write(StreamId::Control, vec![Event::Control(event)]);
        self.writer
            .append(Fence::Advance { from, to }, vec![write])
            .await?;
        tracing::info!(generation = %to, "elected coordinator");
        Ok(to)
    }

    /// Coordinates while the lease is kept.
    async fn coordinate(&self, generation: Generation, stop: &mut watch::Receiver<bool>) -> Left {
        self.role.send_replace(Role::Coordinator {
            generation,
            awaiting: Vec::new(),
            decided_at: Position::default(),
        });
        let work = Coordination::new(&self.parts, &self.writer, generation, &self.role);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Left::Stopped,
            () = self.estranged() => Left::Stopped,
            left = self.keep_lease() => left,
            left = work.run() => left,
        }
    }

    /// Returns when this node belongs to the cluster no more.
    async fn estranged(&self) {
        if let Some(mut belongs) = self.belongs.clone()
            && belongs.wait_for(|it| !it).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Renews the lease until it is lost or runs out unrenewed.
    async fn keep_lease(&self) -> Left {
        let mut renewed = Instant::now();
        loop {
            sleep(LEASE_EVERY).await;
            match self
                .parts
                .record
                .lease(LEASE, &self.parts.me, LEASE_TTL)
                .await
            {
                Ok(lease) if lease.is_held_by(&self.parts.me) => renewed = Instant::now(),
                Ok(lease) => return Left::LeaseLost { to: lease.holder },
                Err(_) if renewed.elapsed() > LEASE_TTL => return Left::RecordLost,
                Err(_) => {}
            }
        }
    }

    /// Makes way at once when that is safe to do.
    async fn leave(&self, left: Left) {
        match left {
            Left::Stopped | Left::HandedOver { .. } | Left::Fenced => {
                // A lease that cannot be given up runs out by itself.
                let _ = self.parts.record.release(LEASE, &self.parts.me).await;
            }
            Left::LeaseLost { .. } | Left::RecordLost => {}
        }
    }
}

/// Whether `control` says that `me` coordinates with `generation`.
pub(crate) fn is_mine(control: &Control, me: &NodeName, generation: Generation) -> bool {
    let coordinator = control.coordinator.as_ref();
    control.generation == generation && coordinator.is_some_and(|c| c.node == *me)
}
