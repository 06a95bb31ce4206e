//! How nodes come into the cluster and leave it. Each change is one append of the topology, decided on the newest view: of
//! two that exclude each other one wins.

use std::collections::BTreeSet;

use evenkeel_model::{
    Admitted, Control, ControlEvent, Entrant, MembershipError, NodeName, Offer, OperationKind,
    Refusal, Topology, WallTime, code,
};
use evenkeel_record::View;

use super::{Attempt, FrontDoor};

/// What a node that comes says of the release it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Build version of its daemon.
    pub daemon: String,
}

impl FrontDoor {
    /// Gives a token out.
    pub async fn offer(&self, offer: &Offer) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let topology = settled(view, &BTreeSet::new())?;
            let next = topology.with_offer(offer.clone(), at).map_err(refused)?;
            Ok(changed(next, at))
        })
        .await
    }

    /// Lets a node in, by its token. One that is in by the same token is told so again. The topology is the one that it
    /// is in.
    pub async fn admit_node(
        &self,
        entry: &Entrant,
        release: &Release,
    ) -> Result<Topology, Refusal> {
        self.admit(|view, at| {
            let topology = known_topology(view)?;
            let next = match topology.admit(entry, at).map_err(refused)? {
                Admitted::Again => return Ok(Attempt::Nothing(topology.clone())),
                Admitted::Now(next) => *next,
            };
            let replaced = BTreeSet::from([entry.node.name.clone()]);
            settled(view, &replaced)?;
            same_release(view.control(), &replaced, release)?;
            let Attempt::Append {
                operation, batch, ..
            } = changed(next.clone(), at)
            else {
                unreachable!("a change is appended");
            };
            Ok(Attempt::Append {
                operation,
                batch,
                answer: next,
            })
        })
        .await
    }

    /// Takes nodes out: whole pairs, all but one node, or candidates.
    pub async fn remove_nodes(&self, names: &BTreeSet<NodeName>) -> Result<(), Refusal> {
        self.admit(|view, at| {
            let topology = settled(view, names)?;
            let coordinator = view.control().coordinator.as_ref();
            if let Some(coordinator) = coordinator.filter(|it| names.contains(&it.node)) {
                let text = format!(
                    "{} is the coordinator. Stop evenkeeld on it, and ask another node once that one has taken over.",
                    coordinator.node
                );
                return Err(Refusal::new(code::IN_USE, text));
            }
            let next = topology.without(names).map_err(refused)?;
            Ok(changed(next, at))
        })
        .await
    }
}

fn changed(topology: Topology, at: WallTime) -> Attempt<()> {
    Attempt::control(ControlEvent::TopologySet { at, topology })
}

fn known_topology(view: &View) -> Result<&Topology, Refusal> {
    view.control().topology.as_ref().ok_or_else(|| {
        let text = "There is no cluster yet: `evenkeel cluster init` begins one.";
        Refusal::new(code::NO_ENTRY, text)
    })
}

/// The topology, if it may change now: nothing goes on that was decided on it, and the nodes that stay run the same
/// release. What those that leave run does not count.
fn settled<'a>(view: &'a View, leaving: &BTreeSet<NodeName>) -> Result<&'a Topology, Refusal> {
    let topology = known_topology(view)?;
    let control = view.control();
    let mut open = control
        .open
        .iter()
        .filter(|(_, kind)| depends_on_members(**kind));
    if let Some((id, kind)) = open.next() {
        let text = format!(
            "Nodes cannot come or leave while an operation is open that all nodes take part in: {} {id} must end first.",
            kind.as_str()
        );
        return Err(Refusal::new(code::IN_USE, text));
    }
    let builds = builds(control, leaving);
    if builds.len() > 1 {
        let text = format!(
            "Nodes cannot come or leave while the cluster is between two releases ({}): finish the update first.",
            listed(&builds)
        );
        return Err(Refusal::new(code::IN_USE, text));
    }
    Ok(topology)
}

fn depends_on_members(kind: OperationKind) -> bool {
    match kind {
        OperationKind::Update
        | OperationKind::Validation
        | OperationKind::PackageGet
        | OperationKind::PackageDelete
        | OperationKind::PackageSync
        | OperationKind::Firmware => true,
        // It changes nothing, and is about the nodes of its moment.
        OperationKind::Estimate => false,
    }
}

/// What the members' daemons say that they are. One that has said nothing yet does not count: it has just joined.
fn builds<'a>(control: &'a Control, leaving: &BTreeSet<NodeName>) -> BTreeSet<&'a str> {
    let names = control.topology.iter().flat_map(Topology::names);
    names
        .filter(|name| !leaving.contains(*name))
        .filter_map(|name| Some(control.booted.get(name)?.daemon.as_str()))
        .collect()
}

/// A node of another release would leave the cluster between two: much is refused then, and nobody asked for an update.
fn same_release(
    control: &Control,
    replaced: &BTreeSet<NodeName>,
    release: &Release,
) -> Result<(), Refusal> {
    let builds = builds(control, replaced);
    if builds.is_empty() || builds.contains(release.daemon.as_str()) {
        return Ok(());
    }
    let text = format!(
        "The node runs evenkeeld {}, the cluster {}. Install the cluster's release on it, and join again.",
        release.daemon,
        listed(&builds)
    );
    Err(Refusal::new(code::NOT_SUPPORTED, text))
}

fn listed(builds: &BTreeSet<&str>) -> String {
    builds.iter().copied().collect::<Vec<_>>().join(", ")
}

fn refused(error: MembershipError) -> Refusal {
    let (code, hint) = match &error {
        MembershipError::UnknownToken | MembershipError::Expired | MembershipError::Used(_) => (
            code::INVALID_VALUE,
            " `evenkeel cluster token`, on a member, makes a new one.",
        ),
        MembershipError::NotFor { .. } => (
            code::INVALID_VALUE,
            " The name is `node` in evenkeeld.toml.",
        ),
        MembershipError::NameTaken(_) => (
            code::DUPLICATE,
            " Choose another name (`node` in evenkeeld.toml); if this machine is to take that node's place, make the token \
             with `evenkeel cluster replace-node`.",
        ),
        MembershipError::KeyTaken(_) => (
            code::DUPLICATE,
            " Remove the folder `pki.partial` below `data` there, and join again.",
        ),
        MembershipError::AddressTaken { .. } => (
            code::DUPLICATE,
            " Say which address others reach the new node at: --address.",
        ),
        MembershipError::LifTaken { .. } => (code::DUPLICATE, " Choose another name: --lif."),
        MembershipError::HasPartner { .. } | MembershipError::OtherWish { .. } => (
            code::INVALID_VALUE,
            " Both nodes of a pair must name each other, or one of them nobody.",
        ),
        MembershipError::NoNode(_) => (code::NO_ENTRY, " `evenkeel cluster show` lists them."),
        MembershipError::ReplacedMeanwhile(_) => (
            code::IN_USE,
            " `evenkeel cluster show` says what is so now.",
        ),
        MembershipError::TooManyOffers => (code::IN_USE, ""),
        MembershipError::Topology(_) => (
            code::INVALID_VALUE,
            " Pairs leave together; only a cluster of one pair can go down to one node.",
        ),
    };
    let mut text = error.to_string();
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    Refusal::new(code, format!("{text}.{hint}"))
}
