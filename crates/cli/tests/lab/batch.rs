//! Twelve controllers on one machine, updated in two batches of whole pairs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::Lab;

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
    let report = probe.finish();
    assert_eq!(report.gaps_outside().count(), 0, "{report:?}");
    let history = lab.json(&["image", "show-update-history"]);
    assert_eq!(history["num_records"], 12, "{history}");
    lab.assert_no_harm();
}
