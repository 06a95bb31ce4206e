//! A shelf: its I/O modules, one after the other.
//!
//! A module that starts takes its path to every disk of the shelf away. It does so only while each of those disks
//! has another path *now*, and the next module only when all paths are back.

use async_trait::async_trait;
use evenkeel_model::How;
use evenkeel_platform::devices::{DeviceId, Drive, ScsiTarget, ShelfIoModule};
use tokio::time::{Instant, sleep};

use crate::error::FirmwareError;
use crate::flash::{Flash, is_open, reached, unseen};
use crate::journal::Phase;
use crate::renew::{Guard, Work};
use crate::ses::Enclosure;

/// Makes all modules of a shelf run the image's revision.
pub async fn renew_shelf(flash: &Flash<'_>, shelf: &str) -> Result<How, FirmwareError> {
    let modules = look(flash, shelf).await?;
    let mut how = How::AlreadyDone;
    for module in &modules {
        match renew_module(flash, module).await? {
            How::AlreadyDone => {}
            other => how = other,
        }
    }
    Ok(how)
}

async fn look(flash: &Flash<'_>, shelf: &str) -> Result<Vec<ShelfIoModule>, FirmwareError> {
    let modules = flash.devices.modules().await;
    let modules = modules.map_err(unseen("the shelves"))?;
    let of_shelf = modules.into_iter().filter(|module| module.shelf == shelf);
    let mut of_shelf: Vec<_> = of_shelf.collect();
    of_shelf.sort_by(|left, right| left.module.cmp(&right.module));
    match of_shelf.is_empty() {
        false => Ok(of_shelf),
        true => Err(FirmwareError::Missing {
            node: flash.node.clone(),
            device: DeviceId::Module {
                shelf: shelf.to_owned(),
                module: "A".to_owned(),
            },
        }),
    }
}

async fn renew_module(flash: &Flash<'_>, module: &ShelfIoModule) -> Result<How, FirmwareError> {
    let device = DeviceId::Module {
        shelf: module.shelf.clone(),
        module: module.module.clone(),
    };
    let last = flash.begin(&device).await?;
    if last.as_ref().is_some_and(|step| step.phase == Phase::Done) {
        return Ok(How::AlreadyDone);
    }
    may_touch(flash, module, &device)?;
    let target = ScsiTarget::Module {
        shelf: module.shelf.clone(),
        module: module.module.clone(),
    };
    let driver = Enclosure::new(flash.devices.scsi(&target), flash.limits);
    let paths = Paths {
        flash,
        module,
        device: &device,
    };
    let work = Work {
        flash,
        device: &device,
        driver: &driver,
        guard: &paths,
        attempts: flash.limits.attempts,
        is_open: is_open(&last),
        untouched: !flash.journal.was_touched(&device).await?,
    };
    let running = work.first_look(Phase::Writing).await?.running;
    let runs = flash.image.is_no_newer_than(&running);
    if runs && !is_open(&last) {
        return Ok(How::AlreadyDone);
    }
    if !runs {
        paths.check().await?;
        work.renew_or_stop(&last).await?;
    }
    flash.step(&device, Phase::Returning, 1).await?;
    paths.await_all().await?;
    flash.step(&device, Phase::Done, 1).await?;
    Ok(reached(&last))
}

fn may_touch(
    flash: &Flash<'_>,
    module: &ShelfIoModule,
    device: &DeviceId,
) -> Result<(), FirmwareError> {
    if module.model != flash.image.model {
        return Err(FirmwareError::WrongModel {
            device: device.clone(),
            found: module.model.clone(),
            wanted: flash.image.model.clone(),
        });
    }
    match &module.owner {
        Some(owner) if owner == flash.node => Ok(()),
        owner => Err(FirmwareError::NotOwner {
            device: device.clone(),
            node: flash.node.clone(),
            owner: owner
                .as_ref()
                .map_or_else(|| "nobody".to_owned(), ToString::to_string),
        }),
    }
}

/// The paths through a shelf, while one of its modules is worked on.
struct Paths<'a> {
    flash: &'a Flash<'a>,
    module: &'a ShelfIoModule,
    device: &'a DeviceId,
}

#[async_trait]
impl Guard for Paths<'_> {
    /// Every other module answers, and every disk behind this one has another path.
    async fn check(&self) -> Result<(), FirmwareError> {
        let modules = look(self.flash, &self.module.shelf).await?;
        let dead = modules
            .iter()
            .find(|other| other.module != self.module.module && !other.ok);
        if let Some(dead) = dead {
            return self.refuse(format!("module {} does not answer", dead.module));
        }
        let bare = |drive: &&Drive| !drive.paths.iter().any(|path| self.is_other(path));
        match self.drives().await?.iter().find(bare) {
            Some(drive) => self.refuse(format!("disk {} has no other path now", drive.serial)),
            None => Ok(()),
        }
    }
}

impl Paths<'_> {
    fn refuse(&self, why: String) -> Result<(), FirmwareError> {
        let device = self.device.clone();
        Err(FirmwareError::OnlyPath { device, why })
    }

    /// A path that works and does not go through this module.
    fn is_other(&self, path: &evenkeel_platform::devices::DrivePath) -> bool {
        let through = path.shelf == self.module.shelf && path.module == self.module.module;
        path.works && !through
    }

    /// The disks behind the module.
    async fn drives(&self) -> Result<Vec<Drive>, FirmwareError> {
        let drives = self.flash.devices.drives().await;
        let drives = drives.map_err(unseen("the disks"))?;
        let behind = |drive: &Drive| {
            let mut paths = drive.paths.iter();
            paths.any(|path| path.shelf == self.module.shelf && path.module == self.module.module)
        };
        Ok(drives.into_iter().filter(behind).collect())
    }

    /// Waits until every disk behind the module has all its paths.
    async fn await_all(&self) -> Result<(), FirmwareError> {
        let limits = self.flash.limits;
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            let drives = self.drives().await?;
            let paths = drives.iter().flat_map(|drive| &drive.paths);
            let lost = paths.filter(|path| !path.works).count();
            if lost == 0 {
                return Ok(());
            }
            if seen != Some(lost) {
                (seen, since) = (Some(lost), Instant::now());
            }
            if since.elapsed() >= limits.recovery {
                let what = format!("{lost} paths through {} have not come back", self.device);
                let bound = limits.recovery;
                return Err(FirmwareError::NotBack { what, bound });
            }
            sleep(limits.poll).await;
        }
    }
}
