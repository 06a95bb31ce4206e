//! The calls of the real product, but for the generic reads. Their errors are those of
//! [`evenkeel_api::errors::CALLS`].

use axum::http::Method;
use evenkeel_api::{Download, Job, JobLink, JobLinks, Package, Resource, Software};
use evenkeel_download::Source;
use serde_json::{Value, json};

use super::operation::Operation;
use super::parameters::{VERSION, of_conditions, of_update, parameter, return_timeout};
use super::schemas::Schemas;
use crate::permit;
use crate::resources::member_path;

/// Where packages come from, in its usual form: there may be a query too.
const ADDRESS: &str = r"^(https?|ftp)://[A-Za-z0-9]([A-Za-z0-9.-]{0,60}[A-Za-z0-9])?(:[1-9][0-9]{0,3})?/[A-Za-z0-9._~/-]*[A-Za-z0-9_~-]$";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let link = schemas.answer::<JobLink>();
    vec![
        patch_software(&link),
        download(&link),
        upload(&link),
        delete_package(&link),
        delete_packages(&schemas.answer::<JobLinks>()),
        act_on_job(),
    ]
}

fn actions() -> Value {
    json!({"type": "string", "enum": ["pause", "resume", "cancel"]})
}

/// An object with nothing in it.
fn nothing() -> Value {
    json!({"type": "object", "properties": {}, "additionalProperties": false})
}

fn patch_software(link: &Value) -> Operation {
    let body = json!({
        "type": "object",
        "properties": {
            "version": {
                "type": "string",
                "pattern": VERSION,
                "description": "The version to validate, to estimate or to update to. Not needed for an action.",
            },
            "action": actions(),
        },
        "additionalProperties": false,
    });
    let action = parameter(
        "action",
        "What is asked of the update that runs.",
        actions(),
    );
    let summary = "Update, validate or estimate; pause, resume or cancel.";
    Operation::new(Method::PATCH, Software::PATH, summary)
        .about(
            "Validating and estimating need the role `stager`, everything else the role `admin`.",
        )
        .query([action])
        .query(of_update())
        .query([return_timeout(0)])
        .optional_body(body)
        .job(200, link)
}

fn download(link: &Value) -> Operation {
    let body = json!({
        "type": "object",
        "properties": {
            "url": {
                "type": "string",
                "pattern": ADDRESS,
                "maxLength": Source::MAX_BYTES,
                "description": "Where the package is: http, https or ftp.",
                "examples": ["https://server/image.tgz"],
            },
            "username": {"type": "string", "description": "Whom the server lets in."},
            "password": {"type": "string", "format": "password"},
        },
        "required": ["url"],
        "dependentRequired": {"password": ["username"]},
        "additionalProperties": false,
    });
    Operation::new(
        Method::POST,
        Download::PATH,
        "Fetch a package from a server.",
    )
    .query([return_timeout(0)])
    .body(body)
    .job(201, link)
}

fn upload(link: &Value) -> Operation {
    let body = json!({
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    });
    Operation::new(
        Method::POST,
        permit::UPLOAD,
        "Take in a package, as a form.",
    )
    .about("A package that is refused for what it is has a job that says so.")
    .query([return_timeout(0)])
    .file("multipart/form-data", body)
    .job(201, link)
}

fn delete_package(link: &Value) -> Operation {
    let path = member_path::<Package>();
    Operation::new(Method::DELETE, &path, "Delete a package.")
        .query([return_timeout(0)])
        .optional_body(nothing())
        .job(200, link)
}

fn delete_packages(links: &Value) -> Operation {
    let named = json!({
        "type": "object",
        "properties": {"version": {"type": "string"}},
        "required": ["version"],
    });
    let body = json!({
        "type": "object",
        "properties": {"records": {"type": "array", "items": named}},
        "additionalProperties": false,
    });
    Operation::new(
        Method::DELETE,
        Package::PATH,
        "Delete the packages that meet the conditions.",
    )
    .about("Without a condition, and without `records`, it is refused: `version=*` means all.")
    .query(of_conditions::<Package>())
    .query([return_timeout(0)])
    .optional_body(body)
    .answer(200, "There was none.", links)
    .answer(202, "Each has its job.", links)
}

fn act_on_job() -> Operation {
    let mut action = parameter("action", "What is asked of it.", actions());
    action["required"] = json!(true);
    Operation::new(Method::PATCH, &member_path::<Job>(), "Act on a job.")
        .about("Always refused: a job goes on by itself. An update can be paused, resumed and canceled.")
        .query([action, return_timeout(0)])
        .optional_body(nothing())
}
