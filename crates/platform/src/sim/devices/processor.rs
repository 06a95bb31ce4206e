//! A service processor: the parts of Redfish that an update needs, and two images of which one runs.

use evenkeel_model::{DeviceModel, FirmwareRevision, NodeName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fault::DeviceFault;
use super::image::ImageKind;
use super::memory::{Around, Memory, Piece, Struck};
use super::scsi::Said;
use crate::devices::{RedfishBody, RedfishMethod, RedfishReply, RedfishRequest};

/// How long a processor takes to start.
pub(super) const START_S: u64 = 120;
/// How long it takes to write an image.
const WRITE_S: u64 = 30;

const SERVICE: &str = "/redfish/v1/UpdateService";
const PUSH: &str = "/redfish/v1/UpdateService/update-multipart";
const INVENTORY: &str = "/redfish/v1/UpdateService/FirmwareInventory";
const TASKS: &str = "/redfish/v1/TaskService/Tasks";
const MANAGERS: &str = "/redfish/v1/Managers";
const MANAGER: &str = "/redfish/v1/Managers/bmc";
const RESET: &str = "/redfish/v1/Managers/bmc/Actions/Manager.Reset";

/// What a service processor keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Processor {
    pub(super) memory: Memory,
    /// The image that does not run; none while it is damaged.
    pub(super) backup: Option<FirmwareRevision>,
    pub(super) task: Option<Task>,
    pub(super) tasks: u32,
}

/// An image that is being written, or was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) id: u32,
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) outcome: Outcome,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The backup image is this.
    Written(FirmwareRevision),
    /// It was not an image for this processor.
    Refused,
    /// Power is lost in the middle.
    PowerLoss,
}

impl Processor {
    pub(super) fn factory() -> Self {
        let memory = Memory::factory("5.8");
        Self {
            backup: Some(memory.running.clone()),
            memory,
            task: None,
            tasks: 0,
        }
    }

    /// Lets what is due by now happen; whether something did, and which fault struck.
    pub(super) fn settle(&mut self, around: &Around) -> (bool, Option<Struck>) {
        if self.memory.settle(around.now) {
            return (true, None);
        }
        let lost = |task: &Task| {
            let half = task.from + (task.until - task.from) / 2;
            task.outcome == Outcome::PowerLoss && half <= around.now
        };
        if self.task.take_if(|task| lost(task)).is_some() {
            self.backup = None;
            self.memory.lose_power(around, START_S);
            return (true, Some(Struck(DeviceFault::PowerLoss)));
        }
        (self.finish(around.now), None)
    }

    fn finish(&mut self, now: u64) -> bool {
        let over = self.task.as_ref().filter(|task| task.until <= now);
        match over.map(|task| &task.outcome) {
            Some(Outcome::Written(revision)) if self.memory.staged.is_none() => {
                self.backup = Some(revision.clone());
                self.memory.staged = Some(revision.clone());
                true
            }
            Some(_) | None => false,
        }
    }

    /// Its primary image can be trusted, and it answers.
    pub(super) fn answers(&self) -> bool {
        !self.memory.is_starting()
    }

    pub(super) fn cold_start(&mut self) {
        match (self.task.take(), &self.memory.staged) {
            (_, Some(_)) => self.backup = Some(self.memory.running.clone()),
            (Some(_), None) => self.backup = None,
            (None, None) => {}
        }
        self.memory.cold_start();
    }
}

/// Answers a request to a processor that is up.
pub(super) fn send(
    processor: &mut Processor,
    (node, model): (&NodeName, &DeviceModel),
    request: &RedfishRequest,
    around: &Around,
) -> Said<RedfishReply> {
    if !processor.answers() || processor.memory.is_cut_off(around) {
        return (None, None);
    }
    let path = request.path.trim_end_matches('/');
    match (request.method, path) {
        (RedfishMethod::Get, _) => (Some(get(processor, (node, model), path, around)), None),
        (RedfishMethod::Post, PUSH) => push(processor, model, &request.body, around),
        (RedfishMethod::Post, RESET) => (Some(reset(processor, &request.body, around)), None),
        (RedfishMethod::Post | RedfishMethod::Patch, _) => (Some(failed(405, "no such act")), None),
    }
}

fn answer(body: Value) -> RedfishReply {
    RedfishReply {
        status: 200,
        location: None,
        body,
    }
}

fn failed(status: u16, message: &str) -> RedfishReply {
    RedfishReply {
        status,
        location: None,
        body: json!({"error": {"code": "Base.1.0.GeneralError", "message": message}}),
    }
}

