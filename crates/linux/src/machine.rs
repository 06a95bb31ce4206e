//! One node's platform, put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_model::{
    BootId, BootSettings, ClientRisk, DiskSerial, DiskState, FailoverSettings, FencingState,
    LifName, LifState, LinuxSettings, Load, MachineId, NodeName, PairState, PartnerSp, PoolState,
    PortState, ShelfState, Slot, SlotsState, SpState, Space, TimeSync, WitnessState,
};

use super::devices::{Hardware, HttpsRedfish};
use super::host::Host;
use super::inventory::{Machine, OwnPools, Places};
use super::pacemaker::{Keeper, Pacemaker};
use super::power::LinuxPower;
use super::slots;
use super::storage::PoolPlaces;
use evenkeel_platform::{
    Addresses, BootSlots, Failover, GivebackRequest, Inventory, PlatformError, Power,
    RebootRequest, TakeoverRequest,
};

/// A real controller.
pub struct Linux {
    slots: Arc<dyn BootSlots>,
    power: Arc<LinuxPower>,
    pacemaker: Option<Pacemaker>,
    inventory: Machine,
}

/// What it is made of, all of it this machine's.
pub struct LinuxParts<'a> {
    /// The machine.
    pub host: Host,
    /// The node, by the name that the HA engine knows it by too.
    pub node: &'a NodeName,
    /// Folder of the node's data, outside the boot slots.
    pub data: &'a Path,
    /// How it is run.
    pub settings: &'a LinuxSettings,
}

impl Linux {
    /// The controller, and its devices. Nothing is asked but which boot this is. A service processor that cannot be spoken to by its
    /// settings says so when its firmware is asked for: nobody else needs it.
    ///
    /// # Errors
    /// Unavailable when the boot cannot be told.
    pub fn open(parts: &LinuxParts<'_>) -> Result<(Self, Hardware), PlatformError> {
        let LinuxParts {
            host,
            node,
            data,
            settings,
        } = parts;
        let pacemaker = pacemaker(parts)?;
        let slots: Arc<dyn BootSlots> = slots::open(host, &settings.slots).into();
        let (own, named) = ((*node).clone(), &settings.inventory);
        let pools: Arc<dyn PoolPlaces> = match &pacemaker {
            Some(pacemaker) => Arc::new(pacemaker.clone()),
            None => Arc::new(OwnPools::new(host.clone(), own, named)),
        };
        let places = Places {
            store: data.join("packages"),
            slots: Arc::clone(&slots),
            root: data.to_path_buf(),
        };
        let redfish = settings.sp.redfish.as_ref().map(HttpsRedfish::new);
        let redfish = redfish.transpose();
        if let Err(error) = &redfish {
            let why = evenkeel_model::error_chain(error);
            tracing::warn!(%why, "the service processor's firmware cannot be reached by its settings");
        }
        let inventory = settings.inventory.clone();
        let devices = Hardware::new(
            host.clone(),
            (*node).clone(),
            inventory.clone(),
            Arc::clone(&pools),
            &data.join("devices"),
            redfish,
        );
        let linux = Self {
            slots,
            power: Arc::new(power(parts)),
            pacemaker,
            inventory: Machine::new(host.clone(), (*node).clone(), inventory, places, pools),
        };
        Ok((linux, devices))
    }

    /// Does the node's own part in its pair, for as long as this is polled: without it a partner does not see that the node has
    /// booted. Returns at once where there is no pair.
    pub fn keep(&self) -> impl Future<Output = ()> + Send + 'static {
        let power = Arc::clone(&self.power);
        let keeper = self
            .pacemaker
            .clone()
            .map(|pacemaker| Keeper::new(pacemaker, power));
        async move {
            if let Some(keeper) = keeper {
                keeper.run().await;
            }
        }
    }
}

/// The HA engine of the node; none where it has no partner.
///
/// # Errors
/// Unavailable when the boot cannot be told.
pub fn pacemaker(parts: &LinuxParts<'_>) -> Result<Option<Pacemaker>, PlatformError> {
    let Some(FailoverSettings::Pacemaker {
        partner,
        ask_addresses,
    }) = &parts.settings.failover
    else {
        return Ok(None);
    };
    let boot = power(parts).own_boot()?;
    let (local, partner) = (parts.node.clone(), partner.clone());
    let pacemaker = Pacemaker::new(parts.host.clone(), local, partner, boot);
    Ok(Some(match ask_addresses {
        true => pacemaker,
        false => pacemaker.without_asking(),
    }))
}

fn power(parts: &LinuxParts<'_>) -> LinuxPower {
    let settings = parts.settings;
    let partner = settings.failover.as_ref().map(|failover| match failover {
        FailoverSettings::Pacemaker { partner, .. } => partner.clone(),
    });
    LinuxPower::new(&parts.host, &settings.power, &settings.sp, partner)
}

