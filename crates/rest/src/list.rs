//! A collection's page: filter, order, cut, select.

use std::cmp::Ordering;

use evenkeel_api::{
    CollectionQuery, Direction, Filter, Identity, Order, Resource, Search, encode_component,
};
use serde_json::{Map, Value, json};

use crate::respond::json;
use crate::select::{Shown, Unsaid};

/// The answer to a `GET` of a collection.
pub(crate) fn page<R: Resource>(query: &CollectionQuery, records: &[R]) -> Value {
    let mut records: Vec<Value> = records.iter().map(json).collect();
    records.retain(|record| is_asked_for(query, record));
    let links = json!({"self": {"href": query.href::<R>(None)}});
    if !query.return_records {
        return json!({"num_records": records.len(), "_links": links});
    }
    // Stable, so that what is equal stays in the order it came in, on every page.
    records.sort_by(|a, b| compare(&query.order, a, b));
    let begin = begin::<R>(query, &records);
    let end = records.len().min(begin.saturating_add(query.max_records));
    let mut links = links;
    if end < records.len() {
        let last = identity_values::<R>(&records[end - 1]);
        links["next"] = json!({"href": query.href::<R>(Some((end, &last)))});
    }
    let page: Vec<Value> = records.drain(begin..end).collect();
    let shown = shown::<R>(query);
    let page: Vec<Value> = page
        .into_iter()
        .map(|record| show::<R>(&shown, record))
        .collect();
    json!({"num_records": page.len(), "records": page, "_links": links})
}

/// Whether a record meets every condition.
pub(crate) fn is_asked_for(query: &CollectionQuery, record: &Value) -> bool {
    let matches = |name: &str, filter: &Filter| filter.matches(&values_at(record, name));
    let found = |search: &Search| {
        let mut fields = search.fields.iter();
        fields.any(|name| matches(name, &search.filter))
    };
    let mut filters = query.filters.iter();
    filters.all(|(name, filter)| matches(name, filter)) && query.search.as_ref().is_none_or(found)
}

fn shown<R: Resource>(query: &CollectionQuery) -> Shown {
    let unsaid = match R::IDENTITY {
        Identity::Key(..) => Unsaid::Keys,
        // Without an address to read the rest from, a record has all its fields.
        Identity::Fields(_) | Identity::Singleton => Unsaid::Standard,
    };
    let filtered: Vec<&str> = query
        .filters
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    Shown::of::<R>(&query.selection, unsaid, &filtered)
}

/// Prunes a record and gives it its own link, if it has an address.
pub(crate) fn show<R: Resource>(shown: &Shown, mut record: Value) -> Value {
    let href = href::<R>(&record);
    shown.prune(&mut record);
    if let (Some(href), Some(map)) = (href, record.as_object_mut()) {
        map.insert("_links".to_owned(), json!({"self": {"href": href}}));
    }
    record
}

fn href<R: Resource>(record: &Value) -> Option<String> {
    match R::IDENTITY {
        Identity::Singleton => Some(R::PATH.to_owned()),
        Identity::Key(key, _) => Some(format!(
            "{}/{}",
            R::PATH,
            encode_component(record.get(key)?.as_str()?)
        )),
        Identity::Fields(_) => None,
    }
}

/// All values a record has at a dotted name, looking through arrays.
fn values_at<'a>(record: &'a Value, name: &str) -> Vec<&'a Value> {
    let mut found = vec![record];
    for part in name.split('.') {
        let inner = found
            .into_iter()
            .flat_map(elements)
            .filter_map(|value| value.get(part));
        found = inner.collect();
    }
    found.into_iter().flat_map(elements).collect()
}

fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

fn compare(order: &[Order], a: &Value, b: &Value) -> Ordering {
    let by_term = |term: &Order| {
        let (a, b) = (values_at(a, &term.field), values_at(b, &term.field));
        let ordering = a
            .first()
            .map(|v| sort_key(v))
            .cmp(&b.first().map(|v| sort_key(v)));
        match term.direction {
            Direction::Ascending => ordering,
            Direction::Descending => ordering.reverse(),
        }
    };
    order
        .iter()
        .map(by_term)
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers before text; times are text of one zone and one width, so text order is time order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SortKey<'a> {
    Flag(bool),
    Number(i64),
    Text(&'a str),
    Other,
}

fn sort_key(value: &Value) -> SortKey<'_> {
    match value {
        Value::Bool(flag) => SortKey::Flag(*flag),
        Value::Number(number) => SortKey::Number(number.as_i64().unwrap_or(i64::MAX)),
        Value::String(text) => SortKey::Text(text),
        Value::Null | Value::Array(_) | Value::Object(_) => SortKey::Other,
    }
}

/// Where a page begins: behind the record the last one ended with, wherever that is by now, but of several
/// that look alike behind the one that is where it was; if it is gone, where it was.
fn begin<R: Resource>(query: &CollectionQuery, records: &[Value]) -> usize {
    let Some((index, last)) = &query.start else {
        return 0;
    };
    let is_last = |record: &Value| identity_values::<R>(record) == *last;
    let stayed = index.checked_sub(1).and_then(|at| records.get(at));
    if stayed.is_some_and(is_last) {
        return *index;
    }
    let seen = records.iter().position(is_last);
    seen.map_or(*index, |at| at + 1).min(records.len())
}

fn identity_values<R: Resource>(record: &Value) -> Vec<String> {
    let fields: &[&str] = match R::IDENTITY {
        Identity::Singleton => &[],
        Identity::Key(key, _) => &[key],
        Identity::Fields(fields) => fields,
    };
    let text = |field: &&str| {
        values_at(record, field)
            .first()
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    fields.iter().map(text).collect()
}

/// The answer to a `GET` of one object.
pub(crate) fn single<R: Resource>(selection: &evenkeel_api::Selection, record: &R) -> Value {
    let shown = Shown::of::<R>(selection, Unsaid::Standard, &[]);
    let record = show::<R>(&shown, json(record));
    match record {
        Value::Object(map) => Value::Object(map),
        _ => Value::Object(Map::new()),
    }
}
