//! An I/O module of a shelf: the download microcode control and status diagnostic pages (SES-4, 6.1.19–20).

use async_trait::async_trait;
use evenkeel_platform::devices::{ScsiData, ScsiDevice, opcode};

use crate::driver::{Driver, DriverError, Identity, Written};
use crate::flash::Told;
use crate::image::Image;
use crate::limits::Limits;
use crate::patience::patiently;
use crate::pieces::{Piece, TakesPieces, send_all};
use crate::sense::{LONG_MS, SHORT_MS, Trouble, execute, inquiry, test_unit_ready};

/// Download microcode.
const PAGE: u8 = 0x0e;
/// Download microcode with offsets, save, and defer activation.
const DEFER: u8 = 0x0e;
/// Activate deferred microcode.
const ACTIVATE: u8 = 0x0f;
const PIECE: usize = 4096;

/// Drives a shelf's module through its enclosure process.
pub(crate) struct Enclosure<'a> {
    device: Box<dyn ScsiDevice + 'a>,
    limits: &'a Limits,
}

/// The status page, of the primary subenclosure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    generation: u32,
    code: u8,
    additional: u8,
}

impl Status {
    fn parse(page: &[u8]) -> Option<Self> {
        let generation = page.get(4..8)?.try_into().ok()?;
        let mut descriptors = page.get(8..)?.chunks_exact(16);
        let primary = descriptors.find(|descriptor| descriptor[1] == 0)?;
        (page[0] == PAGE).then_some(Self {
            generation: u32::from_be_bytes(generation),
            code: primary[2],
            additional: primary[3],
        })
    }
}

/// What a status code says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Says {
    /// It awaits more, or nothing was begun.
    Open,
    /// It is putting the image away.
    Storing,
    /// The image is whole.
    Whole(Written),
    /// It is whole, and runs only after more than we may do.
    Needs(&'static str),
    /// It is gone; sending it again may help.
    Lost(String),
    /// It is not for this module.
    Refused(String),
}

fn says(status: Status) -> Says {
    let text = |what: &str| {
        let Status {
            code, additional, ..
        } = status;
        format!("status {code:02X}h/{additional:02X}h, {what}")
    };
    match status.code {
        0x00 | 0x01 => Says::Open,
        0x02 | 0x03 => Says::Storing,
        0x10 => Says::Whole(Written::Starts),
        0x11 => Says::Needs("a hard reset of the module"),
        0x12 => Says::Needs("the module's power was cycled"),
        0x13 => Says::Whole(Written::Staged),
        0x80 => Says::Lost(text("a field of the page is wrong")),
        0x81 => Says::Refused(text("the image is wrong")),
        0x82 => Says::Lost(text("a timeout")),
        0x83 => Says::Lost(text(
            "an internal error: it needs an image before any reset",
        )),
        0x84 => Says::Lost(text("an internal error")),
        0x85 => Says::Lost(text("nothing to activate")),
        _ => Says::Refused(text("a vendor's code")),
    }
}

fn control_page(status: Status, mode: u8, piece: Option<Piece<'_>>) -> Vec<u8> {
    let (offset, bytes, total) = match piece {
        Some(piece) => (piece.offset, piece.bytes, piece.total),
        None => (0, &[][..], 0),
    };
    let mut page = vec![PAGE, 0, 0, 0];
    page.extend(status.generation.to_be_bytes());
    page.extend([mode, 0, 0, 0]);
    for number in [offset, total, bytes.len()] {
        page.extend((number as u32).to_be_bytes());
    }
    page.extend(bytes);
    page.resize(page.len().next_multiple_of(4), 0);
    let length = (page.len() - 4) as u16;
    page[2..4].copy_from_slice(&length.to_be_bytes());
    page
}

impl<'a> Enclosure<'a> {
    pub(crate) fn new(device: Box<dyn ScsiDevice + 'a>, limits: &'a Limits) -> Self {
        Self { device, limits }
    }

    async fn status(&self) -> Result<Status, DriverError> {
        const ROOM: u16 = 512;
        let [high, low] = ROOM.to_be_bytes();
        let cdb = vec![opcode::RECEIVE_DIAGNOSTIC, 1, PAGE, high, low, 0];
        let room = ScsiData::In(u32::from(ROOM));
        let page = execute(self.device.as_ref(), cdb, room, SHORT_MS).await;
        let page = page.map_err(Trouble::meaning)?;
        let strange = || DriverError::Refused("a status page that says nothing".to_owned());
        Status::parse(&page).ok_or_else(strange)
    }

    async fn send_page(&self, page: Vec<u8>) -> Result<(), Trouble> {
        let length = (page.len() as u16).to_be_bytes();
        // PF: the page is of the standard's format.
        let cdb = vec![opcode::SEND_DIAGNOSTIC, 0x10, 0, length[0], length[1], 0];
        let sent = execute(self.device.as_ref(), cdb, ScsiData::Out(page), LONG_MS).await;
        sent.map(|_| ())
    }

