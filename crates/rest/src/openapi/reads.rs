//! The generic reads.

use axum::http::Method;
use evenkeel_api::{Identity, Resource};
use serde_json::{Value, json};

use super::operation::Operation;
use super::parameters::{of_collection, of_read};
use super::schemas::Schemas;
use crate::resources::member_path;

/// `GET` of a resource there is one of.
pub(crate) fn one<R: Resource>(schemas: &mut Schemas) -> Vec<Operation> {
    let read = Operation::new(Method::GET, R::PATH, &about::<R>(schemas));
    let schema = schemas.selected::<R>();
    vec![
        read.query(of_read::<R>())
            .answer(200, "It, as far as it was asked for.", &schema),
    ]
}

/// `GET` of a resource there are many of, and of one of them.
pub(crate) fn many<R: Resource>(schemas: &mut Schemas) -> Vec<Operation> {
    let summary = about::<R>(schemas);
    let record = schemas.selected::<R>();
    let links = schemas.answer::<evenkeel_api::Links>();
    let page = json!({
        "type": "object",
        "properties": {
            "records": {"type": "array", "items": &record},
            "num_records": {"type": "integer", "minimum": 0},
            "_links": links,
        },
        "required": ["num_records"],
    });
    let all = Operation::new(Method::GET, R::PATH, &format!("{summary} All of them."))
        .query(of_collection::<R>())
        .answer(200, "One page of them.", &page);
    let Identity::Key(key, _) = R::IDENTITY else {
        return vec![all];
    };
    let path = member_path::<R>();
    let first = format!("/records/0/{key}");
    let one = Operation::new(Method::GET, &path, &format!("{summary} One of them."))
        .query(of_read::<R>())
        .answer(200, "It, as far as it was asked for.", &record)
        .errors(&[404]);
    vec![all.link("first", Method::GET, &path, &first), one]
}

/// The first sentence of what the type says of itself.
fn about<R: Resource>(schemas: &mut Schemas) -> String {
    let schema = schemas.selected::<R>();
    let text = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    text[..end].to_owned()
}
