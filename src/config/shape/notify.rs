//! Channels, severities and the escalation table.

use super::{
    DAY, Field, Items, MINUTE, NAME, Object, SECOND, SECRET, SECRET_URL, Scalar, Shape, TEXT, choice, default,
    duration, items, object, optional, required,
};

/// A channel.
pub(super) static CHANNEL: Object = choice(
    "channel",
    "Where pages go.",
    &["webhook", "pagerduty", "slack", "email"],
    &[
        optional("webhook", Shape::Object(&WEBHOOK), "Any receiver of signed Standard Webhooks."),
        optional("pagerduty", Shape::Object(&PAGERDUTY), "PagerDuty's events."),
        optional("slack", Shape::Object(&SLACK), "A Slack channel."),
        optional("email", Shape::Object(&EMAIL), "Mail."),
    ],
);

static WEBHOOK: Object = object(
    "webhook",
    "A receiver of Standard Webhooks.",
    &[
        required("url", SECRET_URL, "Where events are posted."),
        optional("secret", SECRET, "The signing key: `whsec_` and base64, or any text."),
    ],
);

static PAGERDUTY: Object =
    object("pagerduty", "PagerDuty's events.", &[required("routing_key", SECRET, "The integration's routing key.")]);

static SLACK: Object = object("slack", "A Slack channel.", &[required("url", SECRET_URL, "The incoming webhook.")]);

static EMAIL: Object = object(
    "email",
    "Mail.",
    &[
        required(
            "smtp",
            Shape::Scalar(Scalar::OtherUrl(&["smtp", "smtps"], "smtps://mail.example.com")),
            "The server; user and password may stand in it.",
        ),
        required("from", TEXT, "The sender's address."),
        required("to", Shape::List(&ADDRESSES), "The receivers' addresses."),
    ],
);

static ADDRESSES: Items = items(TEXT, 1);

/// The severities.
pub(super) static SEVERITIES: Object = object(
    "severities",
    "Who hears of what, how often, until when.",
    &[
        default("S1", Shape::Object(&SEVERITY_1), "{}", "The gravest."),
        default("S2", Shape::Object(&SEVERITY_2), "{}", "Grave."),
        default("S3", Shape::Object(&SEVERITY_3), "{}", "To be known."),
    ],
);

const NOTIFY: Field = optional(
    "notify",
    Shape::List(&CHANNEL_NAMES),
    "Channels, all of them at once; every channel where it is not written.",
);
const THEN: Field = optional("then", Shape::List(&STAGES), "Who hears of it next while nobody acknowledges.");
const QUIET: Field = optional("quiet", Shape::List(&QUIET_TIMES), "Times of day at which this severity waits.");
const UNTIL: Shape = Shape::Scalar(Scalar::Choice(&["acknowledged"]));
const REPEAT: Shape = duration(SECOND, 7 * DAY);
const ACKNOWLEDGE_EXPIRES: Shape = duration(SECOND, 7 * DAY);
const REPEAT_ABOUT: &str = "The page is sent again so often.";
const UNTIL_ABOUT: &str = "What ends the repetition, besides the end of the incident.";
const EXPIRES_ABOUT: &str = "How long an acknowledgement silences the repetition.";

static SEVERITY_1: Object = object(
    "severity_1",
    "The gravest severity.",
    &[
        NOTIFY,
        default("repeat", REPEAT, "5m", REPEAT_ABOUT),
        default("until", UNTIL, "acknowledged", UNTIL_ABOUT),
        default("acknowledge_expires", ACKNOWLEDGE_EXPIRES, "30m", EXPIRES_ABOUT),
        THEN,
        QUIET,
    ],
);
static SEVERITY_2: Object = object(
    "severity_2",
    "A grave severity.",
    &[
        NOTIFY,
        default("repeat", REPEAT, "15m", REPEAT_ABOUT),
        default("until", UNTIL, "acknowledged", UNTIL_ABOUT),
        default("acknowledge_expires", ACKNOWLEDGE_EXPIRES, "1h", EXPIRES_ABOUT),
        THEN,
        QUIET,
    ],
);
static SEVERITY_3: Object = object(
    "severity_3",
    "The mildest severity; told once where `repeat` is not written.",
    &[
        NOTIFY,
        optional("repeat", REPEAT, REPEAT_ABOUT),
        optional("until", UNTIL, UNTIL_ABOUT),
        optional("acknowledge_expires", ACKNOWLEDGE_EXPIRES, EXPIRES_ABOUT),
        THEN,
        QUIET,
    ],
);

