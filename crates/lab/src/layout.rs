//! Where a lab keeps what.

use std::path::{Path, PathBuf};

use evenkeel_model::NodeName;

/// The folder of a lab. Absolute, so that daemons find it from wherever they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The lab in `dir`, which need not exist yet.
    pub fn new(dir: &Path) -> std::io::Result<Self> {
        let dir = std::path::absolute(dir)?;
        Ok(Self { dir })
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What clients read: addresses, credentials, processes.
    pub fn lab_json(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// Locked by the supervisor that runs.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lab.lock")
    }

    /// The supervisor's socket for `evenkeel lab …`.
    pub fn control_socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// What was decided when the lab was made.
    pub fn settings(&self) -> PathBuf {
        self.dir.join("settings.json")
    }

    /// The simulated hardware.
    pub fn hardware(&self) -> PathBuf {
        self.dir.join("hardware.json")
    }

    /// What the cluster starts from: a `model::Bootstrap`.
    pub fn bootstrap(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    /// The record's database.
    pub fn record(&self) -> PathBuf {
        self.dir.join("record").join("record.db")
    }

    /// The key that signs packages for this lab. A key that is there already when the lab is made is
    /// used; the public half is beside it, with `.pub`.
    pub fn signing_key(&self) -> PathBuf {
        self.dir.join("keys").join("lab")
    }

    /// The public half of [`Layout::signing_key`].
    pub fn public_key(&self) -> PathBuf {
        self.dir.join("keys").join("lab.pub")
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("tls").join("ca.pem")
    }

    /// The CA's key.
    pub fn ca_key(&self) -> PathBuf {
        self.dir.join("tls").join("ca.key")
    }

    /// The certificate of the CA whose client certificates let users in who have chosen that.
    pub fn client_ca(&self) -> PathBuf {
        self.dir.join("tls").join("client-ca.pem")
    }

    /// The key of that CA.
    pub fn client_ca_key(&self) -> PathBuf {
        self.dir.join("tls").join("client-ca.key")
    }

    /// A certificate in the name of the lab's user, and its key.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        let tls = self.dir.join("tls");
        (tls.join("client.pem"), tls.join("client.key"))
    }

    /// A node's folder.
    pub fn node(&self, node: &NodeName) -> NodeLayout {
        NodeLayout {
            dir: self.dir.join("nodes").join(node.as_str()),
        }
    }
}

/// The folder of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLayout {
    dir: PathBuf,
}

impl NodeLayout {
    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its `evenkeeld.toml`.
    pub fn config(&self) -> PathBuf {
        self.dir.join("evenkeeld.toml")
    }

    /// Databases and packages: the daemon's own folder.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The folder that holds the slots `a` and `b`.
    pub fn slots(&self) -> PathBuf {
        self.dir.join("slots")
    }

    /// The state of its links: a `model::Link`.
    pub fn link(&self) -> PathBuf {
        self.dir.join("link.json")
    }

    /// The supervisor's socket for this node's hardware.
    pub fn hardware_socket(&self) -> PathBuf {
        self.dir.join("hardware.sock")
    }

    /// Certificate and key of the interconnect.
    pub fn node_certificate(&self) -> (PathBuf, PathBuf) {
        let tls = self.dir.join("tls");
        (tls.join("node.pem"), tls.join("node.key"))
    }

    /// Certificate and key of the REST API.
    pub fn rest_certificate(&self) -> (PathBuf, PathBuf) {
        let tls = self.dir.join("tls");
        (tls.join("rest.pem"), tls.join("rest.key"))
    }

    /// Output of the daemon.
    pub fn daemon_log(&self) -> PathBuf {
        self.dir.join("evenkeeld.log")
    }

    /// Output of the LIF server.
    pub fn lif_log(&self) -> PathBuf {
        self.dir.join("lif-server.log")
    }
}
