//! Which drives were taken out of an array by us, on disk: an array forgets a drive that was removed from it, and a drive that
//! was taken out for its firmware must be told from one that has failed, also after a power cut.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use evenkeel_model::DiskSerial;
use serde::{Deserialize, Serialize};

use crate::look::{Answer, unavailable};
use evenkeel_platform::devices::GroupId;

/// A drive that we took out, or were about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Where it belongs.
    pub(super) group: GroupId,
    /// The array's own name for itself: kernel names change.
    pub(super) array: String,
    /// Which partition of the drive is the member; none if it is the whole drive.
    pub(super) partition: Option<u64>,
    /// The name of the drive in device mapper, where that is the member.
    pub(super) mapped: Option<String>,
}

/// The folder of notes, one file a drive.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    folder: PathBuf,
}

impl Notes {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn file(&self, serial: &DiskSerial) -> PathBuf {
        self.folder.join(format!("{serial}.json"))
    }

    /// The note of a drive, if there is one.
    pub(super) fn read(&self, serial: &DiskSerial) -> Answer<Option<Note>> {
        let path = self.file(serial);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, &error)),
        };
        let note = serde_json::from_slice(&text);
        note.map(Some).map_err(|error| {
            unavailable(format!(
                "{} is not a note of a drive that is out of its array ({error}): bring the drive back by hand, then remove the file",
                path.display()
            ))
        })
    }

    /// Durable when it returns: before the drive leaves.
    pub(super) fn write(&self, serial: &DiskSerial, note: &Note) -> Answer<()> {
        let path = self.file(serial);
        let text = serde_json::to_vec(note);
        let text = text.map_err(|error| unavailable(format!("{}: {error}", path.display())))?;
        let write = || {
            fs::create_dir_all(&self.folder)?;
            // Not a serial number: nobody reads it as a note.
            let draft = self.folder.join(format!(".{serial}"));
            let mut file = File::create(&draft)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            sync(&self.folder)
        };
        write().map_err(|error| failed(&path, &error))
    }

    /// Once the drive is back. A note that comes again after a power cut does no harm: the drive is in its array then.
    pub(super) fn remove(&self, serial: &DiskSerial) -> Answer<()> {
        let path = self.file(serial);
        match fs::remove_file(&path).and_then(|()| sync(&self.folder)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&path, &error)),
        }
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, error: &io::Error) -> evenkeel_platform::PlatformError {
    unavailable(format!("{}: {error}", path.display()))
}
