//! A service processor behind Redfish (DSP0266, DSP2062): the image is pushed to the update service, which writes
//! it into the image that does not run; a reset of the manager activates it.
//!
//! A task id that is gone is no failure: service processors forget their tasks. What the inventory holds, and
//! in the end what the manager runs, is what counts.

use async_trait::async_trait;
use evenkeel_platform::devices::{
    Redfish, RedfishBody, RedfishMethod, RedfishReply, RedfishRequest,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::driver::{Driver, DriverError, Identity, Written};
use crate::flash::Told;
use crate::image::Image;
use crate::limits::Limits;
use crate::patience::patiently;

const UPDATE_SERVICE: &str = "/redfish/v1/UpdateService";
const MANAGERS: &str = "/redfish/v1/Managers";
const TASKS: &str = "/redfish/v1/TaskService/Tasks";

/// Drives a service processor.
pub(crate) struct Manager<'a> {
    device: Box<dyn Redfish + 'a>,
    limits: &'a Limits,
}

/// What a task says.
enum Task {
    /// In percent.
    Runs(u64),
    Completed,
    Failed(String),
    /// There is no such task any more.
    Forgotten,
}

impl<'a> Manager<'a> {
    pub(crate) fn new(device: Box<dyn Redfish + 'a>, limits: &'a Limits) -> Self {
        Self { device, limits }
    }

    async fn send(
        &self,
        method: RedfishMethod,
        path: &str,
        body: RedfishBody,
    ) -> Result<RedfishReply, DriverError> {
        let request = RedfishRequest {
            method,
            path: path.to_owned(),
            body,
        };
        let reply = self.device.send(&request).await;
        let reply = reply.map_err(DriverError::Silent)?;
        match reply.status {
            429 | 500..=599 => Err(DriverError::Busy(said(&reply))),
            _ => Ok(reply),
        }
    }

    async fn get(&self, path: &str) -> Result<Value, DriverError> {
        let reply = self
            .send(RedfishMethod::Get, path, RedfishBody::None)
            .await?;
        match reply.status {
            200 => Ok(reply.body),
            // A service that is still on its way up answers so.
            400 | 404 => Err(DriverError::Busy(format!("{path}: {}", said(&reply)))),
            _ => Err(DriverError::Refused(format!("{path}: {}", said(&reply)))),
        }
    }

    async fn members(&self, path: &str) -> Result<Vec<String>, DriverError> {
        let body = self.get(path).await?;
        let members = body["Members"].as_array().cloned().unwrap_or_default();
        let links = members
            .iter()
            .filter_map(|member| member["@odata.id"].as_str());
        Ok(links.map(str::to_owned).collect())
    }

    /// The manager itself, with its path.
    async fn manager(&self) -> Result<(String, Value), DriverError> {
        let none = || DriverError::Refused("it names no manager".to_owned());
        let path = self.members(MANAGERS).await?.into_iter().next();
        let path = path.ok_or_else(none)?;
        let body = self.get(&path).await?;
        Ok((path, body))
    }

    /// The inventory's entry that can be written: the image that does not run.
    async fn target(&self) -> Result<(String, Value), DriverError> {
        for path in self
            .members(&format!("{UPDATE_SERVICE}/FirmwareInventory"))
            .await?
        {
            let entry = self.get(&path).await?;
            if entry["Updateable"] == true {
                return Ok((path, entry));
            }
        }
        Err(DriverError::Refused(
            "its inventory names nothing that can be updated".to_owned(),
        ))
    }

