//! What the checks of a package find.

use evenkeel_model::*;

use crate::world::*;

/// Findings as long as checks may make them, no two the same.
fn wordy(node: &str) -> Vec<BundledFinding> {
    let finding = |n: usize| BundledFinding {
        check: "checks/wordy".to_owned(),
        severity: match n {
            0 => Severity::Error,
            _ => Severity::Warning,
        },
        issue: format!("{node} {n} {}", "ü".repeat(480)),
        action: "ü".repeat(500),
    };
    (0..16).map(finding).collect()
}

#[test]
fn findings_that_the_record_would_not_take_are_counted() {
    let mut world = World::update();
    world.override_package(|package| {
        package.checks = vec![BundledCheck {
            path: "checks/wordy".to_owned(),
            timeout_seconds: None,
        }];
    });
    for (node, order) in world.decide().run_checks {
        world.override_node(node.as_str(), |seen| {
            let (at, findings) = (wall(), wordy(node.as_str()));
            let state = BundledState::Ended { at, findings };
            seen.bundled_checks = Some(BundledRun { order, state });
        });
    }
    let decision = world.decide();
    let event = Event::Operation(decision.events[0].clone());
    let bytes = event.encode().len();
    assert!((32 << 10..64 << 10).contains(&bytes), "{bytes}");

    world.append(decision.events);
    let findings = world.operation.findings.as_deref().unwrap();
    let (last, shown) = findings.split_last().unwrap();
    let errors = shown.iter().filter(|f| f.severity == Severity::Error);
    assert_eq!(errors.count(), 4, "what is worst is shown first");
    let left = 4 * 16 - shown.len();
    assert_eq!(
        last.issue,
        format!("The checks found {left} more problems.")
    );
}

/// The findings of a validation whose package's check says this on every node.
fn said(package: Digest, issue: &str) -> Vec<Finding> {
    let mut world = World::update();
    world.override_package(|known| {
        known.checks = vec![BundledCheck {
            path: "checks/ns".to_owned(),
            timeout_seconds: None,
        }];
    });
    for entry in world.catalogue.packages.values_mut() {
        entry.package.digest = package;
    }
    for (node, order) in world.decide().run_checks {
        let finding = BundledFinding {
            check: "checks/ns".to_owned(),
            severity: Severity::Warning,
            issue: issue.to_owned(),
            action: "See to it.".to_owned(),
        };
        world.override_node(node.as_str(), |seen| {
            let (at, findings) = (wall(), vec![finding]);
            let state = BundledState::Ended { at, findings };
            seen.bundled_checks = Some(BundledRun { order, state });
        });
    }
    let events = world.decide().events;
    world.append(events);
    world.operation.findings.clone().unwrap()
}

#[test]
fn other_words_and_other_packages_are_about_something_else() {
    let (small, other) = (Digest([7; 32]), Digest([8; 32]));
    let of = |findings: Vec<Finding>| {
        let mut found = findings.into_iter().filter(|f| f.check == "checks/ns");
        found.next().unwrap().about
    };
    let acknowledged = of(said(small, "The log volume is small."));
    assert_eq!(acknowledged, of(said(small, "The log volume is small.")));
    for about in [
        of(said(small, "All pools will be reformatted.")),
        of(said(other, "The log volume is small.")),
    ] {
        assert!(about.is_disjoint(&acknowledged), "{about:?}");
    }
}
