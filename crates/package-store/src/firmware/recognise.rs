//! Tells from the first bytes of an archive whether it is a software package or firmware.

use std::io::{BufReader, Read};

use evenkeel_model::{FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE, ImageName, MANIFEST_PATH};
use flate2::bufread::MultiGzDecoder;

use crate::tar::{TarKind, TarReader};
use crate::verify_error::VerifyError;

/// So many bytes always suffice for [`recognise`].
pub const FRONT_BYTES: usize = 256 << 10;
/// Inflated bytes that are looked at: a few headers, however long their names.
const INFLATED_BYTES: u64 = 256 << 10;

/// What an archive is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// A software package, or nothing that is known: taken for one, it is refused with the reason.
    Software,
    /// Firmware in a zip.
    FirmwareZip,
    /// Firmware in a gzip-compressed tar.
    FirmwareTgz,
}

/// What begins with these bytes; `None` while there are too few to say. `ended` says that no more will come.
pub fn recognise(front: &[u8], ended: bool) -> Option<Recognised> {
    let ended = ended || front.len() >= FRONT_BYTES;
    match front {
        [b'P', b'K', ..] => Some(Recognised::FirmwareZip),
        [0x1f, 0x8b, ..] => first_file(front, ended),
        [] | [b'P'] | [0x1f] if !ended => None,
        _ => Some(Recognised::Software),
    }
}

/// The first file decides; folders before it do not.
fn first_file(front: &[u8], ended: bool) -> Option<Recognised> {
    let mut inflated = Vec::new();
    // Byte by byte: what was inflated before a fault must not depend on how much has come behind it.
    let front = BufReader::with_capacity(1, front);
    // What is cut off ends with an error; what was inflated before it is there all the same.
    let _ = MultiGzDecoder::new(front)
        .take(INFLATED_BYTES)
        .read_to_end(&mut inflated);
    let ended = ended || inflated.len() as u64 == INFLATED_BYTES;
    let mut tar = TarReader::new(inflated.as_slice());
    loop {
        let entry = match tar.next() {
            Ok(Some(entry)) => entry,
            Err(VerifyError::Truncated { .. }) if !ended => return None,
            // Whoever takes it for a package finds out what is wrong with it.
            Ok(None) | Err(_) => return Some(Recognised::Software),
        };
        if entry.kind == TarKind::Directory && entry.size == 0 {
            continue;
        }
        let name = entry.path.rsplit('/').next().unwrap_or_default();
        let is_firmware = entry.path != MANIFEST_PATH
            && ([FIRMWARE_MANIFEST, FIRMWARE_SIGNATURE].contains(&entry.path.as_str())
                || ImageName::parse(name).is_ok());
        return Some(match is_firmware {
            true => Recognised::FirmwareTgz,
            false => Recognised::Software,
        });
    }
}
