//! One operation: which event each state takes, and what becomes of it.

use evenkeel_model::*;

use crate::samples::*;

fn running() -> Operation {
    fold(begun(update()), &[validated(), planned(1, 1)])
}

/// An update in each of its states.
fn states() -> Vec<(&'static str, Operation)> {
    let with = |events: &[OperationEvent]| fold(running(), events);
    vec![
        ("requested", begun(update())),
        ("validated", fold(begun(update()), &[validated()])),
        ("running", running()),
        ("pause_pending", with(&[pause_requested()])),
        ("paused", with(&[paused_by_user()])),
        ("replanning", with(&[paused_on_error(), resumed()])),
        (
            "cancel_pending",
            with(&[paused_by_user(), cancel_requested()]),
        ),
        ("ended", with(&[over()])),
    ]
}

/// Asked for before there is a plan, a pause is pending from the moment there is one; once.
#[test]
fn a_pause_that_is_asked_for_early_is_pending_when_there_is_a_plan() {
    let asked_first = fold(begun(update()), &[pause_requested(), validated()]);
    let asked_second = fold(begun(update()), &[validated(), pause_requested()]);
    for early in [asked_first, asked_second] {
        assert_eq!(early.state, OperationState::Validated);
        assert!(early.pause_asked);
        let again = early.clone().apply(&pause_requested()).unwrap_err();
        assert!(
            again.to_string().contains("pause_requested cannot follow"),
            "{again}"
        );
        let planned = fold(early, &[planned(1, 1)]);
        assert_eq!(planned.state, OperationState::PausePending);
        assert!(!planned.pause_asked);
    }
}

#[test]
fn every_state_takes_its_events_and_no_others() {
    use OperationEvent::{NodeUpdated, PostChecked, Staged};
    let node_updated = NodeUpdated {
        at: at(9),
        node: node("n1"),
        from: version("1"),
        to: version("2"),
    };
    let post_checked = PostChecked {
        at: at(9),
        findings: Vec::new(),
    };
    let staged = Staged {
        at: at(1),
        digest: digest(2),
        version: version("2"),
        remark: None,
    };
    let requested = OperationEvent::Requested {
        at: at(0),
        by: user(),
        request: update(),
    };
    let executes = &["running", "pause_pending", "cancel_pending"][..];
    let lives = &[
        "requested",
        "validated",
        "running",
        "pause_pending",
        "paused",
        "replanning",
        "cancel_pending",
    ][..];
    let table: Vec<(OperationEvent, &[&str])> = vec![
        (requested, &[]),
        (staged, &[]),
        (validated(), &["requested"]),
        (planned(1, 1), &["validated"]),
        (planned(2, 11), &["replanning"]),
        (started(1, 1), executes),
        (restoring(), executes),
        (pause_requested(), &["requested", "validated", "running"]),
        (
            paused_by_user(),
            &["running", "pause_pending", "replanning", "cancel_pending"],
        ),
        (resumed(), &["paused"]),
        (cancel_requested(), &["paused"]),
        (node_updated, lives),
        (post_checked, &["running", "pause_pending"]),
        (
            over(),
            &[
                "requested",
                "validated",
                "running",
                "pause_pending",
                "replanning",
                "cancel_pending",
            ],
        ),
    ];
    for (event, takers) in table {
        for (state, before) in states() {
            let mut operation = before.clone();
            let result = operation.apply(&event);
            let legal = takers.contains(&state);
            assert_eq!(result.is_ok(), legal, "{event:?} in {state}: {result:?}");
            if let Err(illegal) = result {
                assert_eq!(operation, before, "an illegal event changes nothing");
                let both = illegal.to_string();
                assert!(both.starts_with(&illegal.event) && !illegal.event.is_empty());
                assert!(both.ends_with(&illegal.state) && !illegal.state.is_empty());
            }
        }
    }
}

#[test]
fn a_stream_begins_with_its_request() {
    let illegal = Operation::begin(operation(1), &validated()).unwrap_err();
    assert_eq!(
        illegal.to_string(),
        "validated cannot follow: the stream is empty"
    );
}

