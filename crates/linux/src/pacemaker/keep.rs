//! What a node does for its own part, for as long as its daemon lives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::BootId;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::edit::Edit;
use super::layout::Members;
use super::mark::BOOT;
use super::seen::{Doubt, Seen, Unserved};
use super::steps::{self, Duty};
use super::{Pacemaker, calls};
use evenkeel_platform::PlatformError;

/// Between two turns.
const EVERY: Duration = Duration::from_millis(500);
/// And while nothing is to be done: a takeover takes longer to empty a node.
const AT_REST: Duration = Duration::from_secs(2);
/// How long one turn may take: a look, and a change or the begin of a shutdown.
const TURN: Duration = Duration::from_secs(20);
/// How long data may be served by nobody where nothing else will come of it.
const SOON: Duration = Duration::from_secs(10);
/// The same where something may.
const LATE: Duration = Duration::from_secs(60);
/// A shutdown that was begun is given this long before it is asked for again.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// Shuts a node down that its partner serves for.
#[async_trait]
pub trait CleanReboot: Send + Sync {
    /// Shuts this node down cleanly and boots its default slot, if it still runs in `boot`. Returns when that has begun.
    /// Asked again, it does it again if the node still runs.
    async fn reboot(&self, boot: BootId) -> Result<(), PlatformError>;
}

/// The node's own part in the pair: it tells the cluster which boot it runs in, shuts down when it was taken over by us and
/// everything is served by its partner, or takes the takeover back if that does not come about, and notes what is over.
pub struct Keeper {
    pacemaker: Pacemaker,
    power: Arc<dyn CleanReboot>,
    doubted: Mutex<Option<Doubted>>,
}

/// What speaks against the takeover of this node.
#[derive(Clone)]
struct Doubted {
    by: Unserved,
    /// Since when it has been that.
    since: Instant,
    /// When something had failed while the same was missing as is now.
    failed: Option<Instant>,
}

impl Doubted {
    /// What it is now that this speaks against it. Where something else is missing than before, the cluster has got on.
    fn grown(before: Option<Self>, by: Unserved) -> Self {
        let now = Instant::now();
        let before = before.filter(|before| before.by.missing == by.missing);
        let same = before.as_ref().filter(|it| it.by.doubt == by.doubt);
        let since = same.map_or(now, |it| it.since);
        let failed = before.and_then(|before| before.failed);
        let failed = match by.doubt {
            Doubt::Failed | Doubt::Retried => failed.or(Some(now)),
            // A failure may have expired, or have been cleaned up.
            Doubt::Moves | Doubt::Rests | Doubt::Left => failed,
            Doubt::Silent => None,
        };
        Self { by, since, failed }
    }

    /// Whether that has been so for too long.
    fn is_enough(&self) -> bool {
        let bearable = match self.by.doubt {
            // Nothing will come of it.
            Doubt::Failed | Doubt::Left => Some(SOON),
            // Networks may learn of an address's new place late.
            Doubt::Rests | Doubt::Silent => Some(LATE),
            Doubt::Retried | Doubt::Moves => None,
        };
        let is_over = |since: Instant, bearable| since.elapsed() >= bearable;
        bearable.is_some_and(|bearable| is_over(self.since, bearable))
            || self.failed.is_some_and(|since| is_over(since, LATE))
    }

    /// Whether people are to know: what may only be between two steps of the cluster's is no news.
    fn is_news(&self) -> bool {
        match self.by.doubt {
            Doubt::Failed | Doubt::Retried | Doubt::Left | Doubt::Silent => true,
            Doubt::Moves | Doubt::Rests => self.failed.is_some(),
        }
    }
}

impl Keeper {
    /// Of the node whose Pacemaker this is.
    pub fn new(pacemaker: Pacemaker, power: Arc<dyn CleanReboot>) -> Self {
        Self {
            pacemaker,
            power,
            doubted: Mutex::default(),
        }
    }

