//! `evenkeel certificate`: what a node shows to those who connect to its API.

use std::fs;
use std::path::Path;

use evenkeel_api::{Certificate, CertificateSource};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::CertificateCommand;
use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};

const CERTIFICATE: &str = "/evenkeel/v1/certificate";

pub(crate) fn run(client: &Client, command: &CertificateCommand, json: bool) -> Result<(), Stop> {
    match command {
        CertificateCommand::Show { pem } => {
            let body: Value = client.get(CERTIFICATE)?;
            show(&body, *pem, json)
        }
        CertificateCommand::Replace { certificate, key } => {
            let new = json!({ "certificate": read(certificate)?, "private_key": read(key)? });
            let body: Value = client.object(&Method::PUT, CERTIFICATE, Some(&new))?;
            show(&body, false, json)
        }
    }
}

fn read(path: &Path) -> Result<String, Stop> {
    fs::read_to_string(path)
        .map_err(|error| Stop::Failed(format!("cannot read {}: {error}", path.display())))
}

fn show(body: &Value, pem: bool, json: bool) -> Result<(), Stop> {
    if json {
        return print_json(body);
    }
    let shown: Certificate = decode(body)?;
    if pem {
        return print(&shown.certificate);
    }
    print(&described(&shown))
}

fn described(shown: &Certificate) -> String {
    let unknown = || "-".to_owned();
    let source = match shown.source {
        CertificateSource::Made => "made by the daemon: nobody vouches for it",
        CertificateSource::Given => "given over the API",
        CertificateSource::Configured => "the files that evenkeeld.toml names",
    };
    let lines = [
        ("Node", shown.node.clone()),
        ("Subject", shown.subject.clone().unwrap_or_else(unknown)),
        ("Issuer", shown.issuer.clone().unwrap_or_else(unknown)),
        ("Names", shown.names.join(", ")),
        ("Valid from", shown.not_before.clone()),
        ("Valid until", shown.not_after.clone()),
        ("SHA-256", shown.fingerprint_sha256.clone()),
        ("Source", source.to_owned()),
    ];
    lines
        .iter()
        .map(|(name, value)| format!("{name:<12} {value}\n"))
        .collect()
}
