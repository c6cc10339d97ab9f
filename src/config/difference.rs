//! What is another between two configurations, as far as the policies do not show it. Secrets are compared, and never
//! shown.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret as _, SecretString};

use super::form::{Config, HttpCheck, Service, SignalSource, VersionSource};
use crate::core::name::{ServiceName, SignalName};

/// What is another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Keys that are read only when the daemon starts.
    pub needs_restart: Vec<&'static str>,
    /// Services whose target or version endpoint is another.
    pub retargeted: BTreeSet<ServiceName>,
    /// Signals that are taken otherwise, by service.
    pub redefined: BTreeMap<ServiceName, BTreeSet<SignalName>>,
}

/// Compares the configuration in force with the one that is to be.
pub fn difference(old: &Config, new: &Config) -> Difference {
    let keys = [
        ("server.listen", old.server.listen != new.server.listen),
        ("server.socket", old.server.socket != new.server.socket),
        ("store.path", old.store != new.store),
        ("history.file", old.history != new.history),
        ("evidence", old.evidence != new.evidence),
    ];
    let mut difference = Difference {
        needs_restart: keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect(),
        ..Difference::default()
    };
    for (place, before) in old.services.iter().enumerate() {
        let Some(now) = new.services.iter().position(|service| service.name == before.name) else { continue };
        let after = &new.services[now];
        if before.target != after.target || !same_version(before.version.as_ref(), after.version.as_ref()) {
            difference.retargeted.insert(before.name.clone());
        }
        let names = |config: &Config, place: usize| -> Vec<SignalName> {
            config.policy.services[place].signals.iter().map(|signal| signal.name.clone()).collect()
        };
        let redefined = redefined(before, &names(old, place), after, &names(new, now));
        if !redefined.is_empty() {
            difference.redefined.insert(before.name.clone(), redefined);
        }
    }
    difference
}

fn redefined(before: &Service, old: &[SignalName], after: &Service, new: &[SignalName]) -> BTreeSet<SignalName> {
    let old: BTreeMap<&SignalName, &SignalSource> = old.iter().zip(&before.signals).collect();
    new.iter()
        .zip(&after.signals)
        .filter(|(name, source)| old.get(name).is_some_and(|before| !same_source(before, source)))
        .map(|(name, _)| name.clone())
        .collect()
}

fn same_version(before: Option<&VersionSource>, after: Option<&VersionSource>) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => {
            shown(before) == shown(after) && same(&http_secrets(&before.http), &http_secrets(&after.http))
        }
        _ => false,
    }
}

fn same_source(before: &SignalSource, after: &SignalSource) -> bool {
    shown(before) == shown(after) && same(&secrets(before), &secrets(after))
}

/// Everything of it but its secrets. Stays in memory, for comparing.
fn shown(of: &impl std::fmt::Debug) -> String {
    format!("{of:?}")
}

fn same(before: &[&SecretString], after: &[&SecretString]) -> bool {
    before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| before.expose_secret() == after.expose_secret())
}

fn http_secrets(check: &HttpCheck) -> Vec<&SecretString> {
    check.headers.iter().map(|(_, value)| value).collect()
}

fn secrets(source: &SignalSource) -> Vec<&SecretString> {
    match source {
        SignalSource::Http(check) => http_secrets(check),
        SignalSource::Tcp(_) => Vec::new(),
        SignalSource::Command(check) => check.environment.values().collect(),
        SignalSource::Prometheus(source) => {
            let server = &source.server;
            server.bearer_token.iter().chain(server.basic_auth.iter().map(|(_, password)| password)).collect()
        }
        SignalSource::Metrics(source) => http_secrets(&source.http),
    }
}
