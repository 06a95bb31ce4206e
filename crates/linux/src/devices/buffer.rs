//! The bytes that go with a command to a device, or the room for those that come back.

use super::ioctl::Data;
use crate::look::{Answer, refused};
use evenkeel_platform::devices::ScsiData;

/// No command that is sent moves more; a caller that asks for more is wrong.
const DATA_MAX: usize = 1 << 20;

/// Bytes in memory, and which way they go.
pub(super) enum Buffer {
    None,
    Out(Vec<u8>),
    In(Vec<u8>),
}

impl Buffer {
    pub(super) fn new(data: ScsiData) -> Answer<Self> {
        let bytes = match &data {
            ScsiData::None => 0,
            ScsiData::Out(bytes) => bytes.len(),
            ScsiData::In(length) => *length as usize,
        };
        if bytes > DATA_MAX {
            return Err(refused(format!(
                "more than {DATA_MAX} bytes with a command"
            )));
        }
        Ok(match data {
            ScsiData::None => Self::None,
            ScsiData::Out(bytes) => Self::Out(bytes),
            ScsiData::In(_) => Self::In(vec![0; bytes]),
        })
    }

    /// For the kernel.
    pub(super) fn data(&mut self) -> Data<'_> {
        match self {
            Self::None => Data::None,
            Self::Out(bytes) => Data::Out(bytes),
            Self::In(bytes) => Data::In(bytes),
        }
    }

    /// What came back.
    pub(super) fn received(self) -> Vec<u8> {
        match self {
            Self::None | Self::Out(_) => Vec::new(),
            Self::In(bytes) => bytes,
        }
    }
}
