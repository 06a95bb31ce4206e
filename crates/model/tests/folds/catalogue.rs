//! Packages of the cluster.

use evenkeel_model::*;

use crate::samples::*;

fn added(digest_: u8, text: &str) -> CatalogueEvent {
    let summary = ManifestSummary {
        version: version(text),
        name: "evenkeel".to_owned(),
        platform: PlatformName::new("lab").unwrap(),
        variant: None,
        features: vec![],
        source_versions: SourceVersions::Any,
        manual_steps: Vec::new(),
        firmware: Vec::new(),
        checks: Vec::new(),
        unpacked_bytes: 1,
        entry_count: 1,
        build_time: at(0),
    };
    let package = PackageRef {
        signed_by: None,
        digest: digest(digest_),
        archive_digest: digest(99),
        archive_bytes: 1,
        summary,
    };
    CatalogueEvent::PackageAdded {
        at: at(4),
        package: Box::new(package),
        node: node("n1"),
    }
}

#[test]
fn a_version_is_held_once_until_it_is_removed() {
    let mut catalogue = Catalogue::default();
    let removed = CatalogueEvent::PackageRemoved {
        at: at(5),
        digest: digest(1),
    };
    let none = catalogue.apply(&removed).unwrap_err();
    assert_eq!(none.event, "package_removed");
    assert!(none.state.contains("is not in the catalogue"));
    catalogue.apply(&added(1, "2")).unwrap();
    for other in [1, 3] {
        let twice = catalogue.apply(&added(other, "2")).unwrap_err();
        assert_eq!(twice.event, "package_added");
        assert!(twice.state.contains("version 2 is in the catalogue"));
    }
    let entry = catalogue.by_version(&version("2")).unwrap();
    assert_eq!((&entry.origin, entry.create_time), (&node("n1"), at(4)));
    catalogue.apply(&removed).unwrap();
    assert_eq!(catalogue.by_version(&version("2")), None);
    catalogue.apply(&added(3, "2")).unwrap();
}
