//! Whose word on a pool counts: a node that does not see a pool's storage says nothing of its health.

use evenkeel_model::{NodeName, NodeObservation, PoolState};

/// A pool as it is told by a node that sees its storage: the one that speaks, else the pool's owner. Nothing where neither does: then
/// its health is not known.
pub(crate) fn sighted<'a>(
    pool: &'a PoolState,
    seen: impl FnOnce(&NodeName) -> Option<&'a NodeObservation>,
) -> Option<&'a PoolState> {
    if !pool.unseen {
        return Some(pool);
    }
    let owners = seen(pool.owner.as_ref()?)?.pools.known()?;
    let mut same = owners.iter().filter(|other| other.name == pool.name);
    same.find(|other| !other.unseen)
}

/// That nobody tells how a pool is, as a sentence without its end.
pub(crate) fn untold(pool: &PoolState) -> String {
    let name = &pool.name;
    match &pool.owner {
        Some(owner) => format!(
            "the health of pool \"{name}\" is not known: node \"{owner}\", which serves it, does not tell it"
        ),
        None => format!("the health of pool \"{name}\" is not known: no node serves it"),
    }
}
