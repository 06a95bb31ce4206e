//! `kill -9` at chosen events, of every kind of victim. Whatever is killed, the update reaches its end, or
//! stands still with a reason, and no act of ours takes a pair out of service.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Events, Lab};

/// At these events somebody is killed: what kind, and for tasks what it does.
const AT: [(&str, Option<&str>); 12] = [
    ("requested", None),
    ("validated", None),
    ("planned", None),
    ("task_started", Some("install")),
    ("task_ended", Some("activate")),
    ("task_started", Some("takeover")),
    ("task_ended", Some("takeover")),
    ("task_started", Some("await_boot")),
    ("task_started", Some("stabilize")),
    ("task_started", Some("giveback")),
    ("task_ended", Some("giveback")),
    ("node_updated", None),
];

#[derive(Clone, Copy, Debug)]
enum Victim {
    Coordinator,
    Updated,
    Partner,
    All,
}

/// The tasks of the plan: what each does, and to which node.
#[derive(Default)]
struct Tasks(Vec<(u64, String, String)>);

impl Tasks {
    /// A plan that is too big for one event comes in parts.
    fn learn(&mut self, event: &Value) {
        let of_plan = [&event["plan"]["steps"], &event["steps"]];
        for step in of_plan.into_iter().filter_map(|it| it.as_array()).flatten() {
            for lane in step["lanes"].as_array().into_iter().flatten() {
                let all = [&lane["tasks"], &lane["restore"]];
                for task in all.iter().filter_map(|tasks| tasks.as_array()).flatten() {
                    let does = task["action"]["do"].as_str().unwrap().to_owned();
                    let node = task["node"].as_str().unwrap().to_owned();
                    self.0.push((task["id"].as_u64().unwrap(), does, node));
                }
            }
        }
    }

    fn get(&self, event: &Value) -> Option<(&str, &str)> {
        let id = event["task"].as_u64()?;
        let found = self.0.iter().find(|(known, _, _)| *known == id)?;
        Some((&found.1, &found.2))
    }
}

fn kill(lab: &Lab, events: &Events, victim: Victim, node: Option<&str>) {
    // Before any task a node is as good as another.
    let updated = node.unwrap_or("node1");
    let victims = match victim {
        Victim::Coordinator => events.coordinator().into_iter().collect(),
        Victim::Updated => vec![updated.to_owned()],
        Victim::Partner => vec![lab.partner(updated)],
        Victim::All => lab.node_names(),
    };
    for victim in victims {
        lab.kill_daemon(&victim);
    }
}

/// Runs an update and kills at each of the chosen events once: whoever's turn it is by the event's number.
fn survive(nodes: usize, mode: &str, turns: &[Victim]) {
    let lab = Lab::up(nodes);
    lab.upload("2.0");
    let probe = lab.probe();
    let events = lab.follow_events();
    let requested = lab.ok(&[
        "image",
        "update",
        "2.0",
        "--stabilize-minutes",
        "1",
        "--json",
    ]);
    let job: Value = serde_json::from_str(&requested).unwrap();
    let (mut tasks, mut met) = (Tasks::default(), BTreeSet::new());
    let (mut resumes, mut modes) = (0, BTreeSet::new());
    loop {
        let line = events.next();
        let event = &line["event"];
        tasks.learn(event);
        let task = tasks.get(event);
        let kind = event["type"].as_str().unwrap();
        let here = AT.iter().position(|(at, does)| {
            *at == kind && does.is_none_or(|does| task.is_some_and(|(done, _)| done == does))
        });
        if let Some(here) = here.filter(|here| met.insert(*here)) {
            let node = task
                .map(|(_, node)| node)
                .or_else(|| event["node"].as_str());
            let victim = turns[here % turns.len()];
            println!("killing {victim:?} at {:?}", AT[here]);
            kill(&lab, &events, victim, node);
        }
        match kind {
            "planned" => drop(modes.insert(event["plan"]["mode"].to_string())),
            "paused" => {
                // A true reason: something was killed in the middle of it.
                assert!(
                    !event["cause"]["error"]["problem"]["error"]
                        .as_str()
                        .unwrap()
                        .is_empty()
                );
                resumes += 1;
                assert!(resumes <= 3, "{line}\n{}", lab.tail());
                lab.ok(&["image", "resume-update"]);
            }
            "ended" => {
                let is_update = line["stream"].as_str().unwrap().starts_with("operation/");
                if is_update && event["end"] == "completed" && !met.is_empty() && met.len() > 3 {
                    break;
                }
                assert_eq!(event["end"], "completed", "{line}\n{}", lab.tail());
            }
            _ => {}
        }
    }
    assert_eq!(met.len(), AT.len(), "not every event came: {met:?}");
    assert_eq!(modes, BTreeSet::from([format!("\"{mode}\"")]));
    assert_eq!(lab.settled(), "completed");
    assert!(lab.versions().values().all(|version| version == "2.0"));
    // No job and no package is lost.
    let uuid = job["uuid"].as_str().unwrap();
    assert_eq!(lab.json(&["job", "show", uuid])["state"], "success");
    assert!(
        lab.ok(&["image", "package", "show-repository"])
            .contains("2.0")
    );
    lab.assert_no_harm();
    // Daemons carry no data: whoever was killed, only transitions cost I/O.
    let report = probe.finish();
    assert_eq!(report.gaps_outside().count(), 0, "{report:?}");
}

