//! `evenkeel image acknowledge` and `acknowledgements`: warnings that somebody knows of.

use evenkeel_api::{Acknowledgement, Acknowledgements, NewAcknowledgement, encode_component};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};
use crate::table::Table;

const PATH: &str = "/evenkeel/v1/acknowledgements";

pub(crate) fn acknowledge(
    client: &Client,
    check: String,
    reason: String,
    json: bool,
) -> Result<(), Stop> {
    let body = json!(NewAcknowledgement { check, reason });
    let answer: Value = client.object(&Method::POST, PATH, Some(&body))?;
    let known: Acknowledgement = decode(&answer)?;
    match json {
        true => print_json(&answer),
        false => print(&format!(
            "The warning of check \"{}\" does not block updates, as long as it is about nothing more than: {}.\n",
            known.check,
            known.about.join(", ")
        )),
    }
}

pub(crate) fn list(client: &Client, json: bool) -> Result<(), Stop> {
    let body: Value = client.get(PATH)?;
    if json {
        return print_json(&body);
    }
    let all: Acknowledgements = decode(&body)?;
    let mut table = Table::new(&["Check", "About", "Reason", "By", "At"]);
    for known in all.records {
        let about = known.about.join(", ");
        table.row(vec![known.check, about, known.reason, known.by, known.at]);
    }
    print(&table.render("No warning is acknowledged."))
}

pub(crate) fn withdraw(client: &Client, check: &str, json: bool) -> Result<(), Stop> {
    let path = format!("{PATH}/{}", encode_component(check));
    let answer: Value = client.object(&Method::DELETE, &path, None)?;
    match json {
        true => print_json(&answer),
        false => print(&format!(
            "A warning of check \"{check}\" blocks updates again.\n"
        )),
    }
}
