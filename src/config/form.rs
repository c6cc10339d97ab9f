//! The validated form: what the edges (probes, targets, channels, server, store) are built from. The core's part of it
//! is the [`Policy`].

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use secrecy::SecretString;

use crate::core::{
    name::{ChannelName, ServiceName},
    policy::Policy,
};

/// A whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens and who may speak.
    pub server: Server,
    /// The store's file.
    pub store: PathBuf,
    /// The history file.
    pub history: PathBuf,
    /// Where incidents' files go.
    pub evidence: Evidence,
    /// `host:port` pairs that must accept a connection, else the watchdog itself is ill. Any one of them is enough.
    pub self_check: Vec<HostPort>,
    /// Channels, in the order of [`Policy::channels`].
    pub channels: Vec<Channel>,
    /// Where to say that the loop turns.
    pub heartbeat: Option<Heartbeat>,
    /// The edges of each service, in the order of [`Policy::services`].
    pub services: Vec<Service>,
    /// The core's part.
    pub policy: Arc<Policy>,
}

/// Where it listens and who may speak.
#[derive(Debug, Clone)]
pub struct Server {
    /// API, page and metrics.
    pub listen: SocketAddr,
    /// The command line's way in.
    pub socket: PathBuf,
    /// For links in pages; without a slash at its end.
    pub external_url: String,
    /// Who may do what over TCP.
    pub tokens: Vec<Token>,
}

/// A bearer token.
#[derive(Debug, Clone)]
pub struct Token {
    /// Whose; kept with what is done by it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The token itself.
    pub token: SecretString,
}

/// What a token may do. Ordered: each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reports deploys and facts.
    Reporter,
    /// Acts.
    Operator,
}

/// Where incidents' files go, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// One folder for each incident below it.
    pub directory: PathBuf,
    /// Folders of incidents that ended longer ago are removed.
    pub keep: Duration,
}

/// A host and a port, not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A notification channel.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name.
    pub name: ChannelName,
    /// Its protocol.
    pub kind: ChannelKind,
}

/// A channel's protocol.
#[derive(Debug, Clone)]
pub enum ChannelKind {
    /// Standard Webhooks, signed.
    Webhook {
        /// Where to; may hold a secret, and is never shown beyond its host.
        url: SecretString,
        /// Signing key; `whsec_` and base64, or any text.
        secret: Option<SecretString>,
    },
}

/// Where to say that the loop turns.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// Where to; may hold a secret.
    pub url: SecretString,
    /// How often.
    pub every: Duration,
}

/// One service's edges.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// What is rolled back.
    pub target: Target,
    /// Where the live version can be asked.
    pub version: Option<VersionSource>,
    /// How each signal is taken, in the order of `ServicePolicy::signals`.
    pub signals: Vec<SignalSource>,
}

/// What is rolled back.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A directory for each version, and a symlink to the live one.
    Releases(ReleasesTarget),
    /// The user's own tools.
    Command(CommandTarget),
    /// A workload in Kubernetes.
    Kubernetes(KubernetesTarget),
    /// A service of Docker Compose.
    Compose(ComposeTarget),
}

impl Target {
    /// How long the target may take to make a version live.
    pub const fn rollout_timeout(&self) -> Duration {
        match self {
            Self::Releases(target) => target.rollout_timeout,
            Self::Command(target) => target.rollout_timeout,
            Self::Kubernetes(target) => target.rollout_timeout,
            Self::Compose(target) => target.rollout_timeout,
        }
    }

    /// Whether it runs on a platform that shows instances and what speaks against a rollback.
    pub const fn is_on_platform(&self) -> bool {
        matches!(self, Self::Kubernetes(_) | Self::Compose(_))
    }

    /// Whether a release that was rolled back from is undone once when it becomes live again.
    pub const fn blocks_known_bad(&self) -> bool {
        matches!(self, Self::Compose(ComposeTarget { block_known_bad: true, .. }))
    }
}

/// A directory for each version, and a symlink to the live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasesTarget {
    /// Holds one directory for each version.
    pub directory: PathBuf,
    /// The symlink.
    pub current: PathBuf,
    /// Makes the service run what the symlink names.
    pub restart: CommandLine,
    /// Stops it, where that can be done.
    pub stop: Option<CommandLine>,
    /// Starts it again.
    pub start: Option<CommandLine>,
    /// How long one of these commands may take.
    pub rollout_timeout: Duration,
}

/// The user's own tools. Each gets `BACKSTOP_SERVICE`, `BACKSTOP_VERSION_FROM` and `BACKSTOP_VERSION_TO` where known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTarget {
    /// Prints the live version on its first line.
    pub current: CommandLine,
    /// Prints the versions that can be gone back to, newest first, one a line.
    pub previous: CommandLine,
    /// Makes `BACKSTOP_VERSION_TO` the live one.
    pub roll_back: CommandLine,
    /// Stops traffic, where that can be done.
    pub stop: Option<CommandLine>,
    /// Restores it.
    pub start: Option<CommandLine>,
    /// How long one of these commands may take.
    pub rollout_timeout: Duration,
}

