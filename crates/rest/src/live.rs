//! The download that this node is making, as far as it is just now.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_model::{OperationId, Transfer, TransferSource, WallTime};
use tokio::time::Instant;

/// The rate is that of the last so much time.
const WINDOW: Duration = Duration::from_secs(2);

/// What a node knows of its own download beyond what is in the record. Shared by whoever downloads and
/// whoever shows it; gone with the daemon.
#[derive(Clone, Debug, Default)]
pub struct LiveDownload(Arc<Mutex<Option<Live>>>);

/// How far a download is.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) operation: OperationId,
    /// Whose server.
    pub(crate) host: String,
    /// When it was asked for, where that is known.
    pub(crate) since: Option<WallTime>,
    pub(crate) received: u64,
    pub(crate) total: Option<u64>,
    /// What was remarkable so far.
    pub(crate) remark: Option<String>,
    /// Why nothing comes just now.
    pub(crate) retry: Option<Retry>,
}

/// A try that failed, and the next one.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    pub(crate) error: String,
    pub(crate) again: Instant,
    /// The next one among them.
    pub(crate) tries_left: u32,
}

impl Retry {
    /// `h cannot be reached; next try in 4 s, 7 tries left`.
    fn words(&self) -> String {
        let (error, left) = (&self.error, self.tries_left);
        let wait = self.again.saturating_duration_since(Instant::now());
        let next = match wait.is_zero() {
            true => "trying again now".to_owned(),
            false => format!("next try in {} s", wait.as_millis().div_ceil(1000)),
        };
        let tries = if left == 1 { "try" } else { "tries" };
        format!("{error}; {next}, {left} {tries} left")
    }
}

#[derive(Clone, Debug)]
struct Live {
    standing: Standing,
    /// Where the measured time began, and at which byte.
    since: (Instant, u64),
    bytes_per_second: Option<u64>,
}

impl LiveDownload {
    pub(crate) fn set(&self, standing: Standing) {
        let (now, received) = (Instant::now(), standing.received);
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |live: &Live| live.standing.operation == standing.operation;
        let (mut since, mut rate) = match live.take().filter(same) {
            Some(before) if before.standing.received <= received => {
                (before.since, before.bytes_per_second)
            }
            Some(_) | None => ((now, received), None),
        };
        let spent = now - since.0;
        if spent >= WINDOW {
            let milliseconds = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
            rate = Some(received.saturating_sub(since.1).saturating_mul(1000) / milliseconds);
            since = (now, received);
        }
        *live = Some(Live {
            standing,
            since,
            bytes_per_second: rate,
        });
    }

    /// Adds to what the store sees of it, which is nothing before the first byte, why it does not go on.
    pub fn add_to(&self, transfers: &mut Vec<Transfer>) {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Live { standing, .. }) = &*live else {
            return;
        };
        let trouble = standing.retry.as_ref().map(Retry::words);
        let is_it = |it: &&mut Transfer| matches!(it.source, TransferSource::Download { .. });
        if let Some(transfer) = transfers.iter_mut().find(is_it) {
            transfer.trouble = trouble;
            return;
        }
        let Some(since) = standing.since else {
            return;
        };
        // Without trouble and with bytes it is whole, and is being handed over.
        if trouble.is_some() || standing.received == 0 {
            transfers.push(Transfer {
                package: None,
                version: None,
                source: TransferSource::Download {
                    host: standing.host.clone(),
                },
                received_bytes: standing.received,
                total_bytes: standing.total,
                bytes_per_second: 0,
                since,
                trouble,
            });
        }
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How far it is, in words, if this node makes the download of this operation.
    pub(crate) fn describe(&self, operation: OperationId) -> Option<String> {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = live.as_ref();
        let live = live.filter(|live| live.standing.operation == operation)?;
        let standing = &live.standing;
        let mut text = match standing.total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = standing.received.min(total) * 100 / total;
                format!("{percent} % of {} received", mebibytes(total))
            }
            None => format!("{} received", mebibytes(standing.received)),
        };
        if let Some(retry) = &standing.retry {
            return Some(format!("{text}; {}", retry.words()));
        }
        if let Some(rate) = live.bytes_per_second {
            text += &format!(", {}/s", mebibytes(rate));
            let left = standing
                .total
                .map(|it| it.saturating_sub(standing.received));
            if let Some(seconds) = left.and_then(|left| left.checked_div(rate)) {
                text += &format!(", {seconds} s left");
            }
        }
        if let Some(remark) = &standing.remark {
            text += &format!("; {remark}");
        }
        Some(text)
    }
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes / ((1 << 20) / 10);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(n: u128, received: u64, total: Option<u64>) -> Standing {
        Standing {
            operation: OperationId(uuid::Uuid::from_u128(n)),
            host: "h".to_owned(),
            since: Some(WallTime::new("2026-01-02T03:04:05Z".parse().unwrap())),
            received,
            total,
            remark: None,
            retry: None,
        }
    }

    #[test]
    fn only_the_operation_it_is_about_is_described() {
        let (this, other) = (
            OperationId(uuid::Uuid::from_u128(1)),
            OperationId(uuid::Uuid::from_u128(2)),
        );
        let live = LiveDownload::default();
        assert_eq!(live.describe(this), None);
        live.set(standing(1, 3 << 20, Some(12 << 20)));
        let text = live.describe(this);
        assert_eq!(text.as_deref(), Some("25 % of 12.0 MiB received"));
        assert_eq!(live.describe(other), None);
        live.set(Standing {
            remark: Some("began anew".into()),
            ..standing(1, 3 << 19, None)
        });
        let text = live.describe(this);
        assert_eq!(text.as_deref(), Some("1.5 MiB received; began anew"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_download_that_tries_again_says_what_it_met_and_when() {
        let live = LiveDownload::default();
        let retry = Retry {
            error: "h cannot be reached".to_owned(),
            again: Instant::now() + Duration::from_secs(4),
            tries_left: 7,
        };
        live.set(Standing {
            retry: Some(retry),
            ..standing(1, 0, None)
        });
        let words = "h cannot be reached; next try in 4 s, 7 tries left";
        let mut transfers = Vec::new();
        live.add_to(&mut transfers);
        assert_eq!(transfers[0].trouble.as_deref(), Some(words), "no byte yet");
        transfers[0].trouble = None;
        tokio::time::advance(Duration::from_secs(5)).await;
        live.add_to(&mut transfers);
        let words = "h cannot be reached; trying again now, 7 tries left";
        assert_eq!(transfers.len(), 1, "it is the store's");
        assert_eq!(transfers[0].trouble.as_deref(), Some(words));
        let text = live.describe(OperationId(uuid::Uuid::from_u128(1)));
        assert_eq!(text.unwrap(), format!("0.0 MiB received; {words}"));
        live.set(standing(1, 5, None));
        live.add_to(&mut transfers);
        assert_eq!(transfers[0].trouble, None);
    }
}
