//! Signatures, and the keys that are believed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::keys::{KeyId, PublicKey};

const SIGNATURE_TAG: &str = "evenkeel-signature-v1";

/// The keys whose packages are believed, and the ids of those that no longer are. Several keys may be
/// trusted at once: that is how one is replaced by another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    keys: BTreeMap<KeyId, PublicKey>,
    /// Known only to name the reason; what is in here is in no way believed.
    revoked: BTreeSet<KeyId>,
}

impl TrustedKeys {
    /// Trusts no one.
    pub fn none() -> Self {
        Self::default()
    }

    /// Trusts a key, unless it is revoked: revocation wins, whichever is told first.
    pub fn add(&mut self, key: PublicKey) {
        self.keys.insert(key.id(), key);
    }

    /// Notes that a key was trusted and is no longer, so that a refusal can say so.
    pub fn add_revoked(&mut self, key_id: KeyId) {
        self.revoked.insert(key_id);
    }

    /// The ids of the trusted keys, in order.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        let trusted = |id: &&KeyId| !self.revoked.contains(id);
        self.keys.keys().filter(trusted).copied()
    }

    /// The trusted keys themselves, to tell another process of ours.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        let trusted = |(id, key)| (!self.revoked.contains(id)).then_some(key);
        self.keys.iter().filter_map(trusted)
    }

    /// The ids of keys that were trusted and are no longer.
    pub fn revoked(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.revoked.iter().copied()
    }

    /// Whether no key is trusted: then no package is.
    pub fn is_empty(&self) -> bool {
        self.ids().next().is_none()
    }

    /// Checks that a trusted key made `signature` over `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        let key_id = signature.key_id;
        if self.revoked.contains(&key_id) {
            return Err(SignatureError::RevokedKey { key_id });
        }
        let key = self
            .keys
            .get(&key_id)
            .ok_or(SignatureError::UntrustedKey { key_id })?;
        let bytes = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        key.0
            .verify_strict(message, &bytes)
            .map_err(|_| SignatureError::Wrong { key_id })
    }
}

impl FromIterator<PublicKey> for TrustedKeys {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        let mut trusted = Self::none();
        keys.into_iter().for_each(|key| trusted.add(key));
        trusted
    }
}

/// Why a signature proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not one line of the documented form.
    #[error("its signature file is not of the form `{SIGNATURE_TAG} KEY-ID SIGNATURE`")]
    Malformed,
    /// By a key that is not trusted.
    #[error("it is signed by key {key_id}, which is not trusted here")]
    UntrustedKey {
        /// The key it names.
        key_id: KeyId,
    },
    /// By a key that was trusted once.
    #[error("it is signed by key {key_id}, which was revoked")]
    RevokedKey {
        /// The key it names.
        key_id: KeyId,
    },
    /// The named key did not sign these bytes: manifest or signature was changed.
    #[error("its signature by key {key_id} does not match its manifest")]
    Wrong {
        /// The key it names.
        key_id: KeyId,
    },
}

/// A detached signature: one line of text, `evenkeel-signature-v1 KEY-ID SIGNATURE`, both in hex.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that made it.
    pub key_id: KeyId,
    bytes: [u8; 64],
}

impl Signature {
    /// Longest signature file that is read.
    pub(crate) const MAX_BYTES: u64 = 512;

    pub(crate) fn new(key_id: KeyId, bytes: [u8; 64]) -> Self {
        Self { key_id, bytes }
    }

    /// Reads a signature file.
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        let text = std::str::from_utf8(text).map_err(|_| SignatureError::Malformed)?;
        let mut words = text.trim_end_matches('\n').split(' ');
        let (Some(SIGNATURE_TAG), Some(id), Some(signature), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(SignatureError::Malformed);
        };
        let (mut key_id, mut bytes) = (KeyId([0; 8]), [0; 64]);
        hex::decode_to_slice(id, &mut key_id.0)
            .and_then(|()| hex::decode_to_slice(signature, &mut bytes))
            .map_err(|_| SignatureError::Malformed)?;
        Ok(Self { key_id, bytes })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{SIGNATURE_TAG} {} {}",
            self.key_id,
            hex::encode(self.bytes)
        )
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature by {}", self.key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    #[test]
    fn a_signature_holds_for_its_key_and_bytes_only() {
        let key = SecretKey::from_seed(&[1; 32]);
        let other = SecretKey::from_seed(&[2; 32]);
        let signature = Signature::parse(key.sign(b"text").to_string().as_bytes()).unwrap();
        let trusted: TrustedKeys = [key.public()].into_iter().collect();
        trusted.verify(b"text", &signature).unwrap();
        let key_id = key.public().id();
        assert_eq!(
            trusted.verify(b"texu", &signature),
            Err(SignatureError::Wrong { key_id })
        );
        let key_id = other.public().id();
        let untrusted = trusted.verify(b"text", &other.sign(b"text"));
        assert_eq!(untrusted, Err(SignatureError::UntrustedKey { key_id }));
    }

    #[test]
    fn keys_are_replaced_by_trusting_two_and_revoking_one() {
        let (old, new) = (
            SecretKey::from_seed(&[1; 32]),
            SecretKey::from_seed(&[2; 32]),
        );
        let mut trusted: TrustedKeys = [old.public(), new.public()].into_iter().collect();
        trusted.verify(b"text", &old.sign(b"text")).unwrap();
        trusted.verify(b"text", &new.sign(b"text")).unwrap();
        let key_id = old.public().id();
        trusted.add_revoked(key_id.to_string().parse().unwrap());
        trusted.add(old.public());
        let refused = trusted.verify(b"text", &old.sign(b"text"));
        assert_eq!(refused, Err(SignatureError::RevokedKey { key_id }));
        trusted.verify(b"text", &new.sign(b"text")).unwrap();
        assert_eq!(trusted.ids().collect::<Vec<_>>(), [new.public().id()]);
        assert!("00".parse::<KeyId>().is_err());
    }
}
