//! The fold of all streams: replay, quarantine, and what a newer release may write.

use crate::story::{Story, node, plan, user};
use evenkeel_model::*;
use evenkeel_record::projections::{self, At, UpdateState};
use evenkeel_record::{CannotCoordinate, View};
use proptest::prelude::*;

#[test]
fn every_prefix_folds_to_what_it_was_when_it_was_the_whole() {
    let mut story = Story::cluster();
    story.update();
    let mut incremental = View::default();
    for (index, entry) in story.entries.iter().enumerate() {
        incremental.apply(entry).unwrap();
        assert_eq!(View::replay(&story.entries[..=index]).unwrap(), incremental);
        assert_eq!(incremental.quarantined().len(), 0);
    }
    assert_eq!(incremental, story.view);
}

#[test]
fn an_entry_that_was_folded_before_changes_nothing() {
    let mut story = Story::cluster();
    story.update();
    let mut view = story.view.clone();
    for entry in &story.entries {
        view.apply(entry).unwrap();
    }
    assert_eq!(view, story.view);
}

#[test]
fn a_missing_entry_is_noticed() {
    let story = Story::cluster();
    let mut entries = story.entries.clone();
    entries.remove(1);
    let gap = View::replay(&entries).unwrap_err();
    assert_eq!(
        (gap.stream, gap.head, gap.found),
        (StreamId::Control, Seq(1), Seq(3))
    );
}

#[test]
fn an_event_that_cannot_be_folded_stops_its_stream_only() {
    let mut story = Story::cluster();
    let (id, job) = story.start_update();
    let before = story.view.operation(id).unwrap().clone();
    // Nothing can be resumed now.
    let at = story.tick();
    story.operation(
        id,
        OperationEvent::Resumed {
            at,
            by: user(),
            anew: false,
        },
    );
    story.validated(id, vec![]);
    story.boot("n1", "1.1");

    assert_eq!(story.view.operation(id), Some(&before));
    let quarantine = story.view.quarantine_of(id).unwrap();
    assert_eq!(quarantine.seq, Seq(3));
    assert!(quarantine.why.contains("resumed"), "{}", quarantine.why);
    assert_eq!(
        story.view.head(StreamId::Operation(id)),
        Seq(4),
        "the next append expects them all"
    );
    assert_eq!(story.view.may_coordinate(), Ok(()), "the others go on");
    let booted = &story.view.control().booted[&node("n1")];
    assert_eq!(booted.version, Some(crate::story::version("1.1")));

    let software = projections::software(&story.view, At::new(story.now));
    assert_eq!(
        software.state,
        Some(UpdateState::PausedOnError),
        "and one can see why it stands still"
    );
    let told = |row: &projections::TaskRow| row.issue.message.contains("cannot be read");
    assert!(software.status_details.iter().any(told));
    assert!(!projections::job(&story.view, job).unwrap().state.is_over());
}

#[test]
fn a_broken_control_stream_stops_coordinating() {
    let mut story = Story::cluster();
    story.raw(StreamId::Control, "{\"type\":\"handed_over\"}".to_owned());
    story.boot("n1", "9.9");
    let why = story.view.may_coordinate().unwrap_err();
    assert!(matches!(
        why,
        CannotCoordinate::Quarantined {
            stream: StreamId::Control,
            ..
        }
    ));
    let booted = &story.view.control().booted[&node("n1")];
    assert_eq!(
        booted.version,
        Some(crate::story::version("1.0")),
        "what follows is not believed"
    );
}

#[test]
fn unknown_events_of_a_newer_release_are_ignored_unless_they_must_not_be() {
    let mut story = Story::cluster();
    let before = story.view.control().clone();
    story.raw(
        StreamId::Control,
        "{\"type\":\"soak_set\",\"minutes\":3}".to_owned(),
    );
    assert_eq!(story.view.may_coordinate(), Ok(()));
    assert_eq!(*story.view.control(), before);
    let must = "{\"type\":\"soak_set\",\"must_understand\":true}".to_owned();
    story.raw(StreamId::Control, must);
    let why = story.view.may_coordinate().unwrap_err();
    assert!(
        matches!(&why, CannotCoordinate::Foreign { kind, .. } if kind == "soak_set"),
        "{why}"
    );
    story.boot("n1", "2.0");
    assert_eq!(story.view.control().booted.len(), 2, "serving goes on");
    assert!(story.view.quarantined().is_empty());
}

