//! Whether this node belongs to its cluster, as the topology changes. One that does not has no duties: it may reach the
//! record and its peers for longer, and must not be taken for what it was.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use evenkeel_api::{ApiError, Code};
use evenkeel_model::{Digest, Estranged, NodeName, Standing};
use evenkeel_record::Follower;
use evenkeel_seam::watch;

use super::answer::failure;
use crate::derived;

/// What this node is to the cluster; none while the topology is not known.
#[derive(Clone)]
pub(crate) struct Belonging {
    follower: Arc<Follower>,
    name: NodeName,
    standing: watch::Receiver<Option<Standing>>,
    belongs: watch::Receiver<bool>,
}

impl Belonging {
    /// Of the node of this name and key.
    pub(crate) fn follow(follower: &Arc<Follower>, name: &NodeName, key: Digest) -> Self {
        let (name, own) = (name.clone(), name.clone());
        let standing = derived::standing(follower, name.clone(), key);
        let belongs = derived::belongs(follower, name, key);
        Self {
            follower: Arc::clone(follower),
            name: own,
            standing,
            belongs,
        }
    }

    /// Whether the cluster knows this node by that key, and so by no other.
    pub(crate) fn is_known_by(&self, key: Digest) -> bool {
        let view = self.follower.view();
        let mut topologies = view.control().topology.iter();
        topologies.any(|it| it.membership.keys.get(&self.name) == Some(&key))
    }

    pub(crate) fn standing(&self) -> Option<Standing> {
        self.standing.borrow().clone()
    }

    /// Whether the cluster's duties are this node's. While nothing is known of a cluster, nobody else has them.
    pub(crate) fn belongs(&self) -> watch::Receiver<bool> {
        self.belongs.clone()
    }

    /// Says in the log when that changes.
    pub(crate) async fn tell(mut self) {
        loop {
            match &*self.standing.borrow_and_update() {
                None | Some(Standing::Member) => {}
                Some(standing) => tracing::warn!("{}", said(standing)),
            }
            if self.standing.changed().await.is_err() {
                return;
            }
        }
    }
}

/// In words, and what to do.
pub(crate) fn said(standing: &Standing) -> String {
    match standing {
        Standing::Member => "this node is one of the cluster's".to_owned(),
        Standing::Candidate { partner } => {
            let partner = partner
                .as_ref()
                .map_or("its partner".to_owned(), ToString::to_string);
            format!(
                "this node was let in, and waits for {partner} to join: until then it follows the record and has no duties"
            )
        }
        Standing::Stranger { why } => {
            let why = match why {
                Estranged::Renamed { is } => {
                    return format!(
                        "the cluster knows this machine as {is}, and `node` in its configuration says otherwise: no other node hears it, \
                         and it has no duties. Put `node = \"{is}\"` back, and start evenkeeld anew"
                    );
                }
                Estranged::Removed => "this node was removed from its cluster",
                Estranged::Replaced => "another machine has taken this node's place in the cluster",
            };
            format!(
                "{why}: no other node hears it, and it has no duties. To join anew, stop evenkeeld, move the folder `pki` below \
                 its data away, start it, and type `evenkeel cluster join`"
            )
        }
    }
}

/// Serves only while this node belongs to the cluster: what a removed one shows is old, and what it is asked for it may
/// not do.
pub(crate) fn only_while_it_belongs(router: Router, belonging: Belonging) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| {
        let belonging = belonging.clone();
        async move { pass(&belonging, request, next).await }
    }))
}

async fn pass(belonging: &Belonging, request: Request, next: Next) -> Response {
    match belonging.standing() {
        None | Some(Standing::Member) => next.run(request).await,
        Some(standing) => {
            let error = ApiError::with(
                Code::InternalError,
                format!("Not served here: {}.", said(&standing)),
            );
            failure(&ApiError {
                status: 503,
                ..error
            })
        }
    }
}
