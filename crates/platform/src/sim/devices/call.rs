//! Which calls of devices act, and what of them is remembered.

use crate::devices::{RedfishBody, ScsiData};
use crate::wire::DeviceCall;

impl DeviceCall {
    /// Whether it acts. A command to a device counts as an act: the hardware does not tell them apart.
    pub fn acts(&self) -> bool {
        match self {
            Self::Drives | Self::Groups | Self::Modules | Self::Processor => false,
            Self::TakeOffline(_)
            | Self::BringOnline(_)
            | Self::ReadTest { .. }
            | Self::Scsi { .. }
            | Self::Nvme { .. }
            | Self::NvmeReset { .. }
            | Self::Redfish(_) => true,
        }
    }

    /// The same without the bytes of an image, for the hardware's memory of what was asked.
    #[must_use]
    pub(in crate::sim) fn without_data(&self) -> Self {
        let mut call = self.clone();
        match &mut call {
            Self::Scsi { command, .. } => forget(&mut command.data),
            Self::Nvme { command, .. } => forget(&mut command.data),
            Self::Redfish(request) => {
                if let RedfishBody::Multipart { image, .. } = &mut request.body {
                    *image = Default::default();
                }
            }
            Self::Drives
            | Self::Groups
            | Self::Modules
            | Self::Processor
            | Self::TakeOffline(_)
            | Self::BringOnline(_)
            | Self::ReadTest { .. }
            | Self::NvmeReset { .. } => {}
        }
        call
    }
}

fn forget(data: &mut ScsiData) {
    if let ScsiData::Out(bytes) = data {
        bytes.clear();
    }
}
