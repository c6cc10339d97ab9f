//! Thresholds, and the limits that conditions share.

use std::{cell::RefCell, time::Duration};

use super::{
    super::{
        decode::At,
        shape,
        value::{self, LatencyAbove},
    },
    Sink, View, duration, shown_duration,
    signal::Signals,
};
use crate::core::{
    policy::{LatencyLimit, RateLimit, ThresholdsPolicy},
    window::longest_beside,
};

/// Latency where none is written, as in the table of defaults.
const DEFAULT_QUANTILE: &str = "latency_p99";
const DEFAULT_FACTOR: f64 = 2.0;
/// Below this nothing is slow, where an own condition gives a factor and no limit.
const DEFAULT_AT_LEAST: Duration = Duration::from_millis(200);

/// What every error rate and latency of a service has in common.
pub(super) struct Limits {
    pub(super) confidence: f64,
    pub(super) min_requests: u32,
    pub(super) widen_to: Option<At<Duration>>,
    pub(super) min_errors: u32,
    /// How often requests are read, if they are.
    pub(super) every: Option<At<Duration>>,
    /// Every window so far.
    windows: RefCell<Vec<Window>>,
}

/// A window, to be held against the others.
struct Window {
    over: At<Duration>,
    path: String,
    /// Whether durations are counted in it.
    durations: bool,
}

impl Limits {
    pub(super) fn new(view: &View<'_>, signals: &Signals, sink: &mut Sink) -> Self {
        let (min_requests, min_errors) = (view.whole("min_requests"), view.whole("min_errors"));
        if let (Some(requests), Some(errors)) = (&min_requests, &min_errors)
            && errors.value > requests.value
            && (errors.written || requests.written)
        {
            let at = if errors.written { &errors.span } else { &requests.span };
            let message = format!(
                "{}: {} errors are more than the {} requests of `min_requests`",
                view.path_of("min_errors"),
                errors.value,
                requests.value
            );
            sink.error(at, message, "ask for fewer errors, or for more requests");
        }
        Self {
            confidence: view.percent("confidence").map_or(0.99, |confidence| confidence.value),
            min_requests: min_requests.map_or(1, |requests| requests.value),
            widen_to: view.duration("widen_to"),
            min_errors: min_errors.map_or(1, |errors| errors.value),
            every: signals.requests.as_ref().and_then(|(_, every)| every.clone()),
            windows: RefCell::default(),
        }
    }

    /// Tells of windows that are too far apart: all of a service slide over the same slots, which would be too wide for
    /// the shortest.
    pub(super) fn too_far_apart(&self, sink: &mut Sink) {
        let windows = self.windows.borrow();
        for durations in [false, true] {
            let windows = || windows.iter().filter(|window| window.durations || !durations);
            let Some(shortest) = windows().min_by_key(|window| window.over.value) else { continue };
            let longest = windows().map(|window| &window.over).chain(&self.widen_to).max_by_key(|over| over.value);
            let Some(longest) = longest.filter(|long| long.value > longest_beside(shortest.over.value, durations))
            else {
                continue;
            };
            let at = if shortest.over.written { &shortest.over.span } else { &longest.span };
            let message = format!(
                "{}: a window of {} is too short beside one of {}: both slide over the same slots",
                shortest.path,
                shown_duration(&shortest.over),
                shown_duration(longest)
            );
            let most = value::shown_duration(longest_beside(shortest.over.value, durations));
            let help = if shortest.over.shows() {
                format!("lengthen it, or let no window be longer than {most}, nor widen to more (`widen_to`)")
            } else {
                "lengthen it, or shorten the other (`over`, `widen_to`)".to_owned()
            };
            sink.error(at, message, help);
            return;
        }
    }

    /// A limit of an error rate over a window, which is held against the rest.
    pub(super) fn rate(&self, view: &View<'_>, above: f64, sink: &mut Sink) -> RateLimit {
        let over = view.duration("over");
        if let Some(over) = &over {
            self.window(view, over, sink);
            let window = Window { over: over.clone(), path: view.path_of("over"), durations: false };
            self.windows.borrow_mut().push(window);
        }
        let over = over.map(|over| over.value).unwrap_or_default();
        RateLimit {
            above,
            over,
            confidence: self.confidence,
            min_requests: self.min_requests.into(),
            widen_to: self.widen_to.as_ref().map_or(over, |widen| widen.value).max(over),
            min_errors: self.min_errors.into(),
        }
    }

    fn window(&self, view: &View<'_>, over: &At<Duration>, sink: &mut Sink) {
        if let Some(widen) = self.widen_to.as_ref().filter(|widen| widen.written && widen.value < over.value) {
            let at = if over.written { &over.span } else { &widen.span };
            let message = format!(
                "{}: the window of {} is longer than `widen_to`, {}",
                view.path_of("over"),
                shown_duration(over),
                shown_duration(widen)
            );
            sink.error(at, message, "a window lengthens up to `widen_to`: shorten the window, or allow more");
        }
        if let Some(every) =
            self.every.as_ref().filter(|every| every.value > over.value && (every.written || over.written))
        {
            let at = if over.written { &over.span } else { &every.span };
            let message = format!(
                "{}: a window of {} never holds a count, since `requests.every` is {}",
                view.path_of("over"),
                shown_duration(over),
                shown_duration(every)
            );
            sink.error(at, message, "read requests more often, or lengthen the window");
        }
    }

