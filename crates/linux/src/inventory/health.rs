//! The health of a pool: of all that it stands on, the worst.

use std::collections::BTreeSet;

use evenkeel_model::{PoolHealth, Storage};

use super::{filesystem, lvm, md, zfs};
use crate::Host;
use crate::block;
use crate::look::{Answer, blocking};

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

/// Whether a pool's storage serves here, and how. [`PoolHealth::Offline`] is also what is not here at all: an array that is not put
/// together, a pool that is not imported, a filesystem that is not mounted. So only the node that is to serve it may be asked.
///
/// # Errors
/// Unavailable, with why, where it cannot be known.
pub async fn health(host: &Host, storage: &Storage) -> Answer<Health> {
    match storage {
        Storage::Zfs { pool } => match zfs::zpools(host).await?.get(pool) {
            Some(pool) => pool.health(),
            None => Ok((PoolHealth::Offline, false)),
        },
        Storage::Vg { name } => of_vg(host, name).await,
        Storage::Md { device } => {
            let device = device.clone();
            let look = move |host: &Host| match block::resolve(host, &device)? {
                Some(name) => of_arrays(host, &block::stack(host, &name)?, Some(&name)),
                None => Ok((PoolHealth::Offline, false)),
            };
            blocking(host, "an array", look).await
        }
        Storage::Filesystem { device, folder } => of_filesystem(host, device, folder).await,
    }
}

/// The arrays in a stack; the one on top must be one.
fn of_arrays(host: &Host, stack: &BTreeSet<String>, top: Option<&str>) -> Answer<Health> {
    let mut whole = (PoolHealth::Online, false);
    for name in stack {
        match md::array(host, name)? {
            Some(array) => whole = worse(whole, array.health()?),
            None if top == Some(name) => return Ok((PoolHealth::Offline, false)),
            None => {}
        }
    }
    Ok(whole)
}

async fn of_vg(host: &Host, name: &str) -> Answer<Health> {
    let (vgs, lvs, pvs) = tokio::join!(lvm::vgs(host), lvm::lvs(host), lvm::pvs(host));
    let own = lvm::health(&vgs?, &lvs?, name)?;
    let of_group = pvs?.into_iter().filter(|pv| pv.vg_name == name);
    let devices: Vec<String> = of_group.map(|pv| pv.pv_name).collect();
    let below = blocking(host, "what a volume group stands on", move |host| {
        let mut stack = BTreeSet::new();
        for device in &devices {
            // One that is missing has no device; the group counts those.
            if let Some(name) = block::resolve(host, device)? {
                stack.extend(block::stack(host, &name)?);
            }
        }
        of_arrays(host, &stack, None)
    });
    Ok(worse(own, below.await?))
}

async fn of_filesystem(host: &Host, device: &str, folder: &std::path::Path) -> Answer<Health> {
    let Some(mounted) = filesystem::mounted(host, device, folder).await? else {
        return Ok((PoolHealth::Offline, false));
    };
    let name = mounted.device.clone();
    let below = blocking(host, "what a filesystem stands on", move |host| {
        let Some(name) = &name else {
            return Ok(((PoolHealth::Online, false), BTreeSet::new()));
        };
        let stack = block::stack(host, name)?;
        let mut volumes = BTreeSet::new();
        for part in &stack {
            if block::mapper(host, part)?.is_some_and(|uuid| uuid.starts_with("LVM-")) {
                volumes.insert(block::dev(host, part)?);
            }
        }
        Ok((of_arrays(host, &stack, None)?, volumes))
    });
    let (below, volumes) = below.await?;
    let mut whole = worse((mounted.health, false), below);
    for group in volume_groups(host, &volumes).await? {
        whole = worse(whole, of_vg(host, &group).await?);
    }
    Ok(whole)
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
