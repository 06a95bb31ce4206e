//! What a `GET` asks for: the parameters common to all of them.

use std::time::Duration;

use crate::{ApiError, Filter, Identity, Params, Resource, encode_component};

/// Records in one page at most, whatever is asked for.
pub const MAX_RECORDS: usize = 10_000;

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

/// A condition that any one of several fields may meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Dotted names of leaves.
    pub fields: Vec<&'static str>,
    /// What one of them must be.
    pub filter: Filter,
}

/// The parameters of a `GET` of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionQuery {
    /// `fields`.
    pub selection: Selection,
    /// Conditions, all of which a record must meet.
    pub filters: Vec<(String, Filter)>,
    /// `query`, in any of `query_fields`.
    pub search: Option<Search>,
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
        let given = params.pairs().to_vec();
        let ignore_unknown = params.take_bool("ignore_unknown_fields")?.unwrap_or(false);
        let selection = Selection::parse::<R>(params.take("fields"), ignore_unknown)?;
        let most = params.take_int("max_records", 1..=u32::MAX)?;
        let max_records = most.map_or(MAX_RECORDS, |most| MAX_RECORDS.min(most as usize));
        let return_records = params.take_bool("return_records")?.unwrap_or(true);
        params.take_return_timeout(READ_TIMEOUT)?;
        let order = parse_order::<R>(params.take("order_by"))?;
        let search = parse_search::<R>(&mut params)?;
        let filters = params
            .pairs()
            .iter()
            .map(|(name, value)| parse_filter::<R>(name, value))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            selection,
            filters,
            search,
            order,
            max_records,
            return_records,
            start,
            given,
        })
    }

    /// Whether it is about some of the records only.
    pub fn has_condition(&self) -> bool {
        !self.filters.is_empty() || self.search.is_some()
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
                .filter(|field| has_leaf::<R>(field))
                .ok_or_else(bad)?;
            Ok(Order {
                field: field.to_owned(),
                direction,
            })
        })
        .collect()
}

fn parse_filter<R: Resource>(name: &str, value: &str) -> Result<(String, Filter), ApiError> {
    if !has_leaf::<R>(name) {
        return Err(ApiError::unexpected(name));
    }
    Ok((name.to_owned(), filter(name, value)?))
}

fn filter(name: &str, value: &str) -> Result<Filter, ApiError> {
    Filter::parse(value).map_err(|error| ApiError::invalid(name, value, &error.to_string()))
}

/// `query` without `query_fields` looks everywhere; a name of `query_fields` may be an inner one. A wrong name is
/// an error without `query` too.
fn parse_search<R: Resource>(params: &mut Params) -> Result<Option<Search>, ApiError> {
    let names = params.take("query_fields");
    let mut fields = Vec::new();
    for name in names.as_deref().unwrap_or("*").split(',').map(str::trim) {
        let meant = R::leaves(name);
        if meant.is_empty() {
            return Err(ApiError::invalid("query_fields", name, "field,..."));
        }
        fields.extend(meant);
    }
    let Some(value) = params.take("query") else {
        return Ok(None);
    };
    let filter = filter("query", &value)?;
    Ok(Some(Search { fields, filter }))
}

fn has_leaf<R: Resource>(name: &str) -> bool {
    R::FIELDS.iter().any(|field| field.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Job, Package, Software};

    fn collection(raw: &str) -> Result<CollectionQuery, ApiError> {
        CollectionQuery::parse::<Job>(Params::parse(raw)?)
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
        assert!(collection("order_by=error").is_err(), "has no one value");
        assert!(collection("order_by=state up").is_err());
    }

    #[test]
    fn names_that_nothing_has_a_value_for_may_be_asked_for() {
        let query = collection("fields=svm,error.arguments&svm.name=!null&order_by=svm.uuid desc");
        assert_eq!(query.unwrap().filters.len(), 1);
        let read = |raw: &str| ReadQuery::parse::<Software>(Params::parse(raw).unwrap());
        for name in ["nodes.firmware", "nodes.firmware.sp_bmc.autoupdte"] {
            assert!(read(&format!("fields={name}")).is_ok(), "{name}");
        }
        assert!(read("fields=nodes.firmware.sp").is_err());
    }

    #[test]
    fn a_search_is_in_named_fields_or_in_all() {
        let search = |raw: &str| collection(raw).map(|query| query.search);
        let named = search("query=x*&query_fields=error,state")
            .unwrap()
            .unwrap();
        let expected = [
            "error.message",
            "error.code",
            "error.target",
            "error.arguments.code",
            "error.arguments.message",
            "state",
        ];
        assert_eq!(named.fields, expected);
        let all = search("query=x").unwrap().unwrap();
        assert_eq!(all.fields.len(), Job::FIELDS.len());
        assert_eq!(search("query_fields=state"), Ok(None));
        assert_eq!(search("query_fields=colour").unwrap_err().number, 262197);
        let error = search("query=x&query_fields=colour").unwrap_err();
        assert_eq!(
            (error.number, error.target.as_deref()),
            (262197, Some("query_fields"))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_query_string_panics(raw: String) {
            let _ = collection(&raw);
        }

        #[test]
        fn whatever_is_asked_for_is_asked_for_again_by_its_own_link(
            given in proptest::collection::vec(
                (
                    proptest::sample::select(vec![
                        "fields", "state", "message", "code", "order_by", "max_records", "query",
                        "query_fields", "return_records", "return_timeout",
                    ]),
                    proptest::prop_oneof![
                        r#"[!<>=]{0,2}[a-z0-9 +%&"*.|,]{1,8}"#,
                        "state( desc)?(,uuid)?",
                        "[1-9]{1,3}",
                        "true|False",
                        r"\*\*?",
                    ],
                ),
                0..4,
            ),
            last in ".*",
        ) {
            let encode = |(name, value): &(&str, String)| format!("{name}={}", encode_component(value));
            let raw: Vec<_> = given.iter().map(encode).collect();
            if let Ok(query) = collection(&raw.join("&")) {
                let href = query.href::<Job>(Some((7, std::slice::from_ref(&last))));
                let again = collection(href.split_once('?').expect("a start").1).unwrap();
                let last = Some(last).filter(|last| !last.is_empty());
                let start = Some((7, last.into_iter().collect()));
                proptest::prop_assert_eq!(again, CollectionQuery { start, ..query });
            }
        }
    }
}
