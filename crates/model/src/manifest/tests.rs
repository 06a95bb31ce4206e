//! The rules of manifests, each broken alone.

use super::*;
use crate::id::Digest;

fn file(path: &str, size: u64) -> Entry {
    let kind = EntryKind::File {
        size,
        sha256: Digest([7; 32]),
    };
    Entry {
        path: path.into(),
        mode: 0o644,
        kind,
        attributes: Attributes::default(),
    }
}

fn dir(path: &str) -> Entry {
    Entry {
        path: path.into(),
        mode: 0o755,
        kind: EntryKind::Directory,
        attributes: Attributes::default(),
    }
}

fn link(path: &str, target: &str) -> Entry {
    let kind = EntryKind::Symlink {
        target: target.into(),
    };
    Entry {
        path: path.into(),
        mode: 0o777,
        kind,
        attributes: Attributes::default(),
    }
}

fn manifest(entries: Vec<Entry>) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT,
        name: "lab".into(),
        version: Version::new("2.0").unwrap(),
        platform: PlatformName::new("lab").unwrap(),
        variant: None,
        features: vec![],
        source_versions: SourceVersions::Any,
        build_time: WallTime::new("2026-01-02T03:04:05Z".parse().unwrap()),
        unpacked_bytes: entries.iter().map(Entry::size).fold(0, u64::saturating_add),
        checks: vec![],
        manual_steps: vec![],
        firmware: vec![],
        notes: String::new(),
        entries,
    }
}

fn refused(entries: Vec<Entry>) -> String {
    manifest(entries).validate().unwrap_err().to_string()
}

#[test]
fn reads_back_what_it_writes_and_ignores_unknown_fields() {
    let mut written = manifest(vec![dir("a"), file("a/b", 3), link("a/l", "../a/b")]);
    written.source_versions = SourceVersions::Only(vec![Version::new("1.0").unwrap()]);
    let mut value = serde_json::to_value(&written).unwrap();
    value["later"] = 1.into();
    value["entries"][1]["later"] = 1.into();
    let read = Manifest::parse(&serde_json::to_vec(&value).unwrap()).unwrap();
    assert_eq!(read, written);
    assert!(read.source_versions.allows(&Version::new("1.0").unwrap()));
    assert!(!read.source_versions.allows(&Version::new("1.0 ").unwrap()));
}

