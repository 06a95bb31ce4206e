//! `evenkeel firmware get`, `cancel`, `show`, `history` and `inventory`: firmware that the cluster brings to its
//! devices.

use std::thread;
use std::time::{Duration, Instant};

use evenkeel_api::{
    Awaiting, BegunFirmware, Devices, Explain, Firmware, FirmwareHistory, FirmwareUpdateState,
    JobState, NodeDevices, Resource, WaitingFirmware, WorkerState,
};
use serde_json::Value;
use ureq::http::Method;

use crate::args::Get;
use crate::client::Client;
use crate::get;
use crate::image::{decode, records};
use crate::outcome::{Stop, print, print_json};
use crate::table::Table;
use crate::upload::quoted;
use crate::waiting::{self, FIRMWARE};
use crate::watch::word;

/// Between two looks at an update.
const POLL: Duration = Duration::from_secs(1);
/// How long an update may be seen neither among those that wait nor among those that have begun. Another node may
/// answer from one look to the next, and one may be behind the other: by less than this, as long as it reaches the
/// record.
const GONE: Duration = Duration::from_secs(20);
/// Calls in a row that may fail while an update is watched: the node that is asked may be away for a while.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the job of a get says whose firmware is brought to devices.
const FOLLOWS: &str = "Its firmware update begins";
/// What it says where an admin has to bring the firmware in again.
const LIES: &str = "To update with it needs the role";

/// Brings firmware in, and watches how the cluster's devices are brought up to date with it.
pub(crate) fn bring(client: &Client, source: &Get, json: bool) -> Result<(), Stop> {
    let known = jobs(&history(client)?);
    let job = get::get(client, source)?;
    if job.state != JobState::Success {
        return Err(Stop::Failed(job.message));
    }
    // It came in, and more its user may not ask for.
    if job.message.contains(LIES) {
        return print(&format!("{}\n", job.message));
    }
    // Said of firmware that the cluster brings to its devices, and of nothing else.
    if !job.message.contains(FOLLOWS) {
        return Err(Stop::Failed(format!(
            "{}: no firmware update follows: {}",
            file_of(&source.source),
            job.message
        )));
    }
    eprintln!("{}", job.message);
    get::goes_on_without_us(
        "The firmware update goes on without this command. `evenkeel firmware show` shows how far it is, and what \
         waits to begin."
            .to_owned(),
    );
    let row = watch(client, known, file_of(&source.source))?;
    if json {
        let path = format!(
            "{}?job.uuid={}&fields=*",
            FirmwareHistory::PATH,
            row.job.uuid
        );
        return print_json(&client.get_all(&path)?);
    }
    print(&workers(std::slice::from_ref(&row)))?;
    let path = format!("/api/cluster/jobs/{}?fields=*", row.job.uuid);
    let ended: evenkeel_api::Job = client.get(&path)?;
    match ended.state {
        JobState::Failure => Err(Stop::Failed(ended.message)),
        JobState::Success | JobState::Queued | JobState::Running | JobState::Paused => {
            print(&format!("{}\n", ended.message))
        }
    }
}

fn jobs(rows: &[FirmwareHistory]) -> Vec<String> {
    rows.iter().map(|row| row.job.uuid.clone()).collect()
}

