//! An NVMe drive: Firmware Image Download and Firmware Commit (NVM Express Base Specification 2.0, 3.11).
//!
//! The image goes into a slot that does not run and is not read-only. The commit asks for activation at once
//! where the controller says that it can, else at the next reset; the statuses that mean "committed, and a reset
//! is needed" are no failures: the reset follows, of the kind that the status names.

use async_trait::async_trait;
use evenkeel_model::DeviceModel;
use evenkeel_platform::devices::{
    NvmeAdmin, NvmeCommand, NvmeCompletion, NvmeReset, ScsiData, admin,
};

use crate::driver::{Driver, DriverError, Identity, Written};
use crate::flash::Told;
use crate::image::Image;
use crate::limits::Limits;
use crate::patience::patiently;
use crate::pieces::{Piece, TakesPieces, send_all};
use crate::sense::{LONG_MS, SHORT_MS};

const GRANULE: usize = 4096;

/// Command Interrupted, Namespace Not Ready, and Admin Command Media Not Ready: ask again.
const NOT_NOW: [u16; 3] = [0x021, 0x082, 0x024];
const OVERLAPPING_RANGE: u16 = 0x114;
const CONVENTIONAL_RESET: u16 = 0x10b;
const SUBSYSTEM_RESET: u16 = 0x110;
const CONTROLLER_RESET: u16 = 0x111;
const MAXIMUM_TIME: u16 = 0x112;

/// Replace the slot's image and activate it at the next reset.
const REPLACE: u32 = 1;
/// Activate the slot's image at the next reset.
const ACTIVATE: u32 = 2;
/// Replace the slot's image and activate it at once.
const REPLACE_NOW: u32 = 3;

/// Drives a disk by NVMe admin commands.
pub(crate) struct NvmeDrive<'a> {
    device: Box<dyn NvmeAdmin + 'a>,
    limits: &'a Limits,
}

/// What Identify Controller says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Controller {
    identity: Identity,
    /// Firmware slots.
    slots: u32,
    /// The first of them cannot be written.
    first_is_read_only: bool,
    /// It can activate without a reset.
    at_once: bool,
}

impl<'a> NvmeDrive<'a> {
    pub(crate) fn new(device: Box<dyn NvmeAdmin + 'a>, limits: &'a Limits) -> Self {
        Self { device, limits }
    }

    async fn submit(
        &self,
        opcode: u8,
        dwords: [u32; 6],
        data: ScsiData,
        timeout_ms: u32,
    ) -> Result<NvmeCompletion, DriverError> {
        let command = NvmeCommand {
            opcode,
            namespace: 0,
            dwords,
            data,
            timeout_ms,
        };
        let completion = self.device.submit(&command).await;
        let completion = completion.map_err(DriverError::Silent)?;
        match NOT_NOW.contains(&completion.status) {
            true => Err(DriverError::Busy(text(completion.status))),
            false => Ok(completion),
        }
    }

    async fn look(&self, opcode: u8, dword: u32, length: u32) -> Result<Vec<u8>, DriverError> {
        let dwords = [dword, 0, 0, 0, 0, 0];
        let data = ScsiData::In(length);
        let completion = self.submit(opcode, dwords, data, SHORT_MS).await?;
        match (completion.status, completion.data.len() >= length as usize) {
            (0, true) => Ok(completion.data),
            (0, false) => Err(DriverError::Refused(
                "an answer that is too short".to_owned(),
            )),
            (status, _) => Err(DriverError::Refused(text(status))),
        }
    }

    async fn controller(&self) -> Result<Controller, DriverError> {
        let data = self.look(admin::IDENTIFY, 1, 4096).await?;
        parse_controller(&data)
    }

    /// The slot that gets the image: one that does not run, empty if possible.
    async fn target_slot(&self, controller: &Controller) -> Result<u32, DriverError> {
        const LOG: u32 = 512;
        let length = (LOG / 4 - 1) << 16;
        let log = self.look(admin::GET_LOG_PAGE, length | 0x03, LOG).await?;
        choose_slot(controller, &log)
    }

