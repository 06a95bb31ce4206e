//! What a node of a cluster answers over its local socket: the cluster, tokens, removal, renewal.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use evenkeel_api::{
    ApiError, CLUSTER, CLUSTER_INIT, CLUSTER_JOIN, CLUSTER_REMOVE, CLUSTER_RENEW, CLUSTER_TOKEN,
    Code, InitCluster, JoinCluster, LocalCluster, LocalNode, LocalToken, MadeToken, MakeToken,
    MembershipState, RemoveNodes, Secret,
};
use evenkeel_identity::{Channel, Sealed, Token};
use evenkeel_interconnect::{
    AgentClient, AgentRequest, AgentResponse, JoinAnswer, JoinService, Look, TlsIdentity,
};
use evenkeel_model::{
    Estranged, MemberHa, NodeConfig, NodeName, NodeObservation, NodeSettings, Offer, Refusal,
    Standing, Topology, WallTime, code,
};
use evenkeel_orchestrator::FrontDoor;
use evenkeel_record::{Follower, Record, Survival};
use evenkeel_rest::{AuditLog, noted_locally};
use evenkeel_seam::{Clock, Ids};
use futures_util::future::join_all;
use tokio::sync::Mutex;

use super::answer::{answer, asked, conflict, failure, refused, trouble};
use super::pki::{Pki, facts};
use super::renew::renew;
use super::standing::{Belonging, said};
use super::{enter, found};

/// How long a token is good.
const TOKEN_FOR: Duration = Duration::from_secs(3600);
/// A node that is up answers within milliseconds.
const ANSWER: Duration = Duration::from_secs(5);
/// In whose name root on this controller acts.
const BY: &str = "local-root";

/// What a node of a cluster answers with.
pub(crate) struct ResidentParts {
    pub(crate) settings: NodeSettings,
    pub(crate) identity: TlsIdentity,
    pub(crate) belonging: Belonging,
    pub(crate) follower: Arc<Follower>,
    pub(crate) record: Arc<dyn Record>,
    pub(crate) agents: Arc<dyn AgentClient>,
    pub(crate) front: FrontDoor,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
}

/// The node as its administrator meets it.
pub(crate) struct Resident {
    pub(super) parts: ResidentParts,
    pub(super) pki: Pki,
    /// One change at a time.
    changing: Mutex<()>,
}

/// Lets nodes in, once it is known who does: the port where peers are heard opens first.
#[derive(Default)]
pub(crate) struct Doorman(OnceLock<Arc<Resident>>);

impl Doorman {
    /// Names who lets nodes in. Only the first call counts.
    pub(crate) fn set(&self, resident: Arc<Resident>) {
        let _ = self.0.set(resident);
    }
}

#[async_trait]
impl JoinService for Doorman {
    fn is_open(&self) -> bool {
        self.0.get().is_some_and(|resident| {
            let view = resident.parts.follower.view();
            let topology = view.control().topology.as_ref();
            let is_member = resident.parts.belonging.standing() == Some(Standing::Member);
            is_member && topology.is_some_and(|it| it.hears_newcomers(resident.parts.clock.wall()))
        })
    }

    async fn join(&self, channel: &Channel, said: Sealed) -> JoinAnswer {
        let Some(resident) = self.0.get() else {
            let refusal = Refusal::new(
                code::CANNOT_CREATE_TASK,
                "The daemon is not ready yet; try again.",
            );
            return JoinAnswer::Refused { refusal };
        };
        match resident.let_in(channel, &said).await {
            Ok(welcome) => JoinAnswer::Welcome {
                welcome: Box::new(welcome),
            },
            Err(refusal) => JoinAnswer::Refused { refusal },
        }
    }
}

impl Resident {
    pub(crate) fn new(parts: ResidentParts) -> Arc<Self> {
        Arc::new(Self {
            pki: Pki::of(&parts.settings),
            parts,
            changing: Mutex::default(),
        })
    }

