//! The top of the file: server, store, history, evidence, self-check.

use super::{
    DAY, DAY as ONE_DAY, Field, HOST_PORT, HOUR, Items, NAME, Object, PATH, SECOND, SECRET, SECRET_URL, Scalar, Shape,
    TEXT, URL, default, duration, items, notify, object, optional, request, required, service,
};
use crate::config::limits::{CHANNELS_LIMIT, SERVICES_LIMIT};

/// Where the socket is if the file does not say it.
pub(crate) const DEFAULT_SOCKET: &str = "/run/backstop/backstop.sock";

/// The whole file.
pub(crate) static ROOT: Object = object(
    "configuration",
    "What Backstop watches, whom it tells, and what it may do.",
    &[
        default("server", Shape::Object(&SERVER), "{}", "Where it listens and who may speak."),
        default("store", Shape::Object(&STORE), "{}", "The embedded database of incidents, deploys and pages."),
        default("history", Shape::Object(&HISTORY), "{}", "The file of past rollbacks."),
        default("evidence", Shape::Object(&EVIDENCE), "{}", "The files kept of each incident."),
        optional(
            "prometheus",
            Shape::Object(&request::PROMETHEUS_SERVER),
            "The Prometheus server of every service that names none.",
        ),
        default(
            "self_check",
            Shape::Object(&SELF_CHECK),
            "{}",
            "Is it us? While this fails, every sample is missed and nothing is rolled back.",
        ),
        default("notify", Shape::Object(&NOTIFY), "{}", "Channels that pages go to, and the heartbeat."),
        MODE,
        default("severities", Shape::Object(&notify::SEVERITIES), "{}", "Who hears of what, how often, until when."),
        default(
            "escalation",
            Shape::Object(&notify::ESCALATION),
            "{}",
            "How grave each finding is, and what its page asks for.",
        ),
        required("services", Shape::List(&SERVICES), "What is watched."),
    ],
);

/// Whether Backstop acts by itself; at the top and in each service.
pub(super) const MODE: Field = default(
    "mode",
    Shape::Scalar(Scalar::Choice(&["act", "ask", "observe"])),
    "act",
    "act: roll back without asking; ask: every rollback waits for a human; observe: only tell. A service may set its own.",
);

static SERVICES: Items =
    Items { item: Shape::Object(&service::SERVICE), at_least: 1, at_most: SERVICES_LIMIT, command_line: false };

static SERVER: Object = object(
    "server",
    "Where it listens and who may speak.",
    &[
        default("listen", Shape::Scalar(Scalar::SocketAddress), "127.0.0.1:9464", "Address of the API and /metrics."),
        default("socket", PATH, DEFAULT_SOCKET, "The command line's way in."),
        optional("external_url", URL, "For links in pages; the address of `listen` where it is not written."),
        default(
            "tokens",
            Shape::List(&TOKENS),
            "[]",
            "Who may do what over the network; without tokens it only reads.",
        ),
    ],
);

static TOKENS: Items = items(Shape::Object(&TOKEN), 0);

static TOKEN: Object = object(
    "token",
    "A bearer token and what it may do.",
    &[
        required("name", NAME, "Whose it is; kept with what is done by it."),
        required(
            "role",
            Shape::Scalar(Scalar::Choice(&["viewer", "reporter", "operator"])),
            "viewer reads; reporter also reports facts and deploys; operator also acts.",
        ),
        required("token", SECRET, "The token itself."),
    ],
);

static STORE: Object =
    object("store", "The embedded database.", &[default("path", PATH, "/var/lib/backstop/backstop.db", "Its file.")]);

static HISTORY: Object = object(
    "history",
    "The file of past rollbacks.",
    &[default(
        "file",
        PATH,
        "/var/lib/backstop/rollback-history.json",
        "In the runbook's own format; an existing file is taken over, not overwritten.",
    )],
);

static EVIDENCE: Object = object(
    "evidence",
    "The files kept of each incident.",
    &[
        default("directory", PATH, "/var/lib/backstop/evidence", "One folder for each incident below it."),
        default(
            "keep",
            duration(HOUR, 3_660 * ONE_DAY),
            "90d",
            "Folders of incidents that ended longer ago are removed.",
        ),
    ],
);

static SELF_CHECK: Object = object(
    "self_check",
    "Is it us?",
    &[default(
        "tcp",
        Shape::List(&SELF_CHECK_TCP),
        "[]",
        "Hosts and ports of which at least one must accept a connection.",
    )],
);

static SELF_CHECK_TCP: Items = items(HOST_PORT, 0);

static NOTIFY: Object = object(
    "notify",
    "Channels and the heartbeat.",
    &[
        default("channels", Shape::Map(&CHANNELS), "{}", "Where pages go, by a name for each."),
        optional(
            "heartbeat",
            Shape::Object(&HEARTBEAT),
            "Told as long as the watching goes on; it stops when that stops.",
        ),
    ],
);

static CHANNELS: super::Entries =
    super::Entries { key: Scalar::Name, value: Shape::Object(&notify::CHANNEL), at_least: 0, at_most: CHANNELS_LIMIT };

static HEARTBEAT: Object = object(
    "heartbeat",
    "A dead man's switch.",
    &[required("url", SECRET_URL, "Where a POST goes."), default("every", duration(SECOND, DAY), "60s", "How often.")],
);

/// TLS beyond the machine's trust store.
pub(super) static TLS: Object = object(
    "tls",
    "TLS beyond the machine's trust store.",
    &[
        optional("ca_file", PATH, "A PEM file of further authorities."),
        optional("server_name", TEXT, "The name to verify instead of the URL's host."),
    ],
);
