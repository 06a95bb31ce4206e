//! One order under way.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use evenkeel_model::{DeviceModel, DiskSerial, FirmwareOffer, FirmwareRevision, How, Progress};
use evenkeel_platform::devices::DeviceId;
use evenkeel_platform::{Failover, Power};
use evenkeel_seam::watch;
use tokio::time::{Instant, sleep_until};

use crate::disk::renew_disk;
use crate::error::FirmwareError;
use crate::flash::Flash;
use crate::image::Image;
use crate::journal::Phase;
use crate::progress::FlashProgress;
use crate::service_processor::renew_processor;
use crate::shelf::renew_shelf;

use super::failure::{DeviceFailure, WorkError};
use super::journal::{NodeJournal, OneWork, WorkId};
use super::{FirmwareOrder, NodeFirmware};

/// A device of which nothing is heard for so long is said to stand still.
const QUIET: Duration = Duration::from_secs(60);

/// An order under way.
pub(super) struct Work<'a> {
    pub(super) node: &'a NodeFirmware,
    pub(super) order: &'a FirmwareOrder,
    pub(super) journal: &'a dyn NodeJournal,
    progress: &'a watch::Sender<Progress>,
    /// Read once: many disks are of one model.
    images: BTreeMap<DeviceModel, Image>,
    how: How,
    pub(super) failed: Vec<DeviceFailure>,
    pub(super) stopped: Vec<(DeviceModel, usize)>,
}

