//! Typed ids and validated names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// The cluster, for as long as it exists.
    ClusterId
);
uuid_id!(
    /// A controller, for as long as it belongs to the cluster.
    NodeId
);
uuid_id!(
    /// One boot of one controller. A new value is the only proof of a reboot.
    BootId
);
uuid_id!(
    /// One update, validation, package get or package delete.
    OperationId
);
uuid_id!(
    /// A job of the REST API.
    JobId
);
uuid_id!(
    /// One event of the record, chosen before the append so that a retry deduplicates.
    EventId
);
uuid_id!(
    /// One takeover or giveback that we asked for. The HA engine keeps it beside its state, so that a
    /// transition which is ours can be told from one by hand or by a panic.
    TransitionId
);

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The empty string names nothing.
    #[error("{what} is empty")]
    Empty {
        /// What was being named.
        what: &'static str,
    },
    /// Longer than the limit, in bytes.
    #[error("{what} has {length} bytes, more than the {limit} allowed")]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A character that the name may not hold.
    #[error("{what} {value:?} has the character {character:?}, which is not allowed")]
    BadCharacter {
        /// What was being named.
        what: &'static str,
        /// The refused value.
        value: String,
        /// The first offending character.
        character: char,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the length and every character.
            pub fn new(value: impl Into<String>) -> Result<Self, NameError> {
                let value: String = value.into();
                if value.is_empty() {
                    return Err(NameError::Empty { what: $what });
                }
                if value.len() > $limit {
                    let length = value.len();
                    return Err(NameError::TooLong { what: $what, length, limit: $limit });
                }
                let allowed: fn(char) -> bool = $allowed;
                match value.chars().find(|c| !allowed(*c)) {
                    Some(character) => {
                        Err(NameError::BadCharacter { what: $what, value, character })
                    }
                    // Names are in everything that is copied: their copies share one text.
                    None => Ok(Self(value.into())),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::new(s)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(s: String) -> Result<Self, Self::Error> {
                Self::new(s)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

name!(
    /// A controller's name, as in `nodes[].name` of the API.
    NodeName, "node name", 64, is_word
);
name!(
    /// A logical interface: an address that moves between partners.
    LifName, "LIF name", 64, is_word
);
name!(
    /// A storage pool ("aggregate" in the API's texts).
    PoolName, "pool name", 64, is_word
);
name!(
    /// A disk, by serial number: names change over reboots, serials do not.
    DiskSerial, "disk serial", 64, is_word
);
name!(
    /// A user of the REST API.
    UserName, "user name", 64, is_word
);
name!(
    /// A package's version. Opaque: compared byte for byte, never ordered.
    Version, "version", 128, |c| c.is_ascii_graphic() && !matches!(c, '/' | '\\' | '"') || c == ' '
);
name!(
    /// A hardware platform a package is made for, for example `lab-x86_64`.
    PlatformName, "platform", 64, is_word
);
name!(
    /// What a device calls itself and firmware is made for: a drive's product id (`X423_SLTNG1T8SSX`), a shelf's
    /// module (`IOM12`), a service processor's type.
    DeviceModel, "device model", 64, is_word
);
name!(
    /// A revision of a device's firmware, as the device says it (`NA02`, `0300`, `5.8P1`). Which of two is the newer
    /// one: [`FirmwareRevision::order`].
    FirmwareRevision, "firmware revision", 32, is_word
);

/// A SHA-256 digest, shown and stored as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

/// A text that is not 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256 digest of 64 hex digits")]
pub struct DigestError(pub String);

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(s, &mut bytes).map_err(|_| DigestError(s.to_owned()))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &hex::encode(self.0)[..12])
    }
}

/// Counts coordinators. Each new coordinator takes the next value; a lower one is stale everywhere.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of a node's two boot slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first slot.
    A,
    /// The second slot.
    B,
}

impl Slot {
    /// The slot that is not this one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `a` or `b`, as in folder names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
