//! Two packages of real content: this build's programs and a tree of files from the host.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use evenkeel_lab::DAEMON_IN_IMAGE;
use evenkeel_model::{PlatformName, SourceVersions, Version};
use evenkeel_package_store::{
    BuildError, BuildOptions, Built, Compression, Recorded, SecretKey, build,
};

/// Where trees of ordinary files are found on ordinary systems, small files and large.
const HOST_TREES: &[&str] = &[
    "/usr/lib/python3",
    "/usr/share/perl",
    "/usr/include",
    "/usr/share/zoneinfo",
    "/usr/share/doc",
    "/usr/share",
    "/usr/lib",
];
/// Bytes taken from the host: enough to be real work, little enough for a demo.
const HOST_BYTES: u64 = 32 << 20;
/// A file larger than this is not taken: one file would be the whole tree.
const LARGEST_FILE: u64 = 4 << 20;
/// Every so manieth file of the host's tree differs between the versions.
const CHANGED_EVERY: usize = 10;

/// Why content could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("cannot {step} {}: {source}", path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("this host has no tree of files to take: none of {} is there", HOST_TREES.join(", "))]
    NoTree,
    #[error("cannot build the package of version {version}")]
    Build {
        version: Version,
        #[source]
        source: BuildError,
    },
}

impl ContentError {
    fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { step, path, source }
    }
}

/// This build's programs.
pub(crate) struct Programs {
    pub(crate) evenkeel: PathBuf,
    pub(crate) evenkeeld: PathBuf,
}

/// The trees of both versions, in `dir/old` and `dir/new`.
pub(crate) struct Trees {
    pub(crate) old: PathBuf,
    pub(crate) new: PathBuf,
}

/// Fills both trees: the programs where the lab looks for them, and files of the host.
pub(crate) fn make_trees(
    dir: &Path,
    programs: &Programs,
    new: &Version,
) -> Result<Trees, ContentError> {
    let trees = Trees {
        old: dir.join("old"),
        new: dir.join("new"),
    };
    for tree in [&trees.old, &trees.new] {
        place_programs(tree, programs)?;
    }
    // Bytes behind an ELF file's end change nothing but the file: a newer daemon that works.
    append(
        &trees.new.join(DAEMON_IN_IMAGE),
        &format!("\nevenkeeld {new}\n"),
    )?;
    take_from_host(&trees, new)?;
    Ok(trees)
}

/// Puts the programs where the lab's boot loader looks for the daemon.
pub(crate) fn place_programs(tree: &Path, programs: &Programs) -> Result<(), ContentError> {
    let daemon = tree.join(DAEMON_IN_IMAGE);
    let bin = daemon.parent().unwrap_or(tree);
    fs::create_dir_all(bin).map_err(ContentError::file("make", bin))?;
    install(&programs.evenkeel, &bin.join("evenkeel"))?;
    install(&programs.evenkeeld, &daemon)
}

/// Copies a program without its debug information, where the compiler's `strip` is there to take it off.
fn install(from: &Path, to: &Path) -> Result<(), ContentError> {
    let mut strip = Command::new("strip");
    strip
        .arg("-o")
        .arg(to)
        .arg(from)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let stripped = strip
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !stripped {
        fs::copy(from, to).map_err(ContentError::file("copy", from))?;
    }
    Ok(())
}

fn append(path: &Path, text: &str) -> Result<(), ContentError> {
    let file = OpenOptions::new().append(true).open(path);
    let mut file = file.map_err(ContentError::file("open", path))?;
    file.write_all(text.as_bytes())
        .map_err(ContentError::file("write", path))
}

/// The same files of the host into both trees; some of them change, one is new.
fn take_from_host(trees: &Trees, new: &Version) -> Result<(), ContentError> {
    let mut found = BTreeSet::new();
    let mut room = HOST_BYTES;
    for root in HOST_TREES
        .iter()
        .map(Path::new)
        .filter(|root| root.is_dir())
    {
        collect(root, &mut found, &mut room);
    }
    if found.is_empty() {
        return Err(ContentError::NoTree);
    }
    for (number, from) in found.iter().enumerate() {
        let below = from.strip_prefix("/").unwrap_or(from);
        for tree in [&trees.old, &trees.new] {
            copy(from, &tree.join(below))?;
        }
        if number % CHANGED_EVERY == 0 {
            append(&trees.new.join(below), &format!("\n{new}\n"))?;
        }
    }
    let notes = trees.new.join("NOTES");
    fs::write(&notes, format!("What is new in {new}: this file.\n"))
        .map_err(ContentError::file("write", &notes))
}

/// Plain files below `folder` in the order of their names, until there is no more room. What cannot be
/// read, and what is no plain file, is left out.
fn collect(folder: &Path, found: &mut BTreeSet<PathBuf>, room: &mut u64) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() && *room > 0 {
            collect(&path, found, room);
        } else if meta.is_file()
            && meta.len() <= LARGEST_FILE.min(*room)
            && path.to_str().is_some()
            && fs::File::open(&path).is_ok()
        {
            let size = meta.len();
            if found.insert(path) {
                *room -= size;
            }
        }
    }
}

/// Content only: the host's modes and owners are not the package's matter, but it must be writable here.
fn copy(from: &Path, to: &Path) -> Result<(), ContentError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(ContentError::file("make", folder))?;
    }
    let bytes = fs::read(from).map_err(ContentError::file("read", from))?;
    fs::write(to, bytes).map_err(ContentError::file("write", to))
}

/// Packs and signs a tree.
pub(crate) fn pack(
    tree: &Path,
    key: &SecretKey,
    version: &Version,
    source_versions: SourceVersions,
    platform: &PlatformName,
    output: &Path,
) -> Result<Built, ContentError> {
    let options = BuildOptions {
        name: "Evenkeel demo".to_owned(),
        version: version.clone(),
        platform: platform.clone(),
        variant: None,
        features: vec![],
        source_versions,
        checks: Vec::new(),
        manual_steps: Vec::new(),
        firmware: Vec::new(),
        notes: format!("Made by `evenkeel lab demo`, version {version}."),
        recorded: Recorded::default(),
        build_time: None,
        compression: Compression::FASTEST,
    };
    let version = version.clone();
    build(tree, key, options, output).map_err(|source| ContentError::Build { version, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_differ_and_the_newer_program_still_runs() {
        let folder = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        let programs = Programs {
            evenkeel: program.clone(),
            evenkeeld: program,
        };
        let new: Version = "2.0".parse().unwrap();
        let trees = make_trees(folder.path(), &programs, &new).unwrap();
        let read = |tree: &Path| fs::read(tree.join(DAEMON_IN_IMAGE)).unwrap();
        let (old_bytes, new_bytes) = (read(&trees.old), read(&trees.new));
        assert!(new_bytes.starts_with(&old_bytes) && new_bytes.len() > old_bytes.len());
        let mut listing = Command::new(trees.new.join(DAEMON_IN_IMAGE));
        assert!(listing.arg("--list").output().unwrap().status.success());
        let mut found = BTreeSet::new();
        collect(&trees.old, &mut found, &mut u64::MAX.clone());
        let differ = found.iter().filter(|path| {
            let below = path.strip_prefix(&trees.old).unwrap();
            fs::read(path).unwrap() != fs::read(trees.new.join(below)).unwrap()
        });
        assert!(found.len() > 20 && differ.count() > 2);
    }
}
