//! One piece of work for a worker, with all that it needs.

use evenkeel_model::{How, NodeName, error_chain};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{DeviceId, Devices};
use evenkeel_seam::watch;

use crate::driver::DriverError;
use crate::error::FirmwareError;
use crate::image::Image;
use crate::journal::{Journal, Phase, Step};
use crate::limits::Limits;
use crate::progress::FlashProgress;

/// What a worker works with. Everything is borrowed: whoever owns it may end the worker at any instant, and run
/// it again with the same journal.
#[derive(Clone, Copy)]
pub struct Flash<'a> {
    /// The node that works.
    pub node: &'a NodeName,
    /// Its devices.
    pub devices: &'a dyn Devices,
    /// What is to run.
    pub image: &'a Image,
    /// What was done so far.
    pub journal: &'a dyn Journal,
    /// Where progress is told.
    pub progress: &'a watch::Sender<FlashProgress>,
    /// Bounds.
    pub limits: &'a Limits,
    /// Whether what the work is for was canceled, or is over. What is being written comes to its end all the same.
    pub is_over: &'a (dyn Fn() -> bool + Send + Sync),
}

impl Flash<'_> {
    /// What was recorded for a device last; and tells that it is looked at.
    pub(crate) async fn begin(&self, device: &DeviceId) -> Result<Option<Step>, FirmwareError> {
        self.progress.send_replace(FlashProgress {
            device: Some(device.clone()),
            ..FlashProgress::default()
        });
        Ok(self.journal.last(device).await?)
    }

    /// Records a step before its effect, and tells it.
    pub(crate) async fn step(
        &self,
        device: &DeviceId,
        phase: Phase,
        attempt: u32,
    ) -> Result<(), FirmwareError> {
        let step = Step {
            device: device.clone(),
            phase,
            attempt,
        };
        self.journal.record(&step).await?;
        self.progress.send_replace(FlashProgress {
            device: Some(step.device),
            phase: Some(phase),
            attempt,
            done: 0,
            total: 0,
            waits: None,
        });
        Ok(())
    }

    /// Ends work that failed and left nothing in the middle. Trouble that passes by itself does not count when it is
    /// begun anew; a device that could do it and did not, does.
    pub(crate) async fn stop(
        &self,
        device: &DeviceId,
        error: FirmwareError,
        attempt: u32,
    ) -> FirmwareError {
        let counts = if error.is_transient() { 0 } else { attempt };
        match self.step(device, Phase::Stopped, counts).await {
            Ok(()) => error,
            Err(journal) => {
                tracing::error!(%device, "after {error}: {journal}");
                journal
            }
        }
    }

    /// Asks a device whether it can be begun with, and says why it cannot yet, until it can or there is no more need.
    pub(crate) async fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, DriverError>>,
    ) -> Result<T, DriverError> {
        if (self.is_over)() {
            return Err(DriverError::Canceled);
        }
        let answer = asked.await;
        let why = answer.as_ref().err().map(|error| error_chain(error));
        self.progress.send_if_modified(|progress| {
            let before = std::mem::replace(&mut progress.waits, why);
            before != progress.waits
        });
        answer
    }

    /// Tells progress of the present step.
    pub(crate) fn told(&self) -> Told<'_> {
        Told(self.progress)
    }
}

/// What could not be seen, as a worker's error.
pub(crate) fn unseen(what: &str) -> impl FnOnce(PlatformError) -> FirmwareError {
    let what = what.to_owned();
    move |source| FirmwareError::Unseen { what, source }
}

/// What a device answered, as a worker's error.
pub(crate) fn at_device(
    device: &DeviceId,
    phase: Phase,
) -> impl FnOnce(DriverError) -> FirmwareError {
    move |source| FirmwareError::Device {
        device: device.clone(),
        phase,
        source,
    }
}

/// Whether work stands in the middle.
pub(crate) fn is_open(last: &Option<Step>) -> bool {
    last.as_ref().is_some_and(Step::is_open)
}

/// How a goal was reached that was worked for.
pub(crate) fn reached(last: &Option<Step>) -> How {
    match is_open(last) {
        true => How::Resumed,
        false => How::Completed,
    }
}

/// Tells progress within a step.
pub(crate) struct Told<'a>(&'a watch::Sender<FlashProgress>);

impl Told<'_> {
    pub(crate) fn moved(&self, done: u64, total: u64) {
        self.0
            .send_modify(|progress| (progress.done, progress.total) = (done, total));
    }
}
