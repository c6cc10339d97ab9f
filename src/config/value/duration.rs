//! Durations, in jiff's friendly format.

use std::time::Duration;

use jiff::SignedDuration;

use super::Wrong;

/// What a duration looks like, for the JSON Schema: numbers with units, from weeks to milliseconds.
pub(crate) const DURATION_PATTERN: &str = "(?:[0-9]+(?:\\.[0-9]+)?\\s*[a-zA-Zµ]+[\\s,]*)+";

/// Parses `1m 30s`, `250ms`, `24h`, `90d`. A day is 24 hours and a week 7 days: spans of calendar units have no length.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    let help = "write a number and a unit, as in `250ms`, `30s`, `5m`, `1h 30m` or `90d`";
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(Wrong::new("has no unit", format!("say which unit is meant, as in `{text}s` or `{text}m`")));
    }
    if text.trim_start().starts_with(['P', 'p', '-', '+']) {
        return Err(Wrong::new("is not a duration", help));
    }
    let span: jiff::Span = text.parse().map_err(|_| Wrong::new("is not a duration", help))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(Wrong::new("has months or years, whose length differs", "write it in days, as in `90d`"));
    }
    if span.is_negative() {
        return Err(Wrong::new("is negative", help));
    }
    let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
    let rest = jiff::Span::new()
        .try_hours(span.get_hours())
        .and_then(|rest| rest.try_minutes(span.get_minutes()))
        .and_then(|rest| rest.try_seconds(span.get_seconds()))
        .and_then(|rest| rest.try_milliseconds(span.get_milliseconds()))
        .and_then(|rest| rest.try_microseconds(span.get_microseconds()))
        .and_then(|rest| rest.try_nanoseconds(span.get_nanoseconds()))
        .and_then(SignedDuration::try_from);
    let too_long = || Wrong::new("is longer than can be counted", help);
    let rest = rest.map_err(|_| too_long())?;
    let whole = days
        .checked_mul(24 * 60 * 60)
        .map(SignedDuration::from_secs)
        .and_then(|days| days.checked_add(rest))
        .ok_or_else(too_long)?;
    Duration::try_from(whole).map_err(|_| too_long())
}

/// A duration as the configuration would spell it.
pub(crate) fn shown_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let mut millis = duration.as_millis();
    if millis == 0 {
        return if duration.is_zero() { "0s".to_owned() } else { format!("{}us", duration.as_micros()) };
    }
    let mut parts = Vec::new();
    for (size, unit) in UNITS {
        if millis >= size {
            parts.push(format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    if millis > 0 {
        parts.push(format!("{millis}ms"));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_duration() {
        let cases = [
            ("250ms", 250),
            ("60s", 60_000),
            ("1m 30s", 90_000),
            ("1h30m", 5_400_000),
            ("24h", 86_400_000),
            ("90d", 7_776_000_000),
            ("2w", 1_209_600_000),
            ("1.5s", 1_500),
            ("5 minutes", 300_000),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "5x", "-5s", "5s ago", "1y", "3 months", "soon", "PT5S", "99999999999999999999s", "5s,"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [1, 250, 1_000, 61_000, 90_061_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(super::duration(&shown_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn the_pattern_takes_what_the_parser_takes() {
        let pattern = regex::Regex::new(&format!("^(?:{DURATION_PATTERN})$")).expect("a pattern");
        for text in ["250ms", "1m 30s", "1h30m", "90d", "5 minutes", "1.5s"] {
            assert!(pattern.is_match(text), "{text}");
        }
        assert!(!pattern.is_match("5"));
    }
}
