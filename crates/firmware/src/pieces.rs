//! Sending an image piece by piece.

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::driver::DriverError;
use crate::flash::Told;
use crate::image::Image;
use crate::limits::Limits;
use crate::patience::patiently;

/// A piece of an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) offset: usize,
    pub(crate) bytes: &'a [u8],
    /// Length of the whole image.
    pub(crate) total: usize,
}

impl Piece<'_> {
    pub(crate) fn is_last(&self) -> bool {
        self.offset + self.bytes.len() >= self.total
    }
}

/// A device that takes an image in pieces.
#[async_trait]
pub(crate) trait TakesPieces: Send + Sync {
    /// Largest piece, in bytes.
    fn size(&self) -> usize;
    /// Sends a piece. `Busy` says that the piece was not taken and may be sent again.
    async fn send(&self, piece: Piece<'_>) -> Result<(), DriverError>;
    /// Whether the device answers.
    async fn answers(&self) -> Result<(), DriverError>;
}

/// Sends an image, from the beginning again when the device lost what it had. Each piece may take as long as
/// nothing else moves.
pub(crate) async fn send_all(
    device: &dyn TakesPieces,
    image: &Image,
    told: &Told<'_>,
    limits: &Limits,
) -> Result<(), DriverError> {
    let mut restarts = 0;
    loop {
        match send_once(device, image, told, limits).await {
            Err(DriverError::Lost(why)) if restarts < limits.restarts => {
                restarts += 1;
                tracing::info!(restarts, "an image is sent from its beginning again: {why}");
            }
            // It took some of it before.
            Err(DriverError::NotTaken { bound, source }) if restarts > 0 => {
                return Err(DriverError::StoodStill { bound, source });
            }
            ended => return ended,
        }
    }
}

async fn send_once(
    device: &dyn TakesPieces,
    image: &Image,
    told: &Told<'_>,
    limits: &Limits,
) -> Result<(), DriverError> {
    let total = image.bytes.len();
    let mut offset = 0;
    told.moved(0, total as u64);
    for bytes in image.bytes.chunks(device.size()) {
        let piece = Piece {
            offset,
            bytes,
            total,
        };
        send_piece(device, piece, limits).await?;
        offset += bytes.len();
        told.moved(offset as u64, total as u64);
    }
    Ok(())
}

async fn send_piece(
    device: &dyn TakesPieces,
    piece: Piece<'_>,
    limits: &Limits,
) -> Result<(), DriverError> {
    let since = Instant::now();
    loop {
        match device.send(piece).await {
            Err(busy @ DriverError::Busy(_)) if since.elapsed() >= limits.no_progress => {
                let (bound, source) = (limits.no_progress, Box::new(busy));
                return Err(match piece.offset {
                    0 => DriverError::NotTaken { bound, source },
                    _ => DriverError::StoodStill { bound, source },
                });
            }
            Err(DriverError::Busy(_)) => sleep(limits.poll).await,
            // Nobody knows whether it was taken: when the device answers again, all is sent anew.
            Err(DriverError::Silent(why)) => {
                patiently(limits.no_progress, limits.poll, || device.answers()).await?;
                return Err(DriverError::Lost(why.to_string()));
            }
            ended => return ended,
        }
    }
}
