//! Free space.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenkeel_model::Space;
use evenkeel_platform::BootSlots;
use nix::sys::statvfs::statvfs;

use crate::Host;
use crate::look::{Answer, blocking, unavailable};

/// Folders whose free space decides whether a node can take an update.
#[derive(Clone)]
pub struct Places {
    /// Where packages are kept.
    pub store: PathBuf,
    /// Which of them is the alternate one changes with every update.
    pub slots: Arc<dyn BootSlots>,
    /// Where databases and logs live.
    pub root: PathBuf,
}

pub(crate) async fn space(host: &Host, places: &Places) -> Answer<Space> {
    let alternate = places.slots.slots().await?.alternate();
    let slot = places.slots.path(alternate);
    let (store, root) = (places.store.clone(), places.root.clone());
    blocking(host, "free space", move |host| {
        Ok(Space {
            store_free: free(&host.path(&store))?,
            slot_free: free(&slot)?,
            root_free: free(&host.path(&root))?,
        })
    })
    .await
}

/// Bytes that others than root may still write. A folder that is yet to be made counts as the one that it will be in.
fn free(folder: &Path) -> Answer<u64> {
    let mut folder = folder;
    loop {
        match statvfs(folder) {
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
