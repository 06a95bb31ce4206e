//! Package get and package delete.

use evenkeel_model::{
    CatalogueEvent, Digest, JobOutcome, NodeName, OperationEnd, OperationEvent, Version, code,
};

use crate::input::{Decision, Input};
use crate::next::awaiting;

/// Nodes that answer, split by whether they hold the package, and those that do not answer.
struct Holders<'a> {
    with: Vec<&'a NodeName>,
    without: Vec<&'a NodeName>,
    silent: Vec<&'a NodeName>,
}

fn holders<'a>(input: &Input<'a>, digest: Digest) -> Holders<'a> {
    let mut holders = Holders {
        with: Vec::new(),
        without: Vec::new(),
        silent: Vec::new(),
    };
    for name in input.topology.names() {
        let held = input.seen(name).and_then(|seen| seen.packages.known());
        match held.map(|held| held.contains(&digest)) {
            Some(true) => holders.with.push(name),
            Some(false) => holders.without.push(name),
            None => holders.silent.push(name),
        }
    }
    holders
}

fn list(nodes: &[&NodeName]) -> String {
    let quoted: Vec<String> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
    quoted.join(", ")
}

/// A get ends when every node that answers has the package; the others pull it on their return.
pub(crate) fn get(input: &Input<'_>, receiver: &NodeName) -> Decision {
    let Some((digest, version)) = &input.operation.staged else {
        return receiving(input, receiver);
    };
    let holders = holders(input, *digest);
    let late = holders.without.is_empty() || input.idle > input.tunables.carry();
    if !late {
        let without = list(&holders.without);
        let mut wait = awaiting(
            input,
            format!("package {version} on its way to {without}"),
            "Each node pulls and verifies the package by itself.",
        );
        wait.remaining = Some(input.tunables.carry().saturating_sub(input.idle));
        return Decision::wait(wait);
    }
    let missing: Vec<&NodeName> = [holders.without, holders.silent].concat();
    let message = match missing.as_slice() {
        [] => "success".to_owned(),
        nodes => format!(
            "Package {version} is in the repository. Not yet on {}: down or not \
                          answering; it is pulled on return.",
            list(nodes)
        ),
    };
    end(
        input,
        OperationEnd::Completed,
        JobOutcome::Success { message },
    )
}

/// Before the package is durable, its receiver drives. A receiver that is gone does not come back to it:
/// its daemon ends its own gets at start, and whoever coordinates ends those of a silent node.
fn receiving(input: &Input<'_>, receiver: &NodeName) -> Decision {
    let silence = input.silence(receiver);
    if silence > input.tunables.silence {
        let message = format!("Node \"{receiver}\" went away while it received the package.");
        return failed(input, code::GET_FAILED, message);
    }
    let mut wait = awaiting(
        input,
        format!("node \"{receiver}\" to receive and verify the package"),
        "The client that sends it.",
    );
    wait.node = Some(receiver.clone());
    Decision::wait(wait)
}

/// A synchronization ends when every node that answers has the package, or when nothing moves any more.
pub(crate) fn sync(input: &Input<'_>, digest: Digest, version: &Version) -> Decision {
    let holders = holders(input, digest);
    if holders.without.is_empty() {
        let end = OperationEnd::Completed;
        return Decision::events(vec![OperationEvent::Ended {
            at: input.wall,
            end,
        }]);
    }
    let without = list(&holders.without);
    if input.idle > input.tunables.carry() {
        let message = format!("Package {version} did not come to {without}.");
        let end = OperationEnd::Failed {
            code: code::GET_FAILED,
            message,
        };
        return Decision::events(vec![OperationEvent::Ended {
            at: input.wall,
            end,
        }]);
    }
    let mut wait = awaiting(
        input,
        format!("package {version} on its way to {without}"),
        "Each node pulls and verifies the package by itself.",
    );
    wait.remaining = Some(input.tunables.carry().saturating_sub(input.idle));
    Decision::wait(wait)
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
    let holders = holders(input, digest);
    match holders.with.as_slice() {
        [] => {
            let message = match holders.silent.as_slice() {
                [] => "success".to_owned(),
                nodes => format!(
                    "The package is removed. Not yet from {}: down or not answering; it is removed \
                     on return.",
                    list(nodes)
                ),
            };
            end(
                input,
                OperationEnd::Completed,
                JobOutcome::Success { message },
            )
        }
        nodes if input.idle > input.tunables.silence => {
            let code = if nodes.len() == 1 {
                code::CLEANUP_NODE
            } else {
                code::CLEANUP_NODES
            };
            let message = format!(
                "Error in cleaning up package information on {}.",
                list(nodes)
            );
            failed(input, code, message)
        }
        nodes => {
            let what = format!("{} to remove the package", list(nodes));
            let mut wait = awaiting(input, what, "The nodes remove it by themselves.");
            wait.remaining = Some(input.tunables.silence.saturating_sub(input.idle));
            Decision::wait(wait)
        }
    }
}

fn failed(input: &Input<'_>, code: u32, message: String) -> Decision {
    let end_ = OperationEnd::Failed {
        code,
        message: message.clone(),
    };
    end(input, end_, JobOutcome::Failure { code, message })
}

fn end(input: &Input<'_>, end: OperationEnd, outcome: JobOutcome) -> Decision {
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
    events.push(OperationEvent::Ended { at, end });
    Decision::events(events)
}
