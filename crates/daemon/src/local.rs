//! The local socket: where root on this controller makes the first users, and lets an admin in again who lost the
//! password, and where the units of systemd's ask what is still awaited ([`crate::readiness`]). Who can open it could as well write
//! to the databases beside it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use evenkeel_rest::{Limits, serve_local};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

/// Its name in the folder of the node's data.
pub(crate) const SOCKET: &str = "local.sock";

/// Connections at once: one person, and a script or two.
const CONNECTIONS: usize = 16;

/// Serves it until `stop`. Without it everything else goes on. It is there when this returns: whoever says that the daemon is
/// ready says so afterwards.
pub(crate) fn serve(
    path: PathBuf,
    router: axum::Router,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let bound = bind(&path);
    async move {
        match bound {
            Ok(listener) => {
                let limits = Limits {
                    connections: CONNECTIONS,
                    ..Limits::default()
                };
                let own = nix::unistd::Uid::effective().as_raw();
                serve_local(listener, own, router, limits, stop).await;
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "there is no local socket: users are managed over the network only");
            }
        }
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    // One that an earlier daemon left behind: the data folder is this daemon's alone.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}
