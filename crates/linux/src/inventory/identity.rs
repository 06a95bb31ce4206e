//! What names the controller's hardware: DMI (Documentation/ABI/testing/sysfs-class-dmi), else the system's own id (machine-id(5)).

use evenkeel_model::MachineId;

use crate::Host;
use crate::look::Answer;

/// What makers leave in a field that they do not fill.
const PLACEHOLDERS: [&str; 8] = [
    "to be filled by o.e.m.",
    "system serial number",
    "default string",
    "not specified",
    "not applicable",
    "none",
    "n/a",
    "0123456789",
];

pub(crate) fn machine(host: &Host) -> Answer<MachineId> {
    let field = |name: &str| -> Answer<Option<String>> {
        let said = host.read_if_any(format!("/sys/class/dmi/id/{name}"))?;
        Ok(said.filter(|said| is_said(said)))
    };
    let (serial, uuid) = (field("product_serial")?, field("product_uuid")?);
    let own = host
        .read_if_any("/etc/machine-id")?
        .filter(|id| is_said(id));
    Ok(MachineId {
        serial_number: serial,
        system_id: uuid.or(own),
    })
}

fn is_said(text: &str) -> bool {
    let zeros = text.chars().all(|c| matches!(c, '0' | '-' | ' '));
    !zeros && !PLACEHOLDERS.contains(&text.to_lowercase().as_str())
}
