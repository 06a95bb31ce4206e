//! Why an order did not reach all devices.

use std::fmt::{self, Write};

use evenkeel_model::{DeviceModel, error_chain};
use evenkeel_platform::devices::DeviceId;

use crate::error::{
    FirmwareError, IMAGE_COPY_FAILED, IMAGE_OPEN_FAILED, NODE_UPDATE_FAILED, WORKER_START_FAILED,
};
use crate::journal::JournalError;

use super::parts::ImagesError;

/// So many devices are named in a message; of the others their number is told.
const NAMED: usize = 4;

/// A device that did not get its firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFailure {
    /// Which.
    pub device: DeviceId,
    /// Why, as a fragment of a sentence.
    pub why: String,
    /// What an operator should do.
    pub action: String,
    /// Something was begun at the device.
    pub begun: bool,
    /// Another try may succeed without anyone's doing.
    pub transient: bool,
}

impl DeviceFailure {
    pub(super) fn of(device: DeviceId, error: &FirmwareError) -> Self {
        Self {
            device,
            why: error_chain(error),
            action: error.action(),
            begun: error.code() == NODE_UPDATE_FAILED,
            transient: error.is_transient(),
        }
    }
}

/// Why an order failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// The package, or an image out of it, was not had.
    #[error("the firmware cannot be read: {0}")]
    Images(ImagesError),
    /// The node's hardware services did not say what there is.
    #[error("{}", error_chain(.0))]
    Unseen(FirmwareError),
    /// The operation was canceled, or is over, before so many devices were begun.
    #[error("canceled before {0} more were begun")]
    Canceled(usize),
    /// One member of the pair serves for both, and goes on to.
    #[error("the pair is not whole: {0}")]
    Away(String),
    /// A step could not be recorded: nothing more is done.
    #[error("nothing is done without a record of it: {0}")]
    Journal(JournalError),
    /// The disk qualification package was not put in place.
    #[error("{}", error_chain(.0))]
    Qualification(FirmwareError),
    /// Devices failed; all others that could be brought up to date are.
    #[error("{}", Told(devices, stopped))]
    Devices {
        /// Which, and why.
        devices: Vec<DeviceFailure>,
        /// Models of which too many failed, and how many of their disks were left as they are.
        stopped: Vec<(DeviceModel, usize)>,
    },
}

/// The message of an order whose devices failed.
struct Told<'a>(&'a [DeviceFailure], &'a [(DeviceModel, usize)]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(devices, stopped) = self;
        for (number, failed) in devices.iter().take(NAMED).enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            // Most of them name the device by themselves.
            let device = failed.device.to_string();
            match failed.why.starts_with(&device) {
                true => f.write_str(&failed.why)?,
                false => write!(f, "{device}: {}", failed.why)?,
            }
        }
        if let Some(more @ 1..) = devices.len().checked_sub(NAMED) {
            write!(f, "; and {more} more")?;
        }
        for (model, left) in *stopped {
            write!(f, "; {left} more of model {model} were left as they are")?;
        }
        Ok(())
    }
}

impl WorkError {
    /// Whether the same order may succeed later without anyone's doing. Where any device failed for good, none is tried
    /// again: so many of a model may fail, and no more.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Images(error) => error.is_transient(),
            Self::Unseen(error) | Self::Qualification(error) => error.is_transient(),
            Self::Journal(_) | Self::Away(_) => true,
            Self::Canceled(_) => false,
            Self::Devices { devices, .. } => devices.iter().all(|failed| failed.transient),
        }
    }

    /// The API's code.
    pub fn code(&self) -> u32 {
        match self {
            Self::Images(ImagesError::Gone(_) | ImagesError::Refused(_)) => IMAGE_OPEN_FAILED,
            Self::Images(ImagesError::Unreadable(_)) => IMAGE_COPY_FAILED,
            Self::Unseen(_) | Self::Journal(_) | Self::Away(_) | Self::Canceled(_) => {
                WORKER_START_FAILED
            }
            Self::Qualification(error) => error.code(),
            Self::Devices { devices, .. } => match devices.iter().any(|failed| failed.begun) {
                true => NODE_UPDATE_FAILED,
                false => WORKER_START_FAILED,
            },
        }
    }

    /// What an operator should do.
    pub fn action(&self) -> String {
        match self {
            Self::Images(ImagesError::Refused(_)) => {
                "Bring the firmware in again, signed with a key that is trusted.".to_owned()
            }
            Self::Images(_) => {
                "None, if another node holds the firmware; else bring it in again.".to_owned()
            }
            Self::Unseen(error) | Self::Qualification(error) => error.action(),
            Self::Canceled(_) => "Bring the firmware in again for them.".to_owned(),
            Self::Away(_) => "Bring the node back into service, and give it back.".to_owned(),
            Self::Journal(_) => "Free space on the node's root volume.".to_owned(),
            Self::Devices { devices, .. } => actions(devices),
        }
    }
}

/// What is to be done about the devices that are named, each thing once.
fn actions(devices: &[DeviceFailure]) -> String {
    let mut told: Vec<&str> = Vec::new();
    let mut text = String::new();
    for failed in devices.iter().take(NAMED) {
        if told.contains(&failed.action.as_str()) {
            continue;
        }
        if !told.is_empty() {
            text.push(' ');
        }
        let _ = text.write_str(&failed.action);
        told.push(&failed.action);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(number: usize, transient: bool) -> DeviceFailure {
        let serial = format!("D{number}").parse().unwrap();
        DeviceFailure {
            device: DeviceId::Drive(serial),
            why: "it does not answer".to_owned(),
            action: "Replace it.".to_owned(),
            begun: false,
            transient,
        }
    }

    #[test]
    fn a_message_names_the_first_and_counts_the_others() {
        let error = WorkError::Devices {
            devices: (0..6).map(|number| failed(number, number > 0)).collect(),
            stopped: vec![("X423".parse().unwrap(), 3)],
        };
        let text = error.to_string();
        assert!(
            text.starts_with("disk D0: it does not answer; disk D1: "),
            "{text}"
        );
        assert!(
            text.ends_with("; and 2 more; 3 more of model X423 were left as they are"),
            "{text}"
        );
        assert_eq!(error.action(), "Replace it.");
        // One that failed for good is enough.
        assert!(!error.is_transient());
        assert_eq!(error.code(), WORKER_START_FAILED);
    }

    #[test]
    fn an_image_that_is_not_had_has_its_codes() {
        let gone = WorkError::Images(ImagesError::Gone("it was set aside".to_owned()));
        assert_eq!((gone.code(), gone.is_transient()), (2_228_325, true));
        let refused = WorkError::Images(ImagesError::Refused("its key was revoked".to_owned()));
        assert_eq!((refused.code(), refused.is_transient()), (2_228_325, false));
        let unread = WorkError::Images(ImagesError::Unreadable("an error of the disk".to_owned()));
        assert_eq!((unread.code(), unread.is_transient()), (2_228_326, true));
    }
}
