//! A service processor: never while it may be needed to fence a node.

use async_trait::async_trait;
use evenkeel_model::{How, MemberHa, TransitionStage};
use evenkeel_platform::devices::DeviceId;
use evenkeel_platform::{Failover, Power};

use crate::error::FirmwareError;
use crate::flash::{Flash, is_open, reached, unseen};
use crate::journal::Phase;
use crate::redfish::Manager;
use crate::renew::{Guard, Work};

/// Makes a node's own service processor run the image's revision, in at most so many attempts: several when the
/// system does it by itself, one when an operator asked for it. After the last it stops, and says so.
pub async fn renew_processor(
    flash: &Flash<'_>,
    (failover, power): (&dyn Failover, &dyn Power),
    attempts: u32,
) -> Result<How, FirmwareError> {
    let device = DeviceId::Processor(flash.node.clone());
    let last = flash.begin(&device).await?;
    if last.as_ref().is_some_and(|step| step.phase == Phase::Done) {
        return Ok(How::AlreadyDone);
    }
    is_for(flash, &device).await?;
    let driver = Manager::new(flash.devices.redfish(), flash.limits);
    let fence = Fence {
        device: &device,
        failover,
        power,
    };
    let work = Work {
        flash,
        device: &device,
        driver: &driver,
        guard: &fence,
        attempts,
        is_open: is_open(&last),
        untouched: !flash.journal.was_touched(&device).await?,
    };
    // One that was told to start anew may be away for minutes.
    let running = work.first_look(Phase::Activating).await?.running;
    let runs = flash.image.is_no_newer_than(&running);
    if runs && !is_open(&last) {
        return Ok(How::AlreadyDone);
    }
    if !runs {
        fence.check().await?;
        work.renew_or_stop(&last).await?;
    }
    flash.step(&device, Phase::Done, 1).await?;
    Ok(reached(&last))
}

async fn is_for(flash: &Flash<'_>, device: &DeviceId) -> Result<(), FirmwareError> {
    let processor = flash.devices.processor().await;
    let processor = processor.map_err(unseen("the service processor"))?;
    let processor = processor.ok_or_else(|| FirmwareError::Missing {
        node: flash.node.clone(),
        device: device.clone(),
    })?;
    match processor.model == flash.image.model {
        true => Ok(()),
        false => Err(FirmwareError::WrongModel {
            device: device.clone(),
            found: processor.model,
            wanted: flash.image.model.clone(),
        }),
    }
}

/// A service processor cuts its node's power when the partner must be sure that the node is dead.
struct Fence<'a> {
    device: &'a DeviceId,
    failover: &'a dyn Failover,
    power: &'a dyn Power,
}

#[async_trait]
impl Guard for Fence<'_> {
    async fn check(&self) -> Result<(), FirmwareError> {
        let pair = self.failover.pair().await;
        let Some(pair) = pair.map_err(unseen("the HA pair"))? else {
            return Ok(());
        };
        let open = |stage| match stage {
            TransitionStage::TakingOver
            | TransitionStage::TakenOver
            | TransitionStage::GivingBack => true,
            TransitionStage::GivenBack => false,
        };
        if let Some(transition) = pair.transition.filter(|t| open(t.stage)) {
            let (by, taken) = (transition.by, transition.taken);
            return self.refuse(format!("{by} has taken {taken} over, or is about to"));
        }
        for member in [&pair.local, &pair.partner] {
            if member.ha != MemberHa::Serving {
                return self.refuse(format!("of {}, {}", member.node, member.ha.text()));
            }
        }
        // Never both at once: then nobody could fence anybody.
        let partner = self.power.partner_sp().await;
        match partner.map_err(unseen("the partner's service processor"))? {
            Some(partner) if !partner.reachable => {
                let partner = &pair.partner.node;
                self.refuse(format!(
                    "the service processor of {partner} does not answer"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Fence<'_> {
    fn refuse(&self, why: String) -> Result<(), FirmwareError> {
        let device = self.device.clone();
        Err(FirmwareError::MayFence { device, why })
    }
}
