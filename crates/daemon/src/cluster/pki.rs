//! The folder that makes a node one of a cluster.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use evenkeel_identity::{Ca, IdentityError, NodeKey, PublicKey, Validity, replace, sync_folder};
use evenkeel_model::{Bootstrap, NodeName, NodeSettings, WallTime};
use evenkeel_rest::{CertificateFacts, first_certificate};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How every cluster's CA is called: who it is is told by its key.
const CA_NAME: &str = "Evenkeel cluster CA";
const DAY: u64 = 24 * 3600;
/// How long a node's certificate is believed.
pub(super) const NODE_SECONDS: u64 = 365 * DAY;
const CA_SECONDS: u64 = 10 * 365 * DAY;
/// A CA counts from so long before it was made. Every certificate counts from when its CA does: whatever the clock of the
/// node says that signs one, no node believes that it is not valid *yet*.
const MARGIN: u64 = DAY;

/// Why the folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    #[error("cannot {step} {path}")]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is damaged")]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{path} holds no certificate")]
    NoCertificate { path: PathBuf },
}

/// One folder of certificates and keys: the one that counts, or the one that is being filled.
#[derive(Clone, Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// The one that counts.
    pub(crate) fn of(settings: &NodeSettings) -> Self {
        Self {
            folder: settings.pki(),
        }
    }

    /// Whether this node belongs to a cluster.
    pub(crate) fn is_there(&self) -> bool {
        self.folder.exists()
    }

    /// The one that is being filled, with whatever an earlier try has left in it.
    pub(super) fn staged(&self) -> Result<Self, PkiError> {
        let folder = self.folder.with_extension("partial");
        let mut how = fs::DirBuilder::new();
        let made = how.recursive(true).mode(0o700).create(&folder);
        made.map_err(file("make", &folder))?;
        Ok(Self { folder })
    }

    /// Makes `staged` the one that counts: the moment at which the node belongs to its cluster. Durable when it returns.
    pub(super) fn publish(&self, staged: &Self) -> Result<(), PkiError> {
        sync_folder(&staged.folder).map_err(file("sync", &staged.folder))?;
        fs::rename(&staged.folder, &self.folder).map_err(file("make", &self.folder))?;
        let data = self.folder.parent().unwrap_or(Path::new("/"));
        sync_folder(data).map_err(file("sync", data))
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub(super) fn ca_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("node.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("node.key")
    }

    /// What an `init` leaves, before its cluster has begun.
    pub(super) fn founding(&self) -> PathBuf {
        self.folder.join("founding.json")
    }

    fn joined(&self) -> PathBuf {
        self.folder.join("joined.json")
    }

    /// What the cluster begins with.
    pub(super) fn read_founding(&self) -> Result<Option<Bootstrap>, PkiError> {
        read_json(&self.founding())
    }

    pub(super) fn write_founding(&self, start: &Bootstrap) -> Result<(), PkiError> {
        write_json(&self.founding(), start)
    }

    /// Forgets a beginning that never was one.
    pub(super) fn forget_founding(&self) -> Result<(), PkiError> {
        remove([self.founding(), self.ca(), self.ca_key()])
    }

    /// Forgets all that an earlier try has left.
    pub(super) fn clear(&self) -> Result<(), PkiError> {
        self.forget_founding()?;
        remove([self.joined(), self.certificate(), self.key()])
    }

    /// The token that this node came in with.
    pub(super) fn read_joined(&self) -> Result<Option<evenkeel_model::Digest>, PkiError> {
        read_json(&self.joined())
    }

    pub(super) fn write_joined(&self, token: evenkeel_model::Digest) -> Result<(), PkiError> {
        write_json(&self.joined(), &token)
    }

    /// This node's key. It is not made anew: the cluster knows the node by it.
    pub(super) fn node_key(&self) -> Result<NodeKey, PkiError> {
        Ok(NodeKey::open(&self.key())?)
    }

    /// The key of a node that is not of its cluster yet; made if there is none.
    pub(super) fn make_node_key(&self) -> Result<NodeKey, PkiError> {
        Ok(NodeKey::open_or_make(&self.key())?)
    }

    /// The CA; made if there is none.
    pub(super) fn make_ca(&self, now: WallTime) -> Result<(), PkiError> {
        let now = now.unix_seconds().unsigned_abs();
        let validity = Validity {
            from: now.saturating_sub(MARGIN),
            until: now + CA_SECONDS,
        };
        Ca::open_or_make(CA_NAME, &self.ca(), &self.ca_key(), Some(validity))?;
        Ok(())
    }

    /// A certificate for this node and key, PEM.
    pub(super) fn sign(
        &self,
        node: &NodeName,
        key: &PublicKey,
        now: WallTime,
    ) -> Result<String, PkiError> {
        let ca = facts(&self.ca())?;
        let now = now.unix_seconds().unsigned_abs();
        let validity = Validity {
            from: ca.not_before,
            until: (now + NODE_SECONDS).min(ca.not_after),
        };
        let name = node.as_str();
        let authority = Ca::open(CA_NAME, &self.ca_key())?;
        Ok(authority.sign(name, vec![name.to_owned()], key, Some(validity))?)
    }

    pub(super) fn write_certificate(&self, pem: &str) -> Result<(), PkiError> {
        self.write(&self.certificate(), 0o644, pem)
    }

    /// The CA as it was given.
    pub(super) fn write_ca(&self, certificate: &str, key: &str) -> Result<(), PkiError> {
        self.write(&self.ca_key(), 0o600, key)?;
        self.write(&self.ca(), 0o644, certificate)
    }

    fn write(&self, path: &Path, mode: u32, text: &str) -> Result<(), PkiError> {
        replace(path, mode, text.as_bytes()).map_err(file("write", path))
    }

    /// The text of a file of the folder.
    pub(super) fn text(&self, path: &Path) -> Result<String, PkiError> {
        fs::read_to_string(path).map_err(file("read", path))
    }
}

fn remove(paths: [PathBuf; 3]) -> Result<(), PkiError> {
    for path in paths {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file("remove", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// What the first certificate in a file says.
pub(super) fn facts(path: &Path) -> Result<CertificateFacts, PkiError> {
    let pem = fs::read(path).map_err(file("read", path))?;
    let none = || PkiError::NoCertificate {
        path: path.to_owned(),
    };
    let der = first_certificate(&pem).map_err(|_| none())?;
    CertificateFacts::of_der(&der).map_err(|_| none())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, PkiError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file("read", path)(error)),
    };
    let read = serde_json::from_slice(&bytes).map_err(|source| PkiError::Damaged {
        path: path.to_owned(),
        source,
    });
    read.map(Some)
}

/// Nobody else's to read: what a cluster begins with names a password's hash.
fn write_json(path: &Path, value: &impl Serialize) -> Result<(), PkiError> {
    let text = serde_json::to_vec_pretty(value).expect("plain data: JSON can say it");
    replace(path, 0o600, &text).map_err(file("write", path))
}

fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File { step, path, source }
}