impl Linux {
    fn engine(&self) -> Result<&Pacemaker, PlatformError> {
        let none = || PlatformError::Refused("this node has no HA partner".to_owned());
        self.pacemaker.as_ref().ok_or_else(none)
    }
}

#[async_trait]
impl Failover for Linux {
    async fn pair(&self) -> Result<Option<PairState>, PlatformError> {
        match &self.pacemaker {
            Some(pacemaker) => pacemaker.pair().await,
            None => Ok(None),
        }
    }

    async fn take_over(&self, request: &TakeoverRequest) -> Result<(), PlatformError> {
        self.engine()?.take_over(request).await
    }

    async fn give_back(&self, request: &GivebackRequest) -> Result<(), PlatformError> {
        self.engine()?.give_back(request).await
    }

    async fn serve_alone(&self) -> Result<(), PlatformError> {
        self.engine()?.serve_alone().await
    }

    async fn witness(&self) -> Result<Option<WitnessState>, PlatformError> {
        match &self.pacemaker {
            Some(pacemaker) => pacemaker.witness().await,
            None => Ok(None),
        }
    }

    async fn fencing(&self) -> Result<Option<FencingState>, PlatformError> {
        match &self.pacemaker {
            Some(pacemaker) => pacemaker.fencing().await,
            None => Ok(None),
        }
    }
}

#[async_trait]
impl BootSlots for Linux {
    async fn slots(&self) -> Result<SlotsState, PlatformError> {
        self.slots.slots().await
    }

    fn path(&self, slot: Slot) -> PathBuf {
        self.slots.path(slot)
    }

    async fn mark_unbootable(&self, slot: Slot) -> Result<(), PlatformError> {
        self.slots.mark_unbootable(slot).await
    }

    async fn set_default(&self, slot: Slot, tries: u8) -> Result<(), PlatformError> {
        self.slots.set_default(slot, tries).await
    }

    async fn mark_good(&self, slot: Slot) -> Result<(), PlatformError> {
        self.slots.mark_good(slot).await
    }

    async fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        self.slots.boot_settings().await
    }
}

#[async_trait]
impl Power for Linux {
    async fn boot_id(&self) -> Result<BootId, PlatformError> {
        self.power.boot_id().await
    }

    async fn reboot(&self, request: &RebootRequest) -> Result<(), PlatformError> {
        self.power.reboot(request).await
    }

    async fn sp(&self) -> Result<SpState, PlatformError> {
        self.power.sp().await
    }

    async fn partner_sp(&self) -> Result<Option<PartnerSp>, PlatformError> {
        self.power.partner_sp().await
    }
}

#[async_trait]
impl Addresses for Linux {
    /// None on a node without an HA engine: nothing would ever move them.
    async fn lifs(&self) -> Result<Vec<LifState>, PlatformError> {
        match &self.pacemaker {
            Some(pacemaker) => pacemaker.lifs().await,
            None => Ok(Vec::new()),
        }
    }

    async fn send_home(&self, lif: &LifName) -> Result<(), PlatformError> {
        self.engine()?.send_home(lif).await
    }

    async fn ports(&self) -> Result<Vec<PortState>, PlatformError> {
        self.inventory.ports().await
    }
}

#[async_trait]
impl Inventory for Linux {
    async fn pools(&self) -> Result<Vec<PoolState>, PlatformError> {
        self.inventory.pools().await
    }

    async fn disks(&self) -> Result<Vec<DiskState>, PlatformError> {
        self.inventory.disks().await
    }

    async fn unowned_disks(&self) -> Result<Vec<DiskSerial>, PlatformError> {
        self.inventory.unowned_disks().await
    }

    async fn shelves(&self) -> Result<Vec<ShelfState>, PlatformError> {
        self.inventory.shelves().await
    }

    async fn load(&self) -> Result<Load, PlatformError> {
        self.inventory.load().await
    }

    async fn time_sync(&self) -> Result<TimeSync, PlatformError> {
        self.inventory.time_sync().await
    }

    async fn exclusive_jobs(&self) -> Result<Vec<String>, PlatformError> {
        self.inventory.exclusive_jobs().await
    }

    /// The machine's, and the HA engine's.
    async fn alerts(&self) -> Result<Vec<String>, PlatformError> {
        let mut alerts = self.inventory.alerts().await?;
        if let Some(pacemaker) = &self.pacemaker {
            alerts.extend(pacemaker.alerts().await?);
        }
        Ok(alerts)
    }

    async fn client_hazards(&self) -> Result<Vec<String>, PlatformError> {
        self.inventory.client_hazards().await
    }

    async fn client_risks(&self) -> Result<Vec<ClientRisk>, PlatformError> {
        self.inventory.client_risks().await
    }

    async fn machine(&self) -> Result<MachineId, PlatformError> {
        self.inventory.machine().await
    }

    async fn space(&self) -> Result<Space, PlatformError> {
        self.inventory.space().await
    }
}
