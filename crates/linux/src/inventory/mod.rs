//! What a node sees of its hardware, its storage and its clients.
//!
//! [`Machine`] answers from the kernel's own files and from programs' output that is made for machines. What cannot be known is
//! [`PlatformError::Unavailable`], with why and what to do; that something is not there is known only where it would be seen.

mod alerts;
mod clients;
pub(crate) mod disks;
mod drbd;
pub(crate) mod filesystem;
mod found;
mod health;
mod identity;
mod jobs;
mod load;
pub(crate) mod lvm;
pub(crate) mod md;
mod owned;
mod ports;
mod ses;
pub(crate) mod shelves;
mod space;
mod time;
pub(crate) mod zfs;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{
    ClientRisk, DiskSerial, DiskState, InventorySettings, Load, MachineId, NodeName, PoolHealth,
    PoolName, PoolState, PortState, ShelfState, Space, TimeSync,
};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::Host;
use crate::look::{Answer, blocking, unavailable};
use crate::storage::{PoolPlace, PoolPlaces};
use evenkeel_platform::{Inventory, PlatformError};

use alerts::SmartMemory;
use load::LoadMeter;

pub use found::OwnPools;
pub use health::health;
pub use shelves::{ScsiPages, SesPages};
pub use space::Places;
pub use time::KernelClock;

/// How long a pool's health may be looked for: less than what bounds a look at all pools, so that one whose storage hangs is the
/// only one of which nothing is known.
const HEALTH: Duration = Duration::from_secs(4);

/// Milliseconds since the boot.
fn uptime_ms(host: &Host) -> Answer<u64> {
    let text = host.read("/proc/uptime")?;
    let seconds = text.split(' ').next().and_then(|s| s.parse::<f64>().ok());
    let seconds = seconds.ok_or_else(|| unavailable(format!("/proc/uptime says {text:?}")))?;
    Ok((seconds * 1000.0) as u64)
}

/// What the inventory asks the running kernel itself, and not its files.
#[derive(Clone)]
pub struct Kernel {
    /// How the clock is kept.
    pub clock: fn() -> Result<KernelClock, PlatformError>,
    /// Enclosures' pages.
    pub pages: Arc<dyn SesPages>,
}

impl Kernel {
    /// The kernel that runs.
    pub fn this() -> Self {
        Self {
            clock: crate::devices::kernel_clock,
            pages: Arc::new(ScsiPages),
        }
    }
}

/// The inventory of a real machine.
pub struct Machine {
    host: Host,
    node: NodeName,
    settings: InventorySettings,
    places: Places,
    pools: Arc<dyn PoolPlaces>,
    kernel: Kernel,
    load: LoadMeter,
    smart: SmartMemory,
    /// Why the health of pools that this node serves was not known at the newest look, for the alerts.
    untold: Mutex<BTreeMap<PoolName, String>>,
}

impl Machine {
    /// The inventory of `node`, which is this machine. `pools` names what it and its partner could serve: an HA engine, or
    /// [`OwnPools`] where there is none.
    pub fn new(
        host: Host,
        node: NodeName,
        settings: InventorySettings,
        places: Places,
        pools: Arc<dyn PoolPlaces>,
    ) -> Self {
        Self {
            host,
            node,
            settings,
            places,
            pools,
            kernel: Kernel::this(),
            load: LoadMeter::default(),
            smart: SmartMemory::default(),
            untold: Mutex::default(),
        }
    }

    /// The same, asking another kernel: for tests.
    #[must_use]
    pub fn with_kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// This node's ports that can carry data LIFs: the half of [`evenkeel_platform::Addresses`] that no HA engine knows.
    ///
    /// # Errors
    /// Unavailable, with why.
    pub async fn ports(&self) -> Result<Vec<PortState>, PlatformError> {
        ports::ports(&self.host, &self.settings.ports).await
    }

    async fn seen_disks(&self) -> Answer<Vec<disks::Disk>> {
        disks::disks(&self.host, &self.settings.local_disks).await
    }

