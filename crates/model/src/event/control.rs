//! Events of the control stream.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::gate::Gates;
use crate::id::{BootId, Generation, NodeName, OperationId, UserName, Version};
use crate::time::WallTime;
use crate::topology::{MachineId, Topology};
use crate::user::{Account, AccountChange};

/// Events of the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlEvent {
    /// The cluster's first event; a later one replaces the topology.
    TopologySet {
        /// When.
        at: WallTime,
        /// The members.
        topology: Topology,
    },
    /// A user was added, changed or removed.
    UserSet {
        /// When.
        at: WallTime,
        /// Who.
        user: UserName,
        /// What releases before roles check the password of an admin against: a PHC string, argon2id, or a text
        /// that nothing matches.
        password_hash: String,
        /// All of it. None in what those releases recorded: an admin with that password.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<AccountChange>,
        /// Who said so; none for a user that the cluster began with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserName>,
    },
    /// Packages signed with this key are accepted from now on.
    KeyTrusted {
        /// When.
        at: WallTime,
        /// The text of the public-key file.
        public_key: String,
        /// Its id: what signatures and revocations name it by.
        #[serde(default)]
        key_id: String,
        /// What people call it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Who said so; none for a key that the cluster began with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserName>,
    },
    /// Packages signed with this key are refused from now on, whoever trusted it. Final.
    KeyRevoked {
        /// When.
        at: WallTime,
        /// Which.
        key_id: String,
        /// Who said so.
        by: UserName,
    },
    /// How many packages that nothing needs are kept.
    RetentionSet {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// The newest so many stay; none turns the collection off.
        #[serde(default)]
        keep: Option<u32>,
    },
    /// What an update waits for between nodes was set. Plans hold the gates of the moment they are made.
    GatesSet {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// All of them.
        gates: Gates,
    },
    /// Whether disks that hold data are brought up to date with firmware, or spares only, was set. Plans hold what is
    /// set at the moment they are made.
    BackgroundFirmwareSet {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// All disks.
        on: bool,
    },
    /// A person knows of a check's warning and goes on, as long as it is about nothing more.
    WarningAcknowledged {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// Name of the check.
        check: String,
        /// Why it may be so.
        reason: String,
        /// What the warning was about.
        #[serde(default)]
        about: BTreeSet<String>,
    },
    /// An acknowledgement was taken back.
    AcknowledgementWithdrawn {
        /// When.
        at: WallTime,
        /// Who said so.
        by: UserName,
        /// Name of the check.
        check: String,
    },
    /// A node became the coordinator.
    CoordinatorElected {
        /// When.
        at: WallTime,
        /// One more than the last.
        generation: Generation,
        /// Who.
        node: NodeName,
    },
    /// The coordinator stepped down in favour of another node.
    HandedOver {
        /// When.
        at: WallTime,
        /// The generation that ends.
        generation: Generation,
        /// Who should be next.
        to: NodeName,
    },
    /// An operation was admitted.
    OperationStarted {
        /// When.
        at: WallTime,
        /// Its id, and so its stream.
        operation: OperationId,
        /// What kind: the lock matrix is a fold over these.
        kind: OperationKind,
    },
    /// An operation ended.
    OperationEnded {
        /// When.
        at: WallTime,
        /// Which.
        operation: OperationId,
    },
    /// A node's daemon says what it runs, whenever that changed.
    NodeBooted {
        /// When.
        at: WallTime,
        /// Who.
        node: NodeName,
        /// Its boot.
        boot_id: BootId,
        /// Version of the slot that booted; none when its manifest cannot be read.
        version: Option<Version>,
        /// Build version of the daemon.
        daemon: String,
        /// What names its hardware.
        #[serde(default, skip_serializing_if = "MachineId::is_unsaid")]
        machine: MachineId,
    },
}

impl ControlEvent {
    /// A change of a user, which older releases read as well as they can.
    pub fn account(
        at: WallTime,
        user: UserName,
        change: AccountChange,
        by: Option<UserName>,
    ) -> Self {
        Self::UserSet {
            at,
            user,
            password_hash: Account::seen_by_older(&change),
            account: Some(change),
            by,
        }
    }
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Rolls the cluster to a version.
    Update,
    /// Runs the checks alone.
    Validation,
    /// Takes a package in and carries it to every node.
    PackageGet,
    /// Removes a package from every node.
    PackageDelete,
    /// Carries a package that the cluster has to nodes that lack it.
    PackageSync,
    /// Estimates an update, and changes nothing.
    Estimate,
    /// Brings devices up to date with a firmware package.
    Firmware,
}

impl OperationKind {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Validation => "validation",
            Self::PackageGet => "package get",
            Self::PackageDelete => "package delete",
            Self::PackageSync => "package synchronization",
            Self::Estimate => "estimate",
            Self::Firmware => "firmware update",
        }
    }
}
