//! What a node does for its own part, for as long as its daemon lives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::BootId;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::layout::Members;
use super::mark::BOOT;
use super::seen::Seen;
use super::steps::{self, Duty};
use super::{Pacemaker, calls};
use evenkeel_platform::PlatformError;

/// Between two turns.
const EVERY: Duration = Duration::from_millis(500);
/// And while nothing is to be done: a takeover takes longer to empty a node.
const AT_REST: Duration = Duration::from_secs(2);
/// How long one turn may take: a look, and a change or the begin of a shutdown.
const TURN: Duration = Duration::from_secs(20);
/// A takeover by which something is served by nobody is taken back after this time. What only rests between two steps of the cluster's
/// goes on within a second or two.
const UNSERVED: Duration = Duration::from_secs(10);
/// The same where the partner serves everything, and an address of its does not answer: networks may learn of a new place late.
const UNREACHED: Duration = Duration::from_secs(60);
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
    /// Since when there has been a reason to take the takeover back, and how long it is borne.
    doubted: Mutex<Option<(Instant, Duration)>>,
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
            Err(_) => (EVERY, Some(format!("no answer within {TURN:?}"))),
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
        let seen = self.pacemaker.look().await?;
        let duty = steps::duty(&seen, *boot);
        if !matches!(duty, Duty::TakeBack(_) | Duty::Leave(_)) {
            self.doubt(None);
        }
        match duty {
            Duty::Nothing if !seen.is_standby(&self.pacemaker.members.local) => return Ok(AT_REST),
            Duty::Nothing => {}
            Duty::Note(edits) => self.pacemaker.change(&seen, &edits).await?,
            Duty::Leave(edits) => match self.pacemaker.check_answers(&seen).await {
                Ok(()) => self.pacemaker.change(&seen, &edits).await?,
                Err(PlatformError::Unavailable(why) | PlatformError::Refused(why)) => {
                    self.take_back(&seen, (why, UNREACHED)).await?;
                }
            },
            Duty::TakeBack(why) => self.take_back(&seen, (why, UNSERVED)).await?,
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

    /// Takes the takeover of this node back once there has been such a reason for so long. Until then the error is that reason.
    async fn take_back(
        &self,
        seen: &Seen,
        (why, after): (String, Duration),
    ) -> Result<(), PlatformError> {
        if self.doubt(Some(after)) < after {
            return Err(PlatformError::Unavailable(why));
        }
        let edits = steps::take_back(seen, self.pacemaker.boot, &why);
        self.pacemaker.change(seen, &edits).await?;
        let Members { local, partner } = &self.pacemaker.members;
        warn!(%why, "{local} takes its takeover by {partner} back: {why}");
        Ok(())
    }

    /// Notes that there is a reason to take the takeover back that is borne for so long, or none. Says how long there has been.
    fn doubt(&self, bearable: Option<Duration>) -> Duration {
        let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        *doubted = bearable.map(|bearable| match *doubted {
            Some((since, same)) if same == bearable => (since, same),
            Some(_) | None => (Instant::now(), bearable),
        });
        doubted.map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }
}
