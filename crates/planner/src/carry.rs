//! How packages are on their way to nodes: who has one, who lacks it, how far it is, why it does not come.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use evenkeel_model::{
    Awaiting, ClusterObservation, Digest, NodeName, Operation, OperationState, Request, Topology,
    Transfer, TransferSource, Trouble, code,
};

use crate::checks::NAMED;
use crate::input::Input;
use crate::next::awaiting;
use crate::words::{cut, quoted};

/// Bytes that stand for a whole package in [`moved`].
const ALL: u64 = u64::MAX;
/// Bytes of what one node says of its trouble: it names every other node that it asked.
const REASON_MAX: usize = 400;

/// Nodes that answer, split by whether they hold the package, and those that do not answer.
pub(crate) struct Holders<'a> {
    pub(crate) with: Vec<&'a NodeName>,
    pub(crate) without: Vec<&'a NodeName>,
    pub(crate) silent: Vec<&'a NodeName>,
}

pub(crate) fn holders<'a>(
    topology: &'a Topology,
    observations: &ClusterObservation,
    digest: Digest,
) -> Holders<'a> {
    let mut holders = Holders {
        with: Vec::new(),
        without: Vec::new(),
        silent: Vec::new(),
    };
    for name in topology.names() {
        let seen = observations.get(name).and_then(|seen| seen.known());
        let held = seen.and_then(|seen| seen.packages.known());
        match held.map(|held| held.contains(&digest)) {
            Some(true) => holders.with.push(name),
            Some(false) => holders.without.push(name),
            None => holders.silent.push(name),
        }
    }
    holders
}

/// `"n1", "n2"`, and how many more.
pub(crate) fn list(nodes: &[&NodeName]) -> String {
    quoted(nodes.iter().copied(), NAMED)
}

/// How many bytes of the operation's package each node that answers has: whoever calls
/// [`next()`](crate::next()) measures by it how long nothing has moved. Empty for operations that carry nothing.
pub fn moved(operation: &Operation, observations: &ClusterObservation) -> BTreeMap<NodeName, u64> {
    let digest = match &operation.request {
        Request::Get { .. } => match &operation.staged {
            Some((digest, _)) => *digest,
            None => return BTreeMap::new(),
        },
        Request::Sync { digest, .. } | Request::Firmware { digest, .. } => *digest,
        Request::Update(_)
        | Request::Estimate(_)
        | Request::Validate { .. }
        | Request::Delete { .. } => {
            return BTreeMap::new();
        }
    };
    if matches!(operation.state, OperationState::Ended { .. }) {
        return BTreeMap::new();
    }
    let mut moved = BTreeMap::new();
    for (node, observed) in observations {
        let Some(seen) = observed.known() else {
            continue;
        };
        let held = seen.packages.known().is_some_and(|h| h.contains(&digest));
        let coming = coming(&seen.transfers, digest).map_or(0, |t| t.received_bytes);
        moved.insert(node.clone(), if held { ALL } else { coming });
    }
    moved
}

pub(crate) fn coming(transfers: &[Transfer], digest: Digest) -> Option<&Transfer> {
    transfers.iter().find(|t| t.package == Some(digest))
}

/// Why the package does not come to `node`, by its own word.
pub(crate) fn trouble<'a>(
    observations: &'a ClusterObservation,
    node: &NodeName,
    digest: Digest,
) -> Option<&'a Trouble> {
    observations.get(node)?.known()?.pull_trouble.get(&digest)
}

/// A node that has no room, or refuses the package, does not get it until somebody does something.
pub(crate) fn needs_a_person(trouble: &Trouble) -> bool {
    matches!(trouble.code, code::NO_SPACE | code::PROCESSING_FAILED)
}

/// What ends the trouble.
pub(crate) fn remedy(node: &NodeName, trouble: Option<&Trouble>) -> String {
    match trouble.map(|trouble| trouble.code) {
        Some(code::NO_SPACE) => format!(
            "Free space on node \"{node}\", or delete packages that nobody needs; it is pulled \
             then by itself."
        ),
        Some(code::PROCESSING_FAILED) => {
            "Delete the package, and get one that the nodes accept.".to_owned()
        }
        Some(_) | None => "The node pulls and verifies it by itself.".to_owned(),
    }
}

/// `node "n3": no space`, for the first nodes that say why. They go into the record, which takes no event of
/// any length.
pub(crate) fn reasons(input: &Input<'_>, nodes: &[&NodeName], digest: Digest) -> String {
    let told = nodes.iter().filter_map(|node| {
        let trouble = trouble(input.observations, node, digest)?;
        let why = cut(ended(&trouble.message), REASON_MAX);
        Some(format!(" Node \"{node}\": {why}."))
    });
    told.take(NAMED).collect()
}

fn ended(text: &str) -> &str {
    text.trim_end_matches('.')
}

