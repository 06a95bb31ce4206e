//! Owners, modes, times, links and extended attributes: recorded by the builder, held against the archive,
//! restored in the slot, and by GNU tar alike.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use evenkeel_model::Owner;
use evenkeel_package_store::{
    BuildError, BuildOptions, ExtractError, Owners, Recorded, VerifyError, build, verify_archive,
};

use crate::common::*;

/// `cap_net_raw+ep`, as the kernel keeps it (revision 2).
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut buffer = [0; 4096];
    let length = rustix::fs::llistxattr(path, &mut buffer).unwrap();
    let names = String::from_utf8(buffer[..length].to_vec()).unwrap();
    let mut all = Vec::new();
    for name in names
        .split('\0')
        .filter(|n| !n.is_empty() && *n != "security.selinux")
    {
        let mut value = [0; 4096];
        let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        all.push((name.to_owned(), value[..length].to_vec()));
    }
    all.sort();
    all
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    File::open(path).unwrap().set_times(times).unwrap();
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A tree with something of everything that can be recorded. Needs root for owners and capabilities; without,
/// it has those of whoever runs the test.
fn make_rich_tree(dir: &Path) -> PathBuf {
    let tree = dir.join("rich");
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::create_dir_all(tree.join("z")).unwrap();
    fs::write(tree.join("bin/ping"), noise(3000, 3)).unwrap();
    fs::write(tree.join("bin/su"), "setuid").unwrap();
    fs::write(tree.join("bin/readonly"), "mode 0400").unwrap();
    fs::hard_link(tree.join("bin/ping"), tree.join("bin/ping6")).unwrap();
    fs::hard_link(tree.join("bin/ping"), tree.join("z/again")).unwrap();
    symlink("ping", tree.join("bin/link")).unwrap();
    if is_root() {
        for (path, uid, gid) in [
            ("bin", 0, 12),
            ("bin/su", 3_000_000_000, 2_097_152),
            ("bin/link", 7, 8),
            ("z", 65534, 65534),
        ] {
            lchown(tree.join(path), Some(uid), Some(gid)).unwrap();
        }
        set_xattr(&tree.join("bin/ping"), "security.capability", &CAPABILITY);
    }
    set_xattr(&tree.join("bin/readonly"), "user.note", b"a\0b=c\nd\xff");
    set_xattr(&tree.join("z"), "user.empty", b"");
    set_mode(&tree.join("bin/su"), 0o6755);
    set_mode(&tree.join("bin/readonly"), 0o400);
    set_mode(&tree.join("z"), 0o3775);
    for (path, seconds) in [
        ("bin/ping", 0),
        ("bin/su", 1_000_000_000),
        ("z", 8_000_000_000),
    ] {
        set_time(&tree.join(path), seconds);
    }
    set_time(&tree.join("bin"), 1_234_567_890);
    tree
}

fn all_recorded() -> BuildOptions {
    let recorded = Recorded {
        owners: Owners::AsInTree,
        times: true,
        xattrs: true,
        split_hard_links: false,
    };
    BuildOptions {
        recorded,
        ..options("2.0")
    }
}

/// Everything that is restored, one line for each path.
fn facts(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for path in snapshot(dir).into_keys() {
        let path = dir.join(path);
        let meta = path.symlink_metadata().unwrap();
        let mode = meta.permissions().mode();
        lines.push(format!(
            "{} {mode:o} {}:{} {} links {} {:?}",
            path.strip_prefix(dir).unwrap().display(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            if meta.is_dir() { 0 } else { meta.nlink() },
            xattrs(&path),
        ));
    }
    lines
}

#[test]
fn all_that_is_recorded_is_restored_here_and_by_gnu_tar() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_rich_tree(dir.path());
    let package = dir.path().join("rich.tgz");
    let built = build(&tree, &key(), all_recorded(), &package).unwrap();
    assert_eq!(
        built.manifest.unpacked_bytes,
        3000 + 6 + 9,
        "links count once"
    );
    verify_archive(&package, &policy()).unwrap();
    let slot = dir.path().join("slot");
    extract_file(&package, &slot).unwrap();
    assert_eq!(facts(&slot), facts(&tree));
    assert_eq!(snapshot(&slot), snapshot(&tree));
    // Again, over what is there.
    extract_file(&package, &slot).unwrap();
    assert_eq!(facts(&slot), facts(&tree));

    let by_tar = dir.path().join("by-tar");
    fs::create_dir(&by_tar).unwrap();
    let ran = Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "-xpzf"])
        .arg(&package)
        .current_dir(&by_tar)
        .status()
        .unwrap();
    assert!(ran.success());
    assert_eq!(facts(&by_tar), facts(&tree));
}

