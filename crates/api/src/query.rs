//! Query strings and request bodies: decoding, the common parameters, and what is left over.

use std::ops::RangeInclusive;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::{ApiError, Code, Filter, Identity, Resource};

/// Records in one page at most, whatever is asked for.
pub const MAX_RECORDS: usize = 10_000;

/// Longest time a call may be asked to wait, in seconds.
const RETURN_TIMEOUT: RangeInclusive<u32> = 0..=120;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Encodes a path segment or a query value; everything but unreserved characters.
pub fn encode_component(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Decodes a path segment, a query name or value: `%XX`, and `+` for a space as Python and Ansible
/// send it. `None` if that is not UTF-8.
pub fn decode_component(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(Into::into)
}

/// The parameters of a request, taken out one by one; `finish` refuses what nobody took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads a raw query string. Blank values count as absent, as Python clients drop them. A
    /// parameter given twice is refused: clients collapse such, so its meaning would depend on them.
    pub fn parse(raw: &str) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode_component(name).zip(decode_component(value));
            let (name, value) = decoded.ok_or_else(|| {
                ApiError::with(Code::BadValue, format!("Argument \"{name}\" is not UTF-8."))
            })?;
            if pairs.iter().any(|(seen, _)| *seen == name) {
                let message = format!("Argument \"{name}\" is given more than once.");
                return Err(ApiError::with(Code::BadValue, message).target(name));
            }
            if !value.is_empty() {
                pairs.push((name, value));
            }
        }
        Ok(Self { pairs })
    }

    /// One parameter that came by another way than a query string.
    pub fn from_pair(name: &str, value: &str) -> Self {
        Self {
            pairs: vec![(name.to_owned(), value.to_owned())],
        }
    }

    /// Takes a parameter.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(given, _)| given == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// Takes a boolean: `true`, `True`, `1` and their opposites.
    pub fn take_bool(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(ApiError::invalid(name, &value, "true|false")),
        }
    }

    /// Takes an integer within a range.
    pub fn take_int(
        &mut self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.parse().ok().filter(|number| range.contains(number));
        let hint = format!("{}..{}", range.start(), range.end());
        number
            .map(Some)
            .ok_or_else(|| ApiError::invalid(name, &value, &hint))
    }

    /// Takes one of several words.
    pub fn take_word<T: serde::de::DeserializeOwned>(
        &mut self,
        name: &str,
        words: &str,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match serde_json::from_value(Value::String(value.clone())) {
            Ok(word) => Ok(Some(word)),
            Err(_) => Err(ApiError::invalid(name, &value, words)),
        }
    }

    /// Takes `return_timeout`: how long the call may wait for its result, at most 120 s.
    pub fn take_return_timeout(&mut self, default: Duration) -> Result<Duration, ApiError> {
        let seconds = self.take_int("return_timeout", RETURN_TIMEOUT)?;
        Ok(seconds.map_or(default, |seconds| Duration::from_secs(seconds.into())))
    }

    /// Refuses the first parameter that nobody took.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.pairs.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(unexpected(&name)),
        }
    }
}

fn unexpected(name: &str) -> ApiError {
    let message = format!("Unexpected argument \"{name}\".");
    ApiError::with(Code::UnexpectedArgument, message).target(name)
}

/// Which fields are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// No `fields`: keys for a collection, everything standard for a single object.
    #[default]
    Unsaid,
    /// A list of dotted names, of which `*` and `**` are special.
    Some {
        /// `*` is among them.
        standard: bool,
        /// `**` is among them.
        expensive: bool,
        /// The names.
        names: Vec<String>,
    },
}

impl Selection {
    fn parse<R: Resource>(value: Option<String>, ignore_unknown: bool) -> Result<Self, ApiError> {
        let Some(value) = value else {
            return Ok(Self::Unsaid);
        };
        let (mut standard, mut expensive, mut names) = (false, false, Vec::new());
        for name in value
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            match name {
                "*" => standard = true,
                "**" => expensive = true,
                name if R::has_field(name) => names.push(name.to_owned()),
                _ if ignore_unknown => {}
                name => return Err(ApiError::invalid("fields", name, "field,...")),
            }
        }
        Ok(Self::Some {
            standard,
            expensive,
            names,
        })
    }
}

/// The parameters of a `GET` of one object. All those of a collection are tolerated: clients send
/// them everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadQuery {
    /// `fields`.
    pub selection: Selection,
}

