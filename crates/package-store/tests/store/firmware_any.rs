//! Firmware of any bytes: refused with an error, or what its manifest lists. The fuzz target feeds the same.

use std::fs;

use evenkeel_model::Qualification;
use evenkeel_package_store::{FRONT_BYTES, recognise, verify_firmware};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::common::*;
use crate::firmware::*;

/// Records of drives, aliases of them, modules and systems, as lines.
fn records() -> impl Strategy<Value = String> {
    let model = "[A-Za-z0-9_.-]{1,20}";
    let minimum = prop_oneof![Just("-".to_owned()), "[A-Z0-9.]{1,8}"];
    let drives = prop::collection::btree_map(model, minimum.clone(), 1..8);
    let modules = prop::collection::btree_map(model, minimum, 0..4);
    let systems = prop::collection::btree_set(model, 0..4);
    (drives, modules, systems, 0..8usize).prop_map(|(drives, modules, systems, aliases)| {
        let mut lines: Vec<String> = Vec::new();
        let names = drives.keys().cycle().take(aliases).enumerate();
        lines.extend(names.map(|(n, to)| format!("alias another-name-of-a-drive-{n} {to}")));
        lines.extend(
            drives
                .iter()
                .map(|(model, it)| format!("drive {model} {it}")),
        );
        lines.extend(
            modules
                .iter()
                .map(|(model, it)| format!("device {model} {it}")),
        );
        lines.extend(systems.iter().map(|it| format!("system {it}")));
        lines.iter().map(|line| format!("{line}\n")).collect()
    })
}

/// A way to spoil one byte.
fn spoil() -> impl Strategy<Value = (prop::sample::Index, u8)> {
    (any::<prop::sample::Index>(), 1..=255u8)
}

proptest! {
    // A fixed seed: a failure is one for everybody. For a hunt, change it.
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(20_260_101),
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn a_qualification_package_reads_back_as_written(records in records()) {
        let text = qualification(&records);
        let read = Qualification::parse(&text).unwrap();
        let counts = read.counts();
        let lines = counts.drive + counts.alias + counts.device + counts.system;
        prop_assert_eq!(lines, records.lines().count());
        let written = read.to_string();
        prop_assert_eq!(Qualification::parse(written.as_bytes()).unwrap(), read);
    }

    #[test]
    fn no_changed_byte_of_a_qualification_package_passes(records in records(), (at, mask) in spoil()) {
        let mut text = qualification(&records);
        let at = at.index(text.len());
        text[at] ^= mask;
        prop_assert!(Qualification::parse(&text).is_err());
    }

    #[test]
    fn no_cut_or_longer_qualification_package_passes(records in records(), at in any::<prop::sample::Index>()) {
        let text = qualification(&records);
        prop_assert!(Qualification::parse(&text[..at.index(text.len())]).is_err());
        let longer = [&text[..], &text[at.index(text.len())..]].concat();
        prop_assert!(Qualification::parse(&longer).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Qualification::parse(&bytes);
        let begun = [&b"evenkeel-qualification 1\nversion 1\nrevision 20260131\n"[..], &bytes];
        let _ = Qualification::parse(&begun.concat());
    }

    #[test]
    fn what_was_recognised_stays_so(bytes in prop::collection::vec(any::<u8>(), 0..400), start in 0..4usize) {
        let start: &[u8] = [&b"PK"[..], b"\x1f\x8b\x08\x00", b"\x1f\x8b", b""][start];
        let bytes = [start, &bytes].concat();
        let mut said = None;
        for n in 0..=bytes.len() {
            let now = recognise(&bytes[..n], false);
            prop_assert!(said.is_none() || said == now);
            said = now.or(said);
        }
        let ended = recognise(&bytes, true);
        prop_assert!(ended.is_some());
        prop_assert!(said.is_none() || said == ended);
    }

    #[test]
    fn no_changed_byte_of_an_archive_changes_what_is_taken((at, mask) in spoil(), is_zip: bool) {
        let files = good();
        let mut bytes = if is_zip { zip(&files) } else { tgz(&files) };
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        fs::write(&path, bytes).unwrap();
        if let Ok(signed) = verify_firmware(&path, &policy()) {
            prop_assert_eq!(signed.digest, digest(&files[0].1));
        }
    }
}

#[test]
fn so_many_bytes_always_suffice() {
    // A header of gzip that does not end, and content that is all one long name.
    let endless = [b"\x1f\x8b\x08\x08", &vec![b'x'; FRONT_BYTES][..]].concat();
    assert!(recognise(&endless[..FRONT_BYTES], false).is_some());
    assert_eq!(recognise(&endless[..1000], false), None);
}
