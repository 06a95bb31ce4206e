//! Takes a package in as a stream: written, hashed and verified as it arrives, durable before "done".
//!
//! [`Staging`] is the sender's hand on it. The work is done by threads (`receive`), so that it overlaps and
//! the async caller never blocks; what is under way between them is bounded (`piece`), so that a fast sender
//! waits and memory does not grow with the package.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use evenkeel_model::{Digest, ManifestSummary, TransferSource};
use evenkeel_seam::watch;
use tokio::sync::{mpsc, oneshot};

use crate::archive::ArchiveFile;
use crate::fsutil;
use crate::head::Policy;
use crate::partial::{NOTE, Place};
use crate::piece::{Room, wait};
use crate::receive::{Message, Receiving};
use crate::room::check_space;
use crate::stage_error::StageError;
use crate::store::{Store, StoredPackage};

/// Pieces that wait for the receiving thread, whatever their size; their bytes are bounded too.
const QUEUE: usize = 16;

/// Bounds on what is taken in, and what is known of it.
#[derive(Clone, Debug)]
pub struct StageLimits {
    /// What the sender announced (`Content-Length`), to refuse early what cannot fit. With
    /// `expected_archive` it is the archive's exact size.
    pub expected_bytes: Option<u64>,
    /// Which package it must be, where that is known; another is refused by its manifest.
    pub expected_package: Option<Digest>,
    /// Which archive comes, where that is known: [`Store::follow`] then serves it while it grows, if
    /// `expected_package` and `expected_bytes` are known too.
    pub expected_archive: Option<Digest>,
    /// Most bytes of archive taken.
    pub max_archive_bytes: u64,
    /// Bytes that stay free on the store's file system.
    pub reserve_bytes: u64,
    /// What is on disk stays when the staging is dropped or the process dies, and [`Store::resume`] goes on
    /// from it. Never kept once the package is refused or the disk has failed.
    pub keep_partial: bool,
    /// Where it comes from, for [`Store::transfers`].
    pub source: TransferSource,
}

/// Bytes that stay free unless a caller says otherwise.
pub(crate) const RESERVE_BYTES: u64 = 64 << 20;

impl Default for StageLimits {
    /// 16 GiB at most, 64 MiB stay free; an upload of which nothing is known and nothing kept.
    fn default() -> Self {
        Self {
            expected_bytes: None,
            expected_package: None,
            expected_archive: None,
            max_archive_bytes: 16 << 30,
            reserve_bytes: RESERVE_BYTES,
            keep_partial: false,
            source: TransferSource::Upload,
        }
    }
}

/// How far a staging is.
#[derive(Clone, Debug, Default)]
pub struct StageProgress {
    /// Bytes of archive received; after a resume, those that were on disk among them.
    pub received_bytes: u64,
    /// Bytes of content proven.
    pub verified_bytes: u64,
    /// Known once the signature is proven.
    pub summary: Option<Arc<ManifestSummary>>,
}

/// A package on its way in. Dropped unfinished, it leaves nothing behind, unless it is to be kept.
#[derive(Debug)]
pub struct Staging {
    messages: mpsc::Sender<Message>,
    room: Room,
    /// Taken when it has been reported.
    outcome: Option<oneshot::Receiver<Result<StoredPackage, StageError>>>,
    progress: watch::Receiver<StageProgress>,
    dir: PathBuf,
}

impl Store {
    /// Begins to take a package in. `stage_id` is the caller's name for it, for example an operation's id.
    /// What an earlier staging of that name has left is dropped.
    pub fn begin(
        &self,
        stage_id: &str,
        policy: Policy,
        limits: StageLimits,
    ) -> Result<Staging, StageError> {
        let place = Place::create(&self.inner, stage_id, &limits)?;
        let archive = ArchiveFile::create(place.dir())?;
        start(place, archive, policy, limits, None)
    }

    /// Goes on with what [`partials`](Self::partials) has of `stage_id`: replays it through the
    /// verification, cut where it does not hold, and gives the offset of the next byte. Blocks as long as
    /// that takes, half a gigabyte in a second or so.
    pub fn resume(
        &self,
        stage_id: &str,
        policy: Policy,
        limits: StageLimits,
    ) -> Result<(Staging, u64), StageError> {
        let place = Place::reopen(&self.inner, stage_id, &limits)?;
        let archive = ArchiveFile::reopen(place.dir())?;
        // What is on disk is room taken already; the rest is promised like that of any other.
        let on_disk = archive.bytes_on_disk()?;
        place.growing().received(on_disk, 0, true);
        check_space(&self.inner, &limits)?;
        let (report, replayed) = sync_channel(1);
        let mut staging = start(place, archive, policy, limits, Some(report))?;
        match replayed.recv() {
            Ok(offset) => Ok((staging, offset)),
            // The thread says how it ended before it hangs up.
            Err(_) => Err(staging.reported()),
        }
    }
}

