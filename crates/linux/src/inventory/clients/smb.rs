//! SMB sessions, from `smbstatus --json` (Samba 4.17 and later; smbstatus(1)).

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::{ClientRisk, ClientRiskKind};
use serde::Deserialize;

use crate::look::{Answer, json, runs};
use crate::{Call, Host};

const WITHIN: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    sessions: BTreeMap<String, Session>,
}

#[derive(Deserialize)]
struct Session {
    #[serde(default)]
    remote_machine: String,
    #[serde(default)]
    username: String,
    /// "SMB3_11", "SMB2_10", "NT1".
    #[serde(default)]
    session_dialect: String,
}

/// Sessions of dialects before 3, which have no handles that survive.
pub(super) async fn risks(host: &Host) -> Answer<Vec<ClientRisk>> {
    // smbd calls its processes "smbd", and since 4.20 by what they do, as in "smbd[10.0.0.7]".
    if !runs(host, |name| name == "smbd" || name.starts_with("smbd["))? {
        return Ok(Vec::new());
    }
    let call = Call::new("smbstatus", ["--processes", "--json"], WITHIN);
    let status: Status = json(host, &call, "samba (4.17 or later)").await?;
    let sessions = status.sessions.into_values();
    let old = sessions.filter(|session| !session.session_dialect.starts_with("SMB3"));
    Ok(old.map(risk).collect())
}

fn risk(session: Session) -> ClientRisk {
    let dialect = match session.session_dialect.as_str() {
        "" => "an SMB dialect that is not known",
        dialect => dialect,
    };
    ClientRisk {
        kind: ClientRiskKind::OldSmb,
        what: format!(
            "{} of {} speaks {dialect}",
            session.username, session.remote_machine
        ),
    }
}
