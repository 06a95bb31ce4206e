use super::*;
use crate::id::{DeviceModel, Digest, PlatformName};
use crate::time::WallTime;

fn model(text: &str) -> DeviceModel {
    DeviceModel::new(text).unwrap()
}

fn revision(text: &str) -> FirmwareRevision {
    FirmwareRevision::new(text).unwrap()
}

fn image(file: &str, of: &str, to: &str) -> FirmwareImage {
    FirmwareImage {
        file: file.to_owned(),
        size: 10,
        sha256: Digest([7; 32]),
        model: Some(model(of)),
        revision: revision(to),
    }
}

fn disks(images: Vec<FirmwareImage>) -> FirmwareManifest {
    FirmwareManifest {
        format: FIRMWARE_FORMAT,
        kind: FirmwareKind::Disk,
        name: "drives".into(),
        build_time: Some(WallTime::from_unix_seconds(1_700_000_000)),
        notes: String::new(),
        images,
    }
}

fn good() -> FirmwareManifest {
    disks(vec![
        image("X423_SLTNG1T8SSX.NA06.LOD", "X423_SLTNG1T8SSX", "NA06"),
        image("X.2_B.NA02.lod", "X.2_B", "NA02"),
    ])
}

#[test]
fn names_say_kind_model_and_revision() {
    let name = |file| ImageName::parse(file).map(|it| (it.kind, it.model, it.revision));
    let device = |kind, of: &str, to: &str| Ok((kind, Some(model(of)), Some(revision(to))));
    assert_eq!(
        name("X423_SLTNG1T8SSX.NA06.LOD"),
        device(FirmwareKind::Disk, "X423_SLTNG1T8SSX", "NA06")
    );
    assert_eq!(
        name("IOM12.03.00.SFW"),
        device(FirmwareKind::Shelf, "IOM12", "03.00")
    );
    let bare = |kind| Ok((kind, None, None));
    assert_eq!(
        name("308-03990_SP_FW.zip"),
        bare(FirmwareKind::ServiceProcessor)
    );
    assert_eq!(
        name("BMC_FW.13.7P1.zip"),
        bare(FirmwareKind::ServiceProcessor)
    );
    assert_eq!(name("qual_devices_v3"), bare(FirmwareKind::Qualification));
    for malformed in ["X423.LOD", ".LOD", "X423..LOD", "a b.NA01.LOD", "IOM12.SFW"] {
        let error = name(malformed).unwrap_err();
        assert!(
            matches!(error, ImageNameError::Malformed { .. }),
            "{malformed}"
        );
    }
    for unknown in ["README", "BMC.bin", "SP_FW.zip.txt", "X.NA01.LOD.md5"] {
        assert_eq!(name(unknown), Err(ImageNameError::Unknown), "{unknown}");
    }
}

#[test]
fn a_manifest_reads_back_as_written() {
    let written = good();
    let read = FirmwareManifest::parse(&written.to_bytes()).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.image_bytes(), 20);
    let found = read.image(Some(&model("X.2_B"))).unwrap();
    assert_eq!(found.file, "X.2_B.NA02.lod");
    assert!(read.image(None).is_none());
    let later = br#"{"format": 2, "kind": "something new"}"#;
    assert!(matches!(
        FirmwareManifest::parse(later),
        Err(FirmwareManifestError::Format { found: 2 })
    ));
}

/// What is wrong with the good manifest after a change.
fn refused(change: impl FnOnce(&mut FirmwareManifest)) -> FirmwareManifestError {
    let mut manifest = good();
    change(&mut manifest);
    manifest.validate().unwrap_err()
}

#[test]
fn manifests_that_contradict_themselves_are_refused() {
    use FirmwareManifestError as E;
    let with = |it: FirmwareImage| refused(|m| m.images.push(it));
    assert!(matches!(
        with(image("X3.NA01.LOD", "X4", "NA01")),
        E::NameDiffers { what: "model", .. }
    ));
    assert!(matches!(
        with(image("X3.NA01.LOD", "X3", "NA02")),
        E::NameDiffers {
            what: "revision",
            ..
        }
    ));
    assert!(matches!(
        with(image("X.2_B.NA03.LOD", "X.2_B", "NA03")),
        E::TwoOfOneModel { .. }
    ));
    assert!(matches!(
        with(image("x.2_b.na02.LOD", "x.2_b", "na02")),
        E::Duplicate { .. }
    ));
    assert!(matches!(
        with(image("IOM12.0300.SFW", "IOM12", "0300")),
        E::MixedKinds { .. }
    ));
    assert!(matches!(with(image("README", "X", "1")), E::Name { .. }));
    assert!(matches!(
        with(image("../X3.NA01.LOD", "X3", "NA01")),
        E::File { .. }
    ));
    for not_bare in ["d/X3.NA01.LOD", "d\\X3.NA01.LOD", FIRMWARE_MANIFEST] {
        let error = with(image(not_bare, "X3", "NA01"));
        assert!(matches!(error, E::NotBare { .. }), "{not_bare}");
    }
    for size in [0, MAX_IMAGE_BYTES + 1] {
        let error = refused(|m| m.images[0].size = size);
        assert!(matches!(error, E::Size { .. }), "{size}");
    }
    assert!(matches!(
        refused(|m| m.images[0].model = None),
        E::ModelMissing { .. }
    ));
    assert!(matches!(
        refused(|m| m.images.clear()),
        E::ImageCount { count: 0 }
    ));
    assert!(matches!(
        refused(|m| m.name = "a\nb".into()),
        E::Text { field: "name" }
    ));
    let dqp = |count: usize, of: Option<DeviceModel>| {
        refused(|m| {
            m.kind = FirmwareKind::Qualification;
            let it = FirmwareImage {
                model: of,
                ..image("qual_devices_v3", "X", "20260131")
            };
            m.images = vec![it; count];
        })
    };
    assert!(matches!(
        dqp(2, None),
        E::SeveralQualifications { count: 2 }
    ));
    assert!(matches!(dqp(1, Some(model("X"))), E::ModelStated { .. }));
}

