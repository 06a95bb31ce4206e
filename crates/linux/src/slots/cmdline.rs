//! Which slot the kernel was started from, by its command line.

use evenkeel_model::Slot;

use crate::host::Host;
use crate::look::unavailable;
use evenkeel_platform::PlatformError;

/// The kernel's command line in this boot.
const CMDLINE: &str = "/proc/cmdline";

/// The value of the parameter in `/proc/cmdline`; an error if it is given with different values.
pub(super) fn parameter(host: &Host, name: &str) -> Result<Option<String>, PlatformError> {
    let line = host.read(CMDLINE)?;
    let value = |word: &str| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned());
    let mut values: Vec<String> = line.split_whitespace().filter_map(value).collect();
    values.dedup();
    match values.len() {
        0 | 1 => Ok(values.pop()),
        _ => Err(unavailable(format!(
            "{CMDLINE} has several values of {name}: {line}"
        ))),
    }
}

/// The slot by `evenkeel.slot=a`, which our entries have; none if it is not there.
pub(super) fn slot(host: &Host) -> Result<Option<Slot>, PlatformError> {
    match parameter(host, "evenkeel.slot")?.as_deref() {
        None => Ok(None),
        Some("a") => Ok(Some(Slot::A)),
        Some("b") => Ok(Some(Slot::B)),
        Some(other) => Err(unavailable(format!(
            "{CMDLINE} has evenkeel.slot={other}, which is neither a nor b"
        ))),
    }
}
