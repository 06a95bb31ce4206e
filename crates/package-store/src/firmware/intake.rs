//! Takes firmware in: received whole, then proven, then made to appear in one step, as packages are.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::archive::ArchiveFile;
use crate::aside;
use crate::chunks::chunk_digest;
use crate::flush::Flusher;
use crate::fsutil;
use crate::head::Policy;
use crate::partial::Place;
use crate::piece::{Piece, Room, wait};
use crate::room::{check_reserve, free_bytes, no_space};
use crate::stage::StageLimits;
use crate::stage_error::StageError;
use crate::store::{ARCHIVE, MANIFEST, SIGNATURE, Store};

use super::container::Halt;
use super::error::FirmwareError;
use super::held::{FIRMWARE_SIDECAR, IMAGES, StoredFirmware};
use super::prove::{Images, SignedFirmware, prove};

/// Pieces that wait for the receiving thread, whatever their size; their bytes are bounded too.
const QUEUE: usize = 16;
/// Free space is looked at again after so many bytes.
const SPACE_CHECK_BYTES: u64 = 16 << 20;
/// A zip holds no more.
const MAX_ARCHIVE_BYTES: u64 = 4 << 30;

/// Why firmware was not taken in. Nothing of it stays on disk.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareStageError {
    /// The firmware is refused.
    #[error(transparent)]
    Refused(#[from] FirmwareError),
    /// It could not be received or kept.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Firmware that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenIn {
    /// It was not here before.
    New(StoredFirmware),
    /// It is the same as was here; what is here is whole.
    Again(StoredFirmware),
}

impl TakenIn {
    /// What is here now, either way.
    pub fn firmware(&self) -> &StoredFirmware {
        match self {
            Self::New(firmware) | Self::Again(firmware) => firmware,
        }
    }
}

enum Message {
    Piece(Piece),
    Finish,
    Abort,
}

type Outcome = Result<TakenIn, FirmwareStageError>;

/// Firmware on its way in. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct FirmwareStaging {
    messages: mpsc::Sender<Message>,
    room: Room,
    /// Taken when it has been reported.
    outcome: Option<oneshot::Receiver<Outcome>>,
}

impl Store {
    /// Begins to take firmware in. `stage_id` is the caller's name for it, among those of packages. Of the
    /// limits, `keep_partial` and `expected_archive` have no meaning here: what breaks off comes anew.
    pub fn begin_firmware(
        &self,
        stage_id: &str,
        policy: Policy,
        limits: StageLimits,
    ) -> Result<FirmwareStaging, StageError> {
        let limits = StageLimits {
            expected_archive: None,
            keep_partial: false,
            max_archive_bytes: limits.max_archive_bytes.min(MAX_ARCHIVE_BYTES),
            ..limits
        };
        let place = Place::create(&self.inner, stage_id, &limits)?;
        let archive = ArchiveFile::create(place.dir())?;
        let dir = place.dir().to_owned();
        let (messages, inbox) = mpsc::channel(QUEUE);
        let (report, outcome) = oneshot::channel();
        let receiving = Receiving {
            place,
            archive,
            policy,
            limits,
        };
        thread::Builder::new()
            .name("stage-firmware".to_owned())
            // Nobody may be waiting any more; then it is as good as told.
            .spawn(move || drop(report.send(receiving.run(inbox))))
            .map_err(StageError::io("start a thread for", &dir))?;
        Ok(FirmwareStaging {
            messages,
            room: Room::new(),
            outcome: Some(outcome),
        })
    }
}

