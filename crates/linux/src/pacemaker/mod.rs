//! Failover by Pacemaker on Corosync.
//!
//! A takeover is the taken node in standby for good, a giveback its end, and the cluster does the rest. What is ours about it
//! stands in the cluster's own configuration, which both nodes see alike: attributes of the nodes ([`mark`]) and, while
//! pools go home one by one, constraints that keep the later ones away ([`hold`]). A standby without our attribute is
//! somebody else's.
//!
//! Everything is read as XML and judged by pure functions of one look ([`seen`], [`vetoes`], [`steps`]). The configuration
//! is changed by one kind of call, which happens as a whole and only to the very state that was judged ([`edit`]): there is
//! no line between two lines at which a kill leaves half of it, and no other change that slips in between. Besides, each
//! node tells the boot that it runs in, which is an attribute of its membership and nobody's decision (`attrd_updater`).
//!
//! What a node does for its own part, it does in [`Keeper::run`]: it tells its boot, and shuts down when it was taken over and the
//! addresses that its partner has now answer it ([`answers`]). If that does not come about, it takes the takeover back.

mod answers;
mod calls;
mod cib;
mod edit;
mod fencing;
mod foresee;
mod hold;
mod keep;
mod layout;
mod mark;
mod monitor;
mod seen;
mod steps;
mod vetoes;
mod witness;
mod xml;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{BootId, FencingState, LifName, LifState, NodeName, PairState, WitnessState};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

pub use keep::{CleanReboot, Keeper};

use self::answers::Silence;
use self::foresee::Expect;
use self::layout::Members;
use self::seen::Seen;
use self::steps::Step;
use super::Host;
use super::storage::{PoolPlace, PoolPlaces};
use evenkeel_platform::{Failover, GivebackRequest, PlatformError, TakeoverRequest};

/// How long an act waits for the cluster to have done it; the agent bounds an act with 30 s.
const SETTLE: Duration = Duration::from_secs(25);
/// A look costs two programs, and several loops look at the pair: what is seen may be so old where nothing is done by it.
const RECENT: Duration = Duration::from_millis(500);
/// Addresses that answered so long ago are not asked again for an alert.
const ANSWERED: Duration = Duration::from_secs(30);
/// Between two looks while something is awaited.
const POLL: Duration = Duration::from_millis(200);

/// A look, and when it began.
type Newest = Option<(Instant, Arc<Seen>)>;
/// LIFs that all answered, and when.
type Answered = Option<(Instant, Vec<LifName>)>;

/// Whether addresses on the partner are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    On,
    Off,
}

/// This node's Pacemaker.
#[derive(Clone)]
pub struct Pacemaker {
    host: Host,
    members: Members,
    boot: BootId,
    asking: Asking,
    /// When LIFs on the partner have last answered, and which.
    answered: Arc<Mutex<Answered>>,
    /// The newest look, for whoever only wants to see.
    newest: Arc<Mutex<Newest>>,
    /// Why this node's own part in the pair waits, as its newest turn has found.
    trouble: Arc<StdMutex<Option<String>>>,
}

impl Pacemaker {
    /// The node `local`, which runs in `boot`, and its partner, by the names that Pacemaker knows them by.
    pub fn new(host: Host, local: NodeName, partner: NodeName, boot: BootId) -> Self {
        Self {
            host,
            members: Members { local, partner },
            boot,
            asking: Asking::On,
            answered: Arc::default(),
            newest: Arc::default(),
            trouble: Arc::default(),
        }
    }

    /// The same, which takes an address for served when Pacemaker says so: where a partner's addresses cannot be asked from this node.
    pub fn without_asking(mut self) -> Self {
        self.asking = Asking::Off;
        self
    }

    /// All LIFs of the pair: its `ocf:heartbeat:IPaddr2` resources that have a home.
    pub async fn lifs(&self) -> Result<Vec<LifState>, PlatformError> {
        Ok(self.recent().await?.lifs())
    }

    /// Sends a LIF to its home node. One that goes with a pool is home when the pool is.
    pub async fn send_home(&self, lif: &LifName) -> Result<(), PlatformError> {
        self.drive(|seen| steps::send_home(seen, lif)).await
    }

    /// What an operator must know.
    pub async fn alerts(&self) -> Result<Vec<String>, PlatformError> {
        let seen = self.recent().await?;
        let mut alerts = vetoes::alerts(&seen);
        match self.trouble() {
            Some(why) => {
                let local = &self.members.local;
                alerts.push(format!("the part of {local} in its pair waits: {why}"));
            }
            None => {
                let asked = self.check_answers_of_late(&seen).await;
                alerts.extend(asked.err().map(|why| why.to_string()));
            }
        }
        Ok(alerts)
    }

    fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what became of the newest turn for the alerts. Says whether that is another trouble than before.
    fn note_trouble(&self, why: Option<String>) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = why.is_some() && *trouble != why;
        *trouble = why;
        is_new
    }

    /// The addresses on the partner that do not answer this node.
    async fn silence(&self, seen: &Seen) -> Result<Option<Silence>, PlatformError> {
        match self.asking {
            Asking::On => answers::ask(&self.host, seen).await,
            Asking::Off => Ok(None),
        }
    }

    /// All of them answer, now or a while ago. Whoever asks at the same time shares one answer.
    async fn check_answers_of_late(&self, seen: &Seen) -> Result<(), PlatformError> {
        let there: Vec<LifName> = answers::there(seen).map(|lif| lif.name.clone()).collect();
        let mut answered = self.answered.lock().await;
        let lately =
            |(at, lifs): &(Instant, Vec<LifName>)| at.elapsed() < ANSWERED && *lifs == there;
        if answered.as_ref().is_some_and(lately) {
            return Ok(());
        }
        *answered = None;
        if let Some(silence) = self.silence(seen).await? {
            return Err(PlatformError::Unavailable(silence.why()));
        }
        *answered = Some((Instant::now(), there));
        Ok(())
    }

    /// What is so now: before whatever acts.
    async fn look(&self) -> Result<Seen, PlatformError> {
        calls::look(&self.host, &self.members).await
    }

    /// What was so a moment ago. Whoever asks at the same time shares one look.
    async fn recent(&self) -> Result<Arc<Seen>, PlatformError> {
        let mut newest = self.newest.lock().await;
        if let Some((at, seen)) = &*newest
            && at.elapsed() < RECENT
        {
            return Ok(Arc::clone(seen));
        }
        let (at, seen) = (Instant::now(), Arc::new(self.look().await?));
        *newest = Some((at, Arc::clone(&seen)));
        Ok(seen)
    }

    /// Makes a change, after which nobody is told what was before it.
    async fn change(&self, seen: &Seen, edits: &[edit::Edit]) -> Result<(), PlatformError> {
        let changed = calls::change(&self.host, seen, edits).await;
        *self.newest.lock().await = None;
        changed
    }

    /// A change that the cluster's own scheduler would make something else of is not begun.
    async fn check_outcome(
        &self,
        seen: &Seen,
        (edits, expect): (&[edit::Edit], &Expect),
    ) -> Result<(), PlatformError> {
        if *expect == Expect::Anything {
            return Ok(());
        }
        let foreseen = calls::foresee(&self.host, seen, (edits, expect)).await?;
        foreseen.map_err(|why| {
            PlatformError::Refused(format!(
                "Pacemaker's scheduler foresees that afterwards {why}; look for the constraint in `crm_mon -1` and \
                 `crm_simulate --live-check --show-scores`"
            ))
        })
    }

    /// Goes from step to step until all is done, for a bounded time. Nobody is told afterwards what was before.
    async fn drive(&self, next: impl Fn(&Seen) -> Step + Send) -> Result<(), PlatformError> {
        let deadline = Instant::now() + SETTLE;
        let mut before = None;
        loop {
            let seen = self.look().await?;
            let step = next(&seen);
            // What was not made, or made no difference, is not written again at once: each try is a write of the whole cluster.
            if before.take_if(|before| *before == step).is_some() {
                sleep(POLL).await;
                continue;
            }
            let awaited = match step {
                Step::Done => {
                    *self.newest.lock().await = None;
                    return Ok(());
                }
                Step::Refuse(why) => return Err(PlatformError::Refused(why)),
                Step::NotYet(why) => return Err(PlatformError::Unavailable(why)),
                Step::Change(edits, expect) => {
                    self.check_outcome(&seen, (&edits, &expect)).await?;
                    self.change(&seen, &edits).await?;
                    before = Some(Step::Change(edits, expect));
                    "a change of the configuration to be made while nothing else changes".to_owned()
                }
                Step::Wait(what) => {
                    sleep(POLL).await;
                    what
                }
            };
            if Instant::now() >= deadline {
                let why = format!("after {SETTLE:?} Pacemaker is still waited for: {awaited}");
                return Err(PlatformError::Unavailable(why));
            }
        }
    }
}

#[async_trait]
impl PoolPlaces for Pacemaker {
    async fn pools(&self) -> Result<Vec<PoolPlace>, PlatformError> {
        let seen = self.recent().await?;
        let place = |pool: &layout::Pool| PoolPlace {
            name: pool.name.clone(),
            home: pool.home.clone(),
            owner: seen.owner(pool),
            root: pool.root,
            storage: pool.storage.clone(),
        };
        Ok(seen.layout.pools.iter().map(place).collect())
    }
}

#[async_trait]
impl Failover for Pacemaker {
    async fn pair(&self) -> Result<Option<PairState>, PlatformError> {
        Ok(Some(self.recent().await?.pair()))
    }

    async fn take_over(&self, request: &TakeoverRequest) -> Result<(), PlatformError> {
        if request.local_boot != self.boot {
            let (node, boot) = (&self.members.local, request.local_boot);
            let why = format!("{node} does not run in boot {boot}");
            return Err(PlatformError::Refused(why));
        }
        self.drive(|seen| steps::take_over(seen, request)).await
    }

    async fn give_back(&self, request: &GivebackRequest) -> Result<(), PlatformError> {
        self.drive(|seen| steps::give_back(seen, request)).await
    }

    async fn serve_alone(&self) -> Result<(), PlatformError> {
        self.drive(steps::serve_alone).await
    }

    async fn witness(&self) -> Result<Option<WitnessState>, PlatformError> {
        witness::state(&calls::corosync(&self.host).await?)
    }

    async fn fencing(&self) -> Result<Option<FencingState>, PlatformError> {
        Ok(fencing::state(&*self.recent().await?))
    }
}
