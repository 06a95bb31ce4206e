//! Everything that may happen to the update of one pair: see `evenkeel_simulation::explore`.
//!
//! More of it: `EVENKEEL_EXPLORE_FAULTS=1 cargo test --release -p evenkeel-simulation --test explore -- --nocapture`,
//! and `…_REQUESTS`, `…_STATES`.

use evenkeel_simulation::explore::{Report, Rules, Scope, explore};

fn number(name: &str, otherwise: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |given| given.parse().expect("a number"))
}

fn sound(report: &Report) {
    println!("{report}");
    if let Some(violation) = &report.violation {
        panic!("{violation}");
    }
}

#[test]
fn nothing_forbidden_happens_and_no_state_is_a_dead_end() {
    let report = explore(
        Scope {
            faults: number("EVENKEEL_EXPLORE_FAULTS", 0) as u8,
            requests: number("EVENKEEL_EXPLORE_REQUESTS", 1) as u8,
            most_states: number("EVENKEEL_EXPLORE_STATES", 5_000_000),
        },
        Rules::default(),
    );
    sound(&report);
    assert!(report.complete, "{report}");
    assert!(report.ends > 0 && report.pauses > 0, "{report}");
}

/// The beginning of all that one fault may lead to; all of it takes longer than a test should.
#[test]
fn nothing_forbidden_happens_soon_after_a_fault() {
    let report = explore(
        Scope {
            faults: 1,
            requests: 0,
            most_states: 60_000,
        },
        Rules::default(),
    );
    sound(&report);
}

/// What breaks a rule is found, and told.
fn told(rules: Rules, faults: u8, what: &str) {
    let report = explore(
        Scope {
            faults,
            requests: 0,
            most_states: 400_000,
        },
        rules,
    );
    let story = report.violation.expect("a broken rule has consequences");
    assert!(story.starts_with(what), "{story}");
    assert!(story.contains("1. node01 is elected") || story.contains("1. node02 is elected"));
}

#[test]
fn a_takeover_that_nobody_consented_to_is_found() {
    let rules = Rules {
        partners_consent: false,
        ..Rules::default()
    };
    told(rules, 0, "I1: ");
}

#[test]
fn a_record_that_does_not_fence_is_found_out() {
    let rules = Rules {
        record_fences: false,
        ..Rules::default()
    };
    told(rules, 1, "I4: ");
}

#[test]
fn nodes_that_forget_generations_are_found_out() {
    let rules = Rules {
        nodes_fence: false,
        ..Rules::default()
    };
    told(rules, 1, "I4: ");
}
