//! Durations as they are typed.

use std::time::Duration;

/// Reads `250ms`, `60s` or `2m`: the length of a lab minute. Zero is refused.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[number.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("write a duration like 250ms, 60s or 1m".to_owned()),
    };
    let count: u64 = number
        .parse()
        .map_err(|_| format!("{number:?} is not a whole number"))?;
    match count.checked_mul(unit_ms) {
        Some(ms) if ms > 0 && ms <= 3_600_000 => Ok(Duration::from_millis(ms)),
        Some(_) | None => Err("between 1ms and 60m, please".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_typed() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("1m"), Ok(Duration::from_secs(60)));
        for wrong in [
            "",
            "5",
            "0s",
            "ms",
            "-1s",
            "1h",
            "99999999999999999999s",
            "61m",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
