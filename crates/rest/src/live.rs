//! The download that this node is making, as far as it is just now.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_model::OperationId;
use tokio::time::Instant;

/// The rate is that of the last so much time.
const WINDOW: Duration = Duration::from_secs(2);

/// What a node knows of its own download beyond what is in the record. Shared by whoever downloads and
/// whoever shows it; gone with the daemon.
#[derive(Clone, Debug, Default)]
pub struct LiveDownload(Arc<Mutex<Option<Live>>>);

#[derive(Clone, Debug)]
struct Live {
    operation: OperationId,
    received: u64,
    total: Option<u64>,
    trouble: Option<String>,
    /// Where the measured time began, and at which byte.
    since: (Instant, u64),
    bytes_per_second: Option<u64>,
}

impl LiveDownload {
    pub(crate) fn set(
        &self,
        operation: OperationId,
        received: u64,
        total: Option<u64>,
        trouble: Option<String>,
    ) {
        let now = Instant::now();
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = live.take().filter(|live| live.operation == operation);
        let (mut since, mut rate) = match before {
            Some(before) if before.received <= received => (before.since, before.bytes_per_second),
            Some(_) | None => ((now, received), None),
        };
        let spent = now - since.0;
        if spent >= WINDOW {
            let milliseconds = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
            rate = Some(received.saturating_sub(since.1).saturating_mul(1000) / milliseconds);
            since = (now, received);
        }
        *live = Some(Live {
            operation,
            received,
            total,
            trouble,
            since,
            bytes_per_second: rate,
        });
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How far it is, in words, if this node makes the download of this operation.
    pub(crate) fn describe(&self, operation: OperationId) -> Option<String> {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = live.as_ref().filter(|live| live.operation == operation)?;
        let mut text = match live.total.filter(|total| *total > 0) {
            Some(total) => {
                let percent = live.received.min(total) * 100 / total;
                format!("{percent} % of {} received", mebibytes(total))
            }
            None => format!("{} received", mebibytes(live.received)),
        };
        if let Some(rate) = live.bytes_per_second {
            text += &format!(", {}/s", mebibytes(rate));
            let left = live.total.map(|total| total.saturating_sub(live.received));
            if let Some(seconds) = left.and_then(|left| left.checked_div(rate)) {
                text += &format!(", {seconds} s left");
            }
        }
        if let Some(trouble) = &live.trouble {
            text += &format!("; {trouble}");
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

    #[test]
    fn only_the_operation_it_is_about_is_described() {
        let (this, other) = (
            OperationId(uuid::Uuid::from_u128(1)),
            OperationId(uuid::Uuid::from_u128(2)),
        );
        let live = LiveDownload::default();
        assert_eq!(live.describe(this), None);
        live.set(this, 3 << 20, Some(12 << 20), None);
        assert_eq!(
            live.describe(this).as_deref(),
            Some("25 % of 12.0 MiB received")
        );
        assert_eq!(live.describe(other), None);
        live.set(this, 3 << 19, None, Some("waiting".into()));
        assert_eq!(
            live.describe(this).as_deref(),
            Some("1.5 MiB received; waiting")
        );
    }
}
