//! The query language of a filter's value: `x`, `!x`, `<x`, `>=x`, `a..b`, `a|b`, `a*`, `null`, `"literal"`.

use jiff::Timestamp;
use serde_json::Value;
use std::cmp::Ordering;

/// A filter's value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A quote that is not closed.
    #[error("a quote is not closed")]
    OpenQuote,
    /// `<` or `..` without a value beside it.
    #[error("a value is missing beside an operator")]
    MissingValue,
}

/// What a field's value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    alternatives: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Is(Pattern),
    Not(Pattern),
    Compare(Compare, String),
    Range(String, String),
    Unset,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Text in which some `*` stand for anything: the pieces between them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Vec<String>);

/// A character, and whether it was quoted and so has no meaning of its own.
type Quoted = (char, bool);

impl Filter {
    /// Reads a decoded value.
    pub fn parse(value: &str) -> Result<Self, FilterError> {
        let chars = unquote(value)?;
        let alternatives = chars
            .split(|c| matches!(c, ('|' | ',', false)))
            .map(Term::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Whether a record matches, given all values its field has (several in arrays, none if unset).
    pub fn matches(&self, values: &[&Value]) -> bool {
        self.alternatives.iter().any(|term| term.matches(values))
    }
}

impl Term {
    fn parse(chars: &[Quoted]) -> Result<Self, FilterError> {
        match chars {
            [('!', false), rest @ ..] if is_null(rest) => Ok(Self::Set),
            [('!', false), rest @ ..] => Ok(Self::Not(Pattern::parse(rest))),
            [('<', false), ('=', _), rest @ ..] => Self::compare(Compare::LessOrEqual, rest),
            [('>', false), ('=', _), rest @ ..] => Self::compare(Compare::GreaterOrEqual, rest),
            [('<', false), rest @ ..] => Self::compare(Compare::Less, rest),
            [('>', false), rest @ ..] => Self::compare(Compare::Greater, rest),
            rest if is_null(rest) => Ok(Self::Unset),
            rest => match range(rest) {
                Some((from, to)) => Ok(Self::Range(operand(from)?, operand(to)?)),
                None => Ok(Self::Is(Pattern::parse(rest))),
            },
        }
    }

    fn compare(how: Compare, rest: &[Quoted]) -> Result<Self, FilterError> {
        Ok(Self::Compare(how, operand(rest)?))
    }

    /// An unset field matches nothing but `null`, not even `!x`.
    fn matches(&self, values: &[&Value]) -> bool {
        let any = |test: &dyn Fn(&Value) -> bool| values.iter().any(|value| test(value));
        match self {
            Self::Unset => values.is_empty(),
            Self::Set => !values.is_empty(),
            Self::Is(pattern) => any(&|value| pattern.matches(value)),
            Self::Not(pattern) => !values.is_empty() && !any(&|value| pattern.matches(value)),
            Self::Compare(how, bound) => any(&|value| how.holds(order(value, bound))),
            Self::Range(from, to) => any(&|value| {
                Compare::GreaterOrEqual.holds(order(value, from))
                    && Compare::LessOrEqual.holds(order(value, to))
            }),
        }
    }
}

impl Compare {
    fn holds(self, order: Option<Ordering>) -> bool {
        order.is_some_and(|order| match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        })
    }
}

impl Pattern {
    fn parse(chars: &[Quoted]) -> Self {
        let pieces = chars.split(|c| *c == ('*', false)).map(text);
        Self(pieces.collect())
    }

