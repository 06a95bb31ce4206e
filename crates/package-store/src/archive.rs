//! An archive that grows on disk, with the list of its chunks beside it.
//!
//! The list is appended to after the chunk that it speaks of. After a power cut either may be torn: what
//! counts is the longest front whose chunks match the list.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use evenkeel_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::chunks::{CHUNK_BYTES, ChunkList, chunk_digest};
use crate::fsutil;
use crate::stage_error::StageError;
use crate::store::{ARCHIVE, CHUNKS, MANIFEST, SIDECAR, SIGNATURE};

/// The two files, open for appending.
pub(crate) struct ArchiveFile {
    path: PathBuf,
    file: File,
    list_path: PathBuf,
    list_file: File,
    list: ChunkList,
    /// The chunk that is not complete yet.
    current: Sha256,
    in_chunk: u64,
    received: u64,
}

impl ArchiveFile {
    pub(crate) fn create(dir: &Path) -> Result<Self, StageError> {
        let make = |path: &Path| fsutil::create_file(path).map_err(StageError::io("create", path));
        Self::new(dir, make)
    }

    /// Opens what an earlier staging has left; [`replay`](Self::replay) comes next.
    pub(crate) fn reopen(dir: &Path) -> Result<Self, StageError> {
        // A crash in the last moment of the earlier one may have left these; they are written anew.
        for name in [MANIFEST, SIGNATURE, SIDECAR] {
            let path = dir.join(name);
            fsutil::remove_all(&path).map_err(StageError::io("remove", &path))?;
        }
        let open = |path: &Path| {
            let mut options = File::options();
            let options = options.read(true).write(true).create(true).truncate(false);
            options.open(path).map_err(StageError::io("open", path))
        };
        Self::new(dir, open)
    }

    fn new(
        dir: &Path,
        open: impl Fn(&Path) -> Result<File, StageError>,
    ) -> Result<Self, StageError> {
        let (path, list_path) = (dir.join(ARCHIVE), dir.join(CHUNKS));
        Ok(Self {
            file: open(&path)?,
            path,
            list_file: open(&list_path)?,
            list_path,
            list: ChunkList::default(),
            current: Sha256::new(),
            in_chunk: 0,
            received: 0,
        })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes appended, those of a replay among them.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes in complete chunks: what may be given to others.
    pub(crate) fn complete_bytes(&self) -> u64 {
        self.received - self.in_chunk
    }

    pub(crate) fn list(&self) -> &ChunkList {
        &self.list
    }

    pub(crate) fn bytes_on_disk(&self) -> Result<u64, StageError> {
        let meta = self.file.metadata();
        Ok(meta.map_err(StageError::io("examine", &self.path))?.len())
    }

    /// Appends bytes, wherever chunks begin and end.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> Result<(), StageError> {
        fsutil::write_all(&self.file, &self.path, bytes)
            .map_err(StageError::io("write", &self.path))?;
        while !bytes.is_empty() {
            let room = usize::try_from(CHUNK_BYTES - self.in_chunk).unwrap_or(usize::MAX);
            let (piece, rest) = bytes.split_at(bytes.len().min(room));
            self.current.update(piece);
            self.in_chunk += piece.len() as u64;
            self.received += piece.len() as u64;
            bytes = rest;
            if self.in_chunk == CHUNK_BYTES {
                let digest = Digest(self.current.finalize_reset().into());
                self.in_chunk = 0;
                self.list_chunk(digest)?;
            }
        }
        Ok(())
    }

    /// Appends a chunk whose digest is known. Only a whole chunk at a boundary spares the hashing.
    pub(crate) fn append_chunk(&mut self, bytes: &[u8], digest: Digest) -> Result<(), StageError> {
        if self.in_chunk != 0 || bytes.len() as u64 != CHUNK_BYTES {
            return self.append(bytes);
        }
        fsutil::write_all(&self.file, &self.path, bytes)
            .map_err(StageError::io("write", &self.path))?;
        self.received += CHUNK_BYTES;
        self.list_chunk(digest)
    }

    fn list_chunk(&mut self, digest: Digest) -> Result<(), StageError> {
        self.list.push(digest);
        fsutil::write_all(&self.list_file, &self.list_path, &digest.0)
            .map_err(StageError::io("write", &self.list_path))
    }

    /// No more bytes come, for now or for good: lists the last, shorter chunk and makes all of it durable.
    pub(crate) fn end(&mut self) -> Result<(), StageError> {
        if self.in_chunk > 0 {
            let digest = Digest(self.current.clone().finalize().into());
            self.list_chunk(digest)?;
        }
        for (file, path) in [(&self.file, &self.path), (&self.list_file, &self.list_path)] {
            fsutil::sync_file(file, path).map_err(StageError::io("sync", path))?;
        }
        Ok(())
    }

    /// Gives what an earlier staging has left, as far as it holds, and cuts off the rest. `give` gets every
    /// piece when it is counted, and may stop the replay.
    pub(crate) fn replay(
        &mut self,
        mut give: impl FnMut(&Self, Bytes) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StageError> {
        let listed = fs::read(&self.list_path).map_err(StageError::io("read", &self.list_path))?;
        let listed = ChunkList::parse_torn(listed);
        let mut tail = None;
        while let Some(expected) = listed.get(self.list.len()) {
            let bytes = self
                .read_chunk()
                .map_err(StageError::io("read", &self.path))?;
            if bytes.is_empty() || chunk_digest(&bytes) != expected {
                break;
            }
            if (bytes.len() as u64) < CHUNK_BYTES {
                tail = Some(bytes);
                break;
            }
            self.received += CHUNK_BYTES;
            self.list.push(expected);
            if give(self, bytes).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.cut()?;
        match tail {
            None => Ok(ControlFlow::Continue(())),
            Some(bytes) => {
                self.append(&bytes)?;
                Ok(give(self, bytes))
            }
        }
    }

    fn read_chunk(&self) -> io::Result<Bytes> {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES as usize);
        (&self.file).take(CHUNK_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Drops from both files what is not proven, and stands at their ends.
    fn cut(&mut self) -> Result<(), StageError> {
        let list_bytes = self.list.as_bytes().len() as u64;
        for (mut file, path, bytes) in [
            (&self.list_file, &self.list_path, list_bytes),
            (&self.file, &self.path, self.received),
        ] {
            fsutil::truncate(file, path, bytes)
                .and_then(|()| file.seek(SeekFrom::Start(bytes)))
                .map_err(StageError::io("cut", path))?;
        }
        Ok(())
    }
}
