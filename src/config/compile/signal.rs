//! Probes, features, requests and the version: how each is taken, and how often.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::{
    super::{
        decode::{At, shown_key},
        value,
    },
    Node, Sink, View, command_line, path, program_is_here, secret, shown_duration,
};
use crate::{
    config::{
        form::{
            CommandCheck, CommandLine, HostPort, HttpCheck, MetricsSource, PrometheusServer, PrometheusSource,
            SignalSource, TlsOptions, VersionSource,
        },
        limits::SIGNALS_LIMIT,
        node::{Key, Value},
    },
    core::{
        name::{SignalIndex, SignalName},
        policy::{SignalKind, SignalPolicy},
    },
};

/// The name of the request source among the signals.
const REQUESTS: &str = "requests";

/// A service's signals, and what conditions must know of them.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) policies: Vec<SignalPolicy>,
    pub(super) sources: Vec<SignalSource>,
    /// By signal: failures in a row of a feature.
    pub(super) failures: Vec<Option<u32>>,
    /// Where requests are counted, if anywhere, and how often.
    pub(super) requests: Option<(SignalIndex, Option<At<Duration>>)>,
    /// Whether the request source has a histogram.
    pub(super) latency: bool,
    /// The shortest interval of a probe, if all are known.
    pub(super) shortest_probe: Option<At<Duration>>,
}

impl Signals {
    /// The signals of a kind: their names and places.
    pub(super) fn named(&self, wanted: impl Fn(SignalKind) -> bool) -> impl Iterator<Item = (&str, SignalIndex)> {
        let all = self.policies.iter().enumerate().filter(move |(_, policy)| wanted(policy.kind));
        all.map(|(place, policy)| (policy.name.as_str(), index(place)))
    }

    fn push(&mut self, name: &str, kind: SignalKind, times: &Times, source: SignalSource, failures: Option<u32>) {
        let (every, timeout) = (times.every.as_ref().map_or(Duration::ZERO, |every| every.value), times.timeout);
        self.policies.push(SignalPolicy { name: SignalName::from(name), kind, every, timeout });
        self.sources.push(source);
        self.failures.push(failures);
    }
}

fn index(place: usize) -> SignalIndex {
    SignalIndex(u16::try_from(place).expect("signals are bounded"))
}

/// How often, and how long one sample may take.
struct Times {
    every: Option<At<Duration>>,
    timeout: Duration,
}

/// A sample never overlaps the next. A default timeout gives way to a shorter interval; a written one is a mistake.
fn times(view: &View<'_>, sink: &mut Sink) -> Times {
    let every = view.duration("every");
    let timeout = view.duration("timeout");
    let mut allowed = timeout.as_ref().map(|timeout| timeout.value).unwrap_or_default();
    if let (Some(every), Some(timeout)) = (&every, &timeout)
        && timeout.value > every.value
    {
        allowed = every.value;
        if timeout.written {
            let message = format!(
                "{}: {} is longer than `every`, {}",
                view.path_of("timeout"),
                shown_duration(timeout),
                shown_duration(every)
            );
            sink.error(&timeout.span, message, "one sample never overlaps the next: shorten it, or lengthen `every`");
        }
    }
    Times { every, timeout: allowed }
}

/// Compiles the signals of a service.
pub(super) fn signals(view: &View<'_>, root: &View<'_>, sink: &mut Sink) -> Signals {
    let mut signals = Signals::default();
    probes(view, &mut signals, sink);
    features(view, &mut signals, sink);
    requests(view, root, &mut signals, sink);
    if signals.policies.len() > SIGNALS_LIMIT {
        let message = format!("{}: more than {SIGNALS_LIMIT} probes and features", view.path);
        sink.error(&view.key_span("features"), message, "leave some out, or make two services of it");
        // What follows counts places in 16 bits.
        signals.policies.truncate(SIGNALS_LIMIT);
        signals.sources.truncate(SIGNALS_LIMIT);
        signals.failures.truncate(SIGNALS_LIMIT);
        signals.requests = None;
    }
    signals
}

