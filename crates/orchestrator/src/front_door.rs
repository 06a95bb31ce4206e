//! Admits what users ask for. An id that is returned here is durable.

use std::sync::Arc;

use evenkeel_interconnect::AgentClient;
use evenkeel_model::{
    CatalogueEvent, ControlEvent, Digest, GetSource, JobId, JobOutcome, NodeName, Operation,
    OperationEnd, OperationEvent, OperationId, OperationState, PackageRef, PauseCause, PausePoint,
    Refusal, Request, Sabotage, UpdateRequest, UserName, Version, WallTime, code,
};
use evenkeel_planner::Tunables;
use evenkeel_record::{AppendError, Fence, Follower, Record, View, Writer};
use evenkeel_seam::watch;
use evenkeel_seam::{Clock, Ids};
use uuid::Uuid;

use crate::admission::{UpdateAction, not_there_yet, package, possible, update_for};
use crate::commit::{Batch, CommitError, commit};
use crate::elect::{Parts, Role};
use crate::gates::{GatesChange, changed};

/// Tries against others who append at the same time.
const TRIES: u32 = 20;

/// Admission, on every node.
#[derive(Clone)]
pub struct FrontDoor {
    pub(crate) me: NodeName,
    pub(crate) record: Arc<dyn Record>,
    pub(crate) agents: Arc<dyn AgentClient>,
    pub(crate) follower: Arc<Follower>,
    writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) tunables: Tunables,
}

/// A package get that was admitted: its receiver ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetTicket {
    /// The operation.
    pub operation: OperationId,
    /// Its job.
    pub job: JobId,
}

/// A package get that a daemon left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleGet {
    /// Which.
    pub ticket: GetTicket,
    /// Where its package comes from.
    pub source: GetSource,
}

/// What one try of an admission appends, or that nothing is left to do.
pub(crate) enum Attempt<T> {
    Append {
        /// Whose events are among the batch's, if any are an operation's.
        operation: Option<OperationId>,
        batch: Batch,
        answer: T,
    },
    Nothing(T),
}

impl Attempt<()> {
    pub(crate) fn control(event: ControlEvent) -> Self {
        let batch = Batch {
            control: vec![event],
            ..Batch::default()
        };
        Self::Append {
            operation: None,
            batch,
            answer: (),
        }
    }
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

/// A public key to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The text of the public-key file.
    pub public_key: String,
    /// Its id.
    pub key_id: String,
    /// What people call it.
    pub name: Option<String>,
}

impl FrontDoor {
    /// Admission through the parts of this node's orchestrator.
    pub fn new(parts: &Parts, role: watch::Receiver<Role>) -> Self {
        let record: Arc<dyn Record> = Arc::clone(&parts.record);
        Self {
            me: parts.me.clone(),
            record: Arc::clone(&parts.record),
            agents: Arc::clone(&parts.agents),
            follower: Arc::clone(&parts.follower),
            writer: Writer::new(record, Arc::clone(&parts.ids)),
            clock: Arc::clone(&parts.clock),
            ids: Arc::clone(&parts.ids),
            role,
            tunables: parts.tunables,
        }
    }

    /// Starts an update.
    pub async fn start_update(
        &self,
        request: UpdateRequest,
        by: UserName,
    ) -> Result<JobId, Refusal> {
        let fits = |view: &View| {
            possible(view, &request)?;
            package(view, &request.version)?;
            not_there_yet(view, &request)
        };
        let description = "PATCH /api/cluster/software";
        self.start(Request::Update(request.clone()), by, description, fits)
            .await
            .map(|t| t.job)
    }

    /// Starts a validation.
    pub async fn validate(&self, version: Version, by: UserName) -> Result<JobId, Refusal> {
        let fits = |view: &View| package(view, &version).map(drop);
        let request = Request::Validate {
            version: version.clone(),
        };
        let description = "PATCH /api/cluster/software?validate_only=true";
        self.start(request, by, description, fits)
            .await
            .map(|ticket| ticket.job)
    }

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

