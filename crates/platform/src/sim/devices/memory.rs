//! What a device keeps of firmware, and how new firmware comes to run.

use std::collections::BTreeSet;

use evenkeel_model::{DeviceModel, FirmwareRevision};
use serde::{Deserialize, Serialize};

use super::fault::DeviceFault;
use super::image::{ImageKind, Received, Receiving};

/// Pause that [`DeviceFault::Slow`] makes after each piece of an image, in seconds.
const SLOW_PIECE_S: u64 = 2;
/// How much longer it makes everything that the device does by itself.
const SLOW_TIMES: u64 = 5;
/// How long [`DeviceFault::LongReset`] keeps a device away.
const LONG_RESET_S: u64 = 600;

/// What surrounds a device while it answers.
#[derive(Clone, Debug)]
pub(super) struct Around {
    pub(super) now: u64,
    /// Length of a minute, as everywhere in the hardware.
    pub(super) minute_ms: u64,
    pub(super) faults: BTreeSet<DeviceFault>,
}

impl Around {
    pub(super) fn has(&self, fault: DeviceFault) -> bool {
        self.faults.contains(&fault)
    }

    /// When something that takes so many seconds is over; never at once.
    pub(super) fn after_s(&self, seconds: u64) -> u64 {
        self.now + (seconds * self.minute_ms / 60).max(1)
    }

    /// The same for what slowness draws out.
    pub(super) fn after_slow_s(&self, seconds: u64) -> u64 {
        let times = if self.has(DeviceFault::Slow) {
            SLOW_TIMES
        } else {
            1
        };
        self.after_s(seconds * times)
    }
}

/// A fault that has struck, and is over with that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Struck(pub(super) DeviceFault);

/// The firmware of one device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) running: FirmwareRevision,
    /// Whole in the device, and not activated.
    pub(super) staged: Option<FirmwareRevision>,
    /// Lost with power, as in a real device.
    #[serde(skip)]
    pub(super) receiving: Option<Receiving>,
    /// It starts anew.
    pub(super) starts: Option<Starts>,
    /// Not to be disturbed before this time.
    pub(super) busy_until: u64,
    /// The way to it was lost in the middle of an image.
    #[serde(default)]
    pub(super) cut: bool,
    /// Additional sense of a unit attention that nobody has heard yet.
    pub(super) attention: Option<(u8, u8)>,
}

/// A device on its way up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Starts {
    pub(super) until: u64,
    /// What it will run.
    pub(super) revision: FirmwareRevision,
}

/// Power on or reset (SPC-5, 29h/00h).
pub(super) const POWER_ON: (u8, u8) = (0x29, 0x00);
/// Microcode has been changed (3Fh/01h).
pub(super) const MICROCODE_CHANGED: (u8, u8) = (0x3f, 0x01);

/// What became of a piece of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Taken.
    Taken,
    /// Taken, and it was the last: the image is whole.
    Last(FirmwareRevision),
    /// It does not follow the last one.
    OutOfOrder,
    /// The image is none for this device.
    Bad,
    /// Nobody answers.
    Silence,
}

impl Memory {
    pub(super) fn factory(revision: &str) -> Self {
        Self {
            running: revision.parse().expect("the factory's revision is one"),
            staged: None,
            receiving: None,
            starts: None,
            busy_until: 0,
            cut: false,
            attention: None,
        }
    }

    /// Lets what is due by now happen; whether something did.
    pub(super) fn settle(&mut self, now: u64) -> bool {
        match self.starts.take_if(|starts| starts.until <= now) {
            Some(starts) => {
                self.running = starts.revision;
                true
            }
            None => false,
        }
    }

    /// Whether it is on its way up.
    pub(super) fn is_starting(&self) -> bool {
        self.starts.is_some()
    }

    /// Takes a piece of an image.
    pub(super) fn take(
        &mut self,
        (offset, bytes): (usize, &[u8]),
        (kind, model): (ImageKind, &DeviceModel),
        around: &Around,
        start_s: u64,
    ) -> (Piece, Option<Struck>) {
        // The first piece begins anew, whatever was received before.
        if offset == 0 {
            (self.receiving, self.cut) = (Some(Receiving::new()), false);
        }
        let Some(receiving) = &mut self.receiving else {
            return (Piece::OutOfOrder, None);
        };
        if around.has(DeviceFault::WrongImage) {
            self.receiving = None;
            return (Piece::Bad, None);
        }
        match receiving.push(offset, bytes, kind, model) {
            Received::OutOfOrder => (Piece::OutOfOrder, None),
            Received::Bad => {
                self.receiving = None;
                (Piece::Bad, None)
            }
            Received::Begun => (self.taken(around), None),
            Received::Half => self.half(around, start_s),
            // An image in one piece passes its half too.
            Received::Whole(revision) => match self.half(around, start_s) {
                (Piece::Taken, struck) => {
                    self.receiving = None;
                    (Piece::Last(revision), struck)
                }
                other => other,
            },
        }
    }

    fn taken(&mut self, around: &Around) -> Piece {
        if around.has(DeviceFault::Slow) {
            self.busy_until = around.after_s(SLOW_PIECE_S);
        }
        Piece::Taken
    }

    /// Half of the image is here: the time for mishaps.
    fn half(&mut self, around: &Around, start_s: u64) -> (Piece, Option<Struck>) {
        if around.has(DeviceFault::PowerLoss) {
            self.lose_power(around, start_s);
            return (Piece::Silence, Some(Struck(DeviceFault::PowerLoss)));
        }
        if around.has(DeviceFault::NodeLoss) {
            return (Piece::Silence, Some(Struck(DeviceFault::NodeLoss)));
        }
        if around.has(DeviceFault::PathLoss) {
            self.cut = true;
            return (Piece::Silence, None);
        }
        (self.taken(around), None)
    }

    /// Whether the way to it is gone.
    pub(super) fn is_cut_off(&self, around: &Around) -> bool {
        self.cut && around.has(DeviceFault::PathLoss)
    }

    /// Power is gone and comes back: what was not whole is lost.
    pub(super) fn lose_power(&mut self, around: &Around, start_s: u64) {
        let revision = self.running.clone();
        self.start(revision, around, start_s);
        self.attention = Some(POWER_ON);
    }

    /// Begins to run what is staged.
    pub(super) fn activate(&mut self, revision: FirmwareRevision, around: &Around, start_s: u64) {
        let runs = match around.has(DeviceFault::Unchanged) {
            true => self.running.clone(),
            false => revision,
        };
        self.start(runs, around, start_s);
        self.attention = Some(MICROCODE_CHANGED);
    }

    fn start(&mut self, revision: FirmwareRevision, around: &Around, start_s: u64) {
        (self.receiving, self.staged, self.busy_until) = (None, None, 0);
        let until = match around.has(DeviceFault::LongReset) {
            true => around.after_s(LONG_RESET_S),
            false => around.after_slow_s(start_s),
        };
        self.starts = Some(Starts { until, revision });
    }

    /// All power was off for a while: whatever was staged runs now.
    pub(super) fn cold_start(&mut self) {
        self.receiving = None;
        self.busy_until = 0;
        if let Some(starts) = self.starts.take() {
            self.running = starts.revision;
        }
        if let Some(staged) = self.staged.take() {
            self.running = staged;
        }
        self.attention = Some(POWER_ON);
    }
}
