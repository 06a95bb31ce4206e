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
    /// What cannot be read and is left out: sentences that say what to do.
    pub(super) strange: Vec<String>,
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
        let named = Named::collect(configuration);
        let (locations, strange) = constraints.map(locations).unwrap_or_default();
        let attribute =
            |a: roxmltree::Attribute<'_, '_>| (a.name().to_owned(), a.value().to_owned());
        Ok(Self {
            root: root.attributes().map(attribute).collect(),
            version: CibVersion::read(root)?,
            options: section("crm_config")
                .map(|s| named.sets(s))
                .unwrap_or_default(),
            nodes: section("nodes").map_or(Ok(BTreeMap::new()), nodes)?,
            resources: section("resources")
                .map_or(Ok(Vec::new()), |section| named.resources(section))?,
            locations,
            together: constraints.map(together).unwrap_or_default(),
            defaults: section("rsc_defaults")
                .map(|s| named.sets(s))
                .unwrap_or_default(),
            strange,
            transient: child(root, "status")
                .map(|status| transient(&named, status))
                .unwrap_or_default(),
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

/// What is written once in the configuration and used by its id elsewhere: templates of primitives, sets, pairs of name and
/// value, operations.
struct Named<'a, 'i>(BTreeMap<&'a str, Node<'a, 'i>>);

impl<'a, 'i> Named<'a, 'i> {
    fn collect(configuration: Node<'a, 'i>) -> Self {
        let all = configuration.descendants();
        Self(
            all.filter_map(|node| Some((node.attribute("id")?, node)))
                .collect(),
        )
    }

    /// The element itself, or the one of its kind that its `id-ref` names.
    fn follow(&self, node: Node<'a, 'i>) -> Node<'a, 'i> {
        let named = node.attribute("id-ref").and_then(|id| self.0.get(id));
        let same = named.filter(|named| named.tag_name() == node.tag_name());
        same.copied().unwrap_or(node)
    }

    /// The children with a tag, each followed.
    fn children(
        &self,
        node: Node<'a, 'i>,
        tag: &'static str,
    ) -> impl Iterator<Item = Node<'a, 'i>> {
        children(node, tag).map(|child| self.follow(child))
    }

    /// Name and value of all pairs in sets. Where two sets have a name, the first is Pacemaker's.
    fn pairs(&self, sets: impl Iterator<Item = Node<'a, 'i>>) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for pair in sets.flat_map(|set| children(set, "nvpair").collect::<Vec<_>>()) {
            let followed = self.follow(pair);
            // A pair that is used elsewhere may have another name there.
            let name = pair.attribute("name").or(followed.attribute("name"));
            if let (Some(name), Some(value)) = (name, followed.attribute("value")) {
                found
                    .entry(name.to_owned())
                    .or_insert_with(|| value.to_owned());
            }
        }
        found
    }

    /// All pairs below the sets of a section, whatever these are called.
    fn sets(&self, section: Node<'a, 'i>) -> BTreeMap<String, String> {
        let sets = section.children().filter(Node::is_element);
        self.pairs(sets.map(|set| self.follow(set)))
    }

    fn sets_of(&self, node: Node<'a, 'i>, tag: &'static str) -> BTreeMap<String, String> {
        self.pairs(self.children(node, tag))
    }

    fn resources(&self, section: Node<'a, 'i>) -> Result<Vec<Resource>, String> {
        let elements = section.children().filter(Node::is_element);
        let elements = elements.filter(|element| !element.has_tag_name("template"));
        elements.map(|element| self.resource(element)).collect()
    }

    fn resource(&self, element: Node<'a, 'i>) -> Result<Resource, String> {
        let meta = || self.sets_of(element, "meta_attributes");
        let (kind, meta) = match element.tag_name().name() {
            "primitive" => {
                let primitive = self.primitive(element)?;
                let meta = primitive.meta.clone();
                (ResourceKind::Primitive(primitive), meta)
            }
            "group" => {
                let members = children(element, "primitive").map(|one| self.primitive(one));
                let members = members.collect::<Result<_, _>>()?;
                (ResourceKind::Group(members), meta())
            }
            // Also what a later Pacemaker may invent: it is no pool of ours.
            _ => (ResourceKind::Several, meta()),
        };
        Ok(Resource {
            id: need(element, "id")?.to_owned(),
            kind,
            meta,
        })
    }

    /// One that is made from a template has what it does not say itself from there.
    fn primitive(&self, element: Node<'a, 'i>) -> Result<Primitive, String> {
        let template = element.attribute("template").and_then(|id| self.0.get(id));
        let template = template.filter(|node| node.has_tag_name("template"));
        let both: Vec<_> = [Some(element), template.copied()]
            .into_iter()
            .flatten()
            .collect();
        let text = |name| {
            let said = both.iter().find_map(|one| one.attribute(name));
            said.unwrap_or_default().to_owned()
        };
        let sets = |tag| self.pairs(both.iter().flat_map(move |one| self.children(*one, tag)));
        let operations = both
            .iter()
            .flat_map(|one| self.children(*one, "operations"));
        let monitors = operations.flat_map(|operations| self.monitor_intervals(operations));
        Ok(Primitive {
            id: need(element, "id")?.to_owned(),
            class: text("class"),
            agent: text("type"),
            meta: sets("meta_attributes"),
            parameters: sets("instance_attributes"),
            monitored_every_s: monitors.min(),
        })
    }

    fn monitor_intervals(&self, operations: Node<'a, 'i>) -> Vec<u64> {
        let all = self.children(operations, "op");
        let monitors = all.filter(|op| op.attribute("name") == Some("monitor"));
        let seconds = monitors.filter_map(|op| interval_s(op.attribute("interval")?));
        seconds.filter(|seconds| *seconds > 0).collect()
    }
}

fn nodes(section: Node<'_, '_>) -> Result<BTreeMap<String, CibNode>, String> {
    let mut nodes = BTreeMap::new();
    for node in children(section, "node") {
        // One that is used from elsewhere cannot be changed here, and what it says is not the node's alone.
        let own = |set: &Node<'_, '_>| set.has_attribute("id");
        let sets = children(node, "instance_attributes").filter(own);
        let sets: Vec<_> = sets.collect();
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
///
/// One whose score cannot be read is left out, and said.
fn locations(section: Node<'_, '_>) -> (Vec<Location>, Vec<String>) {
    let (mut locations, mut strange) = (Vec::new(), Vec::new());
    for element in children(section, "rsc_location") {
        let of = |name| element.attribute(name);
        let (Some(resource), Some(node), Some(text)) = (of("rsc"), of("node"), of("score")) else {
            continue;
        };
        let id = of("id").unwrap_or("without an id");
        let Some(score) = score(text) else {
            strange.push(format!(
                "constraint {id} of {resource} has the score {text:?}, which is none; correct it"
            ));
            continue;
        };
        locations.push(Location {
            id: id.to_owned(),
            resource: resource.to_owned(),
            node: node.to_owned(),
            score,
        });
    }
    (locations, strange)
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

fn transient<'a, 'i>(
    named: &Named<'a, 'i>,
    status: Node<'a, 'i>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let states = children(status, "node_state");
    let named = states.filter_map(|state| {
        let attributes = child(state, "transient_attributes")?;
        let name = state.attribute("uname")?.to_owned();
        Some((name, named.sets_of(attributes, "instance_attributes")))
    });
    named.collect()
}