    /// A pool that its partner serves is not looked at from here: what it stands on is the partner's now. Where a pool belongs and
    /// who serves it is known whatever its storage says; the second is why nothing is known of its health.
    async fn pool(&self, host: &Host, place: PoolPlace) -> (PoolState, Option<String>) {
        let elsewhere = place
            .owner
            .as_ref()
            .is_some_and(|owner| *owner != self.node);
        let said = match (&place.owner, elsewhere) {
            (None, _) | (Some(_), true) => Ok((PoolHealth::Offline, false)),
            (Some(_), false) => match timeout(HEALTH, health_of(host, &place)).await {
                Ok(said) => said.map_err(|error| error.to_string()),
                Err(_) => Err(format!(
                    "pool {} does not tell how it is within {HEALTH:?}",
                    place.name
                )),
            },
        };
        let (health, scrubbing) = *said.as_ref().unwrap_or(&(PoolHealth::Offline, false));
        let state = PoolState {
            name: place.name,
            home: place.home,
            owner: place.owner,
            root: place.root,
            health,
            scrubbing,
            unseen: elsewhere || said.is_err(),
        };
        (state, said.err())
    }
}

async fn health_of(host: &Host, place: &PoolPlace) -> Answer<(PoolHealth, bool)> {
    let mut whole: Option<(PoolHealth, bool)> = None;
    for storage in &place.storage {
        let said = health::health(host, storage).await;
        let said = said.map_err(|error| {
            let storage = crate::storage::text(storage);
            unavailable(format!("pool {} on {storage}: {error}", place.name))
        })?;
        whole = Some(whole.map_or(said, |sofar| health::worse(sofar, said)));
    }
    whole.ok_or_else(|| {
        unavailable(format!(
            "what pool {} stands on is not known: it has no storage resource that is understood",
            place.name
        ))
    })
}

#[async_trait]
impl Inventory for Machine {
    async fn pools(&self) -> Result<Vec<PoolState>, PlatformError> {
        let (places, host) = (self.pools.pools().await?, self.host.asked_once());
        let looks = places.into_iter().map(|place| self.pool(&host, place));
        let (mut states, mut untold) = (Vec::new(), BTreeMap::new());
        for (state, why) in join_all(looks).await {
            untold.extend(why.map(|why| (state.name.clone(), why)));
            states.push(state);
        }
        *self.untold.lock().unwrap_or_else(PoisonError::into_inner) = untold;
        Ok(states)
    }

    async fn disks(&self) -> Result<Vec<DiskState>, PlatformError> {
        let (disks, zpools) = tokio::join!(self.seen_disks(), zfs::zpools(&self.host));
        let disks = disks?;
        let failed = owned::failed(&self.host, &disks, &zpools?).await?;
        let state = |disk: &disks::Disk| DiskState {
            serial: disk.serial.clone(),
            paths: disk.paths.iter().filter(|way| way.works).count().min(255) as u8,
            failed: failed.contains(&disk.serial),
        };
        Ok(disks.iter().map(state).collect())
    }

    async fn unowned_disks(&self) -> Result<Vec<DiskSerial>, PlatformError> {
        owned::unowned(&self.host, &self.seen_disks().await?).await
    }

    async fn shelves(&self) -> Result<Vec<ShelfState>, PlatformError> {
        let processes = shelves::processes(&self.host, self.kernel.pages.as_ref()).await?;
        shelves::states(&processes)
    }

    async fn load(&self) -> Result<Load, PlatformError> {
        let disks = self.seen_disks().await?;
        let blocks: Vec<String> = disks.into_iter().flat_map(|disk| disk.blocks).collect();
        self.load.load(&self.host, blocks).await
    }

    async fn time_sync(&self) -> Result<TimeSync, PlatformError> {
        time::time_sync(&self.host, self.kernel.clock).await
    }

    async fn exclusive_jobs(&self) -> Result<Vec<String>, PlatformError> {
        jobs::jobs(&self.host, self.settings.jobs.as_deref()).await
    }

    async fn alerts(&self) -> Result<Vec<String>, PlatformError> {
        let mut alerts = alerts::alerts(&self.host).await?;
        let disks = self.seen_disks().await?;
        alerts.extend(self.smart.alerts(&self.host, &disks).await?);
        let untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        alerts.extend(untold.values().cloned());
        Ok(alerts)
    }

    async fn client_hazards(&self) -> Result<Vec<String>, PlatformError> {
        clients::hazards(&self.host).await
    }

    async fn client_risks(&self) -> Result<Vec<ClientRisk>, PlatformError> {
        clients::risks(&self.host).await
    }

    async fn machine(&self) -> Result<MachineId, PlatformError> {
        blocking(&self.host, "the machine's identity", identity::machine).await
    }

    async fn space(&self) -> Result<Space, PlatformError> {
        space::space(&self.host, &self.places).await
    }
}
