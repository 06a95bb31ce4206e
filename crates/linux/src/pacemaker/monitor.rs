//! The cluster's state, as `crm_mon` gives it: what its scheduler makes of the CIB.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::Node;

use super::mark::stamp;
use super::xml::{child, children, is_set, is_true, need};

/// What runs where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Monitor {
    /// A designated controller is elected.
    pub(super) controller: bool,
    /// This partition may act.
    pub(super) quorate: bool,
    /// Fencing is armed.
    pub(super) fencing: bool,
    /// The cluster was told to keep its hands off.
    pub(super) maintenance: bool,
    /// The cluster was told to stop everything.
    pub(super) stopping_all: bool,
    /// The nodes by name.
    pub(super) nodes: BTreeMap<String, NodeSeen>,
    /// The primitives by id; of those that are in clones, one instance after the other.
    pub(super) services: BTreeMap<String, ServiceSeen>,
    /// Failed actions, for people.
    pub(super) failures: Vec<Failure>,
    /// Resource and node where it may not run, with the constraint that says so.
    pub(super) bans: Vec<Ban>,
    /// Fencing that happened or is under way, the newest first; or why that is not known.
    pub(super) fences: Result<Vec<Fence>, String>,
}

/// A node as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeSeen {
    pub(super) online: bool,
    pub(super) standby: bool,
    pub(super) maintenance: bool,
    pub(super) pending: bool,
    /// Its state is not known and it is not fenced yet.
    pub(super) unclean: bool,
    pub(super) shutdown: bool,
    pub(super) running: u64,
    pub(super) feature_set: Option<String>,
}

/// A service as the cluster sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceSeen {
    /// Where it is active.
    pub(super) nodes: BTreeSet<String>,
    pub(super) active: bool,
    pub(super) blocked: bool,
    pub(super) failed: bool,
    pub(super) managed: bool,
    /// What is being done to it ("Starting").
    pub(super) pending: Option<String>,
}

/// An action that went wrong and was not cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Resource, action and interval, with `_` between them.
    pub(super) action: String,
    pub(super) node: String,
    pub(super) why: String,
}

impl Failure {
    /// The resource that it was done to.
    pub(super) fn resource(&self) -> &str {
        let resource = self.action.rsplitn(3, '_').nth(2);
        resource.unwrap_or_default()
    }

    /// What failed where, and why.
    pub(super) fn text(&self) -> String {
        let Self { action, node, why } = self;
        format!("the action {action} failed on {node} ({why})")
    }
}

/// A resource may not run on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ban {
    pub(super) id: String,
    pub(super) resource: String,
    pub(super) node: String,
    /// Only the promoted role may not.
    pub(super) promoted_only: bool,
}

/// One fencing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) target: String,
    pub(super) action: String,
    pub(super) status: FenceStatus,
    /// When it was over, by [`stamp`]: comparable with its like. None while it is under way.
    pub(super) completed: Option<String>,
}

/// What came of a fencing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FenceStatus {
    Success,
    Failed,
    Pending,
}

impl Monitor {
    /// Reads the root element `pacemaker-result`.
    pub(super) fn read(root: Node<'_, '_>) -> Result<Self, String> {
        if !root.has_tag_name("pacemaker-result") {
            let tag = root.tag_name().name();
            return Err(format!("the root is {tag}, not pacemaker-result"));
        }
        let summary = child(root, "summary").ok_or("there is no summary")?;
        let options = child(summary, "cluster_options").ok_or("there are no cluster_options")?;
        let controller = child(summary, "current_dc").ok_or("there is no current_dc")?;
        let nodes = child(root, "nodes").ok_or("there are no nodes")?;
        let mut services = BTreeMap::new();
        if let Some(resources) = child(root, "resources") {
            read_services(resources, &mut services)?;
        }
        let section = |tag| child(root, tag);
        Ok(Self {
            controller: is_set(controller, "present"),
            quorate: is_set(controller, "with_quorum"),
            fencing: is_true(need(options, "stonith-enabled")?),
            maintenance: is_true(need(options, "maintenance-mode")?),
            stopping_all: is_true(need(options, "stop-all-resources")?),
            nodes: children(nodes, "node")
                .map(node)
                .collect::<Result<_, _>>()?,
            services,
            failures: section("failures").map(failures).unwrap_or_default(),
            bans: section("bans").map_or(Ok(Vec::new()), bans)?,
            fences: fences(section("fence_history")),
        })
    }

    /// The state after everything that `crm_simulate` foresees, with what does not change taken from the present one.
    pub(super) fn foreseen(&self, root: Node<'_, '_>) -> Result<Self, String> {
        let later = child(root, "revised_cluster_status");
        let later = later.ok_or("there is no revised_cluster_status")?;
        let nodes = child(later, "nodes").ok_or("there are no nodes")?;
        let mut services = BTreeMap::new();
        if let Some(resources) = child(later, "resources") {
            read_services(resources, &mut services)?;
        }
        let nodes = children(nodes, "node").map(node);
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            services,
            ..self.clone()
        })
    }

    /// A node that is a member in good standing.
    pub(super) fn is_up(&self, node: &str) -> bool {
        let node = self.nodes.get(node);
        node.is_some_and(|node| node.online && !node.unclean && !node.pending)
    }
}