    async fn commit(&self, slot: u32, action: u32) -> Result<u16, DriverError> {
        let dwords = [action << 3 | slot, 0, 0, 0, 0, 0];
        let none = ScsiData::None;
        let completion = self.submit(admin::FIRMWARE_COMMIT, dwords, none, LONG_MS);
        Ok(completion.await?.status)
    }

    async fn reset(&self, reset: NvmeReset) -> Result<(), DriverError> {
        match self.device.reset(reset).await {
            Ok(()) => Ok(()),
            // It may have begun: what runs afterwards tells.
            Err(error) if error.is_transient() => Ok(()),
            Err(error) => Err(DriverError::NeedsMore(format!(
                "a {reset:?} reset: {error}"
            ))),
        }
    }

    /// Follows what the commit of an image was answered with.
    async fn follow(&self, slot: u32, action: u32, status: u16) -> Result<(), DriverError> {
        match status {
            0 if action == REPLACE_NOW => Ok(()),
            0 | CONTROLLER_RESET => self.reset(NvmeReset::Controller).await,
            SUBSYSTEM_RESET => self.reset(NvmeReset::Subsystem).await,
            CONVENTIONAL_RESET => self.reset(NvmeReset::Conventional).await,
            // The image is in its slot, and activating it at once would take too long.
            MAXIMUM_TIME => match self.commit(slot, ACTIVATE).await? {
                SUBSYSTEM_RESET => self.reset(NvmeReset::Subsystem).await,
                CONVENTIONAL_RESET => self.reset(NvmeReset::Conventional).await,
                0 | CONTROLLER_RESET => self.reset(NvmeReset::Controller).await,
                other => Err(DriverError::Refused(text(other))),
            },
            other => Err(DriverError::Refused(text(other))),
        }
    }
}

fn parse_controller(data: &[u8]) -> Result<Controller, DriverError> {
    let field = |from: usize, to: usize| {
        let bytes = data.get(from..to).unwrap_or_default();
        String::from_utf8_lossy(bytes).trim().to_owned()
    };
    let strange = |error: evenkeel_model::NameError| {
        DriverError::Refused(format!("Identify names no firmware: {error}"))
    };
    // Models have blanks here, and none in the names of firmware files.
    let model = field(24, 64).replace(' ', "_");
    let model: DeviceModel = model.parse().map_err(strange)?;
    let updates = data.get(260).copied().unwrap_or_default();
    Ok(Controller {
        identity: Identity {
            model,
            running: field(64, 72).parse().map_err(strange)?,
        },
        slots: u32::from(updates >> 1 & 7),
        first_is_read_only: updates & 1 == 1,
        at_once: updates & 0x10 != 0,
    })
}

fn choose_slot(controller: &Controller, log: &[u8]) -> Result<u32, DriverError> {
    let active = u32::from(log.first().copied().unwrap_or_default() & 7);
    let first = if controller.first_is_read_only { 2 } else { 1 };
    let empty = |slot: &u32| {
        let at = 8 * *slot as usize;
        let name = log.get(at..at + 8).unwrap_or_default();
        name.iter().all(|byte| matches!(byte, 0 | b' '))
    };
    let spare: Vec<u32> = (first..=controller.slots)
        .filter(|slot| *slot != active)
        .collect();
    let chosen = spare.iter().copied().find(empty).or(spare.first().copied());
    match chosen {
        Some(slot) => Ok(slot),
        // With one slot there is no choice.
        None if first == 1 => Ok(1),
        None => Err(DriverError::Refused(
            "it has no slot that can be written".to_owned(),
        )),
    }
}

fn text(status: u16) -> String {
    let meaning = match status {
        0x106 => "invalid firmware slot",
        0x107 => "invalid firmware image",
        CONVENTIONAL_RESET => "a conventional reset is needed",
        SUBSYSTEM_RESET => "a reset of the subsystem is needed",
        CONTROLLER_RESET => "a reset of the controller is needed",
        MAXIMUM_TIME => "it would take longer than it may",
        0x113 => "activation of this firmware is prohibited",
        OVERLAPPING_RANGE => "overlapping range",
        0x021 | 0x024 | 0x082 => "not now",
        _ => "an error",
    };
    format!("status {status:03X}h, {meaning}")
}

