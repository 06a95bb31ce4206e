//! An I/O module of a shelf: an enclosure process that takes microcode by diagnostic page 0Eh (SES-4).

use evenkeel_model::{DeviceModel, FirmwareRevision};
use serde::{Deserialize, Serialize};

use super::fault::DeviceFault;
use super::image::ImageKind;
use super::memory::{Around, MICROCODE_CHANGED, Memory, Piece};
use super::scsi::{
    BAD_FIELD, BAD_PARAMETER, NO_SUCH_COMMAND, Said, attention, four, gate, good, illegal, inquiry,
    room,
};
use crate::devices::{ScsiCommand, ScsiData, ScsiReply, opcode};

/// How long a module takes to start. Its path is gone meanwhile.
pub(super) const START_S: u64 = 60;
/// How long it takes to put a whole image away.
const STORE_S: u64 = 5;
/// Bytes of the control page before the piece of the image.
const PAGE_HEAD: usize = 24;
const PAGE: u8 = 0x0e;
/// Largest image that it takes.
const MOST: u32 = 64 << 20;

const OFFSETS_SAVE: u8 = 0x07;
const OFFSETS_DEFER: u8 = 0x0e;
const ACTIVATE: u8 = 0x0f;

/// What a module keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Module {
    pub(super) memory: Memory,
    /// Counts its starts, as the generation code.
    pub(super) generation: u32,
    /// Of the last download: the status code.
    pub(super) status: u8,
    /// Until when an image is being put away.
    pub(super) stores_until: u64,
}

impl Module {
    pub(super) fn factory() -> Self {
        Self {
            memory: Memory::factory("0210"),
            generation: 1,
            status: 0x00,
            stores_until: 0,
        }
    }

    fn activate(&mut self, revision: FirmwareRevision, around: &Around) {
        self.memory.activate(revision, around, START_S);
        self.generation += 1;
        self.stores_until = 0;
    }

    fn status(&self, now: u64) -> u8 {
        match self.stores_until > now {
            // Updating storage with deferred microcode.
            true => 0x03,
            false => self.status,
        }
    }
}

pub(super) fn execute(
    module: &mut Module,
    (model, serial): (&DeviceModel, &str),
    command: &ScsiCommand,
    around: &Around,
) -> Said<ScsiReply> {
    // A module that starts answers nothing at all, and INQUIRY neither: it is the way to itself.
    if module.memory.is_starting() {
        return (None, None);
    }
    if let Some(reply) = gate(&mut module.memory, command, around) {
        return (Some(reply), None);
    }
    let running = module.memory.running.as_str();
    let reply = match command.cdb.first() {
        Some(&opcode::INQUIRY) => inquiry(command, 0x0d, (model.as_str(), running), serial),
        Some(&opcode::TEST_UNIT_READY) => good(Vec::new()),
        Some(&opcode::RECEIVE_DIAGNOSTIC) => receive(module, command, around),
        Some(&opcode::SEND_DIAGNOSTIC) => return send(module, model, command, around),
        Some(_) | None => illegal(NO_SUCH_COMMAND),
    };
    (Some(reply), None)
}

/// The download microcode status page, with one descriptor: the primary subenclosure.
fn receive(module: &Module, command: &ScsiCommand, around: &Around) -> ScsiReply {
    let valid = command.cdb.get(1).is_some_and(|byte| byte & 1 == 1);
    if !valid || command.cdb.get(2) != Some(&PAGE) {
        return illegal(BAD_FIELD);
    }
    let mut page = vec![PAGE, 0, 0, 20];
    page.extend(module.generation.to_be_bytes());
    page.extend([0, 0, module.status(around.now), 0]);
    page.extend(MOST.to_be_bytes());
    page.extend([0; 4]);
    let at = module.memory.receiving.as_ref().map_or(0, |r| r.at());
    page.extend((at as u32).to_be_bytes());
    page.truncate(room(command));
    good(page)
}

fn send(
    module: &mut Module,
    model: &DeviceModel,
    command: &ScsiCommand,
    around: &Around,
) -> Said<ScsiReply> {
    let page = match &command.data {
        ScsiData::Out(page) if page.len() >= PAGE_HEAD && page[0] == PAGE => page,
        ScsiData::Out(_) | ScsiData::None | ScsiData::In(_) => {
            return (Some(illegal(BAD_FIELD)), None);
        }
    };
    if four(page, 4) as u32 != module.generation || page[1] != 0 {
        return (Some(illegal(BAD_PARAMETER)), None);
    }
    if module.stores_until > around.now {
        return (Some(illegal(BAD_PARAMETER)), None);
    }
    match page[8] {
        OFFSETS_SAVE | OFFSETS_DEFER => download(module, model, page, around),
        ACTIVATE => (Some(activate(module, around)), None),
        _ => {
            // Invalid field in the page.
            module.status = 0x80;
            (Some(good(Vec::new())), None)
        }
    }
}

fn download(
    module: &mut Module,
    model: &DeviceModel,
    page: &[u8],
    around: &Around,
) -> Said<ScsiReply> {
    let (offset, length) = (four(page, 12), four(page, 20));
    let Some(bytes) = page.get(PAGE_HEAD..PAGE_HEAD + length) else {
        return (Some(illegal(BAD_PARAMETER)), None);
    };
    let kind = (ImageKind::Module, model);
    let (piece, struck) = module.memory.take((offset, bytes), kind, around, START_S);
    module.status = match piece {
        Piece::Silence => {
            module.status = 0x00;
            module.generation += u32::from(module.memory.is_starting());
            return (None, struck);
        }
        Piece::Taken => 0x01,
        Piece::OutOfOrder => 0x80,
        Piece::Bad => 0x81,
        Piece::Last(revision) if page[8] == OFFSETS_SAVE => {
            module.activate(revision, around);
            0x10
        }
        Piece::Last(revision) => {
            module.memory.staged = Some(revision);
            module.stores_until = around.after_slow_s(STORE_S);
            0x13
        }
    };
    let reply = match around.has(DeviceFault::Attention) && module.status == 0x13 {
        true => attention(MICROCODE_CHANGED),
        false => good(Vec::new()),
    };
    (Some(reply), struck)
}

fn activate(module: &mut Module, around: &Around) -> ScsiReply {
    match module.memory.staged.take() {
        Some(revision) => {
            module.activate(revision, around);
            module.status = 0x00;
        }
        // Activate without anything that was deferred.
        None => module.status = 0x85,
    }
    good(Vec::new())
}
