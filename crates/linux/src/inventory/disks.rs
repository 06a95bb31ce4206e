//! Disks and the ways to them, from sysfs; device mapper's multipath and NVMe's own are both looked through.
//!
//! Listed are disks that the pair could share. Those that the node's system runs from, and those that the configuration names as its
//! own, are not: nobody else need see them, and one path is enough for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_model::DiskSerial;
use serde::Deserialize;

use super::{filesystem, zfs};
use crate::block::{self, folder};
use crate::look::{Answer, blocking, entries, exists, json, unavailable};
use crate::mounts::Mounts;
use crate::{Call, Host};
use evenkeel_platform::devices::DriveTransport;

/// Types of SCSI devices that hold data: direct access, and host-managed zones.
const SCSI_DISKS: [&str; 2] = ["0", "20"];
const MULTIPATHD: Duration = Duration::from_secs(5);

/// A disk, by whatever ways it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) serial: DiskSerial,
    /// As it calls itself; none if it does not.
    pub(crate) model: Option<String>,
    pub(crate) transport: DriveTransport,
    pub(crate) paths: Vec<Way>,
    /// Its block devices, by the kernel's names.
    pub(crate) blocks: Vec<String>,
}

/// A way to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// What is spoken to: a SCSI disk ("sda"), an NVMe controller ("nvme0").
    pub(crate) device: String,
    pub(crate) works: bool,
    /// Where the device hangs, as the kernel sees it.
    pub(crate) place: PathBuf,
}

impl Disk {
    /// A way that works.
    pub(crate) fn way(&self) -> Option<&Way> {
        self.paths.iter().find(|way| way.works)
    }
}

/// All disks that the pair could share.
pub(crate) async fn disks(host: &Host, local: &[String]) -> Answer<Vec<Disk>> {
    let local = local.to_vec();
    let leaves = system_leaves(host).await?;
    let look = move |host: &Host| Ok((scan(host, &local, &leaves)?, has_multipath(host)?));
    let (mut disks, multipath) = blocking(host, "the disks", look).await?;
    if multipath {
        let dead = dead_paths(host).await?;
        for way in disks.iter_mut().flat_map(|disk| &mut disk.paths) {
            way.works &= !dead.contains(&way.device);
        }
    }
    Ok(disks)
}

/// The disks of these block devices and of what they stand on.
pub(crate) fn of_blocks<'a>(
    host: &Host,
    disks: &'a [Disk],
    names: impl IntoIterator<Item = String>,
) -> Answer<Vec<&'a Disk>> {
    let mut stack = BTreeSet::new();
    for name in names {
        stack.extend(block::stack(host, &name)?);
    }
    let within = |disk: &&Disk| disk.blocks.iter().any(|block| stack.contains(block));
    Ok(disks.iter().filter(within).collect())
}

fn scan(host: &Host, local: &[String], leaves: &[String]) -> Answer<Vec<Disk>> {
    let system = system(host, leaves)?;
    let mut found: BTreeMap<DiskSerial, Disk> = BTreeMap::new();
    for name in block::names(host)? {
        if system.contains(&name) || local.contains(&name) || !is_disk(host, &name)? {
            continue;
        }
        let Some(disk) = disk(host, &name)? else {
            continue;
        };
        if local.iter().any(|it| it == disk.serial.as_str()) {
            continue;
        }
        match found.get_mut(&disk.serial) {
            None => drop(found.insert(disk.serial.clone(), disk)),
            Some(known) => merge(known, disk),
        }
    }
    Ok(found.into_values().collect())
}

/// Another way to the same disk, or another namespace of it.
fn merge(known: &mut Disk, more: Disk) {
    known.blocks.extend(more.blocks);
    for way in more.paths {
        if !known.paths.iter().any(|it| it.device == way.device) {
            known.paths.push(way);
        }
    }
}

