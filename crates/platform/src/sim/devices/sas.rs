//! A SAS drive: WRITE BUFFER in its download modes, INQUIRY, TEST UNIT READY, READ.

use evenkeel_model::{DeviceModel, DiskSerial};

use super::fault::DeviceFault;
use super::image::ImageKind;
use super::memory::{Around, MICROCODE_CHANGED, Memory, Piece};
use super::scsi::{
    BAD_FIELD, BAD_PARAMETER, BAD_SEQUENCE, NO_SUCH_COMMAND, OUT_OF_RANGE, Said, attention, four,
    gate, good, illegal, inquiry, room, three,
};
use crate::devices::{ScsiCommand, ScsiData, ScsiReply, opcode};

/// How long a drive takes to start.
pub(super) const START_S: u64 = 20;
/// Blocks of 512 bytes that a drive has.
const BLOCKS: usize = 1 << 21;

/// Download microcode and save: the image in one piece.
const SAVE: u8 = 0x05;
/// Download microcode with offsets and save.
const OFFSETS_SAVE: u8 = 0x07;
/// The same, and defer until an event that byte 1 selects.
const SELECT_DEFER: u8 = 0x0d;
/// The same, and defer until told or reset.
const OFFSETS_DEFER: u8 = 0x0e;
/// Activate deferred microcode.
const ACTIVATE: u8 = 0x0f;

/// What a drive is.
pub(super) struct Make<'a> {
    pub(super) serial: &'a DiskSerial,
    pub(super) model: &'a DeviceModel,
    /// It knows the modes that defer.
    pub(super) defers: bool,
}

pub(super) fn execute(
    memory: &mut Memory,
    make: &Make<'_>,
    command: &ScsiCommand,
    around: &Around,
) -> Said<ScsiReply> {
    if let Some(reply) = gate(memory, command, around) {
        return (Some(reply), None);
    }
    let reply = match command.cdb.first() {
        Some(&opcode::INQUIRY) => inquiry(
            command,
            0x00,
            (make.model.as_str(), memory.running.as_str()),
            make.serial.as_str(),
        ),
        Some(&opcode::TEST_UNIT_READY) => good(Vec::new()),
        Some(&opcode::READ_10) => read(command),
        Some(&opcode::WRITE_BUFFER) => return write_buffer(memory, make, command, around),
        Some(_) | None => illegal(NO_SUCH_COMMAND),
    };
    (Some(reply), None)
}

fn read(command: &ScsiCommand) -> ScsiReply {
    let blocks = three(&command.cdb, 6) & 0xffff00;
    let blocks = blocks >> 8 | usize::from(command.cdb.get(8).copied().unwrap_or_default());
    if four(&command.cdb, 2) + blocks > BLOCKS {
        return illegal(OUT_OF_RANGE);
    }
    good(vec![0; room(command).min(blocks * 512)])
}

fn write_buffer(
    memory: &mut Memory,
    make: &Make<'_>,
    command: &ScsiCommand,
    around: &Around,
) -> Said<ScsiReply> {
    let cdb = &command.cdb;
    let mode = cdb.get(1).copied().unwrap_or_default() & 0x1f;
    if mode == ACTIVATE && make.defers {
        return (Some(activate(memory, around)), None);
    }
    let known = match mode {
        SAVE | OFFSETS_SAVE => true,
        SELECT_DEFER | OFFSETS_DEFER => make.defers,
        _ => false,
    };
    let ScsiData::Out(bytes) = &command.data else {
        return (Some(illegal(BAD_FIELD)), None);
    };
    if !known || bytes.len() != three(cdb, 6) {
        return (Some(illegal(BAD_FIELD)), None);
    }
    let offset = if mode == SAVE { 0 } else { three(cdb, 3) };
    let kind = (ImageKind::Drive, make.model);
    let (piece, struck) = memory.take((offset, bytes), kind, around, START_S);
    let reply = match piece {
        Piece::Silence => return (None, struck),
        Piece::Taken if mode == SAVE => illegal(BAD_PARAMETER),
        Piece::Taken => good(Vec::new()),
        Piece::OutOfOrder => illegal(BAD_FIELD),
        Piece::Bad => illegal(BAD_PARAMETER),
        Piece::Last(revision) => {
            match mode {
                SAVE | OFFSETS_SAVE => memory.activate(revision, around, START_S),
                _ => memory.staged = Some(revision),
            }
            match around.has(DeviceFault::Attention) {
                true => attention(MICROCODE_CHANGED),
                false => good(Vec::new()),
            }
        }
    };
    (Some(reply), struck)
}

fn activate(memory: &mut Memory, around: &Around) -> ScsiReply {
    match memory.staged.take() {
        Some(revision) => {
            memory.activate(revision, around, START_S);
            good(Vec::new())
        }
        None => illegal(BAD_SEQUENCE),
    }
}
