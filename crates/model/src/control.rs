//! The fold of the control stream: who belongs to the cluster, who coordinates, what is open. The lock
//! matrix lives here: since starting and ending an operation are appends to this stream, two nodes
//! cannot both admit what excludes each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{ControlEvent, OperationKind};
use crate::fold::Illegal;
use crate::gate::Gates;
use crate::id::{BootId, Generation, NodeName, OperationId, UserName, Version};
use crate::refusal::{Refusal, code};
use crate::time::WallTime;
use crate::topology::{MachineId, Topology};
use crate::user::{Account, AccountChange, Role};

/// State of the control stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The members, once the cluster exists.
    pub topology: Option<Topology>,
    /// Who may use the API.
    pub users: BTreeMap<UserName, Account>,
    /// The keys whose signatures are believed, and those that were revoked, in the order of their coming.
    pub trusted_keys: Vec<TrustedKey>,
    /// How many packages that nothing needs are kept; none: all.
    pub retention: Option<u32>,
    /// The newest coordinator's generation.
    pub generation: Generation,
    /// Who coordinates, since when, unless it has handed over.
    pub coordinator: Option<Coordinator>,
    /// Who should coordinate next.
    pub handed_to: Option<NodeName>,
    /// Since when nobody coordinates: the hand-over, or the cluster's beginning.
    pub vacant_since: Option<WallTime>,
    /// Operations that have not ended.
    pub open: BTreeMap<OperationId, OperationKind>,
    /// All operations in the order of their admission.
    pub operations: Vec<(OperationId, OperationKind)>,
    /// What each node runs, by its own word.
    pub booted: BTreeMap<NodeName, Booted>,
    /// What an update waits for between nodes.
    pub gates: Gates,
    /// Firmware goes to spares only, not to disks that hold data.
    pub firmware_spares_only: bool,
    /// Warnings that a person knows of, by check.
    pub acknowledged: BTreeMap<String, Acknowledged>,
}

/// A warning that a person knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Who said so.
    pub by: UserName,
    /// When.
    pub at: WallTime,
    /// Why it may be so.
    pub reason: String,
    /// What the warning may be about: one about more is not covered.
    pub about: BTreeSet<String>,
}

/// A key that was trusted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// What signatures name it by.
    pub key_id: String,
    /// The text of the public-key file.
    pub public_key: String,
    /// What people call it.
    pub name: Option<String>,
    /// Since when it is trusted.
    pub since: WallTime,
    /// Who said so; none for a key that the cluster began with.
    pub by: Option<UserName>,
    /// When and by whom it was revoked: its signatures are refused.
    pub revoked: Option<(WallTime, UserName)>,
}

/// The coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator {
    /// Who.
    pub node: NodeName,
    /// Since when.
    pub since: WallTime,
}

/// What a node said it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booted {
    /// When it said so.
    pub at: WallTime,
    /// Its boot.
    pub boot_id: BootId,
    /// Version of the slot that booted.
    pub version: Option<Version>,
    /// Build version of its daemon.
    pub daemon: String,
    /// What names its hardware; what an earlier boot said of it is kept.
    pub machine: MachineId,
}