/// The paths of the devices of ZFS pools that the node's system runs from. `zpool` is asked only where there are any.
async fn system_leaves(host: &Host) -> Answer<Vec<String>> {
    let pools = blocking(host, "what the system is mounted from", |host| {
        let mounts = Mounts::read(host)?;
        let system = mounts.iter().filter(|mount| mount.is_system());
        let pools = system.filter_map(|mount| Some(mount.zpool()?.to_owned()));
        Ok(pools.collect::<BTreeSet<String>>())
    });
    let pools = pools.await?;
    if pools.is_empty() {
        return Ok(Vec::new());
    }
    let zpools = zfs::zpools(host).await?;
    let mut leaves = Vec::new();
    for name in &pools {
        let zpool = zpools.get(name).ok_or_else(|| {
            unavailable(format!(
                "the system runs from the ZFS pool {name}, which zpool does not name"
            ))
        })?;
        let all = zpool.leaves().chain(&zpool.spares);
        leaves.extend(all.map(|leaf| leaf.path.clone()));
    }
    Ok(leaves)
}

/// What the node's system is mounted from or swaps to, and all below it.
fn system(host: &Host, leaves: &[String]) -> Answer<BTreeSet<String>> {
    let mut system = BTreeSet::new();
    for leaf in leaves {
        if let Some(name) = block::resolve(host, leaf)? {
            system.extend(block::stack(host, &name)?);
        }
    }
    for mount in Mounts::read(host)?.iter().filter(|mount| mount.is_system()) {
        // The source may be a name that only the boot loader knew ("/dev/root"); the number is the kernel's.
        let by_number = Path::new("/sys/dev/block").join(&mount.dev);
        let by_number = crate::look::link_name(host, by_number)?;
        let by_name = block::resolve(host, &mount.source)?;
        for name in by_number.into_iter().chain(by_name) {
            for name in filesystem::devices(host, mount, name)? {
                system.extend(block::stack(host, &name)?);
            }
        }
    }
    let swaps = host.read_if_any("/proc/swaps")?.unwrap_or_default();
    for line in swaps.lines().skip(1) {
        let device = line.split_whitespace().next().unwrap_or_default();
        if let Some(name) = block::resolve(host, device)? {
            system.extend(block::stack(host, &name)?);
        }
    }
    Ok(system)
}

/// Whole, there for good, and not made of others.
fn is_disk(host: &Host, name: &str) -> Answer<bool> {
    let at = folder(name);
    let kind = ["sd", "nvme", "vd", "xvd"];
    if !kind.iter().any(|kind| name.starts_with(kind)) || exists(host, at.join("partition"))? {
        return Ok(false);
    }
    // Ways that NVMe's multipath keeps to itself are hidden; card readers are removable, and empty ones have no size.
    let is_zero = |file: &str, missing: bool| {
        let said = host.read_if_any(at.join(file));
        said.map(|said| said.map_or(missing, |said| said == "0"))
    };
    let usable = exists(host, at.join("device"))?
        && is_zero("hidden", true)?
        && is_zero("removable", true)?
        && !is_zero("size", false)?;
    match host.read_if_any(at.join("device/type"))? {
        Some(kind) if name.starts_with("sd") => Ok(usable && SCSI_DISKS.contains(&kind.as_str())),
        Some(_) | None => Ok(usable),
    }
}

fn disk(host: &Host, name: &str) -> Answer<Option<Disk>> {
    let paths = ways(host, name)?;
    let at = folder(name);
    let model = host.read_if_any(at.join("device/model"))?;
    let transport = match name.starts_with("nvme") {
        true => DriveTransport::Nvme,
        false => DriveTransport::Scsi,
    };
    Ok(Some(Disk {
        serial: serial(host, name)?,
        model: model.filter(|model| !model.is_empty()),
        transport,
        paths,
        blocks: vec![name.to_owned()],
    }))
}

/// What a disk is called on its label: both partners must know it by the same name, whatever the kernel calls it.
fn serial(host: &Host, name: &str) -> Answer<DiskSerial> {
    let at = folder(name);
    let mut said = None;
    if name.starts_with("sd") {
        said = unit_serial(host, &at.join("device/vpd_pg80"))?;
    }
    for file in ["device/serial", "serial", "device/wwid", "wwid"] {
        if said.is_none() {
            said = host.read_if_any(at.join(file))?;
            said = said.filter(|said| !said.is_empty());
        }
    }
    let said = said.ok_or_else(|| {
        unavailable(format!(
            "disk {name} has no serial number to know it by: give it one, or name it among `local_disks` in [platform.inventory]"
        ))
    })?;
    let word = |c: char| match c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
        true => c,
        false => '_',
    };
    let word: String = said.chars().map(word).take(64).collect();
    DiskSerial::new(word).map_err(|error| unavailable(format!("disk {name}: {error}")))
}

