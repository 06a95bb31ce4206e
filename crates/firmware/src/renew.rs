//! What is the same for every device: attempts, each of them write, activate, read back.

use async_trait::async_trait;
use evenkeel_model::FirmwareRevision;
use evenkeel_platform::devices::DeviceId;
use tokio::time::{Instant, sleep};

use crate::driver::{Driver, DriverError, Identity, Written};
use crate::error::FirmwareError;
use crate::flash::{Flash, at_device};
use crate::journal::{Phase, Step};
use crate::patience::patiently;

/// What must hold whenever a device is about to start anew. Looked at immediately before.
#[async_trait]
pub(crate) trait Guard: Send + Sync {
    /// Refuses with the reason.
    async fn check(&self) -> Result<(), FirmwareError>;
}

/// A device under work.
pub(crate) struct Work<'a> {
    pub(crate) flash: &'a Flash<'a>,
    pub(crate) device: &'a DeviceId,
    pub(crate) driver: &'a dyn Driver,
    pub(crate) guard: &'a dyn Guard,
    pub(crate) attempts: u32,
    /// It stands in the middle of this work: that comes to its end in any case.
    pub(crate) is_open: bool,
    /// Nothing of this work was ever begun on the device, as far as the journal knows: what it says now says nothing of
    /// the firmware.
    pub(crate) untouched: bool,
}

/// Why an attempt ended without success.
enum Ended {
    /// Another attempt may succeed.
    Again(FirmwareError),
    /// None will.
    For(FirmwareError),
}

impl From<FirmwareError> for Ended {
    fn from(error: FirmwareError) -> Self {
        match &error {
            FirmwareError::Unchanged { .. } => Self::Again(error),
            FirmwareError::Device { source, .. } if source.is_transient() => Self::Again(error),
            _ => Self::For(error),
        }
    }
}

