//! What the coordinator starts unasked while nothing is open, and what it must remember for that.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::{
    Catalogue, CatalogueEvent, ClusterObservation, ControlEvent, Digest, JobId, NodeName,
    Operation, OperationEnd, OperationEvent, OperationId, Request, UserName, WallTime,
};
use evenkeel_planner::{HeldOff, Tunables};
use evenkeel_seam::Ids;
use tokio::time::Instant;

use crate::commit::Batch;

/// As whom the coordinator asks.
pub const SELF: &str = "evenkeel";

/// All of it can be lost: a new coordinator tries a synchronization once, and rests anew.
pub(crate) struct Memory {
    /// Since when nothing is open.
    resting: Instant,
    /// Synchronizations that failed for a node: how often in a row, and when the last one did.
    failed: BTreeMap<(Digest, NodeName), Failed>,
}

struct Failed {
    times: u32,
    at: WallTime,
    since: Instant,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            resting: Instant::now(),
            failed: BTreeMap::new(),
        }
    }

    /// Something is open.
    pub(crate) fn busy(&mut self) {
        self.resting = Instant::now();
    }

    pub(crate) fn rested(&self) -> Duration {
        self.resting.elapsed()
    }

    /// An operation made a step, of which this is the last event. One that carried a package and did not reach
    /// all nodes is not followed by the next one at once.
    pub(crate) fn note(
        &mut self,
        operation: &Operation,
        last: Option<&OperationEvent>,
        observations: &ClusterObservation,
    ) {
        let digest = match &operation.request {
            Request::Sync { digest, .. } => *digest,
            Request::Get { .. } => match &operation.staged {
                Some((digest, _)) => *digest,
                None => return,
            },
            Request::Update(_)
            | Request::Estimate(_)
            | Request::Validate { .. }
            | Request::Firmware { .. }
            | Request::Delete { .. } => return,
        };
        if let Some(OperationEvent::Ended { at, end, .. }) = last {
            self.ended(digest, end, *at, observations);
        }
    }

    fn ended(
        &mut self,
        digest: Digest,
        end: &OperationEnd,
        at: WallTime,
        observations: &ClusterObservation,
    ) {
        match end {
            OperationEnd::Completed | OperationEnd::Failed { .. } => {}
            OperationEnd::Canceled => return,
        }
        for (node, lacks) in lacking(observations, digest) {
            let key = (digest, node);
            if !lacks {
                self.failed.remove(&key);
                continue;
            }
            let since = Instant::now();
            let failed = self.failed.entry(key).or_insert(Failed {
                times: 0,
                at,
                since,
            });
            (failed.times, failed.at, failed.since) = (failed.times + 1, at, since);
        }
    }

    /// Which packages lately did not come to which nodes, and how long that holds the next try off. A node that has a package after
    /// all begins anew.
    pub(crate) fn held_off(
        &mut self,
        observations: &ClusterObservation,
        tunables: &Tunables,
    ) -> BTreeMap<(Digest, NodeName), HeldOff> {
        self.failed.retain(|(digest, node), _| {
            let known = observations.get(node).and_then(|seen| seen.known());
            let held = known.and_then(|seen| seen.packages.known());
            !held.is_some_and(|held| held.contains(digest))
        });
        let waits = self.failed.iter().map(|(key, failed)| {
            let pause = tunables.sync_again(failed.times);
            let remaining = pause.saturating_sub(failed.since.elapsed());
            let since = failed.at;
            (key.clone(), HeldOff { since, remaining })
        });
        waits.collect()
    }
}

/// Nodes that answer, and whether they lack the package.
fn lacking(
    observations: &ClusterObservation,
    digest: Digest,
) -> impl Iterator<Item = (NodeName, bool)> {
    observations.iter().filter_map(move |(node, seen)| {
        let held = seen.known()?.packages.known()?;
        Some((node.clone(), !held.contains(&digest)))
    })
}

/// The operation that does `request`. A synchronization is no request of the API and has no job. A firmware update is
/// its asker's.
pub(crate) fn begin(
    request: Request,
    catalogue: &Catalogue,
    at: WallTime,
    ids: &dyn Ids,
) -> (OperationId, Batch) {
    let operation = OperationId(ids.uuid());
    let kind = request.kind();
    let asked = match &request {
        Request::Firmware { digest, .. } => catalogue.firmware.get(digest),
        Request::Sync { .. }
        | Request::Update(_)
        | Request::Estimate(_)
        | Request::Validate { .. }
        | Request::Delete { .. }
        | Request::Get { .. } => None,
    };
    let by = asked.and_then(|entry| entry.asked.as_ref()).map_or_else(
        || UserName::new(SELF).expect("letters only"),
        |asked| asked.by.clone(),
    );
    let begun = asked.map(|entry| entry.firmware.digest);
    let superseded = begun.into_iter().flat_map(|it| catalogue.superseded_by(it));
    let removed = superseded.map(|digest| CatalogueEvent::FirmwareRemoved { at, digest });
    let begun = begun.map(|digest| CatalogueEvent::FirmwareBegun {
        at,
        digest,
        operation,
    });
    let job = match &request {
        Request::Firmware { file, .. } => Some(OperationEvent::JobOpened {
            at,
            job: JobId(ids.uuid()),
            description: format!("Firmware update with {file}"),
        }),
        Request::Delete { version, .. } => Some(OperationEvent::JobOpened {
            at,
            job: JobId(ids.uuid()),
            description: format!("DELETE /api/cluster/software/packages/{version}"),
        }),
        Request::Sync { .. }
        | Request::Update(_)
        | Request::Estimate(_)
        | Request::Validate { .. }
        | Request::Get { .. } => None,
    };
    let mut events = vec![OperationEvent::Requested { at, by, request }];
    events.extend(job);
    let batch = Batch {
        control: vec![ControlEvent::OperationStarted {
            at,
            operation,
            kind,
        }],
        catalogue: begun.into_iter().chain(removed).collect(),
        operation: events,
    };
    (operation, batch)
}
