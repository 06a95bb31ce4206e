//! How nodes come into a cluster, and leave it: tokens, candidates, and the keys that nodes are known by. All of it is
//! part of the topology's event, so that a token is used up by the same append that it changes the topology with, and so
//! that earlier releases, which ignore what they do not know there, read the members as ever.
//!
//! What is decided here is decided without I/O. Whether the moment is right (nothing open, the old machine gone) is the
//! caller's to see.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Digest, LifName, NodeId, NodeName, UserName};
use crate::time::WallTime;
use crate::topology::{LifConfig, NodeConfig, Topology, TopologyError};

/// Tokens that are open at once: more than anybody installs machines at the same time.
pub const MAX_OFFERS: usize = 16;
/// How long a token that was used is remembered after it would have run out, in seconds: whoever used it may ask again
/// for what got lost on the way.
const REMEMBERED: i64 = 24 * 3600;

/// What only joining and leaving write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// SHA-256 of the public key (as in its certificate: SubjectPublicKeyInfo) of each node that was let in with one. The
    /// CA's key lies on every member, and so on machines that were members: a certificate alone proves little. A node
    /// that is not named here is known by its name alone.
    #[serde(default)]
    pub keys: BTreeMap<NodeName, Digest>,
    /// Tokens that were given out.
    #[serde(default)]
    pub offers: Vec<Offer>,
    /// Nodes that were let in, and wait for their partner.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

impl Membership {
    /// Whether there is nothing to be written down.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.offers.is_empty() && self.candidates.is_empty()
    }
}

/// A token that was given out. Its secret half is with whoever is to join, and nowhere in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// SHA-256 of the token's public key.
    pub token: Digest,
    /// Until when it lets a node in. Judged by the wall clock, as certificates are: clocks that differ by minutes keep a
    /// node from joining anyway.
    pub until: WallTime,
    /// Who made it.
    pub by: UserName,
    /// Whom it is for; none: any name that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The machine whose place is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<NodeId>,
    /// Who used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// Who came in with a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The node.
    pub node: NodeName,
    /// Its key.
    pub key: Digest,
}

/// A node that was let in, and is nobody's partner yet: it follows the record, and has no duties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// As it will be; its partner is the one that it wishes for.
    pub node: NodeConfig,
    /// SHA-256 of its public key.
    pub key: Digest,
    /// Since when.
    pub since: WallTime,
}

/// A node that asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// SHA-256 of the public key of its token.
    pub token: Digest,
    /// As it describes itself; its partner is the one that it wishes for.
    pub node: NodeConfig,
    /// SHA-256 of its public key.
    pub key: Digest,
}

/// How a node came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It was in already, by the same token: its answer got lost.
    Again,
    /// With this change.
    Now(Box<Topology>),
}

/// What a node is to its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// One of its nodes.
    Member,
    /// Waits for its partner.
    Candidate {
        /// The partner that it wishes for.
        partner: Option<NodeName>,
    },
    /// Nothing, any more.
    Stranger {
        /// Why.
        why: Estranged,
    },
}

/// Why a node does not belong to its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Estranged {
    /// The cluster knows its key by another name.
    Renamed {
        /// That one.
        is: NodeName,
    },
    /// There is no node of its name.
    Removed,
    /// Another machine has its name.
    Replaced,
}

/// Why nodes cannot come or leave so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Nobody gave it out, or it is forgotten.
    #[error("this token is not known here: it ran out long ago, or is of another cluster")]
    UnknownToken,
    /// It has run out.
    #[error("this token has run out")]
    Expired,
    /// One node, one token.
    #[error("this token was used by {0}")]
    Used(NodeName),
    /// It names somebody else.
    #[error("this token is for {expected}, not for {found}")]
    NotFor {
        /// Whom it is for.
        expected: NodeName,
        /// Who came with it.
        found: NodeName,
    },
    /// Names identify nodes.
    #[error("the cluster has a node {0} already")]
    NameTaken(NodeName),
    /// So do keys.
    #[error("node {0} has the same key: a copied disk, perhaps")]
    KeyTaken(NodeName),
    /// Two nodes cannot listen there.
    #[error("node {node} has the address {address} already")]
    AddressTaken {
        /// Who has it.
        node: NodeName,
        /// The address.
        address: String,
    },
    /// LIFs are told apart by their names.
    #[error("node {node} has a LIF {lif} already")]
    LifTaken {
        /// Who has it.
        node: NodeName,
        /// Its name.
        lif: LifName,
    },
    /// It has one.
    #[error("node {node} has the partner {partner} already")]
    HasPartner {
        /// The node that is wished for.
        node: NodeName,
        /// Its partner.
        partner: NodeName,
    },
    /// It wishes for another one.
    #[error("node {node} waits for {wishes} as its partner, not for {found}")]
    OtherWish {
        /// The candidate.
        node: NodeName,
        /// Whom it waits for.
        wishes: NodeName,
        /// Who came.
        found: NodeName,
    },
    /// There is no such node.
    #[error("the cluster has no node {0}")]
    NoNode(NodeName),
    /// The machine whose place was to be taken is not there any more.
    #[error("node {0} was replaced meanwhile by another machine")]
    ReplacedMeanwhile(NodeName),
    /// Too many tokens.
    #[error("{MAX_OFFERS} tokens are open; wait until one is used or runs out")]
    TooManyOffers,
    /// What would be left is no cluster.
    #[error("what would be left is no cluster: {0}")]
    Topology(#[from] TopologyError),
}

