//! What a handler takes from a request.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use bytes::Bytes;
use evenkeel_api::{ApiError, Code, Params, Resource, decode_component, parse_body};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::caller::Caller;
use crate::respond::{Failure, Form};

/// Bytes of a JSON body. The largest legitimate one is a whole software object sent back.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Time for a JSON body to arrive: a client's own time limits are not longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The head of a request: who asks, how, and the answer's form.
pub(crate) struct Asked {
    pub(crate) form: Form,
    pub(crate) caller: Caller,
    target: PathAndQuery,
    is_read: bool,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // The authentication layer put it there; without it nobody is authorized.
        let caller = parts.extensions.get::<Caller>().cloned();
        let form = Form::of(&parts.headers);
        let unknown = || Failure::of(form, ApiError::new(Code::NotAuthorized));
        let target = parts.uri.path_and_query().cloned();
        Ok(Self {
            form,
            caller: caller.ok_or_else(unknown)?,
            target: target.unwrap_or_else(|| PathAndQuery::from_static("/")),
            is_read: parts.method.is_safe(),
        })
    }
}

impl Asked {
    pub(crate) fn params(&self) -> Result<Params, ApiError> {
        let query = self.target.query().unwrap_or_default();
        match self.is_read {
            true => Params::parse(query),
            false => Params::parse_for_change(query),
        }
    }

    /// The last segment of the path. Python sends a space in it as `+`. What cannot be decoded
    /// names nothing, and stays as it is.
    pub(crate) fn key(&self) -> String {
        let key = self.target.path().rsplit('/').next().unwrap_or_default();
        decode_component(key).unwrap_or_else(|| key.to_owned())
    }

    /// Path and query, as far as they say what is asked for.
    pub(crate) fn target(&self) -> &str {
        self.target.as_str()
    }

    pub(crate) fn failure(&self, error: ApiError) -> Failure {
        Failure::of(self.form, error)
    }
}

/// The fields of a JSON body, taken out one by one; `finish` refuses what nobody took.
pub(crate) struct Fields {
    map: Map<String, Value>,
}

impl Fields {
    /// Reads the body, whatever its `Content-Type` says: curl names a form by default.
    pub(crate) async fn read(body: Body) -> Result<Self, ApiError> {
        let mut map = parse_body(&read_body(body).await?)?;
        map.remove("_links");
        Ok(Self { map })
    }

    /// Takes a text; blank counts as absent.
    pub(crate) fn take_text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.map.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(other) => Err(ApiError::invalid(name, &other.to_string(), "string")),
        }
    }

    /// Takes one of several words. Unlike other texts a blank one is refused: `"action": ""` left out would have an
    /// update begin.
    pub(crate) fn take_word<T: DeserializeOwned>(
        &mut self,
        name: &str,
        words: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.map.remove(name) {
            None => Ok(None),
            Some(Value::String(word)) => Params::from_pair(name, &word).take_word(name, words),
            Some(other) => Err(ApiError::invalid(name, &other.to_string(), words)),
        }
    }

    /// Takes `records`, a list of objects that name something by `key`.
    pub(crate) fn take_records(&mut self, key: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(records) = self.map.remove("records") else {
            return Ok(None);
        };
        let invalid = || {
            let message = format!("Field \"records\" must be a list of objects with \"{key}\".");
            ApiError::with(Code::InvalidField, message).target("records")
        };
        let named = |record: &Value| record.get(key)?.as_str().map(str::to_owned);
        let records = records.as_array().ok_or_else(invalid)?;
        let names = records
            .iter()
            .map(|record| named(record).ok_or_else(invalid));
        names.collect::<Result<_, _>>().map(Some)
    }

    /// Takes a text that is never repeated, whatever is wrong with it.
    pub(crate) fn take_secret(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.map.remove(name) {
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(_) => Err(ApiError::invalid(name, "...", "string")),
            None => Ok(None),
        }
    }

    /// Refuses the first field that nobody took: one of `R`, or one unheard of.
    pub(crate) fn finish<R: Resource>(self) -> Result<(), ApiError> {
        let Some(name) = self.map.keys().next() else {
            return Ok(());
        };
        let (code, text) = if R::has_field(name) {
            (Code::CannotSet, "cannot be set in this operation")
        } else {
            (
                Code::NotInBody,
                "is not supported in the body of this request",
            )
        };
        let message = format!("Field \"{name}\" {text}.");
        Err(ApiError::with(code, message).target(name.clone()))
    }
}

/// Reads a body that is one of Evenkeel's own objects. What is wrong is said without repeating values: one of
/// them may be a password.
pub(crate) async fn object<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let map = parse_body(&read_body(body).await?)?;
    serde_json::from_value(map.into()).map_err(|error| {
        let error = without_values(&error.to_string());
        ApiError::with(Code::BadValue, format!("The body is not right: {error}."))
    })
}

/// A deserialization error quotes values of a wrong type in double quotes, and names of fields in backquotes.
fn without_values(error: &str) -> String {
    match (error.find('"'), error.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}\"...\"{}", &error[..first], &error[last + 1..])
        }
        (Some(_) | None, _) => error.to_owned(),
    }
}

/// All of a JSON body.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    let bytes = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await;
    let late = |_| ApiError::with(Code::BadValue, "The body of the request did not arrive.");
    bytes.map_err(late)?.map_err(|error| body_error(&error))
}

fn body_error(error: &axum::Error) -> ApiError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return ApiError::new(Code::BodyTooLarge);
        }
        source = error.source();
    }
    ApiError::with(Code::BadValue, "The body of the request ended early.")
}
