//! `evenkeel image timeline`: an update redrawn from the stream of events alone.

use std::collections::BTreeMap;

use evenkeel_api::EventLine;
use evenkeel_model::{
    Action, ControlEvent, Milestone, Operation, OperationEnd, OperationEvent, OperationId,
    PauseCause, Plan, Request, Step, Task, TaskEnd, TaskErrorKind, TaskId, WallTime,
};
use serde::Serialize;
use serde_json::json;

use crate::client::Client;
use crate::outcome::{Stop, print, print_json};

/// The stream that says who coordinates.
const CONTROL: &str = "control";
/// Nodes of a step that are named.
const NAMED: usize = 16;
/// Columns of the bars.
const WIDTH: i64 = 72;

/// What an update did, when.
#[derive(Debug, Default, Serialize)]
struct Timeline {
    /// The operation.
    uuid: String,
    /// To which version.
    version: String,
    /// What each node went through, in order.
    bars: Vec<Bar>,
    /// Pauses, errors, who asked for what.
    notes: Vec<Note>,
    #[serde(skip)]
    first: Option<WallTime>,
    #[serde(skip)]
    last: Option<WallTime>,
}

/// An attempt of a task.
#[derive(Debug, Serialize)]
struct Bar {
    node: String,
    task: &'static str,
    attempt: u32,
    start: WallTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<WallTime>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    sign: char,
}

#[derive(Debug, Serialize)]
struct Note {
    at: WallTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    text: String,
}

pub(crate) fn show(client: &Client, json: bool) -> Result<(), Stop> {
    let mut lines = Vec::new();
    for line in client.lines("/evenkeel/v1/events?since=0&follow=false")? {
        let line = line.map_err(|error| Stop::Failed(format!("the events broke off: {error}")))?;
        let event = serde_json::from_str::<EventLine>(&line)
            .map_err(|error| Stop::Failed(format!("cannot read an event: {error}")))?;
        lines.push(event);
    }
    match draw(&lines)? {
        None => print("No update has been made.\n"),
        Some(timeline) if json => print_json(&json!(timeline)),
        Some(timeline) => print(&timeline.text()),
    }
}

/// The newest update among the events.
fn draw(lines: &[EventLine]) -> Result<Option<Timeline>, Stop> {
    let unread = |error: String| Stop::Failed(format!("an event cannot be understood: {error}"));
    let is_update = |line: &&EventLine| {
        line.event["type"] == "requested" && line.event["request"]["request"] == "update"
    };
    let Some(begin) = lines.iter().rposition(|line| is_update(&line)) else {
        return Ok(None);
    };
    let first = &lines[begin];
    let id = first.stream.trim_start_matches("operation/");
    let id: OperationId = id.parse().map_err(|_| unread(first.stream.clone()))?;
    let mut operation: Option<Operation> = None;
    let mut timeline = Timeline {
        uuid: id.to_string(),
        ..Timeline::default()
    };
    for line in &lines[begin..] {
        if operation.as_ref().is_some_and(Operation::is_ended) {
            break;
        }
        if line.stream == CONTROL {
            timeline.coordinated(&line.event);
        }
        if line.stream != first.stream {
            continue;
        }
        let event: OperationEvent =
            serde_json::from_value(line.event.clone()).map_err(|e| unread(e.to_string()))?;
        let folded = match operation.take() {
            None => Operation::begin(id, &event),
            Some(mut operation) => operation.apply(&event).map(|()| operation),
        };
        let folded = folded.map_err(|illegal| unread(illegal.to_string()))?;
        timeline.add(&event, &folded);
        operation = Some(folded);
    }
    Ok(Some(timeline))
}