fn node(element: Node<'_, '_>) -> Result<(String, NodeSeen), String> {
    let running = need(element, "resources_running")?;
    let seen = NodeSeen {
        online: is_true(need(element, "online")?),
        standby: is_true(need(element, "standby")?) || is_set(element, "standby_onfail"),
        maintenance: is_true(need(element, "maintenance")?),
        pending: is_true(need(element, "pending")?),
        unclean: is_true(need(element, "unclean")?),
        shutdown: is_set(element, "shutdown"),
        running: running
            .parse()
            .map_err(|_| format!("resources_running is {running:?}"))?,
        feature_set: element.attribute("feature_set").map(str::to_owned),
    };
    Ok((need(element, "name")?.to_owned(), seen))
}

/// All primitives, also those in groups, clones and bundles.
fn read_services(
    element: Node<'_, '_>,
    services: &mut BTreeMap<String, ServiceSeen>,
) -> Result<(), String> {
    for child in element.children().filter(Node::is_element) {
        if !child.has_tag_name("resource") {
            read_services(child, services)?;
            continue;
        }
        // Instances of a clone are told apart by a number behind the name.
        let id = need(child, "id")?;
        let id = id.split_once(':').map_or(id, |(name, _)| name);
        let one = service(child)?;
        let seen = services
            .entry(id.to_owned())
            .or_insert_with(|| ServiceSeen {
                managed: true,
                ..ServiceSeen::default()
            });
        seen.nodes.extend(one.nodes);
        seen.active |= one.active;
        seen.blocked |= one.blocked;
        seen.failed |= one.failed;
        seen.managed &= one.managed;
        seen.pending = seen.pending.take().or(one.pending);
    }
    Ok(())
}

fn service(element: Node<'_, '_>) -> Result<ServiceSeen, String> {
    let nodes = children(element, "node").filter_map(|node| node.attribute("name"));
    // A look at a service that runs does nothing to it.
    let pending = element
        .attribute("pending")
        .filter(|what| *what != "Monitoring");
    let role = need(element, "role")?;
    let serves = ["Started", "Promoted", "Unpromoted", "Master", "Slave"].contains(&role);
    // What is under way is told by the role, by the attribute, or by both.
    let pending = pending.or((!serves && role != "Stopped").then_some(role));
    Ok(ServiceSeen {
        nodes: nodes.map(str::to_owned).collect(),
        active: is_true(need(element, "active")?) && serves,
        blocked: is_true(need(element, "blocked")?),
        failed: is_true(need(element, "failed")?) && !is_set(element, "failure_ignored"),
        managed: is_true(need(element, "managed")?),
        pending: pending.map(str::to_owned),
    })
}

fn failures(section: Node<'_, '_>) -> Vec<Failure> {
    let text = |element: Node<'_, '_>, names: [&str; 2]| {
        let found = names.iter().find_map(|name| element.attribute(*name));
        found.unwrap_or_default().to_owned()
    };
    let failures = children(section, "failure").map(|element| Failure {
        action: text(element, ["op_key", "id"]),
        node: text(element, ["node", "node"]),
        why: match text(element, ["exitreason", "exitreason"]) {
            reason if reason.is_empty() => text(element, ["exitstatus", "status"]),
            reason => unescaped(&reason),
        },
    });
    failures.collect()
}

/// `crm_mon` 2.1.5 escapes exit reasons twice. One that has none of these words is as it was.
fn unescaped(reason: &str) -> String {
    let words = [
        ("&apos;", "'"),
        ("&quot;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ];
    words
        .iter()
        .fold(reason.to_owned(), |text, (word, c)| text.replace(word, c))
}

fn bans(section: Node<'_, '_>) -> Result<Vec<Ban>, String> {
    let ban = |element| {
        Ok(Ban {
            id: need(element, "id")?.to_owned(),
            resource: need(element, "resource")?.to_owned(),
            node: need(element, "node")?.to_owned(),
            promoted_only: is_set(element, "promoted-only"),
        })
    };
    children(section, "ban").map(ban).collect()
}

/// The section is left out where nothing was ever fenced, and has a status where the fencer did not answer.
fn fences(section: Option<Node<'_, '_>>) -> Result<Vec<Fence>, String> {
    let Some(section) = section else {
        return Ok(Vec::new());
    };
    if let Some(status) = section.attribute("status").filter(|status| *status != "0") {
        return Err(format!(
            "the fencer did not tell its history (status {status})"
        ));
    }
    children(section, "fence_event").map(fence).collect()
}

fn fence(element: Node<'_, '_>) -> Result<Fence, String> {
    let status = match need(element, "status")? {
        "success" => FenceStatus::Success,
        "failed" => FenceStatus::Failed,
        "pending" => FenceStatus::Pending,
        other => return Err(format!("a fencing has the status {other:?}")),
    };
    let completed = element.attribute("completed");
    let stamped = completed.and_then(stamp);
    // Which of two was first must be known: that is the proof of a node's death.
    if status == FenceStatus::Success && stamped.is_none() {
        let text = completed.unwrap_or_default();
        return Err(format!(
            "the fencer says {text:?} of when a fencing was over, which is no time"
        ));
    }
    Ok(Fence {
        target: need(element, "target")?.to_owned(),
        action: need(element, "action")?.to_owned(),
        status,
        completed: stamped,
    })
}