impl Control {
    /// Applies the next event.
    pub fn apply(&mut self, event: &ControlEvent) -> Result<(), Illegal> {
        match event {
            ControlEvent::TopologySet { at, topology } => {
                self.topology = Some(topology.clone());
                if self.coordinator.is_none() {
                    self.vacant_since.get_or_insert(*at);
                }
            }
            ControlEvent::UserSet {
                at,
                user,
                password_hash,
                account,
                by,
            } => {
                let older = AccountChange::Set {
                    role: Role::Admin,
                    password_hash: Some(password_hash.clone()),
                    certificate: false,
                };
                self.set_user(*at, user, account.as_ref().unwrap_or(&older), by.as_ref());
            }
            ControlEvent::KeyTrusted {
                at,
                public_key,
                key_id,
                name,
                by,
            } => {
                let same = |known: &TrustedKey| known.public_key == *public_key;
                // A revoked key stays revoked.
                if !self.trusted_keys.iter().any(same) {
                    self.trusted_keys.push(TrustedKey {
                        key_id: key_id.clone(),
                        public_key: public_key.clone(),
                        name: name.clone(),
                        since: *at,
                        by: by.clone(),
                        revoked: None,
                    });
                }
            }
            ControlEvent::KeyRevoked { at, key_id, by } => {
                let known = self.trusted_keys.iter_mut().find(|k| k.key_id == *key_id);
                let Some(key) = known else {
                    let state = format!("no key {key_id} was trusted");
                    return Err(Illegal::new("key_revoked", state));
                };
                key.revoked.get_or_insert((*at, by.clone()));
            }
            ControlEvent::RetentionSet { keep, .. } => self.retention = *keep,
            ControlEvent::GatesSet { gates, .. } => self.gates = gates.clone(),
            ControlEvent::BackgroundFirmwareSet { on, .. } => self.firmware_spares_only = !on,
            ControlEvent::WarningAcknowledged {
                at,
                by,
                check,
                reason,
                about,
            } => {
                let acknowledged = Acknowledged {
                    by: by.clone(),
                    at: *at,
                    reason: reason.clone(),
                    about: about.clone(),
                };
                self.acknowledged.insert(check.clone(), acknowledged);
            }
            ControlEvent::AcknowledgementWithdrawn { check, .. } => {
                if self.acknowledged.remove(check).is_none() {
                    let state = format!("no warning of check \"{check}\" is acknowledged");
                    return Err(Illegal::new("acknowledgement_withdrawn", state));
                }
            }
            ControlEvent::CoordinatorElected {
                at,
                generation,
                node,
            } => {
                self.elect(*at, *generation, node)?;
            }
            ControlEvent::HandedOver { at, generation, to } => {
                self.hand_over(*at, *generation, to)?;
            }
            ControlEvent::OperationStarted {
                operation, kind, ..
            } => {
                self.start(*operation, *kind)?;
            }
            ControlEvent::OperationEnded { operation, .. } => {
                if self.open.remove(operation).is_none() {
                    let state = format!("operation {operation} is not open");
                    return Err(Illegal::new("operation_ended", state));
                }
            }
            ControlEvent::NodeBooted {
                at,
                node,
                boot_id,
                version,
                daemon,
                machine,
            } => {
                let (version, daemon) = (version.clone(), daemon.clone());
                // A daemon of an older release says nothing of it.
                let machine = match self.booted.get(node) {
                    Some(known) if machine.is_unsaid() => known.machine.clone(),
                    Some(_) | None => machine.clone(),
                };
                let booted = Booted {
                    at: *at,
                    boot_id: *boot_id,
                    version,
                    daemon,
                    machine,
                };
                self.booted.insert(node.clone(), booted);
            }
        }
        Ok(())
    }

    fn set_user(
        &mut self,
        at: WallTime,
        user: &UserName,
        change: &AccountChange,
        by: Option<&UserName>,
    ) {
        match change {
            AccountChange::Set {
                role,
                password_hash,
                certificate,
            } => {
                let account = Account {
                    role: *role,
                    password_hash: password_hash.clone(),
                    certificate: *certificate,
                    set_at: at,
                    set_by: by.cloned(),
                };
                self.users.insert(user.clone(), account);
            }
            AccountChange::Removed => drop(self.users.remove(user)),
        }
    }

    fn elect(&mut self, at: WallTime, to: Generation, node: &NodeName) -> Result<(), Illegal> {
        if to != self.generation.next() {
            let state = format!("generation is {}, the elected one is {to}", self.generation);
            return Err(Illegal::new("coordinator_elected", state));
        }
        self.generation = to;
        self.coordinator = Some(Coordinator {
            node: node.clone(),
            since: at,
        });
        self.handed_to = None;
        self.vacant_since = None;
        Ok(())
    }

    fn hand_over(
        &mut self,
        at: WallTime,
        generation: Generation,
        to: &NodeName,
    ) -> Result<(), Illegal> {
        if generation != self.generation {
            let state = format!("generation is {}, not {generation}", self.generation);
            return Err(Illegal::new("handed_over", state));
        }
        self.coordinator = None;
        self.handed_to = Some(to.clone());
        self.vacant_since = Some(at);
        Ok(())
    }

