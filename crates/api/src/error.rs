//! The error object every failed call is answered with.

use evenkeel_model::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Code;

/// `{"error": {...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorObject,
}

/// What went wrong. `code` is a **string** here, unlike everywhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorObject {
    /// For people; never empty.
    pub message: String,
    /// The code's number as text.
    pub code: String,
    /// The field, parameter or key the error is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Values named in the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<ErrorArgument>,
}

/// One value named in an error's message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorArgument {
    /// Code of the argument.
    pub code: String,
    /// Its value.
    pub message: String,
}

/// An error on its way to a client: HTTP status and error object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {number})")]
pub struct ApiError {
    /// The HTTP status to answer with.
    pub status: u16,
    /// The code's number.
    pub number: u32,
    /// For people; never empty.
    pub message: String,
    /// What the error is about.
    pub target: Option<String>,
}

impl ApiError {
    /// The code with its own text.
    pub fn new(code: Code) -> Self {
        Self::with(code, code.text())
    }

    /// The code with a more precise message. An empty message is replaced by the code's text:
    /// clients take an empty message for success.
    pub fn with(code: Code, message: impl Into<String>) -> Self {
        let message = Some(message.into()).filter(|m| !m.is_empty());
        Self {
            status: code.class().http_status(),
            number: code.number(),
            message: message.unwrap_or_else(|| code.text().to_owned()),
            target: None,
        }
    }

    /// An error that comes as a number, from a job or another component. An unknown number is an
    /// internal error as far as HTTP is concerned.
    pub fn from_number(number: u32, message: impl Into<String>) -> Self {
        match Code::from_number(number) {
            Some(code) => Self::with(code, message),
            None => Self {
                number,
                ..Self::with(Code::InternalError, message)
            },
        }
    }

    /// Names what the error is about.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// `The value "x" is invalid for field "f" (<hint>)`, the real product's words.
    pub fn invalid(field: &str, value: &str, hint: &str) -> Self {
        let message = format!("The value \"{value}\" is invalid for field \"{field}\" (<{hint}>)");
        Self::with(Code::InvalidField, message).target(field)
    }

    /// `Unexpected argument "x".`, the real product's words.
    pub fn unexpected(name: &str) -> Self {
        let message = format!("Unexpected argument \"{name}\".");
        Self::with(Code::UnexpectedArgument, message).target(name)
    }

    /// The object as it goes over the wire.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorObject {
                message: self.message.clone(),
                code: self.number.to_string(),
                target: self.target.clone(),
                arguments: Vec::new(),
            },
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self {
            target: refusal.target,
            ..Self::from_number(refusal.code, refusal.message)
        }
    }
}
