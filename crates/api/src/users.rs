//! Users of the API, under `/evenkeel/v1/users`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// `GET /evenkeel/v1/users`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// By name.
    pub records: Vec<User>,
    /// How many.
    pub num_records: usize,
}

/// A user, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    pub changed_at: String,
    /// By whom; absent for a user that the cluster began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<String>,
}

/// Body of `POST /evenkeel/v1/users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Its name.
    pub name: String,
    /// `admin`, `stager` or `readonly`.
    pub role: String,
    /// Its password; without one only a certificate lets it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether a client certificate in its name lets it in.
    #[serde(default)]
    pub certificate: bool,
}

/// Body of `PATCH /evenkeel/v1/users/{name}`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// `admin`, `stager` or `readonly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its new password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether a client certificate in its name lets it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<bool>,
}
