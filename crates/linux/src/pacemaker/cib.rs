//! The cluster's configuration, as `cibadmin --query` gives it: both nodes see the same.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::xml::{child, children, need, score};

/// What of the CIB (the cluster information base) concerns a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cib {
    /// The attributes of its root, as they are: a change of the root must repeat those that it keeps.
    pub(super) root: Vec<(String, String)>,
    /// Which state this is.
    pub(super) version: CibVersion,
    /// Cluster-wide options.
    pub(super) options: BTreeMap<String, String>,
    /// The nodes with their permanent attributes.
    pub(super) nodes: BTreeMap<String, CibNode>,
    /// The resources, in the order of the configuration.
    pub(super) resources: Vec<Resource>,
    /// Where resources like to be.
    pub(super) locations: Vec<Location>,
    /// Pairs of resources that must be on the same node.
    pub(super) together: Vec<(String, String)>,
    /// Defaults of resources' meta attributes.
    pub(super) defaults: BTreeMap<String, String>,
    /// Attributes of nodes that end with their membership.
    pub(super) transient: BTreeMap<String, BTreeMap<String, String>>,
}

/// Counts every change. The three are compared one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CibVersion {
    pub(super) admin_epoch: u64,
    pub(super) epoch: u64,
    pub(super) num_updates: u64,
}

/// A node of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CibNode {
    /// The cluster's id of it.
    pub(super) id: String,
    /// The id of its first set of attributes, if it has any.
    pub(super) set: Option<String>,
    /// Its permanent attributes by name.
    pub(super) attributes: BTreeMap<String, Attribute>,
}

/// A permanent attribute of a node, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) set: String,
    pub(super) id: String,
    pub(super) value: String,
}

/// A resource that is nobody's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) id: String,
    pub(super) kind: ResourceKind,
    pub(super) meta: BTreeMap<String, String>,
}

/// What a resource is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResourceKind {
    Primitive(Primitive),
    Group(Vec<Primitive>),
    /// A clone or a bundle: on several nodes at once.
    Several,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Primitive {
    pub(super) id: String,
    pub(super) class: String,
    pub(super) agent: String,
    pub(super) meta: BTreeMap<String, String>,
    pub(super) parameters: BTreeMap<String, String>,
    /// Seconds between two looks of Pacemaker at it; none where it does not look again.
    pub(super) monitored_every_s: Option<u64>,
}

/// A preference for a node or against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) id: String,
    pub(super) resource: String,
    pub(super) node: String,
    pub(super) score: i64,
}

impl Resource {
    /// Its services; none of those that are on several nodes at once.
    pub(super) fn primitives(&self) -> &[Primitive] {
        match &self.kind {
            ResourceKind::Primitive(primitive) => std::slice::from_ref(primitive),
            ResourceKind::Group(members) => members,
            ResourceKind::Several => &[],
        }
    }
}

impl Primitive {
    /// Whether it is an address that moves.
    pub(super) fn is_address(&self) -> bool {
        self.class == "ocf" && self.agent == "IPaddr2"
    }

    /// Whether it is a fence device.
    pub(super) fn is_fence(&self) -> bool {
        self.class == "stonith"
    }
}

impl Cib {
    /// Reads the root element `cib`.
    pub(super) fn read(root: Node<'_, '_>) -> Result<Self, String> {
        if !root.has_tag_name("cib") {
            return Err(format!("the root is {}, not cib", root.tag_name().name()));
        }
        let configuration = child(root, "configuration").ok_or("there is no configuration")?;
        let section = |tag| child(configuration, tag);
        let constraints = section("constraints");
        let attribute =
            |a: roxmltree::Attribute<'_, '_>| (a.name().to_owned(), a.value().to_owned());
        Ok(Self {
            root: root.attributes().map(attribute).collect(),
            version: CibVersion::read(root)?,
            options: section("crm_config").map(sets).unwrap_or_default(),
            nodes: section("nodes").map_or(Ok(BTreeMap::new()), nodes)?,
            resources: section("resources").map_or(Ok(Vec::new()), resources)?,
            locations: constraints.map_or(Ok(Vec::new()), locations)?,
            together: constraints.map(together).unwrap_or_default(),
            defaults: section("rsc_defaults").map(sets).unwrap_or_default(),
            transient: child(root, "status").map(transient).unwrap_or_default(),
        })
    }

    /// A permanent attribute of a node.
    pub(super) fn attribute(&self, node: &str, name: &str) -> Option<&str> {
        let attribute = self.nodes.get(node)?.attributes.get(name)?;
        Some(&attribute.value)
    }

    /// An attribute of a node that ends with its membership.
    pub(super) fn passing(&self, node: &str, name: &str) -> Option<&str> {
        self.transient.get(node)?.get(name).map(String::as_str)
    }
}

impl CibVersion {
    fn read(root: Node<'_, '_>) -> Result<Self, String> {
        let number = |name| {
            let text = need(root, name)?;
            text.parse()
                .map_err(|_| format!("{name} of the CIB is {text:?}, not a number"))
        };
        Ok(Self {
            admin_epoch: number("admin_epoch")?,
            epoch: number("epoch")?,
            num_updates: number("num_updates")?,
        })
    }
}

/// Name and value of all pairs below the sets of a section. Where two sets have a name, the first is Pacemaker's.
fn sets(section: Node<'_, '_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let pairs = section
        .children()
        .flat_map(|set| children(set, "nvpair").collect::<Vec<_>>());
    for pair in pairs {
        if let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value")) {
            found
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }
    found
}