/// A workload in Kubernetes.
#[derive(Debug, Clone, PartialEq)]
pub struct KubernetesTarget {
    /// Where it is.
    pub namespace: String,
    /// What it is.
    pub workload: Workload,
    /// The Service whose selector can be changed.
    pub traffic_service: Option<String>,
    /// How traffic is stopped.
    pub stop_traffic: StopTraffic,
    /// How long a rollout may take.
    pub rollout_timeout: Duration,
    /// Where cluster and credentials are named; absent: KUBECONFIG, or the pod that the daemon runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Which context of it.
    pub context: Option<String>,
    /// Whether `ConfigMaps` that changed with a deploy go back too.
    pub restore_config: bool,
    /// `ConfigMaps` and Secrets that count as configuration; absent: all that the pods name.
    pub config_allow: Option<Vec<String>>,
    /// Most of the pods that may be deleted at once, 0 to 1.
    pub restart_at_most: f64,
    /// Whether the sync of a GitOps controller that owns it is suspended for a rollback: `gates.gitops` says so.
    pub suspends_sync: bool,
}

/// A service of Docker Compose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeTarget {
    /// Where the project is.
    pub project_directory: PathBuf,
    /// The service's name in the project.
    pub service: String,
    /// Compose files, in order, as seen from the project's directory; none: those that Compose finds by itself.
    pub files: Vec<PathBuf>,
    /// Profiles that are on.
    pub profiles: Vec<String>,
    /// A file of environment variables.
    pub env_file: Option<PathBuf>,
    /// Which engine; absent: `DOCKER_HOST`, or the machine's own.
    pub docker_host: Option<String>,
    /// How an engine behind TLS is spoken to.
    pub tls: Option<EngineTls>,
    /// The services that are stopped to stop traffic.
    pub stop_traffic: Vec<String>,
    /// Whether a release that was rolled back from is undone once when it becomes live again.
    pub block_known_bad: bool,
    /// How long a rollout may take, and each command of it.
    pub rollout_timeout: Duration,
}

/// How a Docker engine behind TLS is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTls {
    /// A PEM file of the authorities that the engine's certificate is from.
    pub ca_file: PathBuf,
    /// PEM files of the certificate that is shown to it, and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A workload's kind and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// A Deployment.
    Deployment(String),
    /// A `StatefulSet`.
    StatefulSet(String),
    /// A `DaemonSet`.
    DaemonSet(String),
}

impl Workload {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Deployment(name) | Self::StatefulSet(name) | Self::DaemonSet(name) => name,
        }
    }
}

/// How traffic is stopped in Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopTraffic {
    /// The workload is scaled to no pods.
    Scale,
    /// The Service chooses no pods.
    Selector,
}

/// A program and its arguments; no shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine(pub Vec<String>);

/// Where the live version can be asked.
#[derive(Debug, Clone)]
pub struct VersionSource {
    /// The request.
    pub http: HttpCheck,
    /// JSON pointer into the answer; empty for the whole body as text.
    pub pointer: String,
    /// How often.
    pub every: Duration,
    /// How long one sample may take.
    pub timeout: Duration,
}

/// How a signal is taken. Interval and timeout are in its `SignalPolicy`.
#[derive(Debug, Clone)]
pub enum SignalSource {
    /// One request.
    Http(HttpCheck),
    /// One connection.
    Tcp(HostPort),
    /// One run of a program: 0 passes.
    Command(CommandCheck),
    /// Counts from a Prometheus server.
    Prometheus(PrometheusSource),
    /// Counts from the service's own exposition page.
    Metrics(MetricsSource),
}

/// One HTTP request and what its answer must be.
#[derive(Debug, Clone)]
pub struct HttpCheck {
    /// Absolute, http or https; may hold a secret in its userinfo, and is shown without that.
    pub url: String,
    /// GET or HEAD or POST.
    pub method: String,
    /// Sent along; values may be secrets.
    pub headers: Vec<(String, SecretString)>,
    /// Statuses that pass; empty for 200 to 299.
    pub status: Vec<u16>,
    /// A text that the body must contain.
    pub body_contains: Option<String>,
    /// Redirects that are followed; 0 takes the first answer.
    pub redirects: u8,
    /// TLS beyond the machine's trust store.
    pub tls: TlsOptions,
}

/// TLS beyond the machine's trust store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// A PEM file of further authorities.
    pub ca_file: Option<PathBuf>,
    /// The name to verify instead of the URL's host.
    pub server_name: Option<String>,
}

/// One run of a program.
#[derive(Debug, Clone)]
pub struct CommandCheck {
    /// The program and its arguments.
    pub run: CommandLine,
    /// Where it runs.
    pub directory: Option<PathBuf>,
    /// Added to its environment; values may be secrets.
    pub environment: BTreeMap<String, SecretString>,
}

/// How Prometheus is reached.
#[derive(Debug, Clone)]
pub struct PrometheusServer {
    /// Base URL.
    pub url: String,
    /// `Authorization: Bearer`.
    pub bearer_token: Option<SecretString>,
    /// `Authorization: Basic`.
    pub basic_auth: Option<(String, SecretString)>,
    /// TLS beyond the machine's trust store.
    pub tls: TlsOptions,
}

/// Selectors of raw counter series (never with `rate()` around them: differences are taken by us).
#[derive(Debug, Clone)]
pub struct PrometheusSource {
    /// Which server.
    pub server: PrometheusServer,
    /// All requests.
    pub total: String,
    /// Those that ended in an error.
    pub errors: String,
    /// Histogram buckets.
    pub latency: Option<String>,
}

/// The service's own exposition page.
#[derive(Debug, Clone)]
pub struct MetricsSource {
    /// Where it is.
    pub http: HttpCheck,
    /// Series selectors, the same words as for Prometheus.
    pub total: String,
    /// Those that ended in an error.
    pub errors: String,
    /// Histogram buckets.
    pub latency: Option<String>,
}
