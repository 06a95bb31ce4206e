//! `evenkeel image`: packages, validation, updates.

use evenkeel_api::{
    CheckStatus, History, Job, Metrocluster, Package, Software, StatusDetails, UpdateDetails,
    ValidationResult, encode_component,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::acknowledgements;
use crate::args::{Image, ImagePackage, PauseAfter, Update};
use crate::client::Client;
use crate::gates;
use crate::get;
use crate::keys;
use crate::outcome::{Stop, print, print_json};
use crate::plan;
use crate::table::{Table, seconds};
use crate::timeline;
use crate::transfers;
use crate::upload::upload;
use crate::watch::{self, word};

pub(crate) const SOFTWARE: &str = "/api/cluster/software";

pub(crate) fn run(client: &Client, command: Image, json: bool) -> Result<(), Stop> {
    match command {
        Image::Package(ImagePackage::Upload { file }) => {
            let job = upload(client, &file)?;
            say(&job, json, "The package is on every node that is up.")
        }
        Image::Package(ImagePackage::Transfers { watch }) => transfers::show(client, watch, json),
        Image::Package(ImagePackage::Get(get)) => {
            let job = get::get(client, &get)?;
            say(&job, json, "The package is on every node that is up.")
        }
        Image::Package(ImagePackage::ShowDownload) => get::show(client, json),
        Image::Package(ImagePackage::Retention(args)) => keys::retention(client, &args, json),
        Image::Key(command) => keys::run(client, &command, json),
        Image::Gates(command) => gates::run(client, &command, json),
        Image::Package(ImagePackage::ShowRepository) => show_repository(client, json),
        Image::Package(ImagePackage::Delete { version }) => delete(client, &version, json),
        Image::Acknowledge { check, reason } => {
            acknowledgements::acknowledge(client, check, reason, json)
        }
        Image::Acknowledgements { withdraw: None } => acknowledgements::list(client, json),
        Image::Acknowledgements {
            withdraw: Some(check),
        } => acknowledgements::withdraw(client, &check, json),
        Image::Validate { version } => validate(client, &version, json),
        Image::Plan(args) => plan::plan(client, &args, json),
        Image::Update(update) if update.estimate_only => plan::estimate(
            client,
            &update.version,
            &update.options,
            update.skip_warnings,
            json,
        ),
        Image::Update(update) => start(client, &update, json),
        Image::PauseUpdate => {
            let text = "The update pauses at the next pause point.";
            act(client, "pause", json, text)
        }
        Image::ResumeUpdate { watch: false } => act(client, "resume", json, "The update goes on."),
        Image::ResumeUpdate { watch: true } => {
            request(client, "resume")?;
            watched(client, json)
        }
        Image::CancelUpdate => {
            let text = "The update ends as soon as high availability is back; `evenkeel explain` then says how it left the cluster.";
            act(client, "cancel", json, text)
        }
        Image::Show => show(client, json),
        Image::ShowUpdateProgress => show_progress(client, json),
        Image::ShowUpdateHistory => show_history(client, json),
        Image::Timeline => timeline::show(client, json),
    }
}

/// What became of a change. What the cluster has to say beyond "success" comes first.
fn say(job: &Job, json: bool, text: &str) -> Result<(), Stop> {
    match (json, job.message.as_str()) {
        (true, _) => print_json(&json!(job)),
        (false, "success" | "") => print(&format!("{text}\n")),
        (false, said) => print(&format!("{said}\n{text}\n")),
    }
}

fn delete(client: &Client, version: &str, json: bool) -> Result<(), Stop> {
    let path = format!("{SOFTWARE}/packages/{}", encode_component(version));
    let job = client.change(&Method::DELETE, &path, None)?;
    say(&job, json, &format!("Package {version} is deleted."))
}

fn act(client: &Client, action: &str, json: bool, text: &str) -> Result<(), Stop> {
    let job = request(client, action)?;
    say(&job, json, text)
}

fn request(client: &Client, action: &str) -> Result<Job, Stop> {
    let path = format!("{SOFTWARE}?action={action}");
    Ok(client.change(&Method::PATCH, &path, Some(&json!({})))?)
}

fn validate(client: &Client, version: &str, json: bool) -> Result<(), Stop> {
    run_validation(client, version)?;
    let body: Value = client.get(&format!("{SOFTWARE}?fields=state,validation_results"))?;
    let software: Software = decode(&body)?;
    let findings = software.validation_results.unwrap_or_default();
    match json {
        true => print_json(&body)?,
        false => print(&findings_table(&findings).render("All checks passed."))?,
    }
    match findings
        .iter()
        .any(|finding| finding.status == CheckStatus::Error)
    {
        true => Err(Stop::Failed(format!(
            "validation of {version} found errors"
        ))),
        false => Ok(()),
    }
}

/// Runs the checks and waits for their end; what they found is read from the software resource.
pub(crate) fn run_validation(client: &Client, version: &str) -> Result<Job, Stop> {
    let path = format!("{SOFTWARE}?validate_only=true");
    Ok(client.change(&Method::PATCH, &path, Some(&json!({ "version": version })))?)
}

/// Starts an update; it runs on when this returns.
pub(crate) fn request_update(client: &Client, update: &Update) -> Result<Job, Stop> {
    let mut path = format!("{SOFTWARE}?skip_warnings={}", update.skip_warnings);
    path += &plan::query(&update.options);
    if let Some(points) = update.pause_after {
        let word = match points {
            PauseAfter::None => "none",
            PauseAfter::TakeoverGiveback => "takeover_giveback",
            PauseAfter::All => "all",
        };
        path += &format!("&pause_after={word}");
    }
    Ok(client.change(
        &Method::PATCH,
        &path,
        Some(&json!({ "version": update.version })),
    )?)
}

fn start(client: &Client, update: &Update, json: bool) -> Result<(), Stop> {
    let job = match request_update(client, update) {
        Ok(job) => job,
        Err(stop) => {
            show_findings(client, json);
            return Err(stop);
        }
    };
    if !update.watch {
        let text = "The update runs; `evenkeel image show-update-progress` shows how far it is.";
        return say(&job, json, text);
    }
    watched(client, json)
}

/// Shows the update until it has ended or paused.
fn watched(client: &Client, json: bool) -> Result<(), Stop> {
    let end = watch::watch(client)?;
    if json {
        print_json(&client.get(SOFTWARE)?)?;
    }
    end.into_result()
}

/// An update that was refused because of its checks says which; their absence says nothing more.
fn show_findings(client: &Client, json: bool) {
    let path = format!("{SOFTWARE}?fields=state,validation_results");
    let software = client.get::<Software>(&path);
    let Ok(findings) = software.map(|software| software.validation_results.unwrap_or_default())
    else {
        return;
    };
    if !json && !findings.is_empty() {
        eprint!("{}", findings_table(&findings).render(""));
    }
}

pub(crate) fn findings_table(findings: &[ValidationResult]) -> Table {
    let mut table = Table::new(&["Check", "Status", "Issue", "Action"]);
    for finding in findings {
        let (issue, action) = (
            finding.issue.message.clone(),
            finding.action.message.clone(),
        );
        table.row([
            finding.update_check.clone(),
            word(&finding.status),
            issue,
            action,
        ]);
    }
    table
}

fn show_repository(client: &Client, json: bool) -> Result<(), Stop> {
    let body = client.get_all(&format!("{SOFTWARE}/packages?fields=*"))?;
    if json {
        return print_json(&body);
    }
    let mut table = Table::new(&["Package Version", "Loaded"]);
    for package in records::<Package>(&body)? {
        table.row([package.version, package.create_time.unwrap_or_default()]);
    }
    print(&table.render("The repository is empty."))
}

fn show(client: &Client, json: bool) -> Result<(), Stop> {
    let body: Value = client.get(SOFTWARE)?;
    if json {
        return print_json(&body);
    }
    let software: Software = decode(&body)?;
    let mut text = format!(
        "Cluster version: {}\n",
        software.version.as_deref().unwrap_or("-")
    );
    if let Some(state) = &software.state {
        text += &format!("Update state:    {}\n", word(state));
    }
    if let Some(pending) = &software.pending_version {
        text += &format!("Updating to:     {pending}\n");
    }
    if let Some(metrocluster) = &software.metrocluster {
        text += &sites(metrocluster);
    }
    let mut table = Table::new(&["Node", "Version"]);
    for node in software.nodes {
        table.row([node.name, node.version]);
    }
    print(&format!("{text}\n{}", table.render("No node is known.")))
}

/// The sites, and what the cluster says of them.
fn sites(metrocluster: &Metrocluster) -> String {
    let names = metrocluster.clusters.iter().map(|site| site.name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    let texts = [
        &metrocluster.progress_summary,
        &metrocluster.progress_details,
    ];
    let texts = texts
        .into_iter()
        .flatten()
        .map(|text| text.message.as_str());
    let said = texts.map(|text| format!("                 {text}\n"));
    format!("Sites:           {names}\n{}", said.collect::<String>())
}

fn show_progress(client: &Client, json: bool) -> Result<(), Stop> {
    let body: Value = client.get(SOFTWARE)?;
    if json {
        return print_json(&body);
    }
    let software: Software = decode(&body)?;
    let Some(state) = software.state else {
        return print("No update has been made.\n");
    };
    let mut text = format!(
        "State: {}, elapsed {}, estimated {}\n\n",
        word(&state),
        seconds(software.elapsed_duration),
        seconds(software.estimated_duration)
    );
    text += &phases_table(software.update_details).render("No phase has begun.");
    let steps = steps_table(software.status_details);
    if !steps.is_empty() {
        text += &format!("\n{}", steps.render(""));
    }
    for (title, findings) in [
        ("Pre-update checks", software.validation_results),
        ("Post-update checks", software.post_update_checks),
    ] {
        let table = findings_table(&findings.unwrap_or_default());
        if !table.is_empty() {
            text += &format!("\n{title} found:\n{}", table.render(""));
        }
    }
    print(&text)
}

fn phases_table(details: Option<Vec<UpdateDetails>>) -> Table {
    let mut phases = Table::new(&["Phase", "Node", "State", "Elapsed", "Estimated"]);
    for detail in details.unwrap_or_default() {
        let elapsed = seconds(detail.elapsed_duration);
        let estimated = seconds(detail.estimated_duration);
        let state = word(&detail.state);
        phases.row([detail.phase, detail.node.name, state, elapsed, estimated]);
    }
    phases
}

fn steps_table(details: Option<Vec<StatusDetails>>) -> Table {
    let mut steps = Table::new(&["Step", "Node", "State", "Start", "End", "Message", "Action"]);
    for step in details.unwrap_or_default() {
        let message = step.issue.map(|issue| issue.message).unwrap_or_default();
        let start = step.start_time.unwrap_or_default();
        let end = step.end_time.unwrap_or_default();
        let state = word(&step.state);
        let action = step.action.map(|action| action.message);
        let action = action.unwrap_or_default();
        steps.row([
            step.name,
            step.node.name,
            state,
            start,
            end,
            message,
            action,
        ]);
    }
    steps
}

fn show_history(client: &Client, json: bool) -> Result<(), Stop> {
    let body = client.get_all(&format!("{SOFTWARE}/history?fields=*"))?;
    if json {
        return print_json(&body);
    }
    let mut table = Table::new(&["Node", "Start", "End", "From", "To", "State"]);
    for row in records::<History>(&body)? {
        let end = row.end_time.unwrap_or_default();
        let state = word(&row.state);
        table.row([
            row.node.name,
            row.start_time,
            end,
            row.from_version,
            row.to_version,
            state,
        ]);
    }
    print(&table.render("No node has been updated."))
}

/// The records of a collection.
pub(crate) fn records<T: DeserializeOwned>(body: &Value) -> Result<Vec<T>, Stop> {
    decode(&body["records"])
}

pub(crate) fn decode<T: DeserializeOwned>(body: &Value) -> Result<T, Stop> {
    T::deserialize(body).map_err(|error| {
        Stop::Failed(format!(
            "the cluster gave an answer that cannot be understood: {error}"
        ))
    })
}
