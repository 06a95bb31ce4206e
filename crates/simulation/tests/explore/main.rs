//! Everything that may happen to the update of one pair: see `evenkeel_simulation::explore`.
//!
//! More of it: `cargo xtask explore --faults N --requests N`.

use evenkeel_simulation::explore::{Report, Rules, Scope, explore};

/// More states than that are not for a test.
const MOST: usize = 1_000_000;

fn sound(report: &Report) {
    println!("{report}");
    if let Some(violation) = &report.violation {
        panic!("{violation}");
    }
    assert!(report.complete, "{report}");
    assert!(report.ends > 0 && report.pauses > 0, "{report}");
}

fn all(faults: u8, requests: u8, first: Option<usize>) {
    let scope = Scope {
        faults,
        requests,
        first,
        most_states: MOST,
    };
    sound(&explore(scope, Rules::default()));
}

#[test]
fn whatever_an_operator_asks_for_no_state_is_forbidden_or_a_dead_end() {
    all(0, 1, None);
}

#[test]
fn one_fault_anywhere_leads_nowhere_forbidden_and_to_no_dead_end() {
    all(1, 0, Some(0));
}

#[test]
fn nor_does_it_where_the_other_node_coordinates_first() {
    all(1, 0, Some(1));
}

/// Of `cargo xtask explore`.
#[test]
#[ignore = "takes as long as was asked for"]
fn as_much_as_is_asked_for() {
    let number = |name: &str| {
        let given = std::env::var(format!("EVENKEEL_EXPLORE_{name}"));
        let given = given.expect("cargo xtask explore says it");
        given.parse::<usize>().expect("a number")
    };
    let scope = Scope {
        faults: number("FAULTS") as u8,
        requests: number("REQUESTS") as u8,
        first: None,
        most_states: number("STATES"),
    };
    sound(&explore(scope, Rules::default()));
}

/// What breaks a rule is found, and told.
fn told(rules: Rules, faults: u8, what: &str) {
    let report = explore(
        Scope {
            faults,
            requests: 0,
            first: None,
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
