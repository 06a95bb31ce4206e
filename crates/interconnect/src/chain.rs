//! From whom a node pulls a package.
//!
//! Every node computes the same order: the node that took the package in, then the members as the
//! topology lists them, beginning after that node. Each pulls from its nearest predecessor that has the
//! package or is receiving it, and sends on what it has proven; so a package passes over each uplink
//! about once. Nodes further down are asked only when they hold the package whole: nobody waits for
//! somebody who waits for him.

use evenkeel_model::NodeName;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The node.
    pub node: NodeName,
    /// Where it stands.
    pub place: Place,
}

/// Where a source stands in the chain, seen from the node that pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before: it may be asked while it is still receiving.
    Before,
    /// Behind: it may be asked only for what it holds whole.
    Behind,
}

/// Whom `me` asks for a package that `origin` took in, the best first. `members` is the same list, in
/// the same order, on every node.
pub fn sources(members: &[NodeName], origin: &NodeName, me: &NodeName) -> Vec<Source> {
    let start = members.iter().position(|member| member == origin);
    let start = start.unwrap_or_default();
    let chain: Vec<_> = members[start..].iter().chain(&members[..start]).collect();
    let mine = chain.iter().position(|member| *member == me);
    // Whoever is no member stands behind them all.
    let mine = mine.unwrap_or(chain.len());
    let source = |place| {
        move |node: &&NodeName| Source {
            node: (*node).clone(),
            place,
        }
    };
    let before = chain[..mine].iter().rev().map(source(Place::Before));
    let behind = chain.iter().skip(mine + 1).map(source(Place::Behind));
    before.chain(behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<NodeName> {
        let name = |name: &&str| NodeName::new(*name).expect("a name");
        names.iter().map(name).collect()
    }

    fn asked(members: &[&str], origin: &str, me: &str) -> (Vec<String>, Vec<String>) {
        let name = |name: &str| NodeName::new(name).expect("a name");
        let all = sources(&names(members), &name(origin), &name(me));
        let of = |place| {
            let of = all.iter().filter(|source| source.place == place);
            of.map(|source| source.node.to_string()).collect()
        };
        (of(Place::Before), of(Place::Behind))
    }

    #[test]
    fn the_nearest_predecessor_comes_first_and_the_origin_last_of_them() {
        let members = ["n1", "n2", "n3", "n4", "n5"];
        let (before, behind) = asked(&members, "n3", "n1");
        assert_eq!(before, ["n5", "n4", "n3"]);
        assert_eq!(behind, ["n2"]);
        let (before, behind) = asked(&members, "n3", "n4");
        assert_eq!(before, ["n3"]);
        assert_eq!(behind, ["n5", "n1", "n2"]);
    }

    #[test]
    fn an_origin_that_lost_its_copy_asks_everybody() {
        let (before, behind) = asked(&["n1", "n2", "n3"], "n2", "n2");
        assert!(before.is_empty());
        assert_eq!(behind, ["n3", "n1"]);
    }

    #[test]
    fn an_origin_that_is_no_member_any_more_leaves_a_chain() {
        let (before, behind) = asked(&["n1", "n2", "n3"], "gone", "n3");
        assert_eq!(before, ["n2", "n1"]);
        assert!(behind.is_empty());
    }

    #[test]
    fn no_two_nodes_wait_for_each_other() {
        let members = ["n1", "n2", "n3", "n4"];
        for (a, b) in [("n1", "n2"), ("n2", "n4"), ("n3", "n1")] {
            let waits = |me, other: &str| asked(&members, "n3", me).0.contains(&other.to_owned());
            assert!(!(waits(a, b) && waits(b, a)), "{a} and {b}");
        }
    }
}
