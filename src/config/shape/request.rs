//! Where requests, errors and latency are counted.

use super::{
    Field, HOUR, Object, SECRET, SHORTEST, Scalar, Shape, TEXT, URL, choice, default, duration, object, optional,
    probe, required, server,
};

const TOTAL: Field =
    required("total", Shape::Scalar(Scalar::Selector), "The counter of all requests: bare series, without functions.");
const ERRORS: Field =
    required("errors", Shape::Scalar(Scalar::Selector), "The counter of those that ended in an error.");
const LATENCY: Field =
    optional("latency", Shape::Scalar(Scalar::Selector), "The buckets of their durations, in seconds.");
const BEARER_TOKEN: Field = optional("bearer_token", SECRET, "Sent as `Authorization: Bearer`.");
const BASIC_AUTH: Field = optional("basic_auth", Shape::Object(&BASIC), "Sent as `Authorization: Basic`.");
const TLS: Field = default("tls", Shape::Object(&server::TLS), "{}", "TLS beyond the machine's trust store.");

/// How a Prometheus server is reached.
pub(super) static PROMETHEUS_SERVER: Object = Object {
    name: "prometheus_server",
    about: "How a Prometheus server is reached.",
    fields: &[required("url", URL, "Its base URL."), BEARER_TOKEN, BASIC_AUTH, TLS],
    one_of: super::OneOf::AtMost(&["bearer_token", "basic_auth"]),
};

static BASIC: Object = object(
    "basic_auth",
    "A user and a password.",
    &[required("username", TEXT, "The user."), required("password", SECRET, "The password.")],
);

/// Where requests, errors and latency are counted.
pub(super) static REQUESTS: Object = choice(
    "requests",
    "Where requests, errors and latency are counted.",
    &["prometheus", "metrics"],
    &[
        optional("prometheus", Shape::Object(&PROMETHEUS), "By a Prometheus server."),
        optional(
            "metrics",
            Shape::Object(&METRICS),
            "On the service's own exposition page; no Prometheus server needed.",
        ),
        default("every", duration(SHORTEST, HOUR), "5s", "How often they are read."),
        default("timeout", duration(10, HOUR), "4s", "How long one answer may take; not longer than `every`."),
    ],
);

static PROMETHEUS: Object = Object {
    name: "prometheus_requests",
    about: "Counts from a Prometheus server: the one at the top of the file, or the one named here.",
    fields: &[
        TOTAL,
        ERRORS,
        LATENCY,
        optional("url", URL, "Another server than the one at the top of the file."),
        BEARER_TOKEN,
        BASIC_AUTH,
        TLS,
    ],
    one_of: super::OneOf::AtMost(&["bearer_token", "basic_auth"]),
};

static METRICS: Object = object(
    "metrics_requests",
    "Counts from the service's own exposition page.",
    &[
        required("url", URL, "Where it is."),
        default("headers", Shape::Map(&probe::HEADERS), "{}", "Sent along."),
        TLS,
        TOTAL,
        ERRORS,
        LATENCY,
    ],
);
