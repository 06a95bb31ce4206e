//! Every kind of what can be recorded, and which of them a body holds. The kinds are asked of serde: whoever adds
//! one has it here.

use std::collections::BTreeSet;

use evenkeel_model::{
    AccountChange, Action, CatalogueEvent, ControlEvent, Executor, GateCondition, GetSource, How,
    JobOutcome, Milestone, OperationEnd, OperationEvent, OperationKind, PauseAfter, PauseCause,
    PausePoint, PlanMode, Request, Role, Severity, StreamId, TaskEnd, TaskErrorKind,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Something that comes in kinds, and where a body says which.
pub(crate) struct Kinds {
    pub(crate) what: &'static str,
    pub(crate) all: Vec<String>,
    /// Streams whose events have it: the first word of their names.
    stream: &'static str,
    /// Events that have it; empty for all.
    event: &'static str,
    /// The field that says which.
    field: &'static str,
}

impl Kinds {
    /// Those that are among a body's.
    pub(crate) fn of(&self, stream: StreamId, body: &Value) -> BTreeSet<String> {
        let stream = stream.to_string();
        let in_stream = stream.split('/').next() == Some(self.stream);
        let in_event = self.event.is_empty() || body["type"] == self.event;
        let mut found = BTreeSet::new();
        if in_stream && in_event {
            collect(body, self.field, &mut found);
        }
        found
    }
}

/// The kinds that a field names, wherever in a value it is.
fn collect(value: &Value, field: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == field {
                    found.extend(names(value));
                }
                collect(value, field, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `"kind"`, `{"kind": …}`, or several of them.
fn names(value: &Value) -> Vec<String> {
    match value {
        Value::String(kind) => vec![kind.clone()],
        Value::Object(fields) if fields.len() == 1 => fields.keys().cloned().collect(),
        Value::Array(values) => values.iter().flat_map(names).collect(),
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// What serde expects in the place of a kind that there is not.
fn expected<T: DeserializeOwned>(text: &str) -> Vec<String> {
    let error = serde_json::from_str::<T>(text).err().expect("no such kind");
    let message = error.to_string();
    let named = message.split('`').skip(3).step_by(2);
    named.map(str::to_owned).collect()
}

fn tagged<T: DeserializeOwned>(tag: &str) -> Vec<String> {
    expected::<T>(&format!("{{\"{tag}\":\"?\"}}"))
}

fn plain<T: DeserializeOwned>() -> Vec<String> {
    expected::<T>("\"?\"")
}

/// A role that is not known is read as one without rights, so serde does not say which there are.
fn roles() -> Vec<String> {
    let names = Role::ALL.into_iter().map(Role::as_str);
    names.map(str::to_owned).collect()
}

/// All of them.
pub(crate) fn all() -> Vec<Kinds> {
    let kinds = |what, all: Vec<String>, stream, event, field| Kinds {
        what,
        all,
        stream,
        event,
        field,
    };
    let of_control = |what, all, event, field| kinds(what, all, "control", event, field);
    let of_operation = |what, all, event, field| kinds(what, all, "operation", event, field);
    vec![
        of_control("control event", tagged::<ControlEvent>("type"), "", "type"),
        kinds(
            "catalogue event",
            tagged::<CatalogueEvent>("type"),
            "catalogue",
            "",
            "type",
        ),
        of_operation(
            "event of an operation",
            tagged::<OperationEvent>("type"),
            "",
            "type",
        ),
        of_control(
            "operation",
            plain::<OperationKind>(),
            "operation_started",
            "kind",
        ),
        of_control(
            "change of an account",
            tagged::<AccountChange>("account"),
            "user_set",
            "account",
        ),
        of_control("role", roles(), "user_set", "role"),
        of_control("gate", plain::<GateCondition>(), "gates_set", "conditions"),
        of_operation(
            "request",
            tagged::<Request>("request"),
            "requested",
            "request",
        ),
        of_operation(
            "source of a package",
            tagged::<GetSource>("from"),
            "requested",
            "from",
        ),
        of_operation(
            "pause that is asked for",
            plain::<PauseAfter>(),
            "requested",
            "pause_after",
        ),
        of_operation("severity", plain::<Severity>(), "validated", "severity"),
        of_operation("order of a plan", plain::<PlanMode>(), "planned", "mode"),
        of_operation("action", tagged::<Action>("do"), "planned", "do"),
        of_operation("executor", plain::<Executor>(), "planned", "executor"),
        of_operation("milestone", plain::<Milestone>(), "planned", "after"),
        of_operation("end of a task", plain::<TaskEnd>(), "task_ended", "end"),
        of_operation(
            "way to the end of a task",
            plain::<How>(),
            "task_ended",
            "how",
        ),
        of_operation(
            "trouble of a task",
            plain::<TaskErrorKind>(),
            "task_ended",
            "kind",
        ),
        of_operation("cause of a pause", plain::<PauseCause>(), "paused", "cause"),
        of_operation("pause point", plain::<PausePoint>(), "paused", "point"),
        of_operation(
            "outcome of a job",
            plain::<JobOutcome>(),
            "job_closed",
            "outcome",
        ),
        of_operation(
            "end of an operation",
            plain::<OperationEnd>(),
            "ended",
            "end",
        ),
    ]
}