    pub(super) fn topology(&self) -> Option<Topology> {
        self.parts.follower.view().control().topology.clone()
    }

    async fn shown(&self) -> LocalCluster {
        let topology = self.topology();
        let standing = self.parts.belonging.standing();
        let at = self.parts.clock.wall();
        let until = |path| facts(path).ok().map(|it| time(it.not_after));
        let files = self.parts.settings.identity();
        LocalCluster {
            node: self.parts.settings.node.to_string(),
            state: state(standing.as_ref()),
            advice: advice(standing.as_ref(), self.parts.follower.contact().trouble),
            name: topology.as_ref().map(|it| it.name.clone()),
            uuid: topology.as_ref().map(|it| it.id.to_string()),
            nodes: match &topology {
                Some(topology) => self.nodes(topology).await,
                None => Vec::new(),
            },
            tokens: topology.iter().flat_map(|it| tokens(it, at)).collect(),
            certificate_until: until(&files.certificate),
            ca_until: until(&files.ca),
        }
    }

    async fn nodes(&self, topology: &Topology) -> Vec<LocalNode> {
        // Members hear nobody else, so that whoever is none learns nothing by asking.
        let is_heard = match self.parts.belonging.standing() {
            Some(Standing::Member) | None => true,
            Some(Standing::Candidate { .. } | Standing::Stranger { .. }) => false,
        };
        let answers = topology.names().map(async |name| match is_heard {
            true => Some(self.answers(name).await),
            false => None,
        });
        let answers = join_all(answers).await;
        let members = topology.nodes.iter().zip(answers);
        let members = members.map(|(node, answers)| LocalNode {
            answers,
            ..shown_node(node, MembershipState::Member)
        });
        let candidates = topology.membership.candidates.iter();
        let candidates = candidates.map(|it| shown_node(&it.node, MembershipState::Candidate));
        members.chain(candidates).collect()
    }

    pub(super) async fn answers(&self, name: &NodeName) -> bool {
        let ping = self.parts.agents.call(name, AgentRequest::Ping);
        let answer = tokio::time::timeout(ANSWER, ping).await;
        matches!(answer, Ok(Ok(AgentResponse::Pong { .. })))
    }

    /// What a node sees of its own machine, if it answers.
    async fn observed(&self, name: &NodeName) -> Option<Box<NodeObservation>> {
        let look = Look::Itself;
        let call = self.parts.agents.call(name, AgentRequest::Observe { look });
        match tokio::time::timeout(ANSWER, call).await {
            Ok(Ok(AgentResponse::Observation { observation })) => Some(observation),
            Ok(Ok(_) | Err(_)) | Err(_) => None,
        }
    }

    /// Refuses while the node may be alive. That it does not answer proves nothing: its partner's HA engine does, by having
    /// fenced it, or a person who has seen it.
    pub(super) async fn gone(&self, name: &NodeName, is_gone: bool) -> Result<(), Refusal> {
        if self.answers(name).await {
            let text = format!("{name} answers: it is not gone. Nothing was changed.");
            return Err(Refusal::new(code::IN_USE, text));
        }
        if is_gone || self.is_fenced(name).await {
            return Ok(());
        }
        let text = format!(
            "{name} does not answer, and that it is without power is not proven: its partner's HA engine has not fenced it. \
             See that it is off and stays off; then say so with --yes-it-is-gone. Nothing was changed."
        );
        Err(Refusal::new(code::IN_USE, text))
    }

    async fn is_fenced(&self, name: &NodeName) -> bool {
        let topology = self.topology();
        let partner = topology.as_ref().and_then(|it| it.partner_of(name));
        let Some(partner) = partner else {
            return false;
        };
        let observed = self.observed(partner).await;
        let pair = observed.as_ref().and_then(|it| it.pair.known());
        match pair {
            Some(Some(pair)) => pair.partner.node == *name && pair.partner.ha == MemberHa::Fenced,
            Some(None) | None => false,
        }
    }