impl Topology {
    /// What this node is to the cluster. A node that has no key of its own to show is judged by its name.
    pub fn standing(&self, name: &NodeName, key: Option<Digest>) -> Standing {
        let is_other =
            |known: Option<&Digest>| matches!((known, key), (Some(a), Some(b)) if *a != b);
        let replaced = Standing::Stranger {
            why: Estranged::Replaced,
        };
        let mut keys = self.membership.keys.iter();
        let known = keys.find(|(known, its)| *known != name && Some(**its) == key);
        if let Some((known, _)) = known {
            let is = known.clone();
            return Standing::Stranger {
                why: Estranged::Renamed { is },
            };
        }
        if self.node(name).is_some() {
            return match is_other(self.membership.keys.get(name)) {
                true => replaced,
                false => Standing::Member,
            };
        }
        match self.candidate(name) {
            Some(candidate) if is_other(Some(&candidate.key)) => replaced,
            Some(candidate) => Standing::Candidate {
                partner: candidate.node.partner.clone(),
            },
            None => Standing::Stranger {
                why: Estranged::Removed,
            },
        }
    }

    /// The candidate of that name.
    pub fn candidate(&self, name: &NodeName) -> Option<&Candidate> {
        let mut all = self.membership.candidates.iter();
        all.find(|it| it.node.name == *name)
    }

    /// Whether newcomers are heard at this time: while a token is open, and for as long as whoever used one may have to ask again.
    pub fn hears_newcomers(&self, at: WallTime) -> bool {
        let mut offers = self.membership.offers.iter();
        offers.any(|offer| offer.is_remembered(at))
    }

    /// The same, with another token given out. One that was given out already stays as it is.
    pub fn with_offer(&self, offer: Offer, at: WallTime) -> Result<Self, MembershipError> {
        let mut next = self.clone();
        let offers = &mut next.membership.offers;
        offers.retain(|known| known.is_remembered(at));
        if offers.iter().any(|known| known.token == offer.token) {
            return Ok(next);
        }
        if offers.iter().filter(|known| known.used.is_none()).count() >= MAX_OFFERS {
            return Err(MembershipError::TooManyOffers);
        }
        match (&offer.node, offer.replaces) {
            (Some(name), Some(id)) => {
                self.replaceable(name, id)?;
            }
            (Some(name), None) => self.free_name(name)?,
            (None, _) => {}
        }
        offers.push(offer);
        Ok(next)
    }

    fn replaceable(&self, name: &NodeName, id: NodeId) -> Result<&NodeConfig, MembershipError> {
        let node = self.node(name);
        let node = node.ok_or_else(|| MembershipError::NoNode(name.clone()))?;
        match node.id == id {
            true => Ok(node),
            false => Err(MembershipError::ReplacedMeanwhile(name.clone())),
        }
    }

    fn free_name(&self, name: &NodeName) -> Result<(), MembershipError> {
        match self.node(name).is_some() || self.candidate(name).is_some() {
            true => Err(MembershipError::NameTaken(name.clone())),
            false => Ok(()),
        }
    }

