//! Everything that may happen to the update of one pair.

use evenkeel_simulation::explore::{Rules, Scope, explore};

#[test]
fn nothing_forbidden_happens_and_no_state_is_a_dead_end() {
    let number = |name: &str, otherwise: usize| {
        let given = std::env::var(name).ok();
        given.map_or(otherwise, |given| given.parse().expect("a number"))
    };
    let scope = Scope {
        faults: number("EVENKEEL_EXPLORE_FAULTS", 1) as u8,
        requests: number("EVENKEEL_EXPLORE_REQUESTS", 1) as u8,
        most_states: number("EVENKEEL_EXPLORE_STATES", 5_000_000),
    };
    let report = explore(scope, Rules::default());
    println!("{report}");
    if let Some(violation) = &report.violation {
        panic!("{violation}");
    }
    assert!(report.complete, "{report}");
}
