//! Finds what a tree holds, for the builder.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use evenkeel_model::{
    Attributes, Digest, Entry, EntryKind, MAX_ENTRIES, ManifestError, Owner, check_xattr,
};

use crate::build::{Owners, Recorded};
use crate::build_error::BuildError;

/// The longest value, and the longest list of names, that Linux gives.
const MAX_XATTR_READ: usize = 64 << 10;

/// One file, directory or link of the tree.
pub(crate) struct Found {
    pub(crate) entry: Entry,
    /// When it was written, for a file; else 0.
    pub(crate) mtime: i64,
}

/// Collects everything below a folder, each folder before its content, names in byte order.
pub(crate) struct Walk {
    recorded: Recorded,
    /// The first name met of each file that has several, with its mode.
    names: HashMap<(u64, u64), String>,
    found: Vec<Found>,
}

impl Walk {
    pub(crate) fn of(root: &Path, recorded: Recorded) -> Result<Vec<Found>, BuildError> {
        let (names, found) = (HashMap::new(), Vec::new());
        let mut walk = Self {
            recorded,
            names,
            found,
        };
        walk.folder(root, "")?;
        Ok(walk.found)
    }

    fn folder(&mut self, dir: &Path, prefix: &str) -> Result<(), BuildError> {
        for name in sorted_names(dir)? {
            let path = dir.join(&name);
            let Some(name) = name.to_str() else {
                return Err(BuildError::NotUtf8 { path });
            };
            let relative = match prefix {
                "" => name.to_owned(),
                prefix => format!("{prefix}/{name}"),
            };
            let meta = path
                .symlink_metadata()
                .map_err(BuildError::io("examine", &path))?;
            let entry = self.entry(&path, relative.clone(), &meta)?;
            // A folder's time changes with every build artefact that comes and goes; a file's says more.
            let mtime = if meta.is_file() { meta.mtime() } else { 0 };
            self.found.push(Found { entry, mtime });
            if self.found.len() > MAX_ENTRIES {
                let count = self.found.len();
                return Err(ManifestError::TooManyEntries { count }.into());
            }
            if meta.is_dir() {
                self.folder(&path, &relative)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        path: &Path,
        relative: String,
        meta: &Metadata,
    ) -> Result<Entry, BuildError> {
        let kind = self.kind(path, &relative, meta)?;
        let mode = match kind {
            // Linux has no modes on links.
            EntryKind::Symlink { .. } => 0o777,
            EntryKind::File { .. } | EntryKind::Directory | EntryKind::HardLink { .. } => {
                meta.permissions().mode() & 0o7777
            }
        };
        let attributes = match kind {
            EntryKind::HardLink { .. } => Attributes::default(),
            EntryKind::File { .. } | EntryKind::Directory | EntryKind::Symlink { .. } => {
                self.attributes(path, &kind, meta)?
            }
        };
        Ok(Entry {
            path: relative,
            mode,
            kind,
            attributes,
        })
    }

    fn kind(
        &mut self,
        path: &Path,
        relative: &str,
        meta: &Metadata,
    ) -> Result<EntryKind, BuildError> {
        if meta.is_dir() {
            return Ok(EntryKind::Directory);
        }
        if meta.is_symlink() {
            let target = fs::read_link(path).map_err(BuildError::io("read", path))?;
            let not_utf8 = || BuildError::NotUtf8 {
                path: path.to_owned(),
            };
            let target = target.to_str().ok_or_else(not_utf8)?.to_owned();
            return Ok(EntryKind::Symlink { target });
        }
        if !meta.is_file() {
            return Err(BuildError::Unsupported {
                path: path.to_owned(),
            });
        }
        if meta.nlink() > 1 && !self.recorded.split_hard_links {
            let inode = (meta.dev(), meta.ino());
            if let Some(target) = self.names.get(&inode).cloned() {
                return Ok(EntryKind::HardLink { target });
            }
            self.names.insert(inode, relative.to_owned());
        }
        // The digest follows when all cores hash.
        Ok(EntryKind::File {
            size: meta.len(),
            sha256: Digest([0; 32]),
        })
    }

    fn attributes(
        &self,
        path: &Path,
        kind: &EntryKind,
        meta: &Metadata,
    ) -> Result<Attributes, BuildError> {
        let owner = match self.recorded.owners {
            Owners::Unlisted => None,
            Owners::All(owner) => Some(owner),
            Owners::AsInTree => Some(Owner {
                uid: meta.uid(),
                gid: meta.gid(),
            }),
        };
        // Before 1970 nothing was built: tar has no portable way to say so.
        let mtime = self
            .recorded
            .times
            .then(|| u64::try_from(meta.mtime()).unwrap_or(0));
        let xattrs = match kind {
            EntryKind::File { .. } | EntryKind::Directory if self.recorded.xattrs => {
                read_xattrs(path, kind)?
            }
            EntryKind::File { .. }
            | EntryKind::Directory
            | EntryKind::Symlink { .. }
            | EntryKind::HardLink { .. } => BTreeMap::new(),
        };
        Ok(Attributes {
            owner,
            mtime,
            xattrs,
        })
    }
}

fn sorted_names(dir: &Path) -> Result<Vec<std::ffi::OsString>, BuildError> {
    let listed: io::Result<Vec<_>> =
        fs::read_dir(dir).and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect());
    let mut names = listed.map_err(BuildError::io("list", dir))?;
    names.sort();
    Ok(names)
}

/// Labels that the building machine's own security modules put on every file say nothing about the package.
/// Whatever else packages may not set is named, rather than lost in silence.
fn read_xattrs(path: &Path, kind: &EntryKind) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let failed = || BuildError::io("read the extended attributes of", path);
    let mut buffer = vec![0; MAX_XATTR_READ];
    let length = match rustix::fs::llistxattr(path, &mut buffer) {
        Ok(length) => length,
        // A file system without any.
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(errno) => return Err(failed()(errno.into())),
    };
    let names = buffer[..length].split(|byte| *byte == 0);
    let names: Vec<Vec<u8>> = names
        .filter(|n| !n.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let mut xattrs = BTreeMap::new();
    for name in names {
        let Ok(name) = String::from_utf8(name) else {
            return Err(BuildError::NotUtf8 {
                path: PathBuf::from(path),
            });
        };
        // A label is not even read.
        if name.starts_with("security.") && name != "security.capability" {
            continue;
        }
        let length = rustix::fs::lgetxattr(path, name.as_str(), &mut buffer)
            .map_err(|errno| failed()(errno.into()))?;
        if let Err(problem) = check_xattr(kind, &name, &buffer[..length]) {
            let path = path.to_owned();
            return Err(BuildError::Xattr {
                path,
                name,
                problem,
            });
        }
        xattrs.insert(name, buffer[..length].to_vec());
    }
    Ok(xattrs)
}