fn probes(view: &View<'_>, signals: &mut Signals, sink: &mut Sink) {
    let mut critical_ones = 0;
    for (key, node) in view.map("probes") {
        reserved(view, key, "probes", sink);
        let probe =
            View::of(node, view.shape("probes"), &key.span, view.path_of(&format!("probes.{}", shown_key(&key.name))));
        let times = times(&probe, sink);
        // A flag that could not be read is told already; it counts as critical, so that nothing more is told.
        let critical = probe.flag("critical").is_none_or(|critical| critical.value);
        critical_ones += usize::from(critical);
        if let Some(every) = &times.every
            && signals.shortest_probe.as_ref().is_none_or(|shortest| every.value < shortest.value)
        {
            signals.shortest_probe = Some(every.clone());
        }
        signals.push(&key.name, SignalKind::Probe { critical }, &times, check(&probe, sink), None);
    }
    if critical_ones == 0 && !view.map("probes").is_empty() {
        let message =
            format!("{}: no probe is critical, so nothing could tell that the system is down", view.path_of("probes"));
        sink.error(&view.key_span("probes"), message, "leave `critical: false` out of at least one");
    }
}

fn features(view: &View<'_>, signals: &mut Signals, sink: &mut Sink) {
    for (key, node) in view.map("features") {
        reserved(view, key, "features", sink);
        if let Some((probe, _)) = view.map("probes").iter().find(|(probe, _)| probe.name == key.name) {
            let line = sink.source().line(probe.span.start);
            let message = format!("{}.{}: a probe has the same name", view.path_of("features"), shown_key(&key.name));
            sink.error(&key.span, message, format!("the probe is on line {line}; give each its own name"));
        }
        let feature = View::of(
            node,
            view.shape("features"),
            &key.span,
            view.path_of(&format!("features.{}", shown_key(&key.name))),
        );
        let times = times(&feature, sink);
        let critical = feature.flag("critical").is_none_or(|critical| critical.value);
        let failures = feature.whole("failures").map_or(1, |failures| failures.value);
        signals.push(&key.name, SignalKind::Feature { critical }, &times, check(&feature, sink), Some(failures));
    }
}

fn reserved(view: &View<'_>, key: &Key, section: &str, sink: &mut Sink) {
    if key.name == REQUESTS {
        let message = format!("{}.{REQUESTS}: this name is kept for the source of requests", view.path_of(section));
        sink.error(&key.span, message, "choose another name");
    }
}

/// What a probe or feature does.
fn check(view: &View<'_>, sink: &mut Sink) -> SignalSource {
    if view.usable("http").is_some() {
        SignalSource::Http(http(view, sink))
    } else if let Some(command) = view.section("command") {
        let environment = command.map("environment").iter();
        let directory = command.text("directory").map(|directory| PathBuf::from(directory.value));
        let search = command.map("environment").iter().find(|(key, _)| key.name == "PATH");
        let search = search.map(|(_, node)| OsStr::new(node.text().unwrap_or_default()));
        program_is_here(&command, "run", directory.as_deref(), search, sink);
        SignalSource::Command(CommandCheck {
            run: command_line(&command, "run").unwrap_or(CommandLine(Vec::new())),
            directory: command.written("directory").map(|_| path(&command, "directory")),
            environment: environment.map(|(key, node)| (key.name.clone(), secret_of(node))).collect(),
        })
    } else {
        let address = view.parsed("tcp", value::host_port).map(|address| address.value);
        SignalSource::Tcp(address.unwrap_or_else(|| HostPort { host: String::new(), port: 0 }))
    }
}

fn secret_of(node: &Node) -> SecretString {
    SecretString::from(node.text().unwrap_or_default())
}

/// The request below `http`, written whole or as a URL alone.
fn http(view: &View<'_>, sink: &mut Sink) -> HttpCheck {
    if let Some(check) = view.section("http") {
        let mut http = plain(check.text("url").map(|url| url.value).unwrap_or_default());
        http.method = check.text("method").map(|method| method.value).unwrap_or_default();
        http.headers = headers(&check);
        http.status = statuses(&check);
        http.body_contains = check.text("body").map(|body| body.value);
        http.redirects = check.whole("redirects").and_then(|redirects| u8::try_from(redirects.value).ok()).unwrap_or(0);
        http.tls = tls(&check);
        tls_has_effect(&check, &http.url, sink);
        if let Some(body) = check.written("body").filter(|_| http.method == "HEAD") {
            let message = format!("{}: the answer to HEAD has no body", check.path_of("body"));
            sink.error(&body.span, message, "use GET, or leave `body` out");
        }
        return http;
    }
    plain(view.text("http").map(|url| url.value).unwrap_or_default())
}

fn plain(url: String) -> HttpCheck {
    HttpCheck {
        url,
        method: "GET".to_owned(),
        headers: Vec::new(),
        status: Vec::new(),
        body_contains: None,
        redirects: 0,
        tls: TlsOptions::default(),
    }
}

