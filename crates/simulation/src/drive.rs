//! Waiting for a cluster, and asking it for things, as an operator would.

use std::fmt;
use std::time::Duration;

use evenkeel_model::{
    JobId, NodeName, Operation, OperationEnd, OperationId, OperationState, PauseCause, PausePoint,
    Problem, Refusal, SlotHealth, TransitionStage, UpdateRequest, code,
};
use evenkeel_orchestrator::{FrontDoor, UpdateAction};
use evenkeel_platform::sim::Hardware;
use evenkeel_platform::wire::{Command, Reply};
use evenkeel_record::View;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::settings::{NEW, admin, digest, version};
use crate::shown::{without_history, wrong_version};
use crate::world::lock;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Every how many looks all nodes are asked what they wait for.
const ASK_EVERY: u32 = 16;
/// How long a client waits for a front door that lives.
const ANSWER: Duration = Duration::from_secs(40);

/// Where an operation has come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It is over.
    Ended(OperationEnd),
    /// It waits for a person who asked for that.
    PausedByUser(PausePoint),
    /// It waits for a person because of trouble.
    PausedOnError(Problem),
}

/// A condition that did not come true in time, with what there is to see.
#[derive(Clone, PartialEq, Eq)]
pub struct Stuck(pub String);

impl fmt::Debug for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the operation rests, if it does.
pub fn stand_of(operation: &Operation) -> Option<Stand> {
    match &operation.state {
        OperationState::Ended { end } => Some(Stand::Ended(end.clone())),
        OperationState::Paused {
            cause: PauseCause::User { point },
        } => Some(Stand::PausedByUser(*point)),
        OperationState::Paused {
            cause: PauseCause::Error { problem },
        } => Some(Stand::PausedOnError(problem.clone())),
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Running
        | OperationState::PausePending
        | OperationState::Replanning
        | OperationState::CancelPending => None,
    }
}

impl Cluster {
    /// Waits until `look` finds something, within `bound` of virtual time.
    pub async fn until<T>(
        &self,
        bound: Duration,
        mut look: impl FnMut(&View) -> Option<T>,
    ) -> Result<T, Stuck> {
        let until = Instant::now() + bound;
        for round in 0_u32.. {
            let view = self.view();
            if round.is_multiple_of(ASK_EVERY) {
                self.demand_answers(&view);
            }
            if let Some(found) = look(&view) {
                return Ok(found);
            }
            if Instant::now() > until {
                return Err(Stuck(self.describe()));
            }
            sleep(LOOK).await;
        }
        unreachable!("the bound is shorter than so many looks")
    }

    /// Waits until the newest update rests: ended, or paused.
    pub async fn rest(&self, bound: Duration) -> Result<Stand, Stuck> {
        let look = |view: &View| {
            let newest = view
                .control()
                .newest_of(&[evenkeel_model::OperationKind::Update])?;
            stand_of(view.operation(newest)?)
        };
        self.until(bound, look).await
    }

    /// Waits until no operation is open.
    pub async fn idle(&self, bound: Duration) -> Result<(), Stuck> {
        self.until(bound, |view| view.control().open.is_empty().then_some(()))
            .await
    }

    /// A plain update to [`NEW`].
    pub fn request() -> UpdateRequest {
        UpdateRequest {
            stabilize_minutes: 1,
            ..UpdateRequest::new(version(NEW))
        }
    }

    /// An update to [`NEW`] with options: `Cluster::request_with(|r| r.pause_after = PauseAfter::All)`.
    pub fn request_with(change: impl FnOnce(&mut UpdateRequest)) -> UpdateRequest {
        let mut request = Self::request();
        change(&mut request);
        request
    }