    /// The same, with this node let in: beside its partner as members, or as a candidate while it has none. The token is
    /// used up by it.
    pub fn admit(&self, entry: &Entrant, at: WallTime) -> Result<Admitted, MembershipError> {
        let name = &entry.node.name;
        let offers = &self.membership.offers;
        let offer = offers.iter().find(|offer| offer.token == entry.token);
        let offer = offer.ok_or(MembershipError::UnknownToken)?;
        match &offer.used {
            Some(used) if used.node == *name && used.key == entry.key && self.holds(used) => {
                return Ok(Admitted::Again);
            }
            Some(used) => return Err(MembershipError::Used(used.node.clone())),
            None if offer.is_over(at) => return Err(MembershipError::Expired),
            None => {}
        }
        if let Some(expected) = offer.node.as_ref().filter(|it| *it != name) {
            return Err(MembershipError::NotFor {
                expected: expected.clone(),
                found: name.clone(),
            });
        }
        self.distinct(entry, offer.replaces.is_some())?;
        let mut next = match offer.replaces {
            Some(id) => self.replaced(entry, id)?,
            None => {
                self.free_name(name)?;
                self.joined(entry, at)?
            }
        };
        let mut offers = next.membership.offers.iter_mut();
        if let Some(offer) = offers.find(|offer| offer.token == entry.token) {
            offer.used = Some(Used {
                node: name.clone(),
                key: entry.key,
            });
        }
        Ok(Admitted::Now(Box::new(next)))
    }

    /// Whether that machine is still in.
    fn holds(&self, used: &Used) -> bool {
        match self.candidate(&used.node) {
            Some(candidate) => candidate.key == used.key,
            None => self.membership.keys.get(&used.node) == Some(&used.key),
        }
    }

    /// Neither key nor addresses are another node's. The machine whose place is taken may have had the addresses.
    fn distinct(&self, entry: &Entrant, replaces: bool) -> Result<(), MembershipError> {
        let candidates = self.membership.candidates.iter();
        let with_key = candidates.clone().find(|it| it.key == entry.key);
        let with_key = with_key.map(|it| &it.node.name);
        let member = self
            .membership
            .keys
            .iter()
            .find(|(_, key)| **key == entry.key);
        if let Some(name) = with_key.or(member.map(|(name, _)| name)) {
            return Err(MembershipError::KeyTaken(name.clone()));
        }
        let all = self.nodes.iter().chain(candidates.map(|it| &it.node));
        for node in all.filter(|node| !replaces || node.name != entry.node.name) {
            let taken = [&node.interconnect, &node.rest];
            let asked = [&entry.node.interconnect, &entry.node.rest];
            if let Some(address) = asked.into_iter().find(|it| taken.contains(it)) {
                let (node, address) = (node.name.clone(), address.clone());
                return Err(MembershipError::AddressTaken { node, address });
            }
            let has = |lif: &&LifConfig| node.lifs.iter().any(|its| its.name == lif.name);
            if let Some(lif) = entry.node.lifs.iter().find(has) {
                let (node, lif) = (node.name.clone(), lif.name.clone());
                return Err(MembershipError::LifTaken { node, lif });
            }
        }
        Ok(())
    }

    /// Another machine in the place of one that is gone: name, partner, site and addresses of data stay.
    fn replaced(&self, entry: &Entrant, id: NodeId) -> Result<Self, MembershipError> {
        let name = &entry.node.name;
        let old = self.replaceable(name, id)?;
        if let Some(wish) = entry
            .node
            .partner
            .as_ref()
            .filter(|it| old.partner.as_ref() != Some(it))
        {
            let node = old.partner.clone().unwrap_or_else(|| name.clone());
            let (wishes, found) = (name.clone(), wish.clone());
            return Err(MembershipError::OtherWish {
                node,
                wishes,
                found,
            });
        }
        let new = NodeConfig {
            partner: old.partner.clone(),
            site: old.site.clone(),
            lifs: old.lifs.clone(),
            ..entry.node.clone()
        };
        let nodes = self.nodes.iter().map(|node| match node.name == *name {
            true => new.clone(),
            false => node.clone(),
        });
        let mut membership = self.membership.clone();
        membership.keys.insert(name.clone(), entry.key);
        self.of(nodes.collect(), membership)
    }

