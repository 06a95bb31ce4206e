//! The pair's last watch: a node whose partner is proven dead serves, whatever keeps the rest of the daemon from starting
//! or from moving: a damaged database, a certificate that is missing, a disk that does not answer.
//!
//! It has a thread of its own and needs the machine alone. The agent's guard, which also remembers and tells what it did,
//! goes first: this one acts on what it has seen several times in a row.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use evenkeel_agent::logged::SERVES_ALONE;
use evenkeel_agent::{Bounds, must_serve_alone};
use evenkeel_model::{NodeSettings, PairState};
use evenkeel_platform::{Failover, PlatformError};
use evenkeel_seam::watch;
use tokio::time::{sleep, timeout};

use crate::machine;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// In so many looks in a row the pair must be seen in need.
const LOOKS: u32 = 3;
/// How long a daemon that cannot be started waits for them before it ends.
const LOOKED_WITHIN: Duration = Duration::from_secs(10);

/// The running watch.
pub(crate) struct PairWatch {
    looks: watch::Receiver<u32>,
}

impl PairWatch {
    /// Begins to look, until the process ends.
    pub(crate) fn begin(settings: NodeSettings) -> Self {
        let looks = watch::Sender::new(0);
        let watch = Self {
            looks: looks.subscribe(),
        };
        let thread = thread::Builder::new().name("pair-watch".to_owned());
        if let Err(error) = thread.spawn(move || keep(&settings, &looks)) {
            tracing::error!(%error, "the pair has no watch but the agent's");
        }
        watch
    }

    /// Waits until it has looked as often as it takes to act.
    pub(crate) async fn looked(mut self) {
        let enough = *self.looks.borrow() + LOOKS;
        let looked = self.looks.wait_for(|looks| *looks >= enough);
        if timeout(LOOKED_WITHIN, looked).await.is_err() {
            tracing::warn!("the pair was not looked at: the machine does not answer");
        }
    }
}

fn keep(settings: &NodeSettings, looks: &watch::Sender<u32>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(look_on(settings, looks)),
        Err(error) => tracing::error!(%error, "the pair has no watch but the agent's"),
    }
}

async fn look_on(settings: &NodeSettings, looks: &watch::Sender<u32>) {
    let mut in_a_row = 0;
    loop {
        match look(settings, &mut in_a_row).await {
            Ok(()) => {}
            // Whoever needs more of the machine says that it does not answer.
            Err(error) => tracing::debug!(%error, "the pair cannot be seen"),
        }
        looks.send_modify(|looks| *looks += 1);
        sleep(EVERY).await;
    }
}

async fn look(settings: &NodeSettings, in_a_row: &mut u32) -> Result<(), PlatformError> {
    let seen = in_need(settings).await;
    *in_a_row = match seen {
        Ok(Some(_)) => *in_a_row + 1,
        Ok(None) | Err(_) => 0,
    };
    if let Some((machine, pair)) = seen?.filter(|_| *in_a_row >= LOOKS) {
        let outcome = bounded(Bounds::default().act, machine.serve_alone()).await;
        // What the engine refuses is asked for again at every look, and said once.
        if *in_a_row == LOOKS {
            let (partner, refused) = (&pair.partner.node, outcome.as_ref().err());
            tracing::warn!(target: SERVES_ALONE, %partner, refused = refused.map(tracing::field::display),
                "the partner is fenced and the agent does nothing: this node serves alone");
        }
        outcome?;
    }
    Ok(())
}

/// The machine and its pair, when this node must serve for both.
async fn in_need(
    settings: &NodeSettings,
) -> Result<Option<(Arc<dyn Failover>, PairState)>, PlatformError> {
    let within = Bounds::default().look;
    let Some(machine) = bounded(within, machine::failover(settings)).await? else {
        return Ok(None);
    };
    let pair = bounded(within, machine.pair()).await?;
    let needed = pair.filter(must_serve_alone);
    Ok(needed.map(|pair| (machine, pair)))
}

async fn bounded<T>(
    within: Duration,
    answer: impl Future<Output = Result<T, PlatformError>>,
) -> Result<T, PlatformError> {
    match timeout(within, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(PlatformError::Unavailable(format!(
            "no answer within {within:?}"
        ))),
    }
}
