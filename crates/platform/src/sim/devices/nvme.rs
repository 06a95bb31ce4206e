//! An NVMe drive: Identify, the firmware slot log, Firmware Image Download, Firmware Commit, resets.

use evenkeel_model::{DeviceModel, DiskSerial, FirmwareRevision};
use serde::{Deserialize, Serialize};

use super::fault::DeviceFault;
use super::image::ImageKind;
use super::memory::{Around, Memory, Piece, Struck};
use super::scsi::Said;
use crate::devices::{NvmeCommand, NvmeCompletion, NvmeReset, ScsiData, admin};

/// How long a controller takes to start.
pub(super) const START_S: u64 = 10;
/// Firmware slots; the first is read-only and holds what the factory put there.
const SLOTS: usize = 3;
/// Firmware Update Granularity, in units of 4 KiB.
const GRANULARITY: u8 = 1;

const INVALID_OPCODE: u16 = 0x001;
const INVALID_FIELD: u16 = 0x002;
const COMMAND_INTERRUPTED: u16 = 0x021;
const INVALID_SLOT: u16 = 0x106;
const INVALID_IMAGE: u16 = 0x107;
const NEEDS_CONVENTIONAL_RESET: u16 = 0x10b;
const NEEDS_SUBSYSTEM_RESET: u16 = 0x110;
const NEEDS_CONTROLLER_RESET: u16 = 0x111;
const MAXIMUM_TIME: u16 = 0x112;
const OVERLAPPING_RANGE: u16 = 0x114;

/// The firmware slots of a drive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Slots {
    /// What slots 2 and 3 hold.
    pub(super) images: [Option<FirmwareRevision>; SLOTS - 1],
    /// The slot that runs, from zero.
    pub(super) active: usize,
    /// The slot that the next reset activates.
    pub(super) next: Option<usize>,
}

/// What a drive is.
pub(super) struct Make<'a> {
    pub(super) serial: &'a DiskSerial,
    pub(super) model: &'a DeviceModel,
    /// What activates an image of this make.
    pub(super) needs: NvmeReset,
}

pub(super) fn submit(
    (memory, slots): (&mut Memory, &mut Slots),
    make: &Make<'_>,
    command: &NvmeCommand,
    around: &Around,
) -> Said<NvmeCompletion> {
    if memory.is_starting() {
        return (None, None);
    }
    memory.attention = None;
    if around.has(DeviceFault::Busy) || memory.busy_until > around.now {
        return (Some(done(COMMAND_INTERRUPTED)), None);
    }
    let completion = match command.opcode {
        admin::IDENTIFY => identify(memory, make, command),
        admin::GET_LOG_PAGE => log_page(memory, slots, command),
        admin::FIRMWARE_COMMIT => done(commit(memory, slots, make, command, around)),
        admin::FIRMWARE_DOWNLOAD => return download(memory, make, command, around),
        _ => done(INVALID_OPCODE),
    };
    (Some(completion), None)
}

/// Begins a reset. One that goes far enough activates what waits for it.
pub(super) fn reset(
    (memory, slots): (&mut Memory, &mut Slots),
    make: &Make<'_>,
    reset: NvmeReset,
    around: &Around,
) {
    let enough = make.needs == NvmeReset::Controller || make.needs == reset;
    let next = slots.next.filter(|_| enough);
    let revision = next.and_then(|slot| slots.images.get(slot - 1).cloned().flatten());
    match (next, revision) {
        (Some(slot), Some(revision)) => {
            slots.next = None;
            if !around.has(DeviceFault::Unchanged) {
                slots.active = slot;
            }
            memory.activate(revision, around, START_S);
        }
        (_, _) => memory.lose_power(around, START_S),
    }
}

fn done(status: u16) -> NvmeCompletion {
    NvmeCompletion {
        status,
        result: 0,
        data: Vec::new(),
    }
}

fn with_data(mut data: Vec<u8>, command: &NvmeCommand) -> NvmeCompletion {
    match command.data {
        ScsiData::In(room) => data.truncate(room as usize),
        ScsiData::None | ScsiData::Out(_) => data.clear(),
    }
    NvmeCompletion {
        status: 0,
        result: 0,
        data,
    }
}

