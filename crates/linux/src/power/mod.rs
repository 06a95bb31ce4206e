//! Boots, reboots and service processors.

mod ipmi;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{BootId, NodeName, PartnerSp, PowerSettings, SpSettings, SpState};

use self::ipmi::Processor;
use super::host::Host;
use super::pacemaker::CleanReboot;
use super::program::Call;
use evenkeel_platform::{PlatformError, Power, RebootRequest};

/// The kernel makes it anew at each boot.
const KERNEL_BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How long the init system may take to accept a reboot. It does not wait for its end.
const ACCEPT_REBOOT: Duration = Duration::from_secs(60);

/// Power of a Linux host, and the service processors of its pair.
pub struct LinuxPower {
    host: Host,
    settings: PowerSettings,
    sp: SpSettings,
    partner: Option<NodeName>,
}

impl LinuxPower {
    /// `partner` is the HA partner, which takes this node over instead of a reboot. Nothing is read yet.
    pub fn new(
        host: &Host,
        settings: &PowerSettings,
        sp: &SpSettings,
        partner: Option<NodeName>,
    ) -> Self {
        Self {
            host: host.clone(),
            settings: settings.clone(),
            sp: sp.clone(),
            partner,
        }
    }

    /// The boot that runs.
    pub(super) fn own_boot(&self) -> Result<BootId, PlatformError> {
        let kernel = std::path::Path::new(KERNEL_BOOT_ID);
        let path = self.settings.boot_id_file.as_deref().unwrap_or(kernel);
        let text = self.host.read(path)?;
        text.parse().map_err(|error| {
            let path = path.display();
            PlatformError::Unavailable(format!("{path} holds no UUID: {error}"))
        })
    }

    /// Shuts the host down cleanly and boots its default slot, if `boot` still runs.
    async fn end(&self, boot: BootId) -> Result<(), PlatformError> {
        let call = self.reboot_call()?;
        // Compared last: a reboot that was asked for in another boot has happened.
        let own = self.own_boot()?;
        if own != boot {
            return Err(PlatformError::Refused(format!(
                "the node has booted since then: this is boot {own}, not {boot}"
            )));
        }
        self.host.output(&call).await.map(drop)
    }

    /// What reboots the host.
    fn reboot_call(&self) -> Result<Call, PlatformError> {
        let own = ["systemctl", "reboot"].map(str::to_owned);
        let words = self.settings.reboot.as_deref().unwrap_or(&own);
        match words {
            [] => Err(PlatformError::Refused(
                "[platform.power] reboot names no program".to_owned(),
            )),
            // `env` starts a program whose name only the configuration knows.
            words => Ok(Call::new("env", words.to_vec(), ACCEPT_REBOOT)),
        }
    }
}

/// Of a node that its partner serves for.
#[async_trait]
impl CleanReboot for LinuxPower {
    async fn reboot(&self, boot: BootId) -> Result<(), PlatformError> {
        self.end(boot).await
    }
}

#[async_trait]
impl Power for LinuxPower {
    async fn boot_id(&self) -> Result<BootId, PlatformError> {
        self.own_boot()
    }

    async fn reboot(&self, request: &RebootRequest) -> Result<(), PlatformError> {
        if let Some(partner) = &self.partner {
            return Err(PlatformError::Refused(format!(
                "the node is not rebooted while it serves: {partner} can take it over"
            )));
        }
        self.end(request.boot).await
    }

    async fn sp(&self) -> Result<SpState, PlatformError> {
        if self.sp.none {
            return Ok(SpState {
                reachable: false,
                image_ok: true,
                absent: true,
            });
        }
        let processor = match &self.sp.own {
            Some(lan) => Processor::on_lan(lan),
            None => Processor::local(),
        };
        processor.state(&self.host).await
    }

    async fn partner_sp(&self) -> Result<Option<PartnerSp>, PlatformError> {
        let Some(partner) = &self.partner else {
            return Ok(None);
        };
        if self.sp.none {
            return Ok(Some(PartnerSp {
                reachable: false,
                absent: true,
            }));
        }
        let Some(lan) = &self.sp.partner else {
            return Err(PlatformError::Unavailable(format!(
                "how the service processor of {partner} is reached is not configured: [platform.sp.partner]"
            )));
        };
        let reachable = Processor::on_lan(lan).answers(&self.host).await?;
        Ok(Some(PartnerSp {
            reachable,
            absent: false,
        }))
    }
}
