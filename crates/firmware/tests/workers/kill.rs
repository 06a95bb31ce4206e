//! A way to the hardware on which a worker can be killed, before or after any command.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use evenkeel_model::{BootId, NodeName, Slot};
use evenkeel_platform::PlatformError;
use evenkeel_platform::sim::Machine;
use evenkeel_platform::wire::{Command, Reply, Transport};
use tokio::sync::Notify;

/// Carries a node's calls, until it is told to stop.
#[derive(Clone)]
pub struct Wire {
    pub machine: Arc<Machine>,
    pub node: NodeName,
    pub boot: BootId,
    pub calls: Arc<AtomicUsize>,
    /// The call at which the caller is killed, and whether the hardware still hears it.
    pub kill_at: Option<(usize, bool)>,
    pub killed: Arc<Notify>,
}

impl Wire {
    async fn die(&self) {
        self.killed.notify_one();
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl Transport for Wire {
    async fn call(&self, command: Command) -> Result<Reply, PlatformError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let dies = self.kill_at.filter(|(at, _)| *at == number);
        if dies.is_some_and(|(_, heard)| !heard) {
            self.die().await;
        }
        let reply = self.machine.call(&self.node, Some(self.boot), &command);
        if dies.is_some() {
            self.die().await;
        }
        reply
    }

    fn slot_path(&self, _: Slot) -> PathBuf {
        PathBuf::from("/nowhere")
    }
}
