//! Tells the cluster what this node runs.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{BootId, ControlEvent, Event, MachineId, NodeName, StreamId, Version};
use evenkeel_platform::SharedPlatform;
use evenkeel_record::{AppendError, Fence, Follower, Unavailable, View, Writer};
use evenkeel_seam::Clock;

/// Build version of this daemon.
pub(crate) const DAEMON: &str = env!("CARGO_PKG_VERSION");

/// Pause between two tries; short, because an update waits for it.
const RETRY: Duration = Duration::from_millis(250);

/// What a report needs.
pub(crate) struct Reporter {
    pub(crate) node: NodeName,
    pub(crate) boot_id: BootId,
    pub(crate) platform: SharedPlatform,
    pub(crate) follower: Arc<Follower>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Reporter {
    /// Tries until the record says what this node runs, once the cluster exists.
    pub(crate) async fn run(self) {
        loop {
            match self.report().await {
                Ok(true) => return,
                Ok(false) => {}
                // Others write too while a node comes up: what they wrote is read, and it is tried again at once.
                Err(AppendError::Conflict { .. }) => continue,
                Err(error) => tracing::debug!(%error, "what this node runs is not recorded yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Whether the record says it.
    async fn report(&self) -> Result<bool, AppendError> {
        let view = self.follower.refresh().await?;
        if view.control().topology.is_none() {
            return Ok(false);
        }
        let slots = self.platform.slots().await;
        let slots = slots.map_err(|error| Unavailable::new(error.to_string()))?;
        let version = slots
            .slot(slots.booted)
            .image
            .as_ref()
            .map(|image| image.version.clone());
        // A keeper of hardware of an older release cannot say it: that must not keep the node from saying what it
        // runs, which an update waits for.
        let machine = self.platform.machine().await.unwrap_or_default();
        if self.is_recorded(&view, version.as_ref(), &machine) {
            return Ok(true);
        }
        let event = ControlEvent::NodeBooted {
            at: self.clock.wall(),
            node: self.node.clone(),
            boot_id: self.boot_id,
            version,
            daemon: DAEMON.to_owned(),
            machine,
        };
        let write = view.write(StreamId::Control, vec![Event::Control(event)]);
        self.writer
            .append(Fence::None, vec![write])
            .await
            .map(|_| true)
    }

    fn is_recorded(&self, view: &View, version: Option<&Version>, machine: &MachineId) -> bool {
        view.control().booted.get(&self.node).is_some_and(|booted| {
            booted.boot_id == self.boot_id
                && booted.version.as_ref() == version
                && booted.daemon == DAEMON
                && (machine.is_unsaid() || booted.machine == *machine)
        })
    }
}
