//! What a node sees of devices.

use evenkeel_model::NodeName;

use super::bay::{MODULES, Make, module_model, number_of, processor_model, shelf_of};
use crate::devices::{Drive, DrivePath, DriveState, Group, Processor, ShelfIoModule};
use crate::sim::fault::Fault;
use crate::sim::hardware::{Disk, Hardware};
use crate::traits::PlatformError;
use crate::wire::{Command, DeviceCall, DeviceReply, Reply};

impl Hardware {
    /// Answers a call that only looks.
    pub(in crate::sim) fn look_at_devices(
        &self,
        node: &NodeName,
        call: &DeviceCall,
    ) -> Result<Reply, PlatformError> {
        let seeing = |blind: Fault| match self.at(node).has(blind) {
            true => Err(PlatformError::Unavailable(format!("{node}: {blind}"))),
            false => Ok(()),
        };
        let reply = match call {
            DeviceCall::Drives => {
                seeing(Fault::BlindDisks)?;
                DeviceReply::Drives(self.drives(node))
            }
            DeviceCall::Groups => {
                seeing(Fault::BlindPools)?;
                DeviceReply::Groups(self.groups(node))
            }
            DeviceCall::Modules => {
                seeing(Fault::BlindShelves)?;
                DeviceReply::Modules(self.modules(node))
            }
            DeviceCall::Processor => {
                seeing(Fault::BlindSp)?;
                DeviceReply::Processor(Some(Processor {
                    node: node.clone(),
                    model: processor_model(),
                }))
            }
            DeviceCall::TakeOffline(_)
            | DeviceCall::BringOnline(_)
            | DeviceCall::ReadTest { .. }
            | DeviceCall::Scsi { .. }
            | DeviceCall::Nvme { .. }
            | DeviceCall::NvmeReset { .. }
            | DeviceCall::Redfish(_) => {
                let command = Command::Device(call.clone());
                unreachable!("Hardware::handle carries out the calls that act: {command:?}")
            }
        };
        Ok(Reply::Device(reply))
    }

    /// The nodes whose shelves a node sees: its own and its partner's.
    fn homes(&self, node: &NodeName) -> Vec<NodeName> {
        let partner = self.at(node).partner.clone();
        std::iter::once(node.clone()).chain(partner).collect()
    }

    fn drives(&self, node: &NodeName) -> Vec<Drive> {
        let seen = self.disks.iter().filter(|disk| self.sees(node, disk));
        seen.map(|disk| self.drive_state(node, disk)).collect()
    }

    /// Whether a node sees a drive at all.
    pub(super) fn sees(&self, node: &NodeName, disk: &Disk) -> bool {
        let hidden = self.at(node).has(Fault::HideDisk)
            && disk.home == *node
            && number_of(&disk.serial) == 1;
        self.homes(node).contains(&disk.home) && !hidden
    }

    fn drive_state(&self, node: &NodeName, disk: &Disk) -> Drive {
        let make = Make::of(&disk.serial);
        let failed = number_of(&disk.serial) == 1 && self.at(&disk.home).has(Fault::FailDisk);
        let state = match (failed, self.drive(&disk.serial).offline) {
            (true, _) => DriveState::Failed,
            (false, true) => DriveState::Offline,
            (false, false) => DriveState::Online,
        };
        Drive {
            serial: disk.serial.clone(),
            model: make.model,
            transport: make.transport,
            owner: self.serves_group(&disk.home),
            place: self.place_of(&disk.home, &disk.serial),
            state,
            paths: self.paths(node, disk),
        }
    }

    /// The ways from a node to a drive: one through each module of its shelf.
    pub(super) fn paths(&self, node: &NodeName, disk: &Disk) -> Vec<DrivePath> {
        let own_first = disk.home == *node && number_of(&disk.serial) == 1;
        let lost = own_first && self.at(node).has(Fault::LosePath);
        let path = |module: &str| DrivePath {
            shelf: shelf_of(&disk.home),
            module: module.to_owned(),
            works: self.module_answers(node, &disk.home, module) && !(lost && module == MODULES[1]),
        };
        MODULES.map(path).into()
    }

    /// Whether a module of a node's shelf answers another node.
    pub(in crate::sim) fn module_answers(
        &self,
        node: &NodeName,
        home: &NodeName,
        module: &str,
    ) -> bool {
        let dead = home == node && module == MODULES[1] && self.at(node).has(Fault::IomDead);
        !dead && !self.is_starting(&shelf_of(home), module)
    }

    /// How many modules of a node's shelf do not answer, and so ways to each of its drives.
    pub(in crate::sim) fn missing_modules(&self, home: &NodeName) -> u8 {
        let shelf = shelf_of(home);
        let starting = |module: &&str| self.is_starting(&shelf, module);
        MODULES.into_iter().filter(starting).count() as u8
    }

    /// One that nobody has touched is not.
    pub(super) fn is_starting(&self, shelf: &str, module: &str) -> bool {
        let shelf = self.bay.shelves.get(shelf);
        let touched = shelf.and_then(|modules| modules.get(module));
        touched.is_some_and(|module| module.memory.is_starting())
    }

    fn groups(&self, node: &NodeName) -> Vec<Group> {
        let homes = self.homes(node);
        homes.iter().map(|home| self.group_state(home)).collect()
    }

    fn modules(&self, node: &NodeName) -> Vec<ShelfIoModule> {
        let of_shelf = |home: NodeName| {
            MODULES.map(|module| ShelfIoModule {
                shelf: shelf_of(&home),
                module: module.to_owned(),
                model: module_model(),
                owner: self.serves_group(&home),
                ok: self.module_answers(node, &home, module),
            })
        };
        self.homes(node).into_iter().flat_map(of_shelf).collect()
    }
}
