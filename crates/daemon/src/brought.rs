//! The firmware that a software package brings: taken out of it when the cluster's update to it is completed, and asked
//! for like any other. Done by the coordinator's node, out of its own copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_model::{Digest, FirmwareRef};
use evenkeel_orchestrator::{FrontDoor, Unpacked};
use evenkeel_package_store::{
    FirmwareError, FirmwareStageError, Policy, StageError, StageLimits, Store, UnpackError,
};
use evenkeel_record::Follower;
use evenkeel_rest::PackagePolicy;
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;

use crate::cancel::CancelOnDrop;
use crate::error::chain;
use crate::keeper::Incoming;

/// Between a try that failed and the next, which doubles with every failure up to the second: mostly the disk is full, or
/// the record away.
const RETRY: Duration = Duration::from_secs(15);
const RETRY_MOST: Duration = Duration::from_secs(3600);
/// The name of the staging: there is one at a time.
const STAGE: &str = "brought-firmware";
/// Bytes that are handed over at a time.
const PIECE: usize = 256 << 10;

/// What it takes.
pub(crate) struct Unpacker {
    pub(crate) store: Store,
    pub(crate) policy: PackagePolicy,
    pub(crate) follower: Arc<Follower>,
    pub(crate) front: FrontDoor,
    pub(crate) incoming: Incoming,
    /// Of its own: emptied before each use.
    pub(crate) folder: PathBuf,
}

/// Why it is tried again.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot take {path} in")]
    Stage {
        path: String,
        #[source]
        source: FirmwareStageError,
    },
    #[error("cannot tell the cluster: {0}")]
    Told(evenkeel_model::Refusal),
}

impl Unpacker {
    /// Runs until dropped.
    pub(crate) async fn run(self) {
        let mut views = self.follower.views();
        let (mut told, mut pause) = (String::new(), RETRY);
        loop {
            views.mark_unchanged();
            let due = self.front.firmware_to_unpack();
            let failed = match due {
                Some(package) => self.unpack(package).await.err(),
                None => None,
            };
            if let Some(error) = failed {
                let why = chain(&error);
                if why != told {
                    tracing::warn!(
                        why,
                        "cannot take firmware out of a package; trying again: {why}"
                    );
                    told = why;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MOST);
                continue;
            }
            pause = RETRY;
            // Gone only with the daemon.
            if views.changed().await.is_err() {
                return;
            }
        }
    }

    async fn unpack(&self, package: Digest) -> Result<(), Failed> {
        // What is taken in here is nobody's yet: the keeper waits before it looks for leftovers.
        let _incoming = self.incoming.read().await;
        let policy = self.policy.at(&self.follower.view());
        let paths = self.take_out(package, policy.clone()).await?;
        let mut unpacked = Unpacked::default();
        for path in paths {
            match self.take_in(&path, policy.clone()).await {
                Ok(firmware) => {
                    let file = path.rsplit('/').next().unwrap_or(&path);
                    unpacked.taken.push((file.to_owned(), firmware));
                }
                Err(Failed::Stage { source, .. }) if is_final(&source) => {
                    let why = format!("{path}: {}", chain(&source));
                    tracing::warn!(why, "firmware of a package is refused: {why}");
                    unpacked.refused.push(why);
                }
                Err(error) => return Err(error),
            }
        }
        let told = self.front.firmware_unpacked(package, &unpacked).await;
        told.map_err(Failed::Told)?;
        // What stays goes before the next use.
        let _ = fs::remove_dir_all(&self.folder).await;
        Ok(())
    }

    async fn take_out(&self, package: Digest, policy: Policy) -> Result<Vec<String>, UnpackError> {
        let (store, folder) = (self.store.clone(), self.folder.clone());
        let canceled = Arc::new(AtomicBool::new(false));
        let _cancel = CancelOnDrop(Arc::clone(&canceled));
        let work = move || store.unpack_firmware(package, &folder, &policy, &canceled);
        match tokio::task::spawn_blocking(work).await {
            Ok(paths) => paths,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn take_in(&self, path: &str, policy: Policy) -> Result<FirmwareRef, Failed> {
        let stage = |source: FirmwareStageError| Failed::Stage {
            path: path.to_owned(),
            source,
        };
        let store = self.store.clone();
        let begin = move || store.begin_firmware(STAGE, policy, StageLimits::default());
        let begun = match tokio::task::spawn_blocking(begin).await {
            Ok(begun) => begun,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let mut staging = begun.map_err(|error| stage(error.into()))?;
        let file = self.folder.join(path);
        let mut open = File::open(&file).await.map_err(unreadable(&file))?;
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = open.read_buf(&mut piece).await.map_err(unreadable(&file))?;
            if read == 0 {
                break;
            }
            staging.write(Bytes::from(piece)).await.map_err(stage)?;
        }
        let taken = staging.finish().await.map_err(stage)?;
        Ok(taken.firmware().clone().into())
    }
}

/// It is about what the file is, and not about how it came.
fn is_final(error: &FirmwareStageError) -> bool {
    match error {
        FirmwareStageError::Refused(FirmwareError::Read(_)) => false,
        FirmwareStageError::Refused(_) => true,
        FirmwareStageError::Stage(error) => matches!(error, StageError::TooLarge { .. }),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Failed {
    let path = path.to_owned();
    move |source| Failed::Read { path, source }
}
