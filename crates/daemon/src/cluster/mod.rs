//! Belonging to a cluster: beginning one, joining one, letting others in, leaving, and certificates that stay good.
//!
//! A daemon without certificates waits in the [`lobby`], where the pair's watch and the local socket work and nothing else,
//! until `evenkeel cluster init` or `join` has made what it needs; then it goes on to be a node, in the same process. What
//! makes a node one of a cluster is the folder `pki` below `data`. It is filled beside its place and appears by one rename,
//! so that a kill at any instant leaves a node that belongs to its cluster, or one that is asked to join again and ends well.

mod admit;
mod answer;
mod describe;
mod enter;
mod found;
pub(crate) mod lobby;
mod pki;
pub(crate) mod renew;
mod resident;
mod standing;

pub(crate) use pki::Pki;
pub(crate) use resident::{Doorman, Resident, ResidentParts, routes};
pub(crate) use standing::{Belonging, only_while_it_belongs, said};
