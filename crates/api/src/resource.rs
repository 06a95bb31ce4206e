//! What the generic layer must know about a resource.

use schemars::JsonSchema;
use serde::Serialize;

/// Whether a field is part of `fields=*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Answered by `*` and, for a single object, without `fields`.
    Standard,
    /// Answered only when named, or by `**`.
    Expensive,
    /// A name of the real product's that nothing here has a value for: it may be asked for, and is never there.
    Unset,
}

/// A leaf of a record, by its dotted name; array elements are transparent (`nodes.name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Dotted name.
    pub name: &'static str,
    /// Whether `*` includes it.
    pub cost: Cost,
}

impl Field {
    /// A field of `*`.
    pub const fn standard(name: &'static str) -> Self {
        Self {
            name,
            cost: Cost::Standard,
        }
    }

    /// A field that is never there.
    pub const fn unset(name: &'static str) -> Self {
        Self {
            name,
            cost: Cost::Unset,
        }
    }

    /// A field that must be asked for.
    pub const fn expensive(name: &'static str) -> Self {
        Self {
            name,
            cost: Cost::Expensive,
        }
    }

    /// Whether it is `name`, or lies below it.
    pub fn is_within(&self, name: &str) -> bool {
        let rest = self.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// How one record is told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// There is only one; its address is the resource's path.
    Singleton,
    /// By this field, which is the last segment of its address. The further fields are always
    /// returned along with it.
    Key(&'static str, &'static [&'static str]),
    /// Records have no address of their own; together these fields are unique. All fields are
    /// returned by default.
    Fields(&'static [&'static str]),
}

/// A wire type that can be served: the struct itself, these three constants, and one line of the front end's table.
pub trait Resource: Serialize + JsonSchema + Send + 'static {
    /// The address of the collection or singleton.
    const PATH: &'static str;
    /// How records are told apart.
    const IDENTITY: Identity;
    /// Every leaf.
    const FIELDS: &'static [Field];

    /// Whether `name` is a leaf or an inner name of this resource.
    fn has_field(name: &str) -> bool {
        Self::FIELDS.iter().any(|field| field.is_within(name))
    }

    /// The leaves that `name` stands for: itself, all below it, or with `*` every one of them.
    fn leaves(name: &str) -> Vec<&'static str> {
        let is_meant = |field: &&Field| name == "*" || field.is_within(name);
        let leaves = Self::FIELDS.iter().filter(is_meant);
        leaves.map(|field| field.name).collect()
    }
}

/// Lists fields: `fields!["a", "b.c"; expensive "d"; unset "e"]`.
macro_rules! fields {
    (
        $($name:literal),* $(,)?
        $(; expensive $($costly:literal),+ $(,)?)?
        $(; unset $($absent:literal),+ $(,)?)?
    ) => {
        &[
            $($crate::Field::standard($name),)*
            $($($crate::Field::expensive($costly),)+)?
            $($($crate::Field::unset($absent),)+)?
        ]
    };
}
pub(crate) use fields;

/// Checks that the fields listed for a resource, but those that are never there, are exactly the leaves of a full
/// example.
#[cfg(test)]
pub(crate) fn assert_fields_complete<R: Resource>(full: &R) {
    fn leaves(value: &serde_json::Value, at: &str, out: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (name, value) in map.iter().filter(|(name, _)| *name != "_links") {
                    let at = if at.is_empty() {
                        name.clone()
                    } else {
                        format!("{at}.{name}")
                    };
                    leaves(value, &at, out);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|v| leaves(v, at, out)),
            serde_json::Value::Null => panic!("{at} is null"),
            _ => drop(out.insert(at.to_owned())),
        }
    }
    let mut found = std::collections::BTreeSet::new();
    leaves(&serde_json::to_value(full).unwrap(), "", &mut found);
    let listed: std::collections::BTreeSet<_> = R::FIELDS
        .iter()
        .filter(|field| field.cost != Cost::Unset)
        .map(|field| field.name.to_owned())
        .collect();
    assert_eq!(found, listed);
}
