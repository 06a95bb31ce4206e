//! Whether a source from which little or nothing comes is to be left for another.

use std::time::Duration;

use evenkeel_model::{Digest, NodeName, PackagesStatus};
use evenkeel_package_store::CHUNK_BYTES;

use super::run::Pull;

/// Slower than this, a source is compared with what others get. Any healthy link is faster.
const WORTH_COMPARING: u64 = 8 << 20;
/// Slower than this, another source is tried in any case.
const FLOOR: u64 = 256 << 10;
/// A source that gives less than this part of what others get is left.
const PART: u64 = 4;
/// How far a source must be ahead for its slowness to be its own: it could give more, and does not.
const AHEAD: u64 = 8 * CHUNK_BYTES;
/// All sources may be slow: then changing between them gains nothing.
const MOST_LEFT_SLOW: u32 = 3;

/// What came from a source while it was waited for: what the disk and the verification take here does not
/// count against it.
pub(super) struct Meter {
    waited: Duration,
    bytes: u64,
    /// Since when nothing came, in times that were waited.
    silent: Duration,
    /// It seems at fault. It may have got what it owes only just now, so it is given a moment.
    accused: bool,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            waited: Duration::ZERO,
            bytes: 0,
            silent: Duration::ZERO,
            accused: false,
        }
    }

    /// How long may be waited before the source is judged.
    pub(super) fn until_judged(&self, look: Duration) -> Duration {
        let look = if self.accused { look / 4 } else { look };
        look.saturating_sub(self.waited)
    }

    pub(super) fn waited_for(&mut self, time: Duration) {
        self.waited += time;
        self.silent += time;
    }

    pub(super) fn got(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        (self.silent, self.accused) = (Duration::ZERO, false);
    }

    /// Bytes per second since the last look.
    fn rate(&mut self) -> u64 {
        let millis = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX);
        let rate = self.bytes.saturating_mul(1000) / millis.max(1);
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        rate
    }
}

/// How far a source is with the package.
enum Has {
    Whole,
    Bytes(u64),
    Nothing,
}

fn has(status: &PackagesStatus, package: Digest) -> Has {
    if status.held.contains(&package) {
        return Has::Whole;
    }
    let mut transfers = status.transfers.iter();
    match transfers.find(|transfer| transfer.package == Some(package)) {
        Some(transfer) => Has::Bytes(transfer.received_bytes),
        None => Has::Nothing,
    }
}

impl Pull<'_> {
    /// Why the source is to be left, if it is. A source that waits itself is not at fault: those before it
    /// look after that, and a chain that is re-linked everywhere at once would be none.
    pub(super) async fn judge(&mut self, node: &NodeName, meter: &mut Meter) -> Option<String> {
        let (rate, silent) = (meter.rate(), meter.silent);
        if rate >= WORTH_COMPARING {
            return None;
        }
        let came = rate > 0;
        let status = match self.puller.ask(node).await {
            Ok(status) => status,
            Err(_) if came => return None,
            Err(why) => return Some(why),
        };
        let here = self.next + self.chunk.len() as u64;
        let could_give = match has(&status, self.order.package) {
            Has::Nothing => return Some(format!("{node} no longer has it")),
            Has::Whole => u64::MAX,
            Has::Bytes(bytes) => (bytes / CHUNK_BYTES * CHUNK_BYTES).saturating_sub(here),
        };
        if !came && could_give > 0 {
            let again = std::mem::replace(&mut meter.accused, true);
            return again.then(|| format!("{node} gave nothing for {silent:?}"));
        }
        if !came && silent >= self.puller.bounds.patience {
            return Some(format!("{node} had nothing more to give for {silent:?}"));
        }
        let slow = could_give >= AHEAD && self.is_slow(node, rate).await;
        (came && slow).then(|| {
            self.left_slow += 1;
            format!("{node} gave only {rate} bytes per second")
        })
    }

    /// Compared with what other nodes get of the same package.
    async fn is_slow(&self, node: &NodeName, rate: u64) -> bool {
        if self.left_slow >= MOST_LEFT_SLOW || self.sources().len() < 2 {
            return false;
        }
        let package = self.order.package;
        let others = self.order.members.iter();
        let others = others.filter(|other| *other != node && **other != self.puller.node);
        let rates = others.map(|other| async move {
            let status = self.puller.ask(other).await.ok()?;
            let mut transfers = status.transfers.into_iter();
            let transfer = transfers.find(|transfer| transfer.package == Some(package))?;
            Some(transfer.bytes_per_second)
        });
        let rates = futures_util::future::join_all(rates).await;
        let best = rates.into_iter().flatten().max().unwrap_or(0);
        rate < (best / PART).max(FLOOR)
    }
}