    /// Waits until the image is put away.
    async fn stored(&self) -> Result<Written, DriverError> {
        match says(self.status().await?) {
            Says::Whole(written) => Ok(written),
            Says::Storing => Err(DriverError::Busy("it is putting the image away".to_owned())),
            Says::Open => Err(DriverError::Lost("it awaits more of the image".to_owned())),
            Says::Needs(what) => Err(DriverError::NeedsMore(what.to_owned())),
            Says::Lost(why) => Err(DriverError::Lost(why)),
            Says::Refused(why) => Err(DriverError::Refused(why)),
        }
    }
}

#[async_trait]
impl TakesPieces for Enclosure<'_> {
    fn size(&self) -> usize {
        PIECE
    }

    async fn send(&self, piece: Piece<'_>) -> Result<(), DriverError> {
        let status = self.status().await?;
        // What an ended daemon sent last is still being put away.
        if says(status) == Says::Storing {
            return Err(DriverError::Busy("it is putting an image away".to_owned()));
        }
        match self
            .send_page(control_page(status, DEFER, Some(piece)))
            .await
        {
            // The last piece may be answered with the news that the microcode changed.
            Ok(()) => {}
            Err(Trouble::Sense(sense)) if sense.says_changed() && piece.is_last() => {}
            // The page is wrong when the module has started meanwhile: its generation is another one.
            Err(Trouble::Sense(sense)) if (sense.key, sense.code) == (0x05, 0x26) => {
                return Err(DriverError::Lost(sense.to_string()));
            }
            Err(trouble) => return Err(trouble.meaning()),
        }
        // The piece was taken: whatever keeps the module from saying so, it is not sent again.
        let Limits {
            no_progress, poll, ..
        } = *self.limits;
        match says(patiently(no_progress, poll, || self.status()).await?) {
            Says::Open | Says::Storing | Says::Whole(_) | Says::Needs(_) => Ok(()),
            Says::Lost(why) => Err(DriverError::Lost(why)),
            Says::Refused(why) => Err(DriverError::Refused(why)),
        }
    }

    async fn answers(&self) -> Result<(), DriverError> {
        self.ready().await
    }
}

#[async_trait]
impl Driver for Enclosure<'_> {
    async fn identify(&self) -> Result<Identity, DriverError> {
        inquiry(self.device.as_ref()).await
    }

    async fn ready(&self) -> Result<(), DriverError> {
        test_unit_ready(self.device.as_ref()).await
    }

    async fn write(&self, image: &Image, told: &Told<'_>) -> Result<Written, DriverError> {
        send_all(self, image, told, self.limits).await?;
        let Limits {
            no_progress, poll, ..
        } = *self.limits;
        patiently(no_progress, poll, || self.stored()).await
    }

    async fn activate(&self) -> Result<(), DriverError> {
        let Limits {
            no_progress, poll, ..
        } = *self.limits;
        let ask = || async {
            let status = self.status().await?;
            match self.send_page(control_page(status, ACTIVATE, None)).await {
                // It starts anew, and often does not say so. What runs afterwards tells.
                Ok(()) | Err(Trouble::Driver(DriverError::Silent(_))) => Ok(()),
                Err(trouble) => Err(trouble.meaning()),
            }
        };
        patiently(no_progress, poll, ask).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u8) -> Status {
        Status {
            generation: 7,
            code,
            additional: 0,
        }
    }

    #[test]
    fn the_control_page_is_as_the_standard_has_it() {
        let piece = Piece {
            offset: 4096,
            bytes: &[1, 2, 3, 4, 5],
            total: 4101,
        };
        let page = control_page(status(1), DEFER, Some(piece));
        assert_eq!(page[..12], [0x0e, 0, 0, 28, 0, 0, 0, 7, 0x0e, 0, 0, 0]);
        assert_eq!(page[12..24], [0, 0, 0x10, 0, 0, 0, 0x10, 5, 0, 0, 0, 5]);
        assert_eq!(page[24..], [1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!(control_page(status(0x13), ACTIVATE, None).len(), 24);
    }

    #[test]
    fn every_status_code_of_the_standard_has_its_meaning() {
        let written = |code| says(status(code));
        assert_eq!(written(0x01), Says::Open);
        assert_eq!(written(0x02), Says::Storing);
        assert_eq!(written(0x03), Says::Storing);
        assert_eq!(written(0x10), Says::Whole(Written::Starts));
        assert_eq!(written(0x13), Says::Whole(Written::Staged));
        for code in [0x11, 0x12] {
            assert!(matches!(written(code), Says::Needs(_)));
        }
        for code in [0x80, 0x82, 0x83, 0x84, 0x85] {
            assert!(matches!(written(code), Says::Lost(_)));
        }
        assert!(matches!(written(0x81), Says::Refused(_)));
    }
}
