//! Parameters in the query.

use evenkeel_api::{Field, Resource};
use evenkeel_model::{DEFAULT_STABILIZE_MINUTES, PauseAfter};
use serde_json::{Value, json};

/// A version of a package, opaque.
pub(super) const VERSION: &str = r"^[ !#-.0-\[\]-~]{1,128}$";

/// The name of a node.
const NODE: &str = "^[A-Za-z0-9._-]{1,64}$";

pub(super) fn parameter(name: &str, about: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": about, "schema": schema})
}

/// Several values in one parameter, separated by commas.
fn list(name: &str, about: &str, items: Value) -> Value {
    let mut list = parameter(name, about, json!({"type": "array", "items": items}));
    list["style"] = json!("form");
    list["explode"] = json!(false);
    list
}

pub(super) fn flag(name: &str, about: &str, default: bool) -> Value {
    parameter(name, about, json!({"type": "boolean", "default": default}))
}

pub(super) fn return_timeout(default: u32) -> Value {
    let schema = json!({"type": "integer", "minimum": 0, "maximum": 120, "default": default});
    let about = match default {
        0 => "Seconds that the call may wait for its job.",
        _ => "Seconds that the call may take.",
    };
    parameter("return_timeout", about, schema)
}

/// `fields`, and what any read takes.
pub(super) fn of_read<R: Resource>() -> Vec<Value> {
    let names = json!({"type": "string", "enum": selectable(R::FIELDS)});
    let about = "Fields wanted. `*`: all but the expensive ones; `**`: all. A name stands for all below it.";
    vec![list("fields", about, names), return_timeout(15)]
}

/// What a read of many records takes beside.
pub(super) fn of_collection<R: Resource>() -> Vec<Value> {
    let mut parameters = of_read::<R>();
    let most = json!({"type": "integer", "minimum": 1, "maximum": u32::MAX, "default": 10_000});
    let names: Vec<_> = R::FIELDS
        .iter()
        .map(|f| f.name.replace('.', "\\."))
        .collect();
    let term = format!("^({})( (asc|desc))?$", names.join("|"));
    let order = json!({"type": "string", "pattern": term});
    let searched = json!({"type": "string", "enum": selectable_without_stars(R::FIELDS)});
    parameters.extend([
        parameter(
            "max_records",
            "Records in one page at most; `_links.next` has the rest.",
            most,
        ),
        flag("return_records", "`false`: their number only.", true),
        list(
            "order_by",
            "Fields to sort by, each with `asc` or `desc`.",
            order,
        ),
        parameter("query", "What one of `query_fields` must be.", filter()),
        list(
            "query_fields",
            "Where `query` looks; everywhere unless given.",
            searched,
        ),
    ]);
    parameters.extend(of_conditions::<R>());
    parameters
}

/// What each field must be.
pub(super) fn of_conditions<R: Resource>() -> Vec<Value> {
    let condition = |field: &Field| parameter(field.name, "What the field must be.", filter());
    R::FIELDS.iter().map(condition).collect()
}

fn filter() -> Value {
    json!({"$ref": "#/components/schemas/Filter"})
}

/// Leaves and inner names, and the stars.
fn selectable(fields: &[Field]) -> Vec<String> {
    let mut names = vec!["*".to_owned(), "**".to_owned()];
    names.extend(selectable_without_stars(fields));
    names
}

fn selectable_without_stars(fields: &[Field]) -> Vec<String> {
    let mut names = Vec::new();
    for field in fields {
        let ends = field.name.match_indices('.').map(|(at, _)| at);
        for end in ends.chain([field.name.len()]) {
            let name = field.name[..end].to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The options of an update.
pub(super) fn of_update() -> Vec<Value> {
    let minutes = json!({
        "type": "integer", "minimum": 1, "maximum": 60, "default": DEFAULT_STABILIZE_MINUTES,
    });
    let pauses = [
        PauseAfter::None,
        PauseAfter::TakeoverGiveback,
        PauseAfter::All,
    ];
    let pause = json!({"type": "string", "enum": pauses, "default": PauseAfter::default()});
    let node = || json!({"type": "string", "pattern": NODE});
    let rolling = "One pair after another, also where batches are possible.";
    vec![
        flag("validate_only", "Only run the checks.", false),
        flag("skip_warnings", "Go on in spite of warnings.", false),
        parameter(
            "stabilize_minutes",
            "Minutes between the nodes of a pair.",
            minutes,
        ),
        parameter("pause_after", "Where the update pauses by itself.", pause),
        flag("estimate_only", "Only say how long it would take.", false),
        flag("force_rolling", rolling, false),
        list(
            "nodes_to_update",
            "Whole HA pairs; all unless given.",
            node(),
        ),
        parameter(
            "first_pair",
            "A node of the pair that goes first. Not in ONTAP.",
            node(),
        ),
    ]
}