/// The name under which the cluster has it.
fn file_of(source: &str) -> &str {
    let path = source.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

fn history(client: &Client) -> Result<Vec<FirmwareHistory>, Stop> {
    let path = format!("{}?fields=*", FirmwareHistory::PATH);
    records(&client.get_all(&path)?)
}

/// The update that is watched.
struct Watched {
    /// Name of its file.
    file: String,
    /// Its package, once it was seen to wait.
    digest: Option<String>,
    /// Its job, once it has begun.
    job: Option<String>,
    /// Jobs of earlier updates.
    known: Vec<String>,
}

impl Watched {
    fn new(file: &str, known: Vec<String>) -> Self {
        Self {
            file: file.to_owned(),
            digest: None,
            job: None,
            known,
        }
    }

    /// Its place among those that wait, if it does. Of several with its name it is the newest. From then on it is known
    /// by its package: when somebody brings that in once more, it has the name of that file.
    fn place_in(&mut self, waiting: &[WaitingFirmware]) -> Option<usize> {
        let is_this = |it: &WaitingFirmware| match &self.digest {
            Some(digest) => it.digest == *digest,
            None => waiting::is_called(it, &self.file),
        };
        let these = waiting.iter().enumerate().filter(|&(_, it)| is_this(it));
        let (place, newest) = these.max_by_key(|&(_, it)| &it.at)?;
        self.digest = Some(newest.digest.clone());
        self.file.clone_from(&newest.file);
        Some(place)
    }

    /// Its row, once it has begun: the one of its package, or where that is not known the newest with its name, since
    /// others may have had it while this one waited; and from then on the one with its job.
    fn row_in(
        &mut self,
        rows: Vec<FirmwareHistory>,
        begun: &[BegunFirmware],
    ) -> Option<FirmwareHistory> {
        let is_called = |name: &str| name == self.file || name == quoted(&self.file);
        let is_new = |row: &FirmwareHistory| !self.known.contains(&row.job.uuid);
        let is_this = |row: &FirmwareHistory| match (&self.job, &self.digest) {
            (Some(job), _) => row.job.uuid == *job,
            (None, Some(digest)) => {
                let mut of_package = begun.iter().filter(|it| it.digest == *digest);
                is_new(row) && of_package.any(|it| it.job == row.job.uuid)
            }
            (None, None) => is_new(row) && is_called(&row.fw_file_name),
        };
        let found = rows.into_iter().rev().find(is_this)?;
        self.job = Some(found.job.uuid.clone());
        Some(found)
    }

    /// Why there is nothing more to watch, where it neither waits nor has begun.
    fn why_gone(&self) -> String {
        let file = &self.file;
        match self.digest {
            Some(_) => format!(
                "the firmware update with {file} was withdrawn before it began: no device was touched. `evenkeel audit` \
                 says by whom; bring it in again to have the update all the same"
            ),
            // The cluster may have it under another name.
            None => format!(
                "no firmware update with {file} waits to begin or has begun: see `evenkeel firmware show` and `evenkeel \
                 firmware history`"
            ),
        }
    }
}

/// Follows the update with that file that was not known before, to its end.
#[expect(clippy::disallowed_methods, reason = "a person waits for it")]
fn watch(client: &Client, known: Vec<String>, file: &str) -> Result<FirmwareHistory, Stop> {
    let mut watched = Watched::new(file, known);
    let (mut told, mut silent, mut gone) = (Vec::new(), None::<Instant>, None::<Instant>);
    loop {
        match look(client, &mut watched) {
            Ok(seen) => {
                silent = None;
                match seen.is_gone {
                    false => gone = None,
                    true if gone.get_or_insert_with(Instant::now).elapsed() > GONE => {
                        return Err(Stop::Failed(watched.why_gone()));
                    }
                    true => {}
                }
                let new = seen.lines.iter().filter(|line| !told.contains(*line));
                new.for_each(|line| eprintln!("{line}"));
                told = seen.lines;
                if let Some(row) = seen.row.filter(is_over) {
                    return Ok(row);
                }
            }
            Err(error) => {
                let since = *silent.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error);
                }
            }
        }
        thread::sleep(POLL);
    }
}

fn is_over(row: &FirmwareHistory) -> bool {
    match row.fw_update_state {
        FirmwareUpdateState::Completed | FirmwareUpdateState::Failed => true,
        FirmwareUpdateState::Downloading
        | FirmwareUpdateState::MovingFirmware
        | FirmwareUpdateState::StartingWorkers
        | FirmwareUpdateState::WaitingOnWorkers => false,
    }
}

/// What is seen of an update at one moment.
struct Seen {
    /// Its row, if it has begun.
    row: Option<FirmwareHistory>,
    /// What there is to be told: what devices do, or what it waits for.
    lines: Vec<String>,
    /// It neither waits nor has begun.
    is_gone: bool,
}

