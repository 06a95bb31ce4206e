//! `evenkeel job`, `explain` and `events`.

use std::thread;
use std::time::Duration;

use evenkeel_api::{Awaiting, EventLine, Explain, Job};
use serde_json::Value;

use crate::args;
use crate::client::Client;
use crate::image::{decode, records};
use crate::outcome::{Stop, print, print_json};
use crate::table::Table;
use crate::watch::word;

/// An age that nobody knows, in HTTP's way of saying it.
const UNKNOWN_AGE: u64 = 1 << 31;

/// Pause before events are asked for again when a connection ended.
const RECONNECT: Duration = Duration::from_millis(500);

pub(crate) fn jobs(client: &Client, command: args::Job, json: bool) -> Result<(), Stop> {
    let args::Job::Show { uuid } = command;
    match uuid {
        Some(uuid) => one_job(client, &uuid, json),
        None => all_jobs(client, json),
    }
}

fn one_job(client: &Client, uuid: &str, json: bool) -> Result<(), Stop> {
    let uuid = evenkeel_api::encode_component(uuid);
    let body: Value = client.get(&format!("/api/cluster/jobs/{uuid}?fields=*"))?;
    if json {
        return print_json(&body);
    }
    let job: Job = decode(&body)?;
    print(&format!(
        "Job:         {}\nDescription: {}\nState:       {}\nMessage:     {}\nCode:        {}\n\
         Start:       {}\nEnd:         {}\n",
        job.uuid,
        job.description,
        word(&job.state),
        job.message,
        job.code,
        job.start_time,
        job.end_time.as_deref().unwrap_or("-"),
    ))
}

fn all_jobs(client: &Client, json: bool) -> Result<(), Stop> {
    let body = client.get_all("/api/cluster/jobs?fields=*")?;
    if json {
        return print_json(&body);
    }
    let mut table = Table::new(&["Job", "State", "Start", "Description", "Message"]);
    for job in records::<Job>(&body)? {
        let state = word(&job.state);
        table.row([
            job.uuid,
            state,
            job.start_time,
            job.description,
            job.message,
        ]);
    }
    print(&table.render("There are no jobs."))
}

pub(crate) fn explain(client: &Client, json: bool) -> Result<(), Stop> {
    let body: Value = client.get("/evenkeel/v1/explain")?;
    if json {
        return print_json(&body);
    }
    let explain: Explain = decode(&body)?;
    print(&explanation(&explain))
}

fn explanation(explain: &Explain) -> String {
    let mut text = String::new();
    for operation in &explain.operations {
        let version = operation
            .version
            .as_deref()
            .map(|v| format!(" to {v}"))
            .unwrap_or_default();
        text += &format!("{}{version}: {}\n", operation.kind, operation.state);
        text.extend(operation.waiting.iter().map(waiting));
    }
    if !explain.waiting.is_empty() {
        text += "cluster\n";
        text.extend(explain.waiting.iter().map(waiting));
    }
    if text.is_empty() {
        text = "Nothing is going on.\n".to_owned();
    }
    text.extend(explain.left.iter().map(|left| format!("{left}\n")));
    if let Some(age) = explain.age_seconds {
        text += &match age < UNKNOWN_AGE {
            true => format!("(as it was {age} s ago: the record cannot be reached)\n"),
            false => "(as it was when evenkeeld of this node last reached the record, before its last start)\n".to_owned(),
        };
    }
    text
}

fn waiting(wait: &Awaiting) -> String {
    let node = wait
        .node
        .as_deref()
        .map(|n| format!(" on {n}"))
        .unwrap_or_default();
    let seen = wait
        .seen
        .as_deref()
        .map(|seen| format!("    last seen: {seen}\n"))
        .unwrap_or_default();
    let since = wait.since.as_deref().unwrap_or("-");
    let until = wait.until.as_deref().unwrap_or("no limit");
    format!(
        "  awaiting {}{node}\n    since {since}, until {until}\n{seen}    unblock: {}\n",
        wait.awaiting, wait.unblock
    )
}

/// Prints events as lines of JSON. Following goes on at another node when a connection ends.
pub(crate) fn events(client: &Client, since: u64, follow: bool) -> Result<(), Stop> {
    let mut last = since;
    loop {
        let path = format!("/evenkeel/v1/events?since={last}&follow={follow}");
        for line in client.lines(&path)? {
            let line = match line {
                Ok(line) => line,
                Err(_) if follow => break,
                Err(error) => {
                    return Err(Stop::Failed(format!("the events broke off: {error}")));
                }
            };
            let event: EventLine = serde_json::from_str(&line)
                .map_err(|error| Stop::Failed(format!("cannot read an event: {error}")))?;
            last = event.seq;
            print(&format!("{line}\n"))?;
        }
        if !follow {
            return Ok(());
        }
        thread::sleep(RECONNECT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_api::{OpenOperation, UpdateState};

    #[test]
    fn an_explanation_names_what_would_end_the_wait() {
        let wait = Awaiting {
            awaiting: "giveback".to_owned(),
            node: Some("n1".to_owned()),
            since: Some("2026-01-01T00:00:00+00:00".to_owned()),
            seen: Some("nfs veto".to_owned()),
            until: None,
            unblock: "the partner's vetoes to clear".to_owned(),
        };
        let operation = OpenOperation {
            uuid: "u".to_owned(),
            kind: "update".to_owned(),
            version: Some("2".to_owned()),
            state: UpdateState::InProgress,
            coordinator: None,
            waiting: vec![wait],
        };
        let explain = Explain {
            operations: vec![operation],
            waiting: vec![],
            left: None,
            age_seconds: Some(3),
        };
        let text = explanation(&explain);
        for part in [
            "update to 2: in_progress",
            "giveback on n1",
            "no limit",
            "nfs veto",
            "vetoes",
            "3 s ago",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(explanation(&Explain::default()), "Nothing is going on.\n");
    }
}
