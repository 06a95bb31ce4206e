//! Packages: got, deleted, and what became of their copies.

use evenkeel_model::{
    CatalogueEvent, ControlEvent, Digest, GetSource, JobId, JobOutcome, NodeName, OperationEnd,
    OperationEvent, PackageRef, Refusal, Request, Sabotage, UserName, Version, code,
};
use evenkeel_record::View;
use uuid::Uuid;

use super::{Attempt, FrontDoor, GetTicket};
use crate::admission::package;
use crate::commit::Batch;

/// A package get that a daemon left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleGet {
    /// Which.
    pub ticket: GetTicket,
    /// Where its package comes from.
    pub source: GetSource,
}

/// What became of a node's copy of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyNote {
    /// Whose copy.
    pub node: NodeName,
    /// Manifest digest of the package.
    pub digest: Digest,
    /// What became of it.
    pub what: CopyState,
}

/// State of a node's copy of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// It changed on disk, and was put aside.
    Damaged {
        /// What was found.
        why: String,
    },
    /// A verified one took the place of a damaged one.
    Restored,
}

impl FrontDoor {
    /// Removes a package from every node.
    pub async fn delete(&self, version: Version, by: UserName) -> Result<JobId, Refusal> {
        let view = self.fresh().await?;
        let digest = package(&view, &version)?.package.digest;
        let fits = |view: &View| package(view, &version).map(drop);
        let request = Request::Delete {
            digest,
            version: version.clone(),
        };
        let description = format!("DELETE /api/cluster/software/packages/{version}");
        self.start(request, by, &description, fits)
            .await
            .map(|ticket| ticket.job)
    }

    /// Admits a package get that `node` receives. `incarnation` names the daemon that does.
    pub async fn begin_get(
        &self,
        node: NodeName,
        incarnation: Uuid,
        source: GetSource,
        by: UserName,
        description: &str,
    ) -> Result<GetTicket, Refusal> {
        let request = Request::Get {
            node,
            incarnation,
            source,
        };
        self.start(request, by, description, |_| Ok(())).await
    }

    /// The package of a get is verified and durable here. The same package again is success without work;
    /// the same version with other content is refused, and the get ends.
    /// `remark` is what is remarkable about how it came, for the job's message.
    pub async fn staged(
        &self,
        ticket: GetTicket,
        package: PackageRef,
        remark: Option<String>,
    ) -> Result<JobId, Refusal> {
        let staged = self.admit(|view, at| {
            let get = view.operation(ticket.operation);
            if get.is_some_and(|get| get.staged.is_some()) {
                return Ok(Attempt::Nothing(ticket.job));
            }
            let node = receiver(view, ticket)?;
            is_new_or_same(view, &package)?;
            let (digest, version) = (package.digest, package.summary.version.clone());
            let known =
                view.catalogue().packages.contains_key(&digest) || Sabotage::UploadLost.is_on();
            let added = CatalogueEvent::PackageAdded {
                at,
                package: Box::new(package.clone()),
                node,
            };
            let batch = Batch {
                control: Vec::new(),
                catalogue: if known { Vec::new() } else { vec![added] },
                operation: vec![OperationEvent::Staged {
                    at,
                    digest,
                    version,
                    remark: remark.clone(),
                }],
            };
            Ok(Attempt::Append {
                operation: Some(ticket.operation),
                batch,
                answer: ticket.job,
            })
        });
        let staged = staged.await;
        if let Err(refusal) = &staged
            && refusal.code == code::PACKAGE_EXISTS
        {
            self.fail_get(ticket, refusal).await?;
        }
        staged
    }

    /// Ends a get that did not bring a package in.
    pub async fn fail_get(&self, ticket: GetTicket, refusal: &Refusal) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let get = view.operation(ticket.operation);
            if get.is_none_or(|get| get.is_ended() || get.staged.is_some()) {
                return Ok(Attempt::Nothing(()));
            }
            let (code, message) = (refusal.code, refusal.message.clone());
            let outcome = JobOutcome::Failure {
                code,
                message: message.clone(),
            };
            let end = OperationEnd::Failed { code, message };
            let batch = Batch {
                control: vec![ControlEvent::OperationEnded {
                    at,
                    operation: ticket.operation,
                }],
                catalogue: Vec::new(),
                operation: vec![
                    OperationEvent::JobClosed {
                        at,
                        job: ticket.job,
                        outcome,
                    },
                    OperationEvent::ended(at, end),
                ],
            };
            Ok(Attempt::Append {
                operation: Some(ticket.operation),
                batch,
                answer: (),
            })
        })
        .await
    }

    /// Gets that an earlier daemon of this node was receiving: whoever calls goes on with them, or ends them.
    pub async fn stale_gets(
        &self,
        me: &NodeName,
        incarnation: Uuid,
    ) -> Result<Vec<StaleGet>, Refusal> {
        let view = self.fresh().await?;
        let stale = view
            .open_operations()
            .filter(|get| get.staged.is_none())
            .filter_map(|get| {
                let source = stale_source(&get.request, me, incarnation)?.clone();
                let job = get.jobs.first()?.id;
                let operation = get.id;
                let ticket = GetTicket { operation, job };
                Some(StaleGet { ticket, source })
            });
        Ok(stale.collect())
    }

    /// Records what became of a node's copy of a package, for people: a [`CatalogueEvent::CopyDamaged`] or
    /// [`CatalogueEvent::CopyRestored`]. Who holds what is observed, not recorded.
    pub async fn note_copy(&self, note: CopyNote) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let (node, digest) = (note.node.clone(), note.digest);
            let event = match &note.what {
                CopyState::Damaged { why } => CatalogueEvent::CopyDamaged {
                    at,
                    node,
                    digest,
                    why: why.clone(),
                },
                CopyState::Restored => CatalogueEvent::CopyRestored { at, node, digest },
            };
            if !view.catalogue().packages.contains_key(&digest) {
                return Ok(Attempt::Nothing(()));
            }
            let batch = Batch {
                catalogue: vec![event],
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

/// Who receives the package of an open get.
pub(super) fn receiver(view: &View, ticket: GetTicket) -> Result<NodeName, Refusal> {
    match view
        .operation(ticket.operation)
        .map(|get| (&get.request, get.is_ended()))
    {
        Some((Request::Get { node, .. }, false)) => Ok(node.clone()),
        Some(_) | None => Err(Refusal::new(
            code::GET_FAILED,
            "The package get was ended while the package was on its way.",
        )),
    }
}

/// A version names one package only.
fn is_new_or_same(view: &View, package: &PackageRef) -> Result<(), Refusal> {
    let version = &package.summary.version;
    match view.catalogue().by_version(version) {
        Some(known) if known.package.digest != package.digest => {
            let text = "Package image with the same name already exists";
            let text = format!("{text}: version {version}.");
            Err(Refusal::new(code::PACKAGE_EXISTS, text))
        }
        Some(_) | None => Ok(()),
    }
}

/// Where a get comes from that another daemon of this node was receiving.
fn stale_source<'a>(request: &'a Request, me: &NodeName, mine: Uuid) -> Option<&'a GetSource> {
    match request {
        Request::Get {
            node,
            incarnation,
            source,
        } => (node == me && *incarnation != mine).then_some(source),
        Request::Update(_)
        | Request::Estimate(_)
        | Request::Validate { .. }
        | Request::Delete { .. }
        | Request::Sync { .. }
        | Request::Firmware { .. } => None,
    }
}
