//! The machine's backend.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel_model::{BootId, NodeSettings, PlatformSettings};
use evenkeel_platform::devices::SharedDevices;
use evenkeel_platform::{Failover, PlatformError, SharedPlatform, sim};

/// How long the machine may take to say which boot this is: without it nothing can be journaled.
const PLATFORM_WAIT: Duration = Duration::from_secs(60);
/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(200);

/// A machine, behind the traits that all else sees it through.
pub(crate) struct Machine {
    pub(crate) platform: SharedPlatform,
    pub(crate) devices: SharedDevices,
}

/// The machine, and which boot of it this is.
pub(crate) async fn open(settings: &NodeSettings) -> Result<(Machine, BootId)> {
    let opened = async {
        loop {
            match connect(settings).await {
                Ok(machine) => return machine,
                Err(error) => {
                    tracing::warn!(%error, "the machine does not answer yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    };
    tokio::time::timeout(PLATFORM_WAIT, opened)
        .await
        .with_context(|| {
            format!("the machine did not say within {PLATFORM_WAIT:?} which boot this is")
        })
}

async fn connect(settings: &NodeSettings) -> Result<(Machine, BootId), PlatformError> {
    let machine = match &settings.platform {
        PlatformSettings::Sim { socket } => {
            let client = Arc::new(sim::Client::connect(socket).await?);
            Machine {
                platform: Arc::clone(&client) as SharedPlatform,
                devices: client,
            }
        }
        PlatformSettings::Linux(_) => {
            let why = "this backend is not built yet".to_owned();
            return Err(PlatformError::Unavailable(why));
        }
    };
    let boot_id = machine.platform.boot_id().await?;
    Ok((machine, boot_id))
}

/// The HA engine alone.
pub(crate) async fn failover(
    settings: &PlatformSettings,
) -> Result<Arc<dyn Failover>, PlatformError> {
    match settings {
        PlatformSettings::Sim { socket } => Ok(Arc::new(sim::Client::connect(socket).await?)),
        PlatformSettings::Linux(_) => Err(PlatformError::Unavailable(
            "this backend is not built yet".to_owned(),
        )),
    }
}