    /// Looks after it until it is dropped, which it may be at any point.
    pub async fn run(&self) {
        loop {
            sleep(self.bounded_turn().await).await;
        }
    }

    /// A turn, and what came of it for whoever asks for alerts: a partner that is waited for is told of nowhere else. The same
    /// trouble is logged once.
    async fn bounded_turn(&self) -> Duration {
        let (pause, trouble) = match timeout(TURN, self.turn()).await {
            Ok(Ok(pause)) => (pause, None),
            Ok(Err(error)) => (EVERY, Some(error.to_string())),
            Err(_) => {
                self.believe();
                (EVERY, Some(format!("no answer within {TURN:?}")))
            }
        };
        if self.pacemaker.note_trouble(trouble.clone())
            && let Some(error) = trouble
        {
            warn!(%error, "this node's part in its pair waits: {error}");
        }
        pause
    }

    /// Does what is due by one look. Says how long nothing more is.
    pub async fn turn(&self) -> Result<Duration, PlatformError> {
        let Pacemaker { host, boot, .. } = &self.pacemaker;
        // What was not looked at has not been so all the while.
        let seen = self.pacemaker.look().await;
        let seen = seen.inspect_err(|_| self.believe())?;
        let duty = steps::duty(&seen, *boot);
        if !matches!(duty, Duty::TakeBack(_) | Duty::Leave(_)) {
            self.believe();
        }
        match duty {
            Duty::Nothing if !seen.is_standby(&self.pacemaker.members.local) => return Ok(AT_REST),
            Duty::Nothing => {}
            Duty::Note(edits) => self.pacemaker.change(&seen, &edits).await?,
            Duty::Leave(edits) => self.leave(&seen, &edits).await?,
            Duty::TakeBack(unserved) => self.take_back(&seen, unserved).await?,
            Duty::TellBoot => {
                info!(%boot, "this boot is told to the cluster");
                calls::tell(host, BOOT, &boot.to_string()).await?;
            }
            Duty::Reboot => {
                warn!(%boot, "the partner serves everything: this node shuts down and boots its default slot");
                self.power.reboot(*boot).await?;
                return Ok(SHUTDOWN);
            }
        }
        Ok(EVERY)
    }

    /// Notes that this node leaves, if the addresses on its partner answer it.
    async fn leave(&self, seen: &Seen, edits: &[Edit]) -> Result<(), PlatformError> {
        let silence = self.pacemaker.silence(seen).await;
        match silence.inspect_err(|_| self.believe())? {
            Some(silence) if silence.is_of_taken => {
                let unserved = Unserved {
                    missing: silence.missing,
                    because: Some(silence.because),
                    doubt: Doubt::Silent,
                };
                self.take_back(seen, unserved).await
            }
            Some(silence) => {
                self.believe();
                Err(PlatformError::Unavailable(silence.why()))
            }
            None => {
                self.believe();
                self.pacemaker.change(seen, edits).await
            }
        }
    }

    /// Takes back what the partner holds of this node, once this has spoken against it for too long. Until then the error says what does.
    async fn take_back(&self, seen: &Seen, unserved: Unserved) -> Result<(), PlatformError> {
        let why = unserved.why();
        let doubted = self.doubt(unserved);
        if !doubted.is_enough() {
            return match doubted.is_news() {
                true => Err(PlatformError::Unavailable(why)),
                false => Ok(()),
            };
        }
        let edits = steps::take_back(seen, self.pacemaker.boot, &why);
        let Members { local, partner } = &self.pacemaker.members;
        warn!(%why, "{local} takes back what {partner} has taken over: {why}");
        self.pacemaker.change(seen, &edits).await
    }

    fn doubt(&self, by: Unserved) -> Doubted {
        let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = Doubted::grown(doubted.take(), by);
        *doubted = Some(grown.clone());
        grown
    }

    /// Nothing speaks against it.
    fn believe(&self) {
        *self.doubted.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