fn look(client: &Client, watched: &mut Watched) -> Result<Seen, Stop> {
    let rows = history(client)?;
    let firmware: Firmware = client.get(FIRMWARE)?;
    let place = watched.place_in(&firmware.waiting);
    let row = match place {
        // What has its name and has begun is another one.
        Some(_) if watched.job.is_none() => None,
        Some(_) | None => watched.row_in(rows, &firmware.begun),
    };
    let devices: Devices = client.get("/evenkeel/v1/devices")?;
    let line = |node: &NodeDevices| {
        let name = node.node.clone();
        let lines = node.work.iter();
        lines
            .map(|line| format!("{name}: {line}"))
            .collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = devices.nodes.iter().flat_map(line).collect();
    let mut is_gone = false;
    if row.is_none() {
        let explain: Explain = client.get("/evenkeel/v1/explain")?;
        lines.extend(explain.waiting.iter().map(waits));
        lines.extend(behind(&watched.file, &firmware.waiting, place));
        // A node that does not reach the record may not know yet what was asked for.
        is_gone = place.is_none() && explain.age_seconds.is_none();
    }
    Ok(Seen {
        row,
        lines,
        is_gone,
    })
}

/// What begins before it.
fn behind(file: &str, waiting: &[WaitingFirmware], place: Option<usize>) -> Option<String> {
    let place = place.filter(|place| *place > 0)?;
    let before = waiting::files(waiting.iter().take(place));
    Some(format!("{file} begins after {before}"))
}

fn waits(wait: &Awaiting) -> String {
    let seen = wait.seen.iter().map(|seen| format!(": {seen}"));
    let seen: String = seen.collect();
    format!("waiting for {}{seen}. {}", wait.awaiting, wait.unblock)
}

/// Ends the update that runs.
pub(crate) fn cancel(client: &Client, json: bool) -> Result<(), Stop> {
    let rows = history(client)?;
    let Some(row) = rows.iter().rev().find(|row| !is_over(row)) else {
        let firmware: Firmware = client.get(FIRMWARE)?;
        return Err(Stop::Failed(waiting::nothing_runs(&firmware.waiting)));
    };
    let uuid = evenkeel_api::encode_component(&row.job.uuid);
    let path = format!("/api/cluster/jobs/{uuid}?action=cancel");
    let answer: Value = client.object(&Method::PATCH, &path, None)?;
    if json {
        return print_json(&answer);
    }
    print(&format!(
        "{} ends: nothing more begins, and what is being written comes to its end.\n",
        row.fw_file_name
    ))
}

/// The newest update, what devices do now, and what waits to begin.
pub(crate) fn show(client: &Client, json: bool) -> Result<(), Stop> {
    let path = format!("{}?fields=*", FirmwareHistory::PATH);
    let body = client.get_all(&path)?;
    let devices: Value = client.get("/evenkeel/v1/devices")?;
    let firmware: Value = client.get(FIRMWARE)?;
    if json {
        return print_json(&serde_json::json!({
            "updates": body["records"],
            "nodes": devices["nodes"],
            "background": firmware["background"],
            "waiting": firmware["waiting"],
        }));
    }
    let rows: Vec<FirmwareHistory> = records(&body)?;
    let firmware: Firmware = decode(&firmware)?;
    let newest = rows.len().saturating_sub(1);
    let mut text = match rows.is_empty() && !firmware.waiting.is_empty() {
        true => String::new(),
        false => workers(&rows[newest..]),
    };
    let devices: Devices = decode(&devices)?;
    for node in devices.nodes {
        for line in node.work {
            text += &format!("{}: {line}\n", node.node);
        }
    }
    print(&(text + &waiting::describe(&firmware)))
}

/// Every update so far, oldest first.
pub(crate) fn show_history(client: &Client, json: bool) -> Result<(), Stop> {
    let body = client.get_all(&format!("{}?fields=*", FirmwareHistory::PATH))?;
    if json {
        return print_json(&body);
    }
    print(&workers(&records::<FirmwareHistory>(&body)?))
}

fn workers(rows: &[FirmwareHistory]) -> String {
    let mut table = Table::new(&[
        "File", "Start", "End", "State", "Node", "Worker", "Code", "Message",
    ]);
    for row in rows {
        let end = row.end_time.clone().unwrap_or_else(|| "-".to_owned());
        let own = [
            row.fw_file_name.clone(),
            row.start_time.clone(),
            end,
            word(&row.fw_update_state),
        ];
        if row.update_status.is_empty() {
            table.row(own.clone());
        }
        for status in &row.update_status {
            let worker = &status.worker;
            let code = match worker.state {
                WorkerState::Failed | WorkerState::WaitingToRetry => worker.error.code.to_string(),
                WorkerState::Idle | WorkerState::Working | WorkerState::Complete => "-".to_owned(),
            };
            let cells = [
                worker.node.name.clone(),
                word(&worker.state),
                code,
                worker.error.message.clone(),
            ];
            table.row(own.iter().cloned().chain(cells));
        }
    }
    table.render("No firmware has been brought in.")
}

/// What every device runs.
pub(crate) fn inventory(client: &Client, json: bool) -> Result<(), Stop> {
    let body: Value = client.get("/evenkeel/v1/devices")?;
    if json {
        return print_json(&body);
    }
    let devices: Devices = decode(&body)?;
    let mut table = Table::new(&["Node", "Kind", "Device", "Model", "Runs"]);
    let mut silent = String::new();
    for node in devices.nodes {
        if !node.answers {
            silent += &format!("{} does not answer.\n", node.node);
        }
        for device in node.devices {
            let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            table.row([
                node.node.clone(),
                device.kind,
                device.device,
                or_none(device.model),
                or_none(device.revision),
            ]);
        }
    }
    print(&(table.render("No device that takes firmware has answered.") + &silent))
}

#[cfg(test)]
mod tests {
    use evenkeel_api::{JobLink, NodeRef};

    use super::*;

    #[test]
    fn a_file_is_known_by_the_last_part_of_where_it_comes_from() {
        for (source, file) in [
            ("all_disk_fw.zip", "all_disk_fw.zip"),
            ("/tmp/x/all_disk_fw.zip", "all_disk_fw.zip"),
            ("https://h/fw/SP_FW.zip?token=a/b", "SP_FW.zip"),
            ("ftp://h/fw.zip#x", "fw.zip"),
        ] {
            assert_eq!(file_of(source), file, "{source}");
        }
    }

    fn waiting(file: &str, digest: &str, second: u32) -> WaitingFirmware {
        WaitingFirmware {
            digest: digest.to_owned(),
            kind: "disk".to_owned(),
            name: "disk firmware X NA02".to_owned(),
            file: file.to_owned(),
            by: "admin".to_owned(),
            at: format!("2026-01-01T00:00:{second:02}+00:00"),
        }
    }

    fn row(file: &str, job: &str) -> FirmwareHistory {
        FirmwareHistory {
            job: JobLink::new(job.to_owned()).job,
            node: NodeRef::departed("a"),
            fw_file_name: file.to_owned(),
            fw_update_state: FirmwareUpdateState::WaitingOnWorkers,
            start_time: "2026-01-01T00:00:00+00:00".to_owned(),
            end_time: None,
            update_status: Vec::new(),
        }
    }

    #[test]
    fn an_update_that_waits_is_known_by_its_package_and_one_that_has_begun_by_its_job() {
        let mut watched = Watched::new("fw.zip", vec!["earlier".to_owned()]);
        let mut queue = vec![
            waiting("dqp.zip", "0a", 9),
            waiting("fw.zip", "0c", 3),
            waiting("fw.zip", "0b", 2),
        ];
        assert_eq!(watched.place_in(&queue), Some(1), "the newest of its name");
        let said = behind(&watched.file, &queue, Some(1)).unwrap();
        assert_eq!(said, "fw.zip begins after dqp.zip");
        assert_eq!(behind(&watched.file, &queue, Some(0)), None);
        queue.reverse();
        queue[1].file = "again.zip".to_owned();
        assert_eq!(watched.place_in(&queue), Some(1));
        assert_eq!(watched.place_in(&queue[..1]), None);
        let of = |watched: &mut Watched, rows: &[FirmwareHistory]| {
            let begun = [("other", "0b"), ("this", "0c"), ("later", "0c")];
            let begun = begun.map(|(job, digest)| BegunFirmware {
                digest: digest.to_owned(),
                job: job.to_owned(),
            });
            let row = watched.row_in(rows.to_vec(), &begun);
            row.map(|row| row.job.uuid)
        };
        let mut rows = vec![row("again.zip", "earlier"), row("fw.zip", "other")];
        assert_eq!(of(&mut watched, &rows), None);
        rows.push(row("again.zip", "this"));
        assert_eq!(of(&mut watched, &rows).as_deref(), Some("this"));
        rows.push(row("again.zip", "later"));
        assert_eq!(of(&mut watched, &rows).as_deref(), Some("this"));
    }

    #[test]
    fn what_is_gone_was_withdrawn_if_it_was_seen_to_wait() {
        let mut watched = Watched::new("fw.zip", Vec::new());
        let unseen = watched.why_gone();
        assert!(unseen.contains("`evenkeel firmware show`"), "{unseen}");
        watched.place_in(&[waiting("fw.zip", "0a", 1)]);
        let gone = watched.why_gone();
        assert!(
            gone.contains("with fw.zip was withdrawn") && gone.contains("no device was touched"),
            "{gone}"
        );
    }
}
