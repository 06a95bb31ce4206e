//! Shelves, the service processor and the disk qualification package of a node.

use std::collections::BTreeMap;

use evenkeel_model::{DeviceModel, How, NodeName, error_chain};
use evenkeel_platform::devices::DeviceId;

use crate::error::{FirmwareError, WORKER_START_FAILED};
use crate::flash::unseen;
use crate::image::Image;
use crate::qualification::{QualificationMark, renew_qualification};

use super::failure::WorkError;
use super::patience::Patience;
use super::work::{Target, Work};

/// A shelf that only ever has passing trouble is given up after so many tries of one order.
const SHELF_TRIES: u32 = 2;
/// A service processor's worker tries often enough by itself.
const PROCESSOR_TRIES: u32 = 1;
/// After so many failures no shelf of the model is touched any more.
const SHELF_FAILURES: usize = 2;

impl Work<'_> {
    pub(super) async fn shelves(&mut self) -> Result<(), WorkError> {
        // Until then its shelves are its partner's.
        self.at_home().await?;
        let offers = self.offers().await?;
        let mut failures = BTreeMap::<DeviceModel, usize>::new();
        let shelves = self.own_shelves().await?;
        let mut left = shelves.len();
        for (shelf, (model, module)) in shelves {
            left -= 1;
            if !offers.contains_key(&model) {
                continue;
            }
            let failures = failures.entry(model.clone()).or_default();
            if *failures >= SHELF_FAILURES {
                match self.stopped.iter_mut().find(|(known, _)| *known == model) {
                    Some((_, left)) => *left += 1,
                    None => self.stopped.push((model, 1)),
                }
                continue;
            }
            self.at_home().await?;
            if self.is_over() {
                return Err(WorkError::Canceled(left + 1));
            }
            let image = self.image(&model).await?;
            let target = Target::Shelf(&shelf);
            let ended = self.until_it_may(&target, &image, SHELF_TRIES).await;
            if ended.as_ref().is_err_and(FirmwareError::is_canceled) {
                return Err(WorkError::Canceled(left + 1));
            }
            let device = DeviceId::Module { shelf, module };
            *failures += usize::from(self.sort(device, ended)?);
        }
        Ok(())
    }

    /// Shelves that this node looks after, with the model and the place of their first module.
    async fn own_shelves(&self) -> Result<BTreeMap<String, (DeviceModel, String)>, WorkError> {
        let modules = self.node.parts.devices.modules().await;
        let modules = modules.map_err(unseen("the shelves"));
        let mut modules = modules.map_err(WorkError::Unseen)?;
        modules.retain(|module| module.owner.as_ref() == Some(&self.node.parts.node));
        modules.sort_by(|left, right| left.module.cmp(&right.module));
        let mut shelves = BTreeMap::new();
        for module in modules {
            let first = (module.model, module.module);
            shelves.entry(module.shelf).or_insert(first);
        }
        Ok(shelves)
    }

    pub(super) async fn processor(&mut self) -> Result<(), WorkError> {
        let processor = self.node.parts.devices.processor().await;
        let processor = processor.map_err(unseen("the service processor"));
        let Some(processor) = processor.map_err(WorkError::Unseen)? else {
            return Ok(());
        };
        if !self.offers().await?.contains_key(&processor.model) {
            return Ok(());
        }
        self.at_home().await?;
        if self.is_over() {
            return Err(WorkError::Canceled(1));
        }
        let image = self.image(&processor.model).await?;
        let (board, clock) = (&self.node.board, &self.node.parts.clock);
        board.processor_begins(clock.wall());
        let target = Target::Processor;
        let ended = self.until_it_may(&target, &image, PROCESSOR_TRIES).await;
        board.processor_ended(clock.wall(), ended.is_ok());
        if ended.as_ref().is_err_and(FirmwareError::is_canceled) {
            return Err(WorkError::Canceled(1));
        }
        self.sort(DeviceId::Processor(processor.node), ended)?;
        Ok(())
    }

    pub(super) async fn qualification(&mut self) -> Result<(), WorkError> {
        self.say("putting the disk qualification package in place".to_owned());
        let images = &self.node.parts.images;
        let packed = images.image(self.order.package, None).await;
        let packed = packed.map_err(WorkError::Images)?;
        let mark = QualificationMark {
            revision: packed.revision,
            digest: packed.digest,
            file: packed.file,
        };
        let store = self.node.parts.qualification.as_ref();
        let how = renew_qualification(store, &mark, &packed.bytes).await;
        self.reached(how.map_err(WorkError::Qualification)?);
        Ok(())
    }

    /// Whether the device counts as failed.
    fn sort(
        &mut self,
        device: DeviceId,
        ended: Result<How, FirmwareError>,
    ) -> Result<bool, WorkError> {
        match ended {
            Ok(how) => {
                self.reached(how);
                Ok(false)
            }
            Err(FirmwareError::Journal(error)) => Err(WorkError::Journal(error)),
            Err(error) if is_others(&error, &self.node.parts.node) => {
                tracing::info!(%device, "{error}");
                Ok(false)
            }
            Err(error) => {
                self.fail(device, &error);
                Ok(true)
            }
        }
    }

    /// Works on a device; while it must not be touched, waits for as long as what stands against it changes.
    async fn until_it_may(
        &self,
        target: &Target<'_>,
        image: &Image,
        tries: u32,
    ) -> Result<How, FirmwareError> {
        let limits = &self.node.parts.limits;
        let mut patience = Patience::new(limits.recovery);
        let mut tried = 0;
        loop {
            let error = match self.renew(target, image, self.id()).await {
                Ok(how) => return Ok(how),
                Err(error) => error,
            };
            if !is_passing(&error) {
                return Err(error);
            }
            if error.code() == WORKER_START_FAILED {
                self.say(format!(
                    "waiting: {}. {}",
                    error_chain(&error),
                    error.action()
                ));
                match !self.is_over() && patience.goes_on(error_chain(&error)).await {
                    true => continue,
                    false => return Err(error),
                }
            }
            tried += 1;
            if tried >= tries {
                return Err(error);
            }
            tracing::warn!("{error}; it is tried again");
            tokio::time::sleep(limits.poll).await;
        }
    }
}

/// It went to another node meanwhile, which brings it up to date.
fn is_others(error: &FirmwareError, me: &NodeName) -> bool {
    matches!(error, FirmwareError::NotOwner { node, .. } if node == me)
}

/// Whether waiting here may help. What did not come back was waited for long enough.
fn is_passing(error: &FirmwareError) -> bool {
    let waited = matches!(
        error,
        FirmwareError::NotBack { .. }
            | FirmwareError::NotBegun { .. }
            | FirmwareError::NotOwner { .. }
            | FirmwareError::Journal(_)
    );
    error.is_transient() && !waited
}
