//! Who a node is to others: the cluster's CA, the nodes' keys and certificates, and the tokens that let a new node in.
//!
//! [`Ca`] signs, [`NodeKey`] is what a certificate is for, a [`Token`] is what a person carries from a member to a new
//! machine, and [`Sealed`] is how that machine proves that it holds it. Nothing here speaks over a network or reads a clock.

mod ca;
mod error;
mod file;
mod key;
mod proof;
mod token;

pub use ca::{Ca, Validity};
pub use error::IdentityError;
pub use file::{replace, sync_folder};
pub use key::{NodeKey, PublicKey};
pub use proof::{Channel, ProofError, Sealed};
pub use token::{Token, TokenError, pin};
