//! Takes a package in as a stream: written, hashed and verified as it arrives, durable before "done".
//!
//! Three threads, so that work overlaps and the async caller never blocks: one receives, writes and hashes
//! the archive; one inflates; one verifies. The queues between them are bounded, so a fast sender waits
//! and memory does not grow with the package.

use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::{Buf, Bytes};
use evenkeel_model::{Digest, Entry, ManifestSummary, Version};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot, watch};

use crate::flush::Flusher;
use crate::fsutil;
use crate::store::{ARCHIVE, Inner, MANIFEST, SIDECAR, SIGNATURE, Store, StoredPackage};
use crate::verify::{Failure, Policy, SignedManifest, Sink, VerifyError, verify};

/// Chunks waiting between two threads. A chunk is what the network gave, 8 to 256 KiB.
const QUEUE: usize = 32;
/// Free space is looked at again after so many bytes.
const SPACE_CHECK_BYTES: u64 = 16 << 20;

/// Bounds on what is taken in.
#[derive(Clone, Copy, Debug)]
pub struct StageLimits {
    /// What the sender announced (`Content-Length`), to refuse early what cannot fit.
    pub expected_bytes: Option<u64>,
    /// Which package it must be, where that is known; another is refused by its manifest.
    pub expected_package: Option<Digest>,
    /// Most bytes of archive taken.
    pub max_archive_bytes: u64,
    /// Bytes that stay free on the store's file system.
    pub reserve_bytes: u64,
}

impl Default for StageLimits {
    /// 16 GiB at most, 64 MiB stay free.
    fn default() -> Self {
        Self {
            expected_bytes: None,
            expected_package: None,
            max_archive_bytes: 16 << 30,
            reserve_bytes: 64 << 20,
        }
    }
}

/// How far a staging is.
#[derive(Clone, Debug, Default)]
pub struct StageProgress {
    /// Bytes of archive received.
    pub received_bytes: u64,
    /// Bytes of content proven.
    pub verified_bytes: u64,
    /// Known once the signature is proven.
    pub summary: Option<Arc<ManifestSummary>>,
}

/// Why a package was not taken in. Nothing of it stays on disk.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A stage id is 1 to 128 letters, digits, `-`, `_`.
    #[error("{stage_id:?} is not a stage id")]
    BadId {
        /// The refused id.
        stage_id: String,
    },
    /// The same id is under way.
    #[error("{stage_id} is being staged already")]
    Busy {
        /// The id.
        stage_id: String,
    },
    /// No room for it.
    #[error("not enough space in {dir}: {needed} bytes needed, {free} free")]
    NoSpace {
        /// The store's directory.
        dir: PathBuf,
        /// Bytes needed, with the reserve; as far as known.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// More bytes than allowed.
    #[error("the package is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Another package has its version.
    #[error("a different package with version {version} is in the store")]
    VersionExists {
        /// The version.
        version: Version,
        /// The package that has it.
        existing: Digest,
    },
    /// The package is refused.
    #[error(transparent)]
    Refused(#[from] VerifyError),
    /// A file operation failed.
    #[error("cannot {step} {path}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The sender went away, or gave up.
    #[error("the package was not sent to its end")]
    Aborted,
    /// An earlier call has reported how it ended.
    #[error("the staging has ended")]
    Ended,
}

impl StageError {
    fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if !fsutil::is_no_space(&source) {
                return Self::Io { step, path, source };
            }
            let dir = fsutil::parent_of(&path);
            let free = fsutil::free_bytes(&dir).unwrap_or(0);
            Self::NoSpace {
                dir,
                needed: free.saturating_add(1),
                free,
            }
        }
    }
}

enum Message {
    Chunk(Bytes),
    Finish,
}

/// A package on its way in. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    messages: mpsc::Sender<Message>,
    /// Taken when it has been reported.
    outcome: Option<oneshot::Receiver<Result<StoredPackage, StageError>>>,
    progress: watch::Receiver<StageProgress>,
}

