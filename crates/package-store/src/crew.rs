//! Files are independent of each other: their content is hashed, and written where it is to be written, by
//! several threads. A file stays with one thread, so its pieces stay in order.
//!
//! The outcome does not depend on which thread is faster: of all failures, that of the earliest entry counts.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use bytes::Bytes;
use evenkeel_model::{Digest, Entry, EntryKind};
use sha2::{Digest as _, Sha256};

use crate::verify::Failure;
use crate::verify_error::VerifyError;

/// Threads: more than this would wait for the one that reads the tar.
const MAX_THREADS: usize = 4;
/// Content handed over at a time: small enough to be hashed and written out of the cache.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
/// Steps handed over at a time, where files are small.
const BATCH_STEPS: usize = 256;
/// Batches that wait for a thread.
const QUEUE: usize = 4;

/// What is done with files' content, from several threads.
pub(crate) trait Files: Sync {
    type Error: Send;
    type File;
    /// A file starts.
    fn open(&self, entry: &Entry) -> Result<Self::File, Self::Error>;
    /// Content, not proven yet.
    fn data(&self, file: &mut Self::File, piece: &[u8]) -> Result<(), Self::Error>;
    /// The file is complete and its digest right.
    fn close(&self, file: Self::File, entry: &Entry) -> Result<(), Self::Error>;
}

enum Step {
    Open(usize),
    Data(Bytes),
    Close,
}

/// The earliest entry that failed, so far.
struct Failures<E> {
    /// Its place; `usize::MAX` while there is none. Files behind it are not worth the work.
    first: AtomicUsize,
    failure: Mutex<Option<Failure<E>>>,
}

impl<E> Failures<E> {
    fn add(&self, at: usize, failure: Failure<E>) {
        let mut kept = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if at < self.first.fetch_min(at, Ordering::Relaxed) {
            *kept = Some(failure);
        }
    }
}

struct Member<'scope> {
    queue: SyncSender<Vec<Step>>,
    thread: ScopedJoinHandle<'scope, ()>,
    /// Bytes that it was given and has not done.
    load: &'scope AtomicU64,
    batch: Vec<Step>,
    batch_bytes: usize,
}

/// What the threads share; outlives them.
pub(crate) struct Office<E> {
    failures: Failures<E>,
    loads: [AtomicU64; MAX_THREADS],
}

impl<E> Office<E> {
    pub(crate) fn new() -> Self {
        Self {
            failures: Failures {
                first: AtomicUsize::new(usize::MAX),
                failure: Mutex::new(None),
            },
            loads: Default::default(),
        }
    }
}

/// The threads, as the one that reads the tar sees them.
pub(crate) struct Crew<'scope, E> {
    office: &'scope Office<E>,
    members: Vec<Member<'scope>>,
    /// Who has the file that is being read.
    current: usize,
}

