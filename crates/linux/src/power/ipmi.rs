//! A service processor, asked by IPMI: requests and answers are bytes (`ipmitool raw`), as the IPMI specification 2.0 numbers them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_model::{LanSp, SpState};

use crate::host::Host;
use crate::program::{Call, Finished};
use evenkeel_platform::PlatformError;

/// How long one answer may take. `ipmitool` is told to give up before; a processor that saves power takes some seconds.
const ANSWER: Duration = Duration::from_secs(30);
/// Where Linux shows the processor, by the kernel's IPMI driver: what `ipmitool -I open` looks for.
const DEVICES: [&str; 3] = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];

/// Get Device ID: network function App, command 1 (section 20.1).
const GET_DEVICE_ID: [&str; 2] = ["0x06", "0x01"];
/// Shortest answer to it: the auxiliary revision at its end may be missing.
const DEVICE_ID_BYTES: usize = 11;
/// Byte 3 of the data: the device runs no ordinary firmware now (update, initialisation, boot block).
const DEVICE_UNAVAILABLE: u8 = 0x80;
/// Get Self Test Results: network function App, command 4 (section 20.4).
const GET_SELF_TEST: [&str; 2] = ["0x06", "0x04"];
/// Two of its results.
const TEST_PASSED: u8 = 0x55;
const TEST_FOUND_DAMAGE: u8 = 0x57;
/// Bits of the byte after it: boot block and operational firmware. The others are about its data.
const FIRMWARE_DAMAGED: u8 = 0x03;

/// How a processor is reached.
pub(super) struct Processor {
    args: Vec<String>,
    password_file: Option<PathBuf>,
}

impl Processor {
    /// The node's own, through the kernel.
    pub(super) fn local() -> Self {
        Self {
            args: vec!["-I".to_owned(), "open".to_owned()],
            password_file: None,
        }
    }

    /// One on the network. Its password never stands on a command line, where every user of the host could read it.
    pub(super) fn on_lan(lan: &LanSp) -> Self {
        let args = [
            ("-I", "lanplus".to_owned()),
            ("-H", lan.host.clone()),
            ("-p", lan.port.to_string()),
            ("-U", lan.user.clone()),
            ("-f", lan.password_file.display().to_string()),
            ("-C", lan.cipher_suite.to_string()),
            // Nothing that is asked needs more.
            ("-L", "USER".to_owned()),
            // Three tries of two seconds each.
            ("-N", "2".to_owned()),
            ("-R", "3".to_owned()),
        ];
        let args = args.into_iter();
        Self {
            args: args
                .flat_map(|(flag, value)| [flag.to_owned(), value])
                .collect(),
            password_file: Some(lan.password_file.clone()),
        }
    }

    /// Whether it answers.
    pub(super) async fn answers(&self, host: &Host) -> Result<bool, PlatformError> {
        Ok(self.device_id(host).await?.is_some())
    }

    /// Whether it answers, and runs whole firmware.
    pub(super) async fn state(&self, host: &Host) -> Result<SpState, PlatformError> {
        let Some(id) = self.device_id(host).await? else {
            // Nothing is known of an image that nobody can ask for; that it does not answer is an error by itself.
            return Ok(SpState {
                reachable: false,
                image_ok: true,
                absent: false,
            });
        };
        let image_ok = match self.ask(host, GET_SELF_TEST).await?.as_deref() {
            Some([TEST_FOUND_DAMAGE, damage, ..]) => damage & FIRMWARE_DAMAGED == 0,
            Some([TEST_PASSED, _, ..]) => true,
            // It tests nothing; or fatal errors, and those that are its maker's own, which are of its hardware, not of its image.
            Some([_, _, ..]) => runs_firmware(&id),
            Some(answer) => {
                return unclear(format!("its self test's result has {} bytes", answer.len()));
            }
            None => return self.without_self_test(host).await,
        };
        Ok(SpState {
            reachable: true,
            image_ok,
            absent: false,
        })
    }

    /// It did not answer to one request: either it knows it not, or it has fallen silent.
    async fn without_self_test(&self, host: &Host) -> Result<SpState, PlatformError> {
        let id = self.device_id(host).await?;
        Ok(SpState {
            reachable: id.is_some(),
            image_ok: id.is_none_or(|id| runs_firmware(&id)),
            absent: false,
        })
    }

    async fn device_id(&self, host: &Host) -> Result<Option<Vec<u8>>, PlatformError> {
        self.check(host)?;
        match self.ask(host, GET_DEVICE_ID).await? {
            Some(id) if id.len() < DEVICE_ID_BYTES => {
                unclear(format!("its device id has {} bytes", id.len()))
            }
            answer => Ok(answer),
        }
    }

    /// What would make `ipmitool` fail though the processor is well.
    fn check(&self, host: &Host) -> Result<(), PlatformError> {
        match &self.password_file {
            Some(file) => check_password(host, file),
            None => match DEVICES.iter().any(|device| host.path(device).exists()) {
                true => Ok(()),
                false => Err(PlatformError::Unavailable(
                    "the kernel shows no service processor: /dev/ipmi0 is not there (modules ipmi_si and ipmi_devintf)".to_owned(),
                )),
            },
        }
    }

    /// The bytes of an answer; none if there was none in time. An error means that it could not be asked.
    async fn ask(&self, host: &Host, request: [&str; 2]) -> Result<Option<Vec<u8>>, PlatformError> {
        let mut args = self.args.clone();
        args.push("raw".to_owned());
        args.extend(request.map(str::to_owned));
        let call = Call::new("ipmitool", args, ANSWER);
        let Finished { code, output, .. } = host.run(&call).await?;
        match code {
            Some(0) => match parse(&output) {
                Some(bytes) => Ok(Some(bytes)),
                None => unclear(format!("{} printed no bytes", call.line())),
            },
            Some(_) => Ok(None),
            None => unclear(format!("{} was ended by a signal", call.line())),
        }
    }
}

/// A processor that runs from its boot block, or is being written, says so.
fn runs_firmware(id: &[u8]) -> bool {
    id[2] & DEVICE_UNAVAILABLE == 0
}

/// `ipmitool` reads the first line. A file that others may read is no secret.
fn check_password(host: &Host, file: &Path) -> Result<(), PlatformError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |why: String| {
        PlatformError::Unavailable(format!("the password file {}: {why}", file.display()))
    };
    let metadata = std::fs::metadata(host.path(file));
    let metadata = metadata.map_err(|error: io::Error| failed(error.to_string()))?;
    if metadata.len() == 0 {
        return Err(failed("it is empty".to_owned()));
    }
    match metadata.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(failed("others may read it: chmod 600".to_owned())),
    }
}

/// Two hex digits for each byte, with white space between them.
fn parse(output: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(output).ok()?;
    let byte = |word: &str| match word.len() {
        2 => u8::from_str_radix(word, 16).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.split_whitespace().map(byte).collect();
    bytes.filter(|bytes| !bytes.is_empty())
}

fn unclear<T>(why: String) -> Result<T, PlatformError> {
    Err(PlatformError::Unavailable(format!(
        "the service processor: {why}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_bytes_and_nothing_else() {
        assert_eq!(parse(b" 20 01\n 9f\n"), Some(vec![0x20, 0x01, 0x9f]));
        for wrong in [&b""[..], b"2 0", b"Device ID : 32", b"20 xx", b"\xff"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
