//! On how many threads the watch runs.
//!
//! Probes, targets and the loop hand something to each other at every sample. On one thread they do so in turn, many at a
//! time; on several each hand-over may wake another thread, which costs half as much again as the sample itself. So one
//! thread has all of them for as long as it surely carries them. What readers ask for has a thread of its own anyway.

use std::time::Duration;

use crate::config::form::{Config, SignalSource};

/// What a sample costs on the thread that it runs on, rounded up from what was measured: a connection and its answer; the
/// same with a TLS handshake; a child process that is begun; and counters of thousands of series that are compared (they
/// are decoded elsewhere).
const PLAIN: Duration = Duration::from_micros(80);
const TLS: Duration = Duration::from_micros(600);
const CHILD: Duration = Duration::from_millis(2);
const SERIES: Duration = Duration::from_millis(2);

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

/// How much of one core the samples take at their ordinary pace.
fn share_of_a_core(config: &Config) -> f64 {
    let signals = config
        .services
        .iter()
        .zip(&config.policy.services)
        .flat_map(|(service, policy)| service.signals.iter().zip(&policy.signals));
    signals.map(|(source, signal)| cost(source).as_secs_f64() / signal.every.as_secs_f64()).sum()
}

fn cost(source: &SignalSource) -> Duration {
    match source {
        SignalSource::Http(check) if !check.url.starts_with("http:") => TLS,
        SignalSource::Http(_) | SignalSource::Tcp(_) => PLAIN,
        SignalSource::Command(_) => CHILD,
        SignalSource::Prometheus(_) | SignalSource::Metrics(_) => SERIES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of one core a single probe takes.
    fn share(probe: &str) -> f64 {
        let text = format!(
            "services:\n- name: api\n  target: {{releases: {{directory: /a, current: /b, restart: ['true']}}}}\n  probes: \
             {{ready: {probe}}}\n"
        );
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
            let share = share(probe) * count;
            assert_eq!(share <= CARRIED_BY_ONE, is_carried, "{count} of {probe}: {share}");
        }
    }
}
