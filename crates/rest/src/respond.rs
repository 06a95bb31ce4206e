//! Answers: links or none by `Accept`, and the error object.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evenkeel_api::{ApiError, Code};
use serde::Serialize;
use serde_json::Value;

/// Which of the two JSON forms the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// With `_links`: for `application/hal+json`, `*/*` and everything else.
    Hal,
    /// Without, but for `next` and the link of a job: for `application/json`.
    Plain,
}

impl Form {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        let first = accept
            .unwrap_or("*/*")
            .split([',', ';'])
            .next()
            .unwrap_or("*/*")
            .trim();
        if first.eq_ignore_ascii_case("application/json") {
            Self::Plain
        } else {
            Self::Hal
        }
    }

    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hal => "application/hal+json",
            Self::Plain => "application/json",
        })
    }

    /// An answer with this body.
    pub(crate) fn answer(self, status: StatusCode, body: Value) -> Response {
        self.written(status, self.write(body))
    }

    /// A body as its answer has it.
    pub(crate) fn write(self, mut body: Value) -> Bytes {
        if self == Self::Plain {
            strip_links(&mut body, Keep::Next);
        }
        let text = serde_json::to_vec(&body);
        text.expect("a value has text keys and nothing that fails")
            .into()
    }

    /// An answer with a body that was written in this form.
    pub(crate) fn written(self, status: StatusCode, body: Bytes) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, self.content_type());
        response
    }
}

/// Which links survive in the plain form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    /// `next` of a collection: clients cannot page without it.
    Next,
    /// All of a job's: every client follows it, whatever it accepts.
    All,
}

fn strip_links(value: &mut Value, keep: Keep) {
    match value {
        Value::Object(map) => {
            match (keep, map.get_mut("_links")) {
                (Keep::All, _) | (_, None) => {}
                (Keep::Next, Some(Value::Object(links))) if links.contains_key("next") => {
                    links.retain(|name, _| name == "next");
                }
                (Keep::Next | Keep::Nothing, Some(_)) => drop(map.remove("_links")),
            }
            for (name, inner) in map.iter_mut().filter(|(name, _)| *name != "_links") {
                strip_links(
                    inner,
                    if name == "job" || name == "jobs" {
                        Keep::All
                    } else {
                        Keep::Nothing
                    },
                );
            }
        }
        Value::Array(items) => {
            let keep = if keep == Keep::All {
                Keep::All
            } else {
                Keep::Nothing
            };
            items.iter_mut().for_each(|item| strip_links(item, keep));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A wire type as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("wire types have text keys and no failing fields")
}

/// The code of an error's answer, for those who only see the answer.
#[derive(Clone, Copy, Debug)]
pub struct ErrorNumber(pub u32);

/// An error on its way out.
pub(crate) struct Failure {
    form: Form,
    error: ApiError,
}

impl Failure {
    pub(crate) fn new(headers: &HeaderMap, error: ApiError) -> Self {
        Self::of(Form::of(headers), error)
    }

    pub(crate) fn of(form: Form, error: ApiError) -> Self {
        Self { form, error }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        let status = StatusCode::from_u16(self.error.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = self.form.answer(status, json(&self.error.body()));
        response
            .extensions_mut()
            .insert(ErrorNumber(self.error.number));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // Whatever is away is away for seconds.
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if self.error.number == Code::NotAuthorized.number() {
            let challenge = HeaderValue::from_static("Basic realm=\"Evenkeel\", charset=\"UTF-8\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_plain_form_keeps_only_next_and_job_links() {
        let link = |href: &str| json!({"href": href});
        let mut body = json!({
            "records": [{"_links": {"self": link("a")}, "node": {"_links": {"self": link("b")}}}],
            "job": {"uuid": "u", "_links": {"self": link("c")}},
            "jobs": [{"uuid": "u", "_links": {"self": link("c")}}],
            "_links": {"self": link("d"), "next": link("e")},
        });
        strip_links(&mut body, Keep::Next);
        let expected = json!({
            "records": [{"node": {}}],
            "job": {"uuid": "u", "_links": {"self": link("c")}},
            "jobs": [{"uuid": "u", "_links": {"self": link("c")}}],
            "_links": {"next": link("e")},
        });
        assert_eq!(body, expected);
    }
}
