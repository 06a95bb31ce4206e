//! Redfish: the service processor's own REST API.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::traits::PlatformError;

/// How long a service processor may take for a request with an image: some ten megabytes over a port of 100 Mbit/s, and a processor
/// that unpacks them before it answers.
pub const REDFISH_PUSH: Duration = Duration::from_secs(15 * 60);

/// A request to a service processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedfishRequest {
    /// What to do.
    pub method: RedfishMethod,
    /// To what: a path that begins with `/redfish/v1`.
    pub path: String,
    /// With what.
    pub body: RedfishBody,
}

/// The methods that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "HTTP's words, which say it")]
pub enum RedfishMethod {
    Get,
    Post,
    Patch,
}

/// What goes with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedfishBody {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// `multipart/form-data` with the parts `UpdateParameters` and `UpdateFile`.
    Multipart {
        /// `UpdateParameters`.
        parameters: Value,
        /// `UpdateFile`: the image.
        #[serde(with = "super::bytes")]
        image: Arc<Vec<u8>>,
    },
}

/// What a service processor answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedfishReply {
    /// The HTTP status.
    pub status: u16,
    /// The header `Location`, as a path: where to ask for the task.
    pub location: Option<String>,
    /// The body; null when there is none.
    pub body: Value,
}

/// A service processor's Redfish service, with the session and the certificate that the back end has for
/// it.
#[async_trait]
pub trait Redfish: Send + Sync {
    /// Carries one request. An answer is `Ok`, whatever its status.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] when nobody answered: whether the request was carried out is not
    /// known.
    async fn send(&self, request: &RedfishRequest) -> Result<RedfishReply, PlatformError>;
}
