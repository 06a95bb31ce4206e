//! All devices of the hardware. What is not in the bay is as it left the factory, so that hardware which
//! nobody brought firmware to stays small, and hardware that was stored before it had devices is whole.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{DeviceModel, DiskSerial, FirmwareRevision, NodeName};
use serde::{Deserialize, Serialize};

use super::fault::DeviceFault;
use super::memory::{Around, Memory, Struck};
use super::nvme::Slots;
use super::processor::Processor;
use super::ses::Module;
use crate::devices::{DeviceId, DriveTransport, NvmeReset};
use crate::sim::check::Cause;
use crate::sim::hardware::{Hardware, short};

/// The places in a shelf.
pub(in crate::sim) const MODULES: [&str; 2] = ["A", "B"];

/// The devices that were touched.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::sim) struct Bay {
    pub(super) drives: BTreeMap<DiskSerial, Drive>,
    /// By shelf and place.
    pub(super) shelves: BTreeMap<String, BTreeMap<String, Module>>,
    pub(super) processors: BTreeMap<NodeName, Processor>,
    pub(super) groups: BTreeMap<NodeName, Members>,
    pub(super) faults: BTreeSet<(DeviceId, DeviceFault)>,
}

/// What a drive keeps, and whether it takes part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Drive {
    pub(super) memory: Memory,
    pub(super) slots: Slots,
    pub(super) offline: bool,
}

/// What is remembered of a node's group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Members {
    /// Members that do not take part.
    pub(super) out: BTreeSet<DiskSerial>,
    /// Until when those that came back catch up.
    pub(super) resyncs_until: u64,
}

impl Drive {
    pub(super) fn factory() -> Self {
        Self {
            memory: Memory::factory("NA01"),
            slots: Slots::default(),
            offline: false,
        }
    }
}

/// What a drive is, by its number: mostly SSDs, some old disks, some NVMe.
pub(super) struct Make {
    pub(super) model: DeviceModel,
    pub(super) transport: DriveTransport,
    /// It takes microcode without activating it.
    pub(super) defers: bool,
    /// What activates new firmware (NVMe).
    pub(super) needs: NvmeReset,
}

impl Make {
    pub(super) fn of(serial: &DiskSerial) -> Self {
        let number = number_of(serial);
        let (model, transport, defers) = match number % 4 {
            2 => ("X422_SLTNG600A10", DriveTransport::Scsi, false),
            3 => ("X4011_LANES3T8", DriveTransport::Nvme, false),
            _ => ("X423_SLTNG1T8SSX", DriveTransport::Scsi, true),
        };
        let needs = match number / 4 % 3 {
            0 => NvmeReset::Controller,
            1 => NvmeReset::Subsystem,
            _ => NvmeReset::Conventional,
        };
        Self {
            model: model.parse().expect("a model of ours is one"),
            transport,
            defers,
            needs,
        }
    }
}

/// The number that a drive's serial ends in.
pub(super) fn number_of(serial: &DiskSerial) -> u32 {
    let number = serial.as_str().rsplit_once("-D").map(|(_, number)| number);
    number.and_then(|number| number.parse().ok()).unwrap_or(1)
}

pub(super) fn module_model() -> DeviceModel {
    "IOM12".parse().expect("a model of ours is one")
}

pub(super) fn processor_model() -> DeviceModel {
    "LABSP".parse().expect("a model of ours is one")
}

/// The shelf that holds a node's drives.
pub(in crate::sim) fn shelf_of(node: &NodeName) -> String {
    format!("{}-S1", short(node))
}