    pub(crate) async fn start(
        &self,
        request: Request,
        by: UserName,
        description: &str,
        fits: impl Fn(&View) -> Result<(), Refusal>,
    ) -> Result<GetTicket, Refusal> {
        let operation = OperationId(self.ids.uuid());
        let job = JobId(self.ids.uuid());
        let ticket = GetTicket { operation, job };
        self.admit(|view, at| {
            if view.operation(operation).is_some() {
                return Ok(Attempt::Nothing(ticket));
            }
            fits(view)?;
            let kind = request.kind();
            view.control().admits(kind)?;
            let (request, by) = (request.clone(), by.clone());
            let description = description.to_owned();
            let batch = Batch {
                control: vec![ControlEvent::OperationStarted {
                    at,
                    operation,
                    kind,
                }],
                catalogue: Vec::new(),
                operation: vec![
                    OperationEvent::Requested { at, by, request },
                    OperationEvent::JobOpened {
                        at,
                        job,
                        description,
                    },
                ],
            };
            Ok(Attempt::Append {
                operation: Some(operation),
                batch,
                answer: ticket,
            })
        })
        .await
    }

    /// Pauses, resumes or cancels the open update. The job succeeds with the acceptance.
    pub async fn act(&self, action: UpdateAction, by: UserName) -> Result<JobId, Refusal> {
        let job = JobId(self.ids.uuid());
        self.admit(|view, at| {
            if view.operation_of(job).is_some() {
                return Ok(Attempt::Nothing(job));
            }
            let update = update_for(view, action)?;
            let by = by.clone();
            let (event, query) = match action {
                UpdateAction::Pause => (OperationEvent::PauseRequested { at, by }, "pause"),
                UpdateAction::Resume => (
                    OperationEvent::Resumed {
                        at,
                        by,
                        anew: plans_anew(view, update),
                    },
                    "resume",
                ),
                UpdateAction::Cancel => (OperationEvent::CancelRequested { at, by }, "cancel"),
            };
            let description = format!("PATCH /api/cluster/software?action={query}");
            let outcome = JobOutcome::Success {
                message: "success".to_owned(),
            };
            let operation = vec![
                OperationEvent::JobOpened {
                    at,
                    job,
                    description,
                },
                event,
                OperationEvent::JobClosed { at, job, outcome },
            ];
            let batch = Batch {
                operation,
                ..Batch::default()
            };
            Ok(Attempt::Append {
                operation: Some(update.id),
                batch,
                answer: job,
            })
        })
        .await
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
            let known = view.catalogue().packages.contains_key(&digest);
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

    /// Believes signatures of this key from now on. A key that is trusted already is success without work.
    pub async fn trust_key(&self, key: NewKey, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            match view.control().key(&key.key_id) {
                Some(known) if known.revoked.is_some() => {
                    let text = format!(
                        "Key {} was revoked, and stays so. Sign with a new key.",
                        key.key_id
                    );
                    return Err(Refusal::new(code::INVALID_VALUE, text).about("public_key"));
                }
                Some(_) => return Ok(Attempt::Nothing(())),
                None => {}
            }
            let event = ControlEvent::KeyTrusted {
                at,
                public_key: key.public_key.clone(),
                key_id: key.key_id.clone(),
                name: key.name.clone(),
                by: Some(by.clone()),
            };
            Ok(Attempt::control(event))
        })
        .await
    }

    /// Refuses what this key signed from now on. Final; revoking it again is success without work.
    pub async fn revoke_key(&self, key_id: &str, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| match view.control().key(key_id) {
            None => {
                let text = format!("Key {key_id} is not known.");
                Err(Refusal::new(code::NO_ENTRY, text).about("key_id"))
            }
            Some(key) if key.revoked.is_some() => Ok(Attempt::Nothing(())),
            Some(_) => Ok(Attempt::control(ControlEvent::KeyRevoked {
                at,
                key_id: key_id.to_owned(),
                by: by.clone(),
            })),
        })
        .await
    }

    /// Says how many packages that nothing needs are kept; none turns the collection off.
    pub async fn set_retention(&self, keep: Option<u32>, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            if view.control().retention == keep {
                return Ok(Attempt::Nothing(()));
            }
            let by = by.clone();
            Ok(Attempt::control(ControlEvent::RetentionSet {
                at,
                by,
                keep,
            }))
        })
        .await
    }

    /// Changes what an update waits for between nodes: one that is planned from now on.
    pub async fn set_gates(&self, change: GatesChange, by: UserName) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let control = view.control();
            let gates = changed(&control.gates, &change)?;
            if gates == control.gates {
                return Ok(Attempt::Nothing(()));
            }
            if control.mixed_daemons() {
                let text = "Gates cannot be changed while nodes run daemons of different releases, or one has \
                            not said which: not every one would understand it.";
                return Err(Refusal::new(code::NOT_SUPPORTED, text));
            }
            let by = by.clone();
            Ok(Attempt::control(ControlEvent::GatesSet { at, by, gates }))
        })
        .await
    }

    pub(crate) async fn fresh(&self) -> Result<Arc<View>, Refusal> {
        self.follower
            .refresh()
            .await
            .map_err(|error| unreachable_record(&error.to_string()))
    }

    /// Decides on a fresh view and appends; decides anew when someone else appended first.
    pub(crate) async fn admit<T>(
        &self,
        decide: impl Fn(&View, WallTime) -> Result<Attempt<T>, Refusal>,
    ) -> Result<T, Refusal> {
        let mut trouble = "others kept writing to it".to_owned();
        for _ in 0..TRIES {
            let view = self.fresh().await?;
            let (operation, batch, answer) = match decide(&view, self.clock.wall())? {
                Attempt::Nothing(answer) => return Ok(answer),
                Attempt::Append {
                    operation,
                    batch,
                    answer,
                } => (operation, batch, answer),
            };
            match commit(&self.writer, &view, Fence::None, operation, batch).await {
                Ok(position) => {
                    // The answer must not be ahead of what this node shows. A record that is lost just now
                    // does not take the acceptance back.
                    let _ = self.follower.at_least(position).await;
                    return Ok(answer);
                }
                Err(_) if Sabotage::AckEarly.is_on() => return Ok(answer),
                Err(CommitError::Append(AppendError::Conflict { .. })) => {}
                Err(CommitError::Append(AppendError::Unknown(why))) => {
                    return Err(unknown_outcome(&why));
                }
                Err(error) => {
                    trouble = error.to_string();
                    break;
                }
            }
        }
        Err(unreachable_record(&trouble))
    }
}

