//! The generic reads.

use axum::http::Method;
use evenkeel_api::{Identity, Resource};
use serde_json::json;

use super::operation::Operation;
use super::parameters::{of_collection, of_read};
use super::schemas::Schemas;
use crate::resources::member_path;

/// `GET` of a resource there is one of.
pub(crate) fn one<R: Resource>(schemas: &mut Schemas) -> Vec<Operation> {
    let (schema, about) = schemas.selected::<R>();
    let read = Operation::new(Method::GET, R::PATH, first_sentence(&about));
    vec![
        read.query(of_read::<R>())
            .answer(200, "It, as far as it was asked for.", &schema),
    ]
}

/// `GET` of a resource there are many of, and of one of them.
pub(crate) fn many<R: Resource>(schemas: &mut Schemas) -> Vec<Operation> {
    let (record, about) = schemas.selected::<R>();
    let summary = first_sentence(&about);
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
    if !matches!(R::IDENTITY, Identity::Key(..)) {
        return vec![all];
    }
    let path = member_path::<R>();
    let one = Operation::new(Method::GET, &path, &format!("{summary} One of them."))
        .query(of_read::<R>())
        .answer(200, "It, as far as it was asked for.", &record)
        .errors(&[404]);
    vec![all, one]
}

fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    &text[..end]
}