impl ReadQuery {
    /// Reads the parameters of a `GET` of one `R`.
    pub fn parse<R: Resource>(mut params: Params) -> Result<Self, ApiError> {
        let ignore_unknown = params.take_bool("ignore_unknown_fields")?.unwrap_or(false);
        let selection = Selection::parse::<R>(params.take("fields"), ignore_unknown)?;
        params.take_return_timeout(READ_TIMEOUT)?;
        for tolerated in ["max_records", "return_records", "order_by"] {
            params.take(tolerated);
        }
        params.finish()?;
        Ok(Self { selection })
    }
}

const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Which way to sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Small first.
    #[default]
    Ascending,
    /// Great first.
    Descending,
}

/// One term of `order_by`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Dotted name of a leaf.
    pub field: String,
    /// Which way.
    pub direction: Direction,
}

/// The parameters of a `GET` of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionQuery {
    /// `fields`.
    pub selection: Selection,
    /// Conditions, all of which a record must meet.
    pub filters: Vec<(String, Filter)>,
    /// `order_by`.
    pub order: Vec<Order>,
    /// Size of a page.
    pub max_records: usize,
    /// Whether records are wanted, or only their number.
    pub return_records: bool,
    /// Where to go on: records before this one, and the identity of the last of them.
    pub start: Option<(usize, Vec<String>)>,
    /// The parameters as given, without the start, for links.
    pub given: Vec<(String, String)>,
}

impl CollectionQuery {
    /// Reads the parameters of a `GET` of many `R`.
    pub fn parse<R: Resource>(mut params: Params) -> Result<Self, ApiError> {
        let start = take_start::<R>(&mut params)?;
        let given = params.pairs.clone();
        let ignore_unknown = params.take_bool("ignore_unknown_fields")?.unwrap_or(false);
        let selection = Selection::parse::<R>(params.take("fields"), ignore_unknown)?;
        let most = params.take_int("max_records", 1..=u32::MAX)?;
        let max_records = most.map_or(MAX_RECORDS, |most| MAX_RECORDS.min(most as usize));
        let return_records = params.take_bool("return_records")?.unwrap_or(true);
        params.take_return_timeout(READ_TIMEOUT)?;
        let order = parse_order::<R>(params.take("order_by"))?;
        let filters = params
            .pairs
            .into_iter()
            .map(|(name, value)| parse_filter::<R>(name, &value))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            selection,
            filters,
            order,
            max_records,
            return_records,
            start,
            given,
        })
    }

    /// The address of this page, or of the one after `index` records ending with `last`.
    pub fn href<R: Resource>(&self, next: Option<(usize, &[String])>) -> String {
        let mut pairs = self.given.clone();
        if let Some((index, last)) = next {
            pairs.push((START_INDEX.to_owned(), index.to_string()));
            for (field, value) in identity_fields::<R>().iter().zip(last) {
                pairs.push((format!("start.{field}"), value.clone()));
            }
        }
        let encode = |(name, value): &(String, String)| {
            format!("{}={}", encode_component(name), encode_component(value))
        };
        let query: Vec<_> = pairs.iter().map(encode).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", R::PATH, query.join("&"))
    }
}

const START_INDEX: &str = "start.index";

/// Names of the fields that identify a record of a collection.
fn identity_fields<R: Resource>() -> Vec<&'static str> {
    match R::IDENTITY {
        Identity::Singleton => Vec::new(),
        Identity::Key(key, _) => vec![key],
        Identity::Fields(fields) => fields.to_vec(),
    }
}

fn take_start<R: Resource>(params: &mut Params) -> Result<Option<(usize, Vec<String>)>, ApiError> {
    let index = params.take_int(START_INDEX, 0..=u32::MAX)?;
    let last: Vec<_> = identity_fields::<R>()
        .iter()
        .filter_map(|field| params.take(&format!("start.{field}")))
        .collect();
    Ok(index.map(|index| (index as usize, last)))
}

fn parse_order<R: Resource>(value: Option<String>) -> Result<Vec<Order>, ApiError> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let terms = value
        .split(',')
        .map(str::trim)
        .filter(|term| !term.is_empty());
    terms
        .map(|term| {
            let bad = || ApiError::invalid("order_by", term, "field [asc|desc],...");
            let (field, direction) = term.split_once(' ').unwrap_or((term, "asc"));
            let direction = match direction.trim().to_ascii_lowercase().as_str() {
                "asc" => Direction::Ascending,
                "desc" => Direction::Descending,
                _ => return Err(bad()),
            };
            let field = Some(field)
                .filter(|field| R::has_field(field))
                .ok_or_else(bad)?;
            Ok(Order {
                field: field.to_owned(),
                direction,
            })
        })
        .collect()
}

