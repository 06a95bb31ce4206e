//! A SAS or SATA drive behind SCSI: WRITE BUFFER (SPC-5, 6.49).
//!
//! The drive is asked to keep the image (mode 0Eh) until it is told to run it (mode 0Fh), so that writing and
//! starting are two steps. One that does not know this gets the image by mode 07h and starts with its last piece.

use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use evenkeel_platform::devices::{ScsiData, ScsiDevice, opcode};

use crate::driver::{Driver, DriverError, Identity, Written};
use crate::flash::Told;
use crate::image::Image;
use crate::limits::Limits;
use crate::patience::patiently;
use crate::pieces::{Piece, TakesPieces, send_all};
use crate::sense::{LONG_MS, SHORT_MS, Sense, Trouble, execute, inquiry, test_unit_ready};

/// Download microcode with offsets, save, and activate.
const SAVE: u8 = 0x07;
/// Download microcode with offsets, save, and defer activation.
const DEFER: u8 = 0x0e;
/// Activate deferred microcode.
const ACTIVATE: u8 = 0x0f;
/// What every drive takes in one piece.
const PIECE: usize = 4096;

const ILLEGAL_REQUEST: u8 = 0x05;
const INVALID_FIELD_IN_CDB: u8 = 0x24;
const SEQUENCE_ERROR: u8 = 0x2c;

/// Drives a disk by SCSI commands.
pub(crate) struct ScsiDrive<'a> {
    device: Box<dyn ScsiDevice + 'a>,
    limits: &'a Limits,
    mode: AtomicU8,
}

impl<'a> ScsiDrive<'a> {
    pub(crate) fn new(device: Box<dyn ScsiDevice + 'a>, limits: &'a Limits) -> Self {
        Self {
            device,
            limits,
            mode: AtomicU8::new(DEFER),
        }
    }

    fn mode(&self) -> u8 {
        self.mode.load(Ordering::Relaxed)
    }

    async fn send_image(&self, image: &Image, told: &Told<'_>) -> Result<(), DriverError> {
        match send_all(self, image, told, self.limits).await {
            Err(DriverError::Unknown(_)) if self.mode() == DEFER => {
                self.mode.store(SAVE, Ordering::Relaxed);
                send_all(self, image, told, self.limits).await
            }
            ended => ended,
        }
    }
}

fn write_buffer(mode: u8, offset: usize, length: usize) -> Vec<u8> {
    let (offset, length) = (offset.to_be_bytes(), length.to_be_bytes());
    let mut cdb = vec![opcode::WRITE_BUFFER, mode, 0];
    cdb.extend(&offset[offset.len() - 3..]);
    cdb.extend(&length[length.len() - 3..]);
    cdb.push(0);
    cdb
}

/// What a refusal of a piece means.
fn refusal(sense: Sense, piece: Piece<'_>, mode: u8) -> DriverError {
    let text = sense.to_string();
    match (sense.key, sense.code) {
        (ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB) if piece.offset > 0 => DriverError::Lost(text),
        (ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB) => {
            DriverError::Unknown(format!("WRITE BUFFER in mode {mode:02X}h: {text}"))
        }
        (ILLEGAL_REQUEST, SEQUENCE_ERROR) => DriverError::Lost(text),
        (_, _) => sense.meaning(),
    }
}

#[async_trait]
impl TakesPieces for ScsiDrive<'_> {
    fn size(&self) -> usize {
        PIECE
    }

    async fn send(&self, piece: Piece<'_>) -> Result<(), DriverError> {
        let mode = self.mode();
        let cdb = write_buffer(mode, piece.offset, piece.bytes.len());
        let data = ScsiData::Out(piece.bytes.to_vec());
        // The last piece is answered when the image is in the flash.
        let timeout = if piece.is_last() { LONG_MS } else { SHORT_MS };
        match execute(self.device.as_ref(), cdb, data, timeout).await {
            Ok(_) => Ok(()),
            // Said instead of "good" by drives that are proud of it.
            Err(Trouble::Sense(sense)) if sense.says_changed() && piece.is_last() => Ok(()),
            Err(Trouble::Sense(sense)) => Err(refusal(sense, piece, mode)),
            Err(Trouble::Driver(error)) => Err(error),
        }
    }

    async fn answers(&self) -> Result<(), DriverError> {
        self.ready().await
    }
}

#[async_trait]
impl Driver for ScsiDrive<'_> {
    async fn identify(&self) -> Result<Identity, DriverError> {
        inquiry(self.device.as_ref()).await
    }

    async fn ready(&self) -> Result<(), DriverError> {
        test_unit_ready(self.device.as_ref()).await
    }

    async fn write(&self, image: &Image, told: &Told<'_>) -> Result<Written, DriverError> {
        self.send_image(image, told).await?;
        Ok(match self.mode() {
            DEFER => Written::Staged,
            _ => Written::Starts,
        })
    }

    async fn activate(&self) -> Result<(), DriverError> {
        let Limits {
            no_progress, poll, ..
        } = *self.limits;
        let device = self.device.as_ref();
        let ask = || async {
            let cdb = write_buffer(ACTIVATE, 0, 0);
            match execute(device, cdb, ScsiData::None, LONG_MS).await {
                // Silence, or nothing left to activate: it may have begun. What runs afterwards tells.
                Ok(_) | Err(Trouble::Driver(DriverError::Silent(_))) => Ok(()),
                Err(Trouble::Sense(sense)) if sense.code == SEQUENCE_ERROR => Ok(()),
                Err(Trouble::Sense(sense)) if sense.key == 0x06 => {
                    Err(DriverError::Busy(sense.to_string()))
                }
                Err(trouble) => Err(trouble.meaning()),
            }
        };
        patiently(no_progress, poll, ask).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_buffer_is_as_the_standard_has_it() {
        assert_eq!(
            write_buffer(DEFER, 0x01_0203, 0x1000),
            [0x3b, 0x0e, 0, 1, 2, 3, 0, 0x10, 0, 0]
        );
    }
}
