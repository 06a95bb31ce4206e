//! The REST API's addresses: this node's own, always; the cluster's, while this node coordinates.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_orchestrator::Role;
use evenkeel_rest::{Limits, serve};
use evenkeel_seam::watch;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The former coordinator may still be letting go of the address: it is waited for this often…
const TRIES: u32 = 150;
/// …with this pause, 30 s in all; then the failure is reported, and trying goes on.
const PAUSE: Duration = Duration::from_millis(200);
/// Requests on the cluster's address get this long to end when the coordinator moves: long enough for an
/// answer, short enough that the next one can listen.
const MOVE_DRAIN: Duration = Duration::from_millis(500);

/// What every listener serves.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    pub(crate) router: axum::Router,
    pub(crate) limits: Limits,
}

impl Front {
    /// Serves one address until `stop`.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        serve(listener, self.tls, self.router, self.limits, stop).await;
    }
}

/// Binds an address that a daemon before this one may still hold.
pub(crate) async fn bind(address: &str) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        tries += 1;
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES => {
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Serves the cluster's address whenever this node coordinates, until `stop`.
pub(crate) async fn follow_coordinator(
    front: Front,
    address: String,
    mut role: watch::Receiver<Role>,
    stop: CancellationToken,
) {
    let front = Front {
        limits: Limits {
            drain: MOVE_DRAIN,
            ..front.limits.clone()
        },
        ..front
    };
    loop {
        let elected = role.wait_for(coordinates);
        match stop.run_until_cancelled(elected).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
        let term = stop.child_token();
        let ended = async {
            // An orchestrator that is gone coordinates no more.
            let _gone = role.wait_for(|role| !coordinates(role)).await;
            term.cancel();
        };
        let served = serve_term(&front, &address, &term);
        tokio::join!(ended_or_stopped(ended, &stop), served);
    }
}

async fn ended_or_stopped(ended: impl Future<Output = ()>, stop: &CancellationToken) {
    tokio::select! {
        () = ended => {}
        () = stop.cancelled() => {}
    }
}

async fn serve_term(front: &Front, address: &str, term: &CancellationToken) {
    while !term.is_cancelled() {
        match term.run_until_cancelled(bind(address)).await {
            Some(Ok(listener)) => {
                tracing::info!(address, "serving the cluster's address");
                front.clone().serve(listener, term.clone()).await;
                tracing::info!(address, "released the cluster's address");
            }
            Some(Err(error)) => {
                tracing::error!(address, %error, "cannot serve the cluster's address; trying again");
                let _stopped = term.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
            None => return,
        }
    }
}

fn coordinates(role: &Role) -> bool {
    match role {
        Role::Coordinator { .. } => true,
        Role::Follower => false,
    }
}
