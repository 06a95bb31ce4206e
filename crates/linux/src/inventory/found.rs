//! The pools of a node without an HA engine: those that its configuration names, or what is found.

use std::collections::BTreeSet;

use async_trait::async_trait;
use evenkeel_model::{InventorySettings, NodeName, PoolHealth, PoolName, PoolSettings, Storage};

use super::{health, lvm, zfs};
use crate::Host;
use crate::block;
use crate::look::{Answer, blocking, unavailable};
use crate::mounts::Mounts;
use crate::storage::{PoolPlace, PoolPlaces};
use evenkeel_platform::PlatformError;

/// What its own configuration says, and this machine.
pub struct OwnPools {
    host: Host,
    node: NodeName,
    named: Vec<PoolSettings>,
}

impl OwnPools {
    /// The pools of a node that nobody takes over.
    pub fn new(host: Host, node: NodeName, settings: &InventorySettings) -> Self {
        Self {
            host,
            node,
            named: settings.pools.clone(),
        }
    }

    /// It serves whatever of them is not offline: there is nobody else.
    async fn place(&self, pool: PoolSettings) -> Answer<PoolPlace> {
        let (health, _) = health::health(&self.host, &pool.storage).await?;
        let serves = health != PoolHealth::Offline;
        Ok(PoolPlace {
            name: pool.name,
            home: self.node.clone(),
            owner: serves.then(|| self.node.clone()),
            root: pool.root,
            storage: vec![pool.storage],
        })
    }
}

#[async_trait]
impl PoolPlaces for OwnPools {
    async fn pools(&self) -> Result<Vec<PoolPlace>, PlatformError> {
        let pools = match self.named.is_empty() {
            true => found(&self.host).await?,
            false => self.named.clone(),
        };
        let mut places = Vec::new();
        for pool in pools {
            places.push(self.place(pool).await?);
        }
        Ok(places)
    }
}

/// ZFS pools, volume groups with something mounted that is not the system, and arrays that a filesystem is on.
async fn found(host: &Host) -> Answer<Vec<PoolSettings>> {
    let mut pools = Vec::new();
    for name in zfs::zpools(host).await?.into_keys() {
        pools.push(pool(&name, Storage::Zfs { pool: name.clone() })?);
    }
    let mounted = blocking(host, "what is mounted", mounted).await?;
    if !mounted.volumes.is_empty() {
        let lvs = lvm::lvs(host).await?;
        let own = lvs
            .into_iter()
            .filter(|lv| mounted.volumes.contains(&lv.dev()));
        let groups: BTreeSet<String> = own.map(|lv| lv.vg_name).collect();
        for name in groups {
            pools.push(pool(&name, Storage::Vg { name: name.clone() })?);
        }
    }
    for name in mounted.arrays {
        let device = format!("/dev/{name}");
        pools.push(pool(&name, Storage::Md { device })?);
    }
    Ok(pools)
}

fn pool(name: &str, storage: Storage) -> Answer<PoolSettings> {
    let valid = PoolName::new(name).map_err(|error| {
        unavailable(format!(
            "what was found is not called as a pool can be ({error}): name the pools in [platform.inventory]"
        ))
    })?;
    Ok(PoolSettings {
        name: valid,
        root: false,
        storage,
    })
}

/// What filesystems are on, beside the system's.
struct Mounted {
    /// Logical volumes, by their numbers.
    volumes: BTreeSet<String>,
    /// Arrays, by the kernel's names.
    arrays: BTreeSet<String>,
}

fn mounted(host: &Host) -> Answer<Mounted> {
    let mut found = Mounted {
        volumes: BTreeSet::new(),
        arrays: BTreeSet::new(),
    };
    for mount in Mounts::read(host)?.iter() {
        if mount.is_system() {
            continue;
        }
        let Some(name) = block::resolve(host, &mount.source)? else {
            continue;
        };
        if block::mapper(host, &name)?.is_some_and(|uuid| uuid.starts_with("LVM-")) {
            found.volumes.insert(block::dev(host, &name)?);
        } else if crate::look::exists(host, block::folder(&name).join("md"))? {
            found.arrays.insert(name);
        }
    }
    Ok(found)
}