#[test]
fn what_gnu_tar_repacks_with_everything_is_the_same_package() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_rich_tree(dir.path());
    let package = dir.path().join("rich.tgz");
    let built = build(&tree, &key(), all_recorded(), &package).unwrap();
    let slot = dir.path().join("slot");
    extract_file(&package, &slot).unwrap();
    let mut list = String::from(".evenkeel/manifest.json\n.evenkeel/manifest.sig\n");
    for entry in &built.manifest.entries {
        list.push_str(&entry.path);
        list.push('\n');
    }
    fs::write(dir.path().join("list"), list).unwrap();
    for format in ["--format=pax", "--format=posix"] {
        let again = dir.path().join("again.tgz");
        let ran = Command::new("tar")
            .args([
                "--no-recursion",
                "--xattrs",
                "--xattrs-include=*",
                format,
                "-czf",
            ])
            .arg(&again)
            .arg("-T")
            .arg(dir.path().join("list"))
            .current_dir(&slot)
            .status()
            .unwrap();
        assert!(ran.success());
        let signed = verify_archive(&again, &policy()).unwrap();
        assert_eq!(signed.digest, built.manifest_digest);
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes_whoever_owns_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_rich_tree(dir.path());
    let all_root = || BuildOptions {
        recorded: Recorded {
            owners: Owners::All(Owner { uid: 0, gid: 0 }),
            ..Recorded::default()
        },
        ..options("2.0")
    };
    let packed = |name: &str, options: BuildOptions| {
        let path = dir.path().join(name);
        build(&tree, &key(), options, &path).unwrap();
        fs::read(path).unwrap()
    };
    let first = (
        packed("a", options("2.0")),
        packed("b", all_root()),
        packed("c", all_recorded()),
    );
    set_time(&tree.join("z"), 5);
    set_xattr(&tree.join("z"), "user.more", b"1");
    if is_root() {
        lchown(tree.join("bin/ping"), Some(5), Some(6)).unwrap();
    }
    assert!(first.0 == packed("a", options("2.0")));
    assert!(first.1 == packed("b", all_root()));
    assert!(first.2 != packed("c", all_recorded()));
}

#[test]
fn hard_links_can_be_split() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_rich_tree(dir.path());
    let mut options = options("2.0");
    options.recorded.split_hard_links = true;
    let package = dir.path().join("split.tgz");
    let built = build(&tree, &key(), options, &package).unwrap();
    assert_eq!(built.manifest.unpacked_bytes, 3 * 3000 + 6 + 9);
    let slot = dir.path().join("slot");
    extract_file(&package, &slot).unwrap();
    assert_eq!(slot.join("z/again").metadata().unwrap().nlink(), 1);
    assert_eq!(snapshot(&slot), snapshot(&tree));
}

#[test]
fn the_builder_names_attributes_that_packages_may_not_set() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_rich_tree(dir.path());
    set_xattr(&tree.join("bin/su"), "user.a=b", b"1");
    let error = build(&tree, &key(), all_recorded(), &dir.path().join("x.tgz")).unwrap_err();
    assert!(
        matches!(&error, BuildError::Xattr { name, .. } if name == "user.a=b"),
        "{error:?}"
    );
}

#[test]
fn the_archive_may_not_differ_from_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_rich_tree(dir.path());
    let package = dir.path().join("rich.tgz");
    build(&tree, &key(), all_recorded(), &package).unwrap();
    let tar = gunzip(&fs::read(&package).unwrap());
    let changed = |find: &[u8], replace: &[u8]| {
        let mut tar = tar.clone();
        let at = tar.windows(find.len()).rposition(|w| w == find).unwrap();
        tar[at..at + replace.len()].copy_from_slice(replace);
        let path = dir.path().join("changed.tgz");
        fs::write(&path, crate::craft::gzip(&tar)).unwrap();
        match verify_archive(&path, &policy()) {
            Err(VerifyError::Differs { path, what }) => format!("{path} {what}"),
            other => panic!("{other:?}"),
        }
    };
    let attributes = "extended attributes";
    assert_eq!(
        changed(b"SCHILY.xattr.user.note=a", b"SCHILY.xattr.user.note=b"),
        format!("bin/readonly {attributes}")
    );
    assert_eq!(
        changed(b"SCHILY.xattr.user.note", b"SCHILY.xattr.user.nota"),
        format!("bin/readonly {attributes}")
    );
    assert_eq!(
        changed(b"SCHILY.xattr.user.empty", b"IGNORE.xattr.user.empty"),
        format!("z {attributes}")
    );
    if is_root() {
        assert_eq!(
            changed(b"uid=3000000000", b"uid=3000000001"),
            "bin/su owner"
        );
    }
}

#[test]
fn what_the_system_does_not_allow_is_named() {
    if is_root() {
        eprintln!("NOT RUN: root may give files to anyone; run this test as another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = make_rich_tree(dir.path());
    let mut options = options("2.0");
    options.recorded.owners = Owners::All(Owner { uid: 0, gid: 0 });
    let package = dir.path().join("root.tgz");
    build(&tree, &key(), options, &package).unwrap();
    let error = extract_file(&package, &dir.path().join("slot")).unwrap_err();
    assert!(
        matches!(&error, ExtractError::Io { step, .. } if *step == "set the owner of"),
        "{error:?}"
    );
}
