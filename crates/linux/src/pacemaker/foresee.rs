//! What a change would lead to, by Pacemaker's own scheduler: `crm_simulate` knows every constraint, also those that nothing
//! here reads.

use evenkeel_model::{NodeName, PoolName};
use roxmltree::{Document, Node};

use super::edit::Edit;
use super::monitor::Monitor;
use super::seen::Seen;
use super::xml::escape;

/// What must come of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Whatever comes of it.
    Anything,
    /// Everything of the pair is served by this node.
    AllOn(NodeName),
    /// The pool is served by this node, and no other pool by nobody.
    Home(PoolName, NodeName),
    /// Every pool that is served goes on being served.
    NothingLost,
}

impl Expect {
    /// Whether it comes so, by the state that the scheduler foresees. An error says what comes instead.
    pub(super) fn judge(&self, seen: &Seen, foreseen: Monitor) -> Result<(), String> {
        let mut later = seen.clone();
        later.monitor = foreseen;
        match self {
            Self::Anything => Ok(()),
            Self::AllOn(node) => later.all_on(node),
            Self::Home(name, node) => {
                let mut pools = seen.layout.pools.iter();
                match pools.find(|pool| pool.name == *name) {
                    Some(pool) if later.owner(pool).as_ref() != Some(node) => {
                        Err(format!("pool {name} does not go to {node}"))
                    }
                    Some(_) | None => nothing_lost(seen, &later),
                }
            }
            Self::NothingLost => nothing_lost(seen, &later),
        }
    }
}

fn nothing_lost(seen: &Seen, later: &Seen) -> Result<(), String> {
    let mut pools = seen.layout.pools.iter();
    let lost = pools.find(|pool| seen.owner(pool).is_some() && later.owner(pool).is_none());
    match lost {
        None => Ok(()),
        Some(pool) => Err(format!("pool {} is served by nobody", pool.name)),
    }
}

/// The CIB as it would be after `edits`.
pub(super) fn applied(cib: &str, edits: &[Edit]) -> Result<String, String> {
    let mut text = cib.to_owned();
    for edit in edits {
        text = apply(&text, edit)?;
    }
    Ok(text)
}

fn apply(text: &str, edit: &Edit) -> Result<String, String> {
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    let root = document.root_element();
    match edit {
        Edit::Set { node, name, value } => {
            let node = node_of(root, node)?;
            let pair = format!(
                "<nvpair id=\"foreseen-{name}\" name=\"{name}\" value=\"{}\"/>",
                escape(value)
            );
            let set = node
                .children()
                .find(|n| n.has_tag_name("instance_attributes"));
            Ok(match (attribute(node, name), set) {
                (Some(old), _) => replaced(text, old, &pair),
                (None, Some(set)) => with_child(text, set, &pair),
                (None, None) => {
                    let set = format!(
                        "<instance_attributes id=\"foreseen\">{pair}</instance_attributes>"
                    );
                    with_child(text, node, &set)
                }
            })
        }
        Edit::Clear { node, name } => Ok(match attribute(node_of(root, node)?, name) {
            Some(old) => replaced(text, old, ""),
            None => text.to_owned(),
        }),
        Edit::Hold { id, resource, node } => {
            let mut all = root.descendants();
            let section = all.find(|n| n.has_tag_name("constraints"));
            let section = section.ok_or("the CIB has no constraints")?;
            let (id, resource, node) = (escape(id), escape(resource), escape(node));
            let hold = format!(
                "<rsc_location id=\"{id}\" rsc=\"{resource}\" node=\"{node}\" score=\"-INFINITY\"/>"
            );
            Ok(with_child(text, section, &hold))
        }
        Edit::Release { id } => {
            let is =
                |n: &Node<'_, '_>| n.has_tag_name("rsc_location") && n.attribute("id") == Some(id);
            let constraint = root.descendants().find(is);
            Ok(constraint.map_or_else(|| text.to_owned(), |old| replaced(text, old, "")))
        }
    }
}

fn node_of<'a, 'i>(root: Node<'a, 'i>, name: &str) -> Result<Node<'a, 'i>, String> {
    let is = |n: &Node<'_, '_>| n.has_tag_name("node") && n.attribute("uname") == Some(name);
    let found = root.descendants().find(is);
    found.ok_or_else(|| format!("the cluster has no node {name}"))
}

fn attribute<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    let is = |n: &Node<'_, '_>| n.has_tag_name("nvpair") && n.attribute("name") == Some(name);
    node.descendants().find(is)
}

fn replaced(text: &str, old: Node<'_, '_>, new: &str) -> String {
    let range = old.range();
    format!("{}{new}{}", &text[..range.start], &text[range.end..])
}

/// With one more child, as the last one.
fn with_child(text: &str, parent: Node<'_, '_>, child: &str) -> String {
    let range = parent.range();
    let (before, own, after) = (
        &text[..range.start],
        &text[range.clone()],
        &text[range.end..],
    );
    let tag = parent.tag_name().name();
    match (own.strip_suffix("/>"), own.rfind("</")) {
        (Some(open), _) => format!("{before}{open}>{child}</{tag}>{after}"),
        (None, Some(end)) => format!("{before}{}{child}{}{after}", &own[..end], &own[end..]),
        (None, None) => text.to_owned(),
    }
}
