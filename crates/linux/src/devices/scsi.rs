//! SCSI commands by `SG_IO` (<scsi/sg.h>), to a generic device (`/dev/sg3`) or a disk (`/dev/sda`).

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;

use super::buffer::Buffer;
use super::ioctl::{self, SgEnd};
use super::open;
use crate::Host;
use crate::look::{Answer, blocking_for, refused, unavailable};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{ScsiCommand, ScsiDevice, ScsiReply, status};

/// What sense data may take (SPC-5, 4.4.1).
const SENSE_BYTES: usize = 252;
/// Longest command descriptor block that the kernel takes here.
const CDB_MAX: usize = 32;
/// The kernel's own handling of a command that did not end in time: aborts, and resets of device, target, bus and host.
const GRACE: Duration = Duration::from_secs(60);

/// `host_status`: the transport (DID_… of the kernel's <scsi/scsi_status.h>). Zero is good.
const HOST_OK: u16 = 0;
/// `driver_status`: there are sense data.
const DRIVER_SENSE: u16 = 0x08;
const DRIVER_OK: u16 = 0;

/// A SCSI device, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScsiFile {
    path: PathBuf,
}

impl ScsiFile {
    /// The device at a path. It is opened anew for every command: names change hands.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[async_trait]
impl ScsiDevice for ScsiFile {
    async fn execute(&self, command: &ScsiCommand) -> Result<ScsiReply, PlatformError> {
        let (path, command) = (self.path.clone(), command.clone());
        let within = Duration::from_millis(u64::from(command.timeout_ms)) + GRACE;
        let what = format!("a command to {}", path.display());
        let send = move |_: &Host| send(&open(&path)?, &path, command);
        blocking_for(&Host::this(), &what, within, send).await
    }
}

fn send(file: &File, path: &std::path::Path, command: ScsiCommand) -> Answer<ScsiReply> {
    let mut cdb = command.cdb;
    if cdb.is_empty() || cdb.len() > CDB_MAX {
        return Err(refused(format!("a command of {} bytes", cdb.len())));
    }
    let mut buffer = Buffer::new(command.data)?;
    let mut sense = [0; SENSE_BYTES];
    let end = ioctl::scsi(
        file,
        &mut cdb,
        buffer.data(),
        &mut sense,
        command.timeout_ms,
    );
    let end = end.map_err(|errno| failure(path, errno))?;
    reply(path, end, &sense, buffer.received())
}

/// A device that is none for SCSI refuses for good; anything else may pass.
fn failure(path: &std::path::Path, errno: Errno) -> PlatformError {
    match errno {
        Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP => refused(format!(
            "{} takes no SCSI commands: {errno}",
            path.display()
        )),
        Errno::EPERM | Errno::EACCES => refused(format!(
            "this process may not send SCSI commands to {} (it needs CAP_SYS_RAWIO): {errno}",
            path.display()
        )),
        _ => unavailable(format!("{}: {errno}", path.display())),
    }
}

/// What the kernel tells of the end of a command. An answer of the device is one only when the transport and the driver had no trouble.
fn reply(path: &std::path::Path, end: SgEnd, sense: &[u8], mut data: Vec<u8>) -> Answer<ScsiReply> {
    let lost = |what: String| {
        Err(unavailable(format!(
            "no answer from {}: {what}",
            path.display()
        )))
    };
    if end.host_status != HOST_OK {
        return lost(host_trouble(end.host_status));
    }
    if !matches!(end.driver_status, DRIVER_OK | DRIVER_SENSE) {
        return lost(format!("driver status {:02X}h", end.driver_status));
    }
    let missing = usize::try_from(end.residual).unwrap_or_default();
    data.truncate(data.len().saturating_sub(missing));
    // The kernel may leave the status out when it hands sense data over.
    let status = match (end.status, end.driver_status) {
        (status::GOOD, DRIVER_SENSE) if end.sense_length > 0 => status::CHECK_CONDITION,
        (status, _) => status,
    };
    let sense = match status {
        status::CHECK_CONDITION => sense[..usize::from(end.sense_length).min(sense.len())].to_vec(),
        _ => Vec::new(),
    };
    Ok(ScsiReply {
        status,
        sense,
        data,
    })
}

fn host_trouble(status: u16) -> String {
    let what = match status {
        0x01 => "the device is not connected",
        0x02 => "the bus stays busy",
        0x03 => "it did not end in time",
        0x04 => "it is not the device that was meant",
        0x05 => "it was aborted",
        0x06 => "parity",
        0x07 => "an error of the adapter",
        0x08 => "a reset",
        0x09 => "an interrupt that nobody expected",
        0x0b => "an error that passes",
        0x0e | 0x0f => "the transport is disrupted",
        _ => "trouble of the transport",
    };
    format!("{what} (host status {status:02X}h)")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/dev/sg9";

    fn end(status: u8, host_status: u16, driver_status: u16) -> SgEnd {
        SgEnd {
            status,
            host_status,
            driver_status,
            sense_length: 18,
            residual: 0,
        }
    }

    fn said(end: SgEnd, data: Vec<u8>) -> Answer<ScsiReply> {
        reply(std::path::Path::new(PATH), end, &[0x70; SENSE_BYTES], data)
    }

    #[test]
    fn only_the_devices_own_answer_is_an_answer() {
        let timeout = said(end(0, 3, 0), Vec::new()).unwrap_err();
        assert!(timeout.is_transient());
        assert!(
            timeout.to_string().contains("did not end in time"),
            "{timeout}"
        );
        assert!(said(end(0, 0, 6), Vec::new()).is_err());
        let busy = said(end(status::BUSY, 0, 0), Vec::new()).unwrap();
        assert_eq!((busy.status, busy.sense.len()), (status::BUSY, 0));
    }

    #[test]
    fn sense_data_and_residuals_are_carried() {
        let check = said(end(status::CHECK_CONDITION, 0, DRIVER_SENSE), Vec::new()).unwrap();
        assert_eq!(check.sense.len(), 18);
        let unsaid = said(end(status::GOOD, 0, DRIVER_SENSE), Vec::new()).unwrap();
        assert_eq!(unsaid.status, status::CHECK_CONDITION);
        let short = SgEnd {
            residual: 60,
            ..end(0, 0, 0)
        };
        assert_eq!(said(short, vec![7; 96]).unwrap().data.len(), 36);
        // Some adapters tell nonsense.
        for residual in [-1, 1000] {
            let strange = SgEnd {
                residual,
                ..end(0, 0, 0)
            };
            assert!(said(strange, vec![7; 96]).unwrap().data.len() <= 96);
        }
    }
}
