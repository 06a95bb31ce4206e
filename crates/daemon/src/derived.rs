//! Values that follow the view of the record.

use std::sync::Arc;

use evenkeel_agent::ClusterView;
use evenkeel_interconnect::{Members, members_of};
use evenkeel_model::{Digest, NodeName, Standing};
use evenkeel_record::{Follower, View};
use evenkeel_seam::watch;

/// Where the members are, as the topology changes.
pub(crate) fn members(follower: &Arc<Follower>) -> watch::Receiver<Members> {
    derive(follower, |view, _| match &view.control().topology {
        Some(topology) => members_of(topology),
        None => Members::default(),
    })
}

/// What the agent reports of the cluster.
pub(crate) fn cluster(follower: &Arc<Follower>) -> watch::Receiver<ClusterView> {
    derive(follower, |view, record_reachable| {
        let topology = view.control().topology.iter();
        let members = topology
            .flat_map(|topology| topology.names())
            .cloned()
            .collect();
        ClusterView {
            members,
            record_reachable,
        }
    })
}

/// What the node of this name and key is to the cluster; none while the topology is not known.
pub(crate) fn standing(
    follower: &Arc<Follower>,
    name: NodeName,
    key: Digest,
) -> watch::Receiver<Option<Standing>> {
    derive(follower, move |view, _| {
        let topology = view.control().topology.as_ref();
        topology.map(|topology| topology.standing(&name, Some(key)))
    })
}

/// The host that clients reach that node's API at, by the topology.
pub(crate) fn rest_host(
    follower: &Arc<Follower>,
    name: NodeName,
) -> watch::Receiver<Option<String>> {
    derive(follower, move |view, _| {
        let topology = view.control().topology.as_ref()?;
        let candidate = || Some(&topology.candidate(&name)?.node);
        let node = topology.node(&name).or_else(candidate)?;
        Some(host_of(&node.rest)?.to_owned())
    })
}

/// Of `host:port`.
pub(crate) fn host_of(address: &str) -> Option<&str> {
    let (host, _port) = address.rsplit_once(':')?;
    Some(host.trim_matches(['[', ']']))
}

/// Whether the cluster's duties are that node's.
pub(crate) fn belongs(
    follower: &Arc<Follower>,
    name: NodeName,
    key: Digest,
) -> watch::Receiver<bool> {
    derive(follower, move |view, _| {
        let topology = view.control().topology.as_ref();
        topology.is_none_or(|topology| topology.standing(&name, Some(key)) == Standing::Member)
    })
}

/// A value that follows the view and whether the record is reached.
fn derive<T: PartialEq + Send + Sync + 'static>(
    follower: &Arc<Follower>,
    compute: impl Fn(&View, bool) -> T + Send + 'static,
) -> watch::Receiver<T> {
    let follower = Arc::clone(follower);
    let (mut views, mut contacts) = (follower.views(), follower.contacts());
    let (sender, receiver) =
        watch::channel(compute(&follower.view(), follower.contact().is_reachable()));
    tokio::spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = views.changed() => changed,
                changed = contacts.changed() => changed,
                () = sender.closed() => return,
            };
            if changed.is_err() {
                return;
            }
            let value = compute(&follower.view(), follower.contact().is_reachable());
            sender.send_if_modified(|old| {
                let differs = *old != value;
                *old = value;
                differs
            });
        }
    });
    receiver
}
