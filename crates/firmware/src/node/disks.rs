//! A node's disks, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_model::{DeviceModel, DiskSerial, FirmwareRevision};
use evenkeel_platform::devices::{DeviceId, Drive, Group};
use tokio::time::{Instant, timeout};

use crate::error::{FirmwareError, WORKER_START_FAILED};
use crate::flash::unseen;
use crate::image::Image;
use crate::journal::Phase;
use crate::select::{Decision, Reason, Selection, Tally, select};

use super::failure::{DeviceFailure, WorkError};
use super::inventory::LOOK;
use super::journal::DeviceStep;
use super::patience::Patience;
use super::work::{Target, Work};

/// A disk that only ever has passing trouble is given up after so many tries of one order.
const TRIES: u32 = 3;
/// Reasons that a text names.
const NAMED: usize = 3;

/// What the node sees.
#[derive(PartialEq)]
struct Seen {
    drives: Vec<(Drive, Option<FirmwareRevision>)>,
    groups: Vec<Group>,
}

/// How it goes with the disks of one order.
struct Round {
    /// For models of which no disk is to be touched any more, there is nothing.
    offers: BTreeMap<DeviceModel, FirmwareRevision>,
    tally: BTreeMap<DeviceModel, Tally>,
    failed: BTreeSet<DiskSerial>,
    tries: BTreeMap<DiskSerial, u32>,
    /// How work on disks ended before this daemon, or before this order of the operation.
    past: BTreeMap<DiskSerial, DeviceStep>,
    /// One disk of each model only.
    first: bool,
}