impl Work<'_> {
    /// The attempt that is next. Attempts of daemons that ended count.
    pub(crate) fn first_attempt(&self, last: &Option<Step>) -> Result<u32, FirmwareError> {
        let attempt = last.as_ref().map_or(1, |step| match step.phase {
            Phase::Offline => step.attempt,
            Phase::Writing
            | Phase::Activating
            | Phase::Testing
            | Phase::Returning
            | Phase::Done
            | Phase::Stopped => step.attempt + 1,
        });
        match attempt > self.attempts {
            false => Ok(attempt),
            true => Err(FirmwareError::GivenUp {
                device: self.device.clone(),
                attempts: attempt - 1,
            }),
        }
    }

    /// Makes the device run the image, in as many attempts as it may have from this one on. The attempt that
    /// ended it comes back with the outcome.
    pub(crate) async fn renew(&self, mut attempt: u32) -> (u32, Result<(), FirmwareError>) {
        loop {
            match self.attempt(attempt).await {
                Ok(()) => return (attempt, Ok(())),
                Err(Ended::For(error)) => return (attempt, Err(error)),
                Err(Ended::Again(error)) if attempt >= self.attempts => {
                    return (attempt, Err(error));
                }
                Err(Ended::Again(error)) => {
                    tracing::warn!(device = %self.device, attempt, "{error}; it is tried again");
                }
            }
            attempt += 1;
        }
    }

    /// The same for a device that has nothing to go back to: trouble ends the work.
    pub(crate) async fn renew_or_stop(&self, last: &Option<Step>) -> Result<u32, FirmwareError> {
        let ended = match self.first_attempt(last) {
            Ok(first) => self.renew(first).await,
            Err(given_up) => (self.attempts, Err(given_up)),
        };
        match ended {
            (attempt, Ok(())) => Ok(attempt),
            // Without a journal nothing can be recorded, the end neither; and of nothing there is no end.
            (_, Err(error @ (FirmwareError::Journal(_) | FirmwareError::NotBegun { .. }))) => {
                Err(error)
            }
            (attempt, Err(error)) => Err(self.flash.stop(self.device, error, attempt).await),
        }
    }

    async fn attempt(&self, attempt: u32) -> Result<(), Ended> {
        let (flash, device) = (self.flash, self.device);
        let up = match self.is_open {
            true => self.is_up(Phase::Writing).await,
            false => self.may_begin(Phase::Writing).await,
        };
        up.map_err(|error| self.unless_begun(error, attempt))?;
        flash.step(device, Phase::Writing, attempt).await?;
        let written = self.write(attempt).await?;
        if written == Written::Staged {
            flash.step(device, Phase::Activating, attempt).await?;
            self.guard.check().await?;
            let activated = self.driver.activate().await;
            activated.map_err(at_device(device, Phase::Activating))?;
        }
        self.read_back(attempt).await?;
        Ok(())
    }

    async fn write(&self, attempt: u32) -> Result<Written, FirmwareError> {
        let told = self.flash.told();
        // A device that starts by itself may start at any piece.
        self.guard.check().await?;
        let written = self.driver.write(self.flash.image, &told).await;
        tracing::debug!(device = %self.device, attempt, ?written, "an image was written");
        let written = written.map_err(at_device(self.device, Phase::Writing));
        let took_nothing = |error: &FirmwareError| {
            let FirmwareError::Device { source, .. } = error else {
                return false;
            };
            matches!(source, DriverError::NotTaken { .. })
        };
        match written {
            Err(error) if took_nothing(&error) => {
                let error = self.unless_begun(error, attempt);
                if matches!(error, FirmwareError::NotBegun { .. }) {
                    self.flash.journal.forget(self.device).await?;
                }
                Err(error)
            }
            written => written,
        }
    }

    /// Trouble before anything was sent, told apart from trouble with the firmware.
    fn unless_begun(&self, error: FirmwareError, attempt: u32) -> FirmwareError {
        match error {
            FirmwareError::Device { device, source, .. } if self.untouched && attempt == 1 => {
                FirmwareError::NotBegun { device, source }
            }
            error => error,
        }
    }

    /// Who it is and what it runs, before anything is done to it.
    pub(crate) async fn first_look(&self, phase: Phase) -> Result<Identity, FirmwareError> {
        if self.is_open {
            return self.identify(phase).await;
        }
        let limits = self.flash.limits;
        let ask = || self.flash.ask(self.driver.identify());
        let identity = patiently(limits.restart, limits.poll, ask).await;
        let identity = identity.map_err(at_device(self.device, phase));
        identity.map_err(|error| self.unless_begun(error, 1))
    }

    /// Waits until the device does its work, before anything is sent to it, for as long as there is need.
    async fn may_begin(&self, phase: Phase) -> Result<(), FirmwareError> {
        let limits = self.flash.limits;
        let ask = || self.flash.ask(self.driver.ready());
        match patiently(limits.restart, limits.poll, ask).await {
            Ok(()) | Err(DriverError::Lost(_)) => Ok(()),
            Err(error) => Err(at_device(self.device, phase)(error)),
        }
    }

    /// Waits until the device does its work.
    pub(crate) async fn is_up(&self, phase: Phase) -> Result<(), FirmwareError> {
        let limits = self.flash.limits;
        let up = patiently(limits.restart, limits.poll, || self.driver.ready()).await;
        match up {
            // News of a reset: heard, and it is up.
            Ok(()) | Err(DriverError::Lost(_)) => Ok(()),
            Err(error) => Err(at_device(self.device, phase)(error)),
        }
    }

    /// Waits until the device is up again and names the new revision.
    async fn read_back(&self, attempt: u32) -> Result<(), FirmwareError> {
        let limits = self.flash.limits;
        let mut since = Instant::now();
        loop {
            let asked = Instant::now();
            self.is_up(Phase::Activating).await?;
            // It was away: what it says from a cache counts from its return.
            if asked.elapsed() >= limits.poll {
                since = Instant::now();
            }
            let identity = self.identify(Phase::Activating).await?;
            if self.flash.image.is_no_newer_than(&identity.running) {
                return Ok(());
            }
            if since.elapsed() >= limits.settle {
                return Err(self.unchanged(identity.running, attempt));
            }
            sleep(limits.poll).await;
        }
    }

    pub(crate) async fn identify(&self, phase: Phase) -> Result<Identity, FirmwareError> {
        let limits = self.flash.limits;
        let identity = patiently(limits.restart, limits.poll, || self.driver.identify()).await;
        identity.map_err(at_device(self.device, phase))
    }

    fn unchanged(&self, running: FirmwareRevision, attempts: u32) -> FirmwareError {
        FirmwareError::Unchanged {
            device: self.device.clone(),
            running,
            wanted: self.flash.image.revision.clone(),
            attempts,
        }
    }
}
