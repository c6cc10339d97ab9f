//! Shares, factors, and what a latency may not exceed.

use std::time::Duration;

use super::{Wrong, duration::duration};

/// What a percentage looks like, for the JSON Schema.
pub(crate) const PERCENT_PATTERN: &str = "[0-9]+(?:\\.[0-9]+)?\\s*%";
/// What a factor looks like, for the JSON Schema.
pub(crate) const FACTOR_PATTERN: &str = "[0-9]+(?:\\.[0-9]+)?\\s*x";

/// Longest number that is read, in bytes; more digits mean nothing.
const DIGITS_LIMIT_BYTES: usize = 32;

/// Parses `5%` into 0.05.
pub(crate) fn percent(text: &str) -> Result<f64, Wrong> {
    let help = "write a number and a percent sign, as in `5%` or `0.5%`";
    let Some(number) = text.strip_suffix('%') else {
        return Err(Wrong::new("is not a percentage", help));
    };
    decimal(number.trim_end()).map(|number| number / 100.0).ok_or_else(|| Wrong::new("is not a percentage", help))
}

/// Parses `2x` into 2.
pub(crate) fn factor(text: &str) -> Result<f64, Wrong> {
    let help = "write a number and an x, as in `2x` or `1.5x`";
    let number = text.strip_suffix('x').and_then(|number| decimal(number.trim_end()));
    number.ok_or_else(|| Wrong::new("is not a factor", help))
}

/// What a latency quantile may not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LatencyAbove {
    /// So many times what it was before the deploy.
    Factor(f64),
    /// An absolute limit.
    Absolute(Duration),
}

/// Parses `2x` or `500ms`.
pub(crate) fn latency_above(text: &str) -> Result<LatencyAbove, Wrong> {
    if let Ok(factor) = factor(text) {
        return if factor > 1.0 && factor <= 1_000.0 {
            Ok(LatencyAbove::Factor(factor))
        } else {
            Err(Wrong::new("is no slowdown", "write a factor above `1x` and up to `1000x`, as in `2x`"))
        };
    }
    match duration(text) {
        Ok(limit) if limit >= Duration::from_millis(1) && limit <= Duration::from_hours(1) => {
            Ok(LatencyAbove::Absolute(limit))
        }
        Ok(_) => {
            Err(Wrong::new("is not between 1ms and 1h", "write a latency such as `500ms`, or a factor such as `2x`"))
        }
        Err(_) => Err(Wrong::new("is neither a factor nor a duration", "write `2x` or `500ms`")),
    }
}

/// A plain decimal number: digits, and perhaps a fraction. No signs, exponents, infinities.
fn decimal(text: &str) -> Option<f64> {
    let plain = !text.is_empty()
        && text.len() <= DIGITS_LIMIT_BYTES
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.ends_with(|last: char| last.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_and_factors() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("0.5 %"), Ok(0.005));
        assert_eq!(factor("2x"), Ok(2.0));
        for text in ["5", "%", "-1%", "1e3%", "inf%", ".5%", "5.%", "1.2.3%", "five%"] {
            assert!(percent(text).is_err(), "{text}");
        }
        for text in ["2", "x", "-2x", "2 times", "NaNx"] {
            assert!(factor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn latencies() {
        assert_eq!(latency_above("1.5x"), Ok(LatencyAbove::Factor(1.5)));
        assert_eq!(latency_above("500ms"), Ok(LatencyAbove::Absolute(Duration::from_millis(500))));
        for text in ["1x", "0.5x", "0s", "2h", "fast"] {
            assert!(latency_above(text).is_err(), "{text}");
        }
    }
}
