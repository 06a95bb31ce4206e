//! Where a package goes as it comes.

use bytes::Bytes;
use evenkeel_model::Digest;
use evenkeel_package_store::{FirmwareStaging, Staging};

use super::PullError;

/// A package on its way into the store.
pub(super) enum Inlet {
    Software(Staging),
    Firmware(FirmwareStaging),
}

impl Inlet {
    /// Hands over a chunk that is the catalogue's.
    pub(super) async fn write_chunk(
        &mut self,
        chunk: Bytes,
        digest: Digest,
    ) -> Result<(), PullError> {
        match self {
            Self::Software(staging) => staging.write_chunk(chunk, digest).await?,
            Self::Firmware(staging) => staging.write(chunk).await?,
        }
        Ok(())
    }

    /// Says what was taken in, for people.
    pub(super) async fn finish(self) -> Result<String, PullError> {
        Ok(match self {
            Self::Software(staging) => staging.finish().await?.summary.version.to_string(),
            Self::Firmware(staging) => {
                let taken = staging.finish().await?;
                taken.firmware().summary.name.clone()
            }
        })
    }

    /// Nobody gives more now. What is here of a software package stays for the next try.
    pub(super) async fn leave(self) -> Result<(), PullError> {
        match self {
            Self::Software(staging) => staging.suspend().await?,
            Self::Firmware(staging) => staging.abort().await,
        }
        Ok(())
    }
}