#[test]
fn other_kinds_do_not_take_an_updates_events() {
    let get = begun(Request::Get {
        node: node("n1"),
        incarnation: uuid::Uuid::from_u128(3),
        source: GetSource::Upload,
    });
    let illegal = get.clone().apply(&validated()).unwrap_err();
    assert_eq!(
        illegal.to_string(),
        "validated cannot follow: the operation is requested (package get)"
    );
    let staged = OperationEvent::Staged {
        at: at(1),
        digest: digest(2),
        version: version("2"),
        remark: None,
    };
    assert_eq!(fold(get, &[staged]).version(), Some(&version("2")));
    let version = version("2");
    let mut validation = fold(begun(Request::Validate { version }), &[validated()]);
    assert!(validation.apply(&planned(1, 1)).is_err());
}

#[test]
fn attempts_are_numbered_and_end_once() {
    let mut operation = running();
    let state = |operation: &mut Operation, event| operation.apply(&event).unwrap_err().state;
    assert!(state(&mut operation, started(9, 1)).contains("the plan has no task 9"));
    assert!(state(&mut operation, started(1, 2)).contains("attempt 1 of task 1 is due"));
    assert!(state(&mut operation, done(1, 1)).contains("attempt 1 of task 1 does not run"));
    operation.apply(&started(1, 1)).unwrap();
    assert!(state(&mut operation, done(1, 2)).contains("does not run"));
    operation
        .apply(&failed(1, 1, TaskErrorKind::Transient))
        .unwrap();
    assert!(state(&mut operation, done(1, 1)).contains("does not run"));
    let mut operation = fold(operation, &[started(1, 2), done(1, 2)]);
    assert!(state(&mut operation, started(1, 3)).contains("or it is done"));
    assert_eq!(
        (operation.done_tasks(), operation.tasks[&TaskId(1)].tries),
        (1, 2)
    );
    assert_eq!(operation.node_start(&node("n1")), Some(at(4)));
}

#[test]
fn a_result_that_comes_late_is_recorded_while_the_operation_lives() {
    let late = fold(running(), &[started(1, 1), paused_on_error(), done(1, 1)]);
    assert!(late.is_done(TaskId(1)));
    let mut over = fold(running(), &[started(1, 1), over()]);
    assert!(over.apply(&done(1, 1)).is_err());
}

#[test]
fn revisions_follow_each_other_with_new_tasks() {
    let replanning = fold(
        running(),
        &[
            started(1, 1),
            restoring(),
            done(1, 1),
            paused_on_error(),
            resumed(),
        ],
    );
    let state = |event| replanning.clone().apply(&event).unwrap_err().state;
    assert_eq!(state(planned(3, 11)), "revision 2 is due, not 3");
    assert_eq!(
        state(planned(2, 1)),
        "task 1 was started in an earlier revision"
    );
    let next = fold(replanning.clone(), &[planned(2, 11)]);
    assert!(next.restoring.is_empty());
    assert_eq!(next.planned_at, replanning.planned_at);
    // What an earlier revision did still counts.
    let ours = Some(TransitionId(uuid::Uuid::from_u128(77)));
    assert!(next.is_ours(ours) && !next.is_ours(None));
    assert_eq!(next.takeover_of(&node("n1")).unwrap().task.id, TaskId(1));
}

#[test]
fn a_lane_left_early_is_over_when_it_is_restored() {
    let plan = plan(1, 1);
    let lane = &plan.steps[0].lanes[0];
    let operation = fold(running(), &[started(1, 1), done(1, 1)]);
    assert_eq!(operation.next_task(lane).unwrap().id, TaskId(2));
    let left = fold(operation, &[restoring()]);
    assert!(left.is_restoring(lane));
    assert_eq!(left.next_task(lane).unwrap().id, TaskId(3));
    let home = fold(left, &[started(3, 1), done(3, 1)]);
    assert!(home.lane_over(lane));
    let mut without = lane.clone();
    without.restore.clear();
    assert!(!home.is_restoring(&without) && !home.lane_over(&without));
}

