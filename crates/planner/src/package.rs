//! Package get, package delete, and the synchronization of a package.

use evenkeel_model::{
    CatalogueEvent, Digest, GetSource, JobOutcome, NodeName, OperationEnd, OperationEvent, Request,
    SourceVersions, Transfer, TransferSource, Version, code,
};

use crate::carry::{
    Holders, holders, list, needs_a_person, patience, progress, reasons, remedy, size, trouble,
    waits,
};
use crate::input::{Decision, Input};
use crate::next::awaiting;

/// A get ends when every node that answers has the package; the others pull it on their return.
pub(crate) fn get(input: &Input<'_>, receiver: &NodeName) -> Decision {
    let Some((digest, version)) = &input.operation.staged else {
        return receiving(input, receiver);
    };
    let holders = holders(input.topology, input.observations, *digest);
    if !is_over(input, &holders, *digest) {
        return Decision::waits(waits(input, &holders.without, *digest, version));
    }
    let refused = holders
        .without
        .iter()
        .find_map(|node| Some((*node, trouble(input.observations, node, *digest)?)))
        .filter(|(_, trouble)| needs_a_person(trouble));
    if let Some((node, trouble)) = refused {
        let message = format!(
            "Package {version} is in the repository, but not on {}.{} {}",
            list(&holders.without),
            reasons(input, &holders.without, *digest),
            remedy(node, Some(trouble)),
        );
        return failed(input, trouble.code, message);
    }
    let message = taken_in(input, &holders, *digest, version);
    end(
        input,
        OperationEnd::Completed,
        JobOutcome::Success { message },
    )
}

/// Whether there is nothing more to wait for: every node that answers has the package, or those that do
/// not have said for a while that they will not, or nothing has moved for long.
fn is_over(input: &Input<'_>, holders: &Holders<'_>, digest: Digest) -> bool {
    holders.without.is_empty() || input.idle > patience(input, &holders.without, digest)
}

/// What the job of a get that succeeded says.
fn taken_in(input: &Input<'_>, holders: &Holders<'_>, digest: Digest, version: &Version) -> String {
    let missing = [holders.without.clone(), holders.silent.clone()].concat();
    let nowhere = no_way_from_here(input, digest);
    let remark = input.operation.remark.as_ref();
    if missing.is_empty() && nowhere.is_none() && remark.is_none() {
        return "success".to_owned();
    }
    let mut message = format!("Package {version} is in the repository.");
    if let Some(remark) = remark {
        message += &format!(" The download {remark}.");
    }
    if !missing.is_empty() {
        message += &format!(
            " Not yet on {}: down or not answering; it is pulled on return.",
            list(&missing)
        );
        message += &reasons(input, &holders.without, digest);
    }
    message + &nowhere.unwrap_or_default()
}

