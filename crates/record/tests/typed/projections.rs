//! What is shown at the stations of an update, a validation, and the operations on packages.

use std::time::Duration;

use crate::story::{Story, finding, node, plan, problem, user, version, wall};
use evenkeel_model::*;
use evenkeel_record::projections::{
    At, Away, HistoryState, JobState, PhaseRow, Software, UpdateState, cluster, cluster_version,
    history, job, jobs, nodes, open_operations, package, packages, software,
};

fn picture(story: &Story) -> Software {
    software(&story.view, At::new(story.now))
}

/// `phase node state`, one a line.
fn phases(rows: &[PhaseRow]) -> Vec<String> {
    let word = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| format!("{} {} {:?}", word(row.phase), row.node, row.state))
        .collect()
}

fn seconds(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| duration.as_secs())
}

#[test]
fn before_anything_happened_only_what_is_installed_is_shown() {
    assert_eq!(picture(&Story::empty()), Software::default());
    let shown = picture(&Story::cluster());
    assert_eq!(shown.version, Some(version("1.0")));
    assert_eq!(shown.nodes.len(), 2);
    assert_eq!(
        (shown.state, shown.pending_version, shown.estimated),
        (None, None, None)
    );
    assert_eq!(
        (shown.validation_results, shown.post_update_checks),
        (None, None)
    );
}

/// An estimate is a question: what is shown of the cluster is the same before it, while it runs and after it.
#[test]
fn an_estimate_changes_nothing_that_is_shown() {
    for updated in [false, true] {
        let mut story = Story::cluster();
        if updated {
            let (update, _) = story.start_update();
            story.end(update, OperationEnd::Canceled);
        }
        let shown = |story: &Story| {
            let now = At::new(wall(100));
            (software(&story.view, now), history(&story.view))
        };
        let before = shown(&story);
        let (id, _) = story.start(Request::Estimate(UpdateRequest::new(version("2.0"))));
        assert_eq!(shown(&story), before, "while it runs");
        let at = story.tick();
        let estimate = PlanEstimate {
            mode: PlanMode::Rolling,
            pre_checks_s: 600,
            updates_s: 4_000,
            updates_p90_s: 5_000,
            post_checks_s: 600,
            disruptive: false,
            moments: Vec::new(),
        };
        story.operation(id, OperationEvent::Estimated { at, estimate });
        story.end(id, OperationEnd::Completed);
        assert_eq!(shown(&story), before, "when it is over");
        assert!(story.view.operation(id).unwrap().estimate.is_some());
    }
}

#[test]
fn an_update_is_shown_at_each_of_its_stations() {
    let mut story = Story::cluster();
    let (id, _) = story.start_update();
    let asked = picture(&story);
    assert_eq!(asked.state, Some(UpdateState::InProgress));
    assert_eq!(asked.pending_version, Some(version("2.0")));
    assert_eq!((asked.validation_results, asked.estimated), (None, None));
    assert_eq!(
        phases(&asked.update_details),
        [
            "Pre-update n1 InProgress",
            "Pre-update n2 InProgress",
            "Data n1 Waiting",
            "Data n2 Waiting",
            "Post-update n1 Waiting",
            "Post-update n2 Waiting",
        ]
    );
    assert_eq!(asked.update_details[2].elapsed, None);

    story.validated(id, vec![]);
    story.planned(id, plan());
    story.run(id, Story::INSTALL);
    story.run(id, Story::N2);
    story.boot("n2", "2.0");
    story.node_updated(id, "n2");
    story.task_started(id, Story::N1[0], 1);
    let half = picture(&story);
    assert_eq!(half.version, Some(version("1.0")), "still the old one");
    assert_eq!(half.nodes[1].version, Some(version("2.0")));
    assert_eq!(half.validation_results, Some(vec![]));
    // What it took so far, and the 600 of the last node, whose takeover begins.
    assert_eq!(
        half.estimated,
        Some(half.elapsed.unwrap() + Duration::from_secs(600))
    );
    assert_eq!(
        phases(&half.update_details),
        [
            "Pre-update n1 Completed",
            "Pre-update n2 Completed",
            "Data n1 InProgress",
            "Data n2 Completed",
            "Post-update n1 Waiting",
            "Post-update n2 Waiting",
        ]
    );
    let last = half.status_details.last().unwrap();
    assert_eq!(
        (last.name.as_str(), last.state),
        ("do-failover-job", UpdateState::InProgress)
    );
    assert_eq!((last.node.clone(), last.end), (node("n1"), None));
}