fn sets_of(node: Node<'_, '_>, tag: &'static str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for set in children(node, tag) {
        for pair in children(set, "nvpair") {
            if let (Some(name), Some(value)) = (pair.attribute("name"), pair.attribute("value")) {
                found
                    .entry(name.to_owned())
                    .or_insert_with(|| value.to_owned());
            }
        }
    }
    found
}

fn nodes(section: Node<'_, '_>) -> Result<BTreeMap<String, CibNode>, String> {
    let mut nodes = BTreeMap::new();
    for node in children(section, "node") {
        let sets: Vec<_> = children(node, "instance_attributes").collect();
        let mut attributes = BTreeMap::new();
        for set in &sets {
            for pair in children(*set, "nvpair") {
                let attribute = Attribute {
                    set: need(*set, "id")?.to_owned(),
                    id: need(pair, "id")?.to_owned(),
                    value: pair.attribute("value").unwrap_or_default().to_owned(),
                };
                let name = need(pair, "name")?.to_owned();
                attributes.entry(name).or_insert(attribute);
            }
        }
        let set = sets.first().map(|set| need(*set, "id")).transpose()?;
        let id = need(node, "id")?.to_owned();
        let set = set.map(str::to_owned);
        let node = (
            need(node, "uname")?.to_owned(),
            CibNode {
                id,
                set,
                attributes,
            },
        );
        nodes.insert(node.0, node.1);
    }
    Ok(nodes)
}

fn resources(section: Node<'_, '_>) -> Result<Vec<Resource>, String> {
    let elements = section.children().filter(Node::is_element);
    elements.map(resource).collect()
}

fn resource(element: Node<'_, '_>) -> Result<Resource, String> {
    let kind = match element.tag_name().name() {
        "primitive" => ResourceKind::Primitive(primitive(element)?),
        "group" => {
            let members = children(element, "primitive").map(primitive);
            ResourceKind::Group(members.collect::<Result<_, _>>()?)
        }
        // Also what a later Pacemaker may invent: it is no pool of ours.
        _ => ResourceKind::Several,
    };
    Ok(Resource {
        id: need(element, "id")?.to_owned(),
        kind,
        meta: sets_of(element, "meta_attributes"),
    })
}

fn primitive(element: Node<'_, '_>) -> Result<Primitive, String> {
    let text = |name| element.attribute(name).unwrap_or_default().to_owned();
    let monitors = child(element, "operations").map(monitor_intervals);
    Ok(Primitive {
        id: need(element, "id")?.to_owned(),
        class: text("class"),
        agent: text("type"),
        meta: sets_of(element, "meta_attributes"),
        parameters: sets_of(element, "instance_attributes"),
        monitored_every_s: monitors.unwrap_or_default().into_iter().min(),
    })
}

fn monitor_intervals(operations: Node<'_, '_>) -> Vec<u64> {
    let monitors = children(operations, "op").filter(|op| op.attribute("name") == Some("monitor"));
    let seconds = monitors.filter_map(|op| interval_s(op.attribute("interval")?));
    seconds.filter(|seconds| *seconds > 0).collect()
}

/// An interval in seconds, rounded up: `30s`, `5min`, `1h`, `500ms`, or a number of seconds.
fn interval_s(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    match text[digits..].trim() {
        "" | "s" | "sec" => Some(number),
        "ms" | "msec" => Some(number.div_ceil(1_000)),
        "us" | "usec" => Some(number.div_ceil(1_000_000)),
        "m" | "min" => number.checked_mul(60),
        "h" | "hr" => number.checked_mul(3_600),
        _ => None,
    }
}

/// Preferences of the plain form: one resource, one node, one score. What rules forbid is told by `crm_mon`, which has
/// them evaluated.
fn locations(section: Node<'_, '_>) -> Result<Vec<Location>, String> {
    let mut locations = Vec::new();
    for element in children(section, "rsc_location") {
        let of = |name| element.attribute(name);
        let (Some(resource), Some(node), Some(text)) = (of("rsc"), of("node"), of("score")) else {
            continue;
        };
        let id = need(element, "id")?;
        let score = score(text).ok_or_else(|| format!("constraint {id} has the score {text:?}"))?;
        locations.push(Location {
            id: id.to_owned(),
            resource: resource.to_owned(),
            node: node.to_owned(),
            score,
        });
    }
    Ok(locations)
}

/// Mandatory colocations, pair by pair; members of a set are chained.
fn together(section: Node<'_, '_>) -> Vec<(String, String)> {
    let mut together = Vec::new();
    for element in children(section, "rsc_colocation") {
        let mandatory = element
            .attribute("score")
            .is_none_or(|text| score(text).is_some_and(|score| score >= super::xml::INFINITY));
        if !mandatory {
            continue;
        }
        if let (Some(one), Some(other)) = (element.attribute("rsc"), element.attribute("with-rsc"))
        {
            together.push((one.to_owned(), other.to_owned()));
        }
        let members = children(element, "resource_set")
            .flat_map(|set| children(set, "resource_ref").collect::<Vec<_>>())
            .filter_map(|member| member.attribute("id"));
        let members: Vec<&str> = members.collect();
        let pairs = members.windows(2);
        together.extend(pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned())));
    }
    together
}

fn transient(status: Node<'_, '_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let states = children(status, "node_state");
    let named = states.filter_map(|state| {
        let attributes = child(state, "transient_attributes")?;
        let name = state.attribute("uname")?.to_owned();
        Some((name, sets_of(attributes, "instance_attributes")))
    });
    named.collect()
}
