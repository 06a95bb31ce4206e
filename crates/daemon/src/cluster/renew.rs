//! Certificates that stay good: this node's is renewed by itself when a third of its time is left, and whatever the files
//! hold is taken up without a restart. What is connected stays connected.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use evenkeel_interconnect::TlsIdentity;
use evenkeel_model::{IdentityFiles, NodeSettings, WallTime};
use evenkeel_seam::Clock;

use super::pki::{NODE_SECONDS, Pki, facts};
use super::standing::Belonging;
use crate::files::{Followed, LOOK_EVERY, Stamp, Trouble};

/// How often it is looked whether the certificate is to be renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3600);
/// A new certificate must last longer than the old one by this much, in seconds: a clock that was set back renews nothing.
const LONGER_BY: u64 = 24 * 3600;

/// What keeps the identity good.
pub(crate) struct Keeping {
    pub(crate) settings: NodeSettings,
    pub(crate) identity: TlsIdentity,
    pub(crate) belonging: Belonging,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Keeping {
    /// Until the daemon ends.
    pub(crate) async fn run(self) {
        let files = self.settings.identity();
        let mut followed = Followed::from(stamp(&files));
        let (mut since_renewal, mut renewal) = (RENEW_EVERY, Trouble::default());
        loop {
            if since_renewal >= RENEW_EVERY {
                since_renewal = Duration::ZERO;
                renewal.note(in_words(self.renew_if_due()), |trouble| {
                    tracing::error!(trouble, "the certificate cannot be renewed");
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
            since_renewal += LOOK_EVERY;
            if followed.is_due(stamp(&files)) {
                let taken = take_up(&files, &self.identity, &self.belonging);
                followed.trouble.note(in_words(taken), |trouble| {
                    tracing::error!(
                        trouble,
                        "the new certificate cannot be used; the old one stays"
                    );
                });
            }
        }
    }

    fn renew_if_due(&self) -> Result<()> {
        let pki = Pki::of(&self.settings);
        if self.settings.names_its_identity() || !pki.ca_key().exists() {
            return Ok(());
        }
        let now = self.clock.wall();
        let until = facts(&pki.certificate())
            .context("the node's certificate")?
            .not_after;
        let left = until.saturating_sub(now.unix_seconds().unsigned_abs());
        if left >= NODE_SECONDS / 3 {
            return Ok(());
        }
        let ca = facts(&pki.ca()).context("the CA's certificate")?.not_after;
        // Nothing lasts longer than the CA: whoever is warned of its end knows.
        let possible = (now.unix_seconds().unsigned_abs() + NODE_SECONDS).min(ca);
        match possible > until + LONGER_BY {
            true => renew(&pki, &self.settings, &self.identity, now),
            false => Ok(()),
        }
    }
}

fn in_words(outcome: Result<()>) -> Result<(), String> {
    outcome.map_err(|error| format!("{error:#}"))
}

fn stamp(files: &IdentityFiles) -> Stamp {
    Stamp::of([&files.ca, &files.certificate, &files.key].map(|it| it.as_path()))
}

fn take_up(files: &IdentityFiles, identity: &TlsIdentity, belonging: &Belonging) -> Result<()> {
    let new = TlsIdentity::load(files)?;
    if new.key() != identity.key() && belonging.is_known_by(identity.key()) {
        bail!(
            "{} is another key than the one that the cluster knows this node by",
            files.key.display()
        );
    }
    identity.replace(&new);
    tracing::info!(path = %files.certificate.display(), "took the node's certificate up");
    Ok(())
}

/// Gives this node a new certificate for its key, now.
pub(super) fn renew(
    pki: &Pki,
    settings: &NodeSettings,
    identity: &TlsIdentity,
    now: WallTime,
) -> Result<()> {
    let key = pki.node_key()?.public();
    if key.digest() != identity.key() {
        bail!(
            "{} is not the key that this node is known by",
            pki.key().display()
        );
    }
    pki.write_certificate(&pki.sign(&settings.node, &key, now)?)?;
    identity.replace(&TlsIdentity::load(&settings.identity())?);
    let until = facts(&pki.certificate())?.not_after;
    let until = WallTime::from_unix_seconds(until).to_api();
    tracing::info!(until, "renewed this node's certificate, until {until}");
    Ok(())
}
