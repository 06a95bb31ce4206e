//! Twelve controllers on one machine, updated in two batches of whole pairs.

use std::collections::BTreeSet;

use evenkeel_lab::{Gap, ProbeReport};
use serde_json::{Value, json};

use crate::harness::Lab;

/// What a takeover or a giveback may cost a client: the engine moves a LIF within half a second, and the client
/// finds it at its new place a moment later. The rest is room for a busy machine.
const TRANSITION_MS: u64 = 2_000;
/// Shorter times without an answer are no gaps, says the probe.
const GAP_MS: i128 = 250;

fn planned(lab: &Lab) -> Value {
    let events = lab.ok(&["events"]);
    let lines = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut plans = lines.filter(|line| line["event"]["type"] == "planned");
    plans.next_back().unwrap()["event"]["plan"].clone()
}

fn nodes_of(step: &Value) -> BTreeSet<&str> {
    let lanes = step["lanes"].as_array().unwrap();
    lanes
        .iter()
        .map(|lane| lane["node"].as_str().unwrap())
        .collect()
}

#[test]
fn twelve_nodes_roll_in_batches_and_no_pair_is_ever_out_of_service() {
    let lab = Lab::up(12);
    lab.upload("2.0");
    let probe = lab.probe();
    lab.ok(&["image", "update", "2.0", "--watch"]);
    assert!(lab.versions().values().all(|version| version == "2.0"));
    let plan = planned(&lab);
    assert_eq!(plan["mode"], "batch", "{plan}");
    let steps: Vec<_> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(nodes_of)
        .collect();
    let sizes: Vec<usize> = steps.iter().map(BTreeSet::len).collect();
    assert_eq!(
        sizes,
        [12, 3, 3, 3, 3],
        "install everywhere, then four steps"
    );
    for step in &steps[1..] {
        let partners = step.iter().map(|node| lab.partner(node));
        let both: Vec<String> = partners.filter(|p| step.contains(p.as_str())).collect();
        assert!(both.is_empty(), "partners in one step: {both:?}");
    }
    clients_hardly_noticed(&lab, &probe.finish());
    assert_eq!(lab.json(&["lab", "status"])["incidents"], json!([]));
    let history = lab.json(&["image", "show-update-history"]);
    assert_eq!(history["num_records"], 12, "{history}");
    lab.assert_no_harm();
}

/// What was read through the LIFs of twelve nodes all the time.
fn clients_hardly_noticed(lab: &Lab, report: &ProbeReport) {
    assert_eq!(report.transitions_unknown, None, "{report:?}");
    // Of a LIF each 50 ms; an update of twelve nodes takes some seconds at the least.
    assert!(report.reads > 12 * 50, "{report:?}");
    assert_eq!(report.gaps_outside().count(), 0, "{report:?}");
    let longest = report.gaps.iter().max_by_key(|gap| by_itself(gap));
    if let Some(gap) = longest.filter(|gap| by_itself(gap) > TRANSITION_MS) {
        panic!("the LIF of {} was away for too long: {gap:?}", gap.home);
    }
    for gap in &report.gaps {
        let partner = lab.partner(gap.home.as_str());
        let of_partner = |other: &&Gap| other.home.as_str() == partner;
        let mut others = report.gaps.iter().filter(of_partner);
        if let Some(other) = others.find(|other| both_away(gap, other)) {
            panic!("a pair served nothing: {gap:?} and {other:?}");
        }
    }
}

/// How long it was, without the time in which the machine did not even run the probe.
fn by_itself(gap: &Gap) -> u64 {
    gap.ms - gap.stalled_ms
}

/// Whether two LIFs were away at the same time for so long that it is a gap, beyond what stalls of the machine explain.
fn both_away(one: &Gap, other: &Gap) -> bool {
    let from = one.start.timestamp().max(other.start.timestamp());
    let to = one.end.timestamp().min(other.end.timestamp());
    let common = to.duration_since(from).as_millis();
    common - i128::from(one.stalled_ms.min(other.stalled_ms)) >= GAP_MS
}
