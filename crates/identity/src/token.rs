//! The token that a person carries from a member to a new machine: one line, good once.
//!
//! It holds where the member listens, a fingerprint of its key and of the cluster's CA, and the private half of a key
//! pair of its own. The record has only the hash of the public half: who reads the record, or a backup of it, can let
//! nobody in, and there is no secret to be compared, neither slowly nor fast.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use evenkeel_model::Digest;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest as _, Sha256};

use crate::error::IdentityError;

/// What every token begins with.
const PREFIX: &str = "evk1-";
/// Bytes that tell a token from one that was cut or mistyped.
const CHECK_BYTES: usize = 4;
const KEY_BYTES: usize = 32;

/// A token. Its `Display` is the secret itself; its `Debug` is not.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// `host:port` of the member's node-to-node port.
    pub address: String,
    /// Fingerprint of the CA and of the member's key: see [`pin`].
    pub pin: Digest,
    seed: [u8; KEY_BYTES],
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else.
    #[error("this is no token: one begins with {PREFIX}, as `evenkeel cluster token` prints it")]
    Foreign,
    /// Cut or mistyped.
    #[error("this token is not whole: a character is missing or wrong")]
    Damaged,
}

/// The fingerprint of a CA (its certificate, DER) and of the key of the member that made the token
/// (SubjectPublicKeyInfo, DER). Both, since every machine that was a member once knows the CA's key.
pub fn pin(ca: &[u8], member: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"evenkeel token 1\0");
    hash.update(Sha256::digest(ca));
    hash.update(Sha256::digest(member));
    Digest(hash.finalize().into())
}

impl Token {
    /// A new one.
    pub fn make(address: String, pin: Digest) -> Result<Self, IdentityError> {
        let mut seed = [0; KEY_BYTES];
        let random = SystemRandom::new().fill(&mut seed);
        random.map_err(|_| IdentityError::NoRandomness)?;
        Ok(Self { address, pin, seed })
    }

    /// What the record knows it by.
    pub fn digest(&self) -> Digest {
        digest_of(self.pair().public_key().as_ref())
    }

    pub(crate) fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.seed)
            .expect("a seed has 32 bytes, and any will do")
    }
}

/// What the record knows the token of this public key by.
pub(crate) fn digest_of(public: &[u8]) -> Digest {
    Digest(Sha256::digest(public).into())
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = Sha256::digest(body);
    let mut first = [0; CHECK_BYTES];
    first.copy_from_slice(&hash[..CHECK_BYTES]);
    first
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = [self.pin.0, self.seed].concat();
        body.extend_from_slice(self.address.as_bytes());
        body.extend(check(&body));
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(body))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.address)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let body = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(TokenError::Foreign)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| TokenError::Damaged)?;
        let (body, given) = bytes
            .split_last_chunk::<CHECK_BYTES>()
            .ok_or(TokenError::Damaged)?;
        if check(body) != *given {
            return Err(TokenError::Damaged);
        }
        let (pin, rest) = body.split_first_chunk().ok_or(TokenError::Damaged)?;
        let (seed, address) = rest.split_first_chunk().ok_or(TokenError::Damaged)?;
        let address = std::str::from_utf8(address).map_err(|_| TokenError::Damaged)?;
        Ok(Self {
            address: address.to_owned(),
            pin: Digest(*pin),
            seed: *seed,
        })
    }
}
