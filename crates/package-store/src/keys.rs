//! Signing keys: ed25519, in the PEM files that OpenSSL reads and writes too.
//!
//! `K` is a PKCS#8 private key, mode 0600; `K.pub` the SubjectPublicKeyInfo of its public half. A key's id
//! is the first 8 bytes of the SHA-256 of the 32 bytes of the public key.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::fsutil;
use crate::signature::Signature;

/// A key file is a few hundred bytes; anything much longer is another file by mistake.
const MAX_KEY_FILE_BYTES: u64 = 64 << 10;

/// Why a key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file operation failed.
    #[error("cannot {step} key file {path}")]
    Io {
        /// `read`, `create` or `write`.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file that would be written exists; keys are never overwritten.
    #[error("{path} exists already; a key is never overwritten")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not a PEM file with an ed25519 private key.
    #[error("{what} is not an ed25519 private key (PEM, PKCS#8)")]
    NotSecret {
        /// File or text.
        what: String,
    },
    /// Not a PEM file with an ed25519 public key, nor its 64 hex digits.
    #[error("{what} is not an ed25519 public key (PEM)")]
    NotPublic {
        /// File or text.
        what: String,
    },
    /// Not the 16 hex digits of a key's id.
    #[error("{text:?} is not a key id (16 hexadecimal digits)")]
    NotAnId {
        /// The text.
        text: String,
    },
    /// The operating system gave no randomness.
    #[error("no randomness for a new key: {0}")]
    Randomness(getrandom::Error),
}

/// Names a public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(crate) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for KeyId {
    type Err = KeyError;
    /// Reads 16 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut id = [0; 8];
        match hex::decode_to_slice(text, &mut id) {
            Ok(()) => Ok(Self(id)),
            Err(_) => Err(KeyError::NotAnId {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key that signs packages. Its `Debug` shows the public half only.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public().id())
    }
}

impl SecretKey {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Randomness)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a known seed, for tests and for keys kept elsewhere.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads a private key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read_text(path)?;
        SigningKey::from_pkcs8_pem(text.trim())
            .map(Self)
            .map_err(|_| KeyError::NotSecret {
                what: path.display().to_string(),
            })
    }

    /// Writes `path` (mode 0600) and `path.pub`, durably; neither may exist.
    pub fn save_pair(&self, path: &Path) -> Result<PathBuf, KeyError> {
        let public_path = public_path(path);
        if public_path.exists() {
            return Err(KeyError::Exists { path: public_path });
        }
        write_new(path, 0o600, self.to_pem().as_bytes())?;
        write_new(&public_path, 0o644, self.public().to_pem().as_bytes())?;
        let parent = fsutil::parent_of(path);
        let failed = |source| KeyError::Io {
            step: "write",
            path: path.to_owned(),
            source,
        };
        fsutil::sync_dir(&parent).map_err(failed)?;
        Ok(public_path)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message`, for a package the exact bytes of its manifest.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature::new(self.public().id(), self.0.sign(message).to_bytes())
    }

    /// PKCS#8 version 1: the form that every OpenSSL with ed25519 reads.
    fn to_pem(&self) -> String {
        let pair = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        pair.to_pkcs8_pem(LineEnding::LF)
            .expect("an ed25519 key always encodes")
            .to_string()
    }
}

/// `K.pub` for `K`.
fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn read_text(path: &Path) -> Result<String, KeyError> {
    let failed = |source| KeyError::Io {
        step: "read",
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), KeyError> {
    let open = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = open.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists {
            path: path.to_owned(),
        },
        _ => KeyError::Io {
            step: "create",
            path: path.to_owned(),
            source,
        },
    })?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|source| KeyError::Io {
            step: "write",
            path: path.to_owned(),
            source,
        })
}

/// The public half of a signing key. As text and in JSON: 64 hex digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub(crate) VerifyingKey);

impl PublicKey {
    /// Reads a public key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let what = path.display().to_string();
        Self::from_text(&read_text(path)?).ok_or(KeyError::NotPublic { what })
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        let digest = Sha256::digest(self.0.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        KeyId(id)
    }

    /// As in a `.pub` file.
    pub fn to_pem(&self) -> String {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .expect("an ed25519 key always encodes")
    }

    /// PEM or hex. A key of small order would accept signatures that nobody made.
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let key = if text.starts_with('-') {
            VerifyingKey::from_public_key_pem(text).ok()?
        } else {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes).ok()?;
            VerifyingKey::from_bytes(&bytes).ok()?
        };
        (!key.is_weak()).then_some(Self(key))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_text(text).ok_or(KeyError::NotPublic {
            what: "the given text".to_owned(),
        })
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_saved_pair_reads_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("K");
        let key = SecretKey::generate().unwrap();
        let public_path = key.save_pair(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SecretKey::load(&path).unwrap().public(), key.public());
        assert_eq!(PublicKey::load(&public_path).unwrap(), key.public());
        assert!(matches!(key.save_pair(&path), Err(KeyError::Exists { .. })));
        std::fs::remove_file(&public_path).unwrap();
        assert!(matches!(key.save_pair(&path), Err(KeyError::Exists { .. })));
        assert!(matches!(
            PublicKey::load(&path),
            Err(KeyError::NotPublic { .. })
        ));
    }
}
