//! One sample of each signal, and one question to each version endpoint.

use std::sync::Arc;

use super::{Finding, Look};
use crate::{
    config::form::{Config, SignalSource},
    core::{
        name::{ServiceIndex, SignalIndex},
        policy::SignalKind,
        sample::{Outcome, Reason},
    },
    probe::{net::Network, schedule::Prober, version::VersionProbe},
    runtime::clock::Clock,
};

pub(super) fn looks(config: &Arc<Config>, network: &Network, clock: &Clock) -> Vec<Look> {
    let mut looks = Vec::new();
    match Prober::new(&config.services, &config.policy, network, clock) {
        Ok(prober) => {
            let checker = prober.checker();
            for (service, form) in (0..).map(ServiceIndex).zip(&config.services) {
                let signals = &config.policy.services[service.get()].signals;
                for ((signal, policy), source) in (0..).map(SignalIndex).zip(signals).zip(&form.signals) {
                    let key = match policy.kind {
                        SignalKind::Probe { .. } => format!("probes.{}", policy.name),
                        SignalKind::Feature { .. } => format!("features.{}", policy.name),
                        SignalKind::Requests => "requests".to_owned(),
                    };
                    let place = format!("services({}).{key}", form.name);
                    let (checker, mend) = (checker.clone(), mend(source));
                    looks.push(Look::new(place.clone(), async move {
                        match checker.try_once(service, signal).await {
                            Outcome::Passed => Vec::new(),
                            Outcome::Failed(reason) => vec![Finding::fails(&place, reason, mend)],
                            Outcome::Missed(reason) => {
                                let what = format!("it sees nothing: {reason}");
                                vec![Finding::fails(&place, what, mend)]
                            }
                        }
                    }));
                }
            }
        }
        Err(error) => {
            for error in error.0 {
                let place = format!("services({}).{}", error.service, error.signal);
                let finding = Finding::fails(&place, format!("failed to {error}"), "mend what it names");
                looks.push(Look::new(place, std::future::ready(vec![finding])));
            }
        }
    }
    looks.extend(versions(config, network));
    looks
}

fn versions(config: &Arc<Config>, network: &Network) -> Vec<Look> {
    let asked = config.services.iter().filter_map(|service| Some((service, service.version.as_ref()?)));
    asked
        .map(|(service, source)| {
            let place = format!("services({}).version", service.name);
            let probe = VersionProbe::new(source, network).map_err(|error| Reason::new(&error.to_string()));
            Look::new(place.clone(), async move {
                let answer = match probe {
                    Ok(probe) => probe.sample().await.map(|_| ()),
                    Err(reason) => Err(reason),
                };
                let mend =
                    "mend the endpoint or its key: without it a rollback's version is checked by the target alone";
                answer.err().map(|reason| Finding::fails(&place, reason, mend)).into_iter().collect()
            })
        })
        .collect()
}

const fn mend(source: &SignalSource) -> &'static str {
    match source {
        SignalSource::Http(_) | SignalSource::Tcp(_) => {
            "mend the service, or the key; while it stays so an incident is opened"
        }
        SignalSource::Command(_) => "run the command as this user and see what it says",
        SignalSource::Prometheus(_) => "mend the server's URL or credentials, or a selector that names no series",
        SignalSource::Metrics(_) => "mend the page's URL, or a selector that names no series",
    }
}
