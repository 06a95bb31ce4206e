//! A disk: out of its group for a while, written, read from, and back.
//!
//! Only the node that serves the group touches its disks, and only when the group is whole: whoever decides which
//! disk is next ([`crate::select`]) sees to it that no two of a group are out at once, and this worker looks
//! again, immediately before.

use async_trait::async_trait;
use evenkeel_model::{DiskSerial, How, PoolHealth};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{
    DeviceId, Devices, Drive, DriveState, DriveTransport, Group, GroupId, OfflineRequest,
    ScsiTarget,
};
use tokio::time::{Instant, sleep};

use crate::driver::{Driver, DriverError};
use crate::error::FirmwareError;
use crate::flash::{Flash, at_device, is_open, reached, unseen};
use crate::journal::{Phase, Step};
use crate::limits::Limits;
use crate::nvme::NvmeDrive;
use crate::patience::patiently;
use crate::renew::{Guard, Work};
use crate::scsi::ScsiDrive;

/// Makes a disk run the image's revision. Does nothing to a disk that runs it, or a newer one.
pub async fn renew_disk(flash: &Flash<'_>, serial: &DiskSerial) -> Result<How, FirmwareError> {
    let device = DeviceId::Drive(serial.clone());
    let last = flash.begin(&device).await?;
    if last.as_ref().is_some_and(|step| step.phase == Phase::Done) {
        return Ok(How::AlreadyDone);
    }
    let disk = Disk {
        flash,
        serial,
        device: &device,
    };
    let drive = disk.look().await?;
    disk.may_touch(&drive)?;
    let driver = driver(flash.devices, &drive, flash.limits);
    let work = Work {
        flash,
        device: &device,
        driver: driver.as_ref(),
        guard: &disk,
        attempts: flash.limits.attempts,
        is_open: is_open(&last),
        // It has left its group by then.
        untouched: false,
    };
    let runs = disk.runs(&work, &last).await?;
    // One that somebody left out of its group comes back in any case.
    if runs && !is_open(&last) && drive.state == DriveState::Online {
        return Ok(How::AlreadyDone);
    }
    let (attempt, renewed) = match (runs, work.first_attempt(&last)) {
        (true, _) => (last.as_ref().map_or(1, |step| step.attempt), Ok(())),
        (false, Ok(first)) => {
            disk.is_wanted(&last)?;
            disk.take_out(&drive, first).await?;
            work.renew(first).await
        }
        (false, Err(given_up)) => (flash.limits.attempts, Err(given_up)),
    };
    let tested = match renewed {
        Ok(()) => disk.test(attempt).await,
        Err(error) => Err(error),
    };
    if let Err(error) = tested {
        return Err(disk.rescue(&work, error, attempt).await);
    }
    disk.put_back(drive.place.group(), attempt).await?;
    flash.step(&device, Phase::Done, attempt).await?;
    Ok(reached(&last))
}

/// The driver for a disk's transport.
pub(crate) fn driver<'a>(
    devices: &'a dyn Devices,
    drive: &Drive,
    limits: &'a Limits,
) -> Box<dyn Driver + 'a> {
    match drive.transport {
        DriveTransport::Scsi => {
            let target = ScsiTarget::Drive(drive.serial.clone());
            Box::new(ScsiDrive::new(devices.scsi(&target), limits))
        }
        DriveTransport::Nvme => Box::new(NvmeDrive::new(devices.nvme(&drive.serial), limits)),
    }
}

/// The disk that is worked on.
struct Disk<'a> {
    flash: &'a Flash<'a>,
    serial: &'a DiskSerial,
    device: &'a DeviceId,
}

/// A disk that is written to must not be in use.
#[async_trait]
impl Guard for Disk<'_> {
    async fn check(&self) -> Result<(), FirmwareError> {
        let drive = self.look().await?;
        self.may_touch(&drive)?;
        match (drive.place.group(), drive.state) {
            (Some(group), DriveState::Online) => Err(FirmwareError::GroupNotWhole {
                group: group.clone(),
                why: format!("somebody put disk {} back into it", self.serial),
            }),
            (_, _) => Ok(()),
        }
    }
}

