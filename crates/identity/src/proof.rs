//! How a new node proves that it holds a token, and the key that it wants a certificate for.
//!
//! Both keys sign what the node says of itself together with a value that both ends of one TLS connection share and nobody
//! else does (RFC 9266's idea, by an exporter of our own). Whoever sits between two connections learns no secret, and has
//! nothing that the other connection would take.

use evenkeel_model::Digest;
use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::error::IdentityError;
use crate::key::{NodeKey, PublicKey};
use crate::token::{Token, digest_of};

/// What both ends of a TLS connection share, and nobody else: 32 bytes by an exporter.
pub type Channel = [u8; 32];

/// A statement, signed by a token's key and by the key of the node that makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// What is said.
    pub statement: String,
    /// The token's public key, hex.
    token: String,
    /// Signature by the token, hex.
    proof: String,
    /// Signature by the node's key, hex.
    possession: String,
}

/// Why a statement is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// By the token.
    #[error("it does not hold the token that it names")]
    Token,
    /// By the node's key.
    #[error("it does not hold the key that it wants a certificate for")]
    Possession,
}

impl Sealed {
    /// Signs a statement for this connection.
    pub fn seal(
        statement: String,
        channel: &Channel,
        token: &Token,
        key: &NodeKey,
    ) -> Result<Self, IdentityError> {
        let message = message(&statement, channel);
        let pair = token.pair();
        Ok(Self {
            token: hex::encode(pair.public_key()),
            proof: hex::encode(pair.sign(&message)),
            possession: hex::encode(key.sign(&message)?),
            statement,
        })
    }

    /// The token that it was sealed with, by what the record knows it by. That there is such a token is not known yet.
    pub fn token(&self, channel: &Channel) -> Result<Digest, ProofError> {
        let bytes = |text: &str| hex::decode(text).map_err(|_| ProofError::Token);
        let (public, proof) = (bytes(&self.token)?, bytes(&self.proof)?);
        let message = message(&self.statement, channel);
        let verified = UnparsedPublicKey::new(&ED25519, &public).verify(&message, &proof);
        verified.map_err(|_| ProofError::Token)?;
        Ok(digest_of(&public))
    }

    /// Whether whoever sealed it holds this key.
    pub fn possesses(&self, channel: &Channel, key: &PublicKey) -> Result<(), ProofError> {
        let signature = hex::decode(&self.possession).map_err(|_| ProofError::Possession)?;
        match key.verifies(&message(&self.statement, channel), &signature) {
            true => Ok(()),
            false => Err(ProofError::Possession),
        }
    }
}

fn message(statement: &str, channel: &Channel) -> Vec<u8> {
    let mut message = b"evenkeel join 1\0".to_vec();
    message.extend_from_slice(channel);
    message.extend_from_slice(statement.as_bytes());
    message
}