    /// A task that is under way: a daemon before this one may have begun it.
    async fn running_task(&self) -> Result<Option<String>, DriverError> {
        for path in self.members(TASKS).await? {
            if let Task::Runs(_) = self.task(&path).await? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Begins to write an image; the path of the task.
    async fn push(&self, image: &Image) -> Result<String, DriverError> {
        let service = self.get(UPDATE_SERVICE).await?;
        let no_push = || DriverError::Unknown("a multipart push of an image".to_owned());
        let uri = service["MultipartHttpPushUri"]
            .as_str()
            .ok_or_else(no_push)?;
        let (target, _) = self.target().await?;
        let body = RedfishBody::Multipart {
            parameters: json!({"Targets": [target], "@Redfish.OperationApplyTime": "OnReset"}),
            image: image.bytes.clone(),
        };
        let reply = self.send(RedfishMethod::Post, uri, body).await?;
        let task = reply.location.clone();
        match (reply.status, task) {
            (202, Some(task)) => Ok(task),
            (202, None) => Err(DriverError::Lost(
                "it took the image and named no task".to_owned(),
            )),
            (_, _) => Err(DriverError::Refused(said(&reply))),
        }
    }

    async fn task(&self, path: &str) -> Result<Task, DriverError> {
        let reply = self
            .send(RedfishMethod::Get, path, RedfishBody::None)
            .await?;
        if reply.status == 404 {
            return Ok(Task::Forgotten);
        }
        let body = &reply.body;
        let message = || {
            let message = body["Messages"][0]["Message"].as_str();
            message.unwrap_or("its update task failed").to_owned()
        };
        Ok(match body["TaskState"].as_str() {
            Some("Completed") if matches!(body["TaskStatus"].as_str(), Some("OK") | None) => {
                Task::Completed
            }
            Some("New" | "Pending" | "Starting" | "Running") => {
                Task::Runs(body["PercentComplete"].as_u64().unwrap_or_default())
            }
            Some(_) => Task::Failed(message()),
            None => Task::Forgotten,
        })
    }

    /// Follows a task for as long as it moves.
    async fn follow(&self, path: &str, told: &Told<'_>) -> Result<Task, DriverError> {
        let bound = self.limits.no_progress;
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            let ask = || self.task(path);
            // One that lost power meanwhile is away for as long as a start takes.
            let percent = match patiently(self.limits.restart, self.limits.poll, ask).await? {
                Task::Runs(percent) => percent,
                over => return Ok(over),
            };
            told.moved(percent, 100);
            if seen != Some(percent) {
                (seen, since) = (Some(percent), Instant::now());
            }
            if since.elapsed() >= bound {
                let source = Box::new(DriverError::Busy(format!("its task stands at {percent} %")));
                return Err(DriverError::StoodStill { bound, source });
            }
            sleep(self.limits.poll).await;
        }
    }

    /// A push that was not answered may have been taken: whatever runs then is followed.
    async fn begin(&self, image: &Image) -> Result<String, DriverError> {
        if let Some(task) = self.running_task().await? {
            return Ok(task);
        }
        match self.push(image).await {
            Err(DriverError::Silent(why)) => Err(DriverError::Lost(why.to_string())),
            begun => begun,
        }
    }

    async fn has(&self, image: &Image) -> Result<bool, DriverError> {
        let (_, entry) = self.target().await?;
        Ok(entry["Version"] == image.revision.as_str())
    }
}

fn said(reply: &RedfishReply) -> String {
    let message = reply.body["error"]["message"].as_str();
    format!("HTTP {} {}", reply.status, message.unwrap_or_default())
}

#[async_trait]
impl Driver for Manager<'_> {
    async fn identify(&self) -> Result<Identity, DriverError> {
        let (_, body) = self.manager().await?;
        let strange = |error: evenkeel_model::NameError| {
            DriverError::Refused(format!("its manager names no firmware: {error}"))
        };
        let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Ok(Identity {
            model: field("Model").parse().map_err(strange)?,
            running: field("FirmwareVersion").parse().map_err(strange)?,
        })
    }

    async fn ready(&self) -> Result<(), DriverError> {
        self.manager().await.map(|_| ())
    }

    async fn write(&self, image: &Image, told: &Told<'_>) -> Result<Written, DriverError> {
        let Limits {
            no_progress, poll, ..
        } = *self.limits;
        let task = match patiently(no_progress, poll, || self.begin(image)).await {
            Err(DriverError::StoodStill { bound, source })
                if matches!(*source, DriverError::Busy(_)) =>
            {
                return Err(DriverError::NotTaken { bound, source });
            }
            begun => begun?,
        };
        match self.follow(&task, told).await? {
            Task::Completed | Task::Forgotten => {}
            Task::Failed(why) => return Err(DriverError::Refused(why)),
            Task::Runs(_) => return Err(DriverError::Lost("its task began anew".to_owned())),
        }
        // It may have lost power, and be away for as long as a start takes.
        match patiently(self.limits.restart, poll, || self.has(image)).await? {
            true => Ok(Written::Staged),
            false => Err(DriverError::Lost(
                "its backup image is not the new one".to_owned(),
            )),
        }
    }

    async fn activate(&self) -> Result<(), DriverError> {
        let Limits {
            no_progress, poll, ..
        } = *self.limits;
        let ask = || async {
            let (path, body) = self.manager().await?;
            let action = body["Actions"]["#Manager.Reset"]["target"].as_str();
            let action =
                action.map_or_else(|| format!("{path}/Actions/Manager.Reset"), str::to_owned);
            let body = RedfishBody::Json(json!({"ResetType": "GracefulRestart"}));
            match self.send(RedfishMethod::Post, &action, body).await {
                Ok(reply) if (200..300).contains(&reply.status) => Ok(()),
                Ok(reply) => Err(DriverError::Refused(said(&reply))),
                // It goes down with the answer still to be sent. What runs afterwards tells.
                Err(DriverError::Silent(_)) => Ok(()),
                Err(error) => Err(error),
            }
        };
        patiently(no_progress, poll, ask).await
    }
}
