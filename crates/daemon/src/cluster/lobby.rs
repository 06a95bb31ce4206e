//! Before this node belongs to a cluster: the pair's watch runs, the record is followed as far as it can be, and the local
//! socket waits for `evenkeel cluster init` or `join`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Json, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use evenkeel_api::{
    ApiError, CLUSTER, CLUSTER_INIT, CLUSTER_JOIN, InitCluster, JoinCluster, LocalCluster,
    MembershipState,
};
use evenkeel_model::{NodeSettings, code};
use evenkeel_record::{Follower, View, Writer};
use evenkeel_rest::{AuditLog, noted_locally};
use evenkeel_seam::{Clock, Ids};
use sd_notify::NotifyState;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{answer, asked, conflict, failure};
use super::pki::Pki;
use super::{enter, found};
use crate::local;
use crate::notify::notify;
use crate::readiness::{self, Unjoined};
use crate::watchdog::{self, Watched};

/// How long a record may take to open: a second between two tries, and a file system or an etcd that comes up beside the
/// daemon.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// Pause between two looks.
const RETRY: Duration = Duration::from_millis(200);

const ADVICE: &str = "This node belongs to no cluster yet. `evenkeel cluster init --name NAME --platform PLATFORM` begins one; to join \
                      one, type `evenkeel cluster token` on one of its nodes and `evenkeel cluster join TOKEN` here.";

/// What beginning and joining work with.
pub(crate) struct Lobby {
    pub(crate) settings: NodeSettings,
    pub(crate) follower: Arc<Follower>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    /// What units of systemd's are told meanwhile.
    pub(crate) unjoined: Unjoined,
    pub(crate) audit: Option<Arc<AuditLog>>,
    /// One change at a time.
    pub(crate) changing: Mutex<()>,
    pub(crate) entered: Notify,
}

impl Lobby {
    /// The record as it is now. One that is being opened gets some time: the daemon may have just started.
    pub(super) async fn record(&self) -> Result<Arc<View>, ApiError> {
        let until = Instant::now() + OPENS_WITHIN;
        loop {
            match self.follower.refresh().await {
                Ok(view) => return Ok(view),
                Err(_) if Instant::now() < until => tokio::time::sleep(RETRY).await,
                Err(error) => {
                    let text = format!(
                        "The cluster's record cannot be read: {error}. Nothing was changed."
                    );
                    return Err(ApiError::from_number(code::CANNOT_CREATE_TASK, text));
                }
            }
        }
    }

    fn shown(&self) -> LocalCluster {
        LocalCluster {
            node: self.settings.node.to_string(),
            state: MembershipState::None,
            advice: Some(ADVICE.to_owned()),
            name: None,
            uuid: None,
            nodes: Vec::new(),
            tokens: Vec::new(),
            certificate_until: None,
            ca_until: None,
        }
    }
}

/// Waits until this node belongs to a cluster, or until `stop`. The daemon is ready meanwhile: it does what it can.
pub(crate) async fn wait(lobby: Arc<Lobby>, stop: &CancellationToken) {
    tracing::warn!("{ADVICE}");
    let closing = stop.child_token();
    let socket = lobby.settings.data.join(local::SOCKET);
    let served = tokio::spawn(local::serve(socket, routes(&lobby), closing.clone()));
    notify(&[
        NotifyState::Ready,
        NotifyState::Status(
            "belongs to no cluster yet: evenkeel cluster init, or evenkeel cluster join",
        ),
    ]);
    let feeding = async {
        watchdog::feed(vec![Watched::follower(lobby.follower.pulse())]).await;
        // Nobody watches: that is no reason to go on.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = lobby.entered.notified() => {}
        () = feeding => {}
    }
    // Whoever asked for it gets the answer first.
    closing.cancel();
    if let Err(error) = served.await {
        tracing::error!(%error, "the local socket ended badly");
    }
}

type Shared = State<Arc<Lobby>>;

fn routes(lobby: &Arc<Lobby>) -> Router {
    let own = Router::new()
        .route(CLUSTER, get(show))
        .route(CLUSTER_INIT, post(init))
        .route(CLUSTER_JOIN, post(join))
        .route(readiness::PATH, get(readiness))
        .with_state(Arc::clone(lobby));
    noted_locally(own, lobby.audit.clone()).fallback(nothing_else)
}

async fn show(State(lobby): Shared) -> Response {
    answer(Ok(lobby.shown()))
}

async fn readiness(State(lobby): Shared) -> Response {
    let is_changing = lobby.changing.try_lock().is_err();
    Json(lobby.unjoined.look(is_changing).await).into_response()
}

async fn nothing_else() -> Response {
    failure(&conflict(ADVICE))
}

async fn init(State(lobby): Shared, body: Bytes) -> Response {
    let asked: InitCluster = match asked(&body) {
        Ok(asked) => asked,
        Err(error) => return failure(&error),
    };
    // Whoever asks may be gone before it is done: it is done all the same.
    let work = async move {
        let _alone = lobby.changing.lock().await;
        let pki = Pki::of(&lobby.settings);
        match pki.is_there() {
            // Somebody else asked meanwhile, or the same one twice.
            true => found::repeated(&pki, &asked).await?.ok_or_else(entered)?,
            false => found::found(&lobby, &asked).await?,
        }
        lobby.entered.notify_one();
        Ok(lobby.shown_after(MembershipState::Member))
    };
    answer(finished(tokio::spawn(work).await))
}

async fn join(State(lobby): Shared, body: Bytes) -> Response {
    let asked: JoinCluster = match asked(&body) {
        Ok(asked) => asked,
        Err(error) => return failure(&error),
    };
    let work = async move {
        let _alone = lobby.changing.lock().await;
        let pki = Pki::of(&lobby.settings);
        let state = match pki.is_there() {
            true => {
                enter::repeated(&pki, &asked)?.ok_or_else(entered)?;
                MembershipState::Unknown
            }
            false => match enter::join(&lobby, &asked).await?.partner {
                Some(_) => MembershipState::Member,
                None => MembershipState::Candidate,
            },
        };
        lobby.entered.notify_one();
        Ok(lobby.shown_after(state))
    };
    answer(finished(tokio::spawn(work).await))
}

fn entered() -> ApiError {
    conflict("This node belongs to a cluster since a moment ago: see `evenkeel cluster show`.")
}

fn finished<T>(
    outcome: Result<Result<T, ApiError>, tokio::task::JoinError>,
) -> Result<T, ApiError> {
    outcome.unwrap_or_else(|error| Err(super::answer::trouble("end it", &error)))
}

impl Lobby {
    /// What is so once the daemon has gone on, within moments.
    fn shown_after(&self, state: MembershipState) -> LocalCluster {
        LocalCluster {
            state,
            advice: None,
            ..self.shown()
        }
    }
}
