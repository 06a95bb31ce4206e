//! The hardware with a clock: shared by the nodes of one process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{BootId, NodeName, Slot};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::command::Effect;
use super::hardware::Hardware;
use crate::traits::PlatformError;
use crate::wire::{Command, Port, Reply, Transport};

/// Stores the hardware after a change, before anyone learns of the change.
pub type Store = Box<dyn Fn(&Hardware) -> Result<(), String> + Send + Sync>;

/// A [`Hardware`] whose time is tokio's, which a test may pause.
///
/// Whoever owns it fetches [`Machine::next_effects`] in a loop; nothing happens to the nodes otherwise.
pub struct Machine {
    hardware: Mutex<Hardware>,
    origin: Instant,
    /// Time that the hardware had seen when this machine was made.
    start_ms: u64,
    moved: Notify,
    store: Option<Store>,
}

impl Machine {
    /// Lets time go on from where the hardware was left.
    pub fn new(hardware: Hardware) -> Arc<Self> {
        Self::build(hardware, None)
    }

    /// The same, with every change stored before it is answered.
    pub fn stored(hardware: Hardware, store: Store) -> Arc<Self> {
        Self::build(hardware, Some(store))
    }

    fn build(hardware: Hardware, store: Option<Store>) -> Arc<Self> {
        Arc::new(Self {
            start_ms: hardware.now_ms(),
            hardware: Mutex::new(hardware),
            origin: Instant::now(),
            moved: Notify::new(),
            store,
        })
    }

    /// Now, on the hardware's clock.
    pub fn now_ms(&self) -> u64 {
        self.start_ms + self.origin.elapsed().as_millis() as u64
    }

    /// Looks at the hardware or changes it: faults, hands, tests. The second argument is the time.
    ///
    /// # Errors
    /// When the change could not be stored. It has happened all the same, and is stored with the next.
    pub fn with<R>(&self, act: impl FnOnce(&mut Hardware, u64) -> R) -> Result<R, PlatformError> {
        let (result, stored) = self.change(act);
        stored.map(|()| result)
    }

    fn change<R>(
        &self,
        act: impl FnOnce(&mut Hardware, u64) -> R,
    ) -> (R, Result<(), PlatformError>) {
        let mut hardware = self.hardware.lock().unwrap_or_else(PoisonError::into_inner);
        let before = hardware.revision();
        let now_ms = self.now_ms();
        let result = act(&mut hardware, now_ms);
        if hardware.revision() == before {
            return (result, Ok(()));
        }
        self.moved.notify_one();
        let stored = match &self.store {
            Some(store) => store(&hardware).map_err(PlatformError::Unavailable),
            None => Ok(()),
        };
        (result, stored)
    }

    /// Waits until something follows from what happened to the hardware. Cancel-safe.
    pub async fn next_effects(&self) -> Vec<Effect> {
        loop {
            let (effects, wake) = self.take_effects();
            if !effects.is_empty() {
                return effects;
            }
            let due = async {
                match wake {
                    Some(wake) => sleep_until(self.instant(wake)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => {}
                () = self.moved.notified() => {}
            }
        }
    }

    fn take_effects(&self) -> (Vec<Effect>, Option<u64>) {
        let look = |hardware: &mut Hardware, now| (hardware.advance(now), hardware.next_wake());
        let (taken, stored) = self.change(look);
        // What has happened must be followed, stored or not: the next change is stored with it.
        if let Err(error) = stored {
            tracing::error!(%error, "the hardware's state was not stored");
        }
        taken
    }

    fn instant(&self, at_ms: u64) -> Instant {
        self.origin + Duration::from_millis(at_ms.saturating_sub(self.start_ms))
    }

    /// A call of a node in one of its boots. A boot that is over is not heard any more.
    pub fn call(
        &self,
        node: &NodeName,
        boot: Option<BootId>,
        command: &Command,
    ) -> Result<Reply, PlatformError> {
        self.with(|hardware, now| {
            if boot.is_some() && hardware.boot_of(node) != boot {
                let why = format!("the boot of {node} that asks is over");
                return Err(PlatformError::Unavailable(why));
            }
            hardware.handle(node, command, now)
        })?
    }

    /// The platform of a node in its present boot; `None` while it is not up. `slots` holds the folders
    /// `a` and `b`.
    pub fn platform(self: &Arc<Self>, node: &NodeName, slots: PathBuf) -> Option<InProcess> {
        let boot_id = self.with(|hardware, _| hardware.boot_of(node)).ok()??;
        Some(Port::new(Local {
            machine: Arc::clone(self),
            node: node.clone(),
            boot_id,
            slots,
        }))
    }
}

/// One boot of one node, in the process that keeps the hardware.
pub type InProcess = Port<Local>;

/// Carries calls to a [`Machine`] of this process.
#[derive(Clone)]
pub struct Local {
    machine: Arc<Machine>,
    node: NodeName,
    boot_id: BootId,
    slots: PathBuf,
}

#[async_trait]
impl Transport for Local {
    async fn call(&self, command: Command) -> Result<Reply, PlatformError> {
        self.machine.call(&self.node, Some(self.boot_id), &command)
    }

    fn slot_path(&self, slot: Slot) -> PathBuf {
        self.slots.join(slot.as_str())
    }
}
