//! Devices that are found by who they are, whenever they are spoken to: a reset may give them another name.

use std::path::PathBuf;

use async_trait::async_trait;
use evenkeel_model::DiskSerial;
use tokio::sync::Mutex;

use super::{Hardware, NvmeFile, ScsiFile};
use crate::Host;
use crate::look::{Answer, blocking, entries, refused, unavailable};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{
    DriveTransport, NvmeAdmin, NvmeCommand, NvmeCompletion, NvmeReset, ScsiCommand, ScsiDevice,
    ScsiReply, ScsiTarget,
};

/// A SCSI device of this machine.
pub(super) struct ScsiSpoken<'a> {
    hardware: &'a Hardware,
    target: ScsiTarget,
    /// Where it was found last; forgotten when it does not answer.
    found: Mutex<Option<PathBuf>>,
}

impl<'a> ScsiSpoken<'a> {
    pub(super) fn new(hardware: &'a Hardware, target: ScsiTarget) -> Self {
        Self {
            hardware,
            target,
            found: Mutex::new(None),
        }
    }

    async fn find(&self) -> Answer<PathBuf> {
        match &self.target {
            ScsiTarget::Drive(serial) => self.drive(serial).await,
            ScsiTarget::Module { shelf, module } => {
                let processes = self.hardware.processes().await?;
                let found = processes.into_iter().find(|process| {
                    let said = process.said.as_ref();
                    said.is_ok_and(|it| it.id == *shelf && it.through.as_ref() == Some(module))
                });
                let found = found.ok_or_else(|| {
                    unavailable(format!(
                        "module {module} of shelf {shelf} does not answer here"
                    ))
                })?;
                Ok(self.hardware.host.path(found.device))
            }
        }
    }

    /// The generic device of a path that works; the disk itself, where there is none.
    async fn drive(&self, serial: &DiskSerial) -> Answer<PathBuf> {
        let disk = self.hardware.disk(serial).await?;
        if disk.transport != DriveTransport::Scsi {
            return Err(refused(format!("disk {serial} does not speak SCSI")));
        }
        let way = disk.way();
        let way =
            way.ok_or_else(|| unavailable(format!("disk {serial} has no path that works")))?;
        let name = way.device.clone();
        let find = move |host: &Host| {
            let generic = format!("/sys/class/block/{name}/device/scsi_generic");
            let generic = entries(host, generic)?.into_iter().next();
            Ok(host.path(format!("/dev/{}", generic.unwrap_or(name))))
        };
        blocking(&self.hardware.host, "a disk's generic device", find).await
    }
}

#[async_trait]
impl ScsiDevice for ScsiSpoken<'_> {
    async fn execute(&self, command: &ScsiCommand) -> Result<ScsiReply, PlatformError> {
        let mut found = self.found.lock().await;
        let path = match found.take() {
            Some(path) => path,
            None => self.find().await?,
        };
        let reply = ScsiFile::new(&path).execute(command).await?;
        *found = Some(path);
        Ok(reply)
    }
}

/// An NVMe drive of this machine.
pub(super) struct NvmeDrive<'a> {
    hardware: &'a Hardware,
    drive: DiskSerial,
    /// The controller that was found last. The pieces of an image must all go through the same one; it is forgotten when it does not
    /// answer, and then all is sent anew.
    found: Mutex<Option<String>>,
}

impl<'a> NvmeDrive<'a> {
    pub(super) fn new(hardware: &'a Hardware, drive: DiskSerial) -> Self {
        Self {
            hardware,
            drive,
            found: Mutex::new(None),
        }
    }

    async fn find(&self) -> Answer<String> {
        let disk = self.hardware.disk(&self.drive).await?;
        if disk.transport != DriveTransport::Nvme {
            return Err(refused(format!("disk {} does not speak NVMe", self.drive)));
        }
        let way = disk.way().map(|way| way.device.clone());
        way.ok_or_else(|| unavailable(format!("disk {} has no path that works", self.drive)))
    }
}

#[async_trait]
impl NvmeAdmin for NvmeDrive<'_> {
    async fn submit(&self, command: &NvmeCommand) -> Result<NvmeCompletion, PlatformError> {
        let mut found = self.found.lock().await;
        let name = match found.take() {
            Some(name) => name,
            None => self.find().await?,
        };
        let file = NvmeFile::new(self.hardware.host.clone(), &name);
        let completion = file.submit(command).await?;
        *found = Some(name);
        Ok(completion)
    }

    async fn reset(&self, reset: NvmeReset) -> Result<(), PlatformError> {
        let mut found = self.found.lock().await;
        let name = match found.take() {
            Some(name) => name,
            None => self.find().await?,
        };
        let file = NvmeFile::new(self.hardware.host.clone(), &name);
        file.reset(reset).await
    }
}
