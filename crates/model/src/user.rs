//! Who may use the API, and for what.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::UserName;
use crate::time::WallTime;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// See everything, bring packages in, and validate and estimate updates; nothing that touches a node or
    /// what others rely on.
    Stager,
    /// See everything.
    Readonly,
    /// A role of a later release: nothing at all.
    #[serde(other)]
    Unknown,
}

/// A word that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no role: admin, stager and readonly are")]
pub struct NoSuchRole(pub String);

impl Role {
    /// Those that a user can be given.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Stager, Self::Readonly];

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Stager => "stager",
            Self::Readonly => "readonly",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a user of this role may do what `needed` may.
    pub fn covers(self, needed: Self) -> bool {
        match (self, needed) {
            (Self::Unknown, _) | (_, Self::Unknown) => false,
            (Self::Admin, Self::Admin | Self::Stager | Self::Readonly)
            | (Self::Stager, Self::Stager | Self::Readonly)
            | (Self::Readonly, Self::Readonly) => true,
            (Self::Stager, Self::Admin) | (Self::Readonly, Self::Admin | Self::Stager) => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NoSuchRole;
    fn from_str(word: &str) -> Result<Self, NoSuchRole> {
        let named = Self::ALL.into_iter().find(|role| role.as_str() == word);
        named.ok_or_else(|| NoSuchRole(word.to_owned()))
    }
}

/// What is recorded of a user, beside what releases before roles understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "account", rename_all = "snake_case")]
pub enum AccountChange {
    /// The user is this from now on.
    Set {
        /// What it may do.
        role: Role,
        /// PHC string, argon2id; none: no password lets it in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password_hash: Option<String>,
        /// Whether a client certificate in its name lets it in.
        #[serde(default)]
        certificate: bool,
    },
    /// There is no such user any more.
    Removed,
}

/// A user of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What it may do.
    pub role: Role,
    /// PHC string, argon2id; none: no password lets it in.
    pub password_hash: Option<String>,
    /// Whether a client certificate in its name lets it in.
    pub certificate: bool,
    /// When it was set last.
    pub set_at: WallTime,
    /// By whom; none for a user that the cluster began with.
    pub set_by: Option<UserName>,
}

impl Account {
    /// What releases before roles read as the password of an admin: for everybody else a text that no
    /// password matches, so that they let nobody in whom they would take for an admin.
    pub fn seen_by_older(change: &AccountChange) -> String {
        match change {
            AccountChange::Set {
                role: Role::Admin,
                password_hash: Some(hash),
                ..
            } => hash.clone(),
            AccountChange::Set { .. } | AccountChange::Removed => NOBODY.to_owned(),
        }
    }

    /// Whether it can be let in to do everything, with what it knows itself.
    pub fn is_working_admin(&self) -> bool {
        self.role == Role::Admin && self.password_hash.is_some()
    }
}

/// No PHC string: no password matches it.
const NOBODY: &str = "!";
