//! The health of a pool: of all that it stands on, the worst.

use std::collections::BTreeSet;

use evenkeel_model::{PoolHealth, Storage};

use super::filesystem::On;
use super::{drbd, filesystem, lvm, md, zfs};
use crate::Host;
use crate::block;
use crate::look::{Answer, blocking, unavailable};

/// What a pool does: its redundancy, and whether it is read through for errors.
pub(crate) type Health = (PoolHealth, bool);

/// How bad it is. What is rebuilt now will be whole by itself; what is degraded will not.
fn badness(health: PoolHealth) -> u8 {
    match health {
        PoolHealth::Online => 0,
        PoolHealth::Resyncing => 1,
        PoolHealth::Degraded => 2,
        PoolHealth::Offline => 3,
    }
}

/// Two parts of a pool together.
pub(crate) fn worse(one: Health, other: Health) -> Health {
    let health = match badness(one.0) >= badness(other.0) {
        true => one.0,
        false => other.0,
    };
    (health, one.1 || other.1)
}

/// Nothing is wrong with it.
const WELL: Health = (PoolHealth::Online, false);
/// It does not serve here.
const OFFLINE: Health = (PoolHealth::Offline, false);

/// Devices whose own health is all that there is to know of them, and those that are looked into. What else the kernel can put
/// between (bcache, rbd, nbd …) has a health that nobody reads here.
const KNOWN: [&str; 14] = [
    "sd", "hd", "nvme", "vd", "xvd", "mmcblk", "pmem", "dasd", "ram", "md", "dm-", "loop", "zd",
    "drbd",
];

/// Whether a pool's storage serves here, and how. [`PoolHealth::Offline`] is also what is not here at all: an array that is not put
/// together, a pool that is not imported, a filesystem that is not mounted. So only the node that is to serve it may be asked.
///
/// # Errors
/// Unavailable, with why, where it cannot be known.
pub async fn health(host: &Host, storage: &Storage) -> Answer<Health> {
    match storage {
        Storage::Zfs { pool } => of_zpool(host, pool).await,
        Storage::Vg { name } => of_vg(host, name).await,
        Storage::Md { device } => of_array(host, device).await,
        Storage::Filesystem { device, folder } => of_filesystem(host, device, folder).await,
    }
}

async fn of_zpool(host: &Host, pool: &str) -> Answer<Health> {
    let mut zpools = zfs::zpools(host).await?;
    let Some(zpool) = zpools.remove(pool) else {
        return Ok(OFFLINE);
    };
    let leaves = zpool.leaves().map(|leaf| leaf.path.clone()).collect();
    let below = of_devices(host, Start::Paths(leaves), BTreeSet::new()).await?;
    Ok(worse(zpool.health()?, below))
}

async fn of_array(host: &Host, device: &str) -> Answer<Health> {
    let path = device.to_owned();
    let array = blocking(host, "an array", move |host| {
        let name = block::resolve(host, &path)?;
        let is_array = |name: &String| Ok(md::array(host, name)?.is_some());
        let is_array = name.as_ref().map(is_array).transpose()?;
        Ok(name.filter(|_| is_array == Some(true)))
    });
    match array.await? {
        Some(name) => of_devices(host, Start::Names(vec![name]), BTreeSet::new()).await,
        None => Ok(OFFLINE),
    }
}

async fn of_vg(host: &Host, name: &str) -> Answer<Health> {
    let (own, devices) = group(host, name).await?;
    let groups = BTreeSet::from([name.to_owned()]);
    Ok(worse(
        own,
        of_devices(host, Start::Paths(devices), groups).await?,
    ))
}

/// What a volume group says of itself, and the paths of its devices.
async fn group(host: &Host, name: &str) -> Answer<(Health, Vec<String>)> {
    let (vgs, lvs, pvs) = tokio::join!(lvm::vgs(host), lvm::lvs(host), lvm::pvs(host));
    let own = lvm::health(&vgs?, &lvs?, name)?;
    let devices = pvs?.into_iter().filter(|pv| pv.vg_name == name);
    Ok((own, devices.map(|pv| pv.pv_name).collect()))
}

