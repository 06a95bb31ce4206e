//! Users of the API, under `/evenkeel/v1/users`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "password"))]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// `GET /evenkeel/v1/users`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Users {
    /// By name.
    pub records: Vec<User>,
    /// How many.
    pub num_records: usize,
}

/// A user, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its name.
    pub name: String,
    /// `admin`, `stager` or `readonly`.
    pub role: String,
    /// Whether a password lets it in.
    pub password: bool,
    /// Whether a client certificate in its name lets it in.
    pub certificate: bool,
    /// When it was set last.
    #[schemars(extend("format" = "date-time"))]
    pub changed_at: String,
    /// By whom; absent for a user that the cluster began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
}

/// Body of `POST /evenkeel/v1/users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Its name.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]{1,64}$"))]
    pub name: String,
    /// `admin`, `stager` or `readonly`.
    #[schemars(extend("enum" = ["admin", "stager", "readonly"]))]
    pub role: String,
    /// Its password, of at least eight characters; without one only a certificate lets it in.
    #[schemars(regex(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]{8,}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether a client certificate in its name lets it in.
    #[serde(default)]
    pub certificate: bool,
}

/// Body of `PATCH /evenkeel/v1/users/{name}`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// `admin`, `stager` or `readonly`.
    #[schemars(extend("enum" = ["admin", "stager", "readonly", null]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its new password.
    #[schemars(regex(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]{8,}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether a client certificate in its name lets it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<bool>,
}