/// What is worked on.
pub(super) enum Target<'a> {
    Disk(&'a DiskSerial),
    Shelf(&'a str),
    Processor,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        node: &'a NodeFirmware,
        order: &'a FirmwareOrder,
        journal: &'a dyn NodeJournal,
        progress: &'a watch::Sender<Progress>,
    ) -> Self {
        Self {
            node,
            order,
            journal,
            progress,
            images: BTreeMap::new(),
            how: How::AlreadyDone,
            failed: Vec::new(),
            stopped: Vec::new(),
        }
    }

    /// How it went in all.
    pub(super) fn outcome(self) -> Result<How, WorkError> {
        match self.failed.is_empty() {
            true => Ok(self.how),
            false => Err(WorkError::Devices {
                devices: self.failed,
                stopped: self.stopped,
            }),
        }
    }

    /// No further device is begun.
    pub(super) fn is_over(&self) -> bool {
        (self.node.parts.is_over)(self.order.operation)
    }

    pub(super) fn id(&self) -> WorkId {
        WorkId {
            operation: self.order.operation,
            package: self.order.package,
        }
    }

    /// A device was brought to where it should be.
    pub(super) fn reached(&mut self, how: How) {
        self.how = match (self.how, how) {
            (known, How::AlreadyDone) => known,
            (How::Resumed, _) | (_, How::Resumed) => How::Resumed,
            (_, other) => other,
        };
    }

    pub(super) fn fail(&mut self, device: DeviceId, error: &FirmwareError) {
        tracing::warn!(%device, "{}", evenkeel_model::error_chain(error));
        self.failed.push(DeviceFailure::of(device, error));
    }

    pub(super) fn say(&self, text: String) {
        self.progress.send_replace(Progress {
            text,
            done: 0,
            total: 0,
        });
    }

    /// What the package brings, by model.
    pub(super) async fn offers(
        &self,
    ) -> Result<BTreeMap<DeviceModel, FirmwareRevision>, WorkError> {
        let summary = self.node.parts.images.summary(self.order.package).await;
        let offers = summary.map_err(WorkError::Images)?.offers.into_iter();
        let by_model = |offer: FirmwareOffer| Some((offer.model?, offer.revision));
        Ok(offers.filter_map(by_model).collect())
    }

    /// The package's image for a model.
    pub(super) async fn image(&mut self, model: &DeviceModel) -> Result<Image, WorkError> {
        if let Some(known) = self.images.get(model) {
            return Ok(known.clone());
        }
        let images = &self.node.parts.images;
        let packed = images.image(self.order.package, Some(model)).await;
        let packed = packed.map_err(WorkError::Images)?;
        let image = Image {
            model: model.clone(),
            revision: packed.revision,
            bytes: packed.bytes,
        };
        self.images.insert(model.clone(), image.clone());
        Ok(image)
    }

    /// Runs the worker of a device, and tells how far it is.
    pub(super) async fn renew(
        &self,
        target: &Target<'_>,
        image: &Image,
        id: WorkId,
    ) -> Result<How, FirmwareError> {
        let parts = &self.node.parts;
        let told = watch::Sender::new(FlashProgress::default());
        let journal = OneWork {
            all: self.journal,
            work: id,
        };
        // What stands in the middle is finished for whatever operation it was begun.
        let is_over = || id == self.id() && self.is_over();
        let flash = Flash {
            node: &parts.node,
            devices: parts.devices.as_ref(),
            image,
            journal: &journal,
            progress: &told,
            limits: &parts.limits,
            is_over: &is_over,
        };
        let worker = async {
            match target {
                Target::Disk(serial) => renew_disk(&flash, serial).await,
                Target::Shelf(shelf) => renew_shelf(&flash, shelf).await,
                Target::Processor => {
                    let failover: &dyn Failover = parts.platform.as_ref();
                    let power: &dyn Power = parts.platform.as_ref();
                    let attempts = parts.limits.processor_attempts;
                    renew_processor(&flash, (failover, power), attempts).await
                }
            }
        };
        self.telling(&told, worker).await
    }

    async fn telling<T>(
        &self,
        told: &watch::Sender<FlashProgress>,
        worker: impl Future<Output = T>,
    ) -> T {
        let mut changes = told.subscribe();
        let mut worker = pin!(worker);
        let mut current = None;
        let (mut last, mut moved) = (FlashProgress::default(), Instant::now());
        loop {
            // How often it has been said since that nothing moves, and once more.
            let quiet = 1 + (moved.elapsed().as_secs() / QUIET.as_secs()) as u32;
            tokio::select! {
                biased;
                ended = &mut worker => {
                    self.turn_to(&mut current, None);
                    return ended;
                }
                _ = changes.changed() => {
                    let progress = changes.borrow_and_update().clone();
                    self.turn_to(&mut current, progress.device.clone());
                    // Some devices are asked again and again, and say the same.
                    if progress != last {
                        self.tell(&progress);
                        (last, moved) = (progress, Instant::now());
                    }
                }
                () = sleep_until(moved + QUIET * quiet) => {
                    self.tell_quiet(&last, moved.elapsed());
                }
            }
        }
    }

    /// Another device is worked on than before, or none.
    fn turn_to(&self, current: &mut Option<DeviceId>, next: Option<DeviceId>) {
        if *current != next
            && let Some(before) = current.take()
        {
            self.node.board.end_work(&before);
        }
        *current = next;
    }

    fn tell(&self, progress: &FlashProgress) {
        let Some(device) = &progress.device else {
            return;
        };
        let (done, total) = (progress.done, progress.total);
        if matches!(device, DeviceId::Processor(_))
            && let Some(percent) = (done * 100).checked_div(total)
        {
            self.node.board.processor_is_at(percent.min(100) as u8);
        }
        self.node.board.set_work(device, line(device, progress));
        let text = format!("{device}: {}", what(progress));
        self.progress.send_replace(Progress { text, done, total });
    }

    /// Nothing was heard of the device for a while. Only people are told: it is no progress.
    fn tell_quiet(&self, progress: &FlashProgress, quiet: Duration) {
        if let Some(device) = &progress.device {
            let minutes = quiet.as_secs() / 60;
            let line = format!(
                "{}; nothing moved for {minutes} min",
                line(device, progress)
            );
            self.node.board.set_work(device, line);
        }
    }
}

/// What is done to the device, in which attempt.
fn what(progress: &FlashProgress) -> String {
    let mut what = progress
        .phase
        .map_or("looking at it", Phase::text)
        .to_owned();
    if progress.attempt > 1 {
        what += &format!(", attempt {}", progress.attempt);
    }
    if let Some(why) = &progress.waits {
        what += &format!("; {why}");
    }
    what
}

fn line(device: &DeviceId, progress: &FlashProgress) -> String {
    let what = what(progress);
    match progress.total {
        0 => format!("{device}: {what}"),
        total => format!("{device}: {what}, {} of {total}", progress.done),
    }
}