impl Work<'_> {
    pub(super) async fn disks(&mut self) -> Result<(), WorkError> {
        let mut round = Round::new(self.offers().await?, self.order.first);
        self.finish_open(&mut round).await?;
        self.remember(&mut round).await?;
        self.at_home().await?;
        let mut patience = Patience::new(self.node.parts.limits.recovery);
        loop {
            let seen = match self.look().await {
                Ok(seen) => seen,
                Err(error) => {
                    self.say(evenkeel_model::error_chain(&error));
                    match patience.goes_on(None).await {
                        true => continue,
                        false => return Err(WorkError::Unseen(error)),
                    }
                }
            };
            round.take_past(&seen, self);
            let decision = self.decide(&round, &seen);
            let left = decision.flash.len() + decision.wait.len();
            if left > 0 && self.is_over() {
                return Err(WorkError::Canceled(left));
            }
            self.tell_waiting(&decision);
            if let Some(serial) = decision.flash.first() {
                if self.away().await.is_some() {
                    self.at_home().await?;
                    continue;
                }
                patience.renew();
                self.flash(&mut round, &seen, serial).await?;
            } else if decision.wait.is_empty() {
                self.tell_stopped(&decision, &seen);
                return Ok(());
            } else {
                self.say(waiting(&decision));
                if !patience
                    .goes_on(Some((decision.wait.clone(), seen.groups)))
                    .await
                {
                    self.give_up(&decision);
                    return Ok(());
                }
            }
        }
    }

    async fn look(&self) -> Result<Seen, FirmwareError> {
        let devices = &self.node.parts.devices;
        let late = || {
            let text = format!("no answer within {LOOK:?}");
            evenkeel_platform::PlatformError::Unavailable(text)
        };
        let drives = timeout(LOOK, devices.drives()).await;
        let drives = drives.unwrap_or_else(|_| Err(late()));
        let groups = timeout(LOOK, devices.groups()).await;
        let groups = groups.unwrap_or_else(|_| Err(late()));
        let groups = groups.map_err(unseen("the groups"))?;
        let mut known = Vec::new();
        for drive in drives.map_err(unseen("the disks"))? {
            // What others serve is theirs to ask.
            let runs = match drive.owner.as_ref() == Some(&self.node.parts.node) {
                true => self.node.runs(&drive).await,
                false => None,
            };
            known.push((drive, runs));
        }
        self.node.tell_drives(&known);
        Ok(Seen {
            drives: known,
            groups,
        })
    }

    fn decide(&self, round: &Round, seen: &Seen) -> Decision {
        let mut limits = self.node.parts.selection;
        limits.background &= !self.order.spares_only;
        let mut decision = select(&Selection {
            node: &self.node.parts.node,
            drives: &seen.drives,
            groups: &seen.groups,
            offers: &round.offers,
            // One at a time here; a group is served by one node alone.
            running: &BTreeMap::new(),
            tally: &round.tally,
            failed: &round.failed,
            limits: &limits,
        });
        // Not waited for: whoever comes to serve it brings it up to date.
        decision.wait.retain(|_, why| *why != Reason::Unserved);
        decision
    }

    fn tell_waiting(&self, decision: &Decision) {
        let more = decision.flash.len().saturating_sub(1);
        self.node.board.set_waiting(decision.wait.len() + more);
    }

    async fn flash(
        &mut self,
        round: &mut Round,
        seen: &Seen,
        serial: &DiskSerial,
    ) -> Result<(), WorkError> {
        let drives = seen.drives.iter();
        let mut found = drives.filter(|(drive, _)| drive.serial == *serial);
        let Some((drive, _)) = found.next() else {
            return Ok(());
        };
        let image = self.image(&drive.model).await?;
        let began = Instant::now();
        let ended = self.renew(&Target::Disk(serial), &image, self.id()).await;
        match ended {
            Ok(how) => {
                self.node.board.disk_took(began.elapsed());
                self.reached(how);
                round.passed(drive);
                // Once in an order is enough, whatever it says of itself then.
                round.failed.insert(serial.clone());
            }
            Err(FirmwareError::Journal(error)) => return Err(WorkError::Journal(error)),
            // Counted with what else is left.
            Err(error) if error.is_canceled() => {}
            Err(error) if round.may_try_again(serial, &error) => {
                tracing::warn!(disk = %serial, "{error}; it is tried again");
                self.say(format!("disk {serial}: {error}; it is tried again"));
                tokio::time::sleep(self.node.parts.limits.poll).await;
            }
            Err(error) => {
                self.fail(DeviceId::Drive(serial.clone()), &error);
                round.gave_up(drive, error.code() != WORKER_START_FAILED);
            }
        }
        Ok(())
    }

    /// What waited for too long.
    fn give_up(&mut self, decision: &Decision) {
        for (serial, why) in &decision.wait {
            self.failed.push(DeviceFailure {
                device: DeviceId::Drive(serial.clone()),
                why: why.to_string(),
                action: advice(why, serial),
                begun: false,
                transient: true,
            });
        }
    }

    fn tell_stopped(&mut self, decision: &Decision, seen: &Seen) {
        let mut left = BTreeMap::<DeviceModel, usize>::new();
        let stopped = |why: &Reason| matches!(why, Reason::ModelStopped(_));
        for (serial, _) in decision.skip.iter().filter(|(_, why)| stopped(why)) {
            let mut drives = seen.drives.iter();
            if let Some((drive, _)) = drives.find(|(drive, _)| drive.serial == *serial) {
                *left.entry(drive.model.clone()).or_default() += 1;
            }
        }
        self.stopped = left.into_iter().collect();
    }

    /// Nothing but that disks come back that were left in the middle.
    pub(super) async fn bring_back(&mut self) -> Result<(), WorkError> {
        let mut round = Round::new(BTreeMap::new(), false);
        self.finish_open(&mut round).await
    }

    /// Disks that a worker before this one left in the middle, whatever package it was for: their groups lack them.
    async fn finish_open(&mut self, round: &mut Round) -> Result<(), WorkError> {
        let all = self.journal.all().await.map_err(WorkError::Journal)?;
        for known in all.into_iter().filter(DeviceStep::is_open_disk) {
            let DeviceId::Drive(serial) = known.step.device.clone() else {
                continue;
            };
            let seen = self.look().await.map_err(WorkError::Unseen)?;
            let mut drives = seen.drives.into_iter();
            let Some((drive, _)) = drives.find(|(drive, _)| drive.serial == serial) else {
                tracing::warn!(disk = %serial, "it was worked on and is not there any more");
                let forgotten = self.journal.forget(&known.step.device).await;
                forgotten.map_err(WorkError::Journal)?;
                continue;
            };
            self.finish(round, &known, &drive).await?;
        }
        Ok(())
    }

    async fn finish(
        &mut self,
        round: &mut Round,
        known: &DeviceStep,
        drive: &Drive,
    ) -> Result<(), WorkError> {
        let serial = &drive.serial;
        self.say(format!("disk {serial}: finishing what was begun"));
        let Some(image) = self.image_to_finish(known, drive).await? else {
            self.failed.push(DeviceFailure {
                device: known.step.device.clone(),
                why: "it was worked on before, and does not say now what it runs".to_owned(),
                action: format!(
                    "See that disk {serial} is reachable, then bring the firmware in again."
                ),
                begun: true,
                transient: true,
            });
            return Ok(());
        };
        match self.renew(&Target::Disk(serial), &image, known.work).await {
            Ok(how) => self.reached(how),
            Err(FirmwareError::Journal(error)) => return Err(WorkError::Journal(error)),
            // Whoever serves it now finds it out of its group, and brings it back.
            Err(error @ FirmwareError::NotOwner { .. }) => {
                tracing::info!(disk = %serial, "{error}");
            }
            // It is back in its group; what another operation gave up is tried anew.
            Err(error @ FirmwareError::GivenUp { .. }) if known.work != self.id() => {
                tracing::info!(disk = %serial, "{error}");
            }
            Err(error) => {
                self.fail(DeviceId::Drive(serial.clone()), &error);
                round.gave_up(drive, true);
            }
        }
        Ok(())
    }

    /// The image that it was begun with. Where that is not had any more, what the disk runs: so it is tested, and goes
    /// back. None when it does not say what it runs.
    async fn image_to_finish(
        &mut self,
        known: &DeviceStep,
        drive: &Drive,
    ) -> Result<Option<Image>, WorkError> {
        let images = &self.node.parts.images;
        let packed = images.image(known.work.package, Some(&drive.model)).await;
        let (revision, bytes) = match packed {
            Ok(packed) => (Some(packed.revision), packed.bytes),
            Err(error) => {
                tracing::info!(disk = %drive.serial, "{error}; it is brought back as it is");
                (self.node.runs(drive).await, Arc::default())
            }
        };
        Ok(revision.map(|revision| Image {
            model: drive.model.clone(),
            revision,
            bytes,
        }))
    }

    /// What was done for this package and operation before counts.
    async fn remember(&mut self, round: &mut Round) -> Result<(), WorkError> {
        let all = self.journal.all().await.map_err(WorkError::Journal)?;
        for known in all.into_iter().filter(|known| known.work == self.id()) {
            if let DeviceId::Drive(serial) = &known.step.device {
                round.past.insert(serial.clone(), known);
            }
        }
        Ok(())
    }
}

