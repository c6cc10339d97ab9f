//! One reading in one sentence: the numbers, the limit, and how far apart they are.

use super::text::{decimal, percent, span};
use crate::core::reading::Reading;

/// Windows nearer to each other than this, in seconds, are the same: buckets make them differ by a little.
const SAME_WINDOW_SECONDS: f64 = 1.0;

/// What the atom saw. Text from outside is not made plain here.
pub(super) fn sentence(reading: &Reading) -> String {
    match reading {
        Reading::Streak { signal, failing, needed, reason, last_seen_seconds, .. } => {
            let mut text = format!("{signal}: {failing} failed in a row, {needed} needed");
            match last_seen_seconds {
                Some(seconds) => text += &format!("; last seen {} ago", span(*seconds)),
                None => text += "; never seen",
            }
            with_reason(text, reason.as_deref())
        }
        Reading::Rate { .. } => rate(reading),
        Reading::Sustained { held_seconds, needed_seconds, blind, .. } => {
            let mut text = format!("held for {}, {} needed", span(*held_seconds), span(*needed_seconds));
            if *blind > 0.0 {
                text += &format!("; nothing seen for {} of that time", percent(*blind));
            }
            text
        }
        Reading::Rollout { state, .. } => format!("rollout: {state}"),
        Reading::Reports { kind, count, needed, .. } => {
            let kind = serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned));
            format!("reports of {}: {count}, {needed} needed", kind.unwrap_or_default())
        }
        Reading::NotMeasured { why } => format!("not measured: {why}"),
    }
}

fn rate(reading: &Reading) -> String {
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
        return String::new();
    };
    let were = if counted == "errors" { "were errors".to_owned() } else { format!("were {counted}") };
    let mut text = format!("{signal}: {errors} of {requests} requests {were}");
    match rate {
        Some(rate) => {
            let points = (rate - above) * 100.0;
            let side = if points >= 0.0 { "above" } else { "below" };
            text +=
                &format!(" = {}, limit {}, {} points {side}", percent(*rate), percent(*above), decimal(points.abs()));
        }
        None => text += &format!(", limit {}", percent(*above)),
    }
    text += &format!("; window {}", span(*over_seconds));
    if over_seconds - configured_over_seconds > SAME_WINDOW_SECONDS {
        text += &format!(" (widened from {} for want of requests)", span(*configured_over_seconds));
    } else if configured_over_seconds - over_seconds > SAME_WINDOW_SECONDS {
        text += &format!(" (of {}: no more is seen yet)", span(*configured_over_seconds));
    }
    if let Some(needed) = needed {
        text += &format!("; yes from {needed} on");
    }
    if *blind > 0.0 {
        text += &format!("; nothing seen for {} of it", percent(*blind));
    }
    with_reason(text, reason.as_deref())
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}
