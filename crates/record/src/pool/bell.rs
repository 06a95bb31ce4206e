//! The doorbell of the side that does not sit: asks the partner for news, again and again.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{Position, error_chain};
use tokio::time::{Instant, sleep};

use super::answer::{MAX_NEWS_WAIT, millis};
use super::remote::Remote;
use super::state::Pool;
use super::wire::{Call, Reply};

/// What the way there and back may add to the wait itself.
const ON_THE_WAY: Duration = Duration::from_secs(4);
/// Pause before a partner is asked again that has no news to give: it does not sit, or is not reached.
const PAUSE: Duration = Duration::from_millis(500);

/// For as long as the daemon runs. While this node sits, the file's own doorbell rings.
pub(super) async fn listen(pool: Arc<Pool>) {
    let mut sits = pool.sits.subscribe();
    let mut known = None;
    loop {
        if sits.wait_for(|sits| !sits).await.is_err() {
            return;
        }
        match ask(&pool, known).await {
            Some(position) => {
                if known != Some(position) {
                    pool.ring();
                }
                known = Some(position);
            }
            None => {
                // What happened meanwhile is asked for at once when it answers again.
                known = None;
                sleep(PAUSE).await;
            }
        }
    }
}

/// The place of the newest event, once it is not `known` any more, or after a while.
async fn ask(pool: &Arc<Pool>, known: Option<Position>) -> Option<Position> {
    let remote = Remote {
        pool,
        here: String::new(),
    };
    let call = Call::News {
        known,
        within_ms: millis(MAX_NEWS_WAIT),
    };
    let until = Instant::now() + MAX_NEWS_WAIT + ON_THE_WAY;
    let (position, record) = match remote.ask(&call, until).await {
        Ok(Reply::News { position, record }) => (position, record),
        // Whoever reads next learns of the trouble, and says it.
        Ok(_) | Err(_) => return None,
    };
    let known = Arc::clone(&pool.known);
    let checked = tokio::task::spawn_blocking(move || known.check(record)).await;
    match checked {
        Ok(Ok(())) => Some(position),
        Ok(Err(error)) => {
            tracing::error!(error = error_chain(&error), "the partner's record");
            None
        }
        Err(error) => {
            tracing::error!(%error, "the partner's record was not examined");
            None
        }
    }
}