    /// How long something must hold, which must be longer than one sample takes.
    pub(super) fn held_for(&self, view: &View<'_>, sink: &mut Sink) -> Option<Duration> {
        let held = view.duration("for")?;
        if let Some(every) =
            self.every.as_ref().filter(|every| every.value > held.value && (every.written || held.written))
        {
            let at = if held.written { &held.span } else { &every.span };
            let message = format!(
                "{}: {} has no effect, since `requests.every` is {}",
                view.path_of("for"),
                shown_duration(&held),
                shown_duration(every)
            );
            sink.error(at, message, "lengthen it, read requests more often, or leave it out");
        }
        Some(held.value)
    }

    /// A limit of a latency: of `quantile`, above `above`, the rest as below `view`.
    pub(super) fn latency(
        &self,
        view: &View<'_>,
        quantile: f64,
        above: Option<LatencyAbove>,
        sink: &mut Sink,
    ) -> LatencyLimit {
        let at_least = view.duration("at_least");
        let (factor, at_least) = match above {
            Some(LatencyAbove::Absolute(limit)) => {
                if let Some(at_least) = at_least.filter(|at_least| at_least.written) {
                    let message = format!("{}: has no effect beside an absolute limit", view.path_of("at_least"));
                    sink.error(&at_least.span, message, "leave it out, or give the limit as a factor such as `2x`");
                }
                (None, limit)
            }
            Some(LatencyAbove::Factor(factor)) => {
                (Some(factor), at_least.map_or(DEFAULT_AT_LEAST, |at_least| at_least.value))
            }
            None => (None, Duration::ZERO),
        };
        let rate = self.rate(view, 1.0 - quantile, sink);
        if let Some(last) = self.windows.borrow_mut().last_mut() {
            last.durations = true;
        }
        LatencyLimit { quantile, factor, at_least, rate }
    }

    /// The limit of `slow_above`.
    pub(super) fn slow_above(&self, view: &View<'_>, sink: &mut Sink) -> LatencyLimit {
        let written = shape::QUANTILES.iter().find(|key| view.written(key).is_some());
        let key = written.copied().unwrap_or(DEFAULT_QUANTILE);
        let above = match written {
            Some(key) => view.parsed(key, value::latency_above).map(|above| above.value),
            None => Some(LatencyAbove::Factor(DEFAULT_FACTOR)),
        };
        let quantile = shape::quantile_of(key).expect("the key is one of the quantiles");
        self.latency(view, quantile, above, sink)
    }
}

/// The thresholds of probes.
pub(super) fn thresholds(view: &View<'_>, signals: &Signals, sink: &mut Sink) -> ThresholdsPolicy {
    let confirm = view.duration("confirm_every");
    let mut confirm_every = confirm.as_ref().map(|confirm| confirm.value).unwrap_or_default();
    if let (Some(confirm), Some(every)) = (&confirm, &signals.shortest_probe)
        && confirm.value > every.value
    {
        confirm_every = every.value;
        if confirm.written {
            let message = format!(
                "{}: {} is longer than a probe's `every`, {}",
                view.path_of("confirm_every"),
                shown_duration(confirm),
                shown_duration(every)
            );
            sink.error(&confirm.span, message, "confirming is done sooner than the next sample: shorten it");
        }
    }
    error_rates(view, sink);
    ThresholdsPolicy {
        down_after: view.whole("down_after").map_or(1, |down_after| down_after.value),
        confirm_every,
        down_for: duration(view, "down_for"),
    }
}

/// What is rolled back must be worse than what is only considered.
fn error_rates(view: &View<'_>, sink: &mut Sink) {
    let (roll_back, consider) = (view.object("roll_back_above"), view.object("consider_above"));
    let (Some(upper), Some(lower)) = (roll_back.percent("error_rate"), consider.percent("error_rate")) else { return };
    if upper.value <= lower.value {
        let (at, help) = if upper.written {
            (&upper.span, "raise it above consider_above.error_rate")
        } else {
            (&lower.span, "lower it below roll_back_above.error_rate")
        };
        let message = format!(
            "{}: {} is not above consider_above.error_rate, {}, so that question could never be reached",
            roll_back.path_of("error_rate"),
            upper.shown(|rate| percent(*rate)),
            lower.shown(|rate| percent(*rate))
        );
        sink.error(at, message, help);
    }
}

fn percent(share: f64) -> String {
    // The share came from a decimal text, so that a few digits bring it back.
    let text = format!("{:.6}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}
