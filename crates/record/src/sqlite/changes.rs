//! Says when the database's log is written to, whoever does it, so that nobody has to look all the time.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The log is being written to: a commit is visible in a moment, or already.
    Written,
    /// Nothing happened for that long.
    Time,
    /// Nobody wants to know any more.
    Stopped,
}

/// Waits for writes to one database's log.
#[derive(Debug)]
pub(super) struct Changes {
    inotify: Option<Inotify>,
    log: OsString,
    stop: UnixStream,
}

impl Changes {
    /// Of the database at `path`, until what is returned along with it is dropped.
    pub(super) fn of(path: &Path) -> io::Result<(Self, UnixStream)> {
        let (stop, stopped) = UnixStream::pair()?;
        let mut log = path.file_name().unwrap_or_default().to_owned();
        log.push("-wal");
        let inotify = match watch(path) {
            Ok(inotify) => Some(inotify),
            Err(error) => {
                tracing::warn!(%error, "writes to the record cannot be followed: it is polled");
                None
            }
        };
        let changes = Self {
            inotify,
            log,
            stop: stopped,
        };
        Ok((changes, stop))
    }

    /// Whether writes are noticed at all.
    pub(super) fn are_noticed(&self) -> bool {
        self.inotify.is_some()
    }

    /// Waits for a write, but not longer than that.
    pub(super) fn wait(&self, most: Duration) -> Woken {
        let mut fds = vec![PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        let inotify = self.inotify.as_ref();
        fds.extend(inotify.map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
        let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, most) {
            Ok(0) | Err(Errno::EINTR) => return Woken::Time,
            Ok(_) => {}
            Err(error) => {
                // It happens when memory runs out, and must not make this a busy loop.
                tracing::warn!(%error, "cannot wait for writes to the record");
                std::thread::sleep(Duration::from_secs(1));
                return Woken::Time;
            }
        }
        // The other end is closed, or the process is about to end.
        if fds[0].any() == Some(true) {
            return Woken::Stopped;
        }
        match self.was_written() {
            true => Woken::Written,
            false => Woken::Time,
        }
    }

    /// Whether what has happened in the folder since was a write to the log.
    fn was_written(&self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        match inotify.read_events() {
            // Events that were lost may have been any.
            Ok(events) => events.iter().any(|event| {
                event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
                    || event.name.as_ref() == Some(&self.log)
            }),
            Err(error) => io::Error::from(error).kind() != ErrorKind::WouldBlock,
        }
    }
}

/// The folder and not the log itself, which comes and goes.
fn watch(path: &Path) -> nix::Result<Inotify> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(folder.unwrap_or(Path::new(".")), AddWatchFlags::IN_MODIFY)?;
    Ok(inotify)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn writes_to_the_log_are_told_from_others_and_the_end_from_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.db");
        let log = folder.path().join("record.db-wal");
        let append = |path: &Path| {
            let mut how = OpenOptions::new();
            let mut file = how.create(true).append(true).open(path).unwrap();
            file.write_all(b"x").unwrap();
        };
        append(&path);
        let (changes, stop) = Changes::of(&path).unwrap();
        assert!(changes.are_noticed());
        assert_eq!(changes.wait(Duration::ZERO), Woken::Time);
        append(&path);
        assert_eq!(changes.wait(LONG), Woken::Time, "the database itself");
        append(&log);
        assert_eq!(changes.wait(LONG), Woken::Written, "a log that is new");
        assert_eq!(changes.wait(Duration::ZERO), Woken::Time, "it was told");
        fs::remove_file(&log).unwrap();
        append(&log);
        assert_eq!(changes.wait(LONG), Woken::Written);
        append(&log);
        drop(stop);
        assert_eq!(changes.wait(LONG), Woken::Stopped);
    }

    #[test]
    fn a_folder_that_cannot_be_watched_is_no_reason_not_to_wait() {
        let nowhere = Path::new("/nowhere/at/all/record.db");
        let (changes, stop) = Changes::of(nowhere).unwrap();
        assert!(!changes.are_noticed());
        assert_eq!(changes.wait(Duration::from_millis(1)), Woken::Time);
        drop(stop);
        assert_eq!(changes.wait(LONG), Woken::Stopped);
    }
}