    /// Starts an update as a client would that asks the next node when one does not answer, and that
    /// takes "there is one" for a yes to its own question.
    pub async fn start_update(&self, request: UpdateRequest) -> Result<OperationId, Refusal> {
        let before = self.newest_update();
        loop {
            let answer = self
                .ask(async |door| door.start_update(request.clone(), admin()).await)
                .await;
            match self.newest_update() {
                Some(newest) if Some(newest) != before => return Ok(newest),
                Some(_) | None => {}
            }
            match answer {
                Err(refusal) if !is_passing(&refusal) => return Err(refusal),
                Ok(_) | Err(_) => sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// Pauses, resumes or cancels; tries again while the record is not to be had.
    pub async fn act(&self, action: UpdateAction) -> Result<(), Refusal> {
        loop {
            let answer = self.ask(async |door| door.act(action, admin()).await).await;
            match answer {
                Err(refusal) if is_passing(&refusal) => sleep(Duration::from_secs(1)).await,
                answer => return answer.map(drop),
            }
        }
    }

    /// Asks the front doors one by one until one answers. A job that one of them promised is kept in mind.
    pub async fn ask(
        &self,
        question: impl AsyncFn(FrontDoor) -> Result<JobId, Refusal>,
    ) -> Result<JobId, Refusal> {
        let answer = self.tell(question).await;
        lock(&self.world.accepted).extend(&answer);
        answer
    }

    /// The same of what has no job.
    pub async fn tell<T>(
        &self,
        question: impl AsyncFn(FrontDoor) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        loop {
            for node in self.names() {
                let Some(door) = self.door(&node) else {
                    continue;
                };
                let turn = self.world.nodes()[&node].turn;
                let answer = tokio::select! {
                    biased;
                    () = self.world.death(&node, turn) => continue,
                    answer = timeout(ANSWER, question(door)) => answer,
                };
                if let Ok(answer) = answer {
                    return answer;
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Does by hand what the action of a problem asks for: gives back what was taken over by hand or
    /// by itself, and waits until every node is up with its daemon and serves its own.
    pub async fn mend(&self, bound: Duration) -> Result<(), Stuck> {
        self.until(bound, |_| {
            let taken = self.taken_by_others();
            for node in taken {
                // Refused until the node waits for giveback: tried again at the next look.
                let _ = self.hardware(|hardware, now| hardware.give_back_by_hand(&node, now));
            }
            (self.all_run() && self.taken_by_others().is_empty()).then_some(())
        })
        .await
    }

    /// Nodes whose standing takeover is no update's.
    pub fn taken_by_others(&self) -> Vec<NodeName> {
        let view = self.view();
        let names = self.names();
        let of_pair = |node: &NodeName| {
            let pair = self.hardware(|hardware, _| hardware.pair_state(node))?;
            pair.transition
        };
        let standing = names.iter().step_by(2).filter_map(of_pair);
        standing
            .filter(|t| t.stage != TransitionStage::GivenBack)
            .filter(|t| !view.open_operations().any(|o| o.is_ours(t.id)))
            .map(|t| t.taken)
            .collect()
    }

    /// Nodes that are not up, and pools and LIFs that are not at home.
    pub fn away(&self) -> Vec<String> {
        let names = self.names();
        self.hardware(|hardware, _| {
            names
                .iter()
                .flat_map(|node| away_from(hardware, node))
                .collect()
        })
    }

    /// What keeps the cluster from being wholly at the new version and at home.
    pub fn unfinished(&self) -> Vec<String> {
        self.unfinished_of(&[])
    }

    /// The same of an update of some nodes only; of all when there are none.
    pub fn unfinished_of(&self, nodes: &[NodeName]) -> Vec<String> {
        let mut left = self.away();
        if nodes.is_empty() {
            left.extend(wrong_version(&self.view()));
        }
        let due = |node: &NodeName| nodes.is_empty() || nodes.contains(node);
        for node in self.names().into_iter().filter(due) {
            left.extend(self.hardware(|hardware, now| wrong_slot(hardware, &node, now)));
            if !self.world.nodes()[&node].shelf.holds(digest(NEW)) {
                left.push(format!("{node} lost the package"));
            }
        }
        left
    }

    /// Nodes of whose update the history does not know.
    pub fn without_history(&self) -> Vec<String> {
        without_history(&self.view(), &self.names())
    }

    /// All there is to see, for a test that failed.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let mut line = |what: String| {
            text.push_str(&what);
            text.push('\n');
        };
        line(format!(
            "at {:?} of virtual time",
            self.world.origin.elapsed()
        ));
        for entry in self.entries().iter().skip(3) {
            let body: String = entry.body.chars().take(260).collect();
            line(format!(
                "{} {} {body}",
                entry.position,
                short(&entry.stream.to_string())
            ));
        }
        self.hardware(|hardware, _| {
            for entry in hardware.log() {
                line(format!(
                    "{:>8} ms {}: {}",
                    entry.at_ms, entry.node, entry.text
                ));
            }
            for refused in hardware.refused() {
                line(format!(
                    "{:>8} ms {} was refused: {}",
                    refused.at_ms, refused.node, refused.why
                ));
            }
        });
        for (name, node) in self.world.nodes().iter() {
            let orders = node.db.open_orders().unwrap_or_default();
            let open: Vec<&str> = orders.iter().map(|e| e.order.task.action.name()).collect();
            let role = node
                .daemon
                .as_ref()
                .map(|daemon| daemon.role.borrow().clone());
            line(format!("{name}: {role:?}, open orders {open:?}"));
        }
        text
    }
}

fn away_from(hardware: &Hardware, node: &NodeName) -> Vec<String> {
    if hardware.boot_of(node).is_none() {
        return vec![format!("{node} is not up")];
    }
    let own = |home: &NodeName| home == node;
    let pools = hardware.pool_states(node).into_iter();
    let pools = pools.filter(|pool| own(&pool.home) && pool.owner.as_ref() != Some(&pool.home));
    let lifs = hardware.lif_states(node).into_iter();
    let lifs = lifs.filter(|lif| own(&lif.home) && lif.current.as_ref() != Some(&lif.home));
    let pools = pools.map(|pool| format!("pool {} is not home", pool.name));
    let lifs = lifs.map(|lif| format!("LIF {} is not home", lif.name));
    pools.chain(lifs).collect()
}

/// What is wrong with the slot that a node runs, after an update to [`NEW`].
fn wrong_slot(hardware: &mut Hardware, node: &NodeName, now_ms: u64) -> Option<String> {
    let Ok(Reply::Slots(slots)) = hardware.handle(node, &Command::Slots, now_ms) else {
        return Some(format!("{node} does not show its slots"));
    };
    let booted = slots.slot(slots.booted);
    let runs = booted.image.as_ref().map(|image| image.digest);
    let good = booted.health == SlotHealth::Good && slots.default == slots.booted;
    (runs != Some(digest(NEW)) || !good).then(|| format!("{node} runs {booted:?}"))
}

fn short(stream: &str) -> &str {
    &stream[..stream.len().min(18)]
}

/// Whether a stubborn operator asks again, also where an outcome is not known: twice must do no harm.
fn is_passing(refusal: &Refusal) -> bool {
    [code::CANNOT_CREATE_TASK, code::OUTCOME_UNKNOWN].contains(&refusal.code)
}
