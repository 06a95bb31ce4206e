//! Firmware updates that wait to begin: shown, and withdrawn; and `evenkeel firmware background`.

use evenkeel_api::{Firmware, FirmwareChange, WaitingFirmware, encode_component};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::OnOff;
use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};
use crate::table::Table;
use crate::upload::quoted;

pub(crate) const FIRMWARE: &str = "/evenkeel/v1/firmware";

/// Withdraws the update that waits with that file, or whose package has that digest.
pub(crate) fn withdraw(client: &Client, named: &str, json: bool) -> Result<(), Stop> {
    let firmware: Firmware = client.get(FIRMWARE)?;
    let chosen = choose(&firmware.waiting, named).map_err(Stop::Failed)?;
    let path = format!("{FIRMWARE}/{}", encode_component(&chosen.digest));
    let answer: Value = client.object(&Method::DELETE, &path, None)?;
    match json {
        true => print_json(&answer),
        false => print(&format!(
            "The firmware update with {} is withdrawn. Its package stays in the repository; bring it in again to have \
             the update all the same.\n",
            chosen.file
        )),
    }
}

fn choose<'a>(waiting: &'a [WaitingFirmware], named: &str) -> Result<&'a WaitingFirmware, String> {
    let by_digest = |it: &&WaitingFirmware| it.digest.eq_ignore_ascii_case(named);
    if let Some(found) = waiting.iter().find(by_digest) {
        return Ok(found);
    }
    let called: Vec<_> = waiting.iter().filter(|it| is_called(it, named)).collect();
    match called.as_slice() {
        [one] => Ok(one),
        [] if waiting.is_empty() => Err(format!(
            "no firmware update waits to begin, with {named} or without. One that has begun is ended by `evenkeel \
             firmware cancel` alone"
        )),
        [] => Err(format!(
            "no firmware update with {named} waits to begin; these do: {}. One that has begun is ended by `evenkeel \
             firmware cancel` alone",
            files(waiting)
        )),
        several => {
            let digests: Vec<&str> = several.iter().map(|it| it.digest.as_str()).collect();
            Err(format!(
                "{} firmware updates with {named} wait to begin; say which one by the digest of its package: {}",
                several.len(),
                digests.join(", ")
            ))
        }
    }
}

/// Whether that is the name of its file, as it was sent or as it arrived.
pub(crate) fn is_called(waiting: &WaitingFirmware, name: &str) -> bool {
    waiting.file == name || waiting.file == quoted(name)
}

pub(crate) fn files<'a>(waiting: impl IntoIterator<Item = &'a WaitingFirmware>) -> String {
    let files: Vec<&str> = waiting.into_iter().map(|it| it.file.as_str()).collect();
    files.join(", ")
}

/// Why nothing was ended, where nothing runs.
pub(crate) fn nothing_runs(waiting: &[WaitingFirmware]) -> String {
    match waiting.is_empty() {
        true => "no firmware update is running".to_owned(),
        false => format!(
            "no firmware update is running; these wait to begin: {}. `evenkeel firmware cancel FILE` withdraws one",
            files(waiting)
        ),
    }
}

/// What waits, what was refused, and that firmware does not go everywhere: nothing where none of it is so.
pub(crate) fn describe(firmware: &Firmware) -> String {
    let mut table = Table::new(&[
        "Waits to begin",
        "Holds",
        "Asked for by",
        "Asked for at",
        "Digest",
    ]);
    for it in &firmware.waiting {
        table.row([&it.file, &it.name, &it.by, &it.at, &it.digest].map(String::as_str));
    }
    let mut text = String::new();
    if !table.is_empty() {
        text += &table.render("");
    }
    for it in &firmware.refused {
        text += &format!("Refused, out of package {}: {}\n", it.version, it.why);
    }
    if !firmware.background {
        text += reach(false);
    }
    text
}

