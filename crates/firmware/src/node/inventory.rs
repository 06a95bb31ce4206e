//! Asks devices what they run, in the background: nobody who asks the node waits for a device.

use std::time::Duration;

use evenkeel_model::{DeviceFirmware, FirmwareKind, FirmwareRevision, Qualification};
use evenkeel_platform::devices::{Drive, DriveState};
use tokio::time::timeout;

use crate::look::{revision_of_drive, revision_of_module, revision_of_processor};

use super::NodeFirmware;
use super::journal::NodeJournal;

/// Between two rounds without news.
const PERIOD: Duration = Duration::from_secs(60);
/// A device that does not say within this what it runs is left out.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// A round after some work takes no longer: the next one catches up.
const ROUND: Duration = Duration::from_secs(30);

const KINDS: [FirmwareKind; 4] = [
    FirmwareKind::Qualification,
    FirmwareKind::Disk,
    FirmwareKind::Shelf,
    FirmwareKind::ServiceProcessor,
];

impl NodeFirmware {
    /// Asks all devices from time to time, and after work; while there is work the work tells. Disks that were left in the
    /// middle come back before that. Runs until dropped.
    pub async fn keep(&self, journal: &dyn NodeJournal) {
        loop {
            if !self.board.is_at_work() {
                self.mend(journal).await;
                self.look_around().await;
            }
            let news = timeout(PERIOD, self.news.notified());
            // Whatever ended the wait, they are asked.
            let _ = news.await;
        }
    }

    /// Asks all devices once.
    pub async fn look_around(&self) {
        for kind in KINDS {
            self.look(kind).await;
        }
        self.board.set_asked();
    }

    /// Asks the devices that were worked on.
    pub(super) async fn look_again(&self, kind: FirmwareKind) {
        if timeout(ROUND, self.look(kind)).await.is_err() {
            tracing::debug!(%kind, "not all devices have said in time what they run");
        }
    }

    async fn look(&self, kind: FirmwareKind) {
        match kind {
            FirmwareKind::Qualification => self.look_at_qualification().await,
            FirmwareKind::Disk => {
                if let Ok(Ok(drives)) = timeout(LOOK, self.parts.devices.drives()).await {
                    let mut known = Vec::new();
                    for drive in drives.into_iter().filter(|drive| self.is_own(&drive.owner)) {
                        let runs = self.runs(&drive).await;
                        known.push((drive, runs));
                    }
                    self.tell_drives(&known);
                }
            }
            FirmwareKind::Shelf => self.look_at_modules().await,
            FirmwareKind::ServiceProcessor => self.look_at_processor().await,
        }
    }

    fn is_own(&self, owner: &Option<evenkeel_model::NodeName>) -> bool {
        owner.as_ref() == Some(&self.parts.node)
    }

    /// What a disk runs, if it says so now.
    pub(super) async fn runs(&self, drive: &Drive) -> Option<FirmwareRevision> {
        let devices = self.parts.devices.as_ref();
        let said = timeout(LOOK, revision_of_drive(devices, drive)).await;
        said.ok()?.ok()
    }

    /// Tells what disks of this node run: those that say so.
    pub(super) fn tell_drives(&self, known: &[(Drive, Option<FirmwareRevision>)]) {
        // One that has failed is replaced, not brought up to date.
        let works = |drive: &Drive| self.is_own(&drive.owner) && drive.state != DriveState::Failed;
        let own = known.iter().filter(|(drive, _)| works(drive));
        let devices = own.filter_map(|(drive, runs)| {
            Some(DeviceFirmware {
                device: drive.serial.to_string(),
                kind: FirmwareKind::Disk,
                model: Some(drive.model.clone()),
                revision: Some(runs.clone()?),
                spare: drive.place.group().is_none(),
            })
        });
        self.board
            .set_devices(FirmwareKind::Disk, devices.collect());
    }

    async fn look_at_modules(&self) {
        let Ok(Ok(modules)) = timeout(LOOK, self.parts.devices.modules()).await else {
            return;
        };
        let mut known = Vec::new();
        for module in modules {
            if !self.is_own(&module.owner) {
                continue;
            }
            let devices = self.parts.devices.as_ref();
            let said = timeout(LOOK, revision_of_module(devices, &module)).await;
            if let Ok(Ok(runs)) = said {
                known.push(DeviceFirmware {
                    device: format!("{} module {}", module.shelf, module.module),
                    kind: FirmwareKind::Shelf,
                    model: Some(module.model),
                    revision: Some(runs),
                    spare: false,
                });
            }
        }
        self.board.set_devices(FirmwareKind::Shelf, known);
    }

    async fn look_at_processor(&self) {
        let kind = FirmwareKind::ServiceProcessor;
        let devices = self.parts.devices.as_ref();
        let Ok(Ok(processor)) = timeout(LOOK, devices.processor()).await else {
            return;
        };
        let Some(processor) = processor else {
            return self.board.set_devices(kind, Vec::new());
        };
        let said = timeout(LOOK, revision_of_processor(devices)).await;
        let runs = said.ok().and_then(Result::ok);
        let is_bmc = processor
            .model
            .as_str()
            .to_ascii_uppercase()
            .contains("BMC");
        self.board.set_processor(is_bmc, runs.clone());
        let device = runs.map(|runs| DeviceFirmware {
            device: processor.node.to_string(),
            kind,
            model: Some(processor.model),
            revision: Some(runs),
            spare: false,
        });
        self.board.set_devices(kind, device.into_iter().collect());
    }

    async fn look_at_qualification(&self) {
        let kept = &self.parts.qualification;
        let (Ok(mark), Ok(content)) = (kept.current().await, kept.content().await) else {
            return;
        };
        let parsed = content.and_then(|content| Qualification::parse(&content).ok());
        let in_place = mark.zip(parsed).map(|(mark, parsed)| (mark.file, parsed));
        let device = DeviceFirmware {
            device: self.parts.node.to_string(),
            kind: FirmwareKind::Qualification,
            model: None,
            revision: in_place.as_ref().map(|(_, it)| it.revision().clone()),
            spare: false,
        };
        self.board.set_qualification(in_place);
        self.board
            .set_devices(FirmwareKind::Qualification, vec![device]);
    }
}
