//! The query language of a filter's value: `x`, `!x`, `<x`, `>=x`, `a..b`, `a|b`, `a*`, `null`, `"literal"`.
//!
//! In quotes nothing has a meaning but `\"` and `\\`, which stand for the second character. What is printed
//! reads back as the same filter.

use std::cmp::Ordering;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

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

/// One alternative: a test, or its opposite.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Is(Pattern),
    Compare(Compare, String),
    Range(String, String),
    Unset,
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

/// A character of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// One that may have a meaning.
    Plain(char),
    /// One that was quoted, and stands for itself.
    Literal(char),
    /// A quote: it keeps an empty literal from looking like an absent value.
    Quote,
}

impl Filter {
    /// Reads a decoded value.
    pub fn parse(value: &str) -> Result<Self, FilterError> {
        let signs = unquote(value)?;
        let alternatives = signs
            .split(|sign| matches!(sign, Sign::Plain('|' | ',')))
            .map(Term::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// What can be read, as a regular expression: for those who document the API.
    pub fn pattern() -> String {
        const QUOTED: &str = r#""(?:[^"\\]|\\[\s\S])*""#;
        // Signs and quoted texts: any, those but `=`, those but a dot, and those that begin no other test.
        let any = format!(r#"(?:[^"|,]|{QUOTED})"#);
        let bound = format!(r#"(?:[^"|,=]|{QUOTED})"#);
        let piece = format!(r#"(?:\.?(?:[^"|,.]|{QUOTED}))"#);
        let first = format!(r#"(?:[^"|,.<>!]|\.[^"|,.]|\.?{QUOTED})"#);
        let compared = format!(r"[<>](?:={any}+|{bound}{any}*)");
        let test = format!(r"{compared}|{first}{piece}*(?:\.|\.\.{any}+)?|\.?");
        format!(r"^!*(?:{test})(?:[|,]!*(?:{test}))*$")
    }

    /// What matches any of these texts.
    pub fn any_of(texts: impl IntoIterator<Item = String>) -> Self {
        let term = |text| Term {
            negated: false,
            test: Test::Is(Pattern(vec![text])),
        };
        Self {
            alternatives: texts.into_iter().map(term).collect(),
        }
    }

    /// Whether a record matches, given all values its field has (several in arrays, none if unset).
    pub fn matches(&self, values: &[&Value]) -> bool {
        self.alternatives.iter().any(|term| term.matches(values))
    }
}

impl Term {
    fn parse(signs: &[Sign]) -> Result<Self, FilterError> {
        let negations = signs
            .iter()
            .take_while(|sign| **sign == Sign::Plain('!'))
            .count();
        Ok(Self {
            negated: negations % 2 == 1,
            test: Test::parse(&signs[negations..])?,
        })
    }

    /// An unset field matches nothing but `null`, not even `!x`.
    fn matches(&self, values: &[&Value]) -> bool {
        match &self.test {
            Test::Unset => values.is_empty() != self.negated,
            test => !values.is_empty() && values.iter().any(|v| test.holds(v)) != self.negated,
        }
    }
}

impl Test {
    fn parse(signs: &[Sign]) -> Result<Self, FilterError> {
        use Sign::Plain;
        match signs {
            [Plain('<'), Plain('='), rest @ ..] => Self::compare(Compare::LessOrEqual, rest),
            [Plain('>'), Plain('='), rest @ ..] => Self::compare(Compare::GreaterOrEqual, rest),
            [Plain('<'), rest @ ..] => Self::compare(Compare::Less, rest),
            [Plain('>'), rest @ ..] => Self::compare(Compare::Greater, rest),
            rest if is_null(rest) => Ok(Self::Unset),
            rest => match range(rest) {
                Some((from, to)) => Ok(Self::Range(operand(from)?, operand(to)?)),
                None => Ok(Self::Is(Pattern::parse(rest))),
            },
        }
    }

    fn compare(how: Compare, rest: &[Sign]) -> Result<Self, FilterError> {
        Ok(Self::Compare(how, operand(rest)?))
    }

    /// Whether a value passes; none passes the test for there being none.
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Unset => false,
            Self::Is(pattern) => pattern.matches(value),
            Self::Compare(how, bound) => how.holds(order(value, bound)),
            Self::Range(from, to) => {
                Compare::GreaterOrEqual.holds(order(value, from))
                    && Compare::LessOrEqual.holds(order(value, to))
            }
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

    fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Pattern {
    fn parse(signs: &[Sign]) -> Self {
        let pieces = signs.split(|sign| *sign == Sign::Plain('*')).map(text);
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

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.alternatives.iter().enumerate() {
            let bar = if index == 0 { "" } else { "|" };
            write!(f, "{bar}{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "!" } else { "" };
        write!(f, "{not}{}", self.test)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(pattern) => pattern.fmt(f),
            Self::Compare(how, bound) => write!(f, "{}{}", how.sign(), quoted(bound)),
            Self::Range(from, to) => write!(f, "{}..{}", quoted(from), quoted(to)),
            Self::Unset => f.write_str("null"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [exact] => f.write_str(&quoted(exact)),
            // Beside a star nothing is mistaken for an absent value.
            pieces => {
                let piece = |piece: &String| match piece.as_str() {
                    "" => String::new(),
                    text => quoted(text),
                };
                let pieces: Vec<_> = pieces.iter().map(piece).collect();
                f.write_str(&pieces.join("*"))
            }
        }
    }
}

/// The text so that all of it stands for itself.
fn quoted(text: &str) -> String {
    let has_meaning = |c| matches!(c, '!' | '<' | '>' | '=' | '|' | ',' | '*' | '"');
    let may_be_range = text.contains("..") || text.starts_with('.') || text.ends_with('.');
    if !text.is_empty() && text != "null" && !may_be_range && !text.contains(has_meaning) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
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
    let east = || east_of_utc(text)?.parse().ok();
    text.parse().or_else(|_| whole_day()).ok().or_else(east)
}

/// `T… hh:mm` as `T…+hh:mm`: who pastes one of our times into an address by hand leaves the `+` as it is, which
/// there means a blank.
fn east_of_utc(text: &str) -> Option<String> {
    let (time, offset) = text.rsplit_once(' ')?;
    time.contains('T').then(|| format!("{time}+{offset}"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn unquote(value: &str) -> Result<Vec<Sign>, FilterError> {
    let mut is_quoted = false;
    let mut signs = Vec::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        signs.push(match (c, is_quoted) {
            ('"', _) => {
                is_quoted = !is_quoted;
                Sign::Quote
            }
            ('\\', true) => Sign::Literal(chars.next().ok_or(FilterError::OpenQuote)?),
            (c, true) => Sign::Literal(c),
            (c, false) => Sign::Plain(c),
        });
    }
    if is_quoted {
        Err(FilterError::OpenQuote)
    } else {
        Ok(signs)
    }
}

fn is_null(signs: &[Sign]) -> bool {
    signs.iter().all(|sign| matches!(sign, Sign::Plain(_))) && text(signs) == "null"
}

fn text(signs: &[Sign]) -> String {
    let own = |sign: &Sign| match sign {
        Sign::Plain(c) | Sign::Literal(c) => Some(*c),
        Sign::Quote => None,
    };
    signs.iter().filter_map(own).collect()
}

fn operand(signs: &[Sign]) -> Result<String, FilterError> {
    if signs.is_empty() {
        Err(FilterError::MissingValue)
    } else {
        Ok(text(signs))
    }
}

fn range(signs: &[Sign]) -> Option<(&[Sign], &[Sign])> {
    let at = signs
        .windows(2)
        .position(|pair| pair == [Sign::Plain('.'), Sign::Plain('.')])?;
    Some((&signs[..at], &signs[at + 2..]))
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
    fn a_plus_that_was_not_encoded_is_one() {
        let time = json!("2018-05-21T09:53:04+00:00");
        for (raw, expected) in [
            ("t=2018-05-21T09:53:04+00:00", true),
            ("t=>=2018-05-21T15:23:04+05:30", true),
            ("t=>=2018-05-21T15:23:05+05:30", false),
            ("t=<=2018-05-21T15:23:04%2B05:30", true),
            ("t=<2018-05-21T09:53:04-00:01", true),
            (
                "t=2018-05-21T00:00:00+05:30..2018-05-22T00:00:00+05:30",
                true,
            ),
        ] {
            let filter = crate::Params::parse(raw).unwrap().take("t").unwrap();
            assert_eq!(holds(&filter, time.clone()), expected, "{raw}");
        }
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

    #[test]
    fn negation_goes_before_any_test_and_quotes_take_meanings_away() {
        assert!(holds("!<5", json!(5)) && !holds("!<5", json!(4)));
        assert!(holds("!4..6", json!(7)) && !holds("!4..6", json!(5)));
        assert!(holds("!9.1*", json!("9.9")) && holds("!!a", json!("a")));
        assert!(holds("\"!a\"", json!("!a")) && holds("\"null\"", json!("null")));
        assert!(holds("\"a*\"*", json!("a*b")) && !holds("\"a*\"*", json!("ab")));
        assert!(holds("\"a..b\"", json!("a..b")) && holds(">\"=b\"", json!("=c")));
        assert!(holds(r#""a \"b\" \\c""#, json!(r#"a "b" \c"#)));
        assert!(holds(r"a\b", json!(r"a\b")) && Filter::parse(r#""a\""#).is_err());
    }

    #[test]
    fn what_is_printed_is_what_was_meant() {
        for (given, printed) in [
            ("a,b", "a|b"),
            ("!\"\"", "!\"\""),
            ("\"9\".\"1\"*", "9.1*"),
            ("!!!>=\"5\"", "!>=5"),
            ("1.. 2", "1.. 2"),
            ("\"null\"|null", "\"null\"|null"),
        ] {
            assert_eq!(Filter::parse(given).unwrap().to_string(), printed);
        }
    }

    proptest::proptest! {
        #[test]
        fn the_pattern_is_what_can_be_read(text in r#"[a.<>=!|,*"\\]{0,8}|.*"#) {
            let pattern = regex::Regex::new(&Filter::pattern()).unwrap();
            proptest::prop_assert_eq!(pattern.is_match(&text), Filter::parse(&text).is_ok());
        }

        #[test]
        fn whatever_can_be_read_reads_the_same_when_printed(
            raw in proptest::prop_oneof![
                ".*",
                r#"([ab5.]|[!<>=|,*."\\]|null|\.\.|""){0,16}"#,
            ]
        ) {
            if let Ok(filter) = Filter::parse(&raw) {
                proptest::prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
            }
        }

        #[test]
        fn no_value_makes_a_filter_panic(raw: String, text: String, number: i64) {
            if let Ok(filter) = Filter::parse(&raw) {
                filter.matches(&[&json!(text), &json!(number), &json!(true), &json!([])]);
            }
        }

        #[test]
        fn any_text_can_be_asked_for(text: String) {
            let printed = Filter::any_of([text.clone(), "other".to_owned()]).to_string();
            proptest::prop_assert!(holds(&printed, json!(text)));
        }
    }
}
