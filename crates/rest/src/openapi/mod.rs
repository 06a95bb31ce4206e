//! The OpenAPI document. `docs/openapi.json` is what comes out, and what is served; a daemon does not make it.

mod ontap;
mod operation;
mod own;
mod parameters;
mod reads;
mod schemas;

use axum::http::Method;
use evenkeel_api::{ErrorBody, Filter};
use serde_json::{Map, Value, json};

pub(crate) use operation::Operation;
pub(crate) use reads::{many, one};
pub(crate) use schemas::Schemas;

const ABOUT: &str = "The API with which storage controllers are upgraded while they serve: `cluster/software` of \
    ONTAP 9.10.1 and what clients of it need, and Evenkeel's own calls under `/evenkeel/v1`.\n\n\
    Changes that take time answer with a job. With `Accept: application/json` answers have no links but those that \
    clients cannot do without. `HEAD` and `OPTIONS` are answered everywhere.";

/// The OpenAPI 3.1 document of the whole API.
pub fn openapi() -> Value {
    let mut schemas = Schemas::new();
    let operations = operations(&mut schemas);
    let error = schemas.answer::<ErrorBody>();
    let mut named = schemas.named();
    named.insert("Filter".to_owned(), filter());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Evenkeel",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "software", "description": "Packages, updates and their history."},
            {"name": "cluster", "description": "The cluster, its nodes and its jobs."},
            {"name": "evenkeel", "description": "What ONTAP does not have."},
        ],
        "paths": paths(&operations),
        "components": {
            "schemas": named,
            "responses": errors(&error),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A client certificate whose common name is a user's that has chosen it.",
                },
            },
        },
    })
}

/// Every call.
fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut operations = crate::resources::described(schemas);
    operations.extend(ontap::operations(schemas));
    operations.extend(own::operations(schemas));
    link_members(&mut operations);
    operations
}

/// Says of each list that its records have the keys of the calls for one of them.
fn link_members(operations: &mut [Operation]) {
    let of_members: Vec<_> = operations.iter().filter_map(Operation::of_member).collect();
    for (list, key, method, path) in of_members {
        let lists = operations.iter_mut();
        let mut lists = lists.filter(|it| it.method == Method::GET && it.path == list);
        if let Some(list) = lists.next() {
            let name = format!("first_{}", method.as_str().to_lowercase());
            list.add_link(&name, &method, &path, &format!("/records/0/{key}"));
        }
    }
}

fn paths(operations: &[Operation]) -> Value {
    let mut paths = Map::new();
    for operation in operations {
        let item = paths.entry(&operation.path).or_insert_with(|| json!({}));
        let method = operation.method.as_str().to_lowercase();
        item[method] = operation.document();
    }
    Value::Object(paths)
}

fn filter() -> Value {
    json!({
        "type": "string",
        "description": "`x`, `!x`, `<x`, `<=x`, `>x`, `>=x`, `x..y`, `x|y`, `x*`, `null`; in quotes nothing has a \
            meaning but `\\\"` and `\\\\`.",
        "pattern": Filter::pattern(),
        // An empty one is none. Without it the page would make up a text that the pattern fits, for minutes.
        "default": "",
    })
}

/// What a call may be refused with, by status.
fn errors(schema: &Value) -> Value {
    let errors = [
        (400, "The request is not right."),
        (
            401,
            "Nobody is known by these credentials, or there are none.",
        ),
        (403, "The user may not do this."),
        (404, "There is no such thing."),
        (409, "The state of the cluster does not allow it now."),
        (413, "The body is too large."),
        (500, "Something failed in here."),
        (503, "It cannot be answered at the moment; try again."),
    ];
    let response = |(status, about): (u16, &str)| {
        let content = json!({
            "application/hal+json": {"schema": schema},
            "application/json": {"schema": schema},
        });
        let mut response = json!({"description": about, "content": content});
        let text = json!({"required": true, "schema": {"type": "string"}});
        match status {
            401 => response["headers"] = json!({"WWW-Authenticate": text}),
            503 => {
                let seconds =
                    json!({"required": true, "schema": {"type": "integer", "minimum": 0}});
                response["headers"] = json!({"Retry-After": seconds});
            }
            _ => {}
        }
        (status.to_string(), response)
    };
    errors
        .into_iter()
        .map(response)
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::app::served;

    /// As a word: methods have no order.
    fn words<'a>(calls: impl Iterator<Item = (&'a Method, &'a str)>) -> BTreeSet<String> {
        calls
            .map(|(method, path)| format!("{method} {path}"))
            .collect()
    }

    #[test]
    fn what_is_served_is_described_and_nothing_else_is() {
        let served = served();
        let served = words(served.iter().map(|(method, path)| (method, path.as_str())));
        let described = operations(&mut Schemas::new());
        let calls = described.iter().map(|it| (&it.method, it.path.as_str()));
        assert_eq!(words(calls), served);
        assert_eq!(described.len(), served.len(), "one is described twice");
    }
}
