//! A medium that counts what is done to it, ends its user at a step, and knows what a power cut would leave.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::slots::disk::{Step, Watch};

/// What of the changes that were not synced a power cut lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// No power cut: only the daemon died.
    All,
    /// Nothing.
    Nothing,
    /// Names, whose content is not there yet.
    Names,
    /// Content, but no names.
    Content,
    /// All names, and of a rename the old one too: FAT.
    BothNames,
    /// All names, and of a rename neither: FAT.
    NoName,
}

impl Left {
    /// What a file system with a journal can leave.
    pub(super) const JOURNAL: [Self; 4] = [Self::All, Self::Nothing, Self::Names, Self::Content];
    /// What FAT can.
    pub(super) const FAT: [Self; 6] = [
        Self::All,
        Self::Nothing,
        Self::Names,
        Self::Content,
        Self::BothNames,
        Self::NoName,
    ];
}

/// The medium.
pub(super) struct Cut {
    inner: Mutex<Inner>,
}

struct Inner {
    /// Steps that are still done; none means all.
    remaining: Option<usize>,
    done: usize,
    cut: bool,
    fat: bool,
    files: Files,
}

/// Files by their names, those that are there and those that would be after a power cut. A file is a number: names lead to it.
#[derive(Default)]
struct Files {
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Content by number: as it is, and as it is on the medium for sure.
    content: Vec<(Vec<u8>, Vec<u8>)>,
    /// The last rename, until its folder is synced.
    torn: Option<(PathBuf, PathBuf, usize)>,
}

impl Cut {
    /// Ends its user before step number `after`, or never. All that lies below `root` now is durable.
    pub(super) fn new(root: &Path, after: Option<usize>) -> Arc<Self> {
        Self::on(root, after, false)
    }

    /// The same on FAT: a renamed file has no content for sure until it is synced under its new name.
    pub(super) fn on_fat(root: &Path, after: Option<usize>) -> Arc<Self> {
        Self::on(root, after, true)
    }

    fn on(root: &Path, after: Option<usize>, fat: bool) -> Arc<Self> {
        let mut files = Files::default();
        for path in all_files(root) {
            let content = fs::read(&path).unwrap();
            files.content.push((content.clone(), content));
            files.live.insert(path.clone(), files.content.len() - 1);
            files.durable.insert(path, files.content.len() - 1);
        }
        let inner = Inner {
            remaining: after,
            done: 0,
            cut: false,
            fat,
            files,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
        })
    }

    /// Steps that were done.
    pub(super) fn done(&self) -> usize {
        self.inner.lock().unwrap().done
    }

    /// Whether its user was ended.
    pub(super) fn was_cut(&self) -> bool {
        self.inner.lock().unwrap().cut
    }

    /// Counts a step that is none of the medium's.
    pub(super) fn count(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        if inner.remaining == Some(inner.done) {
            inner.cut = true;
            return Err(io::Error::other("the power was cut"));
        }
        inner.done += 1;
        Ok(())
    }

    /// Puts the files into the state that the cut leaves.
    pub(super) fn leave(&self, left: Left) {
        let inner = self.inner.lock().unwrap();
        let files = &inner.files;
        let mut names = match left {
            Left::All => return,
            Left::Nothing | Left::Content => files.durable.clone(),
            Left::Names | Left::BothNames | Left::NoName => files.live.clone(),
        };
        if let Some((from, to, file)) = &files.torn {
            match left {
                Left::BothNames => drop(names.insert(from.clone(), *file)),
                Left::NoName => drop(names.remove(to)),
                Left::All | Left::Nothing | Left::Names | Left::Content => {}
            }
        }
        for path in files.live.keys() {
            if !names.contains_key(path) {
                fs::remove_file(path).unwrap();
            }
        }
        for (path, file) in names {
            let (live, durable) = &files.content[file];
            let content = match left {
                Left::Content => live,
                Left::All | Left::Nothing | Left::Names | Left::BothNames | Left::NoName => durable,
            };
            fs::write(path, content).unwrap();
        }
    }
}

impl Watch for Cut {
    fn before(&self, _step: &Step) -> io::Result<()> {
        self.count()
    }

    fn after(&self, step: &Step) {
        let mut inner = self.inner.lock().unwrap();
        let fat = inner.fat;
        let files = &mut inner.files;
        match step {
            Step::Write(path) => {
                files.content.push((fs::read(path).unwrap(), Vec::new()));
                let file = files.content.len() - 1;
                files.live.insert(path.clone(), file);
                // What it held before is gone at once: it was cut to no length.
                if let Some(before) = files.durable.get_mut(path) {
                    *before = file;
                }
            }
            Step::Overwrite(path) => files.content[files.live[path]].0 = fs::read(path).unwrap(),
            Step::SyncFile(path) => {
                let content = &mut files.content[files.live[path]];
                content.1 = content.0.clone();
            }
            Step::Rename(from, to) => {
                let file = files.live.remove(from).unwrap();
                files.live.insert(to.clone(), file);
                files.torn = Some((from.clone(), to.clone(), file));
                if fat {
                    files.content[file].1.clear();
                }
            }
            Step::Remove(path) => drop(files.live.remove(path)),
            Step::MakeDir(_) => {}
            Step::SyncDir(dir) => {
                files.durable.retain(|path, _| path.parent() != Some(dir));
                let here = files
                    .live
                    .iter()
                    .filter(|(path, _)| path.parent() == Some(dir));
                let here: Vec<_> = here.map(|(path, file)| (path.clone(), *file)).collect();
                files.durable.extend(here);
                files.torn = None;
            }
        }
    }
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(all_files(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}
