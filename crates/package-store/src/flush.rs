//! Starts write-back early, so that little is left to sync at the end.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Written bytes between two flushes.
const FLUSH_BYTES: u64 = 32 << 20;

/// Flushes one big file in the background, on a thread of its own. Errors are kept: the kernel reports a failed
/// write-back only once.
#[derive(Debug)]
pub(crate) struct Flusher {
    doorbell: Option<SyncSender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    unflushed: AtomicU64,
}

impl Flusher {
    /// Flushes one file's data.
    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        Self::new(move || file.sync_data())
    }

    fn new(flush: impl Fn() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        // One flush may wait while another runs; more would flush nothing new.
        let (doorbell, rings) = sync_channel::<()>(1);
        let thread = thread::Builder::new()
            .name("flush".to_owned())
            .spawn(move || rings.iter().try_for_each(|()| flush()))?;
        Ok(Self {
            doorbell: Some(doorbell),
            thread: Some(thread),
            unflushed: AtomicU64::new(0),
        })
    }

    /// Takes note of written bytes.
    pub(crate) fn written(&self, bytes: u64) {
        let unflushed = self.unflushed.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unflushed >= FLUSH_BYTES
            && let Some(doorbell) = &self.doorbell
        {
            match doorbell.try_send(()) {
                Ok(()) => self.unflushed.store(0, Ordering::Relaxed),
                // Busy: asked again soon. Ended: it failed, which `finish` reports.
                Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }

    /// Waits for the flush that runs, and reports the first failure of any. The caller syncs what is left.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        drop(self.doorbell.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(flushed)) => flushed,
            Some(Err(_)) => Err(io::Error::other("the flushing thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Flusher {
    /// The thread has the file open: as long as it runs, a removed file takes up room.
    fn drop(&mut self) {
        // Whoever gives up does not ask whether the data is on disk.
        let _ = self.join();
    }
}

/// Asks for write-back of a file among many without waiting for it; one checked sync of the file system
/// follows, which also tells whether any of it failed.
#[derive(Debug, Default)]
pub(crate) struct WriteBehind {
    written: u64,
    asked: u64,
}

impl WriteBehind {
    /// Bytes after which it is asked for: the disk is busy soon, and seldom asked.
    const STEP_BYTES: u64 = 8 << 20;
    /// A file with less left when it ends is not worth a request of its own.
    const LEAST_BYTES: u64 = 64 << 10;

    /// Takes note of bytes written to the end of `file`.
    pub(crate) fn written(&mut self, file: &File, bytes: u64) {
        self.written += bytes;
        if self.written - self.asked >= Self::STEP_BYTES {
            self.ask(file);
        }
    }

    /// The file is complete.
    pub(crate) fn end(mut self, file: &File) {
        if self.written - self.asked >= Self::LEAST_BYTES {
            self.ask(file);
        }
    }

    fn ask(&mut self, file: &File) {
        let range = (
            self.asked.cast_signed(),
            (self.written - self.asked).cast_signed(),
        );
        self.asked = self.written;
        // Linux starts to write what it is told is not needed. Advice only: a refusal changes nothing.
        let _ = posix_fadvise(
            file,
            range.0,
            range.1,
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        );
    }
}
