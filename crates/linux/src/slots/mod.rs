//! Boot slots: two systems of which one runs, and a loader that counts how often the other is tried.
//!
//! What every loader must do is said once, in `rules`; a loader is a `Loader`: it says what it would do, and is told three things.
//! **Which slot runs is read from what booted** (the kernel's command line, the loader's own word, the link), never from what is
//! configured to boot next. Whatever the moment of a `kill -9` or a power cut, one slot with a whole image stays bootable: no loader
//! touches what the running slot boots by, except to mark it good, and the slot that is written to is taken from the loader first.

mod cmdline;
mod directory;
mod disk;
mod efi;
mod grub;
mod grubenv;
mod image;
mod loader_conf;
mod rauc;
mod rauc_state;
mod rules;
mod systemd_boot;
mod systemd_entries;
#[cfg(test)]
mod tests;
mod trees;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{BootSettings, Slot, SlotHealth, SlotSettings};

use crate::host::Host;
use crate::look::{Answer, blocking_for, unavailable};
use evenkeel_platform::{BootSlots, PlatformError};

use directory::Directory;
use disk::Disk;
use grub::Grub;
use rauc::Rauc;
use rules::Slots;
use systemd_boot::SystemdBoot;

/// How long a boot medium may take for one look or one change. Copying a kernel and its initial RAM disk to a slow stick takes some
/// twenty seconds.
const MEDIUM: Duration = Duration::from_secs(120);

/// The boot slots of a machine, as they are configured. Nothing is read yet.
pub fn open(host: &Host, settings: &SlotSettings) -> Box<dyn BootSlots> {
    on(host, settings, Disk::default())
}

fn on(host: &Host, settings: &SlotSettings, disk: Disk) -> Box<dyn BootSlots> {
    match settings {
        SlotSettings::Directory { path } => {
            let (loader, trees) = Directory::new(host, path, disk);
            Box::new(Slots::new(Files::new(host, loader), host, trees))
        }
        SlotSettings::SystemdBoot(settings) => {
            let (loader, trees) = SystemdBoot::new(host, settings, disk);
            Box::new(Slots::new(Files::new(host, loader), host, trees))
        }
        SlotSettings::Grub(settings) => {
            let (loader, trees) = Grub::new(host, settings, disk);
            Box::new(Slots::new(Files::new(host, loader), host, trees))
        }
        SlotSettings::Rauc(settings) => {
            let (loader, trees) = Rauc::new(host, settings, disk);
            Box::new(Slots::new(loader, host, trees))
        }
    }
}

/// What a loader says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// The slot that it booted.
    booted: Slot,
    /// The slot that it would boot now.
    default: Slot,
    a: SlotHealth,
    b: SlotHealth,
    /// Why what it keeps cannot be changed; none if it can.
    unwritable: Option<String>,
}

impl Seen {
    fn health(&self, slot: Slot) -> SlotHealth {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }
}

/// A boot loader's own side of the slots. The rules were applied before it is told anything; it is told so again after any failure, so
/// each call looks for itself what is left to do.
#[async_trait]
trait Loader: Send + Sync {
    /// What it says now.
    async fn look(&self) -> Result<Seen, PlatformError>;
    /// Takes a slot that does not run out of its choice, and makes the running one its default.
    async fn forbid(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError>;
    /// Makes a slot its first choice; one that is not good for `tries` boots.
    async fn choose(&self, slot: Slot, tries: u8, seen: &Seen) -> Result<(), PlatformError>;
    /// Ends the counting for the running slot.
    async fn bless(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError>;
    /// Whether the next boot comes up by itself.
    async fn boot_settings(&self) -> Result<BootSettings, PlatformError>;
}

/// The same by files alone. Blocks.
trait FileLoader: Send + Sync + 'static {
    fn look(&self) -> Result<Seen, PlatformError>;
    fn forbid(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError>;
    fn choose(&self, slot: Slot, tries: u8, seen: &Seen) -> Result<(), PlatformError>;
    fn bless(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError>;
    fn boot_settings(&self) -> Result<BootSettings, PlatformError>;
}

/// A [`FileLoader`] off the runtime's threads, one call at a time: one that hangs holds up the next ones, for as long as they wait.
struct Files<L> {
    host: Host,
    loader: Arc<L>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl<L: FileLoader> Files<L> {
    fn new(host: &Host, loader: L) -> Self {
        Self {
            host: host.clone(),
            loader: Arc::new(loader),
            turn: Arc::default(),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&L) -> Result<T, PlatformError> + Send + 'static,
    ) -> Result<T, PlatformError> {
        let (loader, turn) = (Arc::clone(&self.loader), Arc::clone(&self.turn));
        let turn = tokio::time::timeout(MEDIUM, turn.lock_owned()).await;
        let turn = turn.map_err(|_| {
            unavailable(format!(
                "the boot medium did not answer whoever asked before within {MEDIUM:?}"
            ))
        })?;
        on_medium(&self.host, move || {
            // Held until the work is over, however long its caller waits for it.
            let _turn = turn;
            work(&loader)
        })
        .await
    }
}

#[async_trait]
impl<L: FileLoader> Loader for Files<L> {
    async fn look(&self) -> Result<Seen, PlatformError> {
        self.run(L::look).await
    }

    async fn forbid(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError> {
        let seen = seen.clone();
        self.run(move |loader| loader.forbid(slot, &seen)).await
    }

    async fn choose(&self, slot: Slot, tries: u8, seen: &Seen) -> Result<(), PlatformError> {
        let seen = seen.clone();
        self.run(move |loader| loader.choose(slot, tries, &seen))
            .await
    }

    async fn bless(&self, slot: Slot, seen: &Seen) -> Result<(), PlatformError> {
        let seen = seen.clone();
        self.run(move |loader| loader.bless(slot, &seen)).await
    }

    async fn boot_settings(&self) -> Result<BootSettings, PlatformError> {
        self.run(L::boot_settings).await
    }
}

/// Runs what blocks, for as long as a medium may take. What takes longer goes on unheard: what it did must be observed.
async fn on_medium<T: Send + 'static>(
    host: &Host,
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    blocking_for(host, "the boot medium", MEDIUM, move |_| work()).await
}

/// Why what lies on a medium cannot be changed, if the medium takes no writes.
fn read_only(takes_writes: bool) -> Option<String> {
    let why = "what the boot loader reads cannot be written: it is mounted read-only";
    (!takes_writes).then(|| why.to_owned())
}

/// Whether files below `path` can be written, as far as its file system's mount goes.
fn is_writable(path: &std::path::Path) -> Result<bool, PlatformError> {
    match rustix::fs::statvfs(path) {
        Ok(stat) => Ok(!stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)),
        Err(error) => Err(unavailable(format!(
            "{} cannot be examined: {error}",
            path.display()
        ))),
    }
}
