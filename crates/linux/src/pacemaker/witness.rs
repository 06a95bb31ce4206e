//! The third vote: corosync's quorum device.

use evenkeel_model::WitnessState;

use evenkeel_platform::PlatformError;

/// By corosync's map of keys; `None` where no device is configured.
///
/// Whether the device votes for this node now is told by `corosync-quorumtool` and `corosync-qdevice-tool` only, in text for
/// people. It is not guessed.
pub(super) fn state(corosync: &[(String, String)]) -> Result<Option<WitnessState>, PlatformError> {
    let get = |key: &str| {
        let found = corosync.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    };
    let Some(model) = get("quorum.device.model") else {
        return Ok(None);
    };
    let name = get("quorum.device.net.host").unwrap_or(model);
    Err(PlatformError::Unavailable(format!(
        "quorum device {name} is configured; corosync does not tell a program whether it votes for this node: see \
         `corosync-quorumtool -s`"
    )))
}
