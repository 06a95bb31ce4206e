//! NVMe admin commands by the kernel's passthrough (<linux/nvme_ioctl.h>), to a controller (`/dev/nvme0`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;

use super::buffer::Buffer;
use super::ioctl::{self, Admin};
use super::open;
use crate::Host;
use crate::look::{Answer, blocking_for, refused, unavailable};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{NvmeAdmin, NvmeCommand, NvmeCompletion, NvmeReset};

/// What the kernel takes to give up a command, and to reset the controller that did not answer.
const GRACE: Duration = Duration::from_secs(60);
/// A controller may take as long as it says in CAP.TO, two minutes at most, to come up.
const RESET: Duration = Duration::from_secs(150);

/// Status code type and status code; above them are the bits for retry delay, *more* and *do not retry*.
const STATUS: u16 = 0x7ff;
/// Statuses of the status code type "path related" (3h) that the kernel makes up when the controller gave no completion.
const HOST_PATH_ERROR: u16 = 0x370;
const HOST_ABORTED: u16 = 0x371;

/// An NVMe controller, by its path.
#[derive(Clone)]
pub struct NvmeFile {
    host: Host,
    path: PathBuf,
}

impl NvmeFile {
    /// The controller at `/dev/<name>`.
    pub fn new(host: Host, name: &str) -> Self {
        let path = Path::new("/dev").join(name);
        Self { host, path }
    }
}

#[async_trait]
impl NvmeAdmin for NvmeFile {
    async fn submit(&self, command: &NvmeCommand) -> Result<NvmeCompletion, PlatformError> {
        let (path, command) = (self.path.clone(), command.clone());
        let within = Duration::from_millis(u64::from(command.timeout_ms)) + GRACE;
        let what = format!("a command to {}", path.display());
        let send = move |host: &Host| submit(host, &path, command);
        blocking_for(&self.host, &what, within, send).await
    }

    async fn reset(&self, reset: NvmeReset) -> Result<(), PlatformError> {
        let path = self.path.clone();
        let what = format!("a reset of {}", path.display());
        let begin = move |host: &Host| match reset {
            NvmeReset::Controller => {
                let ended = ioctl::reset_controller(&open(&host.path(&path))?);
                ended.map_err(|errno| failure(&path, errno))
            }
            NvmeReset::Subsystem => {
                let ended = ioctl::reset_subsystem(&open(&host.path(&path))?);
                ended.map_err(|errno| no_subsystem_reset(&path, errno))
            }
            NvmeReset::Conventional => conventional(host, &path),
        };
        blocking_for(&self.host, &what, RESET, begin).await
    }
}

fn submit(host: &Host, path: &Path, command: NvmeCommand) -> Answer<NvmeCompletion> {
    let mut buffer = Buffer::new(command.data)?;
    let admin = Admin {
        opcode: command.opcode,
        namespace: command.namespace,
        dwords: command.dwords,
        timeout_ms: command.timeout_ms,
    };
    let file = open(&host.path(path))?;
    let said = ioctl::nvme(&file, admin, buffer.data());
    let (status, result) = said.map_err(|errno| failure(path, errno))?;
    completion(path, status, result, buffer.received())
}

fn completion(path: &Path, status: u16, result: u32, data: Vec<u8>) -> Answer<NvmeCompletion> {
    match status & STATUS {
        made_up @ (HOST_PATH_ERROR | HOST_ABORTED) => Err(unavailable(format!(
            "no answer from {}: the kernel gave the command up ({made_up:03X}h)",
            path.display()
        ))),
        status => Ok(NvmeCompletion {
            status,
            result,
            data,
        }),
    }
}

fn failure(path: &Path, errno: Errno) -> PlatformError {
    match errno {
        Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP => refused(format!(
            "{} takes no NVMe commands: {errno}",
            path.display()
        )),
        Errno::EPERM | Errno::EACCES => refused(format!(
            "this process may not send NVMe commands to {} (it needs CAP_SYS_ADMIN): {errno}",
            path.display()
        )),
        _ => unavailable(format!("{}: {errno}", path.display())),
    }
}

fn no_subsystem_reset(path: &Path, errno: Errno) -> PlatformError {
    match errno {
        Errno::ENOTTY | Errno::EOPNOTSUPP => refused(format!(
            "{} knows no reset of its subsystem: cycle the drive's power",
            path.display()
        )),
        other => failure(path, other),
    }
}

/// A conventional reset of a PCI function is one of its bus: other kinds leave the firmware as it is.
fn conventional(host: &Host, path: &Path) -> Answer<()> {
    let name = path.file_name().unwrap_or_default();
    let function = Path::new("/sys/class/nvme").join(name).join("device");
    let methods = host.read_if_any(function.join("reset_method"))?;
    let methods = methods.unwrap_or_default();
    if !methods.split(' ').any(|method| method == "bus") {
        return Err(refused(format!(
            "{} cannot be reset by its bus alone (the kernel offers: {methods:?}): cycle the drive's power",
            path.display()
        )));
    }
    let write = |file: &str, text: &str| {
        let at = function.join(file);
        let written = std::fs::write(host.path(&at), text);
        written.map_err(|error| unavailable(format!("{}: {error}", at.display())))
    };
    write("reset_method", "bus")?;
    let reset = write("reset", "1");
    // Whatever came of it, the next reset by somebody else is of the kind that it was.
    write("reset_method", &methods)?;
    reset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_controllers_or_none() {
        let said = |status| completion(Path::new("/dev/nvme0"), status, 5, Vec::new());
        assert_eq!(said(0).unwrap().status, 0);
        // With the bits for *more* and *do not retry*.
        assert_eq!(said(0x6107).unwrap().status, 0x107);
        assert!(said(0x4371).unwrap_err().is_transient());
        assert!(said(0x370).unwrap_err().is_transient());
    }

    #[test]
    fn a_bus_that_carries_others_is_not_reset() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path(), std::sync::Arc::new(crate::SystemPrograms));
        let function = root.path().join("sys/class/nvme/nvme0/device");
        std::fs::create_dir_all(&function).unwrap();
        std::fs::write(function.join("reset_method"), "flr\n").unwrap();
        let said = conventional(&host, Path::new("/dev/nvme0")).unwrap_err();
        assert!(!said.is_transient(), "{said}");
        std::fs::write(function.join("reset_method"), "flr bus\n").unwrap();
        conventional(&host, Path::new("/dev/nvme0")).unwrap();
        let text = |file| std::fs::read_to_string(function.join(file)).unwrap();
        assert_eq!(
            (text("reset").as_str(), text("reset_method").as_str()),
            ("1", "flr bus")
        );
    }
}
