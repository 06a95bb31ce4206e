//! `evenkeel cluster join`: asks a member to be let in, and keeps what it gives.

use evenkeel_api::{ApiError, Code, JoinCluster};
use evenkeel_identity::{NodeKey, Sealed, Token};
use evenkeel_interconnect::{
    JoinAnswer, JoinError, JoinStatement, PROTOCOL, TlsIdentity, Welcome, ask_to_join,
};
use evenkeel_model::{
    ClusterId, FailoverSettings, IdentityFiles, NodeId, NodeName, NodeSettings, PlatformSettings,
    RecordSettings, code,
};
use evenkeel_record::View;

use super::answer::{conflict, refused, trouble};
use super::describe::describe;
use super::lobby::Lobby;
use super::pki::Pki;
use crate::booted::DAEMON;

/// What a joining node says of its record, and a member compares.
pub(super) fn record_kind(settings: &NodeSettings) -> &'static str {
    match settings.record {
        RecordSettings::Sqlite { .. } => "sqlite",
        RecordSettings::Etcd(_) => "etcd",
        RecordSettings::SharedPool(_) => "shared_pool",
    }
}

/// Joins. Safe to repeat, with the same token: the node's key is made once, and the member knows it again.
pub(super) async fn join(lobby: &Lobby, asked: &JoinCluster) -> Result<Welcome, ApiError> {
    let token = token(asked)?;
    let pki = Pki::of(&lobby.settings);
    let staged = pki.staged().map_err(|error| trouble("join", &error))?;
    let (cluster, unread) = match cluster_of_record(lobby, &staged).await? {
        Ok(cluster) => (cluster, None),
        Err(why) => (None, Some(why)),
    };
    let key = staged
        .make_node_key()
        .map_err(|error| trouble("make a key", &error))?;
    let statement = statement(lobby, asked, cluster, &key)?;
    let answer = ask_to_join(&token.address, token.pin, |channel| {
        Sealed::seal(statement, channel, &token, &key)
    });
    let welcome = match answer.await.map_err(not_asked)? {
        JoinAnswer::Welcome { welcome } => *welcome,
        JoinAnswer::Refused { refusal } => {
            let mut error = refused(refusal);
            // What it is refused for may follow from that.
            error.message.extend(unread.map(|why| format!(" {why}")));
            return Err(error);
        }
    };
    // Only now: the beginning's CA would be missed, had nobody let this node in.
    staged
        .forget_founding()
        .map_err(|error| trouble("join", &error))?;
    keep(&staged, &welcome, &token, &key).map_err(|why| {
        let text = format!("This node was let in, but what it was given cannot be kept: {why}. Join again with the same token.");
        ApiError::with(Code::InternalError, text)
    })?;
    pki.publish(&staged)
        .map_err(|error| trouble("join", &error))?;
    let name = &welcome.cluster;
    tracing::info!(cluster = name, partner = ?welcome.partner, "joined cluster {name}");
    Ok(welcome)
}

/// The cluster that this node's record holds, or why it cannot be read. Refuses while what an `init` has left here is that
/// cluster's beginning, or may be.
async fn cluster_of_record(
    lobby: &Lobby,
    staged: &Pki,
) -> Result<Result<Option<ClusterId>, String>, ApiError> {
    let left = staged
        .read_founding()
        .map_err(|error| trouble("join", &error))?;
    let cluster = |view: &View| view.control().topology.as_ref().map(|it| it.id);
    match (lobby.record().await, left) {
        (Ok(view), Some(left)) if cluster(&view) == Some(left.topology.id) => {
            Err(conflict(format!(
                "This node has begun the cluster \"{}\" itself; `evenkeel cluster init` ends what was interrupted.",
                left.topology.name
            )))
        }
        (Ok(view), _) => Ok(Ok(cluster(&view))),
        (Err(error), Some(left)) => Err(ApiError::from_number(
            error.number,
            format!(
                "This node may have begun the cluster \"{}\" itself, and only the record can tell. {} Join once it can be read; or, \
                 if you know that nothing was begun, remove {} first.",
                left.topology.name,
                error.message,
                staged.founding().display()
            ),
        )),
        // The pool that holds it may be with the other node. Whether it may be so is the member's to judge.
        (Err(error), None) => Ok(Err(error.message)),
    }
}

fn statement(
    lobby: &Lobby,
    asked: &JoinCluster,
    cluster: Option<ClusterId>,
    key: &NodeKey,
) -> Result<String, ApiError> {
    let partner = wished_partner(&lobby.settings, asked.partner.as_deref())?;
    let statement = JoinStatement {
        protocol: PROTOCOL,
        daemon: DAEMON.to_owned(),
        node: describe(
            &lobby.settings,
            &asked.node,
            partner,
            NodeId(lobby.ids.uuid()),
        )?,
        public_key: key.public().to_hex(),
        wall: lobby.clock.wall(),
        record: record_kind(&lobby.settings).to_owned(),
        cluster,
    };
    Ok(serde_json::to_string(&statement).expect("plain data: JSON can say it"))
}

