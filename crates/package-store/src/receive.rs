//! The receiving thread: writes what comes, passes it on to the verification, and ends it one way or another.

use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Buf;
use evenkeel_model::{Digest, Entry};
use evenkeel_seam::watch;
use tokio::sync::mpsc;

use crate::archive::ArchiveFile;
use crate::buffers::read_buffered;
use crate::commit::{self, check_version};
use crate::crew::Files;
use crate::flush::Flusher;
use crate::head::{Policy, SignedManifest};
use crate::partial::Place;
use crate::piece::{Piece, Room, wait};
use crate::room::check_reserve;
use crate::stage::{StageLimits, StageProgress};
use crate::stage_error::StageError;
use crate::store::{Inner, StoredPackage};
use crate::verify::{Failure, Sink, verify};
use crate::verify_error::VerifyError;

/// Pieces that wait for the verification, whatever their size; their bytes are bounded too.
const QUEUE: usize = 16;
/// Free space is looked at again after so many bytes.
const SPACE_CHECK_BYTES: u64 = 16 << 20;

/// What the sender says.
pub(crate) enum Message {
    Piece(Piece),
    Finish,
    Suspend,
    Abort,
}

/// Why no more bytes are taken.
enum End {
    Finished,
    /// The verification ended before the stream: it has found a fault.
    VerifierStopped,
    /// The sender stopped; what is here is kept if that is wanted.
    Suspended {
        keep: bool,
    },
}

type Verdict = Result<Arc<SignedManifest>, Failure<StageError>>;

/// The receiving thread's state.
pub(crate) struct Receiving {
    place: Place,
    archive: ArchiveFile,
    limits: StageLimits,
    progress: watch::Sender<StageProgress>,
    room: Room,
}

impl Receiving {
    pub(crate) fn new(
        place: Place,
        archive: ArchiveFile,
        limits: StageLimits,
        progress: watch::Sender<StageProgress>,
        room: Room,
    ) -> Self {
        Self {
            place,
            archive,
            limits,
            progress,
            room,
        }
    }

