//! The seat file, which the HA engine's resource agent makes and takes away, and the lock that says back whether the record is open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use evenkeel_seam::watch;
use tokio::sync::oneshot;

/// How often the seat is looked at: the record is let go of within a second, and most of that is for what is under way. A look
/// at a file in memory costs microseconds, in a thread of its own, and needs no folder that could be watched.
const LOOK: Duration = Duration::from_millis(100);
/// The file holds one path.
const MAX_SEAT_BYTES: u64 = 4096;

/// The seat as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    /// What the agent wrote into it: the record's file; or why that cannot be told.
    pub(super) record: Result<PathBuf, String>,
    /// Tells one seat file from another of the same content, which another start of the agent made.
    made: (u64, i64, i64),
}

impl Seat {
    /// The seat now; none where there is no such file.
    pub(super) fn look(path: &Path) -> Option<Self> {
        let known = match fs::metadata(path) {
            Ok(known) => known,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return Some(Self::unreadable(&error)),
        };
        let made = (known.ino(), known.mtime(), known.mtime_nsec());
        match read(path, known.len()) {
            Ok(record) => Some(Self { record, made }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Self::unreadable(&error)),
        }
    }

    fn unreadable(error: &io::Error) -> Self {
        Self {
            record: Err(error.to_string()),
            made: (0, 0, 0),
        }
    }
}

fn read(path: &Path, length: u64) -> io::Result<Result<PathBuf, String>> {
    if length > MAX_SEAT_BYTES {
        return Ok(Err(format!("it has {length} bytes, and names no one file")));
    }
    let text = fs::read_to_string(path)?;
    let record = Path::new(text.trim_end_matches('\n'));
    Ok(match record.is_absolute() {
        true => Ok(record.to_owned()),
        false => Err(format!("it says {text:?}, which is no absolute path")),
    })
}

/// Looks at the seat from now on, until nobody wants to know any more.
pub(super) fn follow(path: PathBuf) -> io::Result<watch::Receiver<Option<Seat>>> {
    let (seats, followed) = watch::channel(Seat::look(&path));
    thread::Builder::new()
        .name("record-seat".to_owned())
        .spawn(move || {
            while !seats.is_closed() {
                thread::sleep(LOOK);
                let found = Seat::look(&path);
                seats.send_if_modified(|seat| {
                    let is_news = *seat != found;
                    *seat = found;
                    is_news
                });
            }
        })?;
    Ok(followed)
}

/// The lock that belongs to a seat file. The agent's `stop` waits for it.
pub fn lock_path(seat: &Path) -> PathBuf {
    let mut name = seat.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    seat.with_file_name(name)
}

/// Held for as long as the record's file is open. The kernel drops it with the process, however that ends.
pub(super) struct SeatLock {
    held: Arc<AtomicBool>,
    _file: File,
    /// After the file: when it is dropped, the lock is.
    _let_go: oneshot::Sender<()>,
}

impl Drop for SeatLock {
    fn drop(&mut self) {
        self.held.store(false, Ordering::Release);
    }
}

impl SeatLock {
    /// Takes the lock, or says who or what is in the way. `held` says to others that it is. What comes along with it ends when the
    /// lock is dropped.
    pub(super) fn take(
        seat: &Path,
        held: &Arc<AtomicBool>,
    ) -> Result<(Self, oneshot::Receiver<()>), String> {
        let path = lock_path(seat);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut how = OpenOptions::new();
        let file = how.write(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another process holds {}: an earlier daemon that has not ended, or the HA engine that waits for it",
                    path.display()
                ));
            }
        }
        let (sender, gone) = oneshot::channel();
        held.store(true, Ordering::Release);
        let lock = Self {
            held: Arc::clone(held),
            _file: file,
            _let_go: sender,
        };
        Ok((lock, gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_what_its_file_says_and_a_new_file_is_a_new_seat() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seat");
        assert_eq!(Seat::look(&path), None);
        fs::write(&path, "/pool/record.db\n").unwrap();
        let first = Seat::look(&path).unwrap();
        assert_eq!(first.record, Ok(PathBuf::from("/pool/record.db")));
        assert_eq!(Seat::look(&path), Some(first.clone()));
        let other = folder.path().join("other");
        fs::write(&other, "/pool/record.db\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Seat::look(&path), Some(first));
        for nonsense in ["", "record.db", &"/x".repeat(4000)] {
            fs::write(&path, nonsense).unwrap();
            assert!(Seat::look(&path).unwrap().record.is_err());
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(Seat::look(&path).unwrap().record.is_err(), "a folder");
    }

    #[test]
    fn a_lock_has_one_holder_and_says_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let seat = folder.path().join("seat");
        let (held, other) = (Arc::default(), Arc::default());
        let (lock, mut gone) = SeatLock::take(&seat, &held).unwrap();
        let why = SeatLock::take(&seat, &other).err().unwrap();
        assert!(held.load(Ordering::Acquire) && !other.load(Ordering::Acquire));
        assert!(why.contains("seat.lock"), "{why}");
        assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop(lock);
        assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(!held.load(Ordering::Acquire));
        SeatLock::take(&seat, &held).unwrap();
    }
}
