//! A member lets a node in: what is proven, what is compared, what is signed. The record decides.

use evenkeel_identity::{Channel, PublicKey, Sealed};
use evenkeel_interconnect::{JoinStatement, PROTOCOL, Welcome};
use evenkeel_model::{
    ClusterId, Entrant, MembershipError, NodeConfig, NodeId, NodeName, RecordSettings, Refusal,
    Topology, code,
};
use evenkeel_orchestrator::Release;

use super::enter::record_kind;
use super::pki::PkiError;
use super::resident::Resident;
use crate::error::chain;

/// Clocks of one cluster are this close, in seconds: certificates, tokens and what people read in logs depend on it. Time
/// synchronisation keeps them far closer.
const CLOCKS_WITHIN: u64 = 120;

impl Resident {
    /// Hears a node that wants in. Everything that can fail comes before the append; after it, the same node is told the
    /// same again.
    pub(super) async fn let_in(
        &self,
        channel: &Channel,
        said: &Sealed,
    ) -> Result<Welcome, Refusal> {
        let invalid = |error: &dyn std::fmt::Display| {
            Refusal::new(
                code::INVALID_VALUE,
                format!("The request to join is refused: {error}."),
            )
        };
        let token = said.token(channel).map_err(|error| invalid(&error))?;
        let statement: JoinStatement = serde_json::from_str(&said.statement).map_err(|error| {
            invalid(&format!(
                "it cannot be understood ({error}): another release, perhaps"
            ))
        })?;
        let key = PublicKey::from_hex(&statement.public_key).map_err(|error| invalid(&error))?;
        said.possesses(channel, &key)
            .map_err(|error| invalid(&error))?;
        self.is_member()?;
        let topology = self.topology();
        let topology = topology.ok_or_else(|| {
            Refusal::new(
                code::CANNOT_CREATE_TASK,
                "The cluster's record is not read yet; try again.",
            )
        })?;
        // Who made a token up hears nothing of the cluster.
        let offers = &topology.membership.offers;
        let offer = offers.iter().find(|it| it.token == token);
        let offer = offer.ok_or_else(|| invalid(&MembershipError::UnknownToken))?;
        self.comparable(&statement, topology.id)?;
        if offer.replaces.is_some() && offer.used.is_none() {
            // Said when the token was made; it may have come up since.
            let name = offer.node.as_ref().unwrap_or(&statement.node.name);
            if self.answers(name).await {
                let text =
                    format!("{name} answers: the machine that is to be replaced is not gone.");
                return Err(Refusal::new(code::IN_USE, text));
            }
        }
        let name = statement.node.name.clone();
        let certificate = self.signed(&name, &key).map_err(|error| {
            Refusal::new(
                code::INTERNAL,
                format!("The member cannot sign: {}.", chain(&error)),
            )
        })?;
        let entrant = Entrant {
            token,
            node: NodeConfig {
                id: NodeId(self.parts.ids.uuid()),
                ..statement.node.clone()
            },
            key: key.digest(),
        };
        let release = Release {
            daemon: statement.daemon.clone(),
        };
        let topology = self.parts.front.admit_node(&entrant, &release).await?;
        tracing::info!(node = %name, "let node {name} in");
        self.welcome(&topology, &name, certificate)
    }

    fn signed(&self, name: &NodeName, key: &PublicKey) -> Result<String, PkiError> {
        self.pki.sign(name, key, self.parts.clock.wall())
    }

    fn welcome(
        &self,
        topology: &Topology,
        name: &NodeName,
        certificate: String,
    ) -> Result<Welcome, Refusal> {
        let read = |path: &std::path::Path| self.pki.text(path);
        let files = read(&self.pki.ca()).and_then(|ca| Ok((ca, read(&self.pki.ca_key())?)));
        let (ca, ca_key) = files.map_err(|error| {
            let text = format!(
                "The node was let in, but cannot be told what it needs: {}. Join again with the same token.",
                chain(&error)
            );
            Refusal::new(code::INTERNAL, text)
        })?;
        Ok(Welcome {
            cluster: topology.name.clone(),
            ca,
            ca_key,
            certificate,
            partner: topology.partner_of(name).cloned(),
        })
    }

    /// Whether the newcomer speaks as this node does, at the same time, and writes to the same record.
    fn comparable(&self, statement: &JoinStatement, cluster: ClusterId) -> Result<(), Refusal> {
        if statement.protocol != PROTOCOL {
            let text = format!(
                "The node speaks the node-to-node protocol {}, this cluster {PROTOCOL}. Install the cluster's release on it.",
                statement.protocol
            );
            return Err(Refusal::new(code::NOT_SUPPORTED, text));
        }
        let (ours, theirs) = (self.parts.clock.wall(), statement.wall);
        let apart = ours.unix_seconds().abs_diff(theirs.unix_seconds());
        if apart > CLOCKS_WITHIN {
            let text = format!(
                "The node's clock is {apart} s apart from this one's ({} there, {} here). Synchronize both (chrony, \
                 systemd-timesyncd), and join again.",
                theirs.to_api(),
                ours.to_api()
            );
            return Err(Refusal::new(code::INVALID_VALUE, text));
        }
        self.shares_its_record()?;
        self.reaches_the_pool(&statement.node.name)?;
        self.same_record(statement, cluster)
    }

    /// Refuses a node that can never have the record: a pool is two controllers', and no third one's.
    pub(super) fn reaches_the_pool(&self, name: &NodeName) -> Result<(), Refusal> {
        match &self.parts.settings.record {
            RecordSettings::SharedPool(shared) if *name != shared.partner => {
                let text = format!(
                    "{name} cannot have the cluster's record: it is on the pool of {} and {}. More nodes need a record on \
                     etcd: [record] in evenkeeld.toml.",
                    self.parts.settings.node, shared.partner
                );
                Err(Refusal::new(code::NOT_SUPPORTED, text))
            }
            RecordSettings::SharedPool(_)
            | RecordSettings::Sqlite { .. }
            | RecordSettings::Etcd(_) => Ok(()),
        }
    }

    fn same_record(&self, statement: &JoinStatement, cluster: ClusterId) -> Result<(), Refusal> {
        let settings = &self.parts.settings;
        let why = match (&settings.record, statement.cluster) {
            _ if statement.record != record_kind(settings) => format!(
                "its record is of the kind {}, the cluster's of the kind {}",
                statement.record,
                record_kind(settings)
            ),
            (_, Some(seen)) if seen == cluster => return Ok(()),
            // This pair has it, and the newcomer, the other half of the pool's pair, is not heard for it yet.
            (RecordSettings::SharedPool(_), None) => return Ok(()),
            (_, Some(_)) => "its record holds another cluster".to_owned(),
            (RecordSettings::Sqlite { .. } | RecordSettings::Etcd(_), None) => {
                "its record cannot be read there, or holds no cluster".to_owned()
            }
        };
        let text = format!(
            "The node does not see this cluster's record: {why}. Give it the same [record] in evenkeeld.toml as here, restart \
             evenkeeld there, and join again."
        );
        Err(Refusal::new(code::INVALID_VALUE, text))
    }
}