impl Round {
    fn new(offers: BTreeMap<DeviceModel, FirmwareRevision>, first: bool) -> Self {
        Self {
            offers,
            tally: BTreeMap::new(),
            failed: BTreeSet::new(),
            tries: BTreeMap::new(),
            past: BTreeMap::new(),
            first,
        }
    }

    /// Sorts the disks whose work ended before, once their models are seen.
    fn take_past(&mut self, seen: &Seen, work: &mut Work<'_>) {
        for (drive, _) in &seen.drives {
            let Some(known) = self.past.remove(&drive.serial) else {
                continue;
            };
            match known.step.phase {
                Phase::Done => self.passed(drive),
                Phase::Stopped if known.step.attempt > 0 => {
                    let (device, attempts) = (known.step.device, known.step.attempt);
                    if self.failed.contains(&drive.serial) {
                        continue;
                    }
                    let why = format!("it was tried {attempts} times, and failed");
                    let given_up = FirmwareError::GivenUp {
                        device: device.clone(),
                        attempts,
                    };
                    let mut failure = DeviceFailure::of(device, &given_up);
                    failure.why = why;
                    work.failed.push(failure);
                    self.gave_up(drive, true);
                }
                Phase::Stopped
                | Phase::Offline
                | Phase::Writing
                | Phase::Activating
                | Phase::Testing
                | Phase::Returning => {}
            }
        }
    }

    fn passed(&mut self, drive: &Drive) {
        let tally = self.tally.entry(drive.model.clone()).or_default();
        tally.canary_passed = true;
        if self.first {
            self.offers.remove(&drive.model);
        }
    }

    fn gave_up(&mut self, drive: &Drive, begun: bool) {
        self.failed.insert(drive.serial.clone());
        // Nothing is wrong with the firmware where nothing was begun.
        if begun {
            let tally = self.tally.entry(drive.model.clone()).or_default();
            tally.failures += 1;
            if self.first {
                self.offers.remove(&drive.model);
            }
        }
    }

    fn may_try_again(&mut self, serial: &DiskSerial, error: &FirmwareError) -> bool {
        let tries = self.tries.entry(serial.clone()).or_default();
        *tries += 1;
        // What did not come back was waited for long enough.
        let waited = matches!(error, FirmwareError::NotBack { .. });
        error.is_transient() && !waited && *tries < TRIES
    }
}

/// What is waited for, for people.
fn waiting(decision: &Decision) -> String {
    let named = decision.wait.iter().take(NAMED);
    let named: Vec<_> = named
        .map(|(serial, why)| format!("disk {serial} waits: {why}"))
        .collect();
    let mut text = named.join("; ");
    if let Some(more @ 1..) = decision.wait.len().checked_sub(NAMED) {
        text += &format!("; and {more} more wait");
    }
    let lacks =
        |(_, why): &(_, &Reason)| matches!(why, Reason::GroupNotWhole(_) | Reason::GroupUnseen);
    if let Some((serial, why)) = decision.wait.iter().find(lacks) {
        text += &format!(". {}", advice(why, serial));
    }
    text
}

fn advice(why: &Reason, serial: &DiskSerial) -> String {
    match why {
        Reason::GroupNotWhole(_) | Reason::GroupUnseen => {
            "None, if its group recovers by itself; else replace what has failed in it.".to_owned()
        }
        _ => format!("See that disk {serial} is reachable, then bring the firmware in again."),
    }
}
