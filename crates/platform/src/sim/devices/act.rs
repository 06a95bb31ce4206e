//! The door for calls that act on devices.

use evenkeel_model::{DiskSerial, NodeName};

use super::bay::{Drive, Make, module_model, processor_model};
use super::fault::DeviceFault;
use super::memory::{Memory, Struck};
use super::processor::Processor;
use super::ses::Module;
use super::{nvme, processor, sas, ses};
use crate::devices::{
    DeviceId, DriveTransport, NvmeReset, OfflineRequest, RedfishRequest, ScsiCommand, ScsiTarget,
};
use crate::sim::check::Cause;
use crate::sim::fault::Fault;
use crate::sim::hardware::{Disk, Hardware};
use crate::traits::PlatformError;
use crate::wire::{DeviceCall, DeviceReply, Reply};

type Answer<T> = Result<T, PlatformError>;

impl Hardware {
    /// Carries out a call that acts.
    pub(in crate::sim) fn act_on_device(
        &mut self,
        node: &NodeName,
        call: &DeviceCall,
    ) -> Answer<Reply> {
        let reply = match call {
            DeviceCall::TakeOffline(request) => self.move_drive(node, request, true)?,
            DeviceCall::BringOnline(request) => self.move_drive(node, request, false)?,
            DeviceCall::ReadTest { drive } => self.read_test(node, drive)?,
            DeviceCall::Scsi { target, command } => self.scsi(node, target, command)?,
            DeviceCall::Nvme { drive, command } => {
                let (disk, make) = self.reachable(node, drive, DriveTransport::Nvme)?;
                let with = nvme_make(&disk, &make);
                let said = self.with_drive(node, drive, |drive, around| {
                    let kept = (&mut drive.memory, &mut drive.slots);
                    nvme::submit(kept, &with, command, around)
                })?;
                DeviceReply::Nvme(said)
            }
            DeviceCall::NvmeReset { drive, reset } => self.nvme_reset(node, drive, *reset)?,
            DeviceCall::Redfish(request) => self.redfish(node, request)?,
            DeviceCall::Drives
            | DeviceCall::Groups
            | DeviceCall::Modules
            | DeviceCall::Processor => return self.look_at_devices(node, call),
        };
        Ok(Reply::Device(reply))
    }

    fn disk_seen(&self, node: &NodeName, serial: &DiskSerial) -> Answer<Disk> {
        let mut disks = self.disks.iter();
        let found = disks.find(|disk| disk.serial == *serial && self.sees(node, disk));
        found
            .cloned()
            .ok_or_else(|| PlatformError::Unavailable(format!("{node} does not see disk {serial}")))
    }

    fn move_drive(
        &mut self,
        node: &NodeName,
        request: &OfflineRequest,
        offline: bool,
    ) -> Answer<DeviceReply> {
        let OfflineRequest { drive, group } = request;
        let disk = self.disk_seen(node, drive)?;
        if self.place_of(&disk.home, drive).group() != Some(group) {
            return refuse(format!("disk {drive} is not in {group}"));
        }
        if self.serves_group(&disk.home).as_ref() != Some(node) {
            return refuse(format!("{node} does not serve {group}"));
        }
        if !offline {
            self.answers(node, &disk)?;
        }
        let kept = self.bay.drives.entry(drive.clone());
        let kept = kept.or_insert_with(Drive::factory);
        if kept.offline != offline {
            kept.offline = offline;
            let how = if offline { "out of" } else { "back in" };
            self.note(node, format!("disk {drive} is {how} {group}"));
        }
        Ok(DeviceReply::Done)
    }

    /// Whether a drive does what it is asked to.
    fn answers(&self, node: &NodeName, disk: &Disk) -> Answer<()> {
        let serial = &disk.serial;
        let unavailable =
            |why: &str| Err(PlatformError::Unavailable(format!("disk {serial} {why}")));
        if self.at(&disk.home).has(Fault::FailDisk) && super::bay::number_of(serial) == 1 {
            return refuse(format!("disk {serial} has failed"));
        }
        if !self.paths(node, disk).iter().any(|path| path.works) {
            return unavailable("has no path");
        }
        let memory = self.drive(serial).memory;
        let around = self.around(&DeviceId::Drive(serial.clone()));
        match memory.is_starting() || memory.is_cut_off(&around) {
            true => unavailable("does not answer"),
            false => Ok(()),
        }
    }

    fn read_test(&mut self, node: &NodeName, drive: &DiskSerial) -> Answer<DeviceReply> {
        let disk = self.disk_seen(node, drive)?;
        self.answers(node, &disk)?;
        Ok(DeviceReply::Done)
    }

    /// A drive that commands get through to.
    fn reachable(
        &self,
        node: &NodeName,
        serial: &DiskSerial,
        transport: DriveTransport,
    ) -> Answer<(Disk, Make)> {
        let disk = self.disk_seen(node, serial)?;
        let make = Make::of(serial);
        if make.transport != transport {
            return refuse(format!("disk {serial} does not speak {transport:?}"));
        }
        let works = self.paths(node, &disk).iter().any(|path| path.works);
        let failed = self.at(&disk.home).has(Fault::FailDisk) && super::bay::number_of(serial) == 1;
        match works && !failed {
            true => Ok((disk, make)),
            false => Err(PlatformError::Unavailable(format!(
                "no answer from disk {serial}"
            ))),
        }
    }

