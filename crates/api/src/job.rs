//! Jobs, and the link to one that every change is answered with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::{Field, Identity, Resource, fields};
use crate::{ErrorObject, Links};

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Not begun.
    Queued,
    /// Begun.
    Running,
    /// Stopped for now. Some clients take this for done.
    Paused,
    /// Done.
    Success,
    /// Ended without doing it.
    Failure,
}

impl JobState {
    /// Whether nothing more will happen.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Success | Self::Failure => true,
            Self::Queued | Self::Running | Self::Paused => false,
        }
    }
}

/// An asynchronous call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id.
    pub uuid: String,
    /// The call, for example `PATCH /api/cluster/software`.
    pub description: String,
    /// Its state.
    pub state: JobState,
    /// For people. **Never empty on failure**: one client takes that for success.
    pub message: String,
    /// 0, or the code of the failure.
    pub code: u32,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    pub start_time: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub end_time: Option<String>,
    /// Only on failure: one client takes its presence for failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobError {
    /// For people.
    pub message: String,
    /// The code's number as text.
    pub code: String,
    /// What the error is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Resource for Job {
    const PATH: &'static str = "/api/cluster/jobs";
    const IDENTITY: Identity = Identity::Key("uuid", &[]);
    const FIELDS: &'static [Field] = fields![
        "uuid",
        "description",
        "state",
        "message",
        "code",
        "start_time",
        "end_time",
        "error.message",
        "error.code",
        "error.target";
        unset "error.arguments.code", "error.arguments.message", "svm.name", "svm.uuid"
    ];
}

/// `{"job": {...}}`: the answer to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobLink {
    /// The job.
    pub job: JobRef,
}

/// A job's id and address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRef {
    /// Its id.
    pub uuid: String,
    /// Always present, whatever the client accepts: all of them follow it.
    #[serde(rename = "_links")]
    pub links: Links,
}

/// The jobs of a change of many records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobLinks {
    /// Records that were changed, or are being changed by their job.
    pub num_records: usize,
    /// A job for each.
    pub jobs: Vec<JobRef>,
    /// Why nothing further was begun, where a record after the first was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorObject>,
    /// Where to ask for the rest, if there is more than fits into the time of one call.
    #[serde(rename = "_links", default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
}

impl JobLink {
    /// The link to a job.
    pub fn new(uuid: impl Into<String>) -> Self {
        let uuid = uuid.into();
        let links = Links::this(format!("{}/{uuid}", Job::PATH));
        Self {
            job: JobRef { uuid, links },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_listed() {
        crate::resource::assert_fields_complete(&Job {
            uuid: "u".into(),
            description: "d".into(),
            state: JobState::Failure,
            message: "m".into(),
            code: 4,
            start_time: "t".into(),
            end_time: Some("t".into()),
            error: Some(JobError {
                message: "m".into(),
                code: "4".into(),
                target: Some("uuid".into()),
            }),
        });
    }
}