/// How long nothing may move. Nobody waits for the end of a synchronization but those whom it keeps from an
/// update, so it is given up sooner than a get.
pub(crate) fn bound(input: &Input<'_>) -> Duration {
    match &input.operation.request {
        Request::Sync { .. } => input.tunables.silence,
        Request::Firmware { .. }
        | Request::Get { .. }
        | Request::Update(_)
        | Request::Estimate(_)
        | Request::Validate { .. }
        | Request::Delete { .. } => input.tunables.carry(),
    }
}

/// The same, once what keeps the package from every one of these nodes is known: where only a person can
/// help, the rest of the bound brings nothing.
pub(crate) fn patience(input: &Input<'_>, without: &[&NodeName], digest: Digest) -> Duration {
    let stuck =
        |node: &&NodeName| trouble(input.observations, node, digest).is_some_and(needs_a_person);
    match without.iter().all(stuck) {
        true => bound(input).min(input.tunables.answer()),
        false => bound(input),
    }
}

/// One wait for each node that lacks the package, with how far it is.
pub(crate) fn waits(
    input: &Input<'_>,
    nodes: &[&NodeName],
    digest: Digest,
    name: &dyn Display,
) -> Vec<Awaiting> {
    let left = patience(input, nodes, digest).saturating_sub(input.idle);
    let wait = |node: &&NodeName| {
        let trouble = trouble(input.observations, node, digest);
        let what = format!("package {name} to come to node \"{node}\"");
        let mut wait = awaiting(input, what, &remedy(node, trouble));
        wait.node = Some((*node).clone());
        wait.seen = Some(match trouble {
            Some(trouble) => trouble.message.clone(),
            None => seen(input, node, digest),
        });
        wait.remaining = Some(left);
        wait
    };
    nodes.iter().map(wait).collect()
}

fn seen(input: &Input<'_>, node: &NodeName, digest: Digest) -> String {
    let transfer = input
        .seen(node)
        .and_then(|seen| coming(&seen.transfers, digest));
    match transfer {
        Some(transfer) => progress(transfer),
        None => "nothing of it has come yet".to_owned(),
    }
}

/// `120 of 357 MB from n1, 18 MB/s, about 13 s left`; or, instead of a rate, what keeps it.
pub(crate) fn progress(transfer: &Transfer) -> String {
    let (done, total) = (transfer.received_bytes, transfer.total_bytes);
    let unit = Unit::of(total.unwrap_or(done));
    let mut text = match total {
        Some(total) => format!("{} of {}", unit.number(done), unit.text(total)),
        None => unit.text(done),
    };
    match &transfer.source {
        TransferSource::Pull { from: Some(from) } => text += &format!(" from {from}"),
        TransferSource::Download { host } => text += &format!(" from {host}"),
        TransferSource::Pull { from: None } | TransferSource::Upload => {}
    }
    if let Some(trouble) = &transfer.trouble {
        return text + "; " + trouble;
    }
    let rate = transfer.bytes_per_second;
    if rate == 0 {
        return text + ", standing still";
    }
    text += &format!(", {}/s", Unit::of(rate).text(rate));
    if let Some(left) = total.map(|total| total.saturating_sub(done).div_ceil(rate)) {
        text += &format!(", about {left} s left");
    }
    text
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    Unit::of(bytes).text(bytes)
}

struct Unit {
    bytes: u64,
    name: &'static str,
}

impl Unit {
    fn of(bytes: u64) -> Self {
        let (bytes, name) = match bytes {
            0..1_000_000 => (1_000, "kB"),
            1_000_000..10_000_000_000 => (1_000_000, "MB"),
            _ => (1_000_000_000, "GB"),
        };
        Self { bytes, name }
    }

    fn number(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.bytes)
    }

    fn text(&self, bytes: u64) -> String {
        format!("{} {}", self.number(bytes), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::WallTime;

    #[test]
    fn progress_names_bytes_source_rate_and_time_left() {
        let transfer = Transfer {
            package: None,
            version: None,
            source: TransferSource::Pull {
                from: NodeName::new("n1").ok(),
            },
            received_bytes: 120_000_000,
            total_bytes: Some(357_000_000),
            bytes_per_second: 18_000_000,
            since: WallTime::new(jiff::Timestamp::UNIX_EPOCH),
            trouble: None,
        };
        let text = "120 of 357 MB from n1, 18 MB/s, about 14 s left";
        assert_eq!(progress(&transfer), text);
        let stalled = Transfer {
            total_bytes: None,
            bytes_per_second: 0,
            source: TransferSource::Upload,
            ..transfer.clone()
        };
        assert_eq!(progress(&stalled), "120 MB, standing still");
        let refused = Transfer {
            source: TransferSource::Download { host: "h".into() },
            trouble: Some("h cannot be reached; next try in 4 s, 7 tries left".into()),
            ..transfer
        };
        let text = "120 of 357 MB from h; h cannot be reached; next try in 4 s, 7 tries left";
        assert_eq!(progress(&refused), text);
        assert_eq!(size(12), "1 kB");
        assert_eq!(size(12_000_000_001), "13 GB");
    }
}
