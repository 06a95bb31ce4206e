//! Drives and shelves' modules, as firmware's workers look at them.

use std::path::Path;

use evenkeel_model::{DeviceModel, NodeName};

use super::groups::{Part, Seat, Seen};
use super::notes::Notes;
use crate::inventory::disks::{Disk, Way};
use crate::inventory::shelves::{Process, shelves};
use crate::look::{Answer, unavailable};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{Drive, DrivePath, DrivePlace, DriveState, ShelfIoModule};

/// Where a path leads that goes through no shelf.
const NO_SHELF: &str = "none";

/// A drive. One of a pool that another node serves, or of no pool at all, has no owner here: nobody here touches it.
pub(super) fn drive(
    disk: &Disk,
    groups: &[Seen],
    processes: Result<&[Process], &PlatformError>,
    notes: &Notes,
) -> Answer<Drive> {
    let mine = groups.iter().find_map(|group| {
        let mut seats = group.seats.iter();
        let seat = seats.find(|seat| seat.drive == disk.serial)?;
        Some((group, seat))
    });
    let noted = notes.read(&disk.serial)?;
    let (place, state) = match mine {
        Some((
            _,
            Seat {
                part: Part::Standby,
                ..
            },
        )) => (DrivePlace::Spare, DriveState::Online),
        Some((group, seat)) => (DrivePlace::Member(group.id.clone()), state_of(seat.part)),
        // Taken out here, and its pool has gone to another node since.
        None => match noted {
            Some(note) => (DrivePlace::Member(note.group), DriveState::Offline),
            None => (DrivePlace::Spare, DriveState::Online),
        },
    };
    Ok(Drive {
        serial: disk.serial.clone(),
        model: model(disk.model.as_deref(), &format!("disk {}", disk.serial))?,
        transport: disk.transport,
        owner: mine.map(|(group, _)| group.owner.clone()),
        place,
        state,
        paths: disk.paths.iter().map(|way| path(way, processes)).collect(),
    })
}

fn state_of(part: Part) -> DriveState {
    match part {
        Part::In | Part::Standby => DriveState::Online,
        Part::Out => DriveState::Offline,
        Part::Failed => DriveState::Failed,
    }
}

/// As firmware is named by it: blanks within are joined, as by makers of firmware files.
fn model(said: Option<&str>, whose: &str) -> Answer<DeviceModel> {
    let said = said.unwrap_or("unknown").replace(' ', "_");
    DeviceModel::new(said).map_err(|error| unavailable(format!("the model of {whose}: {error}")))
}

/// The way through a module: the one whose enclosure process hangs on the same expander.
fn path(way: &Way, processes: Result<&[Process], &PlatformError>) -> DrivePath {
    let expander = expander(&way.place);
    let process = processes
        .unwrap_or_default()
        .iter()
        .find(|process| expander.is_some() && self::expander(&process.place) == expander);
    let through = process.and_then(|process| {
        let said = process.said.as_ref().ok()?;
        Some((said.id.clone(), said.through.clone()?))
    });
    let direct = || (NO_SHELF.to_owned(), way.device.clone());
    let (shelf, module) = through.unwrap_or_else(direct);
    DrivePath {
        shelf,
        module,
        works: way.works,
    }
}

/// The last expander on the way to a device, as in `…/host0/port-0:0/expander-0:1/port-0:1:3/end_device-0:1:3/…`.
fn expander(place: &Path) -> Option<String> {
    let mut parts = place.iter().map(|part| part.to_string_lossy());
    let last = parts.rfind(|part| part.starts_with("expander-"));
    last.map(|part| part.into_owned())
}

/// The modules that this node sees. A shelf belongs to whoever serves a pool with a drive in it; one with drives of both partners, or of
/// none, to nobody, so that its firmware is not touched by two.
pub(super) fn modules(
    processes: &[Process],
    groups: &[Seen],
    disks: &[Disk],
) -> Answer<Vec<ShelfIoModule>> {
    let mut modules = Vec::new();
    for shelf in shelves(processes)? {
        let models = shelf.modules.iter().filter_map(|module| module.process);
        let process = models.clone().next();
        // A module that does not answer is taken for one like its neighbour.
        let neighbour = models.filter_map(|process| process.model.as_deref()).next();
        for module in &shelf.modules {
            let own = module.process.and_then(|process| process.model.as_deref());
            let whose = format!("module {} of shelf {}", module.name, shelf.id);
            modules.push(ShelfIoModule {
                shelf: shelf.id.clone(),
                module: module.name.clone(),
                model: model(own.or(neighbour), &whose)?,
                owner: process.and_then(|process| owner(process, groups, disks)),
                ok: module.ok,
            });
        }
    }
    Ok(modules)
}

fn owner(process: &Process, groups: &[Seen], disks: &[Disk]) -> Option<NodeName> {
    let expander = expander(&process.place)?;
    let behind = |disk: &&Disk| {
        let mut ways = disk.paths.iter();
        ways.any(|way| self::expander(&way.place).as_ref() == Some(&expander))
    };
    let mut behind = disks.iter().filter(behind).peekable();
    behind.peek()?;
    let mut owner = None;
    for disk in behind {
        let group = groups.iter().find(|group| {
            let mut seats = group.seats.iter();
            seats.any(|seat| seat.drive == disk.serial)
        });
        // A drive of a pool that this node does not serve.
        owner = Some(group?.owner.clone());
    }
    owner
}