fn headers(view: &View<'_>) -> Vec<(String, SecretString)> {
    view.map("headers").iter().map(|(key, node)| (key.name.clone(), secret_of(node))).collect()
}

fn statuses(view: &View<'_>) -> Vec<u16> {
    let number = |node: &Node| match node.value {
        Value::Whole(number) => u16::try_from(number).ok(),
        _ => None,
    };
    match view.written("status") {
        Some(node) if matches!(node.value, Value::List(_)) => node.items().iter().filter_map(number).collect(),
        Some(node) => number(node).into_iter().collect(),
        None => Vec::new(),
    }
}

fn tls(view: &View<'_>) -> TlsOptions {
    let options = view.object("tls");
    TlsOptions {
        ca_file: options.written("ca_file").map(|_| path(&options, "ca_file")),
        server_name: options.text("server_name").map(|name| name.value),
    }
}

/// TLS options beside a URL without TLS are a mistake.
pub(super) fn tls_has_effect(view: &View<'_>, url: &str, sink: &mut Sink) {
    if view.written("tls").is_some_and(|node| !node.entries().is_empty()) && url.starts_with("http://") {
        let message = format!("{}: has no effect, since the URL is not https", view.path_of("tls"));
        sink.error(&view.key_span("tls"), message, "write https in the URL, or leave `tls` out");
    }
}

/// Where the live version can be asked.
pub(super) fn version(view: &View<'_>, sink: &mut Sink) -> Option<VersionSource> {
    let version = view.section("version")?;
    let times = times(&version, sink);
    Some(VersionSource {
        http: http(&version, sink),
        pointer: version.parsed("pointer", value::pointer).map(|pointer| pointer.value).unwrap_or_default(),
        every: times.every.map_or(Duration::ZERO, |every| every.value),
        timeout: times.timeout,
    })
}

fn requests(view: &View<'_>, root: &View<'_>, signals: &mut Signals, sink: &mut Sink) {
    let Some(requests) = view.section("requests") else { return };
    let times = times(&requests, sink);
    let source = if let Some(source) = requests.section("prometheus") {
        let server = prometheus_server(&source, root, sink);
        let (total, errors, latency) = selectors(&source);
        signals.latency = source.written("latency").is_some();
        SignalSource::Prometheus(PrometheusSource { server, total, errors, latency })
    } else if let Some(source) = requests.section("metrics") {
        let mut http = plain(source.text("url").map(|url| url.value).unwrap_or_default());
        http.headers = headers(&source);
        http.tls = tls(&source);
        tls_has_effect(&source, &http.url, sink);
        let (total, errors, latency) = selectors(&source);
        signals.latency = source.written("latency").is_some();
        SignalSource::Metrics(MetricsSource { http, total, errors, latency })
    } else {
        return;
    };
    signals.requests = Some((index(signals.policies.len()), times.every.clone()));
    signals.push(REQUESTS, SignalKind::Requests, &times, source, None);
}

fn selectors(view: &View<'_>) -> (String, String, Option<String>) {
    let selector = |key: &str| view.text(key).map(|selector| selector.value.trim().to_owned());
    (selector("total").unwrap_or_default(), selector("errors").unwrap_or_default(), selector("latency"))
}

/// The server named with the requests, or the one at the top. Credentials never go to another server than the one
/// beside which they are written.
fn prometheus_server(source: &View<'_>, root: &View<'_>, sink: &mut Sink) -> PrometheusServer {
    let top = root.section("prometheus");
    let own = source.written("url").is_some()
        || ["bearer_token", "basic_auth"].iter().any(|key| source.written(key).is_some());
    let url = source.text("url").or_else(|| top.as_ref().and_then(|top| top.text("url"))).map(|url| url.value);
    if source.written("url").is_none() && root.written("prometheus").is_none() {
        let message = format!("{}: names no Prometheus server, and there is none at the top of the file", source.path);
        sink.error(&source.span, message, "add `prometheus: {url: …}` at the top, or `url` here");
    }
    let url = url.unwrap_or_default();
    let from = match &top {
        Some(top) if !own => top,
        _ => source,
    };
    let basic_auth = from.section("basic_auth").and_then(|basic| {
        let user = basic.text("username")?.value;
        Some((user, secret(&basic, "password")?))
    });
    let tls = match &top {
        Some(top) if source.written("tls").is_none() && source.written("url").is_none() => tls(top),
        _ => {
            tls_has_effect(source, &url, sink);
            tls(source)
        }
    };
    PrometheusServer { url, bearer_token: secret(from, "bearer_token"), basic_auth, tls }
}