/// Who receives the package of an open get.
fn receiver(view: &View, ticket: GetTicket) -> Result<NodeName, Refusal> {
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
        | Request::Sync { .. } => None,
    }
}

/// Whether a resume plans anew: the update stands at the point before its first effect, or the gates were
/// changed since it was planned. Not while a daemon of an older release could read that.
fn plans_anew(view: &View, update: &Operation) -> bool {
    let cause = PauseCause::User {
        point: PausePoint::Validation,
    };
    let stands_there = update.state == OperationState::Paused { cause };
    let control = view.control();
    let gates = update.plan.as_ref().map(|plan| &plan.gates);
    let anew = (stands_there && update.tasks.is_empty())
        || gates.is_some_and(|gates| !gates.same(&control.gates));
    anew && !control.mixed_daemons()
}

/// The record went silent while it was written to: "nothing was changed" might be a lie.
fn unknown_outcome(why: &str) -> Refusal {
    let text = format!(
        "Whether the request was accepted is not known: {why}. Look for its job before you try again."
    );
    Refusal::new(code::CANNOT_CREATE_TASK, text)
}

fn unreachable_record(why: &str) -> Refusal {
    let text =
        format!("The cluster's record cannot be written: {why}. Nothing was changed; try again.");
    Refusal::new(code::CANNOT_CREATE_TASK, text)
}