impl Store {
    /// Begins to take a package in. `stage_id` is the caller's name for it, for example an operation's id.
    pub fn begin(
        &self,
        stage_id: &str,
        policy: Policy,
        limits: StageLimits,
    ) -> Result<Staging, StageError> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if stage_id.is_empty() || stage_id.len() > 128 || !stage_id.chars().all(word) {
            return Err(StageError::BadId {
                stage_id: stage_id.to_owned(),
            });
        }
        check_space(
            &self.inner.incoming_dir(),
            &limits,
            limits.expected_bytes.unwrap_or(0),
        )?;
        let place = Place::new(&self.inner, stage_id)?;
        let archive = place.dir.join(ARCHIVE);
        let file = File::options().write(true).create_new(true).open(&archive);
        let file = file.map_err(StageError::io("create", &archive))?;
        let (messages, inbox) = mpsc::channel(QUEUE);
        let (report, outcome) = oneshot::channel();
        let (progress_tx, progress) = watch::channel(StageProgress::default());
        let receiver = Receiving {
            place,
            archive,
            file,
            limits,
            hasher: Sha256::new(),
            received: 0,
            progress: progress_tx,
        };
        thread::Builder::new()
            .name("stage".to_owned())
            .spawn(move || {
                let result = receiver.run(inbox, policy);
                // Nobody may be waiting any more; then it is as good as told.
                let _ = report.send(result);
            })
            .map_err(StageError::io("start a thread for", Path::new(stage_id)))?;
        Ok(Staging {
            messages,
            outcome: Some(outcome),
            progress,
        })
    }
}

impl Staging {
    /// Hands over the next bytes; waits while the disk or the verification is behind. An error is final
    /// and says what was wrong with the bytes so far.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StageError> {
        if self.messages.send(Message::Chunk(chunk)).await.is_ok() {
            return Ok(());
        }
        match self.outcome.take() {
            Some(outcome) => Err(failure(outcome.await)),
            None => Err(StageError::Ended),
        }
    }

    /// All bytes are handed over: waits until the package is proven and durable.
    pub async fn finish(mut self) -> Result<StoredPackage, StageError> {
        // If the thread has ended already, its outcome says why.
        let _ = self.messages.send(Message::Finish).await;
        match self.outcome.take() {
            Some(outcome) => outcome.await.unwrap_or(Err(StageError::Ended)),
            None => Err(StageError::Ended),
        }
    }

    /// Gives up, and returns when nothing is left on disk.
    pub async fn abort(mut self) {
        drop(self.messages);
        if let Some(outcome) = self.outcome.take() {
            // Whatever it says, the thread has cleaned up before it speaks.
            let _ = outcome.await;
        }
    }

    /// [`write`](Self::write) for callers outside of async code.
    pub fn write_blocking(&mut self, chunk: Bytes) -> Result<(), StageError> {
        if self.messages.blocking_send(Message::Chunk(chunk)).is_ok() {
            return Ok(());
        }
        match self.outcome.take() {
            Some(outcome) => Err(failure(outcome.blocking_recv())),
            None => Err(StageError::Ended),
        }
    }

    /// [`finish`](Self::finish) for callers outside of async code.
    pub fn finish_blocking(mut self) -> Result<StoredPackage, StageError> {
        // If the thread has ended already, its outcome says why.
        let _ = self.messages.blocking_send(Message::Finish);
        match self.outcome.take() {
            Some(outcome) => outcome.blocking_recv().unwrap_or(Err(StageError::Ended)),
            None => Err(StageError::Ended),
        }
    }

    /// [`abort`](Self::abort) for callers outside of async code.
    pub fn abort_blocking(mut self) {
        drop(self.messages);
        if let Some(outcome) = self.outcome.take() {
            let _ = outcome.blocking_recv();
        }
    }

    /// Follows how far it is.
    pub fn progress(&self) -> watch::Receiver<StageProgress> {
        self.progress.clone()
    }
}

/// What the thread said when it stopped before the stream was finished.
fn failure<E>(outcome: Result<Result<StoredPackage, StageError>, E>) -> StageError {
    match outcome {
        Ok(Err(error)) => error,
        Ok(Ok(_)) | Err(_) => StageError::Ended,
    }
}

fn check_space(dir: &Path, limits: &StageLimits, more: u64) -> Result<(), StageError> {
    let free = fsutil::free_bytes(dir).map_err(StageError::io("examine", dir))?;
    let needed = limits.reserve_bytes.saturating_add(more);
    if free < needed {
        return Err(StageError::NoSpace {
            dir: dir.to_owned(),
            needed,
            free,
        });
    }
    Ok(())
}

