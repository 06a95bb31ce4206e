//! Changes of the CIB that happen as a whole, and only to the state that was looked at.
//!
//! `cibadmin --patch` takes a difference in Pacemaker's own form (format 2). It names the version that it starts from, which
//! the cluster compares: nothing is changed when anything else has changed since, the state of nodes and resources
//! included. That makes "compare and act" one step.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cib::{Cib, CibNode};
use super::xml::escape;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// Sets a permanent attribute of a node.
    Set {
        node: String,
        name: &'static str,
        value: String,
    },
    /// Removes one.
    Clear { node: String, name: &'static str },
    /// Keeps a resource from a node.
    Hold {
        id: String,
        resource: String,
        node: String,
    },
    /// Removes a constraint.
    Release { id: String },
}

/// The difference that `edits` make to the CIB as it was seen. An error says what of it does not fit.
pub(super) fn patch(cib: &Cib, edits: &[Edit]) -> Result<String, String> {
    let mut changes = root_change(cib);
    let mut new_sets: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for edit in edits {
        match edit {
            Edit::Set { node, name, value } => {
                let seen = find(cib, node)?;
                match change_of_attribute(seen, name, value) {
                    Ok(change) => changes.push_str(&change),
                    Err(pair) => new_sets.entry(node).or_default().push(pair),
                }
            }
            Edit::Clear { node, name } => changes.push_str(&removal(find(cib, node)?, name)),
            Edit::Hold { id, resource, node } => changes.push_str(&hold(id, resource, node)),
            Edit::Release { id } => delete(
                &mut changes,
                &format!("/cib/configuration/constraints/rsc_location[@id='{id}']"),
            ),
        }
    }
    for (node, pairs) in new_sets {
        let id = &find(cib, node)?.id;
        let set = format!(
            "<instance_attributes id=\"nodes-{}\">{}</instance_attributes>",
            escape(id),
            pairs.concat()
        );
        create(&mut changes, &node_path(id), &set);
    }
    Ok(framed(cib, &changes))
}

fn framed(cib: &Cib, changes: &str) -> String {
    let version = cib.version;
    let (admin, epoch, updates) = (version.admin_epoch, version.epoch, version.num_updates);
    format!(
        "<diff format=\"2\"><version>\
         <source admin_epoch=\"{admin}\" epoch=\"{epoch}\" num_updates=\"{updates}\"/>\
         <target admin_epoch=\"{admin}\" epoch=\"{}\" num_updates=\"0\"/>\
         </version>{changes}</diff>",
        epoch + 1
    )
}

/// Counts the version up. What the result does not repeat would be gone from the root.
fn root_change(cib: &Cib) -> String {
    let epoch = (cib.version.epoch + 1).to_string();
    let value = |name: &str, old: &str| match name {
        "epoch" => epoch.clone(),
        "num_updates" => "0".to_owned(),
        _ => escape(old),
    };
    let mut root = String::new();
    for (name, old) in &cib.root {
        let _infallible = write!(root, " {name}=\"{}\"", value(name, old));
    }
    format!(
        "<change operation=\"modify\" path=\"/cib\"><change-list>\
         <change-attr name=\"epoch\" operation=\"set\" value=\"{epoch}\"/>\
         <change-attr name=\"num_updates\" operation=\"set\" value=\"0\"/>\
         </change-list><change-result><cib{root}/></change-result></change>"
    )
}

fn find<'a>(cib: &'a Cib, node: &str) -> Result<&'a CibNode, String> {
    let found = cib.nodes.get(node);
    found.ok_or_else(|| format!("the cluster has no node {node}"))
}

fn node_path(id: &str) -> String {
    format!("/cib/configuration/nodes/node[@id='{id}']")
}

/// The change of an attribute in a set that is there; else the new pair for a new set.
fn change_of_attribute(node: &CibNode, name: &str, value: &str) -> Result<String, String> {
    let value = escape(value);
    let mut change = String::new();
    if let Some(old) = node.attributes.get(name) {
        let path = format!(
            "{}/instance_attributes[@id='{}']/nvpair[@id='{}']",
            node_path(&node.id),
            old.set,
            old.id
        );
        let id = escape(&old.id);
        let _infallible = write!(
            change,
            "<change operation=\"modify\" path=\"{}\"><change-list>\
             <change-attr name=\"value\" operation=\"set\" value=\"{value}\"/></change-list>\
             <change-result><nvpair id=\"{id}\" name=\"{name}\" value=\"{value}\"/></change-result></change>",
            escape(&path)
        );
        return Ok(change);
    }
    // As `crm_attribute` would name it, so that whoever uses that finds it.
    let pair = |set: &str| {
        let id = escape(&format!("{set}-{name}"));
        format!("<nvpair id=\"{id}\" name=\"{name}\" value=\"{value}\"/>")
    };
    let Some(set) = &node.set else {
        return Err(pair(&format!("nodes-{}", node.id)));
    };
    let path = format!("{}/instance_attributes[@id='{set}']", node_path(&node.id));
    create(&mut change, &path, &pair(set));
    Ok(change)
}

/// Nothing where the attribute is not there.
fn removal(node: &CibNode, name: &str) -> String {
    let mut change = String::new();
    if let Some(old) = node.attributes.get(name) {
        let (set, id) = (&old.set, &old.id);
        let node = node_path(&node.id);
        delete(
            &mut change,
            &format!("{node}/instance_attributes[@id='{set}']/nvpair[@id='{id}']"),
        );
    }
    change
}

fn hold(id: &str, resource: &str, node: &str) -> String {
    let mut change = String::new();
    let (id, resource, node) = (escape(id), escape(resource), escape(node));
    let constraint = format!(
        "<rsc_location id=\"{id}\" rsc=\"{resource}\" node=\"{node}\" score=\"-INFINITY\"/>"
    );
    create(&mut change, "/cib/configuration/constraints", &constraint);
    change
}

fn create(changes: &mut String, path: &str, element: &str) {
    let path = escape(path);
    let _infallible = write!(
        changes,
        "<change operation=\"create\" path=\"{path}\" position=\"0\">{element}</change>"
    );
}

fn delete(changes: &mut String, path: &str) {
    let path = escape(path);
    let _infallible = write!(changes, "<change operation=\"delete\" path=\"{path}\"/>");
}
