//! When something counts as wrong.

use super::{DAY, Field, HOUR, Object, OneOf, SHORTEST, Scalar, Shape, default, duration, object, optional};

/// An error rate's limit: more than none, less than all.
pub(super) const ERROR_RATE: Shape = Shape::Scalar(Scalar::Percent(0.0, 100.0));
/// A window.
pub(super) const WINDOW: Shape = duration(SHORTEST, DAY);
/// How long something must hold.
pub(super) const FOR: Shape = duration(SHORTEST, DAY);
/// How many reports.
pub(super) const REPORTS: Shape = Shape::Scalar(Scalar::Whole(1, 100_000));
/// A latency that is not yet slow.
pub(super) const AT_LEAST: Shape = duration(1, HOUR);

/// When something counts as wrong.
pub(super) static THRESHOLDS: Object = object(
    "thresholds",
    "When something counts as wrong.",
    &[
        default(
            "down_after",
            Shape::Scalar(Scalar::Whole(1, 1_000)),
            "3",
            "Failed probes in a row that open the incident and page.",
        ),
        default(
            "confirm_every",
            duration(50, HOUR),
            "250ms",
            "After the first failure a probe repeats so often; not longer than its `every`.",
        ),
        default("down_for", duration(SHORTEST, DAY), "10s", "Unbroken failure before it is acted on."),
        default("roll_back_above", Shape::Object(&ROLL_BACK_ABOVE), "{}", "An error rate that leads to a rollback."),
        default("consider_above", Shape::Object(&CONSIDER_ABOVE), "{}", "An error rate that leads to the question."),
        default("slow_above", Shape::Object(&SLOW_ABOVE), "{}", "A latency that leads to the question."),
        default("complaints", Shape::Object(&COMPLAINTS), "{}", "Complaints that lead to the question."),
        default(
            "confidence",
            Shape::Scalar(Scalar::Percent(50.0, 100.0)),
            "99%",
            "Of an error rate, against one look.",
        ),
        default(
            "min_requests",
            Shape::Scalar(Scalar::Whole(1, 100_000_000)),
            "100",
            "With fewer the window lengthens up to `widen_to`; still fewer: unknown.",
        ),
        default("widen_to", duration(SHORTEST, 7 * DAY), "10m", "The longest that a window may become."),
        default("min_errors", Shape::Scalar(Scalar::Whole(1, 100_000_000)), "3", "Errors needed for a yes."),
    ],
);

static ROLL_BACK_ABOVE: Object = object(
    "roll_back_above",
    "An error rate that leads to a rollback.",
    &[
        default("error_rate", ERROR_RATE, "5%", "The rate."),
        default("over", WINDOW, "1m", "The window."),
        optional("for", FOR, "How long it must hold; at once where it is not written."),
    ],
);

static CONSIDER_ABOVE: Object = object(
    "consider_above",
    "An error rate that leads to the question.",
    &[
        default("error_rate", ERROR_RATE, "1%", "The rate."),
        default("over", WINDOW, "1m", "The window."),
        default("for", FOR, "5m", "How long it must hold."),
    ],
);

/// A latency quantile's limit under its own key.
const fn quantile(name: &'static str) -> Field {
    optional(
        name,
        Shape::Scalar(Scalar::LatencyAbove),
        "So many times what it was before the deploy, or an absolute limit.",
    )
}

static SLOW_ABOVE: Object = Object {
    name: "slow_above",
    about: "A latency that leads to the question; latency_p99: 2x where none is written.",
    fields: &[
        quantile("latency_p50"),
        quantile("latency_p75"),
        quantile("latency_p90"),
        quantile("latency_p95"),
        default(
            "latency_p99",
            Shape::Scalar(Scalar::LatencyAbove),
            "2x",
            "The same; what holds where no quantile is written.",
        ),
        quantile("latency_p999"),
        default("at_least", AT_LEAST, "200ms", "Never slow below this."),
        default("over", WINDOW, "5m", "The window."),
        default("for", FOR, "5m", "How long it must hold."),
    ],
    one_of: OneOf::AtMost(super::condition::QUANTILES),
};

static COMPLAINTS: Object = object(
    "complaints",
    "Complaints that lead to the question.",
    &[
        default("at_least", REPORTS, "3", "How many."),
        default("over", duration(SHORTEST, DAY), "10m", "Within this time."),
    ],
);
