//! The folder that a package grows in, and what stays of it for a resume.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::aside;
use crate::fsutil;
use crate::room::check_space;
use crate::stage::StageLimits;
use crate::stage_error::StageError;
use crate::store::{ARCHIVE, Inner, Store, StoreError};
use crate::underway::{Growing, Underway};

/// What a caller keeps beside a partial. A partial without it is debris.
pub(crate) const NOTE: &str = "note";
/// Ends the name of a folder in which a package grows.
const SUFFIX: &str = ".partial";

/// What is here of a package that was not received to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The id of the staging that received it.
    pub stage_id: String,
    /// The caller's words, see [`Staging::note`](crate::Staging::note); empty if there are none.
    pub note: Vec<u8>,
    /// Bytes of archive on disk; a resume may find that not all of them hold.
    pub bytes: u64,
}

impl Store {
    /// What [`resume`](Self::resume) can go on with; not what is under way.
    pub fn partials(&self) -> Result<Vec<Partial>, StoreError> {
        let dir = self.inner.incoming_dir();
        let mut partials = Vec::new();
        for entry in fs::read_dir(&dir).map_err(StoreError::io("list", &dir))? {
            let path = entry.map_err(StoreError::io("list", &dir))?.path();
            let Some(stage_id) = stage_id_of(&path) else {
                continue;
            };
            if self.inner.index().staging.contains_key(stage_id) {
                continue;
            }
            // Without a note it is no partial, or has just ceased to be one.
            if let Ok(note) = fs::read(path.join(NOTE)) {
                let bytes = path.join(ARCHIVE).metadata().map_or(0, |meta| meta.len());
                let stage_id = stage_id.to_owned();
                partials.push(Partial {
                    stage_id,
                    note,
                    bytes,
                });
            }
        }
        partials.sort_by(|a, b| a.stage_id.cmp(&b.stage_id));
        Ok(partials)
    }

    /// Drops what is kept of a staging; durable when it returns. What is not there is fine.
    pub fn discard(&self, stage_id: &str) -> Result<(), StageError> {
        // Taken for as long as it lasts: a staging that begins meanwhile would lose its folder.
        let mut place = Place::claim(&self.inner, stage_id, &StageLimits::default())?;
        place.set_kept(true);
        let dir = place.dir();
        aside::bury(&self.inner, dir).map_err(StageError::io("remove", dir))?;
        let incoming = self.inner.incoming_dir();
        fsutil::sync_dir(&incoming).map_err(StageError::io("sync", &incoming))
    }
}

/// Whether a folder in `incoming/` may stay when the store is opened.
pub(crate) fn is_resumable(path: &Path) -> bool {
    stage_id_of(path).is_some() && path.join(NOTE).is_file()
}

fn stage_id_of(path: &Path) -> Option<&str> {
    let stage_id = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    check_id(stage_id).is_ok().then_some(stage_id)
}

/// A stage id is a word.
fn check_id(stage_id: &str) -> Result<(), StageError> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if stage_id.is_empty() || stage_id.len() > 128 || !stage_id.chars().all(word) {
        return Err(StageError::BadId {
            stage_id: stage_id.to_owned(),
        });
    }
    Ok(())
}

fn busy(stage_id: &str) -> StageError {
    StageError::Busy {
        stage_id: stage_id.to_owned(),
    }
}

fn partial_dir(inner: &Inner, stage_id: &str) -> PathBuf {
    inner.incoming_dir().join(format!("{stage_id}{SUFFIX}"))
}

/// The folder that a package grows in, and its entry among what is under way. When dropped, both go — the
/// folder unless it is to be kept: by then the package was renamed, or failed.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) inner: Arc<Inner>,
    stage_id: String,
    dir: PathBuf,
    growing: Growing,
    keep: bool,
}

impl Place {
    /// An empty folder, if there is room. One that an earlier staging has left goes first.
    pub(crate) fn create(
        inner: &Arc<Inner>,
        stage_id: &str,
        limits: &StageLimits,
    ) -> Result<Self, StageError> {
        let mut place = Self::claim(inner, stage_id, limits)?;
        // Refused for want of room, it leaves what is there as it is.
        place.keep = true;
        // What it has announced is promised to it by now: whoever begins at the same time counts it.
        check_space(inner, limits)?;
        place.keep = false;
        let dir = &place.dir;
        aside::bury(inner, dir).map_err(StageError::io("remove", dir))?;
        fsutil::create_dir(dir).map_err(StageError::io("create", dir))?;
        if limits.keep_partial {
            let note = dir.join(NOTE);
            fsutil::replace_synced(&note, b"").map_err(StageError::io("write", &note))?;
            let incoming = inner.incoming_dir();
            fsutil::sync_dir(&incoming).map_err(StageError::io("sync", &incoming))?;
        }
        Ok(place)
    }

    /// The folder that an earlier staging has left.
    pub(crate) fn reopen(
        inner: &Arc<Inner>,
        stage_id: &str,
        limits: &StageLimits,
    ) -> Result<Self, StageError> {
        let mut place = Self::claim(inner, stage_id, limits)?;
        if !is_resumable(&place.dir) {
            return Err(StageError::NothingKept {
                stage_id: stage_id.to_owned(),
            });
        }
        // Until the replay begins nothing has been found wrong with it.
        place.keep = true;
        Ok(place)
    }

    fn claim(inner: &Arc<Inner>, stage_id: &str, limits: &StageLimits) -> Result<Self, StageError> {
        check_id(stage_id)?;
        let dir = partial_dir(inner, stage_id);
        let (growing, underway) = Underway::new(inner.clock.clone(), dir.join(ARCHIVE), limits);
        let mut index = inner.index();
        if index.staging.contains_key(stage_id) {
            return Err(busy(stage_id));
        }
        index.staging.insert(stage_id.to_owned(), underway);
        Ok(Self {
            inner: inner.clone(),
            stage_id: stage_id.to_owned(),
            dir,
            growing,
            keep: false,
        })
    }

    pub(crate) fn stage_id(&self) -> &str {
        &self.stage_id
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn growing(&self) -> &Growing {
        &self.growing
    }

    /// Whether the folder stays when this is dropped.
    pub(crate) fn set_kept(&mut self, keep: bool) {
        self.keep = keep;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The note first: what is left without it is debris, which the next open of the store removes.
        if !self.keep
            && let Err(error) = fsutil::remove_all(&self.dir.join(NOTE))
                .and_then(|()| fsutil::remove_all(&self.dir))
        {
            tracing::warn!(path = %self.dir.display(), %error, "an unfinished package remains");
        }
        self.inner.index().staging.remove(&self.stage_id);
        self.inner.reaper.ring();
    }
}