fn parse_filter<R: Resource>(name: String, value: &str) -> Result<(String, Filter), ApiError> {
    if !R::FIELDS.iter().any(|field| field.name == name) {
        return Err(unexpected(&name));
    }
    match Filter::parse(value) {
        Ok(filter) => Ok((name, filter)),
        Err(error) => Err(ApiError::invalid(&name, value, &error.to_string())),
    }
}

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
    use crate::{Job, Package, Software};
    use serde_json::json;

    fn collection(raw: &str) -> Result<CollectionQuery, ApiError> {
        CollectionQuery::parse::<Job>(Params::parse(raw)?)
    }

    #[test]
    fn python_and_ansible_spellings() {
        let mut params = Params::parse("validate_only=True&a=x%20y&b=x+y&c=1%2C2&d=").unwrap();
        assert_eq!(params.take_bool("validate_only").unwrap(), Some(true));
        assert_eq!(params.take("a").unwrap(), params.take("b").unwrap());
        assert_eq!(params.take("c").as_deref(), Some("1,2"));
        assert_eq!(params.take("d"), None);
        assert_eq!(params.finish(), Ok(()));
    }

    #[test]
    fn unknown_parameters_and_fields_have_the_real_messages() {
        let error = collection("skip_warning=true").unwrap_err();
        assert_eq!((error.number, error.status), (262179, 400));
        assert_eq!(error.message, "Unexpected argument \"skip_warning\".");
        let error = collection("fields=state,x").unwrap_err();
        assert_eq!(error.number, 262197);
        assert_eq!(error.target.as_deref(), Some("fields"));
        let expected = "The value \"x\" is invalid for field \"fields\" (<field,...>)";
        assert_eq!(error.message, expected);
        assert!(collection("fields=state,x&ignore_unknown_fields=true").is_ok());
    }

    #[test]
    fn nested_names_star_and_empty_fields() {
        let read = |raw: &str| ReadQuery::parse::<Software>(Params::parse(raw).unwrap());
        assert_eq!(
            read("max_records=500&fields=").unwrap().selection,
            Selection::Unsaid
        );
        let named = read("fields=%2A%2Cnodes.name,update_details")
            .unwrap()
            .selection;
        let names = vec!["nodes.name".to_owned(), "update_details".to_owned()];
        assert_eq!(
            named,
            Selection::Some {
                standard: true,
                expensive: false,
                names
            }
        );
        assert_eq!(read("fields=nodes.nam").unwrap_err().number, 262197);
        assert_eq!(read("return_timeout=121").unwrap_err().number, 262197);
    }

    #[test]
    fn a_repeated_parameter_is_refused() {
        assert_eq!(Params::parse("state=a&state=b").unwrap_err().number, 2);
    }

    #[test]
    fn links_carry_every_parameter_and_can_be_read_back() {
        let query = collection("fields=*&state=a|b&max_records=1&order_by=state%20desc").unwrap();
        let href = query.href::<Job>(Some((1, &["some id".to_owned()])));
        let (path, raw) = href.split_once('?').unwrap();
        assert_eq!(path, Job::PATH);
        let back = collection(raw).unwrap();
        assert_eq!(back.start, Some((1, vec!["some id".to_owned()])));
        assert_eq!(
            CollectionQuery {
                start: None,
                ..back
            },
            query
        );
        let plain = CollectionQuery::parse::<Package>(Params::default()).unwrap();
        assert_eq!(plain.href::<Package>(None), Package::PATH);
    }

    #[test]
    fn order_by_needs_a_known_field_and_direction() {
        let order = collection("order_by=state,start_time desc").unwrap().order;
        assert_eq!(order[0].direction, Direction::Ascending);
        assert_eq!(order[1].direction, Direction::Descending);
        assert!(collection("order_by=nothing").is_err());
        assert!(collection("order_by=state up").is_err());
    }

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

    proptest::proptest! {
        #[test]
        fn any_component_survives_encoding(text: String) {
            proptest::prop_assert_eq!(decode_component(&encode_component(&text)), Some(text));
        }

        #[test]
        fn no_query_string_panics(raw: String) {
            let _ = collection(&raw);
        }
    }
}
