//! Estimated and elapsed durations, kept true while an update runs.

use std::time::Duration;

use crate::story::{Story, plan, user};
use evenkeel_model::*;
use evenkeel_record::projections::{At, Software, software};
use proptest::prelude::*;

fn picture(story: &Story) -> Software {
    software(&story.view, At::new(story.now))
}

fn seconds(duration: Option<Duration>) -> u64 {
    duration.unwrap().as_secs()
}

fn pass(story: &mut Story, seconds: u64) {
    // Every event of a story takes the second that is its own.
    story.now = story
        .now
        .plus(Duration::from_secs(seconds.saturating_sub(1)));
}

/// An update whose checks took as long as is expected of them, planned just now.
fn planned() -> (Story, OperationId) {
    let mut story = Story::cluster();
    let (id, _) = story.start_update();
    pass(&mut story, 600);
    story.validated(id, vec![]);
    story.now = story.view.operation(id).unwrap().validated_at.unwrap();
    let at = story.now;
    story.operation(id, OperationEvent::Planned { at, plan: plan() });
    (story, id)
}

#[test]
fn at_the_start_it_is_the_checks_and_all_steps() {
    let (story, _) = planned();
    let shown = picture(&story);
    assert_eq!(seconds(shown.estimated), 600 + 780 + 2 * 600);
    let of = |phase: usize| seconds(shown.update_details[phase].estimated);
    assert_eq!((of(0), of(2), of(3), of(4)), (600, 1980, 1980, 600));
}

#[test]
fn a_slow_task_extends_it_and_a_quick_one_shortens_it() {
    let (mut story, id) = planned();
    story.task_started(id, 1, 1);
    story.task_started(id, 2, 1);
    pass(&mut story, 101);
    story.task_done(id, 1, 1);
    // The other lane still runs: the step takes what it takes.
    assert_eq!(seconds(picture(&story).estimated), 600 + 1 + 781 + 1200);
    story.task_done(id, 2, 1);
    let after = seconds(picture(&story).estimated);
    assert_eq!(after, 600 + 104 + 1200, "700 s quicker");
    story.task_started(id, 3, 1);
    let begun = seconds(picture(&story).estimated);
    story.now = story.now.plus(Duration::from_secs(300));
    assert_eq!(seconds(picture(&story).estimated), begun);
    story.now = story.now.plus(Duration::from_secs(50));
    assert_eq!(
        seconds(picture(&story).estimated),
        begun + 50,
        "it overruns"
    );
}

#[test]
fn a_pause_is_no_work() {
    let (mut story, id) = planned();
    story.run(id, Story::INSTALL);
    let point = PausePoint::Install;
    story.paused(id, PauseCause::User { point });
    let before = picture(&story);
    story.now = story.now.plus(Duration::from_secs(100_000));
    let paused = picture(&story);
    assert_eq!(
        (paused.elapsed, paused.estimated),
        (before.elapsed, before.estimated)
    );
    let (at, by) = (story.now, user());
    let anew = false;
    story.operation(id, OperationEvent::Resumed { at, by, anew });
    let resumed = picture(&story);
    assert_eq!(
        (resumed.elapsed, resumed.estimated),
        (before.elapsed, before.estimated)
    );
}

#[test]
fn results_of_a_validation_age_out() {
    let mut story = Story::cluster();
    let (id, _) = story.start_validation();
    story.validated(id, vec![]);
    story.end(id, OperationEnd::Completed);
    pass(&mut story, 7 * 24 * 3600 - 60);
    assert_eq!(picture(&story).validation_results, Some(vec![]));
    pass(&mut story, 120);
    assert_eq!(picture(&story).validation_results, None);
}

fn assert_true(story: &Story) {
    let shown = picture(story);
    if let Some(estimated) = shown.estimated {
        assert!(estimated >= shown.elapsed.unwrap());
    }
    for row in &shown.update_details {
        if let (Some(estimated), Some(elapsed)) = (row.estimated, row.elapsed) {
            assert!(estimated >= elapsed, "{row:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn never_less_than_elapsed_and_at_the_end_the_same(
        took in prop::collection::vec(1_u64..3000, 10),
        paused in prop::collection::vec(0_u64..5000, 10),
    ) {
        let (mut story, id) = planned();
        let tasks = [Story::INSTALL.as_slice(), &Story::N2, &Story::N1].concat();
        for ((task, took), paused) in tasks.into_iter().zip(took).zip(paused) {
            if paused > 2500 {
                story.paused(id, PauseCause::User { point: PausePoint::Giveback });
                pass(&mut story, paused);
                assert_true(&story);
                let (at, by) = (story.tick(), user());
                let anew = false;
                story.operation(id, OperationEvent::Resumed { at, by, anew });
            }
            story.task_started(id, task, 1);
            assert_true(&story);
            pass(&mut story, took);
            assert_true(&story);
            story.task_done(id, task, 1);
            assert_true(&story);
        }
        let at = story.tick();
        story.operation(id, OperationEvent::PostChecked { at, findings: vec![] });
        story.end(id, OperationEnd::Completed);
        pass(&mut story, 1000);
        let shown = picture(&story);
        prop_assert_eq!(shown.estimated, shown.elapsed);
        for row in &shown.update_details {
            prop_assert_eq!(row.estimated, row.elapsed, "{:?}", row);
        }
    }
}
