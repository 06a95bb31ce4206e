//! Free space.

use std::path::{Path, PathBuf};

use evenkeel_model::Space;
use nix::sys::statvfs::statvfs;

use crate::Host;
use crate::look::{Answer, blocking, unavailable};

/// Folders whose free space decides whether a node can take an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Where packages are kept.
    pub store: PathBuf,
    /// Where the alternate slot lives.
    pub slot: PathBuf,
    /// Where databases and logs live.
    pub root: PathBuf,
}

pub(crate) async fn space(host: &Host, places: &Places) -> Answer<Space> {
    let places = places.clone();
    blocking(host, "free space", move |host| {
        Ok(Space {
            store_free: free(host, &places.store)?,
            slot_free: free(host, &places.slot)?,
            root_free: free(host, &places.root)?,
        })
    })
    .await
}

/// Bytes that others than root may still write. A folder that is yet to be made counts as the one that it will be in.
fn free(host: &Host, folder: &Path) -> Answer<u64> {
    let mut folder = folder;
    loop {
        match statvfs(&host.path(folder)) {
            Ok(said) => return Ok(said.blocks_available() * said.fragment_size()),
            Err(nix::errno::Errno::ENOENT) => match folder.parent() {
                Some(parent) => folder = parent,
                None => return Err(unavailable("no folder of the machine can be found")),
            },
            Err(error) => {
                return Err(unavailable(format!(
                    "the free space of {}: {error}",
                    folder.display()
                )));
            }
        }
    }
}
