//! Groups of drives that stand in for each other: the arrays and the parts of ZFS pools that the pools here stand on.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use evenkeel_model::{DiskSerial, NodeName, PoolHealth, Storage};

use super::notes::{Note, Notes};
use crate::block;
use crate::inventory::disks::{Disk, of_blocks};
use crate::inventory::filesystem::{devices, mount_on};
use crate::inventory::lvm;
use crate::inventory::md::{self, Array};
use crate::inventory::zfs::{self, Zpool};
use crate::look::{Answer, blocking, output, unavailable};
use crate::storage::PoolPlace;
use crate::{Call, Host};
use evenkeel_platform::devices::{Group, GroupId};

pub(super) const WITHIN: Duration = Duration::from_secs(30);
pub(super) const MDADM: &str = "mdadm";

/// What a group is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// An array of the kernel's.
    Array(Array),
    /// A part of this ZFS pool.
    Zfs {
        /// The pool.
        pool: String,
    },
}

/// What a member does in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It holds what it should, or is on its way there.
    In,
    /// It was taken out for a while.
    Out,
    /// It has failed.
    Failed,
    /// It stands by.
    Standby,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// The drive.
    pub(super) drive: DiskSerial,
    /// How the group calls it: the kernel's name, or a path of ZFS.
    pub(super) device: String,
    pub(super) part: Part,
}

/// A group of a pool that this node serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: GroupId,
    /// Its own name for itself, which stays whatever the kernel calls it; none where nobody needed to ask.
    pub(super) known_as: Option<String>,
    pub(super) owner: NodeName,
    pub(super) health: PoolHealth,
    pub(super) made: Made,
    pub(super) seats: Vec<Seat>,
}

impl Seen {
    /// As others see it.
    pub(super) fn told(&self) -> Group {
        let out = self.seats.iter().filter(|seat| match seat.part {
            Part::Out | Part::Failed => true,
            Part::In | Part::Standby => false,
        });
        Group {
            id: self.id.clone(),
            owner: Some(self.owner.clone()),
            health: self.health,
            out: out.map(|seat| seat.drive.clone()).collect(),
        }
    }
}

/// The groups of the pools that `node` serves. What stands below another node's pools it does not see.
pub(super) async fn groups(
    host: &Host,
    node: &NodeName,
    (places, disks, notes): (&[PoolPlace], &[Disk], &Notes),
) -> Answer<Vec<Seen>> {
    let zpools = zfs::zpools(host).await?;
    let mut noted = false;
    for disk in disks {
        noted |= notes.read(&disk.serial)?.is_some();
    }
    let mut seen = Vec::new();
    for place in places
        .iter()
        .filter(|place| place.owner.as_ref() == Some(node))
    {
        let first = seen.len();
        let mut arrays = BTreeSet::new();
        for storage in &place.storage {
            if let Storage::Zfs { pool } = storage
                && let Some(zpool) = zpools.get(pool)
            {
                seen.extend(of_zpool(host, (place, node), (pool, zpool), (disks, notes)).await?);
            }
            arrays.extend(arrays_of(host, storage).await?);
        }
        let arrays = in_order(host, arrays, noted).await?;
        seen.extend(of_arrays(host, (place, node), arrays, (disks, notes)).await?);
        for (number, group) in seen[first..].iter_mut().enumerate() {
            group.id.number = u8::try_from(number).map_err(|_| {
                unavailable(format!("pool {} has more than 256 groups", place.name))
            })?;
        }
    }
    // Only now every group has its number, by which drives that are out name theirs.
    for group in &mut seen {
        absent(group, disks, notes)?;
    }
    Ok(seen)
}

/// Arrays by their own names for themselves, and by the kernel's. The kernel's are dealt out anew at each start, and a group must keep
/// its number: a drive that is out is known by it.
async fn in_order(
    host: &Host,
    arrays: BTreeSet<String>,
    noted: bool,
) -> Answer<Vec<(Option<String>, String)>> {
    let mut order = Vec::new();
    let is_needed = noted || arrays.len() > 1;
    for name in arrays {
        let uuid = match is_needed {
            true => uuid(host, "--detail", &name).await?,
            false => None,
        };
        order.push((uuid, name));
    }
    order.sort();
    Ok(order)
}

/// The id of an array, as the array or one of its members says it: `mdadm --export` prints `key=value`, for machines. None where an
/// array was put together without any.
pub(super) async fn uuid(host: &Host, question: &str, device: &str) -> Answer<Option<String>> {
    let path = format!("/dev/{device}");
    let call = Call::new(MDADM, [question, "--export", path.as_str()], WITHIN);
    let printed = output(host, &call, MDADM).await?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let mut lines = printed.lines();
    Ok(lines.find_map(|line| Some(line.strip_prefix("MD_UUID=")?.to_owned())))
}

/// The arrays that a storage stands on, itself included.
async fn arrays_of(host: &Host, storage: &Storage) -> Answer<Vec<String>> {
    let devices: Vec<String> = match storage {
        Storage::Zfs { .. } => return Ok(Vec::new()),
        Storage::Md { device } => vec![device.clone()],
        Storage::Vg { name } => {
            let pvs = lvm::pvs(host).await?.into_iter();
            let own = pvs.filter(|pv| pv.vg_name == *name);
            own.map(|pv| pv.pv_name).collect()
        }
        Storage::Filesystem { device, folder } => {
            let (device, folder) = (device.clone(), folder.clone());
            let below = blocking(host, "what is mounted", move |host| {
                let Some(mount) = mount_on(host, &folder)? else {
                    return Ok(vec![device]);
                };
                match block::resolve(host, &mount.source)? {
                    Some(name) => {
                        let names = devices(host, &mount, name)?.into_iter();
                        Ok(names.map(|name| format!("/dev/{name}")).collect())
                    }
                    None => Ok(vec![mount.source]),
                }
            });
            below.await?
        }
    };
    blocking(host, "arrays", move |host| {
        let mut arrays = Vec::new();
        for device in &devices {
            if let Some(name) = block::resolve(host, device)? {
                arrays.extend(block::arrays(host, &block::stack(host, &name)?)?);
            }
        }
        Ok(arrays)
    })
    .await
}

