//! Query strings: decoding, and parameters taken out one by one.

use std::ops::RangeInclusive;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use crate::{ApiError, Code};

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
    /// Reads the raw query string of a call that only reads. Blank values count as absent, as Python clients drop
    /// them. Several `fields` are one list. Any other parameter given twice is refused: clients collapse such, so its
    /// meaning would depend on them.
    pub fn parse(raw: &str) -> Result<Self, ApiError> {
        let mut params = Self::read(raw)?;
        params.pairs.retain(|(_, value)| !value.is_empty());
        Ok(params)
    }

    /// The same of a call that changes something. A parameter without a value is refused: `?validate_only` left out
    /// would have an update begin.
    pub fn parse_for_change(raw: &str) -> Result<Self, ApiError> {
        let params = Self::read(raw)?;
        match params.pairs.iter().find(|(_, value)| value.is_empty()) {
            None => Ok(params),
            Some((name, _)) => {
                let message =
                    format!("Argument \"{name}\" has no value: give one, or leave it out.");
                Err(ApiError::with(Code::RequiredField, message).target(name))
            }
        }
    }

    fn read(raw: &str) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode_component(name).zip(decode_component(value));
            let (name, value) = decoded.ok_or_else(|| {
                ApiError::with(Code::BadValue, format!("Argument \"{name}\" is not UTF-8."))
            })?;
            match pairs.iter_mut().find(|(seen, _)| *seen == name) {
                Some((_, fields)) if name == "fields" => {
                    *fields = format!("{fields},{value}");
                    continue;
                }
                Some(_) => {
                    let message = format!("Argument \"{name}\" is given more than once.");
                    return Err(ApiError::with(Code::BadValue, message).target(name));
                }
                None => {}
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// One parameter that came by another way than a query string.
    pub fn from_pair(name: &str, value: &str) -> Self {
        Self {
            pairs: vec![(name.to_owned(), value.to_owned())],
        }
    }

    /// Every parameter that is left, as it was given.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Names of the parameters that are left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
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

    /// Takes the parameters that any change may carry; answers how long it may wait for its job.
    pub fn take_for_change(&mut self) -> Result<Duration, ApiError> {
        // What these ask for makes no difference: a job's link is all there is to return.
        for tolerated in ["return_records", "ignore_unknown_fields"] {
            self.take_bool(tolerated)?;
        }
        self.take_return_timeout(Duration::ZERO)
    }

    /// Refuses the first parameter that nobody took.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.pairs.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::unexpected(&name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_repeated_parameter_is_refused() {
        assert_eq!(Params::parse("state=a&state=b").unwrap_err().number, 2);
    }

    #[test]
    fn lists_of_fields_are_one() {
        let mut params = Params::parse("fields=a&x=1&fields=&fields=b,c").unwrap();
        assert_eq!(params.take("fields").as_deref(), Some("a,,b,c"));
        assert_eq!(params.take("x").as_deref(), Some("1"));
        assert_eq!(params.finish(), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn any_component_survives_encoding(text: String) {
            proptest::prop_assert_eq!(decode_component(&encode_component(&text)), Some(text));
        }
    }
}
