//! The seam to the storage under the database: where the simulation lets a disk fail.

/// What a storage does of what SQLite asks it for. The database on a real file has `Sound`: SQLite tells
/// of its troubles by itself.
pub trait Disk: Send + Sync {
    /// Something is to be read.
    fn read(&self) -> Result<(), DiskFault>;
    /// A transaction is to begin.
    fn begin(&self) -> Result<(), DiskFault>;
    /// A transaction is to be made durable.
    fn commit(&self) -> Commit;
}

/// Why a storage did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// There is no room.
    Full,
    /// The device failed.
    Io,
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is durable.
    Done,
    /// Nothing of it is there.
    Lost(DiskFault),
    /// It is durable, but an error is told.
    Unheard(DiskFault),
}

/// A storage without faults of its own.
pub(super) struct Sound;

impl Disk for Sound {
    fn read(&self) -> Result<(), DiskFault> {
        Ok(())
    }

    fn begin(&self) -> Result<(), DiskFault> {
        Ok(())
    }

    fn commit(&self) -> Commit {
        Commit::Done
    }
}

impl From<DiskFault> for rusqlite::Error {
    fn from(fault: DiskFault) -> Self {
        let code = match fault {
            DiskFault::Full => rusqlite::ffi::SQLITE_FULL,
            DiskFault::Io => rusqlite::ffi::SQLITE_IOERR,
        };
        Self::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }
}