    /// Refuses while the node serves, or may.
    async fn serves_nothing(&self, name: &NodeName, is_gone: bool) -> Result<(), Refusal> {
        let Some(observed) = self.observed(name).await else {
            return self.gone(name, is_gone).await;
        };
        let why = match observed.pair.as_result() {
            Ok(Some(pair)) => match pair.local.ha {
                MemberHa::Serving | MemberHa::PartialGiveback => "it serves",
                MemberHa::WaitingForGiveback
                | MemberHa::Booting
                | MemberHa::Down
                | MemberHa::Fenced => return Ok(()),
            },
            Ok(None) => "it has no partner, and so serves what it has",
            Err(why) => why,
        };
        let text = format!(
            "{name} cannot be removed: {why}. Have its partner take it over, or shut both nodes of a pair down, first. Nothing \
             was changed."
        );
        Err(Refusal::new(code::IN_USE, text))
    }

    /// Refuses where no other controller can reach the record.
    pub(super) fn shares_its_record(&self) -> Result<(), Refusal> {
        use evenkeel_model::RecordSettings::{Etcd, SharedPool, Sqlite};
        match (&self.parts.settings.record, &self.parts.settings.lab) {
            (Etcd(_) | SharedPool(_), _) | (Sqlite { .. }, Some(_)) => Ok(()),
            (Sqlite { path }, None) => {
                let text = format!(
                    "The cluster's record is a file of this controller, {}, and another one cannot share it. A cluster of \
                     several controllers keeps it on etcd, or on the pair's shared pool: [record] in evenkeeld.toml.",
                    path.display()
                );
                Err(Refusal::new(code::NOT_SUPPORTED, text))
            }
        }
    }

    /// Refuses unless this node is one of the cluster's. A machine whose place another one has taken finds its name there,
    /// and is not meant by it.
    pub(super) fn is_member(&self) -> Result<(), Refusal> {
        match self.parts.belonging.standing() {
            Some(Standing::Member) => Ok(()),
            Some(standing) => {
                let text = format!("This node is none of the cluster's: {}.", said(&standing));
                Err(Refusal::new(code::IN_USE, text))
            }
            None => {
                let text = "The cluster's record is not read yet; try again.";
                Err(Refusal::new(code::CANNOT_CREATE_TASK, text))
            }
        }
    }

    async fn make_token(&self, asked: &MakeToken) -> Result<MadeToken, ApiError> {
        let _alone = self.changing.lock().await;
        self.is_member().map_err(refused)?;
        self.shares_its_record().map_err(refused)?;
        let topology = self.topology();
        let me = &self.parts.settings.node;
        let own = topology.as_ref().and_then(|it| it.node(me));
        let own =
            own.ok_or_else(|| conflict("This node is none of the cluster's: ask one that is."))?;
        if !self.pki.ca_key().exists() {
            let text = "The certificates of this cluster were made by hand, and its CA's key is not here: nodes cannot join by a \
                        token.";
            return Err(ApiError::from_number(code::NOT_SUPPORTED, text));
        }
        let node = asked.node.as_deref().map(NodeName::new).transpose();
        let node = node.map_err(|error| invalid("for", &error))?;
        if let Some(name) = &node {
            self.reaches_the_pool(name).map_err(refused)?;
        }
        let replaces = match (&node, asked.replaces) {
            (Some(name), true) => {
                // First who it is: nobody should be asked to vouch for a node that is none.
                let old = topology.as_ref().and_then(|it| it.node(name));
                let old = old.ok_or_else(|| {
                    let text = format!("The cluster has no node {name}.");
                    ApiError::from_number(code::NO_ENTRY, text)
                })?;
                self.gone(name, asked.is_gone).await.map_err(refused)?;
                Some(old.id)
            }
            (None, true) => return Err(invalid("for", &"whom does it replace?")),
            (_, false) => None,
        };
        let token = Token::make(own.interconnect.clone(), self.parts.identity.pin());
        let token = token.map_err(|error| trouble("make a token", &error))?;
        let offer = Offer {
            token: token.digest(),
            until: self.parts.clock.wall().plus(TOKEN_FOR),
            by: BY.parse().expect("a name"),
            node,
            replaces,
            used: None,
        };
        self.parts.front.offer(&offer).await.map_err(refused)?;
        tracing::info!(node = ?offer.node, replaces = asked.replaces, "a token was made");
        Ok(MadeToken {
            token: Secret(token.to_string()),
            until: offer.until.to_api(),
        })
    }