/// The partner that was typed, or the one that the HA engine has: there is no other for this machine.
fn wished_partner(
    settings: &NodeSettings,
    typed: Option<&str>,
) -> Result<Option<NodeName>, ApiError> {
    let invalid = |text: String| ApiError::with(Code::InvalidField, text).target("partner");
    let typed = typed.map(NodeName::new).transpose();
    let typed = typed.map_err(|error| invalid(format!("{error}.")))?;
    let engines = match &settings.platform {
        PlatformSettings::Sim { .. } => None,
        PlatformSettings::Linux(linux) => linux.failover.as_ref().map(|engine| match engine {
            FailoverSettings::Pacemaker { partner, .. } => partner,
        }),
    };
    match (typed, engines) {
        (Some(typed), Some(engines)) if typed != *engines => Err(invalid(format!(
            "The partner is to be {typed}, but [platform.failover] in evenkeeld.toml says {engines}: takeovers would go \
             astray. Nothing was changed."
        ))),
        (typed, engines) => Ok(typed.or_else(|| engines.cloned())),
    }
}

fn not_asked(error: JoinError) -> ApiError {
    let text = format!("Not joined: {}.", crate::error::chain(&error));
    match error {
        JoinError::Unreachable { .. } | JoinError::NoAnswer { .. } => {
            ApiError::from_number(code::CANNOT_CREATE_TASK, text)
        }
        JoinError::Impostor { .. } => ApiError::with(Code::InvalidField, text).target("token"),
        JoinError::Seal(_) => ApiError::with(Code::InternalError, text),
    }
}

/// Whether this node came in with that token: an answer that got lost is given again. None where it came in otherwise.
pub(super) fn repeated(pki: &Pki, asked: &JoinCluster) -> Result<Option<()>, ApiError> {
    let token = token(asked)?;
    let came_with = pki.read_joined().map_err(|error| trouble("read", &error))?;
    Ok((came_with == Some(token.digest())).then_some(()))
}

fn token(asked: &JoinCluster) -> Result<Token, ApiError> {
    asked.token.0.parse().map_err(|error| {
        ApiError::with(Code::InvalidField, format!("The token: {error}.")).target("token")
    })
}

/// Writes what was given, and sees that it can be used before it counts.
fn keep(staged: &Pki, welcome: &Welcome, token: &Token, key: &NodeKey) -> Result<(), String> {
    let said = |error: &(dyn std::error::Error + 'static)| crate::error::chain(error);
    let written = staged
        .write_ca(&welcome.ca, &welcome.ca_key)
        .and_then(|()| staged.write_certificate(&welcome.certificate))
        .and_then(|()| staged.write_joined(token.digest()));
    written.map_err(|error| said(&error))?;
    let files = IdentityFiles {
        ca: staged.ca(),
        certificate: staged.certificate(),
        key: staged.key(),
    };
    let identity = TlsIdentity::load(&files).map_err(|error| said(&error))?;
    match identity.key() == key.public().digest() {
        true => Ok(()),
        false => Err("the certificate is for another key".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partner_is_the_ha_engines() {
        let example = include_str!("../../../../systemd/evenkeeld.toml.example");
        let mut settings: NodeSettings = toml::from_str(example).unwrap();
        assert_eq!(wished_partner(&settings, None).unwrap(), None);
        let node2 = "node2".parse::<NodeName>().unwrap();
        assert_eq!(
            wished_partner(&settings, Some("node2")).unwrap(),
            Some(node2.clone())
        );
        assert!(wished_partner(&settings, Some("no name")).is_err());
        settings.platform = PlatformSettings::Linux(Box::new(evenkeel_model::LinuxSettings {
            slots: evenkeel_model::SlotSettings::Directory {
                path: "/slots".into(),
            },
            failover: Some(FailoverSettings::Pacemaker {
                partner: node2.clone(),
                ask_addresses: true,
            }),
            power: evenkeel_model::PowerSettings::default(),
            sp: evenkeel_model::SpSettings::default(),
            inventory: evenkeel_model::InventorySettings::default(),
        }));
        assert_eq!(
            wished_partner(&settings, None).unwrap(),
            Some(node2.clone())
        );
        assert_eq!(
            wished_partner(&settings, Some("node2")).unwrap(),
            Some(node2)
        );
        let refused = wished_partner(&settings, Some("node3")).unwrap_err();
        assert!(refused.message.contains("says node2"), "{refused}");
    }
}
