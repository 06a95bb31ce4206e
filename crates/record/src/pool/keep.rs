//! The loop that follows the seat: opens the record's file when the HA engine gives the seat, and closes it when it takes it away.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_seam::watch;
use tokio::time::{sleep, timeout};

use super::seat::Seat;
use super::state::{NO_SEAT, Pool};
use super::take::{NotTaken, Taken, take};
use crate::record::Record;

/// Pause between two tries to take a seat that is there…
const RETRY: Duration = Duration::from_millis(200);
/// …and where somebody has to mend something first. A seat that is given anew is tried at once.
const RETRY_MENDED: Duration = Duration::from_secs(5);
/// From then on closing the file takes too long, and it is said, as often as it passes again.
const CLOSING_IS_LONG: Duration = Duration::from_secs(2);

/// Until nobody looks at the seat any more.
pub(super) async fn keep(pool: Arc<Pool>, mut seats: watch::Receiver<Option<Seat>>) {
    loop {
        let seat = seats.borrow_and_update().clone();
        let Some(seat) = seat else {
            pool.stand(NO_SEAT);
            match seats.changed().await {
                Ok(()) => continue,
                Err(watch::Closed) => return,
            }
        };
        match take(&pool, &seat).await {
            Ok(taken) => sit(&pool, taken, &seat, &mut seats).await,
            Err(NotTaken::Passing(why)) => {
                pool.stand(&why);
                sleep(RETRY).await;
            }
            Err(NotTaken::Standing(why)) => {
                pool.stand(&why);
                if let Ok(Err(watch::Closed)) = timeout(RETRY_MENDED, seats.changed()).await {
                    return;
                }
            }
        }
    }
}

/// Holds the record until the seat is another or gone, and closes it.
async fn sit(pool: &Pool, taken: Taken, seat: &Seat, seats: &mut watch::Receiver<Option<Seat>>) {
    if let Some(before) = taken.record.held_before() {
        let (node, in_order) = (&before.node, before.released);
        let how = if in_order {
            "in order"
        } else {
            "without a word"
        };
        tracing::info!(%node, in_order, "this node holds the record on the pair's pool; {node} held it before, and left it {how}");
    } else {
        tracing::info!("this node holds the record on the pair's pool, as the first one");
    }
    let mut rings = taken.record.doorbell();
    pool.sit(Arc::clone(&taken.record));
    let moved = async {
        // The watcher's end is the daemon's: the process closes the file then.
        let _ended = seats.wait_for(|now| now.as_ref() != Some(seat)).await;
    };
    let ringing = async {
        while rings.changed().await.is_ok() {
            pool.ring();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = moved => {}
        () = ringing => {}
    }
    pool.stand("the HA engine took the seat away");
    close(taken).await;
}

/// No longer than what is under way: one transaction and one read. A disk that does not answer may hold that for ever; then the
/// agent's `stop` fails, and the HA engine fences this node.
async fn close(taken: Taken) {
    let Taken { record, mut let_go } = taken;
    record.let_go();
    drop(record);
    let mut waited = Duration::ZERO;
    while timeout(CLOSING_IS_LONG, &mut let_go).await.is_err() {
        waited += CLOSING_IS_LONG;
        tracing::error!(
            ?waited,
            "the record's file cannot be closed: the pool's disks do not answer a read, a write or a sync of this daemon's"
        );
    }
    tracing::info!("the record's file is closed: the pool may be unmounted");
}
