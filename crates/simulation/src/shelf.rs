//! Stand-ins for a node's package store and for writing a slot: what is there, not its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{InstallError, InstallRequest, Installer, Packages, PackagesError};
use evenkeel_firmware::QualificationMark;
use evenkeel_model::{
    Digest, NodeName, OperationKind, PackagesStatus, Progress, SlotHealth, SlotImage, Trouble, code,
};
use evenkeel_platform::wire::{Command, Reply};
use evenkeel_record::Follower;
use evenkeel_seam::watch;
use tokio::time::sleep;

use crate::settings::{NEW, OLD, digest, version};
use crate::world::World;

/// How long a package takes from one node to another.
const PULL: Duration = Duration::from_millis(150);
/// What a full disk says.
const FULL: &str = "no space for the package";
/// Parts in which a slot is written.
const PARTS: u64 = 4;
/// How long each takes.
const PART: Duration = Duration::from_millis(120);

/// A disk qualification package, if there is one.
type InPlace = Option<(QualificationMark, Vec<u8>)>;

/// A node's packages. They outlive its daemon.
#[derive(Clone, Default)]
pub(crate) struct Shelf {
    held: Arc<Mutex<BTreeSet<Digest>>>,
    /// There is no room for more.
    full: Arc<AtomicBool>,
    /// The disk qualification package in place.
    qualification: Arc<Mutex<InPlace>>,
}

impl Shelf {
    pub(crate) fn put(&self, package: Digest) {
        self.lock().insert(package);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, package: Digest) {
        self.lock().remove(&package);
    }

    pub(crate) fn holds(&self, package: Digest) -> bool {
        self.lock().contains(&package)
    }

    pub(crate) fn qualification(&self) -> MutexGuard<'_, InPlace> {
        let kept = self.qualification.lock();
        kept.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the shelf as the catalogue says: the daemon's keeper.
    pub(crate) async fn keep(self, follower: Arc<Follower>) {
        let mut views = follower.views();
        loop {
            let view = follower.view();
            let catalogue = view.catalogue();
            let wanted = catalogue.packages.keys().chain(catalogue.firmware.keys());
            for package in wanted.filter(|package| !self.holds(**package)) {
                sleep(PULL).await;
                if !self.is_full() {
                    self.put(*package);
                }
            }
            self.drop_leftovers(&follower).await;
            if views.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Shelf {
    /// Says so of all that could come.
    fn trouble(&self) -> BTreeMap<Digest, Trouble> {
        let known = [OLD, NEW].map(digest);
        let missing = known
            .into_iter()
            .filter(|d| self.is_full() && !self.holds(*d));
        let no_room = || Trouble {
            code: code::NO_SPACE,
            message: FULL.to_owned(),
        };
        missing.map(|digest| (digest, no_room())).collect()
    }

    /// Judged by the record as it is now; what is coming in is not named there yet.
    async fn drop_leftovers(&self, follower: &Follower) {
        let Ok(view) = follower.refresh().await else {
            return;
        };
        if view.control().open_of(OperationKind::PackageGet).is_none() {
            let (packages, firmware) = (&view.catalogue().packages, &view.catalogue().firmware);
            let named = |it: &Digest| packages.contains_key(it) || firmware.contains_key(it);
            self.lock().retain(named);
        }
    }
}

#[async_trait]
impl Packages for Shelf {
    async fn status(&self) -> Result<PackagesStatus, PackagesError> {
        let held = self.lock().iter().copied().collect();
        Ok(PackagesStatus {
            held,
            trouble: self.trouble(),
            accepts_unsigned: true,
            ..PackagesStatus::default()
        })
    }

    async fn pull(&self, package: Digest) -> Result<(), PackagesError> {
        sleep(PULL).await;
        if self.is_full() {
            return Err(PackagesError::Unavailable(FULL.to_owned()));
        }
        self.put(package);
        Ok(())
    }
}

/// Writes a node's slots in several steps; killed between two of them, it leaves no whole image.
pub(crate) struct Writer {
    pub(crate) world: Arc<World>,
    pub(crate) node: NodeName,
}

impl Writer {
    fn set(&self, path: &Path, image: Option<SlotImage>) {
        let slot = crate::watchdog::slot_of(path);
        let set = |hardware: &mut evenkeel_platform::sim::Hardware, _| {
            hardware.set_image(&self.node, slot, image)
        };
        let done = self.world.machine().with(set);
        assert!(matches!(done, Ok(Ok(()))), "the writer's node exists");
    }

    fn is_slot_full(&self) -> bool {
        let look = |hardware: &mut evenkeel_platform::sim::Hardware, now| {
            hardware.handle(&self.node, &Command::Space, now)
        };
        matches!(self.world.hardware(look), Ok(Reply::Space(space)) if space.slot_free == 0)
    }
}

#[async_trait]
impl Installer for Writer {
    async fn install(
        &self,
        request: &InstallRequest,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), InstallError> {
        if request.package != digest(NEW) {
            return Err(InstallError::Refused("no such package".to_owned()));
        }
        let holds = self.world.nodes()[&self.node].shelf.holds(request.package);
        if !holds {
            let why = "the package is not in the store".to_owned();
            return Err(InstallError::Failed(why));
        }
        self.world.watches_a_write(&self.node, request.slot);
        self.set(&request.path, None);
        for done in 0..PARTS {
            sleep(PART).await;
            self.world.watches_a_write(&self.node, request.slot);
            if self.is_slot_full() {
                let why = "no space left on the slot".to_owned();
                return Err(InstallError::Failed(why));
            }
            progress.send_replace(Progress {
                text: "extracting".to_owned(),
                done,
                total: PARTS,
            });
        }
        let image = SlotImage {
            digest: request.package,
            version: version(NEW),
        };
        self.set(&request.path, Some(image));
        Ok(())
    }
}

/// Whether a slot may be written: the loader must know to stay away from it.
pub(crate) fn may_write(health: SlotHealth) -> bool {
    match health {
        SlotHealth::Unbootable => true,
        SlotHealth::Untried { .. } | SlotHealth::Good => false,
    }
}
