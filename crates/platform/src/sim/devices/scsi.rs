//! What all simulated SCSI devices have in common: sense data, and who is ready for what.

use super::fault::DeviceFault;
use super::memory::{Around, Memory, Struck};
use crate::devices::{ScsiCommand, ScsiData, ScsiReply, opcode, status};

/// What a device said; none when nobody answers.
pub(super) type Said<T> = (Option<T>, Option<Struck>);

const NOT_READY: u8 = 0x02;
const ILLEGAL_REQUEST: u8 = 0x05;
const UNIT_ATTENTION: u8 = 0x06;

/// Invalid command operation code.
pub(super) const NO_SUCH_COMMAND: (u8, u8) = (0x20, 0x00);
/// Logical block address out of range.
pub(super) const OUT_OF_RANGE: (u8, u8) = (0x21, 0x00);
/// Invalid field in CDB.
pub(super) const BAD_FIELD: (u8, u8) = (0x24, 0x00);
/// Invalid field in parameter list.
pub(super) const BAD_PARAMETER: (u8, u8) = (0x26, 0x00);
/// Command sequence error.
pub(super) const BAD_SEQUENCE: (u8, u8) = (0x2c, 0x00);

pub(super) fn good(data: Vec<u8>) -> ScsiReply {
    ScsiReply {
        status: status::GOOD,
        sense: Vec::new(),
        data,
    }
}

pub(super) fn illegal(additional: (u8, u8)) -> ScsiReply {
    check(ILLEGAL_REQUEST, additional)
}

pub(super) fn attention(additional: (u8, u8)) -> ScsiReply {
    check(UNIT_ATTENTION, additional)
}

/// Fixed format sense data.
fn check(key: u8, (code, qualifier): (u8, u8)) -> ScsiReply {
    let mut sense = vec![0; 18];
    (sense[0], sense[2], sense[7]) = (0x70, key, 10);
    (sense[12], sense[13]) = (code, qualifier);
    ScsiReply {
        status: status::CHECK_CONDITION,
        sense,
        data: Vec::new(),
    }
}

/// What a device answers to any command before it looks at it; none when it looks. INQUIRY is always
/// looked at.
pub(super) fn gate(
    memory: &mut Memory,
    command: &ScsiCommand,
    around: &Around,
) -> Option<ScsiReply> {
    if command.cdb.first() == Some(&opcode::INQUIRY) {
        return None;
    }
    if memory.is_starting() {
        // Logical unit is in process of becoming ready.
        return Some(check(NOT_READY, (0x04, 0x01)));
    }
    if around.has(DeviceFault::Busy) || memory.busy_until > around.now {
        return Some(ScsiReply {
            status: status::BUSY,
            sense: Vec::new(),
            data: Vec::new(),
        });
    }
    memory.attention.take().map(attention)
}

/// Answers INQUIRY.
pub(super) fn inquiry(
    command: &ScsiCommand,
    device_type: u8,
    (product, revision): (&str, &str),
    serial: &str,
) -> ScsiReply {
    let cdb = &command.cdb;
    let mut data = match (cdb.get(1).map(|b| b & 1), cdb.get(2)) {
        (Some(0), Some(0)) => {
            let mut data = vec![device_type, 0, 0x07, 0x02, 31, 0, 0, 0];
            data.extend(padded("EVENKEEL", 8));
            data.extend(padded(product, 16));
            data.extend(padded(revision, 4));
            data
        }
        // Unit serial number.
        (Some(1), Some(0x80)) => {
            let mut data = vec![device_type, 0x80, 0, serial.len() as u8];
            data.extend(serial.bytes());
            data
        }
        _ => return illegal(BAD_FIELD),
    };
    data.truncate(room(command));
    good(data)
}

/// Bytes that the caller has room for.
pub(super) fn room(command: &ScsiCommand) -> usize {
    match command.data {
        ScsiData::In(length) => length as usize,
        ScsiData::None | ScsiData::Out(_) => 0,
    }
}

fn padded(text: &str, width: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.bytes().take(width).collect();
    bytes.resize(width, b' ');
    bytes
}

/// A big-endian number of three bytes in a command.
pub(super) fn three(bytes: &[u8], at: usize) -> usize {
    let byte = |n: usize| usize::from(bytes.get(at + n).copied().unwrap_or_default());
    byte(0) << 16 | byte(1) << 8 | byte(2)
}

/// A big-endian number of four bytes.
pub(super) fn four(bytes: &[u8], at: usize) -> usize {
    let byte = bytes.get(at).copied().unwrap_or_default();
    usize::from(byte) << 24 | three(bytes, at + 1)
}
