//! Numbers as people read them at night.

use std::time::Duration;

/// As in "5%" or "12.1%": at most one decimal from 1 % on, more below.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let factor = if percent >= 1.0 { 10.0 } else { 1_000.0 };
    format!("{}%", (percent * factor).round() / factor)
}

/// As in "400 ms", "60 s", "5 min" or "1 h": a unit in which the number is whole, or nearly so.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 {
        return format!("{} ms", (seconds * 1_000.0).round());
    }
    if seconds < 10.0 {
        return format!("{} s", (seconds * 10.0).round() / 10.0);
    }
    match duration.as_secs() {
        whole if whole >= 3_600 && whole.is_multiple_of(3_600) => format!("{} h", whole / 3_600),
        whole if whole >= 120 && whole.is_multiple_of(60) => format!("{} min", whole / 60),
        _ => format!("{} s", seconds.round()),
    }
}

/// As in "1 error" or "3 errors".
pub(super) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// As in " (connection refused)", or nothing.
pub(super) fn bracketed(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// The name of a condition as words: "key feature broken".
pub(super) fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        let shares =
            [(0.05, "5%"), (0.120_83, "12.1%"), (0.008, "0.8%"), (0.000_25, "0.025%"), (1.0, "100%"), (0.0, "0%")];
        for (share, text) in shares {
            assert_eq!(percent(share), text);
        }
        let spans = [
            (400, "400 ms"),
            (1_500, "1.5 s"),
            (60_000, "60 s"),
            (90_000, "90 s"),
            (300_000, "5 min"),
            (3_600_000, "1 h"),
            (12_400, "12 s"),
        ];
        for (millis, text) in spans {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        assert_eq!((count(1, "error").as_str(), count(2, "error").as_str()), ("1 error", "2 errors"));
    }
}
