//! How to open a record on etcd.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{EtcdSettings, NodeName};
use evenkeel_seam::{Ids, RandomIds};

use super::open::{EtcdOpenError, Inner};

/// How long one try at one endpoint may take: several times what a healthy member needs, and less than a lease of three seconds.
pub(super) const ATTEMPT: Duration = Duration::from_secs(2);
/// How long connecting to one endpoint may take, TLS included.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// How long a call may take over all tries. Members that have lost their leader choose another within two or three seconds.
pub(super) const CALL: Duration = Duration::from_secs(8);
/// Pause between two rounds over all endpoints.
pub(super) const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Files for TLS, all PEM. They are read anew for every connection, so renewed ones need no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// The CAs that sign the members' certificates. No others are believed.
    pub ca: PathBuf,
    /// This client's certificate and its key, where etcd demands one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Who this client is to etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdUser {
    /// Name of the user.
    pub name: String,
    /// The file that holds the password; one newline at its end does not count. Read whenever a token is asked for.
    pub password_file: PathBuf,
}

/// How to open a record on etcd.
#[derive(Clone)]
pub struct EtcdOptions {
    /// The members' client addresses (`https://host:port`).
    pub endpoints: Vec<String>,
    /// For `https`.
    pub tls: Option<EtcdTls>,
    /// When etcd has authentication enabled.
    pub user: Option<EtcdUser>,
    /// What all keys begin with; ends with `/`. One for each cluster that shares an etcd.
    pub prefix: String,
    /// Which node hosts the member behind which endpoint; a member that is not named stands outside the cluster.
    pub members: BTreeMap<NodeName, String>,
    /// How often the members' health is looked at.
    pub look_every: Duration,
    /// How often one of the handles drops etcd's history of the keys.
    pub compact_every: Duration,
    /// Names of parts come from here.
    pub ids: Arc<dyn Ids>,
}

impl EtcdOptions {
    /// What the node's configuration says, with the ordinary bounds.
    pub fn new(settings: &EtcdSettings) -> Self {
        let client = settings.certificate.clone().zip(settings.key.clone());
        let user = settings.user.clone().zip(settings.password_file.clone());
        Self {
            endpoints: settings.endpoints.clone(),
            tls: settings.ca.clone().map(|ca| EtcdTls { ca, client }),
            user: user.map(|(name, password_file)| EtcdUser {
                name,
                password_file,
            }),
            prefix: settings.prefix.clone(),
            members: settings.members.clone(),
            look_every: Duration::from_secs(3),
            compact_every: Duration::from_secs(600),
            ids: Arc::new(RandomIds),
        }
    }

    /// Whether they can be meant; contacts nobody and reads no file.
    pub fn check(&self) -> Result<(), EtcdOpenError> {
        let inner = Inner::new(self.clone());
        inner.map(drop).map_err(EtcdOpenError::Settings)
    }
}
