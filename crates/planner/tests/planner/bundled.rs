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
