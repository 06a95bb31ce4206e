//! A node's key. It stays for as long as the node is of its cluster: other nodes know it by this key, whatever
//! certificate it shows, and a renewed certificate is for the same one.

use std::fs;
use std::path::Path;

use evenkeel_model::Digest;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use crate::error::IdentityError;
use crate::file::replace;

/// Bytes of an uncompressed point of P-256 (SEC 1, 2.3.3).
const POINT_BYTES: usize = 65;

/// A node's private key: ECDSA on P-256.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// The key in this file; made when there is none.
    pub fn open_or_make(path: &Path) -> Result<Self, IdentityError> {
        if path.exists() {
            return Self::open(path);
        }
        let key = Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
        replace(path, 0o600, key.0.serialize_pem().as_bytes())
            .map_err(IdentityError::file("write", path))?;
        Ok(key)
    }

    /// The key in this file.
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        let text = fs::read_to_string(path).map_err(IdentityError::file("read", path))?;
        let pair = KeyPair::from_pem(&text).map_err(|source| IdentityError::Key {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(pair))
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.der_bytes().to_vec())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        Ok(self.0.sign(message)?)
    }
}

/// The public half of a node's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// From hex digits.
    pub fn from_hex(text: &str) -> Result<Self, IdentityError> {
        let bytes = hex::decode(text).map_err(|_| IdentityError::NoPoint)?;
        match bytes.first() {
            Some(4) if bytes.len() == POINT_BYTES => Ok(Self(bytes)),
            Some(_) | None => Err(IdentityError::NoPoint),
        }
    }

    /// In hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }

    /// What the cluster knows the node by: SHA-256 of the key as certificates hold it (SubjectPublicKeyInfo).
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.subject_public_key_info()).into())
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0);
        key.verify(message, signature).is_ok()
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
