//! Firmware packages: taken in, and asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_interconnect::Look;
use evenkeel_model::{
    Awaiting, CatalogueEntry, CatalogueEvent, ControlEvent, Digest, FirmwareRef, FirmwareStatus,
    JobId, JobOutcome, NodeName, Operation, OperationEnd, OperationEvent, OperationKind,
    OperationState, Refusal, Role, UserName, code,
};
use evenkeel_record::View;

use super::packages::receiver;
use super::{Attempt, FrontDoor, GetTicket};
use crate::commit::Batch;
use crate::observe::Observer;

impl FrontDoor {
    /// What a get brought in is firmware, verified and durable here. The get ends with that; the firmware update that it
    /// asks for begins as soon as nothing stands against it. The same firmware again asks for another one.
    ///
    /// `file` is the name that it came under.
    ///
    /// # Errors
    /// While daemons are of different releases it is refused, and the get ends: older ones would not understand it.
    pub async fn firmware_staged(
        &self,
        ticket: GetTicket,
        firmware: FirmwareRef,
        file: String,
    ) -> Result<JobId, Refusal> {
        let staged = self.admit(|view, at| {
            let get = view.operation(ticket.operation);
            if get.is_some_and(has_brought_firmware) {
                return Ok(Attempt::Nothing(ticket.job));
            }
            let node = receiver(view, ticket)?;
            is_understood(view)?;
            let by = match get {
                Some(get) => get.by.clone(),
                None => unreachable!("it has a receiver"),
            };
            let digest = firmware.digest;
            let role = view.control().users.get(&by).map(|account| account.role);
            let may_update = role.is_none_or(|role| role == Role::Admin);
            let mut catalogue = Vec::new();
            if !view.catalogue().firmware.contains_key(&digest) {
                catalogue.push(CatalogueEvent::FirmwareAdded {
                    at,
                    firmware: Box::new(firmware.clone()),
                    node,
                });
            }
            if may_update {
                catalogue.push(CatalogueEvent::FirmwareAsked {
                    at,
                    by,
                    digest,
                    file: file.clone(),
                });
            }
            let follows = match may_update {
                true => "Its firmware update begins as soon as nothing stands against it.",
                false => "To update with it needs the role \"admin\": an admin brings it in again.",
            };
            let message = format!(
                "{file} holds {} and is in the repository. {follows}",
                firmware.summary.kind
            );
            let outcome = JobOutcome::Success { message };
            let batch = Batch {
                control: vec![ControlEvent::OperationEnded {
                    at,
                    operation: ticket.operation,
                }],
                catalogue,
                operation: vec![
                    OperationEvent::JobClosed {
                        at,
                        job: ticket.job,
                        outcome,
                    },
                    OperationEvent::ended(at, OperationEnd::Completed),
                ],
            };
            Ok(Attempt::Append {
                operation: Some(ticket.operation),
                batch,
                answer: ticket.job,
            })
        });
        let staged = staged.await;
        if let Err(refusal) = &staged
            && refusal.code == code::NOT_SUPPORTED
        {
            self.fail_get(ticket, refusal).await?;
        }
        staged
    }
}

/// What became of the firmware that a software package brings.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// What was proven and is durable here, each with the name of its file.
    pub taken: Vec<(String, FirmwareRef)>,
    /// What was refused, a line for each: the path in the package, and why.
    pub refused: Vec<String>,
}

impl FrontDoor {
    /// The package whose firmware this node is to take out now: the newest update was to it, and is completed. Only the
    /// coordinator is asked to, while nothing is open.
    pub fn firmware_to_unpack(&self) -> Option<Digest> {
        let view = self.follower.view();
        let control = view.control();
        let is_ours = control
            .coordinator
            .as_ref()
            .is_some_and(|it| it.node == self.me);
        if !is_ours || !control.open.is_empty() || control.mixed_daemons() {
            return None;
        }
        let (_, entry) = to_unpack(&view)?;
        Some(entry.package.digest)
    }

    /// That the firmware of a package is awaited to be taken out of it.
    pub(crate) fn unpacking(&self, view: &View) -> Option<Awaiting> {
        let (update, entry) = to_unpack(view)?;
        let by = match &view.control().coordinator {
            Some(coordinator) => format!("evenkeeld of node \"{}\"", coordinator.node),
            None => "the coordinator".to_owned(),
        };
        Some(Awaiting {
            operation: None,
            node: None,
            what: format!(
                "the firmware that package {} brings to be taken out of it",
                entry.package.summary.version
            ),
            since: update.ended_at.unwrap_or_else(|| self.clock.wall()),
            seen: None,
            remaining: None,
            unblock: format!(
                "It is done by itself while nothing is open and all nodes run the same evenkeeld. Where it takes \
                 longer than minutes, the log of {by} says why."
            ),
        })
    }

