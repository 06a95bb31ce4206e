//! What the coordinator starts while nothing is open: firmware updates that were asked for, carrying packages to
//! nodes that lack them, and, where retention is on, collecting packages that nothing needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::{
    Awaiting, Catalogue, CatalogueEntry, ClusterObservation, Control, Digest, FirmwareAsked,
    FirmwareEntry, NodeName, NodeObservation, Observed, Operation, Request, Topology, Transition,
    Version, WallTime,
};

use crate::bounds::Tunables;
use crate::carry::{coming, holders, needs_a_person, remedy, trouble};
use crate::pair::all_standing;

/// What the choice depends on.
#[derive(Clone, Copy)]
pub struct Leisure<'a> {
    /// The cluster.
    pub topology: &'a Topology,
    /// The control stream's state.
    pub control: &'a Control,
    /// The packages.
    pub catalogue: &'a Catalogue,
    /// What every node sees.
    pub observations: &'a ClusterObservation,
    /// Packages that lately did not come to a node.
    pub held_off: &'a BTreeMap<(Digest, NodeName), HeldOff>,
    /// How long nothing has been open, by the caller's own clock.
    pub rested: Duration,
    /// Bounds.
    pub tunables: Tunables,
}

/// A synchronization that failed for a node is not tried again at once: meanwhile the cluster is free for
/// other work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOff {
    /// When it failed.
    pub since: WallTime,
    /// Until the next one; zero when it is due, unless the node waits for a person.
    pub remaining: Duration,
}

/// What to start, and what is awaited before anything else can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Chores {
    /// The request to admit.
    pub start: Option<Request>,
    /// Packages that are not where they should be, and why nothing is done about it just now.
    pub awaiting: Vec<Awaiting>,
}

/// Chooses. Nothing is started beside an open operation.
pub fn chores(leisure: &Leisure<'_>) -> Chores {
    if !leisure.control.open.is_empty() {
        return Chores::default();
    }
    let mut chores = Chores::default();
    chores.awaiting.extend(not_given_back(leisure));
    match firmware(leisure) {
        Some(Due::Start(request)) => {
            chores.start = Some(request);
            return chores;
        }
        Some(Due::Wait(waits)) => chores.awaiting.extend(waits),
        None => {}
    }
    for entry in in_order(leisure.catalogue) {
        let digest = entry.package.digest;
        let holders = holders(leisure.topology, leisure.observations, digest);
        for node in holders.without {
            match leisure.held_off.get(&(digest, node.clone())) {
                Some(held)
                    if !held.remaining.is_zero() || waits_for_a_person(leisure, node, digest) =>
                {
                    chores.awaiting.push(held_off(leisure, entry, node, held));
                }
                Some(_) | None if chores.start.is_none() => {
                    let version = entry.package.summary.version.clone();
                    chores.start = Some(Request::Sync { digest, version });
                }
                Some(_) | None => {}
            }
        }
    }
    if chores.start.is_none() {
        chores.start = collectable(leisure).map(|entry| Request::Delete {
            digest: entry.package.digest,
            version: entry.package.summary.version.clone(),
        });
    }
    chores
}

/// A firmware update that was asked for.
enum Due {
    Start(Request),
    Wait(Vec<Awaiting>),
}

/// What firmware updates wait for that were asked for, from the record alone: the end of what is open. While nothing
/// is, [`chores`] knows.
pub fn queued<'a>(
    open: impl Iterator<Item = &'a Operation>,
    catalogue: &Catalogue,
) -> Vec<Awaiting> {
    let open: Vec<String> = open.map(named).collect();
    let wait = |(entry, asked): (&FirmwareEntry, &FirmwareAsked)| match open.is_empty() {
        true => {
            let seen = "nothing is open; the coordinator says why it does not begin".to_owned();
            to_begin(asked, seen, "A coordinator that answers.".to_owned())
        }
        false => {
            let behind = format!("{} is under way", open.join(", "));
            let unblock = format!(
                "It begins by itself then; \"evenkeel firmware cancel {}\" withdraws it.",
                as_argument(&asked.file, entry.firmware.digest)
            );
            to_begin(asked, behind, unblock)
        }
    };
    catalogue.firmware_queue().into_iter().map(wait).collect()
}

/// An operation, by what people know it by.
fn named(operation: &Operation) -> String {
    match &operation.request {
        Request::Firmware { file, .. } => format!("the firmware update with {file}"),
        Request::Update(request) => format!("the update to {}", request.version),
        _ => format!("a {}", operation.kind().as_str()),
    }
}

/// The file's name, if a shell takes it as it is; else the digest, which stands for it.
fn as_argument(file: &str, digest: Digest) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    match file.chars().all(plain) && !file.is_empty() && !file.starts_with('-') {
        true => file.to_owned(),
        false => digest.to_string(),
    }
}

fn to_begin(asked: &FirmwareAsked, seen: String, unblock: String) -> Awaiting {
    Awaiting {
        operation: None,
        node: None,
        what: format!("the firmware update with {} to begin", asked.file),
        since: asked.at,
        seen: Some(seen),
        remaining: None,
        unblock,
    }
}

