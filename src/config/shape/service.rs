//! One service.

use super::{
    COMMAND_LINE, DAY, Entries, HOUR, Items, NAME, Object, PATH, SECOND, Scalar, Shape, TEXT, choice, condition,
    database, default, duration, entries, gate, items, object, optional, probe, request, required, server, target,
    threshold, tree,
};
use crate::config::limits::{CONDITIONS_LIMIT, SIGNALS_LIMIT};

/// One service.
pub(super) static SERVICE: Object = object(
    "service",
    "A service that is watched and can be rolled back.",
    &[
        required("name", NAME, "Its name, unique."),
        required("target", Shape::Object(&target::TARGET), "What is rolled back."),
        server::MODE,
        optional("version", Shape::Object(&probe::VERSION), "Where the live version can be asked."),
        default(
            "depends_on",
            Shape::List(&DEPENDS_ON),
            "[]",
            "Other services here: theirs is the page, and a rollback here is held.",
        ),
        required("probes", Shape::Map(&PROBES), "Is the system down? Any critical one says yes."),
        optional("requests", Shape::Object(&request::REQUESTS), "Where requests, errors and latency are counted."),
        default("features", Shape::Map(&FEATURES), "{}", "Is a key feature broken?"),
        default("integrity", Shape::Map(&INTEGRITY), "{}", "Is data at risk? Each query counts what must not be."),
        optional("logs", Shape::Object(&LOGS), "Lines that tell of errors; counted, shown and kept as evidence."),
        optional("database", Shape::Object(&database::DATABASE), "The database behind the service."),
        default("thresholds", Shape::Object(&threshold::THRESHOLDS), "{}", "When something counts as wrong."),
        default("conditions", Shape::Map(&CONDITIONS), "{}", "Own conditions, to be asked in the decision tree."),
        optional(
            "decision_tree",
            Shape::List(&tree::QUESTIONS),
            "Asked from the top; the runbook's own tree where it is not written.",
        ),
        default("consider", Shape::Object(&tree::CONSIDER), "{}", "What follows from a verdict of consider."),
        default(
            "hold_back_when",
            Shape::List(&HOLD_BACK_WHEN),
            "[minor_ui, non_critical_feature, under_1_percent, workaround_available]",
            "Reported facts that turn consider into monitor.",
        ),
        default("reports", Shape::Object(&REPORTS), "{}", "Facts that people and other systems report."),
        default("gates", Shape::Object(&gate::GATES), "{}", "What must hold before a rollback."),
        default("verify", Shape::Object(&gate::VERIFY), "{}", "How a rollback is proved."),
        default(
            "maintenance",
            Shape::List(&MAINTENANCE),
            "[]",
            "Times in which it is watched and told, and nothing is done.",
        ),
    ],
);

static DEPENDS_ON: Items = items(NAME, 0);
static PROBES: Entries =
    Entries { key: Scalar::Name, value: Shape::Object(&probe::PROBE), at_least: 1, at_most: SIGNALS_LIMIT };
static FEATURES: Entries =
    Entries { key: Scalar::Name, value: Shape::Object(&probe::FEATURE), at_least: 0, at_most: SIGNALS_LIMIT };
static CONDITIONS: Entries = Entries {
    key: Scalar::Name,
    value: Shape::Either(&condition::CONDITION_OR_NAME),
    at_least: 0,
    at_most: CONDITIONS_LIMIT,
};
static HOLD_BACK_WHEN: Items = items(
    Shape::Scalar(Scalar::Choice(&["minor_ui", "non_critical_feature", "under_1_percent", "workaround_available"])),
    0,
);

static REPORTS: Object = object(
    "reports",
    "Facts that people and other systems report.",
    &[default(
        "expire",
        duration(SECOND, 30 * DAY),
        "1h",
        "A reported fact counts for so long, belongs to its incident, and can be taken back.",
    )],
);

static INTEGRITY: Entries = entries(Shape::Object(&INTEGRITY_CHECK));
static INTEGRITY_CHECK: Object = choice(
    "integrity_check",
    "A query that counts what must not be.",
    &["postgres"],
    &[
        optional("postgres", Shape::Object(&POSTGRES_QUERY), "By the service's PostgreSQL database."),
        default("every", duration(SECOND, DAY), "60s", "How often it is asked."),
        default("timeout", duration(100, HOUR), "30s", "How long one answer may take."),
    ],
);
static POSTGRES_QUERY: Object =
    object("postgres_query", "A query that answers with one number.", &[required("query", TEXT, "The SQL.")]);

static LOGS: Object = Object {
    name: "logs",
    about: "Lines that tell of errors.",
    fields: &[
        required("errors", Shape::Scalar(Scalar::Regex), "What such a line looks like."),
        optional("file", PATH, "A file, where the target has no logs of its own."),
        optional("command", COMMAND_LINE, "A command that prints lines, where the target has no logs of its own."),
    ],
    one_of: super::OneOf::AtMost(&["file", "command"]),
};

static MAINTENANCE: Items = items(Shape::Object(&MAINTENANCE_TIME), 0);
static MAINTENANCE_TIME: Object = object(
    "maintenance_time",
    "A time in which nothing is done.",
    &[
        required("from", Shape::Scalar(Scalar::Moment), "Its beginning."),
        required("to", Shape::Scalar(Scalar::Moment), "Its end."),
        required("why", TEXT, "Why; shown wherever it holds something back."),
    ],
);