impl Timeline {
    fn add(&mut self, event: &OperationEvent, operation: &Operation) {
        use OperationEvent as E;
        match event {
            E::Requested { at, by, request } => {
                if let Request::Update(request) = request {
                    self.version = request.version.to_string();
                }
                self.note(*at, None, format!("{by} asks for the update"));
            }
            E::Validated { at, findings } => {
                self.note(*at, None, format!("checks: {} findings", findings.len()));
            }
            E::Planned { at, plan } => {
                let steps = operation.plan.as_ref().map(|plan| order(plan));
                let text = format!(
                    "plan, revision {}: {}",
                    plan.revision,
                    steps.unwrap_or_default()
                );
                self.note(*at, None, text);
            }
            E::TaskStarted {
                at, task, attempt, ..
            } => self.begin(*at, *task, *attempt, operation),
            E::TaskEnded { at, task, end, .. } => self.end(*at, *task, end, operation),
            E::Restoring { at, node, problem } => {
                let text = format!("its turn is broken off: {}", problem.error);
                self.note(*at, Some(node.to_string()), text);
            }
            E::PauseRequested { at, by } => self.note(*at, None, format!("{by} asks for a pause")),
            E::Paused { at, cause } => match cause {
                PauseCause::User { point } => {
                    let text = format!("paused at the pause point {point:?}").to_lowercase();
                    self.note(*at, None, text);
                }
                PauseCause::Error { problem } => {
                    let node = problem.node.as_ref().map(ToString::to_string);
                    let text = format!("paused on error: {}. {}", problem.error, problem.action);
                    self.note(*at, node, text);
                }
            },
            E::Resumed { at, by, .. } => self.note(*at, None, format!("{by} resumes")),
            E::CancelRequested { at, by } => self.note(*at, None, format!("{by} cancels")),
            E::NodeUpdated { at, node, from, to } => {
                self.note(
                    *at,
                    Some(node.to_string()),
                    format!("runs {to}, was {from}"),
                );
            }
            E::PostChecked { at, findings } => {
                let text = format!("post-update checks: {} findings", findings.len());
                self.note(*at, None, text);
            }
            E::Ended { at, end, left } => {
                let text = match end {
                    OperationEnd::Completed => "completed".to_owned(),
                    OperationEnd::Canceled => "canceled".to_owned(),
                    OperationEnd::Failed { code, message } => format!("failed ({code}): {message}"),
                };
                let left = left.iter().map(|left| format!(". {left}"));
                self.note(*at, None, text + &left.collect::<String>());
            }
            E::JobOpened { .. }
            | E::JobClosed { .. }
            | E::Staged { .. }
            | E::Estimated { .. }
            | E::PlanPart { .. } => {}
        }
    }

