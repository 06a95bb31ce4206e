//! The lab's probe, on a thread of its own while the demo waits for other things.

use std::path::Path;

use evenkeel_lab::{Probe, ProbeReport};
use tokio::runtime::Runtime;

use crate::outcome::Stop;

/// Reads through every LIF until it is finished.
pub(crate) struct Probing {
    runtime: Runtime,
    probe: Probe,
}

impl Probing {
    pub(crate) fn start(dir: &Path) -> Result<Self, Stop> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Stop::Failed(format!("cannot probe: {error}")))?;
        let probe = runtime.block_on(async { Probe::start(dir) });
        let probe = probe.map_err(|error| Stop::Failed(format!("cannot probe: {error:#}")))?;
        Ok(Self { runtime, probe })
    }

    /// What it found. A gap while nothing was being taken over or given back is a failure, and so is
    /// not to know.
    pub(crate) fn finish(self) -> Result<ProbeReport, Stop> {
        let report = self.runtime.block_on(self.probe.finish());
        if let Some(why) = &report.transitions_unknown {
            return Err(Stop::Failed(format!(
                "it is not known what the I/O gaps belong to: {why}"
            )));
        }
        if let Some(gap) = report.gaps_outside().next() {
            return Err(Stop::Failed(format!(
                "{} of {} did not answer for {} ms at {}, outside of any takeover or giveback",
                gap.lif, gap.home, gap.ms, gap.start
            )));
        }
        Ok(report)
    }
}
