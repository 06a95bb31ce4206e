//! Where what comes in goes: software packages and firmware come through the same door, and the first bytes decide.

use bytes::Bytes;
use evenkeel_model::Refusal;
use evenkeel_package_store::{
    FRONT_BYTES, FirmwareStageError, FirmwareStaging, Policy, Recognised, StageError, StageLimits,
    Staging, Store, StoredFirmware, StoredPackage, recognise,
};

use crate::incoming::{firmware_refusal, refusal};

/// A file on its way into the store. Dropped unfinished, it leaves what its staging leaves.
pub(crate) struct Inlet {
    store: Store,
    id: String,
    policy: Policy,
    limits: StageLimits,
    at: At,
}

/// How much is known of it.
enum At {
    /// Too little has come to tell. The staging is that of a software package: what cannot be taken in at all is said
    /// before anything comes.
    Front(Staging, Front),
    Software(Staging),
    Firmware(FirmwareStaging),
    /// It ended with an error.
    Over,
}

/// The first bytes, and the pieces that they came in.
#[derive(Default)]
struct Front {
    bytes: Vec<u8>,
    pieces: Vec<Bytes>,
}

/// What was taken in.
pub(crate) enum Stored {
    Software(StoredPackage),
    Firmware(StoredFirmware),
}

/// Why it was not taken in.
#[derive(Debug)]
pub(crate) enum InletError {
    Software(StageError),
    Firmware(FirmwareStageError),
}

impl From<StageError> for InletError {
    fn from(error: StageError) -> Self {
        Self::Software(error)
    }
}

impl From<FirmwareStageError> for InletError {
    fn from(error: FirmwareStageError) -> Self {
        Self::Firmware(error)
    }
}

impl InletError {
    /// What it means to whoever sends the file.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Software(error) | Self::Firmware(FirmwareStageError::Stage(error)) => {
                refusal(error)
            }
            Self::Firmware(FirmwareStageError::Refused(error)) => firmware_refusal(error),
        }
    }

    /// Whether it could not be read or written here.
    pub(crate) fn is_io(&self) -> bool {
        match self {
            Self::Software(error) | Self::Firmware(FirmwareStageError::Stage(error)) => {
                matches!(error, StageError::Io { .. })
            }
            Self::Firmware(FirmwareStageError::Refused(_)) => false,
        }
    }
}

impl Inlet {
    /// Begins to take a file in. Blocks on the disk for a moment.
    pub(crate) fn begin(
        store: &Store,
        id: &str,
        policy: Policy,
        limits: StageLimits,
    ) -> Result<Self, StageError> {
        let staging = store.begin(id, policy.clone(), limits.clone())?;
        let at = At::Front(staging, Front::default());
        Ok(Self::new(store, id, policy, limits, at))
    }

    /// Goes on with a software package of which something is here.
    pub(crate) fn resumed(
        store: &Store,
        id: &str,
        policy: Policy,
        limits: StageLimits,
        staging: Staging,
    ) -> Self {
        Self::new(store, id, policy, limits, At::Software(staging))
    }

    fn new(store: &Store, id: &str, policy: Policy, limits: StageLimits, at: At) -> Self {
        Self {
            store: store.clone(),
            id: id.to_owned(),
            policy,
            limits,
            at,
        }
    }

    /// Keeps a note beside what is here of a software package. Firmware comes anew when it breaks off.
    pub(crate) fn note(&self, note: &[u8]) -> Result<(), StageError> {
        match &self.at {
            At::Front(staging, _) | At::Software(staging) => staging.note(note),
            At::Firmware(_) | At::Over => Ok(()),
        }
    }

    /// Hands over the next bytes. An error is final.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), InletError> {
        match &mut self.at {
            At::Software(staging) => staging.write(bytes).await?,
            At::Firmware(staging) => staging.write(bytes).await?,
            At::Front(_, front) => {
                front.push(bytes);
                if let Some(what) = recognise(&front.bytes, false) {
                    self.turn(what).await?;
                }
            }
            At::Over => return Err(StageError::Ended.into()),
        }
        Ok(())
    }

    /// All bytes are handed over: waits until what they are is proven and durable.
    pub(crate) async fn finish(mut self) -> Result<Stored, InletError> {
        if let At::Front(_, front) = &self.at {
            let what = recognise(&front.bytes, true).unwrap_or(Recognised::Software);
            self.turn(what).await?;
        }
        match self.at {
            At::Software(staging) => Ok(Stored::Software(staging.finish().await?)),
            At::Firmware(staging) => {
                let taken = staging.finish().await?;
                Ok(Stored::Firmware(taken.firmware().clone()))
            }
            At::Front(..) | At::Over => Err(StageError::Ended.into()),
        }
    }

    /// Gives up, and returns when nothing is left on disk.
    pub(crate) async fn abort(self) {
        match self.at {
            At::Front(staging, _) | At::Software(staging) => staging.abort().await,
            At::Firmware(staging) => staging.abort().await,
            At::Over => {}
        }
    }

    /// It is known what comes.
    async fn turn(&mut self, what: Recognised) -> Result<(), InletError> {
        let At::Front(mut staging, front) = std::mem::replace(&mut self.at, At::Over) else {
            return Err(StageError::Ended.into());
        };
        match what {
            Recognised::Software => {
                for piece in front.pieces {
                    staging.write(piece).await?;
                }
                self.at = At::Software(staging);
            }
            Recognised::FirmwareZip | Recognised::FirmwareTgz => {
                staging.abort().await;
                let (store, id) = (self.store.clone(), self.id.clone());
                let (policy, limits) = (self.policy.clone(), self.limits.clone());
                let begun =
                    tokio::task::spawn_blocking(move || store.begin_firmware(&id, policy, limits));
                let mut staging = begun.await.unwrap_or(Err(StageError::Ended))?;
                for piece in front.pieces {
                    staging.write(piece).await?;
                }
                self.at = At::Firmware(staging);
            }
        }
        Ok(())
    }
}

impl Front {
    fn push(&mut self, bytes: Bytes) {
        let room = FRONT_BYTES - self.bytes.len().min(FRONT_BYTES);
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.pieces.push(bytes);
    }
}
