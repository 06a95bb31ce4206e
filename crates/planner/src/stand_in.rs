//! Whether the partners of a pair could stand in for each other: both see every disk, both reach every broadcast
//! domain, and every LIF has a port to fail over to.

use std::collections::BTreeSet;

use evenkeel_model::{DiskSerial, DiskState, LifState, NodeName, NodeObservation, PortState};

use crate::input::Input;
use crate::lack::Lack;

/// Something that one partner of a pair has and the other lacks.
pub(crate) struct OneSided<'a, T> {
    pub(crate) by: &'a NodeName,
    pub(crate) not_by: &'a NodeName,
    pub(crate) what: &'a T,
}

/// What one partner sees of a kind.
pub(crate) type Side<'a, T> = (&'a NodeName, &'a [T]);

/// The disks that only one of the two sees.
pub(crate) fn hidden_disks<'a>(
    one: Side<'a, DiskState>,
    other: Side<'a, DiskState>,
) -> Vec<OneSided<'a, DiskSerial>> {
    let mut hidden = Vec::new();
    for ((by, seen), (not_by, elsewhere)) in [(one, other), (other, one)] {
        let known: BTreeSet<&DiskSerial> = elsewhere.iter().map(|disk| &disk.serial).collect();
        let missing = seen.iter().map(|disk| &disk.serial);
        let missing = missing.filter(|serial| !known.contains(serial));
        hidden.extend(missing.map(|what| OneSided { by, not_by, what }));
    }
    hidden
}

/// The broadcast domains of one's data ports in which the other has no working port.
pub(crate) fn lost_domains<'a>(
    one: Side<'a, PortState>,
    other: Side<'a, PortState>,
) -> Vec<OneSided<'a, String>> {
    let mut lost = Vec::new();
    for ((by, ports), (not_by, elsewhere)) in [(one, other), (other, one)] {
        let up = elsewhere.iter().filter(|port| port.up);
        let reached: BTreeSet<&String> = up.map(|port| &port.broadcast_domain).collect();
        let domains: BTreeSet<&String> = ports.iter().map(|port| &port.broadcast_domain).collect();
        let missing = domains.difference(&reached).copied();
        lost.extend(missing.map(|what| OneSided { by, not_by, what }));
    }
    lost
}

/// The LIFs that could not fail over.
pub(crate) fn stuck_lifs(lifs: &[LifState]) -> impl Iterator<Item = &LifState> {
    lifs.iter().filter(|lif| !lif.has_failover_target)
}

/// What keeps the partners of the pair of `node` from standing in for each other, as both see it now. Nothing
/// for a node without a partner. What is not known is not health; what a daemon of an older release cannot say
/// of its ports holds nobody up, or such a release could never be left.
pub(crate) fn cannot_stand_in(input: &Input<'_>, node: &NodeName) -> Option<Lack> {
    let partner = input.topology.partner_of(node)?;
    let sides = seen(input, node).and_then(|here| Ok((here, seen(input, partner)?)));
    let (here, there) = match sides {
        Ok(sides) => sides,
        Err(silent) => return Some(silent),
    };
    hidden_disk((node, here), (partner, there))
        .or_else(|| lost_domain((node, here), (partner, there)))
        .or_else(|| stuck_lif(node, here))
}

fn seen<'a>(input: &Input<'a>, node: &NodeName) -> Result<&'a NodeObservation, Lack> {
    let answer = input.observations.get(node).and_then(|seen| seen.known());
    answer.ok_or_else(|| Lack::silent(node, &input.why_silent(node)))
}

/// A disk that the node would lose with one more path.
pub(crate) fn lost_path(node: &NodeName, seen: &NodeObservation) -> Option<Lack> {
    let disks = match seen.disks.as_result() {
        Ok(disks) => disks,
        Err(why) => return Some(Lack::blind(node, "disks", why)),
    };
    let lost = disks.iter().find(|disk| disk.paths < 2 && !disk.failed)?;
    let (serial, paths) = (&lost.serial, lost.paths);
    Some(Lack::new(
        format!("node \"{node}\" has {paths} path(s) to disk {serial}, not two"),
        format!("Repair the path of node \"{node}\" to disk {serial}"),
    ))
}

type Seer<'a> = (&'a NodeName, &'a NodeObservation);

fn hidden_disk(one: Seer<'_>, other: Seer<'_>) -> Option<Lack> {
    for (node, seen) in [one, other] {
        if let Err(why) = seen.disks.as_result() {
            return Some(Lack::blind(node, "disks", why));
        }
    }
    let (here, there) = (one.1.disks.known()?, other.1.disks.known()?);
    let hidden = hidden_disks((one.0, here), (other.0, there));
    let OneSided { by, not_by, what } = hidden.first()?;
    Some(Lack::new(
        format!("node \"{not_by}\" does not see disk {what}, which node \"{by}\" sees"),
        format!(
            "Repair the cabling of node \"{not_by}\", or take disk {what} out: both partners must see every disk"
        ),
    ))
}

fn lost_domain(one: Seer<'_>, other: Seer<'_>) -> Option<Lack> {
    for (node, seen) in [one, other] {
        match seen.ports.as_result() {
            Ok(_) => {}
            Err(_) if seen.ports.is_unsaid() => return None,
            Err(why) => return Some(Lack::blind(node, "ports", why)),
        }
    }
    let (here, there) = (one.1.ports.known()?, other.1.ports.known()?);
    let lost = lost_domains((one.0, here), (other.0, there));
    let OneSided { by, not_by, what } = lost.first()?;
    Some(Lack::new(
        format!(
            "node \"{not_by}\" has no working port in broadcast domain \"{what}\" of node \"{by}\""
        ),
        format!("Bring a port of node \"{not_by}\" in broadcast domain \"{what}\" up"),
    ))
}

fn stuck_lif(node: &NodeName, seen: &NodeObservation) -> Option<Lack> {
    let lifs = match seen.lifs.as_result() {
        Ok(lifs) => lifs,
        Err(why) => return Some(Lack::blind(node, "LIFs", why)),
    };
    let name = &stuck_lifs(lifs).next()?.name;
    Some(Lack::new(
        format!("LIF \"{name}\" has no port to fail over to"),
        format!("Give LIF \"{name}\" a failover target on the partner, in its broadcast domain"),
    ))
}
