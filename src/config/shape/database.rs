//! The database behind a service.

use super::{
    COMMAND_LINE, FLAG, Items, Object, PATH, Scalar, Shape, TEXT, choice, default, items, object, optional, required,
};

/// The database behind a service.
pub(super) static DATABASE: Object = object(
    "database",
    "The database behind the service.",
    &[
        required(
            "url",
            Shape::Scalar(Scalar::OtherUrl(&["postgres", "postgresql"], "postgres://user@db.example.com/app")),
            "How it is reached.",
        ),
        optional(
            "migrations",
            Shape::Scalar(Scalar::RelativePath),
            "Where NNN_description.sql and its _rollback.sql are.",
        ),
        optional("ledger", Shape::Object(&LEDGER), "Where the database keeps which migrations ran."),
        default("unattended", FLAG, "false", "Whether the full plan runs without asking, where every gate says yes."),
        default("stop_writes_unattended", FLAG, "false", "Likewise for the plan stop_writes."),
        default("count_rows", Shape::List(&TABLES), "[]", "Tables counted before and after a rollback."),
        optional("scope", Shape::Object(&SCOPE), "How far a corruption reaches."),
        optional("backup", Shape::Object(&BACKUP), "Where backups are."),
        optional("point_in_time_recovery", COMMAND_LINE, "Restores to a moment; run only after a human approves."),
    ],
);

static TABLES: Items = items(TEXT, 0);

static LEDGER: Object = choice(
    "ledger",
    "Where the database keeps which migrations ran.",
    &["table", "preset"],
    &[
        optional("table", TEXT, "The table's name."),
        optional(
            "preset",
            Shape::Scalar(Scalar::Choice(&["flyway", "sqlx", "diesel", "alembic", "rails", "golang_migrate"])),
            "A known tool's own table.",
        ),
    ],
);

static SCOPE: Object = object(
    "scope",
    "How far a corruption reaches.",
    &[required("since_deploy", TEXT, "A query that counts what changed since $1.")],
);

static BACKUP: Object =
    object("backup", "Where backups are.", &[required("before_deploy", PATH, "The one taken before the deploy.")]);