/// The unit serial number page of vital product data (SPC-5, 7.7.19), as the kernel keeps it.
fn unit_serial(host: &Host, path: &Path) -> Answer<Option<String>> {
    let page = match std::fs::read(host.path(path)) {
        Ok(page) => page,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // One that does not answer any more.
        Err(error) => return Err(unavailable(format!("{}: {error}", path.display()))),
    };
    let length = page
        .get(2..4)
        .map_or(0, |l| usize::from(l[0]) << 8 | usize::from(l[1]));
    let text = page.get(4..).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..length.min(text.len())]);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn ways(host: &Host, name: &str) -> Answer<Vec<Way>> {
    let device = folder(name).join("device");
    if name.starts_with("nvme") {
        return controllers(host, name, &device);
    }
    // A SCSI device is "running", or "offline", "blocked", "transport-offline", "quiesce"; others know no state.
    let state = host.read_if_any(device.join("state"))?;
    let works = state.is_none_or(|state| state == "running");
    Ok(vec![Way {
        device: name.to_owned(),
        works,
        place: place(host, &device),
    }])
}

/// The controllers of a namespace: the one that it hangs on, or all of the subsystem's.
fn controllers(host: &Host, name: &str, device: &Path) -> Answer<Vec<Way>> {
    let way = |controller: String, at: PathBuf| {
        let state = host.read(at.join("state"))?;
        Ok(Way {
            device: controller,
            works: state == "live",
            place: place(host, &at),
        })
    };
    if exists(host, device.join("state"))? {
        let controller = crate::look::link_name(host, device)?;
        let controller = controller.ok_or_else(|| unavailable(format!("{name} has gone")))?;
        return Ok(vec![way(controller, device.to_owned())?]);
    }
    let mut ways = Vec::new();
    for entry in entries(host, device)? {
        let is_controller = entry
            .strip_prefix("nvme")
            .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if is_controller {
            ways.push(way(entry.clone(), device.join(&entry))?);
        }
    }
    Ok(ways)
}

fn place(host: &Host, device: &Path) -> PathBuf {
    std::fs::canonicalize(host.path(device)).unwrap_or_else(|_| device.to_owned())
}

fn has_multipath(host: &Host) -> Answer<bool> {
    for name in block::names(host)? {
        if block::mapper(host, &name)?.is_some_and(|uuid| uuid.starts_with("mpath-")) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[derive(Deserialize)]
struct Maps {
    maps: Vec<Map>,
}

#[derive(Deserialize)]
struct Map {
    #[serde(default)]
    path_groups: Vec<PathGroup>,
}

#[derive(Deserialize)]
struct PathGroup {
    #[serde(default)]
    paths: Vec<MapPath>,
}

#[derive(Deserialize)]
struct MapPath {
    dev: String,
    /// What device mapper thinks of it: "active", "failed".
    dm_st: String,
    /// What its checker found last: "ready", "ghost" (a standby port), "faulty", "shaky" and others.
    chk_st: String,
}

/// Paths that multipath does not send anything through.
async fn dead_paths(host: &Host) -> Answer<BTreeSet<String>> {
    let call = Call::new("multipathd", ["show", "maps", "json"], MULTIPATHD);
    let maps: Maps = json(host, &call, "multipath-tools").await?;
    let paths = maps
        .maps
        .into_iter()
        .flat_map(|map| map.path_groups)
        .flat_map(|group| group.paths);
    let dead = paths.filter(|path| {
        path.dm_st == "failed" || !matches!(path.chk_st.as_str(), "ready" | "ghost")
    });
    Ok(dead.map(|path| path.dev).collect())
}
