//! Estimates from the cluster's own history.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::*;
use evenkeel_planner::{Expected, Learner, learn, plan};
use uuid::Uuid;

use crate::world::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(ms: i64) -> WallTime {
    let start = wall().timestamp().as_millisecond();
    WallTime::new(jiff::Timestamp::from_millisecond(start + ms).unwrap())
}

/// An update that ended, with one task for each of `took`, in milliseconds.
fn ended(id: u128, action: &Action, took: &[(i64, How)]) -> Operation {
    let mut world = World::update();
    let operation = &mut world.operation;
    operation.id = OperationId(Uuid::from_u128(id));
    for (n, (ms, how)) in took.iter().enumerate() {
        let id = TaskId(u32::try_from(n).unwrap() + 1);
        let task = Task {
            id,
            node: name("n1"),
            executor: Executor::Coordinator,
            action: action.clone(),
            estimate_s: 1,
        };
        let progress = TaskProgress {
            task,
            attempt: 1,
            tries: 1,
            first_start: at(0),
            start: at(0),
            since: world.monotonic,
            transition: None,
            before: Before::default(),
            state: TaskState::Done {
                how: *how,
                at: at(*ms),
            },
        };
        operation.tasks.insert_mut(id, Arc::new(progress));
    }
    let end = OperationEnd::Completed;
    operation.state = OperationState::Ended { end };
    world.operation
}

fn seconds(all: &[i64]) -> Vec<(i64, How)> {
    all.iter().map(|s| (s * 1000, How::Completed)).collect()
}

#[test]
fn three_measurements_replace_the_assumption() {
    let (install, assumed) = (
        Action::Install {
            package: new_image(),
        },
        Expected {
            median_s: 780,
            p90_s: 780,
        },
    );
    let two = [ended(1, &install, &seconds(&[100, 200]))];
    assert_eq!(learn(&two, MINUTE).expected(&install), assumed);
    let three = [
        ended(1, &install, &seconds(&[100, 900])),
        ended(2, &install, &seconds(&[200])),
    ];
    let learned = learn(&three, MINUTE);
    let expected = Expected {
        median_s: 200,
        p90_s: 900,
    };
    assert_eq!(learned.expected(&install), expected);
    assert_eq!(
        learned.expected(&Action::Takeover).median_s,
        120,
        "of others nothing is known"
    );
}

#[test]
fn only_what_was_done_here_in_one_go_and_on_a_steady_clock_counts() {
    let boot = Action::AwaitBoot { version: new() };
    let mut odd = vec![
        (5_000, How::AlreadyDone),
        (6_000, How::Resumed),
        (-7_000, How::Completed),
        (0, How::Completed),
        (2 * 3_600_000, How::Completed),
    ];
    odd.extend(seconds(&[300, 310, 320]));
    let mut operation = ended(1, &boot, &odd);
    let again = Arc::make_mut(operation.tasks.get_mut(&TaskId(6)).unwrap());
    (again.attempt, again.tries) = (2, 1);
    let learned = learn([&operation], MINUTE);
    let measured = learned.of(&boot).unwrap();
    assert_eq!((measured.samples, measured.median_s), (2, 310));
    operation.state = OperationState::Running;
    assert_eq!(
        learn([&operation], MINUTE).of(&boot),
        None,
        "it is not over"
    );
}

#[test]
fn a_stabilize_time_is_known_not_learned() {
    let stabilize = |minutes| Action::Stabilize {
        minutes,
        after: Milestone::Takeover,
    };
    let learned = learn(
        [&ended(1, &stabilize(8), &seconds(&[480, 481, 482, 483]))],
        MINUTE,
    );
    assert_eq!(learned.expected(&stabilize(2)).median_s, 120);
    assert_eq!(learned.of(&stabilize(2)), None);
}

#[test]
fn measurements_are_in_seconds_of_sixty_second_minutes() {
    let short = Duration::from_millis(500);
    let took: Vec<_> = [100, 1_000, 2_000].map(|ms| (ms, How::Completed)).into();
    let learned = learn([&ended(1, &Action::Takeover, &took)], short);
    let expected = Expected {
        median_s: 120,
        p90_s: 240,
    };
    assert_eq!(learned.expected(&Action::Takeover), expected);
}

#[test]
fn what_is_known_is_not_learned_twice_and_the_newest_count() {
    let mut learner = Learner::new(MINUTE);
    let old = ended(1, &Action::Takeover, &seconds(&[50, 60, 70]));
    learner.update([&old]);
    learner.update([&old]);
    let of = |learner: &Learner| learner.learned().of(&Action::Takeover).unwrap();
    assert_eq!(of(&learner).samples, 3);
    learner.update([&old, &ended(2, &Action::Takeover, &seconds(&[10; 64]))]);
    assert_eq!((of(&learner).samples, of(&learner).p90_s), (64, 10));
}

#[test]
fn a_plan_says_what_the_cluster_has_learned() {
    let mut world = World::update();
    let boots = Action::AwaitBoot { version: new() };
    world.learned = learn([&ended(1, &boots, &seconds(&[200, 210, 220]))], MINUTE);
    let planned = world.input(|input| plan(input, &update_request())).unwrap();
    let estimates: Vec<u32> = planned
        .tasks()
        .filter(|task| matches!(task.action, Action::AwaitBoot { .. }))
        .map(|task| task.estimate_s)
        .collect();
    assert_eq!(estimates, [210; 4]);
}
