//! What belongs to the pair by the configuration: pools, LIFs, and the nodes that are their homes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{LifName, NodeName, PoolName, Storage};

use super::cib::{Cib, Primitive, Resource, ResourceKind};
use super::hold;
use super::xml::{INFINITY, is_true, score};

/// The meta attribute that makes a group its home's root pool.
pub(super) const ROOT: &str = "evenkeel-root";

/// The two nodes of the pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) local: NodeName,
    pub(super) partner: NodeName,
}

impl Members {
    /// The other one.
    pub(super) fn other(&self, node: &NodeName) -> &NodeName {
        match *node == self.local {
            true => &self.partner,
            false => &self.local,
        }
    }

    pub(super) fn both(&self) -> [&NodeName; 2] {
        [&self.local, &self.partner]
    }
}

/// A pool by the configuration: a group, or a service that is no address, with a finite positive preference for one of
/// the two nodes, its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) name: PoolName,
    pub(super) home: NodeName,
    pub(super) root: bool,
    /// Its services, in the order in which they start.
    pub(super) services: Vec<String>,
    /// What ties it to its home, less what keeps it where it runs: positive where it goes home when it may.
    pub(super) pull: i64,
    pub(super) storage: Vec<Storage>,
}

/// A LIF by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lif {
    pub(super) name: LifName,
    pub(super) home: NodeName,
    /// None where the configuration has none that can be read.
    pub(super) address: Option<IpAddr>,
    /// The pool that it goes with; none where it moves by itself.
    pub(super) pool: Option<PoolName>,
    pub(super) pull: i64,
}

/// All that belongs to the pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) pools: Vec<Pool>,
    pub(super) lifs: Vec<Lif>,
    /// What looks like either and cannot be one, or is not understood: sentences that say what to do.
    pub(super) strange: Vec<String>,
    /// Which resources can only be where others are: a name for each such company.
    company: BTreeMap<String, String>,
}

impl Layout {
    /// Reads it out of the configuration.
    pub(super) fn read(cib: &Cib, members: &Members) -> Self {
        let company = companies(cib);
        let (mut pools, mut sound) = (Vec::new(), Vec::new());
        let mut strange = cib.strange.clone();
        for resource in &cib.resources {
            match pool(cib, members, resource) {
                Ok(pool) => {
                    pools.extend(pool);
                    sound.push(resource);
                }
                Err(why) => strange.push(why),
            }
        }
        settle_roots(cib, &mut pools);
        let mut lifs = Vec::new();
        for resource in sound {
            for address in resource.primitives().iter().filter(|one| one.is_address()) {
                match lif(cib, members, (&pools, &company), (resource, address)) {
                    Ok(lif) => lifs.extend(lif),
                    Err(why) => strange.push(why),
                }
            }
        }
        Self {
            pools,
            lifs,
            strange,
            company,
        }
    }

    /// The pools whose home is `node`.
    pub(super) fn pools_of(&self, node: &NodeName) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(move |pool| pool.home == *node)
    }

    /// The LIFs whose home is `node` and that go with no pool.
    pub(super) fn lone_lifs_of(&self, node: &NodeName) -> impl Iterator<Item = &Lif> {
        let lifs = self.lifs.iter();
        lifs.filter(move |lif| lif.home == *node && lif.pool.is_none())
    }

    pub(super) fn pool(&self, name: &PoolName) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// The services of all pools, and all LIFs: each once, in order.
    pub(super) fn services(&self) -> BTreeSet<&str> {
        let pools = self.pools.iter();
        let pools = pools.flat_map(|pool| pool.services.iter().map(String::as_str));
        let lifs = self.lifs.iter().map(|lif| lif.name.as_str());
        pools.chain(lifs).collect()
    }

    /// Whether one of the two cannot be on a node without the other.
    pub(super) fn are_together(&self, one: &str, other: &str) -> bool {
        let of = |id: &str| {
            self.company
                .get(id)
                .cloned()
                .unwrap_or_else(|| id.to_owned())
        };
        of(one) == of(other)
    }

    /// Everything that moves by itself and belongs on `node`: pools, and LIFs that go with none.
    pub(super) fn movable_of(&self, node: &NodeName) -> Vec<&str> {
        let pools = self.pools_of(node).map(|pool| pool.name.as_str());
        let lifs = self.lone_lifs_of(node).map(|lif| lif.name.as_str());
        pools.chain(lifs).collect()
    }
}