/// The first of those that were asked for.
fn firmware(leisure: &Leisure<'_>) -> Option<Due> {
    let queue = leisure.catalogue.firmware_queue();
    let (entry, asked) = queue.first()?;
    let held_up = all_standing(leisure.topology, leisure.observations)
        .first()
        .map(|takeover| {
            let (node, by) = (&takeover.taken, &takeover.by);
            let seen = format!("node \"{by}\" serves for node \"{node}\"");
            (seen, format!("Give node \"{node}\" back."))
        })
        .or_else(|| {
            let seen = "evenkeeld is of different releases on the nodes".to_owned();
            let unblock = "Finish the update of the cluster.".to_owned();
            leisure.control.mixed_daemons().then_some((seen, unblock))
        });
    let Some((seen, unblock)) = held_up else {
        return Some(Due::Start(Request::Firmware {
            digest: entry.firmware.digest,
            kind: entry.firmware.summary.kind,
            file: asked.file.clone(),
        }));
    };
    let unblock = format!("{unblock} It begins by itself then.");
    let waits = queue
        .iter()
        .map(|(_, asked)| to_begin(asked, seen.clone(), unblock.clone()));
    Some(Due::Wait(waits.collect()))
}

/// Takeovers that stand while no update is open: nobody but a person gives them back.
fn not_given_back(leisure: &Leisure<'_>) -> Vec<Awaiting> {
    let standing = all_standing(leisure.topology, leisure.observations).into_iter();
    let wait = |takeover: &Transition| {
        let (node, by) = (&takeover.taken, &takeover.by);
        let seen_at = match leisure.observations.get(by)? {
            Observed::Known { at, .. } => *at,
            Observed::Unknown { since, .. } => *since,
        };
        Some(Awaiting {
            operation: None,
            node: Some(node.clone()),
            what: format!("node \"{node}\" to be given back"),
            since: seen_at,
            seen: Some(format!(
                "node \"{by}\" serves for it, by no open update's doing"
            )),
            remaining: None,
            unblock: format!(
                "Find out why it was taken over; when node \"{node}\" is in \"waiting for giveback\" state, give it back."
            ),
        })
    };
    standing.filter_map(wait).collect()
}

/// Oldest first.
fn in_order(catalogue: &Catalogue) -> Vec<&CatalogueEntry> {
    let mut entries: Vec<_> = catalogue.packages.values().collect();
    entries.sort_by_key(|entry| entry.order);
    entries
}

/// A node that refuses the package, or has no room, goes on trying by itself. Another synchronization would
/// only keep the cluster from what ends the trouble.
fn waits_for_a_person(leisure: &Leisure<'_>, node: &NodeName, digest: Digest) -> bool {
    let Some(seen) = leisure.observations.get(node).and_then(Observed::known) else {
        return false;
    };
    let trouble = seen.pull_trouble.get(&digest);
    trouble.is_some_and(needs_a_person) && coming(&seen.transfers, digest).is_none()
}

fn held_off(
    leisure: &Leisure<'_>,
    entry: &CatalogueEntry,
    node: &NodeName,
    held: &HeldOff,
) -> Awaiting {
    let trouble = trouble(leisure.observations, node, entry.package.digest);
    let version = &entry.package.summary.version;
    Awaiting {
        operation: None,
        node: Some(node.clone()),
        what: format!("package {version}, which is not on node \"{node}\""),
        since: held.since,
        seen: trouble.map(|trouble| trouble.message.clone()),
        remaining: Some(held.remaining).filter(|left| !left.is_zero()),
        unblock: remedy(node, trouble),
    }
}

/// The oldest package that retention no longer keeps. None while any node's slots are not known: what a
/// node runs or could fall back to must not be guessed.
fn collectable<'a>(leisure: &Leisure<'a>) -> Option<&'a CatalogueEntry> {
    let keep = leisure.control.retention? as usize;
    if leisure.rested < leisure.tunables.collect_after() {
        return None;
    }
    let needed = Needed::of(leisure)?;
    let spare: Vec<_> = in_order(leisure.catalogue)
        .into_iter()
        .filter(|entry| !needed.has(entry))
        .collect();
    let surplus = spare.len().checked_sub(keep)?;
    spare[..surplus].first().copied()
}

/// What some node runs, would boot next, or could fall back to.
#[derive(Default)]
struct Needed<'a> {
    digests: BTreeSet<Digest>,
    versions: BTreeSet<&'a Version>,
}

impl<'a> Needed<'a> {
    fn of(leisure: &Leisure<'a>) -> Option<Self> {
        let mut needed = Self::default();
        for name in leisure.topology.names() {
            needed.add(leisure.observations.get(name)?.known()?)?;
            let booted = leisure.control.booted.get(name);
            needed
                .versions
                .extend(booted.and_then(|booted| booted.version.as_ref()));
        }
        Some(needed)
    }

    fn add(&mut self, seen: &'a NodeObservation) -> Option<()> {
        self.versions.insert(seen.version.known()?);
        let slots = seen.slots.known()?;
        for image in [&slots.a, &slots.b]
            .into_iter()
            .filter_map(|s| s.image.as_ref())
        {
            self.digests.insert(image.digest);
            self.versions.insert(&image.version);
        }
        Some(())
    }

    fn has(&self, entry: &CatalogueEntry) -> bool {
        self.digests.contains(&entry.package.digest)
            || self.versions.contains(&entry.package.summary.version)
    }
}