    fn matches(&self, value: &Value) -> bool {
        match self.0.as_slice() {
            [exact] => order(value, exact) == Some(Ordering::Equal),
            [first, middle @ .., last] => {
                let text = shown(value);
                let Some(rest) = text.strip_prefix(first.as_str()) else {
                    return false;
                };
                let Some(mut rest) = rest.strip_suffix(last.as_str()) else {
                    return false;
                };
                for piece in middle {
                    let Some(at) = rest.find(piece.as_str()) else {
                        return false;
                    };
                    rest = &rest[at + piece.len()..];
                }
                true
            }
            [] => false,
        }
    }
}

/// Compares as numbers, booleans, times or text, whatever the value is.
fn order(value: &Value, bound: &str) -> Option<Ordering> {
    match value {
        Value::Number(number) => {
            let bound: f64 = bound.trim().parse().ok()?;
            number.as_f64()?.partial_cmp(&bound)
        }
        Value::Bool(value) => Some(value.cmp(&bound.trim().to_ascii_lowercase().parse().ok()?)),
        Value::String(text) => match (instant(text), instant(bound)) {
            (Some(text), Some(bound)) => Some(text.cmp(&bound)),
            (Some(_) | None, Some(_) | None) => Some(text.as_str().cmp(bound)),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A time with a zone, or a date, which means its first instant in UTC.
fn instant(text: &str) -> Option<Timestamp> {
    if text.len() < 10 || text.as_bytes()[4] != b'-' {
        return None;
    }
    let whole_day = || format!("{text}T00:00:00Z").parse();
    text.parse().or_else(|_| whole_day()).ok()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn unquote(value: &str) -> Result<Vec<Quoted>, FilterError> {
    let mut quoted = false;
    let mut out = Vec::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                // An empty literal must not look like an absent value.
                out.push(('\0', true));
            }
            c => out.push((c, quoted)),
        }
    }
    if quoted {
        Err(FilterError::OpenQuote)
    } else {
        Ok(out)
    }
}

fn is_null(chars: &[Quoted]) -> bool {
    chars.iter().all(|(_, quoted)| !quoted) && text(chars) == "null"
}

fn text(chars: &[Quoted]) -> String {
    chars
        .iter()
        .map(|(c, _)| *c)
        .filter(|c| *c != '\0')
        .collect()
}

fn operand(chars: &[Quoted]) -> Result<String, FilterError> {
    if chars.is_empty() {
        Err(FilterError::MissingValue)
    } else {
        Ok(text(chars))
    }
}

fn range(chars: &[Quoted]) -> Option<(&[Quoted], &[Quoted])> {
    let at = chars
        .windows(2)
        .position(|pair| pair == [('.', false), ('.', false)])?;
    Some((&chars[..at], &chars[at + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(filter: &str, value: Value) -> bool {
        let values = if value.is_null() {
            vec![]
        } else {
            vec![&value]
        };
        Filter::parse(filter).unwrap().matches(&values)
    }

    #[test]
    fn each_operator() {
        assert!(holds("9.10.1", json!("9.10.1")) && !holds("9.10", json!("9.10.1")));
        assert!(holds("!a", json!("b")) && !holds("!a", json!("a")));
        assert!(holds("a|b", json!("b")) && holds("a,b", json!("a")) && !holds("a|b", json!("c")));
        assert!(holds("9.1*", json!("9.10.1")) && holds("*P*", json!("9P1")));
        assert!(!holds("*P*Q", json!("9P1")) && !holds("aba*ba", json!("aba")));
        assert!(holds(">=5", json!(5)) && !holds("<5", json!(5)) && holds("4..6", json!(5)));
        assert!(holds("True", json!(true)));
        assert!(holds("\"a|b\"", json!("a|b")) && holds("\"\"", json!("")));
        assert!(holds("!\" \"|\"\"", json!("x")));
    }

    #[test]
    fn times_compare_as_instants_across_zones_and_as_dates() {
        let time = json!("2018-05-21T09:53:04+00:00");
        assert!(holds("2018-05-21T15:23:04+05:30", time.clone()));
        assert!(holds(">=2018-05-21", time.clone()) && !holds(">2018-05-22", time));
    }

    #[test]
    fn unset_matches_nothing_but_null() {
        for filter in ["*", "!x", "<1", "x"] {
            assert!(!holds(filter, Value::Null), "{filter}");
        }
        assert!(holds("null", Value::Null) && holds("!null", json!("x")));
        assert!(!holds("!null", Value::Null) && !holds("null", json!("x")));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert_eq!(Filter::parse("\"a"), Err(FilterError::OpenQuote));
        assert_eq!(Filter::parse(">="), Err(FilterError::MissingValue));
        assert_eq!(Filter::parse("1.."), Err(FilterError::MissingValue));
    }
}