fn start(
    place: Place,
    archive: ArchiveFile,
    policy: Policy,
    limits: StageLimits,
    replay: Option<SyncSender<u64>>,
) -> Result<Staging, StageError> {
    let dir = place.dir().to_owned();
    let (messages, inbox) = mpsc::channel(QUEUE);
    let (report, outcome) = oneshot::channel();
    let (progress_tx, progress) = watch::channel(StageProgress::default());
    let room = Room::new();
    let receiving = Receiving::new(place, archive, limits, progress_tx, room.clone());
    thread::Builder::new()
        .name("stage".to_owned())
        .spawn(move || {
            let result = receiving.run(inbox, policy, replay.as_ref());
            // Nobody may be waiting any more; then it is as good as told.
            let _ = report.send(result);
            drop(replay);
        })
        .map_err(StageError::io("start a thread for", &dir))?;
    Ok(Staging {
        messages,
        room,
        outcome: Some(outcome),
        progress,
        dir,
    })
}

impl Staging {
    /// Hands over the next bytes; waits while the disk or the verification is behind. An error is final
    /// and says what was wrong with the bytes so far.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StageError> {
        self.send(bytes, None).await
    }

    /// Hands over a chunk whose digest the caller has computed from these very bytes, which saves doing it
    /// again. At a chunk's boundary; elsewhere it is as good as [`write`](Self::write).
    pub async fn write_chunk(&mut self, bytes: Bytes, digest: Digest) -> Result<(), StageError> {
        self.send(bytes, Some(digest)).await
    }

    async fn send(&mut self, bytes: Bytes, digest: Option<Digest>) -> Result<(), StageError> {
        let piece = self.room.take(bytes, digest).await;
        if self.messages.send(Message::Piece(piece)).await.is_ok() {
            return Ok(());
        }
        match self.outcome.take() {
            Some(outcome) => Err(failure(outcome.await)),
            None => Err(StageError::Ended),
        }
    }

    /// All bytes are handed over: waits until the package is proven and durable.
    pub async fn finish(mut self) -> Result<StoredPackage, StageError> {
        self.end(Message::Finish).await
    }

    /// Stops here, and returns when all that was handed over is kept, durably, for [`Store::resume`].
    pub async fn suspend(mut self) -> Result<(), StageError> {
        match self.end(Message::Suspend).await {
            Err(StageError::Aborted) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(StageError::Ended),
        }
    }

    /// Gives up, and returns when nothing is left on disk.
    pub async fn abort(mut self) {
        // Whatever it says, the thread has cleaned up before it speaks.
        let _ = self.end(Message::Abort).await;
    }

    async fn end(&mut self, message: Message) -> Result<StoredPackage, StageError> {
        // If the thread has ended already, its outcome says why.
        let _ = self.messages.send(message).await;
        match self.outcome.take() {
            Some(outcome) => outcome.await.unwrap_or(Err(StageError::Ended)),
            None => Err(StageError::Ended),
        }
    }

    /// [`write`](Self::write) for callers outside of async code.
    pub fn write_blocking(&mut self, bytes: Bytes) -> Result<(), StageError> {
        wait(self.write(bytes))
    }

    /// [`finish`](Self::finish) for callers outside of async code.
    pub fn finish_blocking(self) -> Result<StoredPackage, StageError> {
        wait(self.finish())
    }

    /// [`suspend`](Self::suspend) for callers outside of async code.
    pub fn suspend_blocking(self) -> Result<(), StageError> {
        wait(self.suspend())
    }

    /// [`abort`](Self::abort) for callers outside of async code.
    pub fn abort_blocking(self) {
        wait(self.abort());
    }

    /// Keeps a few words beside what was received, for whoever resumes it: where the rest can be had, and
    /// how to know that it is the same. Durable when it returns; replaces the words before. Blocks on the
    /// disk for a moment. Never a secret: it lies in a file.
    pub fn note(&self, note: &[u8]) -> Result<(), StageError> {
        let path = self.dir.join(NOTE);
        fsutil::replace_synced(&path, note).map_err(StageError::io("write", &path))
    }

    /// Follows how far it is.
    pub fn progress(&self) -> watch::Receiver<StageProgress> {
        self.progress.clone()
    }

    /// What the thread said when it ended before it took the first byte.
    fn reported(&mut self) -> StageError {
        match self.outcome.take().map(|mut outcome| outcome.try_recv()) {
            Some(Ok(Err(error))) => error,
            Some(Ok(Ok(_)) | Err(_)) | None => StageError::Ended,
        }
    }
}

/// What the thread said when it stopped before the stream was finished.
fn failure<E>(outcome: Result<Result<StoredPackage, StageError>, E>) -> StageError {
    match outcome {
        Ok(Err(error)) => error,
        Ok(Ok(_)) | Err(_) => StageError::Ended,
    }
}
