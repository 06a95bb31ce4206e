//! The first events of a new cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{Bootstrap, ControlEvent, Event, Seq, StreamId, WallTime};
use evenkeel_package_store::PublicKey;
use evenkeel_record::{AppendError, Fence, Follower, View, Writer};
use evenkeel_seam::Clock;

/// Pause between two tries while the record cannot be reached.
const RETRY: Duration = Duration::from_millis(500);

/// Why a bootstrap file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootstrapError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} does not say what a cluster starts from")]
    Parse {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

/// Reads what a cluster starts from.
pub(crate) fn load(path: &Path) -> Result<Bootstrap, BootstrapError> {
    let path = path.to_owned();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(BootstrapError::Read { path, source }),
    };
    serde_json::from_slice(&bytes).map_err(|source| BootstrapError::Parse { path, source })
}

/// Appends the first events if the control stream is empty. Every node tries; the stream's length lets
/// one succeed. Returns when the stream is not empty.
pub(crate) async fn append_if_empty(
    start: Bootstrap,
    follower: &Follower,
    writer: &Writer,
    clock: &Arc<dyn Clock>,
) {
    loop {
        match follower.refresh().await {
            Ok(view) if view.head(StreamId::Control) > Seq(0) => return,
            Ok(view) => match append(&start, &view, writer, clock).await {
                Ok(()) => tracing::info!(cluster = start.topology.name, "a new cluster begins"),
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot append the cluster's first events; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            },
            Err(error) => {
                tracing::debug!(%error, "the first events have to wait");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Appends them, if the stream is empty.
pub(crate) async fn append(
    start: &Bootstrap,
    view: &View,
    writer: &Writer,
    clock: &Arc<dyn Clock>,
) -> Result<(), AppendError> {
    let at = clock.wall();
    let topology = start.topology.clone();
    let mut events = vec![ControlEvent::TopologySet { at, topology }];
    let users = start.users.iter().cloned();
    events.extend(users.map(|(user, password_hash)| ControlEvent::UserSet {
        at,
        user,
        password_hash,
        account: None,
        by: None,
    }));
    let keys = start.trusted_keys.iter().cloned();
    events.extend(keys.map(|public_key| key_trusted(at, public_key)));
    let events = events.into_iter().map(Event::Control).collect();
    let first = view.write(StreamId::Control, events);
    writer.append(Fence::None, vec![first]).await.map(drop)
}

/// A key that cannot be read is kept as it is: nothing is signed with it, and whoever verifies says so.
fn key_trusted(at: WallTime, public_key: String) -> ControlEvent {
    let id = public_key.parse::<PublicKey>().map(|key| key.id());
    ControlEvent::KeyTrusted {
        at,
        key_id: id.map(|id| id.to_string()).unwrap_or_default(),
        public_key,
        name: None,
        by: None,
    }
}
