//! What a node does for its own part, for as long as its daemon lives.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::BootId;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::mark::BOOT;
use super::steps::{self, Duty};
use super::{Pacemaker, calls};
use evenkeel_platform::PlatformError;

/// Between two turns.
const EVERY: Duration = Duration::from_millis(500);
/// And while nothing is to be done: a takeover takes longer to empty a node.
const AT_REST: Duration = Duration::from_secs(2);
/// How long one turn may take: a look, and a change or the begin of a shutdown.
const TURN: Duration = Duration::from_secs(20);
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
/// everything is served by its partner, and notes what is over.
pub struct Keeper {
    pacemaker: Pacemaker,
    power: Arc<dyn CleanReboot>,
}

impl Keeper {
    /// Of the node whose Pacemaker this is.
    pub fn new(pacemaker: Pacemaker, power: Arc<dyn CleanReboot>) -> Self {
        Self { pacemaker, power }
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
            warn!(%error, "this node's part in its pair waits");
        }
        pause
    }

    /// Does what is due by one look. Says how long nothing more is.
    pub async fn turn(&self) -> Result<Duration, PlatformError> {
        let Pacemaker { host, boot, .. } = &self.pacemaker;
        let seen = self.pacemaker.look().await?;
        match steps::duty(&seen, *boot) {
            Duty::Nothing if !seen.is_standby(&self.pacemaker.members.local) => return Ok(AT_REST),
            Duty::Nothing => {}
            Duty::Note(edits) => self.pacemaker.change(&seen, &edits).await?,
            Duty::Leave(edits) => {
                self.pacemaker.check_answers(&seen).await?;
                self.pacemaker.change(&seen, &edits).await?;
            }
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
}
