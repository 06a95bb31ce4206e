//! Request bodies: JSON objects, in which a dotted key is the same as a nested one.

use serde_json::{Map, Value};

use crate::{ApiError, Code};

/// A body that is not a JSON object in either notation.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not JSON.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// JSON, but no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A field is given twice, as `a.b` and within `a`, or as a value and as an object.
    #[error("field {0:?} is given twice")]
    Twice(String),
    /// A dotted key with more levels than any field has.
    #[error("field {0:?} is nested too deeply")]
    TooDeep(String),
}

/// Levels in a dotted key: above any field's, below any stack's.
const MAX_LEVELS: usize = 16;

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let detail = match &error {
            BodyError::NotJson(source) => format!(" ({source})"),
            BodyError::NotAnObject | BodyError::Twice(_) | BodyError::TooDeep(_) => String::new(),
        };
        Self::with(
            Code::BadValue,
            format!("The request cannot be read: {error}{detail}."),
        )
    }
}

/// Reads a body. An absent one is `{}`; a dotted key `a.b` means `{"a": {"b": …}}`.
pub fn parse_body(bytes: &[u8]) -> Result<Map<String, Value>, BodyError> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes).map_err(BodyError::NotJson)? {
        Value::Object(map) => expand(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(BodyError::NotAnObject)
        }
    }
}

fn expand(map: Map<String, Value>) -> Result<Map<String, Value>, BodyError> {
    let mut out = Map::new();
    for (name, value) in map {
        if name.split('.').count() > MAX_LEVELS {
            return Err(BodyError::TooDeep(name));
        }
        let value = match value {
            Value::Object(inner) => Value::Object(expand(inner)?),
            other => other,
        };
        insert(&mut out, &name, value).map_err(|Clash| BodyError::Twice(name))?;
    }
    Ok(out)
}

struct Clash;

fn insert(into: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), Clash> {
    if let Some((first, rest)) = name.split_once('.') {
        let inner = into
            .entry(first)
            .or_insert_with(|| Value::Object(Map::new()));
        return insert(inner.as_object_mut().ok_or(Clash)?, rest, value);
    }
    match (into.get_mut(name), value) {
        (None, value) => drop(into.insert(name.to_owned(), value)),
        (Some(Value::Object(old)), Value::Object(new)) => {
            for (name, value) in new {
                insert(old, &name, value)?;
            }
        }
        (Some(_), _) => return Err(Clash),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_may_be_absent_dotted_or_nested() {
        assert_eq!(parse_body(b" \n").unwrap(), Map::new());
        let dotted = parse_body(br#"{"a.b":1,"a":{"c":2}}"#).unwrap();
        assert_eq!(Value::Object(dotted), json!({"a": {"b": 1, "c": 2}}));
        assert!(matches!(
            parse_body(br#"{"a.b":1,"a":2}"#),
            Err(BodyError::Twice(_))
        ));
        let deep = format!("{{\"{}\":1}}", "a.".repeat(100_000));
        assert!(matches!(
            parse_body(deep.as_bytes()),
            Err(BodyError::TooDeep(_))
        ));
        assert!(matches!(parse_body(b"[]"), Err(BodyError::NotAnObject)));
        assert!(matches!(parse_body(b"{"), Err(BodyError::NotJson(_))));
    }
}