fn put(data: &mut [u8], at: usize, width: usize, text: &str) {
    let field = &mut data[at..at + width];
    field.fill(b' ');
    for (place, byte) in field.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
}

fn identify(memory: &Memory, make: &Make<'_>, command: &NvmeCommand) -> NvmeCompletion {
    if command.dwords[0] & 0xff != 1 {
        return done(INVALID_FIELD);
    }
    let mut data = vec![0; 4096];
    put(&mut data, 4, 20, make.serial.as_str());
    put(&mut data, 24, 40, make.model.as_str());
    put(&mut data, 64, 8, memory.running.as_str());
    // Activation without a reset; so many slots; the first is read-only.
    data[260] = 1 << 4 | (SLOTS as u8) << 1 | 1;
    data[270..272].copy_from_slice(&50_u16.to_le_bytes());
    data[319] = GRANULARITY;
    with_data(data, command)
}

fn log_page(memory: &Memory, slots: &Slots, command: &NvmeCommand) -> NvmeCompletion {
    if command.dwords[0] & 0xff != 3 {
        return done(INVALID_FIELD);
    }
    let mut data = vec![0; 512];
    let next = slots.next.map_or(0, |slot| slot as u8 + 1);
    data[0] = next << 4 | (slots.active as u8 + 1);
    put(&mut data, 8, 8, "NA01");
    for (slot, image) in slots.images.iter().enumerate() {
        if let Some(revision) = image {
            put(&mut data, 16 + slot * 8, 8, revision.as_str());
        }
    }
    put(&mut data, 8 + slots.active * 8, 8, memory.running.as_str());
    with_data(data, command)
}

fn download(
    memory: &mut Memory,
    make: &Make<'_>,
    command: &NvmeCommand,
    around: &Around,
) -> Said<NvmeCompletion> {
    let bytes = match &command.data {
        ScsiData::Out(bytes) => bytes,
        ScsiData::None | ScsiData::In(_) => return (Some(done(INVALID_FIELD)), None),
    };
    let (length, offset) = (command.dwords[0] as usize + 1, command.dwords[1] as usize);
    if length * 4 != bytes.len() {
        return (Some(done(INVALID_FIELD)), None);
    }
    if offset == 0 {
        memory.staged = None;
    }
    let kind = (ImageKind::Drive, make.model);
    let (piece, struck) = memory.take((offset * 4, bytes), kind, around, START_S);
    let status = match piece {
        Piece::Silence => return (None, struck),
        Piece::Taken | Piece::Bad => 0,
        // Without a beginning it is only found out at the commit that this is no image.
        Piece::OutOfOrder if memory.receiving.is_none() => 0,
        Piece::OutOfOrder => OVERLAPPING_RANGE,
        Piece::Last(revision) => {
            memory.staged = Some(revision);
            if around.has(DeviceFault::Attention) {
                return (None, Some(Struck(DeviceFault::Attention)));
            }
            0
        }
    };
    (Some(done(status)), struck)
}

fn commit(
    memory: &mut Memory,
    slots: &mut Slots,
    make: &Make<'_>,
    command: &NvmeCommand,
    around: &Around,
) -> u16 {
    let (slot, action) = ((command.dwords[0] & 7) as usize, command.dwords[0] >> 3 & 7);
    if !(2..=SLOTS).contains(&slot) {
        return INVALID_SLOT;
    }
    let image = &mut slots.images[slot - 2];
    match action {
        0 | 1 | 3 => match memory.staged.take() {
            Some(revision) => *image = Some(revision),
            None => return INVALID_IMAGE,
        },
        2 if image.is_some() => {}
        2 => return INVALID_SLOT,
        _ => return INVALID_FIELD,
    }
    if action == 3 && around.has(DeviceFault::Slow) {
        return MAXIMUM_TIME;
    }
    if action != 0 {
        slots.next = Some(slot - 1);
    }
    match (action, make.needs) {
        (0, _) | (1 | 2, NvmeReset::Controller) => 0,
        (_, NvmeReset::Controller) => NEEDS_CONTROLLER_RESET,
        (_, NvmeReset::Subsystem) => NEEDS_SUBSYSTEM_RESET,
        (_, NvmeReset::Conventional) => NEEDS_CONVENTIONAL_RESET,
    }
}
