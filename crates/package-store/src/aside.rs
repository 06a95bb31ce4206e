//! What is no longer a package but still on disk: deleted ones, whose files go later, and damaged ones,
//! which stay to be looked at.
//!
//! Files are removed lazily and never just before or during a staging: ext4 is slow to make files in a
//! folder in which many were just removed, and freeing a big one keeps its journal busy.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::fsutil;
use crate::store::Inner;

/// Ends the name of a folder whose files may go at any time.
const DELETED: &str = ".deleted";
/// Ends the name of a damaged package's folder.
pub(crate) const DAMAGED: &str = ".damaged";
/// Deleted files go when nothing has happened in the store for this long.
const QUIET: Duration = Duration::from_secs(30);

/// Moves a folder out of the way, so that its files can go later. What is not there is fine. Durable with a
/// sync of the folder that it was in.
pub(crate) fn bury(inner: &Inner, path: &Path) -> io::Result<()> {
    let number = inner.graves.fetch_add(1, Ordering::Relaxed);
    let grave = inner.aside_dir().join(format!("{number}{DELETED}"));
    match fsutil::rename(path, &grave) {
        Ok(()) => {
            inner.reaper.ring();
            Ok(())
        }
        // Or `aside/` itself is missing: then it is still there.
        Err(_) if matches!(path.try_exists(), Ok(false)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the files of what was deleted.
pub(crate) fn reap(inner: &Inner) {
    for grave in graves(inner) {
        if let Err(error) = fsutil::remove_all(&grave) {
            // It is gone from the store; only its room is not free. The next time tries again.
            tracing::warn!(path = %grave.display(), %error, "a deleted package's files remain");
        }
    }
}

/// Bytes that [`reap`] would free.
pub(crate) fn reapable_bytes(inner: &Inner) -> u64 {
    let files = graves(inner).filter_map(|grave| fs::read_dir(grave).ok());
    files
        .flatten()
        .filter_map(|file| Some(file.ok()?.metadata().ok()?.len()))
        .fold(0, u64::saturating_add)
}

fn graves(inner: &Inner) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = fs::read_dir(inner.aside_dir()).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_str().is_some_and(|name| name.ends_with(DELETED)))
}

/// Removes deleted files in the background, when the store is quiet.
#[derive(Debug)]
pub(crate) struct Reaper {
    bell: SyncSender<()>,
}

impl Reaper {
    /// The bell, and what [`start`](Self::start) needs.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        // One ring is as good as many.
        let (bell, rings) = sync_channel(1);
        (Self { bell }, rings)
    }

    /// Runs until the store is closed, which this does not hold open.
    pub(crate) fn start(inner: &Arc<Inner>, rings: Receiver<()>) -> io::Result<()> {
        let inner = Arc::downgrade(inner);
        thread::Builder::new()
            .name("reap".to_owned())
            .spawn(move || run(&inner, &rings))
            .map(|_| ())
    }

    /// Something happened in the store.
    pub(crate) fn ring(&self) {
        match self.bell.try_send(()) {
            // Disconnected: the thread could not be started, which the opening has reported.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

fn run(inner: &Weak<Inner>, rings: &Receiver<()>) {
    while rings.recv().is_ok() {
        // Every further ring makes it wait anew.
        loop {
            match rings.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        match inner.upgrade() {
            None => return,
            Some(inner) => reap_if_idle(&inner),
        }
    }
}

/// The end of a staging rings again.
fn reap_if_idle(inner: &Inner) {
    if inner.index().staging.is_empty() {
        reap(inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, StageLimits, Store};

    #[test]
    fn deleted_files_go_when_nothing_comes_in() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let folder = store.dir().join("packages/some");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "content").unwrap();
        bury(&store.inner, &folder).unwrap();
        assert_eq!(reapable_bytes(&store.inner), 7);
        let staging = store.begin(
            "s",
            Policy::trusting(Default::default()),
            StageLimits::default(),
        );
        reap_if_idle(&store.inner);
        assert_eq!(graves(&store.inner).count(), 1, "never during a staging");
        staging.unwrap().abort_blocking();
        reap_if_idle(&store.inner);
        assert_eq!(graves(&store.inner).count(), 0);
    }
}