/// The folder that a package grows in. Goes when dropped: by then the package was renamed, or failed.
struct Place {
    inner: Arc<Inner>,
    stage_id: String,
    dir: PathBuf,
}

impl Place {
    fn new(inner: &Arc<Inner>, stage_id: &str) -> Result<Self, StageError> {
        if !inner.index().staging.insert(stage_id.to_owned()) {
            return Err(StageError::Busy {
                stage_id: stage_id.to_owned(),
            });
        }
        let dir = inner.incoming_dir().join(format!("{stage_id}.partial"));
        let place = Self {
            inner: inner.clone(),
            stage_id: stage_id.to_owned(),
            dir,
        };
        fs::create_dir(&place.dir).map_err(StageError::io("create", &place.dir))?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fsutil::remove_all(&self.dir) {
            // The next open of the store tries again.
            tracing::warn!(path = %self.dir.display(), %error, "an unfinished package remains");
        }
        self.inner.index().staging.remove(&self.stage_id);
    }
}

type Verdict = Result<Arc<SignedManifest>, Failure<StageError>>;

/// The receiving thread's state.
struct Receiving {
    place: Place,
    archive: PathBuf,
    file: File,
    limits: StageLimits,
    hasher: Sha256,
    received: u64,
    progress: watch::Sender<StageProgress>,
}

impl Receiving {
    fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        policy: Policy,
    ) -> Result<StoredPackage, StageError> {
        let (to_verifier, verifier) = self.start_verifier(policy)?;
        let flusher =
            Flusher::of_file(&self.file).map_err(StageError::io("sync", &self.archive))?;
        let mut received = self.receive(&mut inbox, &to_verifier, &flusher);
        drop(to_verifier);
        let verdict = verifier
            .join()
            .unwrap_or(Err(Failure::Sink(StageError::Ended)));
        if let Ok(End::VerifierStopped) = received
            && verdict.is_ok()
        {
            let at = self.received;
            received = Err(VerifyError::TrailingData { at }.into());
        }
        // What the disk or the sender did comes first: a verdict on half a package says nothing.
        received?;
        let signed = verdict.map_err(|failure| match failure {
            Failure::Package(error) => StageError::Refused(error),
            Failure::Sink(error) => error,
        })?;
        flusher
            .finish()
            .map_err(StageError::io("sync", &self.archive))?;
        self.file
            .sync_all()
            .map_err(StageError::io("sync", &self.archive))?;
        self.commit(&signed)
    }

    fn start_verifier(
        &self,
        policy: Policy,
    ) -> Result<(SyncSender<Bytes>, JoinHandle<Verdict>), StageError> {
        let (chunks, queue) = sync_channel(QUEUE);
        let mut sink = Watcher {
            inner: self.place.inner.clone(),
            expected: self.limits.expected_package,
            progress: self.progress.clone(),
        };
        let input = Chunks {
            queue,
            current: Bytes::new(),
        };
        let handle = thread::Builder::new()
            .name("verify".to_owned())
            .spawn(move || verify(input, &policy, &mut sink))
            .map_err(StageError::io("start a thread for", &self.archive))?;
        Ok((chunks, handle))
    }

    fn receive(
        &mut self,
        inbox: &mut mpsc::Receiver<Message>,
        to_verifier: &SyncSender<Bytes>,
        flusher: &Flusher,
    ) -> Result<End, StageError> {
        let mut unchecked = 0;
        loop {
            let chunk = match inbox.blocking_recv() {
                Some(Message::Chunk(chunk)) => chunk,
                Some(Message::Finish) => return Ok(End::Finished),
                None => return Err(StageError::Aborted),
            };
            self.received += chunk.len() as u64;
            if self.received > self.limits.max_archive_bytes {
                return Err(StageError::TooLarge {
                    limit: self.limits.max_archive_bytes,
                });
            }
            unchecked += chunk.len() as u64;
            if unchecked >= SPACE_CHECK_BYTES {
                unchecked = 0;
                check_space(&self.place.dir, &self.limits, 0)?;
            }
            self.file
                .write_all(&chunk)
                .map_err(StageError::io("write", &self.archive))?;
            flusher.written(chunk.len() as u64);
            self.hasher.update(&chunk);
            self.progress
                .send_modify(|p| p.received_bytes = self.received);
            if to_verifier.send(chunk).is_err() {
                return Ok(End::VerifierStopped);
            }
        }
    }

    /// Everything is proven and the archive synced: make the package appear, in one step.
    fn commit(self, signed: &SignedManifest) -> Result<StoredPackage, StageError> {
        let package = StoredPackage {
            manifest_digest: signed.digest,
            archive_digest: Digest(self.hasher.finalize().into()),
            archive_bytes: self.received,
            summary: signed.manifest.summary(),
        };
        let dir = &self.place.dir;
        let sidecar = serde_json::to_vec_pretty(&package).expect("a package is plain JSON");
        for (name, bytes) in [
            (MANIFEST, &signed.bytes),
            (SIGNATURE, &signed.signature_text),
            (SIDECAR, &sidecar),
        ] {
            let path = dir.join(name);
            fsutil::write_synced(&path, bytes).map_err(StageError::io("write", &path))?;
        }
        fsutil::sync_dir(dir).map_err(StageError::io("sync", dir))?;
        install(&self.place.inner, dir, package)
    }
}