#[test]
fn an_installation_has_the_codes_of_the_original() {
    let mut story = Story::cluster();
    let (id, _) = story.start_update();
    story.validated(id, vec![]);
    story.planned(id, plan());
    let codes = |story: &Story| -> Vec<(u32, UpdateState)> {
        let rows = picture(story).status_details.into_iter();
        rows.map(|row| (row.issue.code, row.state)).collect()
    };
    let [first, second] = Story::INSTALL;
    story.run(id, [first]);
    story.task_started(id, second, 1);
    let expected = [
        // The checks, of each node.
        (0, UpdateState::Completed),
        (0, UpdateState::Completed),
        (10_551_399, UpdateState::Completed),
        (10_551_400, UpdateState::InProgress),
    ];
    assert_eq!(codes(&story), expected);
}

#[test]
fn a_completed_update_stays_to_be_seen() {
    let mut story = Story::cluster();
    let (id, job_id) = story.update();
    let ended = story.now;
    for _ in 0..100 {
        story.tick();
    }
    let shown = picture(&story);
    assert_eq!(shown.state, Some(UpdateState::Completed));
    assert_eq!(shown.version, Some(version("2.0")));
    assert_eq!(
        (shown.pending_version, shown.post_update_checks),
        (None, Some(vec![]))
    );
    assert!(
        shown
            .update_details
            .iter()
            .all(|row| row.state == UpdateState::Completed)
    );
    let requested = story.view.operation(id).unwrap().requested_at;
    assert_eq!(
        shown.elapsed,
        Some(ended.shown_since(requested)),
        "it stopped at the end"
    );
    assert!(open_operations(&story.view).is_empty());

    let rows = history(&story.view);
    let of_rows: Vec<_> = rows
        .iter()
        .map(|row| (row.node.as_str(), row.state))
        .collect();
    assert_eq!(
        of_rows,
        [
            ("n2", HistoryState::Successful),
            ("n1", HistoryState::Successful)
        ]
    );
    assert_eq!(
        (&rows[0].from, &rows[0].to),
        (&version("1.0"), &version("2.0"))
    );
    assert!(rows[0].start.unix_seconds() < rows[0].end.unix_seconds());
    assert_eq!(
        rows[0].node_id,
        crate::story::topology()
            .node(&node("n2"))
            .map(|config| config.id)
    );

    let row = job(&story.view, job_id).unwrap();
    assert_eq!(
        (row.state, row.code, row.message.as_str()),
        (JobState::Success, 0, "started")
    );
    assert_eq!(jobs(&story.view), [row]);
}

#[test]
fn trouble_is_shown_where_it_is() {
    let mut story = Story::cluster();
    let (id, _) = story.start_update();
    story.validated(id, vec![]);
    story.planned(id, plan());
    story.run(id, Story::INSTALL);
    story.task_started(id, Story::N2[0], 1);
    story.task_failed(id, Story::N2[0], 1, "the partner refused");
    let cause = PauseCause::Error {
        problem: problem(Some(node("n2")), "the partner refused"),
    };
    story.paused(id, cause);
    let shown = picture(&story);
    assert_eq!(shown.state, Some(UpdateState::PausedOnError));
    let told: Vec<_> = shown
        .status_details
        .iter()
        .filter(|row| row.issue.message.contains("refused"))
        .collect();
    assert_eq!(told.len(), 1, "the task says it: {told:?}");
    assert_eq!(
        (told[0].state, told[0].action.as_deref()),
        (UpdateState::Failed, Some("mend it"))
    );
    // The other installed, too, and has nothing to do with it.
    let expected = ["Data n1 Waiting", "Data n2 PausedOnError"];
    assert_eq!(phases(&shown.update_details)[2..4], expected);

    let at = story.tick();
    story.operation(
        id,
        OperationEvent::Resumed {
            at,
            by: user(),
            anew: false,
        },
    );
    assert_eq!(picture(&story).state, Some(UpdateState::InProgress));
    let cause = PauseCause::Error {
        problem: problem(None, "the pair was taken over by hand"),
    };
    story.paused(id, cause);
    let shown = picture(&story);
    let rows: Vec<_> = shown.status_details.iter().rev().take(2).collect();
    for row in rows {
        assert_eq!(
            row.issue.message, "the pair was taken over by hand",
            "no task says it"
        );
        assert_eq!(row.state, UpdateState::PausedOnError);
    }
}

