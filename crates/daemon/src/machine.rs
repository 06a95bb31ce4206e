//! The machine's backend: in this process, or, where the daemon's unit names helpers, in one that has the devices and the
//! privileges for it (`evenkeel-machine.service`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel_linux::{Host, Linux, LinuxParts};
use evenkeel_model::{BootId, LinuxSettings, NodeSettings, PlatformSettings};
use evenkeel_platform::devices::SharedDevices;
use evenkeel_platform::remote::{self, Remote};
use evenkeel_platform::{Failover, PlatformError, SharedPlatform, sim};

use crate::errand;

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
                    tracing::warn!(%error, "the machine does not answer yet: {error}");
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
    let machine = match helper() {
        Some(socket) => behind(&socket).await?,
        None => own(settings).await?,
    };
    let boot_id = machine.platform.boot_id().await?;
    Ok((machine, boot_id))
}

/// The backend in this process, which does the node's own part in its pair from now on.
pub(crate) async fn own(settings: &NodeSettings) -> Result<Machine, PlatformError> {
    match &settings.platform {
        PlatformSettings::Sim { socket } => {
            let (platform, devices) = remote::shared(sim::Client::connect(socket).await?);
            Ok(Machine { platform, devices })
        }
        PlatformSettings::Linux(linux) => {
            let (linux, devices) = Linux::open(&parts(settings, linux))?;
            tokio::spawn(linux.keep());
            Ok(Machine {
                platform: Arc::new(linux),
                devices: Arc::new(devices),
            })
        }
    }
}

fn parts<'a>(settings: &'a NodeSettings, linux: &'a LinuxSettings) -> LinuxParts<'a> {
    LinuxParts {
        host: Host::this(),
        node: &settings.node,
        data: &settings.data,
        settings: linux,
    }
}

async fn behind(socket: &Path) -> Result<Machine, PlatformError> {
    let (platform, devices) = remote::shared(Remote::connect(socket).await?);
    Ok(Machine { platform, devices })
}

/// Where the helper with the machine listens.
fn helper() -> Option<PathBuf> {
    errand::helpers().map(|folder| folder.join("machine.sock"))
}

/// The HA engine alone; none where there is none.
pub(crate) async fn failover(
    settings: &NodeSettings,
) -> Result<Option<Arc<dyn Failover>>, PlatformError> {
    if let Some(socket) = helper() {
        return Ok(Some(Arc::new(Remote::connect(&socket).await?)));
    }
    Ok(match &settings.platform {
        PlatformSettings::Sim { socket } => Some(Arc::new(sim::Client::connect(socket).await?)),
        PlatformSettings::Linux(linux) => {
            let engine = evenkeel_linux::pacemaker(&parts(settings, linux))?;
            engine.map(|engine| Arc::new(engine) as Arc<dyn Failover>)
        }
    })
}