    fn start(&mut self, operation: OperationId, kind: OperationKind) -> Result<(), Illegal> {
        if self.operations.iter().any(|(known, _)| *known == operation) {
            let state = format!("operation {operation} was started before");
            return Err(Illegal::new("operation_started", state));
        }
        if let Err(refusal) = self.admits(kind) {
            return Err(Illegal::new("operation_started", refusal.message));
        }
        self.open.insert(operation, kind);
        self.operations.push((operation, kind));
        Ok(())
    }

    /// The lock matrix: whether an operation of `kind` may start beside what is open. The refusal
    /// names the other operation.
    pub fn admits(&self, kind: OperationKind) -> Result<(), Refusal> {
        for (id, open) in &self.open {
            if let Some((code, text)) = excluded_by(kind, *open) {
                return Err(Refusal::new(
                    code,
                    format!("{text} Operation {id} must end first."),
                ));
            }
        }
        Ok(())
    }

    /// Whether the members' daemons are of different builds, or one is not known: what only the newer
    /// understands must not be recorded yet.
    pub fn mixed_daemons(&self) -> bool {
        let members = self.topology.iter().flat_map(Topology::names);
        let daemon = |name| self.booted.get(name).map(|booted| booted.daemon.as_str());
        let builds: BTreeSet<Option<&str>> = members.map(daemon).collect();
        builds.len() > 1 || builds.contains(&None)
    }

    /// The key of that id, trusted or revoked.
    pub fn key(&self, key_id: &str) -> Option<&TrustedKey> {
        self.trusted_keys.iter().find(|key| key.key_id == key_id)
    }

    /// The operation of `kind` that is open, if one is.
    pub fn open_of(&self, kind: OperationKind) -> Option<OperationId> {
        self.open
            .iter()
            .find(|(_, k)| **k == kind)
            .map(|(id, _)| *id)
    }

    /// The newest operation that is one of `kinds`.
    pub fn newest_of(&self, kinds: &[OperationKind]) -> Option<OperationId> {
        self.operations
            .iter()
            .rev()
            .find(|(_, k)| kinds.contains(k))
            .map(|(id, _)| *id)
    }
}

fn excluded_by(new: OperationKind, open: OperationKind) -> Option<(u32, &'static str)> {
    use OperationKind::{
        Estimate, Firmware, PackageDelete, PackageGet, PackageSync, Update, Validation,
    };
    match (new, open) {
        // It changes nothing, and needs nothing to stay as it is.
        (Estimate, _) | (_, Estimate) => None,
        (PackageDelete, Update) => Some((
            code::DELETE_DURING_UPDATE,
            "Package delete failed since an update is in progress.",
        )),
        (PackageDelete, Validation) => Some((
            code::DELETE_DURING_VALIDATION,
            "Package delete failed since a validation is in progress.",
        )),
        // Packages come, are carried and go beside it: it has its own.
        (PackageGet | PackageDelete | PackageSync, Firmware) | (Firmware, PackageSync) => None,
        (Update | Validation | Firmware, Firmware) => Some((
            code::UPDATE_IN_PROGRESS,
            "Cannot perform this while a firmware update is in progress.",
        )),
        (Update | Validation | PackageGet | PackageSync | Firmware, Update) => Some((
            code::UPDATE_IN_PROGRESS,
            "Cannot perform this when a previous update is still in progress.",
        )),
        (Update | Validation | PackageGet | PackageSync | Firmware, Validation) => {
            Some((code::VALIDATION_IN_PROGRESS, "A validation is in progress."))
        }
        // What a get brings in is carried to the nodes: to these it is a synchronization too.
        (Update | Validation | PackageDelete | PackageSync | Firmware, PackageGet) => Some((
            code::SYNC_IN_PROGRESS,
            "A package get is in progress: what it brings in is synchronized to all nodes.",
        )),
        (Update | Validation | PackageDelete | PackageSync, PackageSync) => Some((
            code::SYNC_IN_PROGRESS,
            "A package synchronization is in progress.",
        )),
        // Another package may come in while one is carried.
        (PackageGet, PackageSync) => None,
        (PackageGet, PackageGet) => Some((
            code::GET_IN_PROGRESS,
            "Software get operation already in progress.",
        )),
        (_, PackageDelete) => Some((code::PACKAGE_BEING_DELETED, "A package is being deleted.")),
    }
}