#[test]
fn the_coordinator_is_killed() {
    survive(4, "rolling", &[Victim::Coordinator]);
}

#[test]
fn the_updated_node_is_killed() {
    survive(4, "rolling", &[Victim::Updated]);
}

#[test]
fn the_partner_is_killed() {
    survive(4, "rolling", &[Victim::Partner]);
}

#[test]
fn all_are_killed() {
    survive(4, "rolling", &[Victim::All]);
}

/// Two nodes at a time: whoever is killed in one lane, the other lane goes on.
#[test]
fn a_batch_in_which_each_is_killed_in_turn_goes_on() {
    let turns = [
        Victim::Updated,
        Victim::Coordinator,
        Victim::Partner,
        Victim::All,
        Victim::Coordinator,
    ];
    survive(8, "batch", &turns);
}

/// Waits for an event of that type of the update.
fn heard(events: &Events, kind: &str) {
    while events.next()["event"]["type"] != kind {}
}

/// A node that was just started may answer for a moment from its own copy: an older state.
fn comes_to(lab: &Lab, state: &str) {
    lab.until(state, |lab| {
        (lab.state().as_deref() == Some(state)).then_some(())
    });
}

/// Asks until somebody answers: all may be on their way up.
fn accepted(lab: &Lab, action: &str) {
    lab.until(action, |lab| {
        let asked = lab.run(&["image", action]);
        asked.status.success().then_some(())
    });
}

/// One update that fails on a node, is resumed, paused and canceled, with a kill at each turn and the power
/// gone while it stands still.
#[test]
fn an_update_that_fails_is_paused_and_canceled_survives_kills_and_a_power_cut() {
    let mut lab = Lab::up(2);
    lab.upload("2.0");
    lab.ok(&["lab", "fault", "bad-image", "node1"]);
    lab.ok(&["lab", "fault", "bad-image", "node2"]);
    let events = lab.follow_events();
    lab.ok(&["image", "update", "2.0", "--stabilize-minutes", "1"]);
    // It falls back; whoever brings the node home is killed.
    heard(&events, "restoring");
    kill(&lab, &events, Victim::All, None);
    comes_to(&lab, "paused_on_error");
    assert!(lab.versions().values().all(|version| version != "2.0"));
    for node in lab.node_names() {
        lab.ok(&["lab", "fault", "bad-image", &node, "--clear"]);
    }
    drop(events);
    lab.pull_the_plug();
    lab.start();
    comes_to(&lab, "paused_on_error");
    lab.until("the nodes' service", |lab| {
        let shown = lab.ok(&["lab", "status"]);
        (shown.matches("serving").count() == 2).then_some(())
    });
    let events = lab.follow_events();
    accepted(&lab, "resume-update");
    heard(&events, "task_started");
    accepted(&lab, "pause-update");
    kill(&lab, &events, Victim::Coordinator, None);
    comes_to(&lab, "paused_by_user");
    kill(&lab, &events, Victim::All, None);
    accepted(&lab, "cancel-update");
    kill(&lab, &events, Victim::All, None);
    comes_to(&lab, "canceled");
    lab.assert_no_harm();
}