#[async_trait]
impl TakesPieces for NvmeDrive<'_> {
    fn size(&self) -> usize {
        GRANULE
    }

    async fn send(&self, piece: Piece<'_>) -> Result<(), DriverError> {
        let mut bytes = piece.bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let (length, offset) = (bytes.len() as u32 / 4 - 1, piece.offset as u32 / 4);
        let dwords = [length, offset, 0, 0, 0, 0];
        let data = ScsiData::Out(bytes);
        let completion = self.submit(admin::FIRMWARE_DOWNLOAD, dwords, data, SHORT_MS);
        match completion.await?.status {
            0 => Ok(()),
            OVERLAPPING_RANGE => Err(DriverError::Lost(text(OVERLAPPING_RANGE))),
            other => Err(DriverError::Refused(text(other))),
        }
    }

    async fn answers(&self) -> Result<(), DriverError> {
        self.ready().await
    }
}

#[async_trait]
impl Driver for NvmeDrive<'_> {
    async fn identify(&self) -> Result<Identity, DriverError> {
        Ok(self.controller().await?.identity)
    }

    async fn ready(&self) -> Result<(), DriverError> {
        self.controller().await.map(|_| ())
    }

    async fn write(&self, image: &Image, told: &Told<'_>) -> Result<Written, DriverError> {
        send_all(self, image, told, self.limits).await?;
        Ok(Written::Staged)
    }

    async fn activate(&self) -> Result<(), DriverError> {
        let Limits {
            no_progress, poll, ..
        } = *self.limits;
        let controller = patiently(no_progress, poll, || self.controller()).await?;
        let slot = patiently(no_progress, poll, || self.target_slot(&controller)).await?;
        let action = if controller.at_once {
            REPLACE_NOW
        } else {
            REPLACE
        };
        match patiently(no_progress, poll, || self.commit_once(slot, action)).await {
            Ok(status) => self.follow(slot, action, status).await,
            Err(error) => Err(error),
        }
    }
}

impl NvmeDrive<'_> {
    /// A commit that was not answered may have been carried out: the image must be sent anew then.
    async fn commit_once(&self, slot: u32, action: u32) -> Result<u16, DriverError> {
        match self.commit(slot, action).await {
            Err(DriverError::Silent(why)) => Err(DriverError::Lost(why.to_string())),
            answered => answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(slots: u32, first_is_read_only: bool) -> Controller {
        let identity = Identity {
            model: "X1".parse().unwrap(),
            running: "NA01".parse().unwrap(),
        };
        Controller {
            identity,
            slots,
            first_is_read_only,
            at_once: true,
        }
    }

    fn log(active: u8, full: &[usize]) -> Vec<u8> {
        let mut log = vec![0; 512];
        log[0] = active;
        for slot in full {
            log[8 * slot..8 * slot + 4].copy_from_slice(b"NA01");
        }
        log
    }

    #[test]
    fn the_running_slot_is_never_chosen_if_there_is_another() {
        assert_eq!(choose_slot(&controller(3, true), &log(1, &[1])), Ok(2));
        assert_eq!(choose_slot(&controller(3, true), &log(2, &[1, 2])), Ok(3));
        assert_eq!(
            choose_slot(&controller(3, true), &log(2, &[1, 2, 3])),
            Ok(3)
        );
        assert_eq!(
            choose_slot(&controller(3, false), &log(2, &[1, 2, 3])),
            Ok(1)
        );
        assert_eq!(choose_slot(&controller(1, false), &log(1, &[1])), Ok(1));
        assert!(choose_slot(&controller(1, true), &log(1, &[1])).is_err());
    }

    #[test]
    fn identify_is_read_where_the_specification_puts_it() {
        let mut data = vec![0; 4096];
        data[24..64].fill(b' ');
        data[24..33].copy_from_slice(b"X4011 LAN");
        data[64..72].copy_from_slice(b"NA02    ");
        data[260] = 0x17;
        let controller = parse_controller(&data).unwrap();
        assert_eq!(controller.identity.model.as_str(), "X4011_LAN");
        assert_eq!(controller.identity.running.as_str(), "NA02");
        assert_eq!((controller.slots, controller.first_is_read_only), (3, true));
        assert!(controller.at_once);
    }
}
