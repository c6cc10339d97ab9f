//! On how many threads the watch runs.
//!
//! Probes, targets and the loop hand something to each other at every sample. On one thread they do so in turn, many at a
//! time; on several each hand-over may wake another thread, which costs half as much again as the sample itself. So one
//! thread has all of them for as long as it surely carries them. What readers ask for has a thread of its own anyway.

use std::time::Duration;

use super::edges::LOOK_BY_COMMAND_EVERY;
use crate::config::form::{Config, Service, SignalSource, Target};

/// What a sample costs on the thread that it runs on, rounded up from what was measured: a connection and its answer; the
/// same with a TLS handshake; a child process that is begun; and counters of thousands of series that are compared (they
/// are decoded elsewhere).
const PLAIN: Duration = Duration::from_micros(80);
const TLS: Duration = Duration::from_micros(600);
const CHILD: Duration = Duration::from_millis(2);
const SERIES: Duration = Duration::from_millis(2);

/// The files of a Compose project are read anew so often.
const COMPOSE_FILES_EVERY: Duration = Duration::from_secs(60);

/// So much of one core may be taken for one thread to carry it all: a failing probe is repeated at a quicker pace, and a
/// configuration that is loaded anew may have more of them.
const CARRIED_BY_ONE: f64 = 0.4;

/// The runtime for the watch of `config`; for the life of the process, whatever is configured later.
pub fn runtime(config: &Config) -> tokio::runtime::Builder {
    if share_of_a_core(config) <= CARRIED_BY_ONE {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    }
}

/// Whether a configuration that was just loaded anew asks for more than the one thread that this process runs on surely
/// carries: only a restart gives it more.
pub(super) fn wants_more(config: &Config) -> bool {
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    flavor == tokio::runtime::RuntimeFlavor::CurrentThread && share_of_a_core(config) > CARRIED_BY_ONE
}

/// How much of one core samples and looks take at their ordinary pace.
fn share_of_a_core(config: &Config) -> f64 {
    let signals = config
        .services
        .iter()
        .zip(&config.policy.services)
        .flat_map(|(service, policy)| service.signals.iter().zip(&policy.signals));
    let samples = signals.map(|(source, signal)| share(cost(source), signal.every));
    samples.chain(config.services.iter().map(looks)).sum()
}

fn share(cost: Duration, every: Duration) -> f64 {
    cost.as_secs_f64() / every.as_secs_f64()
}

/// The share of looks at a service's target and at its version.
fn looks(service: &Service) -> f64 {
    let target = match service.target {
        // A glance and a read, which a thread for such calls carries; or copies that watches keep.
        Target::Releases(_) | Target::Kubernetes(_) => 0.0,
        // A list of containers, each of them, and now and then the project's files.
        Target::Compose(_) => share(PLAIN * 4, LOOK_BY_COMMAND_EVERY) + share(CHILD * 2, COMPOSE_FILES_EVERY),
        // What is live, and what could be gone back to.
        Target::Command(_) => share(CHILD * 2, LOOK_BY_COMMAND_EVERY),
    };
    let version = service.version.as_ref().map_or(0.0, |version| share(request(&version.http.url), version.every));
    target + version
}

fn request(url: &str) -> Duration {
    if url.starts_with("http:") { PLAIN } else { TLS }
}

fn cost(source: &SignalSource) -> Duration {
    match source {
        SignalSource::Http(check) => request(&check.url),
        SignalSource::Tcp(_) => PLAIN,
        SignalSource::Command(_) => CHILD,
        SignalSource::Prometheus(_) | SignalSource::Metrics(_) => SERIES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASES: &str = "{releases: {directory: /a, current: /b, restart: ['true']}}";

    /// How much of one core a service with a single probe takes.
    fn share(target: &str, probe: &str) -> f64 {
        let text = format!("services:\n- name: api\n  target: {target}\n  probes: {{ready: {probe}}}\n");
        let checked = crate::config::check_bytes("a.yaml", text.into_bytes(), None);
        share_of_a_core(&checked.config.expect("a good configuration"))
    }

    #[test]
    fn one_thread_carries_thousands_of_plain_probes_and_hundreds_with_tls() {
        let plain = "{http: 'http://127.0.0.1:1/', every: 1s, timeout: 1s}";
        let tls = "{http: 'https://127.0.0.1:1/', every: 1s, timeout: 1s}";
        let child = "{command: {run: ['true']}, every: 2s, timeout: 1s}";
        for (count, probe, is_carried) in [
            (1.0, plain, true),
            (4900.0, plain, true),
            (5100.0, plain, false),
            (660.0, tls, true),
            (670.0, tls, false),
            (390.0, child, true),
            (410.0, child, false),
        ] {
            let share = share(RELEASES, probe) * count;
            assert_eq!(share <= CARRIED_BY_ONE, is_carried, "{count} of {probe}: {share}");
        }
    }

    #[test]
    fn looks_by_commands_count_too() {
        let tools = "{command: {current: ['true'], previous: ['true'], roll_back: ['true']}}";
        let rare = "{http: 'http://127.0.0.1:1/', every: 60s, timeout: 1s}";
        assert!(share(tools, rare) * 490.0 <= CARRIED_BY_ONE && share(tools, rare) * 510.0 > CARRIED_BY_ONE);
    }
}
