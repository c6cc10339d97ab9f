//! What is rolled back.

use super::{
    COMMAND_LINE, FLAG, Field, HOUR, Items, Object, OneOf, PATH, SECOND, Scalar, Shape, TEXT, choice, default,
    duration, items, object, optional, required,
};

/// What is rolled back.
pub(super) static TARGET: Object = choice(
    "target",
    "What is rolled back.",
    &["kubernetes", "compose", "releases", "command"],
    &[
        optional("kubernetes", Shape::Object(&KUBERNETES), "A workload in Kubernetes."),
        optional("compose", Shape::Object(&COMPOSE), "A service of Docker Compose."),
        optional("releases", Shape::Object(&RELEASES), "A directory for each version, and a symlink to the live one."),
        optional("command", Shape::Object(&COMMAND), "Your own tools."),
    ],
);

const ROLLOUT_TIMEOUT: Field = default(
    "rollout_timeout",
    duration(SECOND, 6 * HOUR),
    "120s",
    "How long a rollout may take, and each command of it.",
);

static KUBERNETES: Object = choice(
    "kubernetes_target",
    "A workload in Kubernetes.",
    &["deployment", "statefulset", "daemonset"],
    &[
        required("namespace", TEXT, "Its namespace."),
        optional("deployment", TEXT, "The Deployment's name."),
        optional("statefulset", TEXT, "The StatefulSet's name."),
        optional("daemonset", TEXT, "The DaemonSet's name."),
        optional("traffic_service", TEXT, "The Service whose selector can be changed to stop traffic."),
        ROLLOUT_TIMEOUT,
        default(
            "stop_traffic",
            Shape::Scalar(Scalar::Choice(&["scale", "selector"])),
            "scale",
            "How traffic is stopped.",
        ),
        optional("kubeconfig", PATH, "Where the cluster and its credentials are named."),
        optional("context", TEXT, "Which context of the kubeconfig."),
        default("restore_config", FLAG, "false", "Whether ConfigMaps that changed with a deploy go back with it."),
        optional(
            "config_allow",
            Shape::List(&CONFIG_NAMES),
            "The ConfigMaps and Secrets that are part of a release; absent: all that the pods name; an empty list: none.",
        ),
        default(
            "restart_at_most",
            Shape::Scalar(Scalar::Percent(0.0, 100.1)),
            "30%",
            "Most of the pods that may be deleted at once.",
        ),
    ],
);
static CONFIG_NAMES: Items = items(TEXT, 0);

static COMPOSE: Object = object(
    "compose_target",
    "A service of Docker Compose.",
    &[
        required("project_directory", PATH, "Where the project is."),
        required("service", TEXT, "The service's name in the project."),
        optional("files", Shape::List(&FILES), "Compose files, in order."),
        optional("profiles", Shape::List(&PROFILES), "Profiles that are on."),
        optional("env_file", PATH, "A file of environment variables."),
        optional(
            "docker_host",
            Shape::Scalar(Scalar::OtherUrl(&["unix", "tcp", "http", "https"], "unix:///run/user/1000/docker.sock")),
            "Another Docker engine; absent: DOCKER_HOST, or the machine's own.",
        ),
        optional("tls", Shape::Object(&ENGINE_TLS), "How an engine behind TLS is spoken to."),
        optional(
            "stop_traffic",
            Shape::List(&SERVICES),
            "Services of the project that are stopped to stop traffic; absent: the service itself.",
        ),
        default("block_known_bad", FLAG, "true", "Whether a version that was rolled back is kept from starting again."),
        ROLLOUT_TIMEOUT,
    ],
);
static ENGINE_TLS: Object = object(
    "engine_tls",
    "How an engine behind TLS is spoken to.",
    &[
        required("ca_file", PATH, "A PEM file of the authorities that the engine's certificate is from."),
        optional("cert_file", PATH, "A PEM file of the certificate that is shown to it."),
        optional("key_file", PATH, "That one's key."),
    ],
);
static SERVICES: Items = items(TEXT, 1);
static PROFILES: Items = items(TEXT, 1);
static FILES: Items = items(Shape::Scalar(Scalar::RelativePath), 1);

static RELEASES: Object = object(
    "releases_target",
    "A directory for each version, and a symlink to the live one.",
    &[
        required("directory", PATH, "Holds one directory for each version."),
        required("current", PATH, "The symlink to the live one."),
        required("restart", COMMAND_LINE, "Makes the service run what the symlink names."),
        optional("stop", COMMAND_LINE, "Stops the service."),
        optional("start", COMMAND_LINE, "Starts it again."),
        ROLLOUT_TIMEOUT,
    ],
);

static COMMAND: Object = Object {
    name: "command_target",
    about: "Your own tools. Each gets BACKSTOP_SERVICE, BACKSTOP_VERSION_FROM and BACKSTOP_VERSION_TO where known.",
    fields: &[
        required("current", COMMAND_LINE, "Prints the live version on its first line."),
        required("previous", COMMAND_LINE, "Prints the versions that can be gone back to, newest first, one a line."),
        required("roll_back", COMMAND_LINE, "Makes BACKSTOP_VERSION_TO the live one."),
        optional("stop", COMMAND_LINE, "Stops traffic."),
        optional("start", COMMAND_LINE, "Restores it."),
        ROLLOUT_TIMEOUT,
    ],
    one_of: OneOf::Nothing,
};