impl<'scope, E: Send> Crew<'scope, E> {
    pub(crate) fn hire<'env, F: Files<Error = E>>(
        scope: &'scope Scope<'scope, 'env>,
        office: &'scope Office<E>,
        files: &'scope F,
        entries: &'scope [Entry],
    ) -> Result<Self, Failure<E>> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut members = Vec::new();
        for load in office.loads.iter().take(threads) {
            let (queue, batches) = sync_channel(QUEUE);
            let failures = &office.failures;
            let thread = thread::Builder::new()
                .name("files".to_owned())
                .spawn_scoped(scope, move || {
                    let mut worker = Worker {
                        files,
                        entries,
                        failures,
                        current: None,
                    };
                    worker.run(&batches, load);
                })
                .map_err(VerifyError::Read)?;
            members.push(Member {
                queue,
                thread,
                load,
                batch: Vec::new(),
                batch_bytes: 0,
            });
        }
        Ok(Self {
            office,
            members,
            current: 0,
        })
    }

    /// The file at `at` among the entries starts.
    pub(crate) fn open(&mut self, at: usize) {
        let loads = self.members.iter().map(|m| m.load.load(Ordering::Relaxed));
        let idlest = loads.enumerate().min_by_key(|(_, load)| *load);
        self.current = idlest.map_or(0, |(at, _)| at);
        self.step(Step::Open(at), 0);
    }

    pub(crate) fn data(&mut self, piece: Bytes) {
        let bytes = piece.len();
        self.step(Step::Data(piece), bytes);
    }

    pub(crate) fn close(&mut self) {
        self.step(Step::Close, 0);
    }

    fn step(&mut self, step: Step, bytes: usize) {
        let member = &mut self.members[self.current];
        member.batch.push(step);
        member.batch_bytes += bytes;
        member.load.fetch_add(bytes as u64, Ordering::Relaxed);
        if member.batch_bytes >= BATCH_BYTES || member.batch.len() >= BATCH_STEPS {
            member.send();
        }
    }

    /// Hands over what waits to be handed over.
    pub(crate) fn flush(&mut self) {
        self.members.iter_mut().for_each(Member::send);
    }

    /// Whether there is no point in going on.
    pub(crate) fn has_failed(&self) -> bool {
        self.office.failures.first.load(Ordering::Relaxed) != usize::MAX
    }

    /// Waits for all, and tells what comes first: a failure of theirs, or `read`, which says where the reading
    /// of the tar failed.
    pub(crate) fn conclude(
        mut self,
        read: Result<(), (usize, Failure<E>)>,
    ) -> Result<(), Failure<E>> {
        self.flush();
        for member in self.members {
            drop(member.queue);
            member
                .thread
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic));
        }
        let failures = &self.office.failures;
        let first = failures.first.load(Ordering::Relaxed);
        let failure = failures
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match (failure, read) {
            (Some(failure), Err((at, _))) if first <= at => Err(failure),
            (_, Err((_, failure))) | (Some(failure), Ok(())) => Err(failure),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl Member<'_> {
    fn send(&mut self) {
        if !self.batch.is_empty() {
            self.batch_bytes = 0;
            // It goes only when it panics, which `conclude` passes on.
            let _ = self.queue.send(std::mem::take(&mut self.batch));
        }
    }
}

struct Worker<'a, F: Files> {
    files: &'a F,
    entries: &'a [Entry],
    failures: &'a Failures<F::Error>,
    /// The file under way; none after it has failed.
    current: Option<(usize, Sha256, F::File)>,
}

impl<F: Files> Worker<'_, F> {
    fn run(&mut self, batches: &Receiver<Vec<Step>>, load: &AtomicU64) {
        for batch in batches {
            for step in batch {
                match step {
                    Step::Open(at) => self.open(at),
                    Step::Data(piece) => {
                        self.data(&piece);
                        load.fetch_sub(piece.len() as u64, Ordering::Relaxed);
                    }
                    Step::Close => self.close(),
                }
            }
        }
    }

    fn open(&mut self, at: usize) {
        self.current = None;
        if at > self.failures.first.load(Ordering::Relaxed) {
            return;
        }
        match self.files.open(&self.entries[at]) {
            Ok(file) => self.current = Some((at, Sha256::new(), file)),
            Err(error) => self.failures.add(at, Failure::Sink(error)),
        }
    }

    fn data(&mut self, piece: &[u8]) {
        if let Some((at, hasher, file)) = &mut self.current {
            hasher.update(piece);
            if let Err(error) = self.files.data(file, piece) {
                self.failures.add(*at, Failure::Sink(error));
                self.current = None;
            }
        }
    }

    fn close(&mut self) {
        let Some((at, hasher, file)) = self.current.take() else {
            return;
        };
        let entry = &self.entries[at];
        let found = Digest(hasher.finalize().into());
        if !matches!(&entry.kind, EntryKind::File { sha256, .. } if *sha256 == found) {
            let path = entry.path.clone();
            self.failures.add(at, VerifyError::Tampered { path }.into());
        } else if let Err(error) = self.files.close(file, entry) {
            self.failures.add(at, Failure::Sink(error));
        }
    }
}
