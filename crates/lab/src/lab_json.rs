//! `lab.json`: how clients find a lab.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use evenkeel_model::{NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// The only schema there is.
pub const LAB_SCHEMA: u32 = 1;

/// What `DIR/lab.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabFile {
    /// [`LAB_SCHEMA`].
    pub schema: u32,
    /// The cluster's address, as `https://…`.
    pub url: String,
    /// PEM file of the CA that signed the REST certificates.
    pub ca: PathBuf,
    /// User of the REST API.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// A client certificate in the user's name, which lets it in once it has chosen that.
    #[serde(default)]
    pub client_certificate: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    /// Key that signs packages which this lab believes.
    pub signing_key: PathBuf,
    /// Its public half.
    pub public_key: PathBuf,
    /// The nodes, by name.
    pub nodes: Vec<LabNode>,
}

/// A node in `lab.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabNode {
    /// Its name.
    pub name: NodeName,
    /// Its id in the REST API.
    pub uuid: NodeId,
    /// Its HA partner.
    pub partner: NodeName,
    /// Its own REST address, as `https://…`.
    pub url: String,
    /// `host:port` of the data LIF that is at home on it.
    pub lif: String,
    /// Process of its `evenkeeld`; none while that does not run.
    pub pid: Option<u32>,
    /// Its folder.
    pub dir: PathBuf,
}

impl LabFile {
    /// Reads the file of the lab in `dir`.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = Layout::new(dir)?.lab_json();
        let bytes = std::fs::read(&path);
        let bytes = bytes.with_context(|| format!("there is no lab in {}", dir.display()))?;
        let file: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged", path.display()))?;
        let schema = file.schema;
        ensure!(
            schema == LAB_SCHEMA,
            "{} has schema {schema}, not {LAB_SCHEMA}",
            path.display()
        );
        Ok(file)
    }
}
