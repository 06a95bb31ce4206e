//! The devices of a real machine that carry firmware.
//!
//! [`Hardware`] knows drives by what the kernel, the arrays and ZFS say of them, moves them by `mdadm` and `zpool`, and opens the three
//! transports: [`ScsiFile`] by `SG_IO`, [`NvmeFile`] by the kernel's passthrough, [`HttpsRedfish`] by HTTPS. No names of devices are kept:
//! a drive is looked for by its serial number whenever it is spoken to.

mod buffer;
mod drives;
mod groups;
mod ioctl;
mod leave;
mod notes;
mod nvme;
mod read_test;
mod redfish;
mod scsi;
mod spoken;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{DeviceModel, DiskSerial, InventorySettings, NodeName, error_chain};
use nix::libc;

use crate::Host;
use crate::inventory::disks::{Disk, disks};
use crate::inventory::shelves::{Process, processes};
use crate::inventory::{KernelClock, ScsiPages, SesPages};
use crate::look::{Answer, blocking_for, unavailable};
use crate::storage::PoolPlaces;
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{
    Devices, Drive, Group, NvmeAdmin, OfflineRequest, Processor, Redfish, ScsiDevice, ScsiTarget,
    ShelfIoModule,
};

use groups::Seen;
use notes::Notes;
use redfish::{NoRedfish, model_of};
use spoken::{NvmeDrive, ScsiSpoken};

pub use nvme::NvmeFile;
pub use redfish::{HttpsRedfish, RedfishError};
pub use scsi::ScsiFile;

/// A disk reads three pieces in less, or hangs.
const READ_TEST: Duration = Duration::from_secs(60);

/// The devices of a node.
pub struct Hardware {
    host: Host,
    node: NodeName,
    settings: InventorySettings,
    pools: Arc<dyn PoolPlaces>,
    pages: Arc<dyn SesPages>,
    notes: Notes,
    redfish: Result<Option<HttpsRedfish>, String>,
    processor: tokio::sync::OnceCell<DeviceModel>,
}

impl Hardware {
    /// The devices of `node`, which is this machine. `pools` says which pools it serves; `state` is a folder of its own, outside the boot
    /// slots, for what must not be forgotten; `redfish` is the way to its own service processor, if it has one, or why there is none by
    /// its settings.
    pub fn new(
        host: Host,
        node: NodeName,
        settings: InventorySettings,
        pools: Arc<dyn PoolPlaces>,
        state: &Path,
        redfish: Result<Option<HttpsRedfish>, RedfishError>,
    ) -> Self {
        Self {
            host,
            node,
            settings,
            pools,
            pages: Arc::new(ScsiPages),
            notes: Notes::new(state.join("offline")),
            redfish: redfish.map_err(|error| error_chain(&error)),
            processor: tokio::sync::OnceCell::new(),
        }
    }

    /// The same, asking enclosures in another way: for tests.
    #[must_use]
    pub fn with_pages(self, pages: Arc<dyn SesPages>) -> Self {
        Self { pages, ..self }
    }

    async fn disks(&self) -> Answer<Vec<Disk>> {
        disks(&self.host, &self.settings.local_disks).await
    }

    async fn disk(&self, serial: &DiskSerial) -> Answer<Disk> {
        let disks = self.disks().await?;
        let found = disks.into_iter().find(|disk| disk.serial == *serial);
        found.ok_or_else(|| unavailable(format!("disk {serial} is not seen here")))
    }

    async fn seen_groups(&self) -> Answer<Vec<Seen>> {
        let (places, disks) = (self.pools.pools().await?, self.disks().await?);
        groups::groups(&self.host, &self.node, (&places, &disks, &self.notes)).await
    }

    async fn processes(&self) -> Answer<Vec<Process>> {
        processes(&self.host, self.pages.as_ref()).await
    }