static CHANNEL_NAMES: Items = items(NAME, 1);
static STAGES: Items = items(Shape::Object(&STAGE), 1);
static STAGE: Object = object(
    "escalation_stage",
    "Who hears of it next.",
    &[
        required("after", duration(MINUTE, 7 * DAY), "Without an acknowledgement for so long."),
        required("notify", Shape::List(&CHANNEL_NAMES), "Channels."),
    ],
);
static QUIET_TIMES: Items = items(Shape::Object(&QUIET_TIME), 1);
static QUIET_TIME: Object = object(
    "quiet_time",
    "A time of day at which a severity waits.",
    &[
        required("from", Shape::Scalar(Scalar::TimeOfDay), "Its beginning."),
        required("to", Shape::Scalar(Scalar::TimeOfDay), "Its end; the next day if it is earlier than `from`."),
    ],
);

const SEVERITY_NAME: Shape = Shape::Scalar(Scalar::Choice(&["S1", "S2", "S3"]));

macro_rules! escalation {
    ($($static:ident $name:literal $severity:literal $action:literal;)*) => {
        $(static $static: Object = object(concat!("finding_", $name), "A finding's severity, and what its page asks for.", &[
            default("severity", SEVERITY_NAME, $severity, "How grave it is."),
            default("action", TEXT, $action, "What its page asks for."),
        ]);)*
        /// The escalation table. The decoder's tests hold it against the core's own table of findings.
        pub(super) static ESCALATION: Object = object("escalation", "How grave each finding is, and what its page asks for.", &[
            $(default($name, Shape::Object(&$static), "{}", concat!($severity, " where it is not written: ", $action)),)*
            default("rollback_took_too_long", Shape::Object(&TOOK_TOO_LONG), "{}", "S3 where it is not written: Post-mortem. Improve procedure."),
        ]);
    };
}

escalation! {
    ROLLBACK_FAILED "rollback_failed" "S1" "All hands. Manual intervention.";
    ISSUE_PERSISTS "rollback_succeeded_issue_persists" "S2" "Deeper investigation. May need older version.";
    UNVERIFIED "rollback_unverified" "S2" "Rolled back, but the signals that would prove it are missing.";
    DATA_LOSS "data_loss_during_rollback" "S1" "Restore from backup. Forensic analysis.";
    REFUSED "rollback_refused" "S1" "A rollback was due and a gate held it. Decide by hand.";
    NO_DEPLOY "no_deploy_to_blame" "S1" "Broken, and no deploy explains it. A rollback would not help.";
    APPROVAL "approval_requested" "S2" "Approve or deny the rollback.";
    DATA_CORRUPTION "data_corruption" "S1" "Writes are stopped or about to be. Choose the way back.";
    DATABASE_DOWN "database_down" "S1" "The database, not the release.";
    SIGNAL_LOST "signal_lost" "S2" "The watchdog is blind here. Restore the signal.";
    OBSERVER "observer_impaired" "S2" "The watchdog's own network or host is ill.";
    STORE_FAILED "store_failed" "S1" "The journal cannot be written: watching goes on, acting stopped.";
    SHARED_CAUSE "shared_cause" "S1" "Several services at once: look for what they share first.";
    KNOWN_BAD "known_bad_deployed" "S2" "A version that was rolled back is live again.";
    STUCK "step_stuck" "S1" "A step can neither be finished nor undone.";
    NOTHING "nothing_to_go_back_to" "S3" "Mark a release good, or let one soak.";
    CERTIFICATE "certificate_expiring" "S3" "Renew the certificate; once it has expired, every client is turned away.";
    SYNC_SUSPENDED "sync_suspended" "S2" "Take the release out of Git: until then its controller's sync stays off.";
    SYNC_NOT_HELD "sync_not_held" "S1" "Somebody turned the suspended sync on again, and Git puts the release back. Take it out of Git.";
    UNDELIVERED "page_undelivered" "S2" "A page reached nobody by its own channel.";
}

static TOOK_TOO_LONG: Object = object(
    "finding_rollback_took_too_long",
    "A finding's severity, and what its page asks for.",
    &[
        default("severity", SEVERITY_NAME, "S3", "How grave it is."),
        default("action", TEXT, "Post-mortem. Improve procedure.", "What its page asks for."),
        default("over", duration(SECOND, DAY), "15m", "From the plan's start to its proof, longer than this."),
    ],
);