enum End {
    Finished,
    /// The verification ended before the stream: it has found a fault.
    VerifierStopped,
}

/// Moves the complete folder to its place. The same archive again replaces the copy that is there, which
/// heals a damaged one; another archive of the same package changes nothing, since peers may be
/// reading the one that is there.
fn install(inner: &Inner, dir: &Path, package: StoredPackage) -> Result<StoredPackage, StageError> {
    let digest = package.manifest_digest;
    let to = inner.package_dir(digest);
    let mut index = inner.index();
    check_version(&index.packages, digest, &package.summary.version)?;
    match index.packages.get(&digest) {
        Some(existing) if existing.archive_digest != package.archive_digest => {
            return Ok(existing.clone());
        }
        // A folder that no one knows: left by a rename whose sync failed.
        None if !to.exists() => {
            fs::rename(dir, &to).map_err(StageError::io("rename into", &to))?;
        }
        Some(_) | None => renameat2(AT_FDCWD, dir, AT_FDCWD, &to, RenameFlags::RENAME_EXCHANGE)
            .map_err(|errno| StageError::io("replace", &to)(errno.into()))?,
    }
    let packages = inner.packages_dir();
    if let Err(error) = fsutil::sync_dir(&packages) {
        // Not known to be durable, so not here. Left to the next open, which will see what is true.
        index.packages.remove(&digest);
        return Err(StageError::io("sync", &packages)(error));
    }
    index.packages.insert(digest, package.clone());
    Ok(package)
}

fn check_version(
    packages: &std::collections::BTreeMap<Digest, StoredPackage>,
    digest: Digest,
    version: &Version,
) -> Result<(), StageError> {
    let other = |p: &&StoredPackage| p.summary.version == *version && p.manifest_digest != digest;
    match packages.values().find(other) {
        None => Ok(()),
        Some(existing) => Err(StageError::VersionExists {
            version: version.clone(),
            existing: existing.manifest_digest,
        }),
    }
}

/// Follows the verification; the content itself goes nowhere.
struct Watcher {
    inner: Arc<Inner>,
    expected: Option<Digest>,
    progress: watch::Sender<StageProgress>,
}

impl Sink for Watcher {
    type Error = StageError;

    fn begin(&mut self, signed: &Arc<SignedManifest>) -> Result<(), StageError> {
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
        check_version(&self.inner.index().packages, signed.digest, version)?;
        let summary = Arc::new(signed.manifest.summary());
        self.progress.send_modify(|p| p.summary = Some(summary));
        Ok(())
    }

    fn entry(&mut self, _: &Entry) -> Result<(), StageError> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> Result<(), StageError> {
        Ok(())
    }

    fn end_file(&mut self, entry: &Entry) -> Result<(), StageError> {
        self.progress
            .send_modify(|p| p.verified_bytes += entry.size());
        Ok(())
    }
}

/// Chunks from a queue as one stream, which ends when the sender is dropped.
struct Chunks {
    queue: Receiver<Bytes>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(out.len());
        out[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.queue.recv() {
                Ok(next) => self.current = next,
                Err(_) => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, n: usize) {
        self.current.advance(n.min(self.current.len()));
    }
}
