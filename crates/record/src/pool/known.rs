//! Which record this node knows: remembered beside its own database, so that it never takes another one for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Why a record is not the one that this node knows, or that cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKnown {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} does not say which record this node knows")]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{record} does not exist, and this node knows a record already: another pool is mounted, or the file was lost. Mount the \
         right pool, or restore a backup. {memory} remembers it; to give the cluster up for a new one, stop both daemons and move their data \
         folders away"
    )]
    Lost { record: PathBuf, memory: PathBuf },
    #[error(
        "the record {found} is not the one that this node knows, {known}: mount the right pool; to go over to this record, stop both \
         daemons and remove {memory} on both nodes"
    )]
    Other {
        found: u64,
        known: u64,
        memory: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Written {
    record: u64,
}

/// The memory, in a file of this node's.
pub(super) struct Known {
    path: PathBuf,
    /// What the file says, once it says something: it never says anything else while this daemon runs.
    said: Mutex<Option<u64>>,
}

impl Known {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            said: Mutex::default(),
        }
    }

    /// Before the file of a record is opened, which makes it when it is not there. Says which record it must be.
    pub(super) fn check_exists(&self, record: &Path) -> Result<Option<u64>, NotKnown> {
        match (self.get()?, record.exists()) {
            (Some(_), false) => Err(NotKnown::Lost {
                record: record.to_owned(),
                memory: self.path.clone(),
            }),
            (known, _) => Ok(known),
        }
    }

    /// Is it this one? The first that is met is remembered. Writes to disk then.
    pub(super) fn check(&self, found: u64) -> Result<(), NotKnown> {
        // One at a time: both the file's opening and the partner's answers tell of a record.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match self.ask(&mut said)? {
            Some(known) if known == found => Ok(()),
            Some(known) => Err(NotKnown::Other {
                found,
                known,
                memory: self.path.clone(),
            }),
            None => self.remember(&mut said, found),
        }
    }

    /// The record that this node knows. Reads the disk only until it knows one.
    pub(super) fn get(&self) -> Result<Option<u64>, NotKnown> {
        self.ask(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, said: &mut Option<u64>) -> Result<Option<u64>, NotKnown> {
        if said.is_some() {
            return Ok(*said);
        }
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = self.path.clone();
                return Err(NotKnown::Read { path, source });
            }
        };
        let written: Written = serde_json::from_slice(&text).map_err(|source| {
            let path = self.path.clone();
            NotKnown::Parse { path, source }
        })?;
        *said = Some(written.record);
        Ok(*said)
    }

    fn remember(&self, said: &mut Option<u64>, record: u64) -> Result<(), NotKnown> {
        let text = serde_json::to_vec(&Written { record }).expect("plain data: JSON can say it");
        write(&self.path, &text).map_err(|source| NotKnown::Write {
            path: self.path.clone(),
            source,
        })?;
        *said = Some(record);
        Ok(())
    }
}

/// All of it or nothing, and on disk when this returns.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut how = OpenOptions::new();
    let mut file = how
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_is_the_only_one_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, record) = (
            folder.path().join("record-known.json"),
            folder.path().join("record.db"),
        );
        let known = Known::new(memory.clone());
        known.check_exists(&record).unwrap();
        known.check(7).unwrap();
        let known = Known::new(memory.clone());
        known.check(7).unwrap();
        assert!(matches!(
            known.check(8),
            Err(NotKnown::Other {
                found: 8,
                known: 7,
                ..
            })
        ));
        let lost = known.check_exists(&record).unwrap_err();
        assert!(lost.to_string().contains("record-known.json"), "{lost}");
        fs::write(&record, "").unwrap();
        known.check_exists(&record).unwrap();
        fs::remove_file(&memory).unwrap();
        let known = Known::new(memory.clone());
        assert!(matches!(known.get(), Ok(None)));
        known.check(8).unwrap();
        fs::write(&memory, "seven").unwrap();
        let known = Known::new(memory);
        assert!(matches!(known.check(8), Err(NotKnown::Parse { .. })));
    }
}