impl FirmwareStaging {
    /// Hands over the next bytes; waits while the disk is behind. An error is final.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FirmwareStageError> {
        let piece = self.room.take(bytes, None).await;
        if self.messages.send(Message::Piece(piece)).await.is_ok() {
            return Ok(());
        }
        match self.reported().await {
            Err(error) => Err(error),
            Ok(_) => Err(StageError::Ended.into()),
        }
    }

    /// All bytes are handed over: waits until the firmware is proven and durable.
    pub async fn finish(mut self) -> Result<TakenIn, FirmwareStageError> {
        // If the thread has ended already, its outcome says why.
        let _ = self.messages.send(Message::Finish).await;
        self.reported().await
    }

    /// Gives up, and returns when nothing is left on disk.
    pub async fn abort(mut self) {
        let _ = self.messages.send(Message::Abort).await;
        // Whatever it says, the thread has cleaned up before it speaks.
        let _ = self.reported().await;
    }

    async fn reported(&mut self) -> Outcome {
        match self.outcome.take() {
            Some(outcome) => outcome.await.unwrap_or(Err(StageError::Ended.into())),
            None => Err(StageError::Ended.into()),
        }
    }

    /// [`write`](Self::write) for callers outside of async code.
    pub fn write_blocking(&mut self, bytes: Bytes) -> Result<(), FirmwareStageError> {
        wait(self.write(bytes))
    }

    /// [`finish`](Self::finish) for callers outside of async code.
    pub fn finish_blocking(self) -> Result<TakenIn, FirmwareStageError> {
        wait(self.finish())
    }

    /// [`abort`](Self::abort) for callers outside of async code.
    pub fn abort_blocking(self) {
        wait(self.abort());
    }
}

/// The receiving thread's state.
struct Receiving {
    place: Place,
    archive: ArchiveFile,
    policy: Policy,
    limits: StageLimits,
}

impl Receiving {
    fn run(mut self, inbox: mpsc::Receiver<Message>) -> Outcome {
        self.receive(inbox)?;
        let mut images = Extracted {
            place: &self.place,
            limits: &self.limits,
            dir: self.place.dir().join(IMAGES),
            file: None,
        };
        let path = self.place.dir().join(ARCHIVE);
        let expected = self.limits.expected_package;
        let signed = match prove(&path, &self.policy, expected, &mut images) {
            Ok(signed) => signed,
            Err(Halt::Refused(error)) => return Err(error.into()),
            Err(Halt::Told(error)) => return Err(error.into()),
        };
        Ok(self.commit(&signed)?)
    }

    fn receive(&mut self, mut inbox: mpsc::Receiver<Message>) -> Result<(), StageError> {
        let path = self.archive.path().to_owned();
        let flusher =
            Flusher::of_file(self.archive.file()).map_err(StageError::io("sync", &path))?;
        let mut unchecked = 0;
        loop {
            let piece = match inbox.blocking_recv() {
                Some(Message::Piece(piece)) => piece,
                Some(Message::Finish) => break,
                Some(Message::Abort) | None => return Err(StageError::Aborted),
            };
            let length = piece.bytes.len() as u64;
            let limit = self.limits.max_archive_bytes;
            if self.archive.received().saturating_add(length) > limit {
                return Err(StageError::TooLarge { limit });
            }
            unchecked += length;
            if unchecked >= SPACE_CHECK_BYTES {
                unchecked = 0;
                check_reserve(&self.place.inner, &self.limits)?;
            }
            self.archive.append(&piece.bytes)?;
            flusher.written(length);
            let received = self.archive.received();
            self.place.growing().received(received, 0, false);
        }
        flusher.finish().map_err(StageError::io("sync", &path))?;
        self.archive.end()
    }

    /// Everything is proven, archive and images are on disk: the rest is written and synced, then the folder gets
    /// its name, then that name is made durable.
    fn commit(self, signed: &SignedFirmware) -> Result<TakenIn, StageError> {
        let firmware = StoredFirmware {
            digest: signed.digest,
            archive_digest: self.archive.list().digest(),
            archive_bytes: self.archive.received(),
            signature_digest: chunk_digest(&signed.signature_text),
            signed_by: signed.signed_by().map(|key| key.to_string()),
            summary: signed.manifest.summary(),
            stage_id: self.place.stage_id().to_owned(),
        };
        let dir = self.place.dir();
        let sidecar = serde_json::to_vec_pretty(&firmware).expect("firmware is plain JSON");
        for (name, bytes) in [
            (MANIFEST, &signed.bytes),
            (SIGNATURE, &signed.signature_text),
            (FIRMWARE_SIDECAR, &sidecar),
        ] {
            let path = dir.join(name);
            fsutil::write_synced(&path, bytes).map_err(StageError::io("write", &path))?;
        }
        for folder in [&dir.join(IMAGES), dir] {
            fsutil::sync_dir(folder).map_err(StageError::io("sync", folder))?;
        }
        install(&self.place, firmware)
    }
}