/// A group that is yet to be numbered.
fn new(place: &PoolPlace, node: &NodeName, health: PoolHealth, made: Made) -> Seen {
    Seen {
        id: GroupId {
            pool: place.name.clone(),
            number: 0,
        },
        known_as: None,
        owner: node.clone(),
        health,
        made,
        seats: Vec::new(),
    }
}

async fn of_arrays(
    host: &Host,
    (place, node): (&PoolPlace, &NodeName),
    arrays: Vec<(Option<String>, String)>,
    (disks, notes): (&[Disk], &Notes),
) -> Answer<Vec<Seen>> {
    let (place, node) = (place.clone(), node.clone());
    let (disks, notes) = (disks.to_vec(), notes.clone());
    blocking(host, "arrays", move |host| {
        let mut groups = Vec::new();
        for (uuid, name) in arrays {
            let Some(array) = md::array(host, &name)? else {
                continue;
            };
            let (health, _) = array.health()?;
            let mut group = new(&place, &node, health, Made::Array(array.clone()));
            group.known_as = uuid;
            for member in &array.members {
                for disk in of_blocks(host, &disks, [member.device.clone()])? {
                    let part = part_of(member, &array, notes.read(&disk.serial)?.is_some());
                    group.seats.push(Seat {
                        drive: disk.serial.clone(),
                        device: member.device.clone(),
                        part,
                    });
                }
            }
            groups.push(group);
        }
        Ok(groups)
    })
    .await
}

/// A drive that we told to fail has not failed. A spare with a place is being filled, and so is any spare of an array that lacks a
/// member, as soon as the kernel gets to it.
fn part_of(member: &md::Member, array: &Array, noted: bool) -> Part {
    let stands_by = member.spare && member.slot.is_none() && array.degraded == 0;
    match (member.faulty, stands_by) {
        (true, _) if noted => Part::Out,
        (true, _) => Part::Failed,
        (false, true) => Part::Standby,
        (false, false) => Part::In,
    }
}

/// Adds drives that we took out of an array, and that it has forgotten.
fn absent(group: &mut Seen, disks: &[Disk], notes: &Notes) -> Answer<()> {
    for disk in disks {
        if group.seats.iter().any(|seat| seat.drive == disk.serial) {
            continue;
        }
        if let Some(note) = notes.read(&disk.serial)?
            && Some(&note.array) == group.known_as.as_ref()
            && is_of(&note, group)
        {
            group.seats.push(Seat {
                drive: disk.serial.clone(),
                device: String::new(),
                part: Part::Out,
            });
        }
    }
    Ok(())
}

/// Whether a note that names what a group is of is of this group: a ZFS pool has several, an array is one.
fn is_of(note: &Note, group: &Seen) -> bool {
    match group.made {
        Made::Array(_) => true,
        Made::Zfs { .. } => note.group == group.id,
    }
}

async fn of_zpool(
    host: &Host,
    (place, node): (&PoolPlace, &NodeName),
    (name, zpool): (&str, &Zpool),
    (disks, notes): (&[Disk], &Notes),
) -> Answer<Vec<Seen>> {
    let (place, node) = (place.clone(), node.clone());
    let (name, zpool) = (name.to_owned(), zpool.clone());
    let (disks, notes) = (disks.to_vec(), notes.clone());
    blocking(host, "a ZFS pool's devices", move |host| {
        let (health, _) = zpool.health()?;
        let mut groups = Vec::new();
        for leaves in &zpool.groups {
            let pool = name.clone();
            // What is not whole anywhere in the pool stops work in all of it: redundancy is told by the pool.
            let mut group = new(&place, &node, health, Made::Zfs { pool });
            group.known_as = Some(name.clone());
            for leaf in leaves {
                group.seats.extend(seat(host, leaf, &disks, &notes)?);
            }
            groups.push(group);
        }
        if let Some(first) = groups.first_mut() {
            for leaf in &zpool.spares {
                let standing_by = seat(host, leaf, &disks, &notes)?
                    .into_iter()
                    .map(|seat| Seat {
                        part: Part::Standby,
                        ..seat
                    });
                first.seats.extend(standing_by);
            }
        }
        Ok(groups)
    })
    .await
}

/// A device that is offline and that we did not take out, an admin did: it is not ours to bring back.
fn seat(host: &Host, leaf: &zfs::Leaf, disks: &[Disk], notes: &Notes) -> Answer<Vec<Seat>> {
    // A device that is gone belongs to no drive that is seen.
    let Some(name) = block::resolve(host, &leaf.path)? else {
        return Ok(Vec::new());
    };
    let mut seats = Vec::new();
    for disk in of_blocks(host, disks, [name])? {
        let part = match leaf.state.as_str() {
            "ONLINE" | "DEGRADED" | "INUSE" => Part::In,
            "AVAIL" => Part::Standby,
            "OFFLINE" if notes.read(&disk.serial)?.is_some() => Part::Out,
            _ => Part::Failed,
        };
        seats.push(Seat {
            drive: disk.serial.clone(),
            device: leaf.path.clone(),
            part,
        });
    }
    Ok(seats)
}

/// The number of a partition; none for a whole device.
pub(super) fn partition(host: &Host, device: &str) -> Answer<Option<u64>> {
    let file = Path::new("/sys/class/block").join(device).join("partition");
    crate::look::number_if_any(host, file)
}
