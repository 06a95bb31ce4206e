//! A node that was installed and never belonged to a cluster.

use std::path::PathBuf;

use evenkeel_model::NodeSettings;

/// It has nothing to serve with, and nothing to lose: no daemon runs, and that is said.
#[derive(Debug, thiserror::Error)]
#[error(
    "this node belongs to no cluster yet: neither {} nor {} is there. Put the cluster's CA, this node's \
     certificate and its key there, as docs/install.md says, then: systemctl start evenkeeld",
    ca.display(),
    certificate.display()
)]
pub(crate) struct Stranger {
    ca: PathBuf,
    certificate: PathBuf,
}

/// Refuses to start where nothing was ever configured. A node that has lost its certificates is another matter: its pair's
/// watch must run, again and again, whatever keeps the rest from starting.
pub(crate) fn refuse(settings: &NodeSettings) -> Result<(), Stranger> {
    let own = &settings.interconnect;
    let has_run = settings.data.join("node.db").exists();
    let has_identity = [&own.ca, &own.certificate, &own.key]
        .into_iter()
        .any(|file| file.exists());
    match has_run || has_identity {
        true => Ok(()),
        false => Err(Stranger {
            ca: own.ca.clone(),
            certificate: own.certificate.clone(),
        }),
    }
}
