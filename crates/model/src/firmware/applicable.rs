//! For which device a firmware package is something new. A package that is not is skipped with a reason; that is
//! never a failure.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::id::{DeviceModel, FirmwareRevision};

use super::{FirmwareKind, FirmwareManifest, FirmwareOffer, FirmwareSummary};

/// A device as it is known to be. What could not be asked is not here: nothing is decided about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFirmware {
    /// Which device it is, for people: a serial, a shelf and its module, a node.
    pub device: String,
    /// What it takes.
    pub kind: FirmwareKind,
    /// Its model; none for a node's disk qualification package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<DeviceModel>,
    /// The revision that it runs; none where there is none yet, as of a disk qualification package on a new node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<FirmwareRevision>,
    /// A disk that is in no group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spare: bool,
}

/// What a package means to one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Applicability {
    /// It brings a newer revision.
    Apply {
        /// What the device runs; none where there is nothing yet.
        from: Option<FirmwareRevision>,
        /// What it will run.
        to: FirmwareRevision,
    },
    /// It is not for this device, or brings nothing newer.
    Skip {
        /// Why.
        reason: SkipReason,
    },
}

/// Why a device is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum SkipReason {
    /// The package is for devices of another kind.
    #[error("the package holds {package}, this takes {device}")]
    OtherKind {
        /// The package's kind.
        package: FirmwareKind,
        /// The device's.
        device: FirmwareKind,
    },
    /// The package has no image for the device's model.
    #[error("the package holds no image for model {model}")]
    OtherModel {
        /// The device's model, or `-`.
        model: String,
    },
    /// It runs what the package brings, or something newer.
    #[error("it runs {running}, and the package brings {offered}, which is not newer")]
    NotNewer {
        /// What it runs.
        running: FirmwareRevision,
        /// What the package brings.
        offered: FirmwareRevision,
    },
}

impl FirmwareSummary {
    /// What the package means to a device.
    pub fn applicability(&self, device: &DeviceFirmware) -> Applicability {
        let skip = |reason| Applicability::Skip { reason };
        if device.kind != self.kind {
            let (package, device) = (self.kind, device.kind);
            return skip(SkipReason::OtherKind { package, device });
        }
        let for_it = |offer: &&FirmwareOffer| offer.model == device.model;
        let Some(offer) = self.offers.iter().find(for_it) else {
            let model = device.model.as_ref();
            let model = model.map_or_else(|| "-".to_owned(), DeviceModel::to_string);
            return skip(SkipReason::OtherModel { model });
        };
        let offered = offer.revision.clone();
        match &device.revision {
            Some(running) if running.order(&offered) != Ordering::Less => {
                let running = running.clone();
                skip(SkipReason::NotNewer { running, offered })
            }
            Some(_) | None => Applicability::Apply {
                from: device.revision.clone(),
                to: offered,
            },
        }
    }
}

impl FirmwareManifest {
    /// What the package means to each of these devices, in their order.
    pub fn applicable<'a>(
        &self,
        devices: impl IntoIterator<Item = &'a DeviceFirmware>,
    ) -> Vec<(&'a DeviceFirmware, Applicability)> {
        let summary = self.summary();
        let judged = |device| (device, summary.applicability(device));
        devices.into_iter().map(judged).collect()
    }
}