#[test]
fn the_longest_summary_fits_into_an_event() {
    let images = (0..MAX_FIRMWARE_IMAGES).map(|n| {
        let (of, to) = (format!("{n:064}"), format!("{n:032}"));
        image(&format!("{of}.{to}.LOD"), &of, &to)
    });
    let mut manifest = disks(images.collect());
    manifest.name = "n".repeat(128);
    manifest.validate().unwrap();
    let json = serde_json::to_vec(&manifest.summary()).unwrap();
    assert!(json.len() < 48 << 10, "{} bytes", json.len());
    assert!((manifest.to_bytes().len() as u64) < MAX_FIRMWARE_MANIFEST_BYTES);
}

#[test]
fn what_is_for_others_or_not_newer_is_skipped_with_a_reason() {
    let device = |kind, of: &str, runs: &str| DeviceFirmware {
        device: "1.0.3".into(),
        kind,
        model: Some(model(of)),
        revision: Some(revision(runs)),
        spare: false,
    };
    let devices = [
        device(FirmwareKind::Disk, "X.2_B", "NA01"),
        device(FirmwareKind::Disk, "X.2_B", "NA2"),
        device(FirmwareKind::Disk, "X.2_B", "NA10"),
        device(FirmwareKind::Disk, "OTHER", "NA01"),
        device(FirmwareKind::Shelf, "X.2_B", "NA01"),
    ];
    let manifest = good();
    let judged = manifest.applicable(&devices);
    let said: Vec<String> = judged
        .iter()
        .map(|(_, it)| match it {
            Applicability::Apply { from, to } => format!("{} to {to}", from.clone().unwrap()),
            Applicability::Skip { reason } => reason.to_string(),
        })
        .collect();
    assert_eq!(
        said,
        [
            "NA01 to NA02",
            "it runs NA2, and the package brings NA02, which is not newer",
            "it runs NA10, and the package brings NA02, which is not newer",
            "the package holds no image for model OTHER",
            "the package holds disk firmware, this takes shelf firmware",
        ]
    );
    assert_eq!(judged[4].0, &devices[4]);
}

#[test]
fn a_qualification_package_replaces_older_ones_and_none() {
    let manifest = FirmwareManifest {
        kind: FirmwareKind::Qualification,
        images: vec![FirmwareImage {
            model: None,
            ..image("qual_devices_v3", "X", "20260131")
        }],
        ..good()
    };
    manifest.validate().unwrap();
    let applies = |installed: Option<&str>| {
        let node = DeviceFirmware {
            device: "node1".into(),
            kind: FirmwareKind::Qualification,
            model: None,
            revision: installed.map(revision),
            spare: false,
        };
        matches!(
            manifest.summary().applicability(&node),
            Applicability::Apply { .. }
        )
    };
    assert!(applies(None) && applies(Some("20251231")));
    assert!(!applies(Some("20260131")) && !applies(Some("20260201")));
}

/// The file with these lines and a right checksum.
fn sealed(lines: &[&str]) -> String {
    use sha2::Digest as _;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let sum = hex::encode(sha2::Sha256::digest(text.as_bytes()));
    format!("{text}checksum sha256 {sum}\n")
}

const HEAD: [&str; 3] = [
    "evenkeel-qualification 1",
    "version 3.18",
    "revision 20260131",
];

fn with_head(records: &[&str]) -> String {
    sealed(&[&HEAD[..], records].concat())
}