    fn joined(&self, entry: &Entrant, at: WallTime) -> Result<Self, MembershipError> {
        let mut membership = self.membership.clone();
        let mut nodes = self.nodes.clone();
        match self.partner_for(&entry.node)? {
            Some(Partner::Alone) => {
                let alone = &mut nodes[0];
                alone.partner = Some(entry.node.name.clone());
                let partner = Some(alone.name.clone());
                nodes.push(NodeConfig {
                    partner,
                    ..entry.node.clone()
                });
                membership.keys.insert(entry.node.name.clone(), entry.key);
            }
            Some(Partner::Candidate(at)) => {
                let candidate = membership.candidates.remove(at);
                let (one, other) = (candidate.node.name.clone(), entry.node.name.clone());
                membership.keys.insert(one.clone(), candidate.key);
                membership.keys.insert(other.clone(), entry.key);
                nodes.push(NodeConfig {
                    partner: Some(other),
                    ..candidate.node
                });
                nodes.push(NodeConfig {
                    partner: Some(one),
                    ..entry.node.clone()
                });
            }
            None => membership.candidates.push(Candidate {
                node: entry.node.clone(),
                key: entry.key,
                since: at,
            }),
        }
        self.of(nodes, membership)
    }

    /// Whose partner this node becomes now.
    fn partner_for(&self, new: &NodeConfig) -> Result<Option<Partner>, MembershipError> {
        let alone = match self.nodes.as_slice() {
            [only] if only.partner.is_none() => Some(&only.name),
            _ => None,
        };
        if let Some(alone) = alone {
            return match &new.partner {
                Some(wish) if wish != alone => Err(MembershipError::NoNode(wish.clone())),
                Some(_) | None => Ok(Some(Partner::Alone)),
            };
        }
        let candidates = &self.membership.candidates;
        let waits = candidates
            .iter()
            .position(|it| it.node.partner.as_ref() == Some(&new.name));
        let Some(wish) = &new.partner else {
            return Ok(waits.map(Partner::Candidate));
        };
        if let Some(partner) = self.partner_of(wish) {
            let (node, partner) = (wish.clone(), partner.clone());
            return Err(MembershipError::HasPartner { node, partner });
        }
        let wished = candidates.iter().position(|it| it.node.name == *wish);
        for at in [waits, wished].into_iter().flatten() {
            let candidate = &candidates[at].node;
            let fits = candidate.name == *wish
                && candidate.partner.as_ref().is_none_or(|it| *it == new.name);
            if !fits {
                return Err(MembershipError::OtherWish {
                    node: candidate.name.clone(),
                    wishes: candidate
                        .partner
                        .clone()
                        .unwrap_or_else(|| new.name.clone()),
                    found: new.name.clone(),
                });
            }
        }
        Ok(wished.map(Partner::Candidate))
    }

    /// The same without these nodes: whole pairs, or all but one node, or candidates.
    pub fn without(&self, names: &BTreeSet<NodeName>) -> Result<Self, MembershipError> {
        let unknown = names
            .iter()
            .find(|name| self.node(name).is_none() && self.candidate(name).is_none());
        if let Some(name) = unknown {
            return Err(MembershipError::NoNode(name.clone()));
        }
        let stays = |name: &NodeName| !names.contains(name);
        let nodes = self.nodes.iter().filter(|node| stays(&node.name));
        let mut nodes: Vec<_> = nodes.cloned().collect();
        if let [only] = nodes.as_mut_slice() {
            only.partner = None;
        }
        let mut membership = self.membership.clone();
        membership.keys.retain(|name, _| stays(name));
        membership.candidates.retain(|it| stays(&it.node.name));
        // What they came in with lets nobody in again.
        let is_theirs = |offer: &Offer| offer.used.as_ref().is_some_and(|used| !stays(&used.node));
        membership.offers.retain(|offer| !is_theirs(offer));
        self.of(nodes, membership)
    }

    fn of(&self, nodes: Vec<NodeConfig>, membership: Membership) -> Result<Self, MembershipError> {
        let mut next = Self::new(self.id, self.name.clone(), nodes)?;
        next.membership = membership;
        Ok(next)
    }
}

enum Partner {
    /// The only node of the cluster.
    Alone,
    /// The candidate at this place.
    Candidate(usize),
}

impl Offer {
    /// Whether it lets a node in that comes at this time.
    pub fn is_open(&self, at: WallTime) -> bool {
        self.used.is_none() && !self.is_over(at)
    }

    fn is_over(&self, at: WallTime) -> bool {
        at.unix_seconds() >= self.until.unix_seconds()
    }

    fn is_remembered(&self, at: WallTime) -> bool {
        match self.used {
            Some(_) => at.unix_seconds() < self.until.unix_seconds() + REMEMBERED,
            None => !self.is_over(at),
        }
    }
}
