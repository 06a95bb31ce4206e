//! `evenkeel firmware get`, `show`, `history` and `inventory`: firmware that the cluster brings to its devices.

use std::thread;
use std::time::{Duration, Instant};

use evenkeel_api::{
    Awaiting, Devices, Explain, FirmwareHistory, FirmwareUpdateState, JobState, NodeDevices,
    Resource, WorkerState,
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
use crate::watch::word;

/// Between two looks at an update.
const POLL: Duration = Duration::from_secs(1);
/// How long nothing may be seen of an update: it begins within seconds, or says what it waits for.
const NOTHING: Duration = Duration::from_secs(600);
/// Calls in a row that may fail while an update is watched: the node that is asked may be away for a while.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the job of a get says whose firmware is brought to devices.
const FOLLOWS: &str = "Its firmware update begins";

/// Brings firmware in, and watches how the cluster's devices are brought up to date with it.
pub(crate) fn bring(client: &Client, source: &Get, json: bool) -> Result<(), Stop> {
    let known = jobs(&history(client)?);
    let job = get::get(client, source)?;
    if job.state != JobState::Success {
        return Err(Stop::Failed(job.message));
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
    let row = watch(client, &known, file_of(&source.source))?;
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

/// Follows the update with that file that was not known before, to its end.
#[expect(clippy::disallowed_methods, reason = "a person waits for it")]
fn watch(client: &Client, known: &[String], file: &str) -> Result<FirmwareHistory, Stop> {
    let (mut told, mut silent, mut idle) = (Vec::new(), None::<Instant>, None::<Instant>);
    loop {
        match look(client, known, file) {
            Ok((row, lines)) => {
                silent = None;
                // Nothing has begun, and nothing is awaited.
                if row.is_some() || !lines.is_empty() {
                    idle = None;
                } else if idle.get_or_insert_with(Instant::now).elapsed() > NOTHING {
                    return Err(Stop::Failed(format!(
                        "no firmware update with {file} has begun. Is it firmware? See `evenkeel firmware history` and \
                         `evenkeel image package show-repository`."
                    )));
                }
                for line in lines.iter().filter(|line| !told.contains(*line)) {
                    eprintln!("{line}");
                }
                told = lines;
                if let Some(row) = row.filter(is_over) {
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

/// The update, and what there is to be told of it now: what devices do, or what it waits for.
fn look(
    client: &Client,
    known: &[String],
    file: &str,
) -> Result<(Option<FirmwareHistory>, Vec<String>), Stop> {
    let rows = history(client)?;
    // The first one: another with the same file may have come in since.
    let is_ours = |name: &str| name == file || name == quoted(file);
    let row = rows
        .into_iter()
        .find(|row| is_ours(&row.fw_file_name) && !known.contains(&row.job.uuid));
    let devices: Devices = client.get("/evenkeel/v1/devices")?;
    let line = |node: &NodeDevices| {
        let name = node.node.clone();
        let lines = node.work.iter();
        lines
            .map(|line| format!("{name}: {line}"))
            .collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = devices.nodes.iter().flat_map(line).collect();
    if row.is_none() {
        let explain: Explain = client.get("/evenkeel/v1/explain")?;
        lines.extend(explain.waiting.iter().map(waits));
    }
    Ok((row, lines))
}

fn waits(wait: &Awaiting) -> String {
    let seen = wait.seen.iter().map(|seen| format!(": {seen}"));
    let seen: String = seen.collect();
    format!("waiting for {}{seen}. {}", wait.awaiting, wait.unblock)
}

/// Ends the update that runs.
pub(crate) fn cancel(client: &Client) -> Result<(), Stop> {
    let rows = history(client)?;
    let Some(row) = rows.iter().rev().find(|row| !is_over(row)) else {
        return Err(Stop::Failed("no firmware update is running".to_owned()));
    };
    let uuid = evenkeel_api::encode_component(&row.job.uuid);
    let path = format!("/api/cluster/jobs/{uuid}?action=cancel");
    client.object::<Value>(&Method::PATCH, &path, None)?;
    print(&format!(
        "{} ends: nothing more begins, and what is being written comes to its end.\n",
        row.fw_file_name
    ))
}

/// The newest updates, and what devices do now.
pub(crate) fn show(client: &Client, json: bool) -> Result<(), Stop> {
    let path = format!("{}?fields=*", FirmwareHistory::PATH);
    let body = client.get_all(&path)?;
    let devices: Value = client.get("/evenkeel/v1/devices")?;
    if json {
        return print_json(
            &serde_json::json!({ "updates": body["records"], "nodes": devices["nodes"] }),
        );
    }
    let rows: Vec<FirmwareHistory> = records(&body)?;
    let newest = rows.len().saturating_sub(1);
    let mut text = workers(&rows[newest..]);
    let devices: Devices = decode(&devices)?;
    for node in devices.nodes {
        for line in node.work {
            text += &format!("{}: {line}\n", node.node);
        }
    }
    print(&text)
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
}
