//! What of a request only its answer tells.

use std::collections::BTreeMap;

use axum::response::Response;
use evenkeel_model::JobId;

use super::summary::plain;

/// What a handler found out, for the log: on its response, since the log sees nothing else of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) job: Option<JobId>,
    pub(crate) what: BTreeMap<String, String>,
}

impl Told {
    /// The job that was begun.
    pub(crate) fn job(job: JobId) -> Self {
        Self {
            job: Some(job),
            ..Self::default()
        }
    }

    /// Something else; never a secret.
    pub(crate) fn of(name: &str, value: &str) -> Self {
        Self::default().and(name, value)
    }

    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.what.insert(name.to_owned(), plain(value));
        self
    }

    /// Puts it on its way.
    pub(crate) fn on(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}
