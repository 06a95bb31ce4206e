//! The boot loader's EFI variables, as systemd's "Boot Loader Interface" describes them.

use std::io;
use std::path::PathBuf;

use crate::host::Host;
use crate::look::{unavailable, unreadable};
use evenkeel_platform::PlatformError;

/// The vendor's id of the Boot Loader Interface.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Four bytes of attributes come before the value.
const ATTRIBUTES_BYTES: usize = 4;

/// A variable that holds text (UTF-16, with a zero at its end); none if it is not set.
pub(super) fn text(host: &Host, name: &str) -> Result<Option<String>, PlatformError> {
    let path = PathBuf::from(format!("/sys/firmware/efi/efivars/{name}-{VENDOR}"));
    let bytes = match std::fs::read(host.path(&path)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let value = bytes.get(ATTRIBUTES_BYTES..).unwrap_or_default();
    let units: Vec<u16> = value
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    match String::from_utf16(&units) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(_) => Err(unavailable(format!("{} holds no text", path.display()))),
    }
}