    /// Takes over what came out of a package, and asks for its firmware updates, as who asked for the update to it.
    /// Done once, however often it is called.
    ///
    /// # Errors
    /// While daemons are of different releases, and when the record is out of reach.
    pub async fn firmware_unpacked(
        &self,
        package: Digest,
        unpacked: &Unpacked,
    ) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let entry = view.catalogue().packages.get(&package);
            let update = newest_update(view);
            let (Some(entry), Some(update)) = (entry, update) else {
                return Ok(Attempt::Nothing(()));
            };
            if entry.firmware_unpacked {
                return Ok(Attempt::Nothing(()));
            }
            is_understood(view)?;
            let mut catalogue = vec![CatalogueEvent::FirmwareUnpacked {
                at,
                digest: package,
                node: self.me.clone(),
                refused: unpacked.refused.clone(),
            }];
            let mut known: BTreeSet<Digest> = view.catalogue().firmware.keys().copied().collect();
            for (file, firmware) in &unpacked.taken {
                if known.insert(firmware.digest) {
                    catalogue.push(CatalogueEvent::FirmwareAdded {
                        at,
                        firmware: Box::new(firmware.clone()),
                        node: self.me.clone(),
                    });
                }
                catalogue.push(CatalogueEvent::FirmwareAsked {
                    at,
                    by: update.by.clone(),
                    digest: firmware.digest,
                    file: file.clone(),
                });
            }
            let batch = Batch {
                catalogue,
                ..Batch::default()
            };
            Ok(Attempt::Append {
                operation: None,
                batch,
                answer: (),
            })
        })
        .await
    }
}

/// The newest update, if it is completed, and its package, if that brings firmware that is still in it.
fn to_unpack(view: &View) -> Option<(&Operation, &CatalogueEntry)> {
    let update = newest_update(view)?;
    let entry = view
        .catalogue()
        .packages
        .get(&update.plan.as_ref()?.package)?;
    let brings = !entry.package.summary.firmware.is_empty();
    (brings && !entry.firmware_unpacked).then_some((update, entry))
}

/// The newest update, if it is completed.
fn newest_update(view: &View) -> Option<&Operation> {
    let mut newest_first = view.operations().rev();
    let newest = newest_first.find(|operation| operation.kind() == OperationKind::Update)?;
    let completed = OperationState::Ended {
        end: OperationEnd::Completed,
    };
    (newest.state == completed).then_some(newest)
}

impl FrontDoor {
    /// Ends a firmware update, by its job: nothing more begins, and what is being written comes to its end.
    ///
    /// # Errors
    /// When the job is over, being ended already, or no firmware update's.
    pub async fn cancel_firmware(&self, job: JobId, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let operation = view.operation_of(job);
            let ours = operation.filter(|it| it.kind() == OperationKind::Firmware);
            let Some(operation) = ours else {
                let text = "The job does not support cancel.";
                return Err(Refusal::new(code::JOB_CANNOT_CANCEL, text));
            };
            match &operation.state {
                OperationState::CancelPending => return Ok(Attempt::Nothing(())),
                OperationState::Ended { .. } => {
                    let text = "The job is over, and stays as it is.";
                    return Err(Refusal::new(code::JOB_IS_OVER, text));
                }
                OperationState::Requested
                | OperationState::Validated
                | OperationState::Running
                | OperationState::PausePending
                | OperationState::Paused { .. }
                | OperationState::Replanning => {}
            }
            let by = by.clone();
            let batch = Batch {
                operation: vec![OperationEvent::CancelRequested { at, by }],
                ..Batch::default()
            };
            Ok(Attempt::Append {
                operation: Some(operation.id),
                batch,
                answer: (),
            })
        })
        .await
    }

    /// Takes a firmware update back that was asked for and has not begun. The package stays in the repository.
    ///
    /// # Errors
    /// When none with that package waits.
    pub async fn withdraw_firmware(&self, digest: Digest, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let entry = view.catalogue().firmware.get(&digest);
            if entry.is_none_or(|entry| entry.asked.is_none()) {
                let text = format!(
                    "No firmware update with package {digest} waits to begin: it was withdrawn, or has begun. One \
                     that has begun is ended by its job."
                );
                return Err(Refusal::new(code::NO_ENTRY, text).about("digest"));
            }
            is_understood(view)?;
            let by = by.clone();
            let withdrawn = CatalogueEvent::FirmwareWithdrawn { at, by, digest };
            let batch = Batch {
                catalogue: vec![withdrawn],
                ..Batch::default()
            };
            Ok(Attempt::Append {
                operation: None,
                batch,
                answer: (),
            })
        })
        .await
    }

    /// What every node that answers says of the firmware of its devices.
    pub async fn device_firmware(&self) -> BTreeMap<NodeName, FirmwareStatus> {
        let view = self.follower.view();
        let Some(topology) = &view.control().topology else {
            return BTreeMap::new();
        };
        let mut observer = Observer::new(Arc::clone(&self.agents), Arc::clone(&self.clock));
        let seen = observer.everyone(topology, Look::Itself).await;
        let status = seen.iter().filter_map(|(node, seen)| {
            let status = seen.known()?.firmware.known()?;
            Some((node.clone(), status.clone()))
        });
        status.collect()
    }
}

/// A get that ended well without a software package did: asking again after an unknown outcome finds that.
fn has_brought_firmware(get: &Operation) -> bool {
    let ended = OperationState::Ended {
        end: OperationEnd::Completed,
    };
    get.state == ended && get.staged.is_none()
}

/// Daemons of an older release would not know these events.
fn is_understood(view: &View) -> Result<(), Refusal> {
    match view.control().mixed_daemons() {
        false => Ok(()),
        true => Err(Refusal::new(
            code::NOT_SUPPORTED,
            "Firmware is not taken in, nor withdrawn, while evenkeeld is of different releases on the nodes. Finish the \
             update of the cluster, then do it again.",
        )),
    }
}
