//! One reading in a few labelled lines: what was seen, the limit and how far from it, the window.

use std::fmt::Write as _;

use super::text::{count, decimal, percent, span};
use crate::core::reading::Reading;

/// Windows nearer to each other than this, in seconds, are the same: buckets make them differ by a little.
const SAME_WINDOW_SECONDS: f64 = 1.0;

/// A label and what it says.
pub(super) type Line = (&'static str, String);

/// What the atom saw. Text from outside is not made plain here.
pub(super) fn lines(reading: &Reading) -> Vec<Line> {
    match reading {
        Reading::Streak { signal, failing, needed, reason, last_seen_seconds, .. } => {
            let seen = match last_seen_seconds {
                Some(seconds) => format!("last seen {} ago", span(*seconds)),
                None => "never seen yet".to_owned(),
            };
            let saw = with_reason(format!("{signal}: {failing} failed in a row, {seen}"), reason.as_deref());
            let limit = format!("{needed} failed in a row: {}", distance(*failing, *needed));
            vec![("saw", saw), ("limit", limit)]
        }
        Reading::Rate { .. } => rate(reading),
        Reading::Sustained { held_seconds, needed_seconds, blind, .. } => {
            let short = needed_seconds - held_seconds;
            let distance = if short > 0.0 { format!("{} short of it", span(short)) } else { "reached".to_owned() };
            // Once it is reached nobody counts on.
            let longer = if short > 0.0 { "" } else { " or longer" };
            let saw = format!("it has held for {}{longer}{}", span(*held_seconds), unseen(*blind, "of the time"));
            vec![("saw", saw), ("limit", format!("for {}: {distance}", span(*needed_seconds)))]
        }
        Reading::Rollout { state, .. } => vec![("saw", state.clone())],
        Reading::Reports { kind, count, needed, .. } => {
            let kind = serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned));
            vec![
                ("saw", format!("{count} reported as {}", kind.unwrap_or_default())),
                ("limit", format!("{needed} reported: {}", distance(*count, *needed))),
            ]
        }
        Reading::NotMeasured { why } => vec![("saw", format!("nothing, it is not measured: {why}"))],
    }
}

fn rate(reading: &Reading) -> Vec<Line> {
    let Reading::Rate {
        signal,
        counted,
        requests,
        errors,
        rate,
        above,
        over_seconds,
        configured_over_seconds,
        needed,
        blind,
        reason,
        ..
    } = reading
    else {
        return Vec::new();
    };
    let mut saw = if counted == "errors" {
        format!("{signal}: {} in {}", count(*errors, "error"), count(*requests, "request"))
    } else {
        format!("{signal}: {errors} of {} {counted}", count(*requests, "request"))
    };
    let mut limit = percent(*above);
    if let Some(rate) = rate {
        let _infallible = write!(saw, " = {}", percent(*rate));
        let points = (rate - above) * 100.0;
        let side = if points > 0.0 { "above" } else { "below" };
        let points = decimal(points.abs());
        let unit = if points == "1" { "point" } else { "points" };
        let _infallible = write!(limit, ": {points} {unit} {side} it");
    }
    if let Some(needed) = needed {
        let _infallible = write!(limit, "; at so many requests {needed} make a yes");
    }
    let mut window = span(*over_seconds);
    if over_seconds - configured_over_seconds > SAME_WINDOW_SECONDS {
        let _infallible = write!(window, ", widened from {} for want of requests", span(*configured_over_seconds));
    } else if configured_over_seconds - over_seconds > SAME_WINDOW_SECONDS {
        let _infallible = write!(window, " of {}, for no more is seen yet", span(*configured_over_seconds));
    }
    window += &unseen(*blind, "of it");
    vec![("saw", with_reason(saw, reason.as_deref())), ("limit", limit), ("window", window)]
}

fn distance(count: u32, needed: u32) -> String {
    match needed.saturating_sub(count) {
        0 => "reached".to_owned(),
        short => format!("{short} short of it"),
    }
}

fn unseen(blind: f64, of: &str) -> String {
    if blind > 0.0 { format!(", nothing seen for {} {of}", percent(blind)) } else { String::new() }
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}