#[test]
fn failing_checks_afterwards_are_shown_in_their_phase() {
    let mut story = Story::cluster();
    let (id, _) = story.start_update();
    story.validated(id, vec![]);
    story.planned(id, plan());
    story.run(
        id,
        Story::INSTALL.into_iter().chain(Story::N2).chain(Story::N1),
    );
    let at = story.tick();
    let findings = vec![finding("HA Health Status", Severity::Error)];
    story.operation(
        id,
        OperationEvent::PostChecked {
            at,
            findings: findings.clone(),
        },
    );
    let cause = PauseCause::Error {
        problem: problem(None, "something is wrong"),
    };
    story.paused(id, cause);
    let shown = picture(&story);
    assert_eq!(shown.post_update_checks, Some(findings));
    let states = phases(&shown.update_details);
    assert_eq!(states[2..4], ["Data n1 Completed", "Data n2 Completed"]);
    assert_eq!(
        states[4..],
        [
            "Post-update n1 PausedOnError",
            "Post-update n2 PausedOnError"
        ]
    );
}

#[test]
fn a_canceled_update_leaves_a_row_for_each_node_it_began_with() {
    let mut story = Story::cluster();
    let (id, _) = story.start_update();
    story.validated(id, vec![]);
    story.planned(id, plan());
    story.run(id, Story::INSTALL);
    story.run(id, Story::N2);
    story.boot("n2", "2.0");
    story.node_updated(id, "n2");
    story.paused(
        id,
        PauseCause::User {
            point: PausePoint::Giveback,
        },
    );
    assert_eq!(picture(&story).state, Some(UpdateState::PausedByUser));
    assert_eq!(picture(&story).action, None, "nobody asked for the pause");
    let at = story.tick();
    story.operation(id, OperationEvent::CancelRequested { at, by: user() });
    assert_eq!(picture(&story).state, Some(UpdateState::CancelPending));
    story.end(id, OperationEnd::Canceled);
    let shown = picture(&story);
    assert_eq!(shown.state, Some(UpdateState::Canceled));
    assert_eq!(shown.action, Some(Steering::Cancel));
    assert_eq!(
        shown.version,
        Some(version("1.0")),
        "one node is left at the old one"
    );
    let rows = history(&story.view);
    let of_rows: Vec<_> = rows
        .iter()
        .map(|row| (row.node.as_str(), row.state))
        .collect();
    assert_eq!(
        of_rows,
        [
            ("n2", HistoryState::Successful),
            ("n1", HistoryState::Canceled)
        ]
    );
    let states = phases(&shown.update_details);
    assert_eq!(states[2..4], ["Data n1 Canceled", "Data n2 Completed"]);

    // One that is refused changes nothing, not even what the cluster counts as.
    let (id, _) = story.start_update();
    story.validated(id, vec![finding("NFS mounts", Severity::Error)]);
    let (code, message) = (10_551_396, "errors".to_owned());
    story.end(id, OperationEnd::Failed { code, message });
    let refused = picture(&story);
    assert_eq!(refused.state, Some(UpdateState::Failed));
    assert_eq!(refused.version, Some(version("1.0")));
}

