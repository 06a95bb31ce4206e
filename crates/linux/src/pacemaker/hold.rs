//! Holds: constraints of ours that keep what was taken over with the partner until it is its turn to go home.

use super::cib::Cib;
use super::layout::Layout;
use evenkeel_model::NodeName;

const PREFIX: &str = "evenkeel-hold-";

/// The id of the hold on a resource.
pub(super) fn id(resource: &str) -> String {
    format!("{PREFIX}{resource}")
}

/// Whether a constraint is a hold.
pub(super) fn is_ours(constraint: &str) -> bool {
    constraint.starts_with(PREFIX)
}

/// The ids of all holds that keep something from `node`.
pub(super) fn all_on(cib: &Cib, node: &NodeName) -> Vec<String> {
    let ours = cib.locations.iter();
    let ours = ours.filter(|one| is_ours(&one.id) && one.node == node.as_str());
    ours.map(|one| one.id.clone()).collect()
}

/// The holds that must end for `resource` to go home to `node`: its own, and those of what can only be where it is.
pub(super) fn of(cib: &Cib, layout: &Layout, node: &NodeName, resource: &str) -> Vec<String> {
    let all = cib.locations.iter();
    let own = all.filter(|one| {
        is_ours(&one.id)
            && one.node == node.as_str()
            && layout.are_together(&one.resource, resource)
    });
    own.map(|one| one.id.clone()).collect()
}