fn get(
    processor: &Processor,
    (node, model): (&NodeName, &DeviceModel),
    path: &str,
    around: &Around,
) -> RedfishReply {
    let members = |paths: Vec<String>| {
        let members: Vec<Value> = paths.iter().map(|p| json!({"@odata.id": p})).collect();
        answer(json!({"@odata.id": path, "Members@odata.count": members.len(), "Members": members}))
    };
    match path {
        SERVICE => answer(json!({
            "@odata.id": SERVICE,
            "ServiceEnabled": true,
            "MultipartHttpPushUri": PUSH,
            "FirmwareInventory": {"@odata.id": INVENTORY},
        })),
        INVENTORY => members(vec![
            format!("{INVENTORY}/primary"),
            format!("{INVENTORY}/backup"),
        ]),
        MANAGERS => members(vec![MANAGER.to_owned()]),
        MANAGER => answer(json!({
            "@odata.id": MANAGER,
            "Id": "bmc",
            "Name": format!("service processor of {node}"),
            "Model": model,
            "FirmwareVersion": processor.memory.running,
            "Status": {"State": "Enabled", "Health": "OK"},
            "Actions": {"#Manager.Reset": {"target": RESET}},
        })),
        TASKS => {
            let task = known_task(processor, around);
            members(Vec::from_iter(
                task.map(|task| format!("{TASKS}/{}", task.id)),
            ))
        }
        _ => match path.strip_prefix(INVENTORY) {
            Some("/primary") => image("primary", Some(&processor.memory.running)),
            Some("/backup") => image("backup", processor.backup.as_ref()),
            Some(_) | None => task(processor, path, around),
        },
    }
}

fn image(id: &str, revision: Option<&FirmwareRevision>) -> RedfishReply {
    let health = if revision.is_some() { "OK" } else { "Critical" };
    answer(json!({
        "@odata.id": format!("{INVENTORY}/{id}"),
        "Id": id,
        "Updateable": id == "backup",
        "Version": revision,
        "Status": {"State": "Enabled", "Health": health},
    }))
}

/// Its task, unless it forgets it with its end.
fn known_task<'a>(processor: &'a Processor, around: &Around) -> Option<&'a Task> {
    let forgets = around.has(DeviceFault::Attention);
    let task = processor.task.as_ref()?;
    (!forgets || task.until > around.now).then_some(task)
}

fn task(processor: &Processor, path: &str, around: &Around) -> RedfishReply {
    let task = known_task(processor, around);
    let Some(task) = task.filter(|task| path == format!("{TASKS}/{}", task.id)) else {
        return failed(404, "there is no such resource");
    };
    let spent = around.now.saturating_sub(task.from) * 100;
    let percent = (spent / (task.until - task.from).max(1)).min(100);
    let (state, health, message) = match (&task.outcome, task.until <= around.now) {
        (Outcome::Refused, _) => (
            "Exception",
            "Critical",
            "The image is not for this processor.",
        ),
        (_, false) => ("Running", "OK", "The image is being written."),
        (_, true) => (
            "Completed",
            "OK",
            "The image was written; a reset activates it.",
        ),
    };
    answer(json!({
        "@odata.id": path,
        "Id": task.id.to_string(),
        "TaskState": state,
        "TaskStatus": health,
        "PercentComplete": percent,
        "Messages": [{"Message": message}],
    }))
}

fn push(
    processor: &mut Processor,
    model: &DeviceModel,
    body: &RedfishBody,
    around: &Around,
) -> Said<RedfishReply> {
    let running = processor
        .task
        .as_ref()
        .is_some_and(|t| t.until > around.now);
    if around.has(DeviceFault::Busy) || running {
        return (Some(failed(503, "an update is running")), None);
    }
    let RedfishBody::Multipart { parameters, image } = body else {
        return (Some(failed(400, "UpdateFile is missing")), None);
    };
    if parameters["@Redfish.OperationApplyTime"] != "OnReset" {
        return (Some(failed(400, "only OnReset is known")), None);
    }
    // Power is lost while the image is written, not while it comes in.
    let mut calm = around.clone();
    let loses_power = calm.faults.remove(&DeviceFault::PowerLoss);
    let kind = (ImageKind::Processor, model);
    let (piece, struck) = processor.memory.take((0, image), kind, &calm, START_S);
    let outcome = match piece {
        Piece::Silence => return (None, struck),
        Piece::Last(_) if loses_power => Outcome::PowerLoss,
        Piece::Last(revision) => Outcome::Written(revision),
        Piece::Taken | Piece::OutOfOrder | Piece::Bad => Outcome::Refused,
    };
    processor.tasks += 1;
    (processor.memory.staged, processor.memory.busy_until) = (None, 0);
    let id = processor.tasks;
    processor.task = Some(Task {
        id,
        from: around.now,
        until: around.after_slow_s(WRITE_S),
        outcome,
    });
    let location = format!("{TASKS}/{id}");
    let reply = RedfishReply {
        status: 202,
        body: json!({"@odata.id": location, "TaskState": "Running"}),
        location: Some(location),
    };
    (Some(reply), struck)
}

fn reset(processor: &mut Processor, body: &RedfishBody, around: &Around) -> RedfishReply {
    let kind = match body {
        RedfishBody::Json(value) => value["ResetType"].as_str(),
        RedfishBody::None | RedfishBody::Multipart { .. } => None,
    };
    if !matches!(kind, Some("GracefulRestart" | "ForceRestart")) {
        return failed(400, "ResetType is missing");
    }
    if processor
        .task
        .as_ref()
        .is_some_and(|t| t.until > around.now)
    {
        return failed(503, "an update is running");
    }
    // Tasks do not outlive a reset.
    processor.task = None;
    match processor.memory.staged.take() {
        Some(revision) => {
            let before = processor.memory.running.clone();
            processor.memory.activate(revision, around, START_S);
            if !around.has(DeviceFault::Unchanged) {
                processor.backup = Some(before);
            }
        }
        None => processor.memory.lose_power(around, START_S),
    }
    RedfishReply {
        status: 204,
        location: None,
        body: Value::Null,
    }
}