    async fn remove(&self, asked: &RemoveNodes) -> Result<LocalCluster, ApiError> {
        let _alone = self.changing.lock().await;
        self.is_member().map_err(refused)?;
        let names = asked.nodes.iter().map(NodeName::new);
        let names = names.collect::<Result<BTreeSet<_>, _>>();
        let names = names.map_err(|error| invalid("nodes", &error))?;
        if names.is_empty() {
            return Err(invalid("nodes", &"which?"));
        }
        if names.contains(&self.parts.settings.node) {
            return Err(conflict(
                "A node does not remove itself: ask one that stays.",
            ));
        }
        let topology = self.topology();
        let topology =
            topology.ok_or_else(|| conflict("The cluster's record is not read yet; try again."))?;
        // First what needs no looking: whoever is wrong about that should not be sent to shut nodes down.
        topology
            .without(&names)
            .map_err(|error| conflict(format!("Cannot remove them: {error}.")))?;
        let members: Vec<NodeName> = topology
            .names()
            .filter(|it| names.contains(*it))
            .cloned()
            .collect();
        if let Survival::Lost { why } = self.parts.record.survives_without(&members) {
            let text = format!(
                "The cluster's record would be lost with them: {why}. Nothing was changed."
            );
            return Err(conflict(text));
        }
        for name in &members {
            self.serves_nothing(name, asked.is_gone)
                .await
                .map_err(refused)?;
        }
        self.parts
            .front
            .remove_nodes(&names)
            .await
            .map_err(refused)?;
        tracing::info!(?names, "removed nodes: {names:?}");
        Ok(self.shown().await)
    }

    async fn renewed(&self) -> Result<LocalCluster, ApiError> {
        let _alone = self.changing.lock().await;
        if self.parts.settings.names_its_identity() {
            let text = "evenkeeld.toml names this node's certificate: whoever made it renews it. New files are taken up by \
                        themselves.";
            return Err(ApiError::from_number(code::NOT_SUPPORTED, text));
        }
        let parts = &self.parts;
        let renewed = renew(
            &self.pki,
            &parts.settings,
            &parts.identity,
            parts.clock.wall(),
        );
        renewed.map_err(|error| trouble("renew the certificate", error.as_ref()))?;
        Ok(self.shown().await)
    }

    /// An `init` that is repeated: its answer got lost.
    async fn inited(&self, asked: &InitCluster) -> Result<LocalCluster, ApiError> {
        match found::repeated(&self.pki, asked).await? {
            Some(()) => Ok(self.shown().await),
            None => Err(conflict(self.belongs_already())),
        }
    }

    /// A `join` that is repeated: its answer got lost.
    async fn joined(&self, asked: &JoinCluster) -> Result<LocalCluster, ApiError> {
        match enter::repeated(&self.pki, asked)? {
            Some(()) => Ok(self.shown().await),
            None => Err(conflict(self.belongs_already())),
        }
    }

    fn belongs_already(&self) -> String {
        match (self.parts.belonging.standing(), self.topology()) {
            (Some(standing @ Standing::Stranger { .. }), _) => {
                format!("Not now: {}.", said(&standing))
            }
            (_, Some(topology)) => format!(
                "This node belongs to the cluster \"{}\" already.",
                topology.name
            ),
            (_, None) => {
                "This node belongs to a cluster already, whose record it has not read.".to_owned()
            }
        }
    }
}