/// Mandatory colocations chain resources together. A clone that is on both nodes anyway chains nothing, so what is
/// colocated with one is not followed through it.
fn companies(cib: &Cib) -> BTreeMap<String, String> {
    let several = |id: &str| {
        let is = |resource: &Resource| resource.id == id && resource.kind == ResourceKind::Several;
        cib.resources.iter().any(is)
    };
    let top = |id: &str| {
        let holds = |resource: &&Resource| resource.primitives().iter().any(|one| one.id == id);
        let found = cib.resources.iter().find(holds);
        found.map_or_else(|| id.to_owned(), |resource| resource.id.clone())
    };
    let mut company: BTreeMap<String, String> = BTreeMap::new();
    for (one, other) in &cib.together {
        let (one, other) = (top(one), top(other));
        if several(&one) || several(&other) {
            continue;
        }
        let name = company.get(&one).cloned().unwrap_or_else(|| one.clone());
        let old = company
            .get(&other)
            .cloned()
            .unwrap_or_else(|| other.clone());
        for member in company.values_mut().filter(|member| **member == old) {
            member.clone_from(&name);
        }
        company.insert(one, name.clone());
        company.insert(other, name);
    }
    company
}

/// The node that a resource prefers with a finite score. What bans it from there does not make it homeless, and what
/// `crm_resource --move` left behind says nothing about where it belongs.
fn home<'a>(cib: &Cib, members: &'a Members, id: &str) -> Option<&'a NodeName> {
    let liked = |node: &NodeName| -> i64 {
        let likes = cib.locations.iter().filter(|location| {
            location.resource == id
                && location.node == node.as_str()
                && (1..INFINITY).contains(&location.score)
                && !location.id.starts_with("cli-")
        });
        likes.map(|location| location.score).sum()
    };
    let scores = members.both().map(|node| (node, liked(node)));
    let positive = scores.into_iter().filter(|(_, score)| *score > 0);
    positive
        .max_by_key(|(_, score)| *score)
        .map(|(node, _)| node)
}

/// The sum of the plain preferences of a resource for a node, holds of ours left out.
fn preference(cib: &Cib, id: &str, node: &NodeName) -> i64 {
    let plain = cib.locations.iter().filter(|location| {
        location.resource == id && location.node == node.as_str() && !hold::is_ours(&location.id)
    });
    let sum: i64 = plain.map(|location| location.score).sum();
    sum.clamp(-INFINITY, INFINITY)
}

fn pool(cib: &Cib, members: &Members, resource: &Resource) -> Result<Option<Pool>, String> {
    let primitives = resource.primitives();
    let lone_address = matches!(&resource.kind, ResourceKind::Primitive(one) if one.is_address());
    if primitives.is_empty() || lone_address || primitives.iter().any(Primitive::is_fence) {
        return Ok(None);
    }
    let Some(home) = home(cib, members, &resource.id) else {
        return Ok(None);
    };
    if is_stopped(resource) {
        return Ok(None);
    }
    let name = PoolName::new(&resource.id).map_err(|error| odd("a pool", &resource.id, &error))?;
    Ok(Some(Pool {
        name,
        home: home.clone(),
        root: resource.meta.get(ROOT).is_some_and(|value| is_true(value)),
        services: primitives.iter().map(|one| one.id.clone()).collect(),
        pull: pull(cib, members, resource),
        storage: primitives.iter().filter_map(storage).collect(),
    }))
}

fn odd(what: &str, id: &str, error: &dyn std::fmt::Display) -> String {
    format!("resource {id:?} has a home and cannot be {what}: {error}; give it another id")
}

