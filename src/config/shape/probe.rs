//! Probes, features, and the version's endpoint.

use super::{
    COMMAND_LINE, DAY, Entries, FLAG, Field, HOST_PORT, HOUR, Items, Object, OneOf, PATH, SECRET, SHORTEST, Scalar,
    Shape, TEXT, URL, choice, default, duration, items, object, optional, required, server,
};
use crate::config::limits::SMALL_LIST_LIMIT;

const HTTP: Field = optional("http", HTTP_OR_URL, "One request; a URL alone wants a status from 200 to 299.");
const COMMAND_CHECK: Field = optional("command", Shape::Object(&COMMAND), "One run of a program; 0 passes.");
const TCP: Field = optional("tcp", HOST_PORT, "One connection, as in `db.example.com:5432`.");

/// An availability probe.
pub(super) static PROBE: Object = choice(
    "probe",
    "An availability probe.",
    &["http", "tcp", "command"],
    &[
        HTTP,
        TCP,
        COMMAND_CHECK,
        default("every", duration(100, HOUR), "2s", "How often it is sampled."),
        default("timeout", duration(10, HOUR), "1s", "How long one sample may take; not longer than `every`."),
        default("critical", FLAG, "true", "Whether its failure takes the system for down."),
    ],
);

/// A feature check.
pub(super) static FEATURE: Object = choice(
    "feature",
    "A check of a feature.",
    &["http", "tcp", "command"],
    &[
        HTTP,
        TCP,
        COMMAND_CHECK,
        default("every", duration(SHORTEST, DAY), "60s", "How often it is checked."),
        default("timeout", duration(10, DAY), "30s", "How long one check may take; not longer than `every`."),
        default("failures", Shape::Scalar(Scalar::Whole(1, 1_000)), "2", "Failures in a row that count as broken."),
        default("critical", FLAG, "true", "Whether its failure can lead to a rollback."),
    ],
);

/// The version's endpoint.
pub(super) static VERSION: Object = object(
    "version",
    "Where the live version can be asked.",
    &[
        required("http", HTTP_OR_URL, "The request."),
        default(
            "pointer",
            Shape::Scalar(Scalar::Pointer),
            "\"\"",
            "JSON pointer into the answer; empty for the whole body as text.",
        ),
        default("every", duration(SHORTEST, HOUR), "5s", "How often it is asked."),
        default("timeout", duration(10, HOUR), "2s", "How long one answer may take; not longer than `every`."),
    ],
);

/// A request, or its URL alone.
pub(super) const HTTP_OR_URL: Shape = Shape::Either(&[URL, Shape::Object(&HTTP_CHECK)]);

static HTTP_CHECK: Object = object(
    "http_check",
    "One request, and what its answer must be.",
    &[
        required("url", URL, "Absolute, http or https."),
        default("method", Shape::Scalar(Scalar::Choice(&["GET", "HEAD", "POST"])), "GET", "The method."),
        default("headers", Shape::Map(&HEADERS), "{}", "Sent along."),
        optional("status", STATUS, "The status that passes, or a list; 200 to 299 where it is not written."),
        optional("body", TEXT, "A text that the body must contain."),
        default("redirects", Shape::Scalar(Scalar::Whole(0, 10)), "0", "Redirects that are followed."),
        default("tls", Shape::Object(&server::TLS), "{}", "TLS beyond the machine's trust store."),
    ],
);

/// Headers of a request.
pub(super) static HEADERS: Entries =
    Entries { key: Scalar::HeaderName, value: SECRET, at_least: 0, at_most: SMALL_LIST_LIMIT };
const ONE_STATUS: Shape = Shape::Scalar(Scalar::Whole(100, 599));
const STATUS: Shape = Shape::Either(&[ONE_STATUS, Shape::List(&STATUSES)]);
static STATUSES: Items = items(ONE_STATUS, 1);

static COMMAND: Object = Object {
    name: "command_check",
    about: "One run of a program; 0 passes.",
    fields: &[
        required("run", COMMAND_LINE, "The program and its arguments; no shell."),
        optional("directory", PATH, "Where it runs."),
        default("environment", Shape::Map(&ENVIRONMENT), "{}", "Added to its environment."),
    ],
    one_of: OneOf::Nothing,
};
static ENVIRONMENT: Entries =
    Entries { key: Scalar::EnvironmentName, value: SECRET, at_least: 0, at_most: SMALL_LIST_LIMIT };