impl Disk<'_> {
    async fn look(&self) -> Result<Drive, FirmwareError> {
        let drives = self.flash.devices.drives().await;
        let drives = drives.map_err(unseen("the disks"))?;
        let found = drives
            .into_iter()
            .find(|drive| drive.serial == *self.serial);
        found.ok_or_else(|| FirmwareError::Missing {
            node: self.flash.node.clone(),
            device: self.device.clone(),
        })
    }

    fn may_touch(&self, drive: &Drive) -> Result<(), FirmwareError> {
        let Flash { node, image, .. } = *self.flash;
        if drive.model != image.model {
            return Err(FirmwareError::WrongModel {
                device: self.device.clone(),
                found: drive.model.clone(),
                wanted: image.model.clone(),
            });
        }
        if drive.owner.as_ref() != Some(node) {
            let owner = drive.owner.as_ref();
            return Err(FirmwareError::NotOwner {
                device: self.device.clone(),
                node: node.clone(),
                owner: owner.map_or_else(|| "nobody".to_owned(), ToString::to_string),
            });
        }
        match drive.state {
            DriveState::Online | DriveState::Offline => Ok(()),
            DriveState::Failed => Err(FirmwareError::Device {
                device: self.device.clone(),
                phase: Phase::Offline,
                source: DriverError::Refused("it has failed".to_owned()),
            }),
        }
    }

    /// Whether the disk runs what it should. One that was worked on may be on its way up.
    async fn runs(&self, work: &Work<'_>, last: &Option<Step>) -> Result<bool, FirmwareError> {
        let limits = self.flash.limits;
        let touched = self.flash.journal.was_touched(self.device).await?;
        match last {
            Some(_) => work.is_up(Phase::Activating).await?,
            None if touched => work.is_up(Phase::Offline).await?,
            None => {
                let ask = || self.flash.ask(work.driver.ready());
                match patiently(limits.no_progress, limits.poll, ask).await {
                    Ok(()) | Err(DriverError::Lost(_)) => {}
                    Err(source) => {
                        let device = self.device.clone();
                        return Err(FirmwareError::NotBegun { device, source });
                    }
                }
            }
        }
        let identity = work.identify(Phase::Offline).await;
        let identity = identity.map_err(|error| match (error, touched) {
            (FirmwareError::Device { device, source, .. }, false) => {
                FirmwareError::NotBegun { device, source }
            }
            (error, _) => error,
        })?;
        Ok(self.flash.image.is_no_newer_than(&identity.running))
    }

    /// It does not leave its group for what was canceled.
    fn is_wanted(&self, last: &Option<Step>) -> Result<(), FirmwareError> {
        match !is_open(last) && (self.flash.is_over)() {
            false => Ok(()),
            true => Err(FirmwareError::NotBegun {
                device: self.device.clone(),
                source: DriverError::Canceled,
            }),
        }
    }

    /// Takes the disk out of its group, if it is in one.
    async fn take_out(&self, drive: &Drive, attempt: u32) -> Result<(), FirmwareError> {
        let Some(group) = drive.place.group() else {
            return Ok(());
        };
        if drive.state == DriveState::Offline {
            return Ok(());
        }
        self.is_whole(group).await?;
        self.flash
            .step(self.device, Phase::Offline, attempt)
            .await?;
        // Recording takes time: the last look is the one that counts.
        self.is_whole(group).await?;
        let request = self.request(group);
        let taken = self.flash.devices.take_offline(&request).await;
        taken.map_err(unseen("whether the disk left its group"))
    }

    fn request(&self, group: &GroupId) -> OfflineRequest {
        OfflineRequest {
            drive: self.serial.clone(),
            group: group.clone(),
        }
    }

    async fn group(&self, group: &GroupId) -> Result<Group, FirmwareError> {
        let groups = self.flash.devices.groups().await;
        let groups = groups.map_err(unseen("the groups"))?;
        let found = groups.into_iter().find(|found| found.id == *group);
        found.ok_or_else(|| FirmwareError::GroupNotWhole {
            group: group.clone(),
            why: "it is not there any more".to_owned(),
        })
    }

    async fn is_whole(&self, id: &GroupId) -> Result<(), FirmwareError> {
        let group = self.group(id).await?;
        let why = match (group.health, group.out.is_empty()) {
            (PoolHealth::Online, true) => return Ok(()),
            (PoolHealth::Resyncing, _) => "a disk of it is catching up".to_owned(),
            (_, false) => format!("it is without {:?}", group.out),
            (PoolHealth::Degraded, true) => "it is degraded".to_owned(),
            (PoolHealth::Offline, true) => "it is offline".to_owned(),
        };
        let group = id.clone();
        Err(FirmwareError::GroupNotWhole { group, why })
    }

    async fn test(&self, attempt: u32) -> Result<(), FirmwareError> {
        let Flash {
            devices, limits, ..
        } = *self.flash;
        self.flash
            .step(self.device, Phase::Testing, attempt)
            .await?;
        let ask = || async {
            match devices.read_test(self.serial).await {
                Err(error) if error.is_transient() => Err(DriverError::Silent(error)),
                tested => Ok(tested),
            }
        };
        let tested = patiently(limits.no_progress, limits.poll, ask).await;
        let tested = tested.map_err(at_device(self.device, Phase::Testing))?;
        tested.map_err(|source: PlatformError| FirmwareError::ReadTest {
            drive: self.serial.clone(),
            source,
        })
    }

    /// Gives the disk back to its group, and waits until the group is whole, or lacks others only: those are
    /// brought back by whoever took them out, who may be waiting for this worker to end.
    async fn put_back(&self, group: Option<&GroupId>, attempt: u32) -> Result<(), FirmwareError> {
        let Some(id) = group else { return Ok(()) };
        let Flash {
            devices, limits, ..
        } = *self.flash;
        self.flash
            .step(self.device, Phase::Returning, attempt)
            .await?;
        let request = self.request(id);
        let ask = || async {
            let back = devices.bring_online(&request).await;
            match back {
                Err(error) if error.is_transient() => Err(DriverError::Silent(error)),
                back => Ok(back),
            }
        };
        let back = patiently(limits.recovery, limits.poll, ask).await;
        let back = back.map_err(at_device(self.device, Phase::Returning))?;
        if let Err(refused) = back {
            // The group may have gone home meanwhile, and the disk is its new owner's to bring back.
            self.may_touch(&self.look().await?)?;
            return Err(unseen("whether the disk is back in its group")(refused));
        }
        self.await_whole(id).await
    }

    async fn await_whole(&self, id: &GroupId) -> Result<(), FirmwareError> {
        let limits = self.flash.limits;
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            let group = self.group(id).await?;
            let now = (group.health, group.out.len());
            if now == (PoolHealth::Online, 0) {
                return Ok(());
            }
            if !group.out.is_empty() && !group.out.contains(self.serial) {
                tracing::warn!(disk = %self.serial, "it is back in {id}, which is without {:?}", group.out);
                return Ok(());
            }
            if seen != Some(now) {
                (seen, since) = (Some(now), Instant::now());
            }
            if since.elapsed() >= limits.recovery {
                let what = format!(
                    "{id} has not become whole again, with disk {} back",
                    self.serial
                );
                let bound = limits.recovery;
                return Err(FirmwareError::NotBack { what, bound });
            }
            sleep(limits.poll).await;
        }
    }

    /// After trouble: a disk that answers and can be read goes back into its group, with whatever it runs; the
    /// group must not pay for firmware. What the trouble was is told either way.
    async fn rescue(&self, work: &Work<'_>, error: FirmwareError, attempt: u32) -> FirmwareError {
        // Without a journal nothing is done: whoever runs the worker again goes on from here.
        if matches!(error, FirmwareError::Journal(_)) {
            return error;
        }
        let drive = match self.look().await {
            Ok(drive) => drive,
            Err(unseen) => {
                tracing::warn!(disk = %self.serial, "after {error}: {unseen}");
                return error;
            }
        };
        let (DriveState::Offline, Some(group)) = (drive.state, drive.place.group()) else {
            return self.flash.stop(self.device, error, attempt).await;
        };
        match self.back_after_trouble(work, group, attempt).await {
            Ok(()) => self.flash.stop(self.device, error, attempt).await,
            Err(worse) => {
                tracing::error!(disk = %self.serial, "it stays out of {group}: {worse}");
                FirmwareError::LeftOut {
                    drive: self.serial.clone(),
                    group: group.clone(),
                    source: Box::new(error),
                }
            }
        }
    }

    async fn back_after_trouble(
        &self,
        work: &Work<'_>,
        group: &GroupId,
        attempt: u32,
    ) -> Result<(), FirmwareError> {
        work.is_up(Phase::Testing).await?;
        self.test(attempt).await?;
        self.put_back(Some(group), attempt).await
    }
}
