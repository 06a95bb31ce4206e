//! The table of `docs/package-format.md`: what each hostile, damaged or merely odd archive comes to. The
//! page's rows are those of this list, in this order.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use evenkeel_model::{Attributes, Digest, Entry, EntryKind, Owner, PlatformName};
use evenkeel_package_store::{Policy, SecretKey, StageLimits, Store, Target, verify_stream};

use crate::common::*;
use crate::craft::*;
use crate::hostile::refuse_with;

/// What comes of an archive.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Accepted,
    /// Too big to be unpacked in every run of the tests.
    AcceptedBig,
    /// By the error of this name.
    Refused(&'static str),
}
use Verdict::{Accepted, AcceptedBig, Refused};

type Case = (&'static str, Verdict, fn() -> Vec<u8>);

fn crafted(change: impl FnOnce(&mut Craft)) -> Vec<u8> {
    let mut craft = Craft::good();
    change(&mut craft);
    craft.pack()
}

/// One more piece, which the manifest does not list, after the folder.
fn with(piece: Piece) -> Vec<u8> {
    crafted(|craft| craft.pieces.insert(1, piece))
}

/// One more entry, listed as it is in the archive.
fn listed(piece: Piece) -> Vec<u8> {
    listed_as(entry_of(&piece), vec![piece])
}

fn listed_as(entry: Entry, pieces: Vec<Piece>) -> Vec<u8> {
    crafted(|craft| {
        craft.manifest.entries.push(entry);
        craft.add_up();
        craft.pieces.extend(pieces);
    })
}

fn both(names: [&str; 2]) -> Vec<u8> {
    crafted(|craft| {
        for name in names {
            let piece = Piece::file(name, b"");
            craft.manifest.entries.push(entry_of(&piece));
            craft.pieces.push(piece);
        }
    })
}

fn hard(path: &str, target: &str) -> Piece {
    Piece {
        target: target.into(),
        ..Piece::new(path, b'1')
    }
}

fn early_hard_link() -> Vec<u8> {
    crafted(|craft| {
        let link = hard("hard", "d/a");
        craft.manifest.entries.insert(1, entry_of(&link));
        craft.pieces.insert(1, link);
    })
}

fn extension(kind: u8, content: &[u8]) -> Piece {
    Piece {
        kind,
        ..Piece::file("extension", content)
    }
}

fn pax(key: &str, value: &str) -> Piece {
    let rest = format!(" {key}={value}\n");
    let digits = |n: usize| n.to_string().len();
    let mut length = rest.len() + 1;
    while length != rest.len() + digits(length) {
        length = rest.len() + digits(length);
    }
    extension(b'x', format!("{length}{rest}").as_bytes())
}

fn gnu_long(path: &str) -> Piece {
    extension(b'L', format!("{path}\0").as_bytes())
}

fn pax_long(path: &str) -> Piece {
    pax("path", path)
}

/// `levels` folders of 200 letters each, and a file at the end; listed and in the archive.
fn deep(levels: usize, longer: fn(&str) -> Piece) -> Vec<u8> {
    crafted(|craft| {
        let mut path = String::new();
        for level in 0..=levels {
            path.push_str(&"n".repeat(200));
            let piece = match level == levels {
                true => Piece::file("short", b"far"),
                false => Piece::new("short", b'5'),
            };
            let mut entry = entry_of(&piece);
            entry.path.clone_from(&path);
            craft.manifest.entries.push(entry);
            craft.pieces.extend([longer(&path), piece]);
            path.push('/');
        }
        craft.add_up();
    })
}

fn five_extensions() -> Vec<u8> {
    crafted(|craft| (0..5).for_each(|_| craft.pieces.insert(1, gnu_long("d/a"))))
}

/// An entry that is not listed, behind a pax record with its name.
fn named_by_pax(name: &str) -> Vec<u8> {
    crafted(|craft| {
        let pieces = [pax("path", name), Piece::file("short", b"x")];
        craft.pieces.splice(1..1, pieces);
    })
}

/// A listed file whose header has these bytes for its size.
fn size_bytes(bytes: [u8; 12]) -> Vec<u8> {
    crafted(|craft| craft.pieces[1].size_bytes = Some(bytes))
}

fn attributed(change: fn(&mut Attributes), before: Option<Piece>) -> Vec<u8> {
    let piece = Piece::file("attributed", b"x");
    let mut entry = entry_of(&piece);
    change(&mut entry.attributes);
    listed_as(entry, before.into_iter().chain([piece]).collect())
}

fn good() -> Vec<u8> {
    Craft::good().pack()
}

fn spoilt_header() -> Vec<u8> {
    let mut tar = gunzip(&good());
    tar[100] ^= 1;
    gzip(&tar)
}

fn spoilt_padding() -> Vec<u8> {
    crafted(|craft| {
        craft.pieces[1].content.resize(512, b'x');
        craft.pieces[1].size = Some(10);
    })
}

/// The last eight bytes of a gzip member are its checksum and its size.
fn spoil_trailer(from_end: usize) -> Vec<u8> {
    let mut bytes = good();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    bytes
}

fn cut_short() -> Vec<u8> {
    let mut bytes = good();
    bytes.pop();
    bytes
}

fn in_members(bytes: usize, empty_too: bool) -> Vec<u8> {
    let tar = gunzip(&good());
    let mut packed = Vec::new();
    for piece in tar.chunks(bytes) {
        packed.extend(gzip(piece));
        if empty_too {
            packed.extend(gzip(b""));
        }
    }
    packed
}

fn many_entries(count: usize) -> Vec<u8> {
    crafted(|craft| {
        let piece = |n| Piece::file(&format!("f{n}"), b"");
        craft.pieces = (0..count).map(piece).collect();
        craft.manifest.entries = craft.pieces.iter().map(entry_of).collect();
        craft.add_up();
    })
}

fn huge_manifest() -> Vec<u8> {
    let manifest = Piece::file(".evenkeel/manifest.json", &vec![b' '; 100_000_000]);
    gzip(&manifest.to_bytes())
}

fn foreign_tar() -> Vec<u8> {
    gzip(&[Piece::file("README", b"text").to_bytes(), vec![0; 1024]].concat())
}

fn signed_by(seed: u8) -> Vec<u8> {
    crafted(|craft| craft.key = SecretKey::from_seed(&[seed; 32]))
}

fn not_utf8() -> Vec<u8> {
    with(Piece {
        path: b"\xff\xfe".to_vec(),
        ..Piece::file("", b"x")
    })
}

const REVOKED: u8 = 8;

/// Trusts [`key`], knows a revoked one, and has bounds to run into.
fn demands() -> Policy {
    let mut policy = policy();
    let revoked = SecretKey::from_seed(&[REVOKED; 32]).public();
    policy.trusted.add_revoked(revoked.id());
    policy.max_unpacked_bytes = 100_000;
    policy.target = Some(Target {
        platform: PlatformName::new("lab").unwrap(),
        variant: None,
        features: vec![],
    });
    policy
}

/// The extended attribute `NAME=1`, listed.
fn xattr(name: &'static str) -> Vec<u8> {
    let piece = Piece::file("attributed", b"x");
    let mut entry = entry_of(&piece);
    entry
        .attributes
        .xattrs
        .insert(name.to_owned(), b"1".to_vec());
    listed_as(
        entry,
        vec![pax(&format!("SCHILY.xattr.{name}"), "1"), piece],
    )
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("an absolute path", Refused("Path"), || with(Piece::file("/etc/passwd", b"x"))),
    ("a path with `..`", Refused("Path"), || with(Piece::file("d/../../x", b"x"))),
    ("a path that begins with `./`", Refused("Path"), || with(Piece::file("./x", b"x"))),
    ("a path at or below `.evenkeel`", Refused("Path"), || with(Piece::file(".evenkeel/x", b"x"))),
    ("a path with NUL or a control character", Refused("Path"), || named_by_pax("a\0b")),
    ("a path that is not UTF-8", Refused("BadHeader"), not_utf8),
    ("a symlink to an absolute path", Refused("LinkOut"), || with(Piece::link("out", "/etc"))),
    ("a symlink that climbs out", Refused("LinkOut"), || with(Piece::link("out", "d/../.."))),
    ("an entry below a symlink", Refused("Manifest"), || listed(Piece::file("link/x", b"x"))),
    ("an entry below a file", Refused("Manifest"), || listed(Piece::file("d/a/x", b"x"))),
    ("an entry without its directory", Refused("Manifest"), || listed(Piece::file("e/x", b"x"))),
    ("a device", Refused("DeviceNode"), || with(Piece::new("dev", b'3'))),
    ("a FIFO", Refused("DeviceNode"), || with(Piece::new("fifo", b'6'))),
    ("a hard link to an earlier file, listed", Accepted, || listed(hard("hard", "d/a"))),
    ("a hard link that is not listed", Refused("Unlisted"), || with(hard("hard", "d/a"))),
    ("a hard link out of the package", Refused("HardLink"), || with(hard("hard", "/etc/shadow"))),
    ("a hard link to a symlink, or through one", Refused("Manifest"), || listed(hard("hard", "link"))),
    ("a hard link to a file that comes later", Refused("Manifest"), early_hard_link),
    ("an entry twice", Refused("Duplicate"), || crafted(|c| c.pieces.insert(2, c.pieces[1].clone()))),
    ("an entry listed twice", Refused("Manifest"), || crafted(|c| c.manifest.entries[2].path = "d/a".into())),
    ("a second manifest", Refused("Duplicate"), || crafted(|c| c.pieces.push(c.head()[0].clone()))),
    ("an entry that is not listed", Refused("Unlisted"), || with(Piece::file("extra", b"x"))),
    ("an entry that is missing", Refused("Missing"), || crafted(|c| c.pieces.truncate(3))),
    ("entries in another order", Refused("OutOfOrder"), || crafted(|c| c.pieces.swap(1, 2))),
    ("other content than listed", Refused("Tampered"), || crafted(|c| c.pieces[1].content = b"other file".to_vec())),
    ("another kind, mode or link target than listed", Refused("Differs"), || crafted(|c| c.pieces[1].mode = 0o4755)),
    ("setuid, setgid and sticky bits, listed", Accepted, || listed(Piece { mode: 0o6755, ..Piece::file("su", b"x") })),
    ("another owner or time than listed", Refused("Differs"), || attributed(|a| a.owner = Some(Owner { uid: 7, gid: 0 }), None)),
    ("an extended attribute `user.*` or `security.capability`, listed", Accepted, || xattr("user.a")),
    ("an extended attribute of another name, listed", Refused("Manifest"), || xattr("trusted.a")),
    ("a `security.capability` that holds no capabilities, listed", Refused("Manifest"), || xattr("security.capability")),
    ("an extended attribute that is not listed", Refused("Differs"), || attributed(|_| {}, Some(pax("SCHILY.xattr.user.a", "1")))),
    ("an access list or a label", Refused("Differs"), || attributed(|_| {}, Some(pax("SCHILY.acl.access", "user::rwx")))),
    ("another size than listed", Refused("SizeLie"), || crafted(|c| c.pieces[1].content.push(b'!'))),
    ("a size overridden by a pax record", Refused("SizeLie"), || crafted(|c| c.pieces.insert(1, pax("size", "99999")))),
    ("a size in base 256 that is right", Accepted, || size_bytes([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10])),
    ("a negative size", Refused("BadHeader"), || size_bytes([0xff; 12])),
    ("a size beyond 64 bits", Refused("BadHeader"), || size_bytes([0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10])),
    ("a wrong header checksum", Refused("BadHeader"), spoilt_header),
    ("data in the padding of an entry", Refused("BadHeader"), spoilt_padding),
    ("a long name in the GNU form, up to the bound", Accepted, || deep(4, gnu_long)),
    ("a long name in the pax form, up to the bound", Accepted, || deep(4, pax_long)),
    ("a name over 1024 bytes, or 255 in one component", Refused("Manifest"), || deep(5, pax_long)),
    ("an extension over 64 KiB", Refused("BadHeader"), || with(gnu_long(&"x".repeat(70_000)))),
    ("more than four extensions of one entry", Refused("BadHeader"), five_extensions),
    ("a malformed pax record", Refused("BadHeader"), || with(extension(b'x', b"99 path=a\n"))),
    ("a sparse file in the GNU form", Refused("UnsupportedKind"), || with(Piece::new("sparse", b'S'))),
    ("a sparse file in the pax form", Refused("BadHeader"), || with(pax("GNU.sparse.major", "1"))),
    ("a global pax header, a volume label, any other kind", Refused("UnsupportedKind"), || with(Piece::new("global", b'g'))),
    ("names equal up to case", Accepted, || both(["README", "readme"])),
    ("names equal up to Unicode form", Accepted, || both(["\u{e9}", "e\u{301}"])),
    ("no entries", Accepted, || many_entries(0)),
    ("100 000 entries", AcceptedBig, || many_entries(100_000)),
    ("a manifest of 100 MB", Refused("ManifestTooLarge"), huge_manifest),
    ("a manifest that is no JSON, breaks a rule, or is of another format", Refused("Manifest"), || crafted(|c| c.manifest.format = 2)),
    ("more content than the node takes", Refused("TooLarge"), || listed(Piece::file("big", &[0; 100_000]))),
    ("padding after the end, up to 1 MiB", Accepted, || crafted(|c| c.tail.resize(1 << 20, 0))),
    ("more than 1 MiB of zeros after the end", Refused("Bomb"), || crafted(|c| c.tail.resize(2 << 20, 0))),
    ("data after the end of the tar", Refused("TrailingData"), || crafted(|c| c.tail.extend(b"more"))),
    ("data after the end of the gzip", Refused("TrailingData"), || [good(), b"more".to_vec()].concat()),
    ("zeros after the end of the gzip", Refused("TrailingData"), || [good(), vec![0; 512]].concat()),
    ("a further member with content after the end", Refused("TrailingData"), || [good(), gzip(b"hidden")].concat()),
    ("a wrong gzip checksum", Refused("CorruptGzip"), || spoil_trailer(8)),
    ("a wrong gzip size", Refused("CorruptGzip"), || spoil_trailer(1)),
    ("a tar or gzip that is cut short", Refused("Truncated"), cut_short),
    ("a tar without its end", Refused("Truncated"), || crafted(|c| c.tail.clear())),
    ("many members, whatever their sizes", Accepted, || in_members(13, false)),
    ("empty members", Accepted, || in_members(1000, true)),
    ("a zip file", Refused("Zip"), || crate::zips::pack(&crate::zips::good())),
    ("anything else that is not gzip", Refused("NotGzip"), || b"#!/bin/sh\n".to_vec()),
    ("a tar whose first entry is not the manifest", Refused("NotAPackage"), foreign_tar),
    ("no signature", Refused("Unsigned"), || crafted(|c| c.unsigned = true)),
    ("a signature that is malformed or wrong", Refused("Signature"), || crafted(|c| c.signature = Some("mine".into()))),
    ("a signature by an unknown key", Refused("Signature"), || signed_by(9)),
    ("a signature by a revoked key", Refused("Signature"), || signed_by(REVOKED)),
    ("another platform", Refused("WrongPlatform"), || crafted(|c| c.manifest.platform = PlatformName::new("other").unwrap())),
    ("another variant", Refused("WrongVariant"), || crafted(|c| c.manifest.variant = Some("other".into()))),
];

fn name_of(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let end = text.find([' ', '(', '{']).unwrap_or(text.len());
    text[..end].to_owned()
}

fn accept(what: &str, bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let limits = StageLimits {
        reserve_bytes: 0,
        ..Default::default()
    };
    let staged = stage_with(&store, bytes, 700, demands(), limits);
    assert!(staged.is_ok(), "{what}: {staged:?}");
    let path = dir.path().join("archive.tgz");
    fs::write(&path, bytes).unwrap();
    let slot = dir.path().join("slot");
    let signed = extract_file(&path, &slot).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    assert_slot_holds(&slot, &signed.manifest.entries);
}

/// The slot is the manifest: nothing more, nothing less, nothing else.
pub(crate) fn assert_slot_holds(slot: &Path, entries: &[Entry]) {
    let there = snapshot(slot);
    assert_eq!(there.len(), entries.len());
    for entry in entries {
        let found = &there[&entry.path];
        let file = |size: u64, digest: Digest| format!("file {:o} {size} {digest}", entry.mode);
        let expected = match &entry.kind {
            EntryKind::File { size, sha256 } => file(*size, *sha256),
            EntryKind::Directory => format!("dir {:o}", entry.mode),
            EntryKind::Symlink { target } => format!("link {target}"),
            EntryKind::HardLink { target } => there[target].clone(),
        };
        assert_eq!(*found, expected, "{}", entry.path);
    }
}

#[test]
fn each_comes_to_what_the_table_says() {
    for (what, verdict, make) in CASES {
        let bytes = make();
        match verdict {
            Accepted => accept(what, &bytes),
            AcceptedBig => drop(verify_stream(Cursor::new(bytes), &demands()).unwrap()),
            Refused(name) => {
                assert_eq!(name_of(&refuse_with(&bytes, &demands())), *name, "{what}");
            }
        }
    }
}

#[test]
fn the_page_says_the_same() {
    let page = include_str!("../../../../docs/package-format.md");
    let row = |(what, verdict, _): &Case| match verdict {
        Accepted | AcceptedBig => format!("| {what} | accepted |"),
        Refused(name) => format!("| {what} | refused: `{name}` |"),
    };
    let rows: Vec<String> = CASES.iter().map(row).collect();
    let heading = "| an archive with | is |\n|---|---|\n";
    let (_, after) = page.split_once(heading).expect("the table is there");
    let table = after.split("\n\n").next().unwrap();
    let expected = rows.join("\n");
    assert!(table == expected, "the page should say:\n{expected}");
}