fn invalid(field: &str, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::with(Code::InvalidField, format!("{field}: {error}.")).target(field)
}

fn time(seconds: u64) -> String {
    WallTime::from_unix_seconds(seconds).to_api()
}

fn state(standing: Option<&Standing>) -> MembershipState {
    match standing {
        None => MembershipState::Unknown,
        Some(Standing::Member) => MembershipState::Member,
        Some(Standing::Candidate { .. }) => MembershipState::Candidate,
        Some(Standing::Stranger { why }) => match why {
            Estranged::Removed | Estranged::Renamed { .. } => MembershipState::Removed,
            Estranged::Replaced => MembershipState::Replaced,
        },
    }
}

fn advice(standing: Option<&Standing>, trouble: Option<String>) -> Option<String> {
    let trouble = trouble.map(|why| format!("the cluster's record is unavailable: {why}"));
    match standing {
        Some(Standing::Member) => trouble,
        Some(other) => Some(said(other)),
        None => Some(trouble.unwrap_or_else(|| {
            "the cluster's record has not been read, so what this node is to it is not known yet"
                .to_owned()
        })),
    }
}

fn shown_node(node: &NodeConfig, state: MembershipState) -> LocalNode {
    LocalNode {
        name: node.name.to_string(),
        uuid: node.id.to_string(),
        state,
        partner: node.partner.as_ref().map(ToString::to_string),
        interconnect: node.interconnect.clone(),
        rest: node.rest.clone(),
        platform: node.platform.to_string(),
        answers: None,
    }
}

fn tokens(topology: &Topology, at: WallTime) -> Vec<LocalToken> {
    let offers = topology.membership.offers.iter();
    let open = offers.filter(|it| it.is_open(at));
    open.map(|it| LocalToken {
        node: it.node.as_ref().map(ToString::to_string),
        replaces: it.replaces.is_some(),
        until: it.until.to_api(),
    })
    .collect()
}

type Shared = State<Arc<Resident>>;

/// The calls, noted in `audit`. What is not among them is `other`'s.
pub(crate) fn routes(
    resident: &Arc<Resident>,
    audit: Option<Arc<AuditLog>>,
    other: Router,
) -> Router {
    let own = Router::new()
        .route(CLUSTER, get(show))
        .route(CLUSTER_INIT, post(init))
        .route(CLUSTER_JOIN, post(join))
        .route(CLUSTER_TOKEN, post(token))
        .route(CLUSTER_REMOVE, post(remove))
        .route(CLUSTER_RENEW, post(renew_now))
        .with_state(Arc::clone(resident));
    noted_locally(own, audit).fallback_service(other)
}

async fn show(State(resident): Shared) -> Response {
    answer(Ok(resident.shown().await))
}

async fn init(State(resident): Shared, body: Bytes) -> Response {
    match asked(&body) {
        Ok(asked) => answer(resident.inited(&asked).await),
        Err(error) => failure(&error),
    }
}

async fn join(State(resident): Shared, body: Bytes) -> Response {
    match asked(&body) {
        Ok(asked) => answer(resident.joined(&asked).await),
        Err(error) => failure(&error),
    }
}

async fn token(State(resident): Shared, body: Bytes) -> Response {
    match asked(&body) {
        Ok(asked) => answer(resident.make_token(&asked).await),
        Err(error) => failure(&error),
    }
}

async fn remove(State(resident): Shared, body: Bytes) -> Response {
    match asked(&body) {
        Ok(asked) => answer(resident.remove(&asked).await),
        Err(error) => failure(&error),
    }
}

async fn renew_now(State(resident): Shared) -> Response {
    answer(resident.renewed().await)
}