/// One step of a random story.
#[derive(Debug, Clone)]
enum Turn {
    Start,
    Validate,
    Get,
    Validated(bool),
    Planned,
    TaskStarted(u32, u32),
    TaskDone(u32, u32),
    TaskFailed(u32, u32),
    Restoring,
    PauseRequested,
    Paused(bool),
    Resumed,
    CancelRequested,
    Updated(bool),
    PostChecked,
    Ended(u8),
    CloseJob(bool),
    Booted(bool),
    Garbage,
}

fn step() -> impl Strategy<Value = Turn> {
    // Few numbers, so that many steps fit what came before.
    let (task, attempt) = (1..=10_u32, 1..=2_u32);
    prop_oneof![
        4 => Just(Turn::Start),
        1 => Just(Turn::Validate),
        1 => Just(Turn::Get),
        4 => any::<bool>().prop_map(Turn::Validated),
        4 => Just(Turn::Planned),
        9 => (task.clone(), attempt.clone()).prop_map(|(t, a)| Turn::TaskStarted(t, a)),
        9 => (task.clone(), attempt.clone()).prop_map(|(t, a)| Turn::TaskDone(t, a)),
        2 => (task, attempt).prop_map(|(t, a)| Turn::TaskFailed(t, a)),
        1 => Just(Turn::Restoring),
        2 => Just(Turn::PauseRequested),
        2 => any::<bool>().prop_map(Turn::Paused),
        2 => Just(Turn::Resumed),
        1 => Just(Turn::CancelRequested),
        2 => any::<bool>().prop_map(Turn::Updated),
        1 => Just(Turn::PostChecked),
        1 => (0..3_u8).prop_map(Turn::Ended),
        1 => any::<bool>().prop_map(Turn::CloseJob),
        2 => any::<bool>().prop_map(Turn::Booted),
        1 => Just(Turn::Garbage),
    ]
}

/// Tells the step about the newest operation. What cannot follow would quarantine it, so it is mostly left
/// out: with `illegal` it is told all the same.
fn tell(story: &mut Story, step: &Turn, current: &mut Option<(OperationId, JobId)>, illegal: bool) {
    let open = story.view.open_operations().next().is_some();
    match step {
        Turn::Start if !open || illegal => *current = Some(story.start_update()),
        Turn::Validate if !open || illegal => *current = Some(story.start_validation()),
        Turn::Get if !open || illegal => {
            let request = Request::Get {
                node: node("n1"),
                incarnation: uuid::Uuid::nil(),
                source: GetSource::Upload,
            };
            *current = Some(story.start(request));
        }
        Turn::Booted(first) => story.boot(if *first { "n1" } else { "n2" }, "2.0"),
        Turn::Start | Turn::Validate | Turn::Get => {}
        of_operation => {
            let Some((id, job)) = *current else { return };
            if let Some(event) = operation_event(story, of_operation, id, job) {
                let mut probe = story.view.operation(id).cloned();
                let fits = probe
                    .as_mut()
                    .is_some_and(|probe| probe.apply(&event).is_ok());
                if fits || illegal {
                    let ended = matches!(event, OperationEvent::Ended { .. });
                    story.operation(id, event);
                    let at = story.now;
                    if ended && story.view.control().open.contains_key(&id) {
                        story.control(ControlEvent::OperationEnded { at, operation: id });
                    }
                }
            } else if illegal {
                story.raw(StreamId::Operation(id), "not JSON".to_owned());
            }
        }
    }
}