#[test]
fn a_person_who_intervenes_allows_new_attempts() {
    let tried = [started(1, 1), failed(1, 1, TaskErrorKind::Transient)];
    let resumed_ = fold(fold(running(), &tried), &[paused_by_user(), resumed()]);
    assert_eq!(resumed_.tasks[&TaskId(1)].tries, 0);
    assert_eq!(resumed_.tasks[&TaskId(1)].attempt, 1);
    assert_eq!(resumed_.state, OperationState::Running);
    assert_eq!(resumed_.passed, [PassedPoint { done_tasks: 0 }]);
    let canceled = fold(
        fold(running(), &tried),
        &[paused_by_user(), cancel_requested()],
    );
    assert_eq!(canceled.tasks[&TaskId(1)].tries, 0);
}

#[test]
fn jobs_open_and_close_once() {
    let opened = OperationEvent::JobOpened {
        at: at(1),
        job: job(1),
        description: "PATCH".to_owned(),
    };
    let closed = |n| OperationEvent::JobClosed {
        at: at(2),
        job: job(n),
        outcome: JobOutcome::Success {
            message: "success".to_owned(),
        },
    };
    let mut operation = fold(begun(update()), &[opened]);
    assert_eq!(operation.open_jobs().count(), 1);
    assert!(
        operation
            .apply(&closed(2))
            .unwrap_err()
            .state
            .contains("is not open")
    );
    operation.apply(&closed(1)).unwrap();
    assert_eq!(operation.open_jobs().count(), 0);
    assert!(operation.apply(&closed(1)).is_err());
}

#[test]
fn a_plan_comes_in_parts_before_itself() {
    let Plan { steps, .. } = plan(1, 1);
    let more = plan(1, 10).steps.remove(0).lanes;
    let part = |revision, steps: Vec<Step>, continues| OperationEvent::PlanPart {
        at: at(2),
        revision,
        steps,
        continues,
    };
    let mut last = plan(1, 20);
    let parts = [
        validated(),
        part(1, steps.clone(), false),
        part(
            1,
            vec![Step {
                lanes: more.clone(),
            }],
            true,
        ),
        OperationEvent::Planned {
            at: at(2),
            plan: last.clone(),
        },
    ];
    let operation = fold(begun(update()), &parts);
    let mut whole = steps;
    whole[0].lanes.extend(more);
    whole.append(&mut last.steps);
    assert_eq!(operation.plan.unwrap().steps, whole);
    assert!(operation.plan_parts.is_empty());

    let mut early = fold(begun(update()), &parts[..1]);
    assert!(early.apply(&part(2, Vec::new(), false)).is_err());
    assert!(
        early
            .apply(&part(1, vec![Step { lanes: vec![] }], true))
            .is_err()
    );
}

#[test]
fn a_resume_after_validation_validates_again_unless_an_older_release_recorded_it() {
    let paused = OperationEvent::Paused {
        at: at(3),
        cause: PauseCause::User {
            point: PausePoint::Validation,
        },
    };
    let resumed = |anew| OperationEvent::Resumed {
        at: at(4),
        by: user(),
        anew,
    };
    let mut again = fold(running(), &[paused.clone(), resumed(true)]);
    assert_eq!(again.state, OperationState::Requested);
    assert_eq!((&again.plan, &again.findings), (&None, &None));
    assert!(
        fold(again.clone(), &[validated()])
            .apply(&planned(1, 1))
            .is_err()
    );
    again = fold(again, &[validated(), planned(2, 1)]);
    assert_eq!(again.state, OperationState::Running);

    let older = r#"{"type":"resumed","at":"2026-01-01T00:00:00Z","by":"admin"}"#;
    let Ok(OperationEvent::Resumed { anew, .. }) = serde_json::from_str(older) else {
        panic!("it is one")
    };
    let as_before = fold(running(), &[paused, resumed(anew)]);
    assert_eq!(as_before.state, OperationState::Running);
}

#[test]
fn a_resume_with_other_gates_plans_anew_and_does_not_stop_at_the_same_place_again() {
    let at_a_takeover = PauseCause::User {
        point: PausePoint::Takeover,
    };
    let paused = OperationEvent::Paused {
        at: at(3),
        cause: at_a_takeover,
    };
    let resumed = OperationEvent::Resumed {
        at: at(4),
        by: user(),
        anew: true,
    };
    let anew = fold(running(), &[paused, resumed]);
    assert_eq!(anew.state, OperationState::Replanning);
    assert_eq!(anew.passed.len(), 1);
    assert!(anew.plan.is_some(), "what it did before is still known");
}