/// Says so when no node can be updated to the package from what it runs.
fn no_way_from_here(input: &Input<'_>, digest: Digest) -> Option<String> {
    let summary = &input.catalogue.packages.get(&digest)?.package.summary;
    let runs: Vec<&Version> = input
        .topology
        .names()
        .filter_map(|node| match input.seen(node).map(|seen| &seen.version) {
            Some(version) => version.known(),
            None => input.control.booted.get(node)?.version.as_ref(),
        })
        .collect();
    let fits = |v: &&Version| **v == summary.version || summary.source_versions.allows(v);
    if runs.is_empty() || runs.iter().any(fits) {
        return None;
    }
    let takes = match &summary.source_versions {
        SourceVersions::Only(versions) if !versions.is_empty() => {
            let texts: Vec<&str> = versions.iter().map(Version::as_str).collect();
            format!("it takes {}", texts.join(", "))
        }
        SourceVersions::Only(_) => "it serves for first installation only".to_owned(),
        SourceVersions::Any => return None,
    };
    let mut texts: Vec<&str> = runs.iter().map(|v| v.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    Some(format!(
        " No node can be updated to it directly: {takes}; the nodes run {}.",
        texts.join(", ")
    ))
}

/// Before the package is durable, its receiver drives. A receiver that is gone does not come back to it:
/// its daemon ends its own gets at start, and whoever coordinates ends those of a silent node.
fn receiving(input: &Input<'_>, receiver: &NodeName) -> Decision {
    let silence = input.silence(receiver);
    if silence > input.tunables.silence {
        let message = format!("Node \"{receiver}\" went away while it received the package.");
        return failed(input, code::GET_FAILED, message);
    }
    // What is pulled from other nodes comes beside it.
    let seen = input.seen(receiver);
    let mut transfers = seen.into_iter().flat_map(|seen| &seen.transfers);
    let ours = transfers.find(|t| !matches!(t.source, TransferSource::Pull { .. }));
    let what = format!("node \"{receiver}\" to receive and verify the package");
    let mut wait = awaiting(input, what, &sender(input, receiver, ours));
    wait.node = Some(receiver.clone());
    wait.seen = ours.map(progress);
    Decision::wait(wait)
}

/// Who can make it go on.
fn sender(input: &Input<'_>, receiver: &NodeName, transfer: Option<&Transfer>) -> String {
    let source = match &input.operation.request {
        Request::Get { source, .. } => source,
        Request::Update(_)
        | Request::Estimate(_)
        | Request::Validate { .. }
        | Request::Delete { .. }
        | Request::Sync { .. }
        | Request::Firmware { .. } => return String::new(),
    };
    match source {
        GetSource::Upload => {
            "The client that sends it. One that is silent for a minute is given up.".to_owned()
        }
        GetSource::Download { url, .. } => match transfer.and_then(|it| it.trouble.as_ref()) {
            None => "The server that sends it.".to_owned(),
            Some(_) => format!(
                "Make sure that node \"{receiver}\" can reach {url} and that it is served. The download goes on \
                 by itself then, and fails after its last try."
            ),
        },
    }
}

/// A synchronization ends when every node that answers has the package, or when nothing moves any more:
/// it must not stand in the way of an update for ever.
pub(crate) fn sync(input: &Input<'_>, digest: Digest, version: &Version) -> Decision {
    let Some(entry) = input.catalogue.packages.get(&digest) else {
        let message = format!("Package {version} is not in the repository any more.");
        return failed(input, code::NO_PACKAGE, message);
    };
    let holders = holders(input.topology, input.observations, digest);
    if holders.without.is_empty() {
        let message = "success".to_owned();
        return end(
            input,
            OperationEnd::Completed,
            JobOutcome::Success { message },
        );
    }
    if is_over(input, &holders, digest) {
        let troubles = holders.without.iter();
        let mut troubles = troubles.filter_map(|node| trouble(input.observations, node, digest));
        let code = troubles.next().map_or(code::GET_FAILED, |t| t.code);
        let message = format!(
            "Package {version} ({}) did not come to {}.{} It is tried again later.",
            size(entry.package.archive_bytes),
            list(&holders.without),
            reasons(input, &holders.without, digest),
        );
        return failed(input, code, message);
    }
    Decision::waits(waits(input, &holders.without, digest, version))
}

/// A delete leaves the catalogue first, so that nodes which return drop their copy too.
pub(crate) fn delete(input: &Input<'_>, digest: Digest) -> Decision {
    if input.catalogue.packages.contains_key(&digest) {
        let removed = CatalogueEvent::PackageRemoved {
            at: input.wall,
            digest,
        };
        return Decision {
            catalogue: vec![removed],
            ..Decision::default()
        };
    }
    let holders = holders(input.topology, input.observations, digest);
    if holders.with.is_empty() {
        let message = match holders.silent.as_slice() {
            [] => "success".to_owned(),
            nodes => format!(
                "The package is removed{}. Not yet from {}: down or not answering; it is removed \
                 on return.",
                removed_from(&holders),
                list(nodes)
            ),
        };
        return end(
            input,
            OperationEnd::Completed,
            JobOutcome::Success { message },
        );
    }
    if input.idle > input.tunables.silence {
        return kept(input, &holders, digest);
    }
    let waits = holders
        .with
        .iter()
        .map(|node| {
            let what = format!("node \"{node}\" to remove the package");
            let trouble = trouble(input.observations, node, digest);
            let unblock = match trouble {
                None => "The node removes it by itself.",
                Some(_) => "Mend what keeps the node from it: it tries on by itself.",
            };
            let mut wait = awaiting(input, what, unblock);
            wait.node = Some((*node).clone());
            wait.seen = trouble.map(|trouble| trouble.message.clone());
            wait.remaining = Some(input.tunables.silence.saturating_sub(input.idle));
            wait
        })
        .collect();
    Decision::waits(waits)
}

/// The outcome on every node, where some have kept the package for too long.
fn kept(input: &Input<'_>, holders: &Holders<'_>, digest: Digest) -> Decision {
    let why = reasons(input, &holders.with, digest);
    let nodes = list(&holders.with);
    let (code, what) = match holders.with.as_slice() {
        _ if why.is_empty() => (
            code::DELETE_TIMED_OUT,
            format!("Package delete operation timed out on {nodes}."),
        ),
        [_] => (code::CLEANUP_NODE, cleaning(&nodes, &why)),
        _ => (code::CLEANUP_NODES, cleaning(&nodes, &why)),
    };
    let mut message = what;
    if !holders.without.is_empty() {
        message += &format!(" Removed{}.", removed_from(holders));
    }
    if !holders.silent.is_empty() {
        message += &format!(" Down or not answering: {}.", list(&holders.silent));
    }
    message += " Nodes that still have it go on removing it by themselves.";
    failed(input, code, message)
}

fn cleaning(nodes: &str, why: &str) -> String {
    format!("Error in cleaning up package information on {nodes}.{why}")
}

fn removed_from(holders: &Holders<'_>) -> String {
    match holders.without.as_slice() {
        [] => String::new(),
        nodes => format!(" from {}", list(nodes)),
    }
}

pub(crate) fn failed(input: &Input<'_>, code: u32, message: String) -> Decision {
    let end_ = OperationEnd::Failed {
        code,
        message: message.clone(),
    };
    end(input, end_, JobOutcome::Failure { code, message })
}

pub(crate) fn end(input: &Input<'_>, end: OperationEnd, outcome: JobOutcome) -> Decision {
    let at = input.wall;
    let closed = input
        .operation
        .open_jobs()
        .map(|job| OperationEvent::JobClosed {
            at,
            job: job.id,
            outcome: outcome.clone(),
        });
    let mut events: Vec<OperationEvent> = closed.collect();
    events.push(OperationEvent::ended(at, end));
    Decision::events(events)
}
