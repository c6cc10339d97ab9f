//! Own conditions.

use super::{
    DAY, Field, Items, NAME, Object, SHORTEST, Scalar, Shape, choice, default, duration, object, optional, required,
    threshold::{AT_LEAST, ERROR_RATE, FOR, REPORTS, WINDOW},
};
use crate::config::limits::SMALL_LIST_LIMIT;

/// Keys that name a latency quantile.
pub(crate) const QUANTILES: &[&str] =
    &["latency_p50", "latency_p75", "latency_p90", "latency_p95", "latency_p99", "latency_p999"];

/// What the keys of [`QUANTILES`] stand for.
pub(crate) fn quantile_of(key: &str) -> Option<f64> {
    match key {
        "latency_p50" => Some(0.5),
        "latency_p75" => Some(0.75),
        "latency_p90" => Some(0.9),
        "latency_p95" => Some(0.95),
        "latency_p99" => Some(0.99),
        "latency_p999" => Some(0.999),
        _ => None,
    }
}

/// A condition's body, or another condition's name.
pub(super) static CONDITION_OR_NAME: [Shape; 2] = [NAME, Shape::Object(&CONDITION)];

/// Kinds of reports.
pub(crate) const REPORT_KINDS: &[&str] = &[
    "complaint",
    "data_corruption",
    "security_exploited",
    "minor_ui",
    "non_critical_feature",
    "under_1_percent",
    "workaround_available",
];

const fn latency(name: &'static str) -> Field {
    optional(name, Shape::Object(&LATENCY), "A latency quantile is above a limit.")
}

static CONDITION: Object = choice(
    "condition",
    "A fact, or other conditions put together.",
    &[
        "any",
        "all",
        "not",
        "condition",
        "probe",
        "feature",
        "error_rate",
        "latency_p50",
        "latency_p75",
        "latency_p90",
        "latency_p95",
        "latency_p99",
        "latency_p999",
        "reports",
    ],
    &[
        optional("any", Shape::List(&PARTS), "At least one of these."),
        optional("all", Shape::List(&PARTS), "Every one of these."),
        optional("not", Shape::Either(&CONDITION_OR_NAME), "The contrary."),
        optional("condition", NAME, "Another condition, built in or own."),
        optional("probe", Shape::Object(&PROBE), "A probe fails so many times in a row."),
        optional("feature", Shape::Object(&FEATURE), "A feature fails so many times in a row."),
        optional("error_rate", Shape::Object(&RATE), "The error rate is above a limit."),
        latency("latency_p50"),
        latency("latency_p75"),
        latency("latency_p90"),
        latency("latency_p95"),
        latency("latency_p99"),
        latency("latency_p999"),
        optional("reports", Shape::Object(&REPORTED), "It was reported so often."),
    ],
);

static PARTS: Items =
    Items { item: Shape::Either(&CONDITION_OR_NAME), at_least: 1, at_most: SMALL_LIST_LIMIT, command_line: false };

static PROBE: Object = object(
    "probe_condition",
    "A probe fails so many times in a row.",
    &[
        required("name", NAME, "The probe."),
        optional(
            "failing",
            Shape::Scalar(Scalar::Whole(1, 1_000)),
            "Failures in a row; `thresholds.down_after` where it is not written.",
        ),
    ],
);

static FEATURE: Object = object(
    "feature_condition",
    "A feature fails so many times in a row.",
    &[
        required("name", NAME, "The feature."),
        optional(
            "failures",
            Shape::Scalar(Scalar::Whole(1, 1_000)),
            "Failures in a row; the feature's own where it is not written.",
        ),
    ],
);

static RATE: Object = object(
    "error_rate_condition",
    "The error rate is above a limit.",
    &[
        required("above", ERROR_RATE, "The rate."),
        default("over", WINDOW, "1m", "The window."),
        optional("for", FOR, "How long it must hold; at once where it is not written."),
    ],
);

static LATENCY: Object = object(
    "latency_condition",
    "A latency quantile is above a limit.",
    &[
        required(
            "above",
            Shape::Scalar(Scalar::LatencyAbove),
            "So many times what it was before the deploy, or an absolute limit.",
        ),
        optional("at_least", AT_LEAST, "With a factor: never slow below this; 200ms where it is not written."),
        default("over", WINDOW, "5m", "The window."),
        optional("for", FOR, "How long it must hold; at once where it is not written."),
    ],
);

static REPORTED: Object = object(
    "report_condition",
    "It was reported so often.",
    &[
        required("kind", Shape::Scalar(Scalar::Choice(REPORT_KINDS)), "What was reported."),
        default("at_least", REPORTS, "1", "How often."),
        default("over", duration(SHORTEST, DAY), "10m", "Within this time."),
    ],
);
