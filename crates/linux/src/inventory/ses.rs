//! What an enclosure says of itself: the configuration and the status page of SCSI Enclosure Services (SES-3, 6.1.2 and 6.1.4).

use crate::look::{Answer, unavailable};

/// The configuration page, and the enclosure status page.
pub(crate) const CONFIGURATION: u8 = 0x01;
pub(crate) const STATUS: u8 = 0x02;

/// Types of elements (SES-3, table 83).
const POWER_SUPPLY: u8 = 0x02;
const COOLING: u8 = 0x03;
const TEMPERATURE: u8 = 0x04;
const ELECTRONICS: u8 = 0x07;
const VOLTAGE: u8 = 0x12;
const CURRENT: u8 = 0x13;

/// Status codes (SES-3, table 72).
const OK: u8 = 1;
const CRITICAL: u8 = 2;
const NONCRITICAL: u8 = 3;
const UNRECOVERABLE: u8 = 4;
const NOT_INSTALLED: u8 = 5;

/// A shelf as one of its modules tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enclosure {
    /// Its logical identifier, in hex: all its modules say the same.
    pub(crate) id: String,
    /// Its I/O modules, in order: whether each does its work. One that is not put in is left out.
    pub(crate) modules: Vec<(String, bool)>,
    /// The module that answers.
    pub(crate) through: Option<String>,
    /// Sensors out of their limits, in words.
    pub(crate) sensors: Vec<String>,
}

/// A run of elements of one type.
struct Kind {
    element: u8,
    count: u8,
    text: String,
}

/// Reads both pages.
///
/// # Errors
/// When they are cut off, or of different generations of the enclosure: then it has just changed, and is asked again.
pub(crate) fn read(configuration: &[u8], status: &[u8]) -> Answer<Enclosure> {
    let (id, kinds) = kinds(configuration).ok_or_else(|| strange("configuration"))?;
    if status.first() != Some(&STATUS) || status.get(4..8) != configuration.get(4..8) {
        return Err(unavailable(format!(
            "shelf {id} has changed while it was looked at"
        )));
    }
    let mut enclosure = Enclosure {
        id,
        modules: Vec::new(),
        through: None,
        sensors: Vec::new(),
    };
    let mut at = 8;
    for kind in &kinds {
        // The first element tells of all of its type.
        at += 4;
        for number in 0..kind.count {
            let element = status.get(at..at + 4).ok_or_else(|| strange("status"))?;
            enclosure.take(kind, number, element);
            at += 4;
        }
    }
    Ok(enclosure)
}

fn strange(page: &str) -> evenkeel_platform::PlatformError {
    unavailable(format!(
        "a shelf's {page} page is cut off or not understood"
    ))
}

impl Enclosure {
    fn take(&mut self, kind: &Kind, number: u8, element: &[u8]) {
        let code = element[0] & 0x0f;
        match kind.element {
            ELECTRONICS if code != NOT_INSTALLED && code != 0 => {
                let name = module(number);
                // REPORT: this one answers.
                if element[2] & 1 == 1 {
                    self.through = Some(name.clone());
                }
                self.modules.push((name, code == OK));
            }
            POWER_SUPPLY | COOLING | TEMPERATURE | VOLTAGE | CURRENT => {
                self.sensors.extend(sensor(kind, number, code));
            }
            // Drives and connectors tell of themselves elsewhere.
            _ => {}
        }
    }
}

/// Modules are called A, B and so on, as on their labels.
fn module(number: u8) -> String {
    char::from(b'A' + number % 26).to_string()
}

fn sensor(kind: &Kind, number: u8, code: u8) -> Option<String> {
    let what = match code {
        CRITICAL => "is critical",
        NONCRITICAL => "is out of its limits",
        UNRECOVERABLE => "has failed",
        _ => return None,
    };
    let name = match kind.element {
        POWER_SUPPLY => "power supply",
        COOLING => "fan",
        TEMPERATURE => "temperature",
        VOLTAGE => "voltage",
        _ => "current",
    };
    let text = match kind.text.is_empty() {
        true => String::new(),
        false => format!(" ({})", kind.text),
    };
    Some(format!("{name} {}{text} {what}", u16::from(number) + 1))
}

