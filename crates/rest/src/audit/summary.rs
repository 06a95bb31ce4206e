//! What of a request is worth keeping, and safe to keep. What is not listed here is left out: a name that
//! nobody thought of may hold a secret.

use std::collections::BTreeMap;

use evenkeel_model::GetSource;
use serde_json::{Map, Value};

/// Parameters and fields that are kept as they are.
const KEPT: [&str; 31] = [
    "action",
    "background",
    "certificate",
    "check",
    "conditions",
    "create_time",
    "estimate_only",
    "file_name",
    "first_pair",
    "force_rolling",
    "hold_minutes",
    "is_gone",
    "keep",
    "longest_minutes",
    "name",
    "node",
    "nodes",
    "nodes_to_update",
    "partner",
    "pause_after",
    "query",
    "query_fields",
    "reason",
    "replaces",
    "role",
    "skip_warnings",
    "stabilize_minutes",
    "user",
    "username",
    "validate_only",
    "version",
];

/// Fields whose being there is told, and nothing else.
const SECRET: [&str; 3] = ["password", "private_key", "token"];

/// Characters kept of a value.
const MAX_CHARACTERS: usize = 200;

type What = BTreeMap<String, String>;

/// What the parameters ask for.
pub(crate) fn of_query(what: &mut What, query: &str) {
    let mut decode = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = evenkeel_api::decode_component(name)?;
        let value = evenkeel_api::decode_component(value)?;
        keep(what, &name, &Value::String(value));
        Some(())
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let _undecodable = decode(pair);
    }
}

/// What the fields ask for. A body that is no object is refused anyway.
pub(crate) fn of_body(what: &mut What, body: &[u8]) {
    let fields: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    for (name, value) in &fields {
        keep(what, name, value);
    }
}

fn keep(what: &mut What, name: &str, value: &Value) {
    let shown = match name {
        // A flag of users; elsewhere a file, which by mistake may hold a key too.
        "certificate" if value.is_string() => Some("(given)".to_owned()),
        name if KEPT.contains(&name) => shown(value),
        name if SECRET.contains(&name) && !value.is_null() => Some("(given)".to_owned()),
        "url" => value.as_str().map(bare),
        "records" => Some(versions(value)),
        _ => None,
    };
    if let Some(shown) = shown {
        what.insert(name.to_owned(), plain(&shown));
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(shown).collect();
            Some(items.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// The packages that a body names.
fn versions(records: &Value) -> String {
    let records = records.as_array().into_iter().flatten();
    let named = records.filter_map(|record| record.get("version")?.as_str());
    named.collect::<Vec<_>>().join(",")
}

/// The address without user, password, query and fragment.
fn bare(url: &str) -> String {
    if !url.contains("://") {
        return "(no address)".to_owned();
    }
    match GetSource::download(url, false) {
        GetSource::Download { url, .. } => url,
        GetSource::Upload => String::new(),
    }
}

/// Of bounded length, and harmless to a terminal.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { '?' } else { c };
    let mut kept: String = text.chars().take(MAX_CHARACTERS).map(harmless).collect();
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_harmless_is_kept() {
        let mut what = What::new();
        of_query(&mut what, "version=9%2E1&token=s3cret&password=s3cret&&x");
        let body = r#"{"url": "https://u:s3cret@h/p.tgz?sig=s3cret", "role": "admin", "other": "s3cret",
            "reason": "a\u001b[2Jb", "nodes_to_update": ["a", "b"], "private_key": "s3cret"}"#;
        of_body(&mut what, body.as_bytes());
        let told = format!("{what:?}");
        assert!(!told.contains("s3cret"), "{told}");
        let is = |name: &str, value: &str| assert_eq!(what[name], value);
        is("version", "9.1");
        is("password", "(given)");
        is("url", "https://h/p.tgz");
        let mut odd = What::new();
        of_body(
            &mut odd,
            br#"{"url": "u:s3cret@h/p.tgz", "public_key": "s3cret"}"#,
        );
        of_body(
            &mut odd,
            br#"{"records": [{"version": "9.1", "x": "s3cret"}, {"version": "9.2"}, "s3cret"]}"#,
        );
        assert!(!format!("{odd:?}").contains("s3cret"), "{odd:?}");
        assert_eq!(odd["records"], "9.1,9.2");
        is("reason", "a?[2Jb");
        is("nodes_to_update", "a,b");
        of_body(&mut what, b"not json");
        let long = format!(r#"{{"name": "{}"}}"#, "é".repeat(1000));
        of_body(&mut what, long.as_bytes());
        assert_eq!(what["name"].chars().count(), 201);
    }
}