#[test]
fn a_validation_fails_by_its_findings_and_hides_nothing() {
    for (findings, state) in [
        (vec![], UpdateState::Completed),
        (
            vec![finding("Manual checks", Severity::Warning)],
            UpdateState::Completed,
        ),
        (
            vec![finding("High Availability status", Severity::Error)],
            UpdateState::Failed,
        ),
    ] {
        let mut story = Story::cluster();
        let (id, job_id) = story.start_validation();
        story.validated(id, findings.clone());
        story.close_job(
            id,
            job_id,
            JobOutcome::Success {
                message: "validated".to_owned(),
            },
        );
        story.end(id, OperationEnd::Completed);
        let shown = picture(&story);
        assert_eq!(shown.state, Some(state));
        assert_eq!(shown.validation_results, Some(findings));
        assert_eq!(seconds(shown.estimated), Some(600));
        assert_eq!(shown.update_details.len(), 2, "only the first phase");
        assert_eq!(job(&story.view, job_id).unwrap().state, JobState::Success);
    }
}

#[test]
fn a_refused_update_has_no_further_phases() {
    let mut story = Story::cluster();
    let (id, job_id) = story.start_update();
    story.validated(
        id,
        vec![finding("High Availability status", Severity::Error)],
    );
    let outcome = JobOutcome::Failure {
        code: code::VALIDATION_FAILED,
        message: String::new(),
    };
    story.close_job(id, job_id, outcome);
    let (code, message) = (code::VALIDATION_FAILED, "errors".to_owned());
    story.end(id, OperationEnd::Failed { code, message });
    let shown = picture(&story);
    assert_eq!(
        (shown.state, shown.estimated),
        (Some(UpdateState::Failed), None)
    );
    assert_eq!(
        phases(&shown.update_details),
        ["Pre-update n1 Failed", "Pre-update n2 Failed"]
    );
    assert!(history(&story.view).is_empty());
    let row = job(&story.view, job_id).unwrap();
    assert_eq!(
        (row.state, row.code),
        (JobState::Failure, code::VALIDATION_FAILED)
    );
    assert_eq!(row.message, "Software update failed", "never empty");
}

#[test]
fn findings_of_one_check_are_told_together() {
    let mut story = Story::cluster();
    let (id, _) = story.start_validation();
    let mut other = finding("LIF status", Severity::Warning);
    other.issue = "another is wrong".to_owned();
    let error = finding("LIF status", Severity::Error);
    let first = finding("LIF status", Severity::Warning);
    story.validated(id, vec![first, other, error]);
    let shown = picture(&story).validation_results.unwrap();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0].issue, "something is wrong\nanother is wrong");
    assert_eq!(shown[0].action, "mend it");
}

#[test]
fn a_labs_minute_scales_what_is_expected_and_not_what_was_measured() {
    let mut story = Story::cluster();
    let (id, _) = story.start_update();
    story.validated(id, vec![]);
    story.planned(id, plan());
    let at = At::new(story.now);
    let lab = at.with_minute(Duration::from_millis(250));
    let (ordinary, scaled) = (software(&story.view, at), software(&story.view, lab));
    let left = |shown: &Software| shown.estimated.unwrap() - shown.elapsed.unwrap();
    assert_eq!(left(&scaled) * 240, left(&ordinary));
    assert_eq!(scaled.elapsed, ordinary.elapsed);
}

#[test]
fn versions_that_differ_without_an_order_are_not_made_one() {
    let mut story = Story::cluster();
    story.boot("n2", "0.9");
    assert_eq!(cluster_version(&story.view), None);
    assert_eq!(cluster(&story.view).unwrap().version, None);
}

#[test]
fn the_cluster_and_its_nodes_are_as_configured_and_as_they_said() {
    let story = Story::cluster();
    let shown = cluster(&story.view).unwrap();
    assert_eq!(
        (shown.name.as_str(), shown.coordinator),
        ("lab", Some(node("n1")))
    );
    let nodes = nodes(&story.view);
    let partner = nodes[0].partner.clone().unwrap();
    assert_eq!(partner, (node("n2"), nodes[1].id));
    assert_eq!(
        (nodes[0].is_coordinator, nodes[1].is_coordinator),
        (true, false)
    );
    assert_eq!(nodes[0].version, Some(version("1.0")));
}