impl Hardware {
    /// Puts a fault on a device or takes it off.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn set_device_fault(
        &mut self,
        device: &DeviceId,
        fault: DeviceFault,
        on: bool,
        now_ms: u64,
    ) -> Result<(), UnknownDevice> {
        self.advance_quietly(now_ms);
        let unknown = || UnknownDevice(device.clone());
        let home = self.home_of(device).ok_or_else(unknown)?;
        let key = (device.clone(), fault);
        let changed = match on {
            true => self.bay.faults.insert(key),
            false => self.bay.faults.remove(&key),
        };
        if changed {
            let set = if on { "fault" } else { "fault cleared" };
            self.cause = Cause::outside(format!("{set}: {fault:?} on {device}"));
            self.note(&home, format!("{set}: {fault:?} on {device}"));
        }
        Ok(())
    }

    /// What a device runs; none when there is no such device.
    pub fn firmware_of(&self, device: &DeviceId) -> Option<FirmwareRevision> {
        self.home_of(device)?;
        let running = match device {
            DeviceId::Drive(serial) => self.drive(serial).memory.running,
            DeviceId::Module { shelf, module } => self.module(shelf, module).memory.running,
            DeviceId::Processor(node) => self.processor(node).memory.running,
        };
        Some(running)
    }

    /// Every device, of every node.
    pub fn devices(&self) -> Vec<DeviceId> {
        let drives = self.disks.iter().map(|d| DeviceId::Drive(d.serial.clone()));
        let modules = self.nodes.keys().flat_map(|node| {
            MODULES.map(|module| DeviceId::Module {
                shelf: shelf_of(node),
                module: module.to_owned(),
            })
        });
        let processors = self.nodes.keys().cloned().map(DeviceId::Processor);
        drives.chain(modules).chain(processors).collect()
    }

    /// The node in whose shelf, or box, a device is.
    pub(super) fn home_of(&self, device: &DeviceId) -> Option<NodeName> {
        match device {
            DeviceId::Drive(serial) => {
                let disk = self.disks.iter().find(|disk| disk.serial == *serial)?;
                Some(disk.home.clone())
            }
            DeviceId::Module { shelf, module } => {
                let mut nodes = self.nodes.keys();
                let known = MODULES.contains(&module.as_str());
                nodes
                    .find(|node| known && shelf_of(node) == *shelf)
                    .cloned()
            }
            DeviceId::Processor(node) => self.nodes.contains_key(node).then(|| node.clone()),
        }
    }

    /// The device of its kind that a fault of its node concerns.
    fn is_first(device: &DeviceId) -> bool {
        match device {
            DeviceId::Drive(serial) => number_of(serial) == 1,
            DeviceId::Module { module, .. } => module == MODULES[0],
            DeviceId::Processor(_) => true,
        }
    }

    pub(super) fn around(&self, device: &DeviceId) -> Around {
        let home = self.home_of(device).filter(|_| Self::is_first(device));
        let has = |fault: &DeviceFault| {
            let on_node = |node| self.at(node).has(fault.of_node());
            self.bay.faults.contains(&(device.clone(), *fault))
                || home.as_ref().is_some_and(on_node)
        };
        Around {
            now: self.now,
            minute_ms: self.settings.minute_ms,
            faults: DeviceFault::ALL.into_iter().filter(has).collect(),
        }
    }

    /// Takes a fault off that has struck.
    pub(super) fn spend(&mut self, device: &DeviceId, Struck(fault): Struck) {
        let home = self.home_of(device);
        self.bay.faults.remove(&(device.clone(), fault));
        if let Some(home) = home {
            self.at_mut(&home).faults.remove(&fault.of_node());
            self.note(&home, format!("{fault:?} has struck {device}"));
        }
    }

    pub(super) fn drive(&self, serial: &DiskSerial) -> Drive {
        let touched = self.bay.drives.get(serial).cloned();
        touched.unwrap_or_else(Drive::factory)
    }

    pub(super) fn module(&self, shelf: &str, module: &str) -> Module {
        let shelf = self.bay.shelves.get(shelf);
        let touched = shelf.and_then(|modules| modules.get(module)).cloned();
        touched.unwrap_or_else(Module::factory)
    }

    pub(super) fn processor(&self, node: &NodeName) -> Processor {
        let touched = self.bay.processors.get(node).cloned();
        touched.unwrap_or_else(Processor::factory)
    }

    /// Whether a node's service processor is up.
    pub(in crate::sim) fn processor_answers(&self, node: &NodeName) -> bool {
        let touched = self.bay.processors.get(node);
        touched.is_none_or(Processor::answers)
    }

    /// Lets what is due at devices happen.
    pub(in crate::sim) fn settle_devices(&mut self) {
        let now = self.now;
        let mut moved = false;
        for drive in self.bay.drives.values_mut() {
            moved |= drive.memory.settle(now);
        }
        let modules = self.bay.shelves.values_mut();
        for module in modules.flat_map(BTreeMap::values_mut) {
            moved |= module.memory.settle(now);
        }
        let nodes: Vec<NodeName> = self.bay.processors.keys().cloned().collect();
        for node in nodes {
            moved |= self.settle_processor(&node);
        }
        if moved {
            self.watch_groups();
            self.changed();
        }
    }

    fn settle_processor(&mut self, node: &NodeName) -> bool {
        let device = DeviceId::Processor(node.clone());
        let around = self.around(&device);
        let Some(processor) = self.bay.processors.get_mut(node) else {
            return false;
        };
        let (moved, struck) = processor.settle(&around);
        if let Some(struck) = struck {
            self.spend(&device, struck);
        }
        moved
    }

    /// Power of everything was cut and is back: what waited for that runs, and drives that were out for a
    /// while are in their groups again.
    pub(in crate::sim) fn cold_start_devices(&mut self) {
        for drive in self.bay.drives.values_mut() {
            drive.memory.cold_start();
            drive.offline = false;
        }
        let modules = self.bay.shelves.values_mut();
        for module in modules.flat_map(BTreeMap::values_mut) {
            module.memory.cold_start();
            module.generation += 1;
            (module.status, module.stores_until) = (0, 0);
        }
        for processor in self.bay.processors.values_mut() {
            processor.cold_start();
        }
        self.watch_groups();
    }
}

/// A name that is no device of this hardware.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hardware has no {0}")]
pub struct UnknownDevice(pub DeviceId);
