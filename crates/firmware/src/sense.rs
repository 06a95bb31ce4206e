//! SCSI commands and what their answers mean, for drives and enclosures alike.

use std::fmt;

use evenkeel_platform::devices::{ScsiCommand, ScsiData, ScsiDevice, opcode, status};

use crate::driver::{DriverError, Identity};

/// Commands that look and send pieces: a drive that takes longer is in trouble.
pub(crate) const SHORT_MS: u32 = 60_000;
/// Commands that may write all of a device's flash.
pub(crate) const LONG_MS: u32 = 600_000;

/// Sense key, additional sense code and qualifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sense {
    pub(crate) key: u8,
    pub(crate) code: u8,
    pub(crate) qualifier: u8,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// As it is.
    Driver(DriverError),
    /// The device said so.
    Sense(Sense),
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            code,
            qualifier,
        } = self;
        write!(f, "sense {key:X}h/{code:02X}h/{qualifier:02X}h")
    }
}

impl Sense {
    /// Fixed or descriptor format (SPC-5, 4.4).
    fn parse(bytes: &[u8]) -> Option<Self> {
        let at = |place: usize| bytes.get(place).copied();
        let (key, code, qualifier) = match at(0)? & 0x7f {
            0x70 | 0x71 => (at(2)?, at(12)?, at(13)?),
            0x72 | 0x73 => (at(1)?, at(2)?, at(3)?),
            _ => return None,
        };
        Some(Self {
            key: key & 0x0f,
            code,
            qualifier,
        })
    }

    /// The microcode has been changed: said once by a device that took new firmware.
    pub(crate) fn says_changed(self) -> bool {
        (self.key, self.code, self.qualifier) == (0x06, 0x3f, 0x01)
    }

    /// What it means where nothing special was expected.
    pub(crate) fn meaning(self) -> DriverError {
        let text = self.to_string();
        match (self.key, self.code) {
            // Not ready, and on its way.
            (0x02, 0x04) => DriverError::Busy(text),
            // Power on or reset: what was sent before is gone.
            (0x06, 0x29) => DriverError::Lost(text),
            // Other news, or a command that was aborted: nothing was done.
            (0x06 | 0x0b, _) => DriverError::Busy(text),
            (_, _) => DriverError::Refused(text),
        }
    }
}

impl Trouble {
    pub(crate) fn meaning(self) -> DriverError {
        match self {
            Self::Driver(error) => error,
            Self::Sense(sense) => sense.meaning(),
        }
    }
}

/// Sends a command and sorts the answer.
pub(crate) async fn execute(
    device: &dyn ScsiDevice,
    cdb: Vec<u8>,
    data: ScsiData,
    timeout_ms: u32,
) -> Result<Vec<u8>, Trouble> {
    let command = ScsiCommand {
        cdb,
        data,
        timeout_ms,
    };
    let reply = device.execute(&command).await;
    let reply = reply.map_err(|error| Trouble::Driver(DriverError::Silent(error)))?;
    let strange = |what: String| Trouble::Driver(DriverError::Refused(what));
    match reply.status {
        status::GOOD => Ok(reply.data),
        status::BUSY | status::TASK_SET_FULL => {
            let text = format!("status {:02X}h", reply.status);
            Err(Trouble::Driver(DriverError::Busy(text)))
        }
        status::CHECK_CONDITION => match Sense::parse(&reply.sense) {
            Some(sense) => Err(Trouble::Sense(sense)),
            None => Err(strange("sense data that say nothing".to_owned())),
        },
        other => Err(strange(format!("status {other:02X}h"))),
    }
}

/// TEST UNIT READY.
pub(crate) async fn test_unit_ready(device: &dyn ScsiDevice) -> Result<(), DriverError> {
    let cdb = vec![opcode::TEST_UNIT_READY, 0, 0, 0, 0, 0];
    match execute(device, cdb, ScsiData::None, SHORT_MS).await {
        Ok(_) => Ok(()),
        // News of a reset is no reason to wait: the next command is carried out.
        Err(Trouble::Sense(sense)) if sense.key == 0x06 => {
            Err(DriverError::Busy(sense.to_string()))
        }
        Err(trouble) => Err(trouble.meaning()),
    }
}

/// INQUIRY: product identification and product revision level.
pub(crate) async fn inquiry(device: &dyn ScsiDevice) -> Result<Identity, DriverError> {
    const LENGTH: u8 = 36;
    let cdb = vec![opcode::INQUIRY, 0, 0, 0, LENGTH, 0];
    let data = execute(device, cdb, ScsiData::In(u32::from(LENGTH)), SHORT_MS).await;
    let data = data.map_err(Trouble::meaning)?;
    let field = |from: usize, to: usize| {
        let bytes = data.get(from..to).unwrap_or_default();
        String::from_utf8_lossy(bytes).trim().to_owned()
    };
    let strange = |error: evenkeel_model::NameError| {
        DriverError::Refused(format!("INQUIRY names no firmware: {error}"))
    };
    Ok(Identity {
        model: field(16, 32).parse().map_err(strange)?,
        running: field(32, 36).parse().map_err(strange)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_of_sense_data_are_read() {
        let sense = Sense {
            key: 5,
            code: 0x26,
            qualifier: 1,
        };
        let mut fixed = vec![0; 18];
        (fixed[0], fixed[2], fixed[12], fixed[13]) = (0xf0, 0x25, 0x26, 1);
        assert_eq!(Sense::parse(&fixed), Some(sense));
        assert_eq!(Sense::parse(&[0x72, 5, 0x26, 1]), Some(sense));
        assert_eq!(Sense::parse(&[0x70, 0, 5]), None);
        assert_eq!(Sense::parse(&[]), None);
        assert_eq!(sense.to_string(), "sense 5h/26h/01h");
    }
}