#[test]
fn packages_come_and_go() {
    let mut story = Story::cluster();
    let summary = serde_json::json!({
        "version": "2.0", "name": "evenkeel", "platform": "lab-x86_64", "source_versions": ["1.0"],
        "unpacked_bytes": 7, "entry_count": 1, "build_time": "2026-01-01T00:00:00Z",
    });
    let summary = serde_json::from_value(summary).unwrap();
    let (digest, archive_digest) = (crate::story::digest(2), crate::story::digest(3));
    let package_ref = PackageRef {
        signed_by: None,
        digest,
        archive_digest,
        archive_bytes: 9,
        summary,
    };
    let at = story.tick();
    let added = CatalogueEvent::PackageAdded {
        at,
        package: Box::new(package_ref),
        node: node("n1"),
    };
    story.event(StreamId::Catalogue, Event::Catalogue(added));
    let rows = packages(&story.view);
    assert_eq!((rows.len(), rows[0].create_time), (1, at));
    assert_eq!(package(&story.view, &version("2.0")), Some(rows[0].clone()));
    let removed = CatalogueEvent::PackageRemoved { at, digest };
    story.event(StreamId::Catalogue, Event::Catalogue(removed));
    assert_eq!(packages(&story.view), []);
    assert_eq!(package(&story.view, &version("2.0")), None);
}

#[test]
fn the_last_action_that_was_asked_for_is_shown() {
    let mut story = Story::cluster();
    let (id, _) = story.start_update();
    story.validated(id, vec![]);
    story.planned(id, plan());
    story.run(id, Story::INSTALL);
    let at = story.tick();
    story.operation(id, OperationEvent::PauseRequested { at, by: user() });
    assert_eq!(picture(&story).action, Some(Steering::Pause));
    let point = PausePoint::Takeover;
    story.paused(id, PauseCause::User { point });
    let (at, anew) = (story.tick(), false);
    story.operation(
        id,
        OperationEvent::Resumed {
            at,
            by: user(),
            anew,
        },
    );
    assert_eq!(picture(&story).action, Some(Steering::Resume));
}

#[test]
fn a_node_that_an_update_moved_is_shown_where_it_is() {
    let mut story = Story::cluster();
    let away = |story: &Story| {
        nodes(&story.view)
            .into_iter()
            .map(|row| row.away)
            .collect::<Vec<_>>()
    };
    let (id, _) = story.start_update();
    story.validated(id, vec![]);
    story.planned(id, plan());
    story.run(id, Story::INSTALL);
    story.task_started(id, Story::N2[0], 1);
    assert_eq!(away(&story), [None, None], "not known to be done");
    story.task_done(id, Story::N2[0], 1);
    assert_eq!(away(&story), [None, Some(Away::TakenOver)]);
    story.task_started(id, Story::N2[1], 1);
    assert_eq!(away(&story), [None, Some(Away::WaitingForGiveback)]);
    story.task_done(id, Story::N2[1], 1);
    assert_eq!(away(&story), [None, None]);
}

#[test]
fn what_names_a_nodes_hardware_stays_known_when_an_older_daemon_boots() {
    let mut story = Story::cluster();
    let at = story.tick();
    let machine = MachineId {
        serial_number: Some("701".to_owned()),
        system_id: Some("537".to_owned()),
    };
    story.control(ControlEvent::NodeBooted {
        at,
        node: node("n1"),
        boot_id: BootId(uuid::Uuid::from_u128(8)),
        version: Some(version("1.0")),
        daemon: "0.2.0".to_owned(),
        machine: machine.clone(),
    });
    // It says nothing of it.
    story.boot("n1", "1.0");
    assert_eq!(nodes(&story.view)[0].machine, machine);
    assert!(nodes(&story.view)[1].machine.is_unsaid());
}
