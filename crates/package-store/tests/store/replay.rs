//! Runs everything that fuzzing started from and everything it found through what must hold for any bytes.
//! `docs/ARCHITECTURE.md` says how to hunt for more.

use std::fs;
use std::path::PathBuf;

use evenkeel_model::{Attributes, Entry, EntryKind, MANIFEST_PATH, Owner};

use crate::common::noise;
use crate::craft::{Craft, Piece, entry_of, gzip};
use crate::firmware::qualification;
use crate::zips;

#[path = "../../../../fuzz/src/checks.rs"]
mod checks;

fn folder(kind: &str, target: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz");
    [root, kind, target].iter().collect()
}

/// Every file kept for a target, oldest finding and newest alike.
fn replay(target: &str, check: fn(&[u8])) {
    let mut ran = 0;
    for kind in ["seeds", "regressions"] {
        let Ok(files) = fs::read_dir(folder(kind, target)) else {
            continue;
        };
        for file in files {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| check(&bytes));
            assert!(outcome.is_ok(), "{}", path.display());
            ran += 1;
        }
    }
    assert!(ran > 0, "no seeds for {target}");
}

#[test]
fn manifests() {
    replay("manifest", checks::manifest);
}

#[test]
fn tars() {
    replay("tar", checks::tar);
}

#[test]
fn gzips() {
    replay("gzip", checks::gzip);
}

#[test]
fn zip_files() {
    replay("zip", checks::zip);
}

#[test]
fn firmware() {
    replay("firmware", checks::firmware);
}

/// A package with something of everything, unsigned.
fn rich() -> Craft {
    let mut craft = Craft::good();
    craft.unsigned = true;
    let hard = Piece {
        target: "d/a".into(),
        ..Piece::new("hard", b'1')
    };
    let record = Piece {
        kind: b'x',
        ..Piece::file("pax", b"29 SCHILY.xattr.user.note=1\n\n18 uid=3000000000\n")
    };
    let long = Piece {
        kind: b'L',
        ..Piece::file(
            "././@LongLink",
            format!("d/{}\0", "x".repeat(120)).as_bytes(),
        )
    };
    let attributed = Piece::file("attributed", b"with attributes");
    let behind_long = Piece::file("d/x", b"long name");
    let mut entries = vec![
        entry_of(&attributed),
        entry_of(&behind_long),
        entry_of(&hard),
    ];
    entries[0].attributes = Attributes {
        owner: Some(Owner {
            uid: 3_000_000_000,
            gid: 0,
        }),
        mtime: Some(0),
        xattrs: [("user.note".to_owned(), b"1\n".to_vec())].into(),
    };
    entries[1].path = format!("d/{}", "x".repeat(120));
    craft.manifest.entries.extend(entries);
    craft.manifest.features = vec!["dedup".into()];
    craft.manifest.notes = "notes\n".into();
    let pieces = [record, attributed, long, behind_long, hard];
    craft.pieces.extend(pieces);
    craft.add_up();
    craft
}

#[test]
fn the_rich_seed_is_a_good_package() {
    let policy = evenkeel_package_store::Policy {
        allow_unsigned: true,
        ..crate::common::policy()
    };
    let bytes = std::io::Cursor::new(rich().pack());
    evenkeel_package_store::verify_stream(bytes, &policy).unwrap();
}

/// Writes `fuzz/seeds` anew: `cargo test -p evenkeel-package-store --test store write_seeds -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_seeds() {
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(folder("seeds", target)).unwrap();
        fs::write(folder("seeds", target).join(name), bytes).unwrap();
    };
    let (rich, mut small) = (rich(), Craft::good());
    small.unsigned = true;
    let link = Entry {
        kind: EntryKind::Symlink {
            target: "../d/a".into(),
        },
        ..entry_of(&Piece::link("d/up", "../d/a"))
    };
    small.manifest.entries.push(link);
    small.pieces.push(Piece::link("d/up", "../d/a"));
    for (name, craft) in [("rich", &rich), ("small", &small)] {
        let json = serde_json::to_vec(&craft.manifest).unwrap();
        write("manifest", name, &json);
        let mut tar = vec![0];
        tar.extend(Piece::file(MANIFEST_PATH, &json).to_bytes());
        craft
            .pieces
            .iter()
            .for_each(|piece| tar.extend(piece.to_bytes()));
        tar.extend([0; 1024]);
        write("tar", name, &tar);
        write("gzip", name, &craft.pack());
    }
    let (text, random) = ("text ".repeat(2000), noise(3000, 5));
    write("gzip", "text", &gzip(text.as_bytes()));
    write(
        "gzip",
        "members",
        &[gzip(b""), gzip(&random), gzip(b"end")].concat(),
    );
    write("gzip", "stored", &checks::stored_gzip(&random));
    let records = "drive X423 NA03\nalias Y X423\ndevice IOM12 -\nsystem lab-x86_64\n";
    write("firmware", "qualification", &qualification(records));
    let files = crate::firmware::good();
    write("firmware", "manifest", &files[0].1);
    write("firmware", "tgz", &crate::firmware::tgz(&files));
    write("zip", "good", &zips::pack(&zips::good()));
    write(
        "zip",
        "descriptors",
        &zips::pack(&zips::with_descriptors(b"PK\x07\x08")),
    );
    write("zip", "empty", &zips::pack(&[]));
}