    /// The block device to read a drive through.
    async fn block(&self, serial: &DiskSerial) -> Answer<PathBuf> {
        let disk = self.disk(serial).await?;
        let way = disk
            .way()
            .ok_or_else(|| unavailable(format!("disk {serial} has no path that works")))?;
        // An NVMe drive is read through its namespace, whatever controller leads there.
        let name = match disk.blocks.contains(&way.device) {
            true => Some(&way.device),
            false => disk.blocks.first(),
        };
        let name = name.ok_or_else(|| unavailable(format!("disk {serial} has no block device")))?;
        Ok(self.host.path(Path::new("/dev").join(name)))
    }
}

/// Opens a device without waiting for what it may be waiting for, such as a medium.
fn open(path: &Path) -> Answer<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_NONBLOCK);
    // A generic SCSI device takes commands that write only when it is open for writing.
    let opened = options.write(true).open(path);
    opened.map_err(|error| unavailable(format!("{} cannot be opened: {error}", path.display())))
}

/// How the kernel's clock is kept.
pub(crate) fn kernel_clock() -> Answer<KernelClock> {
    let (synchronized, offset_us) =
        ioctl::clock().map_err(|errno| unavailable(format!("adjtimex: {errno}")))?;
    Ok(KernelClock {
        synchronized,
        offset_us,
    })
}

#[async_trait]
impl Devices for Hardware {
    async fn drives(&self) -> Result<Vec<Drive>, PlatformError> {
        let (disks, groups, processes) =
            tokio::join!(self.disks(), self.seen_groups(), self.processes());
        let (disks, groups) = (disks?, groups?);
        let mut drives = Vec::new();
        for disk in &disks {
            drives.push(drives::drive(
                disk,
                &groups,
                processes.as_deref(),
                &self.notes,
            )?);
        }
        Ok(drives)
    }

    async fn groups(&self) -> Result<Vec<Group>, PlatformError> {
        Ok(self.seen_groups().await?.iter().map(Seen::told).collect())
    }

    async fn modules(&self) -> Result<Vec<ShelfIoModule>, PlatformError> {
        let (processes, groups, disks) =
            tokio::join!(self.processes(), self.seen_groups(), self.disks());
        drives::modules(&processes?, &groups?, &disks?)
    }

    async fn processor(&self) -> Result<Option<Processor>, PlatformError> {
        let Some(redfish) = self.redfish.as_ref().map_err(unavailable)? else {
            return Ok(None);
        };
        // A service processor does not change its type; while it starts anew it would not say it.
        let model = self.processor.get_or_try_init(|| model_of(redfish)).await?;
        Ok(Some(Processor {
            node: self.node.clone(),
            model: model.clone(),
        }))
    }

    async fn take_offline(&self, request: &OfflineRequest) -> Result<(), PlatformError> {
        self.leave(request).await
    }

    async fn bring_online(&self, request: &OfflineRequest) -> Result<(), PlatformError> {
        self.come_back(request).await
    }

    async fn read_test(&self, drive: &DiskSerial) -> Result<(), PlatformError> {
        let path = self.block(drive).await?;
        let what = format!("the read test of disk {drive}");
        let test = move |_: &Host| read_test::read_test(&path);
        blocking_for(&self.host, &what, READ_TEST, test).await
    }

    fn scsi(&self, target: &ScsiTarget) -> Box<dyn ScsiDevice + '_> {
        Box::new(ScsiSpoken::new(self, target.clone()))
    }

    fn nvme(&self, drive: &DiskSerial) -> Box<dyn NvmeAdmin + '_> {
        Box::new(NvmeDrive::new(self, drive.clone()))
    }

    fn redfish(&self) -> Box<dyn Redfish + '_> {
        match &self.redfish {
            Ok(Some(redfish)) => Box::new(redfish.clone()),
            Ok(None) => Box::new(NoRedfish::not_configured()),
            Err(why) => Box::new(NoRedfish::unusable(why)),
        }
    }
}