#[test]
fn a_qualification_package_answers_about_drives() {
    let text = with_head(&[
        "# for the lab",
        "alias HUC101818CS4200 X423_HCOBE1T8A10",
        "drive X423_HCOBE1T8A10 NA03",
        "drive X439_PHM21T6MCTO -",
        "device IOM12 0300",
        "system lab-x86_64",
    ]);
    let read = Qualification::parse(text.as_bytes()).unwrap();
    assert_eq!(
        (read.version(), read.revision().as_str()),
        ("3.18", "20260131")
    );
    let counts = RecordCounts {
        drive: 2,
        alias: 1,
        device: 1,
        system: 1,
    };
    assert_eq!(read.counts(), counts);
    let judge = |of: &str, runs: &str| read.judge(&model(of), &revision(runs));
    let old = DriveJudgement::BelowMinimum {
        minimum: revision("NA03"),
    };
    assert_eq!(judge("X423_HCOBE1T8A10", "NA02"), old);
    assert_eq!(judge("HUC101818CS4200", "NA02"), old);
    assert_eq!(judge("HUC101818CS4200", "NA3"), DriveJudgement::Qualified);
    assert_eq!(judge("X439_PHM21T6MCTO", "0"), DriveJudgement::Qualified);
    assert_eq!(judge("ELSE", "NA09"), DriveJudgement::Unknown);
    let module = read.module(&model("IOM12")).unwrap();
    assert_eq!(module.minimum, Some(&revision("0300")));
    assert!(read.knows_system(&PlatformName::new("lab-x86_64").unwrap()));
    let written = read.to_string();
    assert_eq!(Qualification::parse(written.as_bytes()).unwrap(), read);
}

/// Line and reason, as a person reads it.
fn wrong(text: &str) -> String {
    Qualification::parse(text.as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn faults_in_a_qualification_package_are_named_by_their_line() {
    let records = |records: &[&str]| wrong(&with_head(records));
    for (text, expected) in [
        (
            records(&["drive X NA01", "drive X NA02"]),
            "line 5: X has a record before, in line 4",
        ),
        (
            records(&["drive X -", "alias X X"]),
            "line 5: X has a record before, in line 4",
        ),
        (
            records(&["alias Y X"]),
            "line 4: an alias of X, which has no `drive` record",
        ),
        (
            records(&["drive X -", "alias Y X", "alias Z Y"]),
            "line 6: an alias of Y, which has no `drive` record",
        ),
        (
            records(&["drive X"]),
            "line 4: `drive MODEL MINIMUM` expected",
        ),
        (
            records(&["system a b"]),
            "line 4: `system PLATFORM` expected",
        ),
        (
            records(&["shelf X 1"]),
            "line 4: \"shelf\" is no record: `drive`, `alias`, `device` and `system` are",
        ),
        (
            records(&["drive X/Y -"]),
            "line 4: device model \"X/Y\" has the character '/', which is not allowed",
        ),
        (
            records(&["drive X  -"]),
            "line 4: words that are not separated by single spaces, or an empty line",
        ),
        (
            records(&["drive\tX -"]),
            "line 4: a character that is not printable ASCII",
        ),
        (
            records(&["drive X -\r"]),
            "line 4: a character that is not printable ASCII",
        ),
        (
            sealed(&["evenkeel-qualification 2"]),
            "line 1: format 2, but this release reads format 1",
        ),
        (
            sealed(&["something"]),
            "line 1: `evenkeel-qualification 1` expected",
        ),
        (
            sealed(&[HEAD[0], "revision 1"]),
            "line 2: `version VERSION` expected",
        ),
        (
            sealed(&[HEAD[0], "version 3."]),
            "line 2: \"3.\" is no version, as in 3.18",
        ),
        (
            sealed(&[HEAD[0], HEAD[1], "revision 20260230"]),
            "line 3: \"20260230\" is no revision: a day, as in 20260131",
        ),
        (
            String::new(),
            "line 1: the file ends here without its `checksum` line",
        ),
        (
            HEAD.join("\n") + "\n",
            "line 4: the file ends here without its `checksum` line",
        ),
        (HEAD.join("\n"), "line 3: the file ends in the middle of it"),
        (
            with_head(&[]) + "\n",
            "line 5: something follows the `checksum` line",
        ),
        (
            with_head(&["drive X -"]).replace("drive X", "drive Y"),
            "line 5: the checksum does not match the lines before it",
        ),
    ] {
        let found = match text.starts_with("line") {
            true => text,
            false => wrong(&text),
        };
        assert_eq!(found, expected);
    }
    let upper = with_head(&[]);
    let (lines, sum) = upper.rsplit_once(' ').unwrap();
    let upper = format!("{lines} {}", sum.to_uppercase());
    assert!(wrong(&upper).contains("lowercase"));
}

#[test]
fn a_qualification_package_is_bounded() {
    let many: Vec<String> = (0..=MAX_QUALIFICATION_RECORDS)
        .map(|n| format!("drive X{n} -"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(wrong(&with_head(&many)).contains("records allowed"));
    let fits = with_head(&many[1..]);
    assert!(Qualification::parse(fits.as_bytes()).is_ok());
    let comment = format!("#{}", "x".repeat(MAX_QUALIFICATION_BYTES));
    assert!(wrong(&with_head(&[&comment])).contains("bytes allowed"));
}