    /// Runs to the end. `replayed` is told how much of an earlier staging was taken over, if it is to be.
    pub(crate) fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        policy: Policy,
        replayed: Option<&SyncSender<u64>>,
    ) -> Result<StoredPackage, StageError> {
        let (to_verifier, verifier) = self.start_verifier(policy)?;
        let flusher = Flusher::of_file(self.archive.file())
            .map_err(StageError::io("sync", self.archive.path()))?;
        // From here on something may be found to be wrong with it.
        self.place.set_kept(false);
        let end = match self.replay(&to_verifier, replayed) {
            Ok(ControlFlow::Continue(())) => self.receive(&mut inbox, &to_verifier, &flusher),
            Ok(ControlFlow::Break(())) => Ok(End::VerifierStopped),
            Err(error) => Err(error),
        };
        let refused = verifier.is_finished();
        drop(to_verifier);
        let verdict = verifier
            .join()
            .unwrap_or(Err(Failure::Sink(StageError::Ended)));
        // What the disk or the sender did comes first: a verdict on half a package says nothing.
        match (end?, verdict) {
            (End::Finished, Ok(signed)) => {
                self.sync(flusher)?;
                commit::commit(self.place, &self.archive, &signed)
            }
            (End::VerifierStopped, Ok(_)) => {
                let at = self.archive.received();
                Err(VerifyError::TrailingData { at }.into())
            }
            (End::Suspended { keep }, Ok(_)) => self.suspend(keep, flusher),
            (End::Suspended { keep }, Err(_)) if !refused => self.suspend(keep, flusher),
            (
                End::Finished | End::VerifierStopped | End::Suspended { .. },
                Err(Failure::Package(error)),
            ) => Err(StageError::Refused(error)),
            (
                End::Finished | End::VerifierStopped | End::Suspended { .. },
                Err(Failure::Sink(error)),
            ) => Err(error),
        }
    }

    fn sync(&mut self, flusher: Flusher) -> Result<(), StageError> {
        flusher
            .finish()
            .map_err(StageError::io("sync", self.archive.path()))?;
        self.archive.end()
    }

    fn suspend(mut self, keep: bool, flusher: Flusher) -> Result<StoredPackage, StageError> {
        if keep {
            self.sync(flusher)?;
            self.place.set_kept(true);
        }
        Err(StageError::Aborted)
    }

    fn start_verifier(
        &self,
        policy: Policy,
    ) -> Result<(SyncSender<Piece>, JoinHandle<Verdict>), StageError> {
        let (pieces, queue) = sync_channel(QUEUE);
        let mut sink = Watcher {
            inner: self.place.inner.clone(),
            found: self.place.growing().teller(),
            expected: self.limits.expected_package,
            progress: self.progress.clone(),
        };
        let input = Pieces {
            queue,
            current: None,
        };
        let handle = thread::Builder::new()
            .name("verify".to_owned())
            .spawn(move || verify(input, &policy, &mut sink))
            .map_err(StageError::io("start a thread for", self.archive.path()))?;
        Ok((pieces, handle))
    }

    /// Takes over what an earlier staging has left; breaks if the verification has stopped.
    fn replay(
        &mut self,
        to_verifier: &SyncSender<Piece>,
        replayed: Option<&SyncSender<u64>>,
    ) -> Result<ControlFlow<()>, StageError> {
        let Some(replayed) = replayed else {
            return Ok(ControlFlow::Continue(()));
        };
        let (growing, progress, room) = (self.place.growing(), &self.progress, &self.room);
        let flow = self.archive.replay(|archive, bytes| {
            growing.received(archive.received(), archive.complete_bytes(), true);
            progress.send_modify(|p| p.received_bytes = archive.received());
            match to_verifier.send(wait(room.take(bytes, None))) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        if flow.is_continue() {
            // Whoever resumes may have gone; then the inbox says so.
            let _ = replayed.send(self.archive.received());
        }
        Ok(flow)
    }

    fn receive(
        &mut self,
        inbox: &mut mpsc::Receiver<Message>,
        to_verifier: &SyncSender<Piece>,
        flusher: &Flusher,
    ) -> Result<End, StageError> {
        let keep = self.limits.keep_partial;
        let mut unchecked = 0;
        loop {
            let piece = match inbox.blocking_recv() {
                Some(Message::Piece(piece)) => piece,
                Some(Message::Finish) => return Ok(End::Finished),
                Some(Message::Suspend) => return Ok(End::Suspended { keep: true }),
                Some(Message::Abort) => return Ok(End::Suspended { keep: false }),
                None => return Ok(End::Suspended { keep }),
            };
            let bytes = &piece.bytes;
            let length = bytes.len() as u64;
            let limit = self.limits.max_archive_bytes;
            if self.archive.received().saturating_add(length) > limit {
                return Err(StageError::TooLarge { limit });
            }
            unchecked += length;
            if unchecked >= SPACE_CHECK_BYTES {
                unchecked = 0;
                check_reserve(&self.place.inner, &self.limits)?;
            }
            match piece.digest {
                None => self.archive.append(bytes)?,
                Some(digest) => self.archive.append_chunk(bytes, digest)?,
            }
            flusher.written(length);
            let received = self.archive.received();
            let complete = self.archive.complete_bytes();
            self.place.growing().received(received, complete, false);
            self.progress.send_modify(|p| p.received_bytes = received);
            if to_verifier.send(piece).is_err() {
                return Ok(End::VerifierStopped);
            }
        }
    }
}

/// Follows the verification; the content itself goes nowhere.
struct Watcher {
    inner: Arc<Inner>,
    found: crate::underway::Teller,
    expected: Option<Digest>,
    progress: watch::Sender<StageProgress>,
}

impl Sink for Watcher {
    type Error = StageError;
    type Files = Proven;

    fn begin(&mut self, signed: &Arc<SignedManifest>) -> Result<Proven, StageError> {
        if let Some(expected) = self.expected
            && expected != signed.digest
        {
            return Err(VerifyError::WrongPackage {
                expected,
                found: signed.digest,
            }
            .into());
        }
        let version = &signed.manifest.version;
        check_version(&self.inner, signed.digest, version)?;
        self.found.found(signed.digest, version);
        let summary = Arc::new(signed.manifest.summary());
        self.progress.send_modify(|p| p.summary = Some(summary));
        Ok(Proven(AtomicU64::new(0)))
    }

    fn entry(&mut self, _: &Proven, _: &Entry) -> Result<(), StageError> {
        Ok(())
    }

    fn progress(&mut self, proven: &Proven) -> Result<(), StageError> {
        let proven = proven.0.load(Ordering::Relaxed);
        self.progress.send_if_modified(|p| {
            let is_news = p.verified_bytes != proven;
            p.verified_bytes = proven;
            is_news
        });
        Ok(())
    }
}

/// Bytes of files whose digest was right.
struct Proven(AtomicU64);

impl Files for Proven {
    type Error = StageError;
    type File = ();

    fn open(&self, _: &Entry) -> Result<(), StageError> {
        Ok(())
    }

    fn data(&self, (): &mut (), _: &[u8]) -> Result<(), StageError> {
        Ok(())
    }

    fn close(&self, (): (), entry: &Entry) -> Result<(), StageError> {
        self.0.fetch_add(entry.size(), Ordering::Relaxed);
        Ok(())
    }
}

/// Pieces from a queue as one stream, which ends when the sender is dropped.
struct Pieces {
    queue: Receiver<Piece>,
    current: Option<Piece>,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, out)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.as_ref().is_none_or(|it| it.bytes.is_empty()) {
            // Its room is needed before the next can come.
            self.current = None;
            match self.queue.recv() {
                Ok(next) => self.current = Some(next),
                Err(_) => break,
            }
        }
        Ok(self.current.as_ref().map_or(&[], |it| &it.bytes))
    }

    fn consume(&mut self, n: usize) {
        if let Some(piece) = &mut self.current {
            piece.bytes.advance(n.min(piece.bytes.len()));
        }
    }
}