async fn of_filesystem(host: &Host, device: &str, folder: &std::path::Path) -> Answer<Health> {
    let Some(mounted) = filesystem::mounted(host, device, folder).await? else {
        return Ok(OFFLINE);
    };
    let own = (mounted.health, false);
    let below = match mounted.on {
        On::Devices(names) => of_devices(host, Start::Names(names), BTreeSet::new()).await?,
        On::Zpool(pool) => of_zpool(host, &pool).await?,
    };
    Ok(worse(own, below))
}

/// Devices that something stands on.
enum Start {
    /// By the kernel's names.
    Names(Vec<String>),
    /// By their paths. One that is missing has no device; whoever stands on it counts those.
    Paths(Vec<String>),
}

/// What is found below, as far as the kernel's files tell it.
struct Ground {
    arrays: Health,
    /// Logical volumes, by their numbers.
    volumes: BTreeSet<String>,
    /// DRBD's devices, by their minor numbers.
    drbd: BTreeSet<u32>,
    /// Volumes of ZFS, of whatever pool.
    zvols: bool,
}

/// The worst of all that these devices stand on, however deep. `groups` are volume groups that need not be looked at any more.
async fn of_devices(host: &Host, mut start: Start, mut groups: BTreeSet<String>) -> Answer<Health> {
    let mut whole = WELL;
    loop {
        let look = move |host: &Host| ground(host, &start);
        let ground = blocking(host, "what a pool stands on", look).await?;
        whole = worse(whole, ground.arrays);
        whole = worse(whole, drbd::health(host, &ground.drbd).await?);
        if ground.zvols {
            // The kernel does not say which pool a volume is of: none of those that are here may be in trouble.
            for zpool in zfs::zpools(host).await?.values() {
                whole = worse(whole, zpool.health()?);
            }
        }
        let mut next = Vec::new();
        for name in volume_groups(host, &ground.volumes).await? {
            if groups.insert(name.clone()) {
                let (own, devices) = group(host, &name).await?;
                whole = worse(whole, own);
                next.extend(devices);
            }
        }
        if next.is_empty() {
            return Ok(whole);
        }
        start = Start::Paths(next);
    }
}

fn ground(host: &Host, start: &Start) -> Answer<Ground> {
    let mut stack = BTreeSet::new();
    match start {
        Start::Names(names) => {
            for name in names {
                stack.extend(block::stack(host, name)?);
            }
        }
        Start::Paths(paths) => {
            for path in paths {
                if let Some(name) = block::resolve(host, path)? {
                    stack.extend(block::stack(host, &name)?);
                }
            }
        }
    }
    let mut ground = Ground {
        arrays: WELL,
        volumes: BTreeSet::new(),
        drbd: BTreeSet::new(),
        zvols: false,
    };
    for name in &stack {
        if !KNOWN.iter().any(|kind| name.starts_with(kind)) {
            return Err(unavailable(format!(
                "it stands on /dev/{name}, and how such a device is nobody reads here"
            )));
        }
        if let Some(array) = md::array(host, name)? {
            ground.arrays = worse(ground.arrays, array.health()?);
        }
        if block::mapper(host, name)?.is_some_and(|uuid| uuid.starts_with("LVM-")) {
            ground.volumes.insert(block::dev(host, name)?);
        }
        if name.starts_with("drbd") {
            ground.drbd.insert(drbd::minor(host, name)?);
        }
        ground.zvols |= name.starts_with("zd");
    }
    Ok(ground)
}

/// The volume groups of logical volumes that are given by their numbers.
async fn volume_groups(host: &Host, volumes: &BTreeSet<String>) -> Answer<BTreeSet<String>> {
    if volumes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let lvs = lvm::lvs(host).await?;
    let own = lvs.into_iter().filter(|lv| volumes.contains(&lv.dev()));
    Ok(own.map(|lv| lv.vg_name).collect())
}
