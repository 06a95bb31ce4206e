//! What is known of a package that is on its way in: for those who follow it, and for showing.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use evenkeel_model::{Digest, Monotonic, Transfer, TransferSource, Version, WallTime};
use evenkeel_seam::Clock;
use evenkeel_seam::watch;

use crate::stage::StageLimits;
use crate::store::Store;

/// The rate is measured over at least this long.
const RATE_WINDOW_MS: u64 = 1000;

/// The clock behind the times that are shown.
#[derive(Clone)]
pub(crate) struct Times(pub(crate) Arc<dyn Clock>);

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Times")
    }
}

/// How far an archive can be read by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Bytes that will not change any more.
    pub(crate) readable: u64,
    /// Whether the archive is proven to its end. If the sender of this goes away before, it failed.
    pub(crate) whole: bool,
}

/// The receiving thread's end.
#[derive(Debug)]
pub(crate) struct Growing {
    growth: watch::Sender<Growth>,
    underway: Arc<Underway>,
}

/// The verifying thread's end.
#[derive(Debug)]
pub(crate) struct Teller(Arc<Underway>);

impl Teller {
    /// What it is has been proven.
    pub(crate) fn found(&self, digest: Digest, version: &Version) {
        // Told once only.
        let _ = self.0.found.set((digest, version.clone()));
    }
}

/// Everyone else's end.
#[derive(Debug)]
pub(crate) struct Underway {
    clock: Times,
    pub(crate) archive_path: PathBuf,
    source: TransferSource,
    pub(crate) package: Option<Digest>,
    pub(crate) archive: Option<Digest>,
    pub(crate) total_bytes: Option<u64>,
    pub(crate) growth: watch::Receiver<Growth>,
    /// Known once the signature is proven.
    found: OnceLock<(Digest, Version)>,
    since: WallTime,
    meter: Mutex<Meter>,
}

impl Underway {
    pub(crate) fn new(
        clock: Times,
        archive_path: PathBuf,
        limits: &StageLimits,
    ) -> (Growing, Arc<Self>) {
        let (growth, growth_rx) = watch::channel(Growth::default());
        let meter = Mutex::new(Meter::new(clock.0.monotonic()));
        let underway = Arc::new(Self {
            since: clock.0.wall(),
            clock,
            archive_path,
            source: limits.source.clone(),
            package: limits.expected_package,
            archive: limits.expected_archive,
            total_bytes: limits.expected_bytes,
            growth: growth_rx,
            found: OnceLock::new(),
            meter,
        });
        let growing = Growing {
            growth,
            underway: underway.clone(),
        };
        (growing, underway)
    }

    fn meter(&self) -> std::sync::MutexGuard<'_, Meter> {
        // Each change leaves it usable.
        self.meter
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Bytes that are still to come, as far as announced.
    pub(crate) fn outstanding_bytes(&self) -> u64 {
        let received = self.meter().received;
        self.total_bytes.unwrap_or(0).saturating_sub(received)
    }

    fn transfer(&self) -> Transfer {
        let mut meter = self.meter();
        meter.roll(self.clock.0.monotonic());
        let found = self.found.get();
        Transfer {
            package: found.map(|(digest, _)| *digest).or(self.package),
            version: found.map(|(_, version)| version.clone()),
            source: self.source.clone(),
            received_bytes: meter.received,
            total_bytes: self.total_bytes,
            bytes_per_second: meter.bytes_per_second,
            since: self.since,
            trouble: None,
        }
    }
}

impl Growing {
    /// Takes note of what came (or was on disk already, `replayed`).
    pub(crate) fn received(&self, received: u64, readable: u64, replayed: bool) {
        let mut meter = self.underway.meter();
        meter.received = received;
        if replayed {
            meter.window_bytes = received;
        } else {
            meter.roll(self.underway.clock.0.monotonic());
        }
        drop(meter);
        self.growth.send_if_modified(|growth| {
            let grown = growth.readable != readable;
            growth.readable = readable;
            grown
        });
    }

    /// For the verifying thread. Holds nothing that followers wait for.
    pub(crate) fn teller(&self) -> Teller {
        Teller(self.underway.clone())
    }

    /// All of it is proven and durable.
    pub(crate) fn whole(&self, bytes: u64) {
        self.growth.send_replace(Growth {
            readable: bytes,
            whole: true,
        });
    }
}

impl Store {
    /// What is on its way in, and how fast it came during the last second or so.
    pub fn transfers(&self) -> Vec<Transfer> {
        let index = self.inner.index();
        index
            .staging
            .values()
            .map(|underway| underway.transfer())
            .collect()
    }
}

/// Bytes per second, over windows that begin anew whenever someone looks a second later.
#[derive(Debug)]
struct Meter {
    received: u64,
    window: Monotonic,
    window_bytes: u64,
    bytes_per_second: u64,
}

impl Meter {
    fn new(now: Monotonic) -> Self {
        Self {
            received: 0,
            window: now,
            window_bytes: 0,
            bytes_per_second: 0,
        }
    }

    fn roll(&mut self, now: Monotonic) {
        let elapsed = now.since(self.window).unwrap_or_default().as_millis() as u64;
        if elapsed >= RATE_WINDOW_MS {
            let came = self.received.saturating_sub(self.window_bytes);
            self.bytes_per_second = came.saturating_mul(1000) / elapsed;
            (self.window, self.window_bytes) = (now, self.received);
        }
    }
}
