//! Small values to fold.

use std::collections::BTreeMap;

use evenkeel_model::*;
use uuid::Uuid;

pub(crate) fn at(seconds: i64) -> WallTime {
    WallTime::new(jiff::Timestamp::from_second(1_700_000_000 + seconds).unwrap())
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

pub(crate) fn user() -> UserName {
    UserName::new("admin").unwrap()
}

pub(crate) fn operation(n: u128) -> OperationId {
    OperationId(Uuid::from_u128(n))
}

pub(crate) fn job(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

pub(crate) fn monotonic() -> Monotonic {
    Monotonic {
        boot_id: BootId(Uuid::from_u128(1)),
        since_boot_ms: 5,
    }
}

pub(crate) fn problem() -> Problem {
    Problem {
        node: Some(node("n1")),
        error: "a veto".to_owned(),
        action: "Mend it.".to_owned(),
    }
}

fn task(id: u32, action: Action) -> Task {
    Task {
        id: TaskId(id),
        node: node("n1"),
        executor: Executor::Agent(node("n2")),
        action,
        estimate_s: 1,
    }
}

/// A takeover and a giveback, with a giveback to restore.
pub(crate) fn plan(revision: u32, first: u32) -> Plan {
    let lane = Lane {
        node: node("n1"),
        tasks: vec![
            task(first, Action::Takeover),
            task(first + 1, Action::Giveback),
        ],
        restore: vec![task(first + 2, Action::Giveback)],
        undo: Vec::new(),
    };
    Plan {
        revision,
        target: version("2"),
        package: digest(2),
        mode: PlanMode::Rolling,
        gates: Gates::default(),
        remark: None,
        from: BTreeMap::from([(node("n1"), version("1"))]),
        steps: vec![Step { lanes: vec![lane] }],
    }
}

pub(crate) fn update() -> Request {
    Request::Update(UpdateRequest::new(version("2")))
}

pub(crate) fn begun(request: Request) -> Operation {
    let requested = OperationEvent::Requested {
        at: at(0),
        by: user(),
        request,
    };
    Operation::begin(operation(1), &requested).unwrap()
}

/// Folds legal events.
pub(crate) fn fold(mut operation: Operation, events: &[OperationEvent]) -> Operation {
    for event in events {
        operation.apply(event).unwrap();
    }
    operation
}

pub(crate) fn validated() -> OperationEvent {
    let (at, findings) = (at(1), Vec::new());
    OperationEvent::Validated { at, findings }
}

pub(crate) fn planned(revision: u32, first: u32) -> OperationEvent {
    let (at, plan) = (at(2), plan(revision, first));
    OperationEvent::Planned { at, plan }
}

pub(crate) fn started(task: u32, attempt: u32) -> OperationEvent {
    OperationEvent::TaskStarted {
        at: at(3 + i64::from(attempt)),
        since: monotonic(),
        task: TaskId(task),
        attempt,
        transition: Some(TransitionId(Uuid::from_u128(77))),
        before: Before::default(),
    }
}

pub(crate) fn done(task: u32, attempt: u32) -> OperationEvent {
    let how = How::Completed;
    ended(task, attempt, TaskEnd::Done { how })
}

pub(crate) fn failed(task: u32, attempt: u32, kind: TaskErrorKind) -> OperationEvent {
    let (message, action) = ("no".to_owned(), "Mend it.".to_owned());
    let error = TaskError {
        kind,
        message,
        action,
        code: None,
    };
    ended(task, attempt, TaskEnd::Failed { error })
}

fn ended(task: u32, attempt: u32, end: TaskEnd) -> OperationEvent {
    OperationEvent::TaskEnded {
        at: at(9),
        task: TaskId(task),
        attempt,
        end,
    }
}

pub(crate) fn paused_by_user() -> OperationEvent {
    let point = PausePoint::Takeover;
    let cause = PauseCause::User { point };
    OperationEvent::Paused { at: at(10), cause }
}

pub(crate) fn paused_on_error() -> OperationEvent {
    let problem = problem();
    let cause = PauseCause::Error { problem };
    OperationEvent::Paused { at: at(10), cause }
}

pub(crate) fn resumed() -> OperationEvent {
    let (at, by) = (at(11), user());
    OperationEvent::Resumed {
        at,
        by,
        anew: false,
    }
}

pub(crate) fn pause_requested() -> OperationEvent {
    let (at, by) = (at(11), user());
    OperationEvent::PauseRequested { at, by }
}

pub(crate) fn cancel_requested() -> OperationEvent {
    let (at, by) = (at(12), user());
    OperationEvent::CancelRequested { at, by }
}

pub(crate) fn restoring() -> OperationEvent {
    OperationEvent::Restoring {
        at: at(9),
        node: node("n1"),
        problem: problem(),
    }
}

pub(crate) fn over() -> OperationEvent {
    let end = OperationEnd::Completed;
    OperationEvent::ended(at(20), end)
}
