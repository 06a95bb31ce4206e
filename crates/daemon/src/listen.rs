//! The REST API's addresses: this node's own, always; the cluster's, while this node coordinates.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_orchestrator::Role;
use evenkeel_rest::{Limits, serve};
use evenkeel_seam::watch;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Between two tries of an address that cannot be had.
const PAUSE: Duration = Duration::from_millis(200);
/// A daemon before this one, or the former coordinator, may be letting go of an address: from this many tries on it
/// is said, and again after as many.
const TRIES: u32 = 150;
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

/// Binds an address, for as long as it takes: another process may still hold it, its port may have no link yet, its
/// name may have changed with a new release. No such trouble is a reason to end what else this daemon does.
pub(crate) async fn bind(address: &str) -> TcpListener {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                let is_new = tries == 0 && error.kind() != io::ErrorKind::AddrInUse;
                tries += 1;
                if is_new || tries % TRIES == 0 {
                    tracing::error!(address, %error, "cannot listen at {address}; trying again: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The same, tried once before this returns: who is ready listens, where that is possible.
pub(crate) async fn begin_to_bind(address: String) -> impl Future<Output = TcpListener> {
    let first = TcpListener::bind(&address).await;
    async move {
        match first {
            Ok(listener) => listener,
            Err(_told_by_the_next_try) => bind(&address).await,
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
            Some(listener) => {
                tracing::info!(address, "serving the cluster's address");
                front.clone().serve(listener, term.clone()).await;
                tracing::info!(address, "released the cluster's address");
            }
            None => return,
        }
    }
}

fn coordinates(role: &Role) -> bool {
    match role {
        Role::Coordinator { .. } => true,
        Role::Follower { .. } => false,
    }
}
