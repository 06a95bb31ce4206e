//! The traits of devices over anything that carries a command to a machine.

use async_trait::async_trait;
use evenkeel_model::DiskSerial;

use super::{Command, DeviceCall, DeviceReply, Port, Reply, Transport};
use crate::devices::{
    Devices, Drive, Group, NvmeAdmin, NvmeCommand, NvmeCompletion, NvmeReset, OfflineRequest,
    Processor, Redfish, RedfishReply, RedfishRequest, ScsiCommand, ScsiDevice, ScsiReply,
    ScsiTarget, ShelfIoModule,
};
use crate::traits::PlatformError;

async fn ask<T: Transport>(port: &Port<T>, call: DeviceCall) -> Result<DeviceReply, PlatformError> {
    match port.transport.call(Command::Device(call)).await? {
        Reply::Device(reply) => Ok(reply),
        other => Err(mismatch(&other)),
    }
}

fn mismatch(reply: &impl std::fmt::Debug) -> PlatformError {
    PlatformError::Unavailable(format!("a call of a device was answered with {reply:?}"))
}

macro_rules! ask {
    ($port:expr, $call:expr, $answer:ident) => {
        match ask($port, $call).await? {
            DeviceReply::$answer(value) => Ok(value),
            other => Err(mismatch(&other)),
        }
    };
}

async fn act<T: Transport>(port: &Port<T>, call: DeviceCall) -> Result<(), PlatformError> {
    match ask(port, call).await? {
        DeviceReply::Done => Ok(()),
        other => Err(mismatch(&other)),
    }
}

#[async_trait]
impl<T: Transport> Devices for Port<T> {
    async fn drives(&self) -> Result<Vec<Drive>, PlatformError> {
        ask!(self, DeviceCall::Drives, Drives)
    }
    async fn groups(&self) -> Result<Vec<Group>, PlatformError> {
        ask!(self, DeviceCall::Groups, Groups)
    }
    async fn modules(&self) -> Result<Vec<ShelfIoModule>, PlatformError> {
        ask!(self, DeviceCall::Modules, Modules)
    }
    async fn processor(&self) -> Result<Option<Processor>, PlatformError> {
        ask!(self, DeviceCall::Processor, Processor)
    }

    async fn take_offline(&self, request: &OfflineRequest) -> Result<(), PlatformError> {
        act(self, DeviceCall::TakeOffline(request.clone())).await
    }
    async fn bring_online(&self, request: &OfflineRequest) -> Result<(), PlatformError> {
        act(self, DeviceCall::BringOnline(request.clone())).await
    }
    async fn read_test(&self, drive: &DiskSerial) -> Result<(), PlatformError> {
        let drive = drive.clone();
        act(self, DeviceCall::ReadTest { drive }).await
    }

    fn scsi(&self, target: &ScsiTarget) -> Box<dyn ScsiDevice + '_> {
        Box::new(Behind {
            port: self,
            target: target.clone(),
        })
    }
    fn nvme(&self, drive: &DiskSerial) -> Box<dyn NvmeAdmin + '_> {
        Box::new(Behind {
            port: self,
            target: drive.clone(),
        })
    }
    fn redfish(&self) -> Box<dyn Redfish + '_> {
        Box::new(Behind {
            port: self,
            target: (),
        })
    }
}

/// A device behind a node's platform.
struct Behind<'a, T, D> {
    port: &'a Port<T>,
    target: D,
}

#[async_trait]
impl<T: Transport> ScsiDevice for Behind<'_, T, ScsiTarget> {
    async fn execute(&self, command: &ScsiCommand) -> Result<ScsiReply, PlatformError> {
        let call = DeviceCall::Scsi {
            target: self.target.clone(),
            command: command.clone(),
        };
        ask!(self.port, call, Scsi)
    }
}

#[async_trait]
impl<T: Transport> NvmeAdmin for Behind<'_, T, DiskSerial> {
    async fn submit(&self, command: &NvmeCommand) -> Result<NvmeCompletion, PlatformError> {
        let call = DeviceCall::Nvme {
            drive: self.target.clone(),
            command: command.clone(),
        };
        ask!(self.port, call, Nvme)
    }
    async fn reset(&self, reset: NvmeReset) -> Result<(), PlatformError> {
        let drive = self.target.clone();
        act(self.port, DeviceCall::NvmeReset { drive, reset }).await
    }
}

#[async_trait]
impl<T: Transport> Redfish for Behind<'_, T, ()> {
    async fn send(&self, request: &RedfishRequest) -> Result<RedfishReply, PlatformError> {
        ask!(self.port, DeviceCall::Redfish(request.clone()), Redfish)
    }
}