/// Shows to which disks firmware goes, or says it.
pub(crate) fn background(client: &Client, set: Option<OnOff>, json: bool) -> Result<(), Stop> {
    let answer: Value = match set {
        None => client.get(FIRMWARE)?,
        Some(set) => {
            let background = match set {
                OnOff::On => true,
                OnOff::Off => false,
            };
            let change = json!(FirmwareChange { background });
            client.object(&Method::PATCH, FIRMWARE, Some(&change))?
        }
    };
    let firmware: Firmware = decode(&answer)?;
    match json {
        true => print_json(&answer),
        false => print(&format!("{}{}", reach(firmware.background), when(set))),
    }
}

fn reach(background: bool) -> &'static str {
    match background {
        true => {
            "Firmware in the background is on: firmware also goes to disks that hold data, one of a RAID group at a \
             time.\n"
        }
        false => {
            "Firmware in the background is off: firmware goes to spares only, and disks that hold data are left as \
             they are.\n"
        }
    }
}

/// From when on what was set counts.
fn when(set: Option<OnOff>) -> &'static str {
    match set {
        None => "",
        Some(OnOff::On | OnOff::Off) => {
            "This counts from the next firmware update on. One that is under way goes on as it was planned.\n"
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_api::RefusedFirmware;

    use super::*;

    fn waiting(file: &str, digest: &str) -> WaitingFirmware {
        WaitingFirmware {
            digest: digest.to_owned(),
            kind: "disk".to_owned(),
            name: "disk firmware X NA02".to_owned(),
            file: file.to_owned(),
            by: "admin".to_owned(),
            at: "2026-01-01T00:00:00+00:00".to_owned(),
        }
    }

    #[test]
    fn what_is_withdrawn_is_named_by_its_file_or_by_its_digest_where_two_share_a_name() {
        let queue = [
            waiting("disk.zip", "0a"),
            waiting("fw.zip", "0b"),
            waiting("fw.zip", "0c"),
            waiting("a%22b.zip", "0d"),
        ];
        let chosen = |named: &str| choose(&queue, named).map(|it| it.digest.clone());
        for (named, digest) in [
            ("disk.zip", "0a"),
            ("0b", "0b"),
            ("0C", "0c"),
            ("a\"b.zip", "0d"),
            ("a%22b.zip", "0d"),
        ] {
            assert_eq!(chosen(named).as_deref(), Ok(digest), "{named}");
        }
        let two = chosen("fw.zip").unwrap_err();
        assert!(two.contains("2 firmware updates with fw.zip"), "{two}");
        assert!(two.contains("0b, 0c"), "{two}");
        let none = chosen("sp.zip").unwrap_err();
        assert!(none.contains("these do: disk.zip, fw.zip"), "{none}");
        let idle = choose(&[], "sp.zip").unwrap_err();
        assert!(idle.contains("no firmware update waits"), "{idle}");
        for said in [&none, &idle] {
            assert!(said.contains("`evenkeel firmware cancel` alone"), "{said}");
        }
    }

    #[test]
    fn where_nothing_runs_what_waits_is_named_with_the_command_for_it() {
        assert_eq!(nothing_runs(&[]), "no firmware update is running");
        let said = nothing_runs(&[waiting("disk.zip", "0a"), waiting("sp.zip", "0b")]);
        assert!(said.contains("disk.zip, sp.zip"), "{said}");
        assert!(said.contains("`evenkeel firmware cancel FILE`"), "{said}");
    }

    #[test]
    fn what_waits_is_shown_with_who_asked_and_when_and_nothing_where_all_is_usual() {
        let mut firmware = Firmware {
            background: true,
            ..Firmware::default()
        };
        assert_eq!(describe(&firmware), "");
        firmware.waiting.push(waiting("disk.zip", "0a"));
        let shown = describe(&firmware);
        for part in ["disk.zip", "admin", "2026-01-01T00:00:00+00:00", "0a"] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        firmware.refused.push(RefusedFirmware {
            version: "9.2".to_owned(),
            why: "fw/sp.zip: it is not signed".to_owned(),
        });
        let shown = describe(&firmware);
        assert!(shown.contains("package 9.2: fw/sp.zip: it is not signed"));
        firmware.background = false;
        assert!(describe(&firmware).ends_with(reach(false)));
    }
}
