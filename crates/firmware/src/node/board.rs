//! What a node says of its devices: written as the work goes, read without waiting.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_model::{
    DeviceFirmware, DriveJudgement, FirmwareKind, FirmwareRevision, FirmwareStatus,
    ProcessorFirmware, Qualification, QualificationInPlace, UnqualifiedDisk, WallTime,
};
use evenkeel_platform::devices::DeviceId;

/// The board.
#[derive(Default)]
pub(super) struct Board {
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// All kinds were asked for once.
    asked: bool,
    /// By kind: each is asked for by itself. None of those that never answered.
    devices: BTreeMap<FirmwareKind, Vec<DeviceFirmware>>,
    work: BTreeMap<DeviceId, String>,
    disks_waiting: u32,
    /// Disks that were brought up to date, and how long all of them took.
    disks: (u32, Duration),
    processor: Option<ProcessorFirmware>,
    /// The disk qualification package in place, and name of its file.
    qualification: Option<(String, Qualification)>,
    /// Orders under way: one, but for the moment in which one replaces another.
    at_work: u32,
}

/// All kinds that are asked for.
const KINDS: usize = 4;

impl Board {
    pub(super) fn status(&self) -> Result<FirmwareStatus, String> {
        let told = self.told();
        // For a moment after the start nothing is known, and nothing is wrong.
        if told.asked && told.devices.len() < KINDS {
            return Err("not all of the node's devices can be asked what they run".to_owned());
        }
        let (disks, took) = told.disks;
        let shelves = told.work.keys().filter(|device| is_module(device)).count();
        Ok(FirmwareStatus {
            devices: told.devices.values().flatten().cloned().collect(),
            at_work: told.at_work > 0,
            work: told.work.values().cloned().collect(),
            disks_waiting: told.disks_waiting,
            seconds_per_disk: (disks > 0).then(|| (took / disks).as_secs() as u32),
            // One after the other, and module by module.
            shelves_in_progress: shelves.min(1) as u32,
            processor: told.processor.clone(),
            qualification: told.qualification.as_ref().map(in_place),
            unqualified: told.unqualified(),
        })
    }

    /// An order is worked on until what comes back is dropped.
    pub(super) fn begin_work(&self) -> AtWork<'_> {
        self.told().at_work += 1;
        AtWork(self)
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.told().at_work > 0
    }

    pub(super) fn set_asked(&self) {
        self.told().asked = true;
    }

    pub(super) fn set_devices(&self, kind: FirmwareKind, devices: Vec<DeviceFirmware>) {
        self.told().devices.insert(kind, devices);
    }

    pub(super) fn set_work(&self, device: &DeviceId, line: String) {
        self.told().work.insert(device.clone(), line);
    }

    pub(super) fn end_work(&self, device: &DeviceId) {
        self.told().work.remove(device);
    }

    pub(super) fn set_waiting(&self, disks: usize) {
        self.told().disks_waiting = disks.try_into().unwrap_or(u32::MAX);
    }

    pub(super) fn disk_took(&self, time: Duration) {
        let mut told = self.told();
        told.disks.0 += 1;
        told.disks.1 += time;
    }

    pub(super) fn set_qualification(&self, qualification: Option<(String, Qualification)>) {
        self.told().qualification = qualification;
    }

    /// What the service processor runs, if it says so; it is kept what was told of work on it.
    pub(super) fn set_processor(&self, is_bmc: bool, running: Option<FirmwareRevision>) {
        let mut told = self.told();
        let known = told.processor.take();
        told.processor = Some(match known {
            Some(known) => ProcessorFirmware {
                is_bmc,
                running: running.or(known.running),
                ..known
            },
            None => ProcessorFirmware {
                is_bmc,
                running,
                percent: None,
                started: None,
                ended: None,
            },
        });
    }

    pub(super) fn processor_begins(&self, at: WallTime) {
        if let Some(processor) = &mut self.told().processor {
            (processor.started, processor.ended) = (Some(at), None);
            processor.percent = Some(0);
        }
    }

    pub(super) fn processor_is_at(&self, percent: u8) {
        if let Some(processor) = &mut self.told().processor {
            processor.percent = Some(percent);
        }
    }

    pub(super) fn processor_ended(&self, at: WallTime, well: bool) {
        if let Some(processor) = &mut self.told().processor {
            (processor.percent, processor.ended) = (None, Some((at, well)));
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Each change is one assignment.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn unqualified(&self) -> Vec<UnqualifiedDisk> {
        let Some((_, qualification)) = &self.qualification else {
            return Vec::new();
        };
        let disks = self.devices.get(&FirmwareKind::Disk).into_iter().flatten();
        let judged = disks.filter_map(|disk| {
            let (model, runs) = (disk.model.clone()?, disk.revision.clone()?);
            let minimum = match qualification.judge(&model, &runs) {
                DriveJudgement::Qualified => return None,
                DriveJudgement::BelowMinimum { minimum } => Some(minimum),
                DriveJudgement::Unknown => None,
            };
            Some(UnqualifiedDisk {
                disk: disk.device.clone(),
                model,
                runs,
                minimum,
            })
        });
        judged.collect()
    }
}

fn in_place((file, qualification): &(String, Qualification)) -> QualificationInPlace {
    QualificationInPlace {
        file: file.clone(),
        version: qualification.version().to_owned(),
        revision: qualification.revision().clone(),
        records: qualification.counts(),
    }
}

fn is_module(device: &DeviceId) -> bool {
    matches!(device, DeviceId::Module { .. })
}

/// An order under way. Dropped with it, also when it is killed.
pub(super) struct AtWork<'a>(&'a Board);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut told = self.0.told();
        told.at_work -= 1;
        told.work.clear();
        told.disks_waiting = 0;
        if let Some(processor) = &mut told.processor {
            processor.percent = None;
        }
    }
}