/// Moves the complete folder to its place. The same archive that is there already is replaced, which heals a damaged copy;
/// whoever reads the old one has it open.
fn install(place: &Place, firmware: StoredFirmware) -> Result<TakenIn, StageError> {
    let (inner, dir, digest) = (&place.inner, place.dir(), firmware.digest);
    let to = inner.firmware_dir().join(digest.to_string());
    let sync_names = || {
        [inner.firmware_dir(), inner.incoming_dir()]
            .iter()
            .try_for_each(|dir| fsutil::sync_dir(dir).map_err(StageError::io("sync", dir)))
    };
    let _change = inner.change();
    // The catalogue names the archive that came first: whoever holds that one goes on to serve it.
    let held = inner.index().firmware.get(&digest).cloned();
    if let Some(held) = held.filter(|held| held.archive_digest != firmware.archive_digest) {
        return Ok(TakenIn::Again(held));
    }
    // Also a folder that no one knows: left by a rename that could not be undone.
    if to.exists() {
        fsutil::exchange(dir, &to).map_err(StageError::io("replace", &to))?;
        sync_names()?;
    } else {
        fsutil::rename(dir, &to).map_err(StageError::io("rename into", &to))?;
        if let Err(error) = sync_names() {
            // Not known to be durable, so not here: back to where it comes from. If not even that can be done,
            // the next open sees what is true.
            let _ = fsutil::rename(&to, dir);
            return Err(error);
        }
    }
    let mut index = inner.index();
    let before = index.firmware.insert(digest, firmware.clone());
    index.damaged_firmware.remove(&digest);
    drop(index);
    if let Err(error) = aside::bury(inner, &inner.damaged_dir(digest)) {
        tracing::warn!(firmware = %digest, %error, "something useless stays in the package store");
    }
    Ok(match before {
        None => TakenIn::New(firmware),
        Some(_) => TakenIn::Again(firmware),
    })
}

/// Images on their way to the disk.
struct Extracted<'a> {
    place: &'a Place,
    limits: &'a StageLimits,
    dir: PathBuf,
    file: Option<(PathBuf, File)>,
}

impl Images for Extracted<'_> {
    type Error = StageError;

    fn begin(&mut self, image_bytes: u64) -> Result<(), StageError> {
        let inner = &self.place.inner;
        let needed = self.limits.reserve_bytes.saturating_add(image_bytes);
        let mut free = free_bytes(inner)?;
        if free < needed {
            aside::reap(inner);
            free = free_bytes(inner)?;
        }
        if free < needed {
            return Err(no_space(inner, needed, free));
        }
        fsutil::create_dir(&self.dir).map_err(StageError::io("create", &self.dir))
    }

    fn open(&mut self, file: &str) -> Result<(), StageError> {
        let path = self.dir.join(file);
        let file = fsutil::create_file(&path).map_err(StageError::io("create", &path))?;
        self.file = Some((path, file));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), StageError> {
        self.on_file("write", |file, path| fsutil::write_all(file, path, bytes))
    }

    fn close(&mut self) -> Result<(), StageError> {
        self.on_file("sync", fsutil::sync_file)
    }
}

impl Extracted<'_> {
    fn on_file(
        &self,
        step: &'static str,
        act: impl FnOnce(&File, &Path) -> std::io::Result<()>,
    ) -> Result<(), StageError> {
        match &self.file {
            Some((path, file)) => act(file, path).map_err(StageError::io(step, path)),
            None => Ok(()),
        }
    }
}