/// The primary enclosure's identifier, and the types of elements of all enclosures behind this process, in the order of the status page.
fn kinds(page: &[u8]) -> Option<(String, Vec<Kind>)> {
    if *page.first()? != CONFIGURATION {
        return None;
    }
    let enclosures = usize::from(*page.get(1)?) + 1;
    let (mut at, mut headers, mut id) = (8, 0, String::new());
    for number in 0..enclosures {
        let (types, length) = (*page.get(at + 2)?, usize::from(*page.get(at + 3)?));
        if number == 0 {
            let bytes = page.get(at + 4..at + 12)?;
            id = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        }
        headers += usize::from(types);
        at += 4 + length;
    }
    let mut text_at = at + 4 * headers;
    let mut kinds = Vec::new();
    for header in 0..headers {
        let header = page.get(at + 4 * header..at + 4 * header + 4)?;
        let length = usize::from(header[3]);
        let text = page.get(text_at..text_at + length)?;
        text_at += length;
        kinds.push(Kind {
            element: header[0],
            count: header[1],
            text: String::from_utf8_lossy(text)
                .trim_matches(['\0', ' '])
                .to_owned(),
        });
    }
    Some((id, kinds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the standard's tables: one enclosure, two power supplies, three fans, two modules.
    fn configuration() -> Vec<u8> {
        let mut page = vec![CONFIGURATION, 0, 0, 0, 0, 0, 0, 7];
        page.extend([0x11, 0, 3, 36]);
        page.extend([0x50, 0x0c, 0xc0, 0xff, 0xee, 0x00, 0x00, 0x01]);
        page.extend(b"EVENKEELDS-12           0300");
        page.extend([
            POWER_SUPPLY,
            2,
            0,
            3,
            COOLING,
            3,
            0,
            0,
            ELECTRONICS,
            2,
            0,
            0,
        ]);
        page.extend(b"PSU");
        page
    }

    fn status(elements: [u8; 7], report: usize) -> Vec<u8> {
        let mut page = vec![STATUS, 0, 0, 0, 0, 0, 0, 7];
        for (number, code) in elements.into_iter().enumerate() {
            if matches!(number, 0 | 2 | 5) {
                page.extend([0; 4]);
            }
            page.extend([code, 0, u8::from(number == report), 0]);
        }
        page
    }

    #[test]
    fn modules_and_sensors_are_read() {
        let said = read(&configuration(), &status([1, 2, 1, 4, 3, 1, 1], 6)).unwrap();
        assert_eq!(said.id, "500cc0ffee000001");
        assert_eq!(
            said.modules,
            [("A".to_owned(), true), ("B".to_owned(), true)]
        );
        assert_eq!(said.through.as_deref(), Some("B"));
        assert_eq!(
            said.sensors,
            [
                "power supply 2 (PSU) is critical",
                "fan 2 has failed",
                "fan 3 is out of its limits"
            ]
        );
    }

    #[test]
    fn a_module_that_is_broken_or_missing_is_told() {
        let said = read(&configuration(), &status([1, 1, 1, 1, 1, 2, 1], 6)).unwrap();
        assert_eq!(said.modules[0], ("A".to_owned(), false));
        let said = read(
            &configuration(),
            &status([1, 1, 1, 1, 1, 1, NOT_INSTALLED], 5),
        )
        .unwrap();
        assert_eq!(said.modules, [("A".to_owned(), true)]);
    }

    #[test]
    fn pages_that_are_cut_off_or_changed_are_refused() {
        let (whole, pages) = (configuration(), status([1; 7], 5));
        for length in 0..whole.len() {
            assert!(read(&whole[..length], &pages).is_err(), "{length}");
        }
        for length in 0..pages.len() {
            assert!(read(&whole, &pages[..length]).is_err(), "{length}");
        }
        let mut later = pages;
        later[7] = 8;
        assert!(
            read(&whole, &later)
                .unwrap_err()
                .to_string()
                .contains("has changed")
        );
    }
}
