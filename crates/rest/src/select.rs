//! Which fields of a record are shown.

use std::collections::BTreeMap;

use evenkeel_api::{Cost, Field, Identity, Resource, Selection};
use serde_json::{Map, Value};

/// A tree of names to keep. A node without children keeps all below it.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    children: BTreeMap<&'static str, Shown>,
    /// Everything below was selected.
    whole: bool,
}

/// What a `GET` without `fields` shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// Every standard field.
    Standard,
    /// What identifies the record.
    Keys,
}

impl Shown {
    /// The fields that `selection` means, the record's identity, and those that were filtered by.
    pub(crate) fn of<R: Resource>(
        selection: &Selection,
        unsaid: Unsaid,
        filtered: &[&str],
    ) -> Self {
        let (standard, expensive, names): (bool, bool, &[String]) = match selection {
            Selection::Unsaid => (unsaid == Unsaid::Standard, false, &[]),
            Selection::Some {
                standard,
                expensive,
                names,
            } => (*standard, *expensive, names),
        };
        let wanted = |field: &&Field| {
            expensive
                || (standard && field.cost == Cost::Standard)
                || names.iter().any(|name| means::<R>(name, field))
                || filtered.contains(&field.name)
                || identifies::<R>(field.name)
        };
        let mut shown = Self::default();
        let there = || R::FIELDS.iter().filter(|field| field.cost != Cost::Unset);
        for field in there().filter(wanted) {
            shown.add(field.name);
        }
        shown.close(there().map(|field| field.name).collect());
        shown
    }

    fn add(&mut self, name: &'static str) {
        let at = name
            .split('.')
            .fold(self, |at, part| at.children.entry(part).or_default());
        at.whole = true;
    }

    /// Marks the inner names of which every leaf is kept, so that pruning need not look below.
    fn close(&mut self, leaves: Vec<&'static str>) {
        let mut below: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
        for leaf in leaves {
            let (first, rest) = leaf.split_once('.').unwrap_or((leaf, ""));
            below.entry(first).or_default().push(rest);
        }
        for (name, child) in &mut self.children {
            if !child.whole {
                child.close(below.remove(name).unwrap_or_default());
            } else {
                below.remove(name);
            }
        }
        self.whole =
            below.is_empty() && self.children.values().all(|child| child.whole) || self.whole;
    }

    /// Removes from a record what is not shown.
    pub(crate) fn prune(&self, value: &mut Value) {
        if self.whole {
            return;
        }
        match value {
            Value::Object(map) => self.prune_object(map),
            Value::Array(items) => {
                items.iter_mut().for_each(|item| self.prune(item));
                items.retain(|item| item.as_object().is_none_or(|map| !map.is_empty()));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn prune_object(&self, map: &mut Map<String, Value>) {
        map.retain(|name, value| {
            if name == "_links" {
                return true;
            }
            let Some(child) = self.children.get(name.as_str()) else {
                return false;
            };
            child.prune(value);
            value.as_object().is_none_or(|inner| !inner.is_empty())
        });
        // A link alone says nothing.
        if map.len() == 1 && map.contains_key("_links") {
            map.clear();
        }
    }
}

/// Whether a field is asked for by this name: what is expensive only by a name that stands for nothing else. Two
/// clients fail on the images of `nodes`, and ask for `nodes`.
fn means<R: Resource>(name: &str, field: &Field) -> bool {
    let is_standard = |field: &Field| field.cost == Cost::Standard;
    let mut below = R::FIELDS.iter().filter(|field| field.is_within(name));
    field.is_within(name) && (is_standard(field) || !below.any(is_standard))
}

fn identifies<R: Resource>(leaf: &str) -> bool {
    match R::IDENTITY {
        Identity::Key(key, more) => key == leaf || more.contains(&leaf),
        Identity::Singleton | Identity::Fields(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_api::{History, Node, Software};
    use serde_json::json;

    fn shown<R: Resource>(names: &[&str], record: Value) -> Value {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let selection = Selection::Some {
            standard: false,
            expensive: false,
            names,
        };
        pruned::<R>(&selection, Unsaid::Standard, record)
    }

    fn pruned<R: Resource>(selection: &Selection, unsaid: Unsaid, mut record: Value) -> Value {
        Shown::of::<R>(selection, unsaid, &[]).prune(&mut record);
        record
    }

    fn software() -> Value {
        json!({
            "version": "1",
            "state": "completed",
            "nodes": [{"name": "a", "version": "1", "software_images": [{"package": "p"}]}],
            "validation_results": [],
        })
    }

    #[test]
    fn subtrees_leaves_and_array_elements() {
        let nodes = json!({"nodes": [{"name": "a"}]});
        assert_eq!(shown::<Software>(&["nodes.name"], software()), nodes);
        let state = json!({"state": "completed"});
        assert_eq!(shown::<Software>(&["state"], software()), state);
    }

    #[test]
    fn an_empty_list_that_was_asked_for_is_present() {
        let clean = json!({"validation_results": []});
        assert_eq!(
            shown::<Software>(&["validation_results"], software()),
            clean
        );
    }

    #[test]
    fn expensive_fields_come_only_by_name_or_two_stars() {
        let all = software();
        let mut cheap = all.clone();
        cheap["nodes"][0]
            .as_object_mut()
            .unwrap()
            .remove("software_images");
        let unsaid = pruned::<Software>(&Selection::Unsaid, Unsaid::Standard, all.clone());
        assert_eq!(unsaid, cheap);
        let stars = Selection::Some {
            standard: false,
            expensive: true,
            names: vec![],
        };
        assert_eq!(
            pruned::<Software>(&stars, Unsaid::Standard, all.clone()),
            all
        );
        let named = json!({"nodes": [{"software_images": [{"package": "p"}]}]});
        assert_eq!(shown::<Software>(&["nodes.software_images"], all), named);
    }

    #[test]
    fn keys_come_along_and_links_follow_their_object() {
        let node = json!({"uuid": "u", "name": "n", "state": "up", "model": "m"});
        let keys = json!({"uuid": "u", "name": "n"});
        assert_eq!(
            pruned::<Node>(&Selection::Unsaid, Unsaid::Keys, node.clone()),
            keys
        );
        let with_state = json!({"uuid": "u", "name": "n", "state": "up"});
        assert_eq!(shown::<Node>(&["state"], node), with_state);
        let row = json!({"state": "successful", "node": {"name": "n", "_links": {}}});
        let only_state = json!({"state": "successful"});
        assert_eq!(shown::<History>(&["state"], row), only_state);
    }
}
