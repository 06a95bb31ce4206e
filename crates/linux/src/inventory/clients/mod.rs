//! Clients that a takeover could disturb, as far as a server can see them.
//!
//! A service that is not there has no clients: that is known. One that is there and does not say who its clients are leaves them
//! unknown, with what to do about it.

mod iscsi;
mod nfs;
mod nvmeof;
mod smb;

use evenkeel_model::ClientRisk;

use crate::Host;
use crate::look::{Answer, blocking};

/// In words, clients that would be hurt.
pub(crate) async fn hazards(host: &Host) -> Answer<Vec<String>> {
    blocking(host, "NFS clients", nfs::hazards).await
}

/// Clients whose protocol or set-up does not survive a takeover well.
pub(crate) async fn risks(host: &Host) -> Answer<Vec<ClientRisk>> {
    let mut risks = smb::risks(host).await?;
    let san = |host: &Host| {
        let mut risks = iscsi::risks(host)?;
        risks.extend(nvmeof::risks(host)?);
        Ok(risks)
    };
    risks.extend(blocking(host, "SAN hosts", san).await?);
    Ok(risks)
}