/// An admin wants it to stand still: nobody is to serve it.
fn is_stopped(resource: &Resource) -> bool {
    let role = resource.meta.get("target-role");
    role.is_some_and(|role| role.eq_ignore_ascii_case("stopped"))
}

/// What a running resource's home outweighs. A group counts the stickiness of each of its members.
fn pull(cib: &Cib, members: &Members, resource: &Resource) -> i64 {
    let Some(home) = home(cib, members, &resource.id) else {
        return 0;
    };
    let score = preference(cib, &resource.id, home);
    let away = preference(cib, &resource.id, members.other(home));
    let sticky = |one: &Primitive| {
        let own = one.meta.get("resource-stickiness");
        let own = own.or_else(|| resource.meta.get("resource-stickiness"));
        let own = own.or_else(|| cib.defaults.get("resource-stickiness"));
        own.and_then(|text| super::xml::score(text)).unwrap_or(0)
    };
    let sticky: i64 = resource.primitives().iter().map(sticky).sum();
    score - away - sticky.max(0)
}

/// Where no pool of a node says that it is the root, the group of the highest priority is; where priorities do not tell
/// either, the only one is.
fn settle_roots(cib: &Cib, pools: &mut [Pool]) {
    let homes: BTreeSet<NodeName> = pools.iter().map(|pool| pool.home.clone()).collect();
    for home in homes {
        let mut own: Vec<&mut Pool> = pools.iter_mut().filter(|pool| pool.home == home).collect();
        if own.iter().any(|pool| pool.root) {
            continue;
        }
        let priority = |pool: &Pool| {
            let resource = cib.resources.iter().find(|r| r.id == pool.name.as_str());
            let text = resource.and_then(|resource| resource.meta.get("priority"));
            text.and_then(|text| score(text)).unwrap_or(0)
        };
        let highest = own.iter().map(|pool| priority(pool)).max();
        let mut first = own
            .iter_mut()
            .filter(|pool| Some(priority(pool)) == highest);
        if let (Some(only), None) = (first.next(), first.next()) {
            only.root = true;
        }
    }
}

fn lif(
    cib: &Cib,
    members: &Members,
    (pools, company): (&[Pool], &BTreeMap<String, String>),
    (resource, address): (&Resource, &Primitive),
) -> Result<Option<Lif>, String> {
    let own = company.get(&resource.id);
    let goes_with = |pool: &&Pool| {
        let together = own.is_some() && company.get(pool.name.as_str()) == own;
        pool.name.as_str() == resource.id || together
    };
    let pool = pools.iter().find(goes_with);
    let home = match pool {
        Some(pool) => Some(&pool.home),
        None => home(cib, members, &resource.id),
    };
    let Some(home) = home else {
        return Ok(None);
    };
    if is_stopped(resource) {
        return Ok(None);
    }
    let name = LifName::new(&address.id).map_err(|error| odd("a LIF", &address.id, &error))?;
    let ip = address.parameters.get("ip");
    Ok(Some(Lif {
        name,
        home: home.clone(),
        address: ip.and_then(|ip| ip.parse().ok()),
        pool: pool.map(|pool| pool.name.clone()),
        pull: pull(cib, members, resource),
    }))
}

/// By the parameters that the resource agents document.
fn storage(primitive: &Primitive) -> Option<Storage> {
    let text = |name: &str| primitive.parameters.get(name).cloned();
    match primitive.agent.as_str() {
        "ZFS" => text("pool").map(|pool| Storage::Zfs { pool }),
        "LVM-activate" => text("vgname").map(|name| Storage::Vg { name }),
        "LVM" => text("volgrpname").map(|name| Storage::Vg { name }),
        "mdraid" => text("md_dev").map(|device| Storage::Md { device }),
        "Raid1" => text("raiddev").map(|device| Storage::Md { device }),
        "Filesystem" => {
            let (device, folder) = (text("device")?, text("directory")?);
            Some(Storage::Filesystem {
                device,
                folder: folder.into(),
            })
        }
        _ => None,
    }
}