    /// Who coordinated meanwhile. What else the control stream says is not the update's.
    fn coordinated(&mut self, event: &serde_json::Value) {
        match serde_json::from_value(event.clone()) {
            Ok(ControlEvent::CoordinatorElected { at, node, .. }) => {
                self.note(
                    at,
                    Some(node.to_string()),
                    "coordinates from here on".to_owned(),
                );
            }
            Ok(ControlEvent::HandedOver { at, to, .. }) => {
                self.note(
                    at,
                    Some(to.to_string()),
                    "is handed the coordination".to_owned(),
                );
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn seen(&mut self, at: WallTime) {
        self.first.get_or_insert(at);
        self.last = Some(at);
    }

    fn note(&mut self, at: WallTime, node: Option<String>, text: String) {
        self.seen(at);
        self.notes.push(Note { at, node, text });
    }

    fn begin(&mut self, at: WallTime, task: TaskId, attempt: u32, operation: &Operation) {
        self.seen(at);
        let Some(progress) = operation.tasks.get(&task) else {
            return;
        };
        let (task, sign) = named(&progress.task.action);
        self.bars.push(Bar {
            node: progress.task.node.to_string(),
            task,
            attempt,
            start: at,
            end: None,
            error: None,
            sign,
        });
    }

    fn end(&mut self, at: WallTime, task: TaskId, end: &TaskEnd, operation: &Operation) {
        self.seen(at);
        let Some(progress) = operation.tasks.get(&task) else {
            return;
        };
        let (name, _) = named(&progress.task.action);
        let node = progress.task.node.to_string();
        let open = |bar: &&mut Bar| bar.node == node && bar.task == name && bar.end.is_none();
        let mut newest_first = self.bars.iter_mut().rev();
        let Some(bar) = newest_first.find(open) else {
            return;
        };
        bar.end = Some(at);
        if let TaskEnd::Failed { error } = end
            && progress.task.action.is_gate()
            && error.kind == TaskErrorKind::Transient
        {
            self.note(
                at,
                Some(node),
                format!("waits at its gate: {}", error.message),
            );
        } else if let TaskEnd::Failed { error } = end {
            bar.error = Some(error.message.clone());
            let text = format!("{name} failed (attempt {}): {}", bar.attempt, error.message);
            self.note(at, Some(node), text);
        }
    }

    fn text(&self) -> String {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return "Nothing has happened.\n".to_owned();
        };
        let mut nodes: BTreeMap<&str, Vec<&Bar>> = BTreeMap::new();
        for bar in &self.bars {
            nodes.entry(bar.node.as_str()).or_default().push(bar);
        }
        let width = nodes.keys().map(|node| node.len()).max().unwrap_or(0);
        let mut text = format!(
            "Update to {} ({})\n{} to {}\n\n",
            self.version,
            self.uuid,
            first.to_api(),
            last.to_api()
        );
        for (node, bars) in nodes {
            text += &format!("{node:<width$}  {}\n", row(&bars, first, last));
        }
        text += "\ni install  a activate  t takeover  R reboot  b boot  s stabilize  g giveback  v verify  m mark good  \
                 w gate  ! failed\n\n";
        for note in &self.notes {
            let node = note
                .node
                .as_ref()
                .map(|n| format!("{n}: "))
                .unwrap_or_default();
            text += &format!("{}  {node}{}\n", note.at.to_api(), note.text);
        }
        text
    }
}

/// The steps of a plan: who goes side by side, and through what.
fn order(plan: &Plan) -> String {
    let step = |(number, step): (usize, &Step)| {
        let nodes = step.lanes.iter().map(|lane| lane.node.as_str());
        let shown: Vec<&str> = nodes.take(NAMED).collect();
        let more = match step.lanes.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let tasks = step.lanes.first().map_or(&[][..], |lane| &lane.tasks);
        let name = |task: Option<&Task>| task.map_or("", |task| named(&task.action).0);
        let way = match tasks {
            [only] => name(Some(only)).to_owned(),
            tasks => format!("{} ... {}", name(tasks.first()), name(tasks.last())),
        };
        format!("{}. {}{more}: {way}", number + 1, shown.join(", "))
    };
    let steps: Vec<String> = plan.steps.iter().enumerate().map(step).collect();
    steps.join("; ")
}

/// One node's bars, each at least a column wide.
fn row(bars: &[&Bar], first: WallTime, last: WallTime) -> String {
    let millis = |at: WallTime| at.timestamp().as_millisecond();
    let span = (millis(last) - millis(first)).max(1);
    let column = |at: WallTime| ((millis(at) - millis(first)) * WIDTH / span).clamp(0, WIDTH - 1);
    let mut row = vec!['.'; usize::try_from(WIDTH).unwrap_or_default()];
    for bar in bars {
        let (from, to) = (column(bar.start), column(bar.end.unwrap_or(last)));
        for at in from..=to.max(from) {
            if let Some(cell) = usize::try_from(at).ok().and_then(|at| row.get_mut(at)) {
                *cell = if bar.error.is_some() { '!' } else { bar.sign };
            }
        }
    }
    row.into_iter().collect()
}

fn named(action: &Action) -> (&'static str, char) {
    match action {
        Action::Install { .. } => ("install", 'i'),
        Action::Activate { .. } => ("activate", 'a'),
        Action::Deactivate => ("deactivate", 'd'),
        Action::Takeover => ("takeover", 't'),
        Action::Reboot => ("reboot", 'R'),
        Action::AwaitBoot { .. } => ("boot", 'b'),
        Action::Stabilize {
            after: Milestone::Takeover,
            ..
        } => ("stabilize after takeover", 's'),
        Action::Stabilize {
            after: Milestone::Giveback,
            ..
        } => ("stabilize after giveback", 's'),
        Action::Giveback => ("giveback", 'g'),
        Action::VerifyHome { .. } => ("verify", 'v'),
        Action::MarkGood => ("mark good", 'm'),
        Action::Gate { .. } => ("gate", 'w'),
        Action::GateScript { .. } => ("gate script", 'w'),
        Action::Firmware { .. } => ("firmware", 'f'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    const STREAM: &str = "operation/6ba7b810-9dad-41d1-80b4-00c04fd430c8";

    fn recorded() -> Vec<EventLine> {
        let boot = "6ba7b811-9dad-41d1-80b4-00c04fd430c8";
        let task = |id: u32, what: serde_json::Value| json!({"id": id, "node": "n1", "executor": {"agent": "n2"}, "action": what, "estimate_s": 1});
        let started = |second: u32, id: u32, attempt: u32| {
            json!({"type": "task_started", "at": at(second), "task": id, "attempt": attempt,
                "since": {"boot_id": boot, "since_boot_ms": 0}})
        };
        let done = json!({"done": {"how": "completed"}});
        let failed =
            json!({"failed": {"error": {"kind": "transient", "message": "vetoed", "action": ""}}});
        let ended = |second: u32, id: u32, attempt: u32, end: &serde_json::Value| json!({"type": "task_ended", "at": at(second), "task": id, "attempt": attempt, "end": end});
        let digest = "00".repeat(32);
        let events = vec![
            json!({"type": "requested", "at": at(0), "by": "admin", "request": {"request": "update",
                "version": "9.2", "skip_warnings": false, "stabilize_minutes": 8}}),
            json!({"type": "validated", "at": at(1), "findings": []}),
            json!({"type": "planned", "at": at(2), "plan": {"revision": 1, "target": "9.2", "package": digest,
                "from": {"n1": "9.1"}, "steps": [{"lanes": [{"node": "n1", "tasks": [
                    task(1, json!({"do": "takeover"})), task(2, json!({"do": "giveback"}))]}]}]}}),
            started(3, 1, 1),
            ended(30, 1, 1, &done),
            json!({"type": "pause_requested", "at": at(31), "by": "ann"}),
            json!({"type": "paused", "at": at(32), "cause": {"user": {"point": "takeover"}}}),
            json!({"type": "resumed", "at": at(40), "by": "bob"}),
            started(41, 2, 1),
            ended(45, 2, 1, &failed),
            started(46, 2, 2),
            ended(50, 2, 2, &done),
            json!({"type": "ended", "at": at(59), "end": "completed"}),
        ];
        let line = |(n, event): (usize, serde_json::Value)| EventLine {
            seq: n as u64,
            time: None,
            stream: STREAM.to_owned(),
            event,
        };
        events.into_iter().enumerate().map(line).collect()
    }

    fn at(second: u32) -> String {
        format!("2026-01-01T00:00:{second:02}Z")
    }

    #[test]
    fn an_update_is_redrawn_from_its_events_alone() {
        let timeline = draw(&recorded()).unwrap().unwrap();
        let text = timeline.text();
        for part in [
            "Update to 9.2",
            "ttttt",
            "!!!!!.gggggg",
            "admin asks for the update",
            "ann asks for a pause",
            "paused at the pause point takeover",
            "bob resumes",
            "n1: giveback failed (attempt 1): vetoed",
            "completed",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let json = json!(timeline);
        assert_eq!(json["bars"].as_array().unwrap().len(), 3);
        assert_eq!(json["bars"][2]["attempt"], 2);
        assert!(draw(&[]).unwrap().is_none());
    }

    /// Streams as clusters recorded them, of every release: rolling, batch, gated, fallen back, cancelled.
    fn corpus() -> Vec<(PathBuf, Vec<EventLine>)> {
        #[derive(serde::Deserialize)]
        struct Recorded {
            stream: String,
            body: serde_json::Value,
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../record/tests/corpus");
        let listed = |folder: &Path| {
            fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
        };
        let commits = listed(&folder).filter(|path| path.is_dir());
        let files = commits.flat_map(|commit| listed(&commit).collect::<Vec<_>>());
        let files = files.filter(|file| file.extension().is_some_and(|it| it == "jsonl"));
        let read = |file: PathBuf| {
            let text = fs::read_to_string(&file).unwrap();
            let line = |(n, line): (usize, &str)| {
                let Recorded { stream, body } = serde_json::from_str(line).unwrap();
                EventLine {
                    seq: n as u64,
                    time: None,
                    stream,
                    event: body,
                }
            };
            (file, text.lines().enumerate().map(line).collect())
        };
        files.map(read).collect()
    }

    /// What is drawn is what was recorded: every attempt a bar, every pause, cancel and hand-over a note.
    #[test]
    fn what_clusters_recorded_is_redrawn() {
        let mut kinds = BTreeSet::new();
        for (file, lines) in corpus() {
            let Some(timeline) = draw(&lines).unwrap() else {
                continue;
            };
            let text = timeline.text();
            let stream = format!("operation/{}", timeline.uuid);
            let count = |what: &str| {
                let same = |line: &&EventLine| line.stream == stream && line.event["type"] == what;
                lines.iter().filter(same).count()
            };
            let told = |what: &str| {
                timeline
                    .notes
                    .iter()
                    .filter(|note| note.text.contains(what))
                    .count()
            };
            assert_eq!(timeline.bars.len(), count("task_started"), "{file:?}");
            for (event, note) in [
                ("paused", "paused "),
                ("pause_requested", "asks for a pause"),
                ("resumed", " resumes"),
                ("cancel_requested", " cancels"),
                ("node_updated", "runs "),
                ("planned", "plan, revision "),
            ] {
                assert!(
                    told(note) >= count(event),
                    "{file:?}: {event} is not in\n{text}"
                );
                kinds.extend((count(event) > 0).then_some(event));
            }
            if count("ended") > 0 && count("task_started") > 0 {
                assert!(
                    text.contains("completed") || text.contains("canceled"),
                    "{file:?}:\n{text}"
                );
            }
            kinds.extend((told("is handed the coordination") > 0).then_some("handed_over"));
        }
        for kind in ["paused", "cancel_requested", "node_updated", "handed_over"] {
            assert!(kinds.contains(kind), "no stream of the corpus has {kind}");
        }
    }

    #[test]
    fn a_plan_is_noted_with_its_order() {
        let text = draw(&recorded()).unwrap().unwrap().text();
        assert!(
            text.contains("plan, revision 1: 1. n1: takeover ... giveback"),
            "{text}"
        );
    }
}