#[test]
fn any_source_version_is_a_lone_star() {
    let read = |json| serde_json::from_str::<SourceVersions>(json);
    assert_eq!(read(r#"["*"]"#).unwrap(), SourceVersions::Any);
    assert!(read(r#"["*","1"]"#).is_err());
    assert_eq!(read("[]").unwrap(), SourceVersions::Only(vec![]));
}

#[test]
fn another_format_is_named_even_if_its_shape_differs() {
    let error = Manifest::parse(br#"{"format": 2, "parts": []}"#).unwrap_err();
    assert!(matches!(error, ManifestError::Format { found: 2 }));
}

#[test]
fn refuses_paths_that_leave_the_slot_or_take_the_reserved_place() {
    for (path, why) in [
        ("/etc/passwd", "is absolute"),
        ("a/../../b", "`..`"),
        ("./a", "`.`"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("", "empty"),
        ("a\nb", "control"),
        (".evenkeel", "reserved"),
        (".evenkeel/manifest.json", "reserved"),
    ] {
        let text = refused(vec![dir("a"), file(path, 0)]);
        assert!(text.contains(why), "{path:?}: {text}");
    }
    assert!(refused(vec![file(&"x".repeat(256), 0)]).contains("too long"));
}

#[test]
fn refuses_structure_that_would_write_elsewhere() {
    assert!(refused(vec![file("a", 0), file("a", 0)]).contains("twice"));
    assert!(refused(vec![file("a/b", 0)]).contains("without"));
    assert!(refused(vec![file("a", 0), file("a/b", 0)]).contains("below the file"));
    assert!(refused(vec![link("a", "."), file("a/b/c", 0)]).contains("below the symlink"));
}

#[test]
fn refuses_links_that_could_lead_out() {
    for (path, target) in [
        ("l", "/etc"),
        ("l", ".."),
        ("d/l", "../.."),
        // Inside by text, outside once `x` is a link to `..`.
        ("d/l", "x/../.."),
    ] {
        let text = refused(vec![dir("d"), link(path, target)]);
        assert!(text.contains("outside"), "{path} -> {target}: {text}");
    }
    manifest(vec![dir("d"), link("d/l", ".."), link("d/m", "../gone")])
        .validate()
        .unwrap();
}

#[test]
fn refuses_wrong_sums_and_overflow() {
    let mut wrong = manifest(vec![file("a", 3)]);
    wrong.unpacked_bytes = 4;
    assert!(matches!(
        wrong.validate(),
        Err(ManifestError::UnpackedBytes { sum: 3, .. })
    ));
    let big = manifest(vec![file("a", u64::MAX), file("b", 2)]);
    assert!(matches!(
        big.validate(),
        Err(ManifestError::UnpackedBytes { .. })
    ));
}

#[test]
fn firmware_and_checks_are_files_of_the_package() {
    let mut wrong = manifest(vec![dir("fw")]);
    wrong.firmware = vec![Bundled { path: "fw".into() }];
    assert!(matches!(
        wrong.validate(),
        Err(ManifestError::NotAFile { .. })
    ));
}

#[test]
fn a_summary_fits_an_event() {
    let mut wrong = manifest(vec![]);
    wrong.manual_steps = vec!["x".repeat(2000); 20];
    assert!(matches!(
        wrong.validate(),
        Err(ManifestError::SummaryTooLarge { .. })
    ));
}

fn hard_link(path: &str, target: &str) -> Entry {
    let kind = EntryKind::HardLink {
        target: target.into(),
    };
    Entry {
        kind,
        ..file(path, 0)
    }
}

#[test]
fn attributes_read_back_as_written() {
    let mut full = file("a", 3);
    full.attributes = Attributes {
        owner: Some(Owner { uid: 0, gid: 33 }),
        mtime: Some(1_700_000_000),
        xattrs: [("user.note".to_owned(), vec![0, 255, b'=', b'\n'])].into(),
    };
    let written = manifest(vec![full, hard_link("b", "a")]);
    let bytes = serde_json::to_vec(&written).unwrap();
    assert_eq!(Manifest::parse(&bytes).unwrap(), written);
    let mut value = serde_json::to_value(&written).unwrap();
    value["entries"][0]["gid"] = serde_json::Value::Null;
    let error = Manifest::parse(&serde_json::to_vec(&value).unwrap()).unwrap_err();
    assert!(matches!(error, ManifestError::Syntax(_)), "{error:?}");
}

#[test]
fn a_hard_link_is_another_name_of_an_earlier_file() {
    let links = |entries| manifest(entries).validate().unwrap_err();
    for entries in [
        vec![hard_link("b", "a")],
        vec![hard_link("b", "a"), file("a", 0)],
        vec![hard_link("b", "b")],
        vec![dir("a"), hard_link("b", "a")],
        vec![file("f", 0), link("a", "f"), hard_link("b", "a")],
        vec![file("f", 0), hard_link("a", "f"), hard_link("b", "a")],
        vec![hard_link("b", "../a")],
        vec![hard_link("b", "/etc/shadow")],
    ] {
        let error = links(entries);
        assert!(matches!(error, ManifestError::HardLink { .. }), "{error:?}");
    }
    let mut other_mode = hard_link("b", "a");
    other_mode.mode = 0o4755;
    let mut owned = hard_link("b", "a");
    owned.attributes.owner = Some(Owner { uid: 0, gid: 0 });
    for wrong in [other_mode, owned] {
        let error = links(vec![file("a", 0), wrong]);
        assert!(
            matches!(error, ManifestError::HardLinkAttributes { .. }),
            "{error:?}"
        );
    }
    let below = links(vec![file("a", 0), hard_link("b", "a"), file("b/c", 0)]);
    assert!(matches!(below, ManifestError::BelowFile { .. }));
    let good = manifest(vec![file("a", 7), hard_link("b", "a")]);
    good.validate().unwrap();
    assert_eq!(good.unpacked_bytes, 7);
}

#[test]
fn refuses_attributes_that_do_harm_or_do_not_fit() {
    let xattr = |mut entry: Entry, name: &str, value: Vec<u8>| {
        entry.attributes.xattrs = [(name.to_owned(), value)].into();
        match manifest(vec![file("f", 0), entry]).validate() {
            Ok(()) => None,
            Err(ManifestError::Xattr { problem, .. }) => Some(problem),
            Err(other) => panic!("{other:?}"),
        }
    };
    use XattrProblem::{Kind, Name, Namespace, TooMuch, Value};
    for (entry, name, bytes, expected) in [
        (file("a", 0), "user.note", 3000, None),
        (file("a", 0), "user.note", 3072, Some(TooMuch)),
        (dir("a"), "user.note", 1, None),
        (dir("a"), "security.capability", 20, Some(Kind)),
        (link("a", "f"), "user.note", 1, Some(Kind)),
        (file("a", 0), "security.selinux", 1, Some(Namespace)),
        (file("a", 0), "system.posix_acl_access", 1, Some(Namespace)),
        (file("a", 0), "trusted.overlay.opaque", 1, Some(Namespace)),
        (file("a", 0), "user.", 1, Some(Namespace)),
        (file("a", 0), "user.a=b", 1, Some(Name)),
        (file("a", 0), "user.a\0", 1, Some(Name)),
    ] {
        assert_eq!(xattr(entry, name, vec![0; bytes]), expected, "{name}");
    }
    for (magic, bytes, expected) in [
        (0x0200_0000_u32, 20, None),
        (0x0200_0001, 20, None),
        (0x0300_0001, 24, None),
        (0x0200_0000, 24, Some(Value)),
        (0x0300_0000, 20, Some(Value)),
        (0x0100_0000, 12, Some(Value)),
        (0x0200_0002, 20, Some(Value)),
        (0x0200_0000, 3, Some(Value)),
        (0x0200_0000, 0, Some(Value)),
    ] {
        let mut value = magic.to_le_bytes().to_vec();
        value.resize(bytes, 0);
        let found = xattr(file("a", 0), "security.capability", value);
        assert_eq!(found, expected, "{magic:x}, {bytes} bytes");
    }
    let mut many = file("a", 0);
    many.attributes.xattrs = (0..17).map(|n| (format!("user.{n}"), vec![])).collect();
    assert!(refused(vec![many]).contains("more than an entry may have"));
    let mut nobody = file("a", 0);
    nobody.attributes.owner = Some(Owner {
        uid: 0,
        gid: u32::MAX,
    });
    assert!(refused(vec![nobody]).contains("no file can have"));
    let mut late = file("a", 0);
    late.attributes.mtime = Some(1 << 33);
    assert!(refused(vec![late]).contains("beyond what tar holds"));
}
