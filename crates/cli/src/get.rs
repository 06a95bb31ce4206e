//! `evenkeel image package get`: from a file here, or by the cluster from a server.

use std::io::IsTerminal;
use std::path::Path;
use std::process;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use evenkeel_api::{Download, DownloadState, Job, Resource};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::Get;
use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};
use crate::secret;
use crate::upload::upload;

/// Exit code of a command that SIGINT ended, by custom.
const INTERRUPTED: i32 = 130;

/// Brings the package in, and waits until every node that is up has it.
pub(crate) fn get(client: &Client, get: &Get) -> Result<Job, Stop> {
    match (get.source.contains("://"), &get.server_user) {
        (true, _) => download(client, get),
        (false, None) => upload(client, Path::new(&get.source)),
        (false, Some(_)) => Err(Stop::Usage(
            "--server-user belongs to an address, and the package is a file here".to_owned(),
        )),
    }
}

fn download(client: &Client, get: &Get) -> Result<Job, Stop> {
    let mut body = json!({ "url": get.source });
    if let Some(user) = &get.server_user {
        body["username"] = json!(user);
    }
    if let Some(path) = &get.server_password_file {
        secret::warn_if_open(path);
        body["password"] = json!(secret::first_line(path)?);
    }
    let link = client.begin(&Method::POST, Download::PATH, Some(&body))?;
    let uuid = link.job.uuid;
    goes_on_without_us(format!(
        "The download goes on without this command. `evenkeel image package show-download` shows how far it is, \
         `evenkeel job show {uuid}` how it ended."
    ));
    let bar = spinner();
    let show = || {
        if let Ok(Some(message)) = client.get::<Download>(Download::PATH).map(|it| it.message) {
            bar.set_message(message);
        }
    };
    let ended = client.wait_job_with(&uuid, show);
    bar.finish_and_clear();
    Ok(ended?)
}

fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("the cluster downloads the package");
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// What is said when this command is interrupted: the cluster goes on without it.
static LEFT: Mutex<String> = Mutex::new(String::new());

/// The cluster does not need this command to go on: one that is interrupted says that, and how to look again.
pub(crate) fn goes_on_without_us(text: String) {
    static LISTENS: Once = Once::new();
    *LEFT.lock().unwrap_or_else(PoisonError::into_inner) = text;
    let listen = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            let left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("\n{left}");
            process::exit(INTERRUPTED);
        }
    };
    // Without it the interrupt ends the command all the same, only in silence.
    LISTENS.call_once(|| {
        drop(
            thread::Builder::new()
                .name("interrupt".to_owned())
                .spawn(listen),
        );
    });
}

/// The download under way, or the last one.
pub(crate) fn show(client: &Client, json: bool) -> Result<(), Stop> {
    let body: Value = client.get(Download::PATH)?;
    if json {
        return print_json(&body);
    }
    let download: Download = decode(&body)?;
    let message = download.message.unwrap_or_default();
    match download.state {
        DownloadState::NotStarted => print("Nothing has been downloaded.\n"),
        DownloadState::Running | DownloadState::Success => print(&format!("{message}\n")),
        DownloadState::Failure => {
            let code = download.code.unwrap_or_default();
            print(&format!("{message} (code {code})\n"))
        }
    }
}