fn operation_event(
    story: &mut Story,
    step: &Turn,
    id: OperationId,
    job: JobId,
) -> Option<OperationEvent> {
    let at = story.tick();
    let by = user();
    let error = || crate::story::problem(Some(node("n2")), "it broke");
    Some(match step {
        Turn::Validated(clean) => {
            let warning = crate::story::finding("Manual checks", Severity::Warning);
            let findings = if *clean {
                vec![]
            } else {
                vec![warning.clone(), warning]
            };
            OperationEvent::Validated { at, findings }
        }
        Turn::Planned => {
            let mut plan = plan();
            let earlier = story
                .view
                .operation(id)
                .and_then(|operation| operation.plan.as_ref());
            plan.revision += earlier.map_or(0, |earlier| earlier.revision);
            OperationEvent::Planned { at, plan }
        }
        Turn::TaskStarted(task, attempt) => OperationEvent::TaskStarted {
            at,
            since: Monotonic {
                boot_id: BootId(uuid::Uuid::nil()),
                since_boot_ms: 0,
            },
            task: TaskId(*task),
            attempt: *attempt,
            transition: None,
            before: Before::default(),
        },
        Turn::TaskDone(task, attempt) => {
            let end = TaskEnd::Done {
                how: How::Completed,
            };
            OperationEvent::TaskEnded {
                at,
                task: TaskId(*task),
                attempt: *attempt,
                end,
            }
        }
        Turn::TaskFailed(task, attempt) => {
            let (message, action) = ("it broke".to_owned(), String::new());
            let error = TaskError {
                kind: TaskErrorKind::Permanent,
                message,
                action,
                code: None,
            };
            let end = TaskEnd::Failed { error };
            OperationEvent::TaskEnded {
                at,
                task: TaskId(*task),
                attempt: *attempt,
                end,
            }
        }
        Turn::Restoring => OperationEvent::Restoring {
            at,
            node: node("n2"),
            problem: error(),
        },
        Turn::PauseRequested => OperationEvent::PauseRequested { at, by },
        Turn::Paused(true) => OperationEvent::Paused {
            at,
            cause: PauseCause::Error { problem: error() },
        },
        Turn::Paused(false) => OperationEvent::Paused {
            at,
            cause: PauseCause::User {
                point: PausePoint::Install,
            },
        },
        Turn::Resumed => OperationEvent::Resumed {
            at,
            by,
            anew: false,
        },
        Turn::CancelRequested => OperationEvent::CancelRequested { at, by },
        Turn::Updated(first) => OperationEvent::NodeUpdated {
            at,
            node: node(if *first { "n1" } else { "n2" }),
            from: crate::story::version("1.0"),
            to: crate::story::version("2.0"),
        },
        Turn::PostChecked => OperationEvent::PostChecked {
            at,
            findings: vec![],
        },
        Turn::Ended(0) => OperationEvent::ended(at, OperationEnd::Completed),
        Turn::Ended(1) => OperationEvent::ended(at, OperationEnd::Canceled),
        Turn::Ended(_) => {
            let message = "refused".to_owned();
            OperationEvent::ended(at, OperationEnd::Failed { code: 1, message })
        }
        Turn::CloseJob(true) => {
            let outcome = JobOutcome::Success {
                message: "done".to_owned(),
            };
            OperationEvent::JobClosed { at, job, outcome }
        }
        Turn::CloseJob(false) => {
            let outcome = JobOutcome::Failure {
                code: 7,
                message: String::new(),
            };
            OperationEvent::JobClosed { at, job, outcome }
        }
        Turn::Garbage => return None,
        Turn::Start | Turn::Validate | Turn::Get | Turn::Booted(_) => unreachable!("told above"),
    })
}

/// What clients rely on, whatever happened.
fn check_projections(view: &View, now: WallTime) {
    for job in projections::jobs(view) {
        assert!(
            !job.message.trim().is_empty(),
            "a client takes that for success"
        );
        assert_eq!(projections::job(view, job.id), Some(job));
    }
    let software = projections::software(view, At::new(now));
    let open = projections::open_operations(view);
    assert!(software.pending_version.is_none() || !open.is_empty());
    let mut phases: Vec<_> = software
        .update_details
        .iter()
        .map(|row| (row.phase, row.node.clone()))
        .collect();
    phases.sort();
    phases.dedup();
    assert_eq!(
        phases.len(),
        software.update_details.len(),
        "monitoring keys rows by these"
    );
    for findings in [&software.validation_results, &software.post_update_checks] {
        let mut keys: Vec<_> = findings
            .iter()
            .flatten()
            .map(|f| (f.check.clone(), f.severity))
            .collect();
        keys.sort();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all, "and findings by these");
    }
    if software.state == Some(UpdateState::PausedOnError) {
        let told = software
            .status_details
            .iter()
            .any(|row| matches!(row.state, UpdateState::PausedOnError | UpdateState::Failed));
        assert!(told, "never without a reason");
    }
    projections::history(view);
    projections::nodes(view);
    projections::cluster(view);
    projections::packages(view);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_story_folds_the_same_at_once_and_step_by_step(
        steps in proptest::collection::vec((step(), prop::bool::weighted(0.02)), 0..120),
    ) {
        let mut story = Story::cluster();
        let mut current = None;
        for (step, illegal) in &steps {
            let before = story.view.clone();
            let told = story.entries.len();
            tell(&mut story, step, &mut current, *illegal);
            check_projections(&story.view, story.now);
            for entry in &story.entries[told..] {
                // A quarantined stream's state is what it was before the event that did not fit.
                if let (StreamId::Operation(id), true) =
                    (entry.stream, story.view.quarantined().contains_key(&entry.stream))
                    && before.operation(id).is_some()
                {
                    prop_assert_eq!(story.view.operation(id), before.operation(id));
                }
            }
        }
        prop_assert_eq!(View::replay(&story.entries).unwrap(), story.view);
    }
}
