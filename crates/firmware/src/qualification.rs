//! The disk qualification package of a node: replaced whole, and never by an older one.
//!
//! It is data, not firmware of a device: which drives are known. What it says of a drive is judged where checks are.

use std::cmp::Ordering;
use std::io::Write;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use evenkeel_model::{Digest, FirmwareRevision, How};
use serde::{Deserialize, Serialize};

use crate::error::FirmwareError;

/// The file itself.
const FILE: &str = "qual_devices";
/// What it is: written after it, so that a file without its mark is not trusted.
const MARK: &str = "qual_devices.json";

/// Which package it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualificationMark {
    /// Its revision, a day: decides which of two is newer.
    pub revision: FirmwareRevision,
    /// Digest of its content.
    pub digest: Digest,
    /// Name of its file in the package it came in.
    #[serde(default)]
    pub file: String,
}

/// Where a node keeps its disk qualification package.
#[async_trait]
pub trait QualificationStore: Send + Sync {
    /// Which one is in place; none before the first.
    async fn current(&self) -> Result<Option<QualificationMark>, FirmwareError>;
    /// Replaces it as a whole: whoever reads meanwhile, or after a power cut, sees the old one or the new one.
    async fn replace(&self, mark: &QualificationMark, bytes: &[u8]) -> Result<(), FirmwareError>;
    /// The content of the one that is in place; none before the first.
    async fn content(&self) -> Result<Option<Vec<u8>>, FirmwareError>;
}

/// Puts a verified package in place, unless the same or a newer one is there.
pub async fn renew_qualification(
    store: &dyn QualificationStore,
    mark: &QualificationMark,
    bytes: &[u8],
) -> Result<How, FirmwareError> {
    if let Some(current) = store.current().await? {
        match current.revision.order(&mark.revision) {
            Ordering::Greater => return Ok(How::AlreadyDone),
            Ordering::Equal if current.digest == mark.digest => return Ok(How::AlreadyDone),
            Ordering::Equal => {
                let text = format!("revision {} is in place with other content", mark.revision);
                return Err(FirmwareError::Qualification(text));
            }
            Ordering::Less => {}
        }
    }
    store.replace(mark, bytes).await?;
    match store.current().await? {
        Some(current) if current == *mark => Ok(How::Completed),
        other => Err(FirmwareError::Qualification(format!(
            "it reads back as {other:?}"
        ))),
    }
}

/// A folder that holds the package.
#[derive(Clone, Debug)]
pub struct QualificationFolder {
    dir: PathBuf,
}

impl QualificationFolder {
    /// The folder; it is made with the first package.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Each package has a file of its own; the mark says which one is in place.
    fn file(&self, mark: &QualificationMark) -> PathBuf {
        self.dir.join(format!("{FILE}.{}", mark.digest))
    }
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> FirmwareError {
    move |error| FirmwareError::Qualification(format!("{what}: {error}"))
}

/// Writes a file beside its place, makes it durable, and moves it there.
fn write(dir: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    std::fs::File::open(dir)?.sync_all()
}

impl QualificationFolder {
    fn read_mark(&self) -> Result<Option<QualificationMark>, FirmwareError> {
        let mark = match std::fs::read(self.dir.join(MARK)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("its mark cannot be read")(error)),
        };
        // A mark that cannot be read, or names a file that is not there, is replaced like none.
        let mark: Option<QualificationMark> = serde_json::from_slice(&mark).ok();
        Ok(mark.filter(|mark| self.file(mark).exists()))
    }

    fn put(&self, mark: &QualificationMark, bytes: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let file = self.file(mark);
        write(&self.dir, &file, bytes)?;
        let text = serde_json::to_vec(mark)?;
        write(&self.dir, &self.dir.join(MARK), &text)?;
        self.remove_others(&file)
    }

    /// Packages that are in place no more.
    fn remove_others(&self, file: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let ours = name.is_some_and(|name| name.starts_with(FILE) && name != MARK);
            if ours && path != file {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The content of the package that is in place; none before the first.
    pub async fn read(&self) -> Result<Option<Vec<u8>>, FirmwareError> {
        let folder = self.clone();
        let read = move || match folder.read_mark()? {
            Some(mark) => match std::fs::read(folder.file(&mark)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) => Err(failed("it cannot be read")(error)),
            },
            None => Ok(None),
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| FirmwareError::Qualification(error.to_string()))?
    }
}

#[async_trait]
impl QualificationStore for QualificationFolder {
    async fn current(&self) -> Result<Option<QualificationMark>, FirmwareError> {
        let folder = self.clone();
        let read = tokio::task::spawn_blocking(move || folder.read_mark()).await;
        read.map_err(|error| FirmwareError::Qualification(error.to_string()))?
    }

    async fn replace(&self, mark: &QualificationMark, bytes: &[u8]) -> Result<(), FirmwareError> {
        let (folder, mark, bytes) = (self.clone(), mark.clone(), bytes.to_vec());
        let put = tokio::task::spawn_blocking(move || folder.put(&mark, &bytes)).await;
        let put = put.map_err(|error| FirmwareError::Qualification(error.to_string()))?;
        put.map_err(failed("it cannot be written"))
    }

    async fn content(&self) -> Result<Option<Vec<u8>>, FirmwareError> {
        self.read().await
    }
}
