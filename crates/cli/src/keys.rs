//! `evenkeel image key` and `evenkeel image package retention`: whose packages the cluster believes, and how
//! many it keeps.

use std::fs;
use std::path::Path;

use evenkeel_api::{Key, KeyState, Keys, NewKey, Retention, encode_component};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::{ImageKey, RetentionArgs};
use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};
use crate::table::Table;

const KEYS: &str = "/evenkeel/v1/keys";
const RETENTION: &str = "/evenkeel/v1/retention";

pub(crate) fn run(client: &Client, command: &ImageKey, json: bool) -> Result<(), Stop> {
    match command {
        ImageKey::List => list(client, json),
        ImageKey::Trust { file, name } => trust(client, file, name.clone(), json),
        ImageKey::Revoke { id } => revoke(client, id, json),
    }
}

fn list(client: &Client, json: bool) -> Result<(), Stop> {
    let body: Value = client.get(KEYS)?;
    if json {
        return print_json(&body);
    }
    let keys: Keys = decode(&body)?;
    let mut table = Table::new(&["Key", "Name", "State", "Since", "By"]);
    for key in &keys.records {
        table.row(row(key));
    }
    print(&table.render("No key is trusted: no package is taken in."))
}

fn row(key: &Key) -> Vec<String> {
    let (state, since, by) = match key.state {
        KeyState::Trusted => ("trusted", Some(&key.trusted_at), &key.trusted_by),
        KeyState::Revoked => ("revoked", key.revoked_at.as_ref(), &key.revoked_by),
    };
    vec![
        key.id.clone(),
        key.name.clone().unwrap_or_else(|| "-".to_owned()),
        state.to_owned(),
        since.cloned().unwrap_or_default(),
        by.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn trust(client: &Client, file: &Path, name: Option<String>, json: bool) -> Result<(), Stop> {
    let public_key = fs::read_to_string(file)
        .map_err(|error| Stop::Failed(format!("cannot read {}: {error}", file.display())))?;
    // What the cluster must never see: the secret half looks almost the same, and lies beside it.
    if public_key.contains("PRIVATE KEY") {
        let file = file.display();
        let text =
            format!("{file} is a private key; the cluster needs its public half, {file}.pub");
        return Err(Stop::Failed(text));
    }
    let body = json!(NewKey { public_key, name });
    let answer: Value = client.object(&Method::POST, KEYS, Some(&body))?;
    let key: Key = decode(&answer)?;
    match json {
        true => print_json(&answer),
        false => print(&format!(
            "Packages signed with key {} are accepted.\n",
            key.id
        )),
    }
}

fn revoke(client: &Client, id: &str, json: bool) -> Result<(), Stop> {
    let path = format!("{KEYS}/{}", encode_component(id));
    let answer: Value = client.object(&Method::DELETE, &path, None)?;
    match json {
        true => print_json(&answer),
        false => print(&format!(
            "Packages signed with key {id} are refused, also those in the repository.\n"
        )),
    }
}

pub(crate) fn retention(client: &Client, args: &RetentionArgs, json: bool) -> Result<(), Stop> {
    let answer: Value = match (args.keep, args.off) {
        (None, false) => client.get(RETENTION)?,
        (keep, _) => client.object(&Method::PUT, RETENTION, Some(&json!(Retention { keep })))?,
    };
    let retention: Retention = decode(&answer)?;
    match (json, retention.keep) {
        (true, _) => print_json(&answer),
        (false, None) => print("All packages are kept.\n"),
        (false, Some(keep)) => print(&format!(
            "Beside packages that a node runs or could fall back to, the newest {keep} are kept; others are \
             deleted an hour after the last work.\n"
        )),
    }
}