    fn scsi(
        &mut self,
        node: &NodeName,
        target: &ScsiTarget,
        command: &ScsiCommand,
    ) -> Answer<DeviceReply> {
        let said = match target {
            ScsiTarget::Drive(serial) => {
                let (disk, make) = self.reachable(node, serial, DriveTransport::Scsi)?;
                let make = sas::Make {
                    serial: &disk.serial,
                    model: &make.model,
                    defers: make.defers,
                };
                self.with_drive(node, serial, |drive, around| {
                    sas::execute(&mut drive.memory, &make, command, around)
                })?
            }
            ScsiTarget::Module { shelf, module } => {
                self.enclosure(node, (shelf, module), command)?
            }
        };
        Ok(DeviceReply::Scsi(said))
    }

    fn enclosure(
        &mut self,
        node: &NodeName,
        (shelf, module): (&String, &String),
        command: &ScsiCommand,
    ) -> Answer<crate::devices::ScsiReply> {
        let device = DeviceId::Module {
            shelf: shelf.clone(),
            module: module.clone(),
        };
        let home = self.home_of(&device);
        let Some(home) = home.filter(|home| self.module_answers(node, home, module)) else {
            return Err(silence(&device));
        };
        let around = self.around(&device);
        let shelves = self.bay.shelves.entry(shelf.clone()).or_default();
        let kept = shelves.entry(module.clone());
        let kept = kept.or_insert_with(Module::factory);
        if kept.memory.is_cut_off(&around) {
            return Err(silence(&device));
        }
        let before = mark(&kept.memory);
        let serial = format!("{shelf}-{module}");
        let (said, struck) = ses::execute(kept, (&module_model(), &serial), command, &around);
        let moved = mark(&kept.memory) != before;
        self.follow(node, &home, &device, moved, struck);
        said.ok_or_else(|| silence(&device))
    }

    fn nvme_reset(
        &mut self,
        node: &NodeName,
        serial: &DiskSerial,
        reset: NvmeReset,
    ) -> Answer<DeviceReply> {
        let (disk, make) = self.reachable(node, serial, DriveTransport::Nvme)?;
        let with = nvme_make(&disk, &make);
        self.with_drive(node, serial, |drive, around| {
            nvme::reset((&mut drive.memory, &mut drive.slots), &with, reset, around);
            (Some(()), None)
        })?;
        Ok(DeviceReply::Done)
    }

    /// Lets a drive answer, and follows what that did.
    fn with_drive<T>(
        &mut self,
        node: &NodeName,
        serial: &DiskSerial,
        ask: impl FnOnce(&mut Drive, &super::memory::Around) -> (Option<T>, Option<Struck>),
    ) -> Answer<T> {
        let device = DeviceId::Drive(serial.clone());
        let around = self.around(&device);
        let kept = self.bay.drives.entry(serial.clone());
        let kept = kept.or_insert_with(Drive::factory);
        if kept.memory.is_cut_off(&around) {
            return Err(silence(&device));
        }
        let before = mark(&kept.memory);
        let (said, struck) = ask(kept, &around);
        let moved = mark(&kept.memory) != before;
        let home = self.home_of(&device).unwrap_or_else(|| node.clone());
        self.follow(node, &home, &device, moved, struck);
        said.ok_or_else(|| silence(&device))
    }

    fn redfish(&mut self, node: &NodeName, request: &RedfishRequest) -> Answer<DeviceReply> {
        let device = DeviceId::Processor(node.clone());
        if self.at(node).has(Fault::SpDead) {
            return Err(silence(&device));
        }
        let around = self.around(&device);
        let kept = self.bay.processors.entry(node.clone());
        let kept = kept.or_insert_with(Processor::factory);
        let before = (mark(&kept.memory), kept.tasks);
        let (said, struck) = processor::send(kept, (node, &processor_model()), request, &around);
        let moved = (mark(&kept.memory), kept.tasks) != before;
        self.follow(node, node, &device, moved, struck);
        said.map(DeviceReply::Redfish)
            .ok_or_else(|| silence(&device))
    }

    /// What follows when a device answered. Pieces of an image are lost with power anyway: they are no
    /// change that would have to be stored.
    fn follow(
        &mut self,
        node: &NodeName,
        home: &NodeName,
        device: &DeviceId,
        moved: bool,
        struck: Option<Struck>,
    ) {
        if moved {
            self.note(home, format!("{device} moved on by a command of {node}"));
        }
        let Some(struck) = struck else { return };
        self.spend(device, struck);
        match struck.0 {
            DeviceFault::NodeLoss => {
                self.cause = Cause::outside(format!("{node} was lost while it wrote firmware"));
                self.crash(node, "lost while it wrote firmware");
            }
            DeviceFault::PowerLoss
            | DeviceFault::Busy
            | DeviceFault::Slow
            | DeviceFault::WrongImage
            | DeviceFault::Attention
            | DeviceFault::PathLoss
            | DeviceFault::LongReset
            | DeviceFault::Unchanged => {}
        }
    }
}

/// What must be stored of a device's memory.
fn mark(memory: &Memory) -> (Option<String>, String, bool) {
    let staged = memory.staged.as_ref().map(ToString::to_string);
    (staged, memory.running.to_string(), memory.is_starting())
}

fn nvme_make<'a>(disk: &'a Disk, make: &'a Make) -> nvme::Make<'a> {
    nvme::Make {
        serial: &disk.serial,
        model: &make.model,
        needs: make.needs,
    }
}

fn silence(device: &DeviceId) -> PlatformError {
    PlatformError::Unavailable(format!("no answer from {device}"))
}

fn refuse<T>(why: String) -> Answer<T> {
    Err(PlatformError::Refused(why))
}
