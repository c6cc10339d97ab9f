//! The series of services that are gone go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ::metrics::{counter, gauge};

use super::{GATE_REFUSALS, INCIDENTS, ROLLBACKS, Recording, SAMPLES, standing};
use crate::core::policy::{Policy, ServicePolicy};

/// What counts for each service, and goes on over a reload.
const COUNTS: [&str; 4] = [SAMPLES, INCIDENTS, ROLLBACKS, GATE_REFUSALS];

/// Whether every series of the services before is one of `policy`'s.
pub(super) fn all_stay(before: &[Arc<ServicePolicy>], policy: &Policy) -> bool {
    let after: BTreeMap<_, _> = policy.services.iter().map(|service| (&service.name, service)).collect();
    before.iter().all(|old| {
        after.get(&old.name).is_some_and(|new| {
            let signals: BTreeSet<_> = new.signals.iter().map(|signal| &signal.name).collect();
            let conditions: BTreeSet<_> = new.conditions.iter().map(|condition| &condition.name).collect();
            old.signals.iter().all(|signal| signals.contains(&signal.name))
                && old.conditions.iter().all(|condition| conditions.contains(&condition.name))
        })
    })
}

/// A new recording with the counts of those that stay, and how they stand. Nothing counts meanwhile: the loop, which
/// counts, is here.
pub(super) fn without_what_is_gone(before: &Recording, policy: &Policy) -> Recording {
    let probes = |service: &ServicePolicy| -> BTreeSet<String> {
        service.signals.iter().map(|signal| signal.name.to_string()).collect()
    };
    let stays: BTreeMap<String, BTreeSet<String>> =
        policy.services.iter().map(|service| (service.name.to_string(), probes(service))).collect();
    let text = before.handle.render();
    let after = Recording::of_services();
    after.locally(|| {
        for Count { name, labels, value } in text.lines().filter_map(read) {
            let label = |wanted: &str| labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| *value);
            let service = label("service").and_then(|service| stays.get(service));
            if service.is_some_and(|probes| label("probe").is_none_or(|probe| probes.contains(probe))) {
                let labels: Vec<(String, String)> =
                    labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
                // How a service stands is told anew soon; until then it must not look as if its incident had ended.
                if standing::GAUGES.contains(&name) {
                    gauge!(name, &labels).set(value as f64);
                } else {
                    counter!(name, &labels).absolute(value);
                }
            }
        }
    });
    after
}

/// A line of the text format.
struct Count<'a> {
    name: &'static str,
    labels: Vec<(&'a str, &'a str)>,
    value: u64,
}

/// A count or a gauge that goes on, if the line is one. Names in a configuration have no character that would be written
/// otherwise in a label.
fn read(line: &str) -> Option<Count<'_>> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.strip_suffix('}')?.split_once('{')?;
    let name = COUNTS.into_iter().chain(standing::GAUGES).find(|known| *known == name)?;
    let labels = labels.split(',').map(|label| {
        let (label, value) = label.split_once('=')?;
        Some((label, value.strip_prefix('"')?.strip_suffix('"')?))
    });
    Some(Count { name, labels: labels.collect::<Option<_>>()?, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::{
            name::{ServiceIndex, SignalIndex},
            sample::{Measurement, Outcome},
        },
        serve::metrics::Metrics,
    };

    fn policy(services: &[(&str, &str)]) -> Arc<Policy> {
        let mut text = String::from("services:\n");
        for (name, probe) in services {
            text.push_str(&format!(
                "- name: {name}\n  target: {{releases: {{directory: /a/{name}, current: /b/{name}, restart: \
                 ['true']}}}}\n  probes: {{{probe}: {{tcp: '127.0.0.1:1'}}}}\n"
            ));
        }
        crate::config::check_bytes("a.yaml", text.into_bytes(), None).config.expect("a good configuration").policy
    }

    #[test]
    fn what_is_gone_goes_and_what_stays_goes_on() {
        let metrics = Metrics::new(&policy(&[("a.x", "ready"), ("b", "ready"), ("c", "ready")])).expect("metrics");
        let pass = |service| {
            metrics.sample(ServiceIndex(service), SignalIndex(0), &Measurement::Check(Outcome::Passed), false);
        };
        for service in [0, 1, 1, 2, 2, 2] {
            pass(service);
        }
        metrics.config_reload(true);
        let counted = |service: &str, probe: &str| -> Option<u64> {
            let text = metrics.render();
            let name = format!("{SAMPLES}{{service=\"{service}\",probe=\"{probe}\",outcome=\"passed\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).map(|count| count.parse().expect("a number"))
        };
        assert_eq!(counted("b", "ready"), Some(2));
        // One goes, one has another probe, one is new, and one stays at another place.
        metrics.reload(&policy(&[("d", "ready"), ("c", "ready"), ("a.x", "other")]));
        pass(1);
        assert_eq!((counted("c", "ready"), counted("d", "ready")), (Some(4), Some(0)));
        assert_eq!((counted("a.x", "ready"), counted("a.x", "other")), (None, Some(0)));
        let text = metrics.render();
        assert!(!text.contains("service=\"b\""), "{text}");
        assert!(text.contains("backstop_config_reloads_total{outcome=\"applied\"} 1"), "{text}");
        let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let names: BTreeSet<&str> = types.iter().copied().collect();
        assert_eq!(types.len(), names.len(), "each name is described once: {types:?}");
        // Nothing of what was goes on when it is there again.
        metrics.reload(&policy(&[("b", "ready"), ("c", "ready")]));
        assert_eq!((counted("b", "ready"), counted("c", "ready")), (Some(0), Some(4)));
    }
}
