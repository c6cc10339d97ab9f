//! What is counted of each service, and how it stands: plain numbers, made into text when somebody asks.
//!
//! Kept here and not in the recorder of what belongs to no service: a recorder keeps every series with its labels and its
//! handle, and lets none go again. A thousand services have tens of thousands of series, nearly all of them at zero for
//! ever, and a reload takes services away.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI8, AtomicU8, AtomicU64, Ordering},
    },
};

use crate::core::{
    answer::Answer,
    durable::IncidentRecord,
    entry::PlanOutcome,
    gate::Gate,
    policy::{ServicePolicy, Severity},
    verdict::{PlanKind, VerdictKind},
    view::ServiceView,
};

/// What a sample came to, in the order in which samples are counted.
pub(super) const OUTCOMES: [&str; 3] = ["passed", "failed", "missed"];

/// Nothing yet, where a place in a list is kept.
const NONE: u8 = u8::MAX;

/// One service's numbers.
pub(super) struct ServiceMetrics {
    /// Whose: it names the signals and conditions, in this order.
    pub(super) policy: Arc<ServicePolicy>,
    samples: Box<[[AtomicU64; OUTCOMES.len()]]>,
    /// 1 yes, 0 no, -1 unknown.
    conditions: Box<[AtomicI8]>,
    incidents: [AtomicU64; VerdictKind::ALL.len()],
    rollbacks: [[AtomicU64; PlanOutcome::ALL.len()]; PlanKind::ALL.len()],
    refusals: [AtomicU64; Gate::ALL.len()],
    /// Places in the lists of severities and verdicts.
    open: AtomicU8,
    verdict: AtomicU8,
    paused: AtomicBool,
    running: AtomicBool,
}

impl ServiceMetrics {
    /// All at zero, and every condition unknown.
    fn new(policy: &Arc<ServicePolicy>) -> Self {
        Self {
            policy: Arc::clone(policy),
            samples: policy.signals.iter().map(|_| Default::default()).collect(),
            conditions: policy.conditions.iter().map(|_| AtomicI8::new(-1)).collect(),
            incidents: Default::default(),
            rollbacks: Default::default(),
            refusals: std::array::from_fn(|_| AtomicU64::default()),
            open: AtomicU8::new(NONE),
            verdict: AtomicU8::new(NONE),
            paused: AtomicBool::default(),
            running: AtomicBool::default(),
        }
    }

    /// Those of `policy`. Where the service was there before, counts go on for what stays of it, and it stands as it did
    /// until that is told anew: a reload must not look like an incident's end. Nothing counts meanwhile: the loop, which
    /// counts, is here.
    pub(super) fn following(policy: &Arc<ServicePolicy>, before: Option<&Self>) -> Self {
        let Some(before) = before else { return Self::new(policy) };
        let mut after = Self::new(policy);
        for (signal, counts) in policy.signals.iter().zip(&mut after.samples) {
            if let Some(place) = before.policy.signals.iter().position(|known| known.name == signal.name) {
                take_over(counts, &before.samples[place]);
            }
        }
        take_over(&mut after.incidents, &before.incidents);
        for (counts, known) in after.rollbacks.iter_mut().zip(&before.rollbacks) {
            take_over(counts, known);
        }
        take_over(&mut after.refusals, &before.refusals);
        *after.open.get_mut() = before.open.load(Ordering::Relaxed);
        *after.verdict.get_mut() = before.verdict.load(Ordering::Relaxed);
        *after.paused.get_mut() = before.paused.load(Ordering::Relaxed);
        *after.running.get_mut() = before.running.load(Ordering::Relaxed);
        after
    }

    /// A sample of the signal at `signal` came to the outcome at `outcome`. Allocates nothing.
    pub(super) fn sampled(&self, signal: usize, outcome: usize) {
        if let Some(counts) = self.samples.get(signal) {
            increment(&counts[outcome]);
        }
    }

    pub(super) fn incident_opened(&self, verdict: VerdictKind) {
        increment(&self.incidents[place(&VerdictKind::ALL, &verdict)]);
    }

    pub(super) fn refused_by(&self, gate: Gate) {
        increment(&self.refusals[place(Gate::ALL, &gate)]);
    }

    pub(super) fn plan_ended(&self, plan: PlanKind, outcome: PlanOutcome) {
        increment(&self.rollbacks[place(&PlanKind::ALL, &plan)][place(&PlanOutcome::ALL, &outcome)]);
    }

    /// What its conditions answer.
    pub(super) fn answered(&self, view: &ServiceView) {
        for (condition, shown) in self.policy.conditions.iter().zip(&self.conditions) {
            if let Some(answer) = view.conditions.get(&condition.name) {
                let answer = match answer {
                    Answer::Yes => 1,
                    Answer::No => 0,
                    Answer::Unknown => -1,
                };
                shown.store(answer, Ordering::Relaxed);
            }
        }
    }

    /// How it stands, with the incident that is open.
    pub(super) fn stands(&self, view: &ServiceView, open: Option<&IncidentRecord>) {
        let severity = open.map_or(NONE, |incident| kept(place(&Severity::ALL, &incident.severity())));
        self.open.store(severity, Ordering::Relaxed);
        self.verdict.store(kept(place(&VerdictKind::ALL, &view.verdict)), Ordering::Relaxed);
        self.paused.store(view.now.paused.is_some(), Ordering::Relaxed);
        let running = open.is_some_and(|incident| incident.active_plan().is_some());
        self.running.store(running, Ordering::Relaxed);
    }
}

fn increment(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn take_over(counts: &mut [AtomicU64], known: &[AtomicU64]) {
    for (count, known) in counts.iter_mut().zip(known) {
        *count.get_mut() = known.load(Ordering::Relaxed);
    }
}

fn place<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|known| known == one).expect("each value is in the list of all")
}

fn kept(place: usize) -> u8 {
    u8::try_from(place).expect("the lists are short")
}

/// One metric: its name, kind and help, and how one service's series of it are written.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    series: fn(&ServiceMetrics, &mut Lines<'_>),
}

/// Every metric of services, by name. Each value of a label has its own series, at 0 before it first counts, so that a
/// rate sees the first count too. Plans that no configuration leads to yet are left out until they count, and so are gates
/// that nothing of the service is asked.
const FAMILIES: [Family; 9] = [
    Family {
        name: "backstop_condition",
        kind: "gauge",
        help: "A condition's answer: 1 yes, 0 no, -1 unknown.",
        series: |service, lines| {
            for (condition, answer) in service.policy.conditions.iter().zip(&service.conditions) {
                lines.line(&[("condition", condition.name.as_str())], answer.load(Ordering::Relaxed));
            }
        },
    },
    Family {
        name: "backstop_gate_refusals_total",
        kind: "counter",
        help: "Rollbacks that were due and that a gate held.",
        series: |service, lines| {
            for (gate, count) in Gate::ALL.iter().zip(&service.refusals) {
                if service.policy.on_platform || !gate.is_of_platforms() {
                    lines.count(&[("gate", gate.as_str())], count);
                }
            }
        },
    },
    Family {
        name: "backstop_incidents_total",
        kind: "counter",
        help: "Incidents opened, by the verdict that opened them.",
        series: |service, lines| {
            for (verdict, count) in VerdictKind::ALL.iter().zip(&service.incidents) {
                lines.count(&[("verdict", verdict.as_str())], count);
            }
        },
    },
    Family {
        name: "backstop_open_incidents",
        kind: "gauge",
        help: "Open incidents, by the gravest severity in them.",
        series: |service, lines| {
            let open = usize::from(service.open.load(Ordering::Relaxed));
            for (place, severity) in Severity::ALL.iter().enumerate() {
                lines.line(&[("severity", severity.as_str())], u8::from(place == open));
            }
        },
    },
    Family {
        name: "backstop_paused",
        kind: "gauge",
        help: "1 while nothing new is begun because a person paused the service, or all of them.",
        series: |service, lines| lines.line(&[], u8::from(service.paused.load(Ordering::Relaxed))),
    },
    Family {
        name: "backstop_probe_samples_total",
        kind: "counter",
        help: "Samples taken, by outcome: passed, failed, or missed (the watchdog could not see).",
        series: |service, lines| {
            for (signal, counts) in service.policy.signals.iter().zip(&service.samples) {
                for (outcome, count) in OUTCOMES.iter().zip(counts) {
                    lines.count(&[("probe", signal.name.as_str()), ("outcome", outcome)], count);
                }
            }
        },
    },
    Family {
        name: "backstop_rollback_running",
        kind: "gauge",
        help: "1 while a plan is under way.",
        series: |service, lines| lines.line(&[], u8::from(service.running.load(Ordering::Relaxed))),
    },
    Family {
        name: "backstop_rollbacks_total",
        kind: "counter",
        help: "Plans that ended, by outcome.",
        series: |service, lines| {
            for (plan, counts) in PlanKind::ALL.iter().zip(&service.rollbacks) {
                let has_counted = || counts.iter().any(|count| count.load(Ordering::Relaxed) > 0);
                // So that a rate sees the first count too; what it cannot come to has no series.
                let is_foreseen = match plan {
                    PlanKind::Quick => true,
                    PlanKind::RestartFailing => service.policy.on_platform,
                    PlanKind::Full | PlanKind::StopWrites | PlanKind::Gather => false,
                };
                if is_foreseen || has_counted() {
                    for (outcome, count) in PlanOutcome::ALL.iter().zip(counts) {
                        lines.count(&[("plan", plan.as_str()), ("outcome", outcome.as_str())], count);
                    }
                }
            }
        },
    },
    Family {
        name: "backstop_verdict",
        kind: "gauge",
        help: "1 for what the tree says just now, 0 for the other verdicts.",
        series: |service, lines| {
            let said = usize::from(service.verdict.load(Ordering::Relaxed));
            for (place, verdict) in VerdictKind::ALL.iter().enumerate() {
                lines.line(&[("verdict", verdict.as_str())], u8::from(place == said));
            }
        },
    },
];

/// Writes the series of one service and metric. What stands in labels comes from closed lists or is a name in the
/// configuration, and no character of those would have to be written otherwise.
struct Lines<'a> {
    text: &'a mut String,
    metric: &'static str,
    service: &'a str,
}

impl Lines<'_> {
    fn count(&mut self, labels: &[(&str, &str)], count: &AtomicU64) {
        self.line(labels, count.load(Ordering::Relaxed));
    }

    fn line(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let written: std::fmt::Result = (|| {
            write!(self.text, "{}{{service=\"{}\"", self.metric, self.service)?;
            for (label, value) in labels {
                write!(self.text, ",{label}=\"{value}\"")?;
            }
            writeln!(self.text, "}} {value}")
        })();
        written.expect("a string takes whatever is written");
    }
}

/// Everything about services in the text format of Prometheus
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
pub(super) fn render(services: &[ServiceMetrics]) -> String {
    let mut text = String::new();
    for Family { name, kind, help, series } in &FAMILIES {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for service in services {
            series(service, &mut Lines { text: &mut text, metric: name, service: service.policy.name.as_str() });
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{
        core::{
            name::{ServiceIndex, SignalIndex},
            policy::Policy,
            sample::{Measurement, Outcome},
        },
        serve::metrics::Metrics,
    };

    use super::*;

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
            let name =
                format!("backstop_probe_samples_total{{service=\"{service}\",probe=\"{probe}\",outcome=\"passed\"}} ");
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

    #[test]
    fn the_metrics_are_described_by_name() {
        assert!(FAMILIES.iter().map(|family| family.name).is_sorted());
    }
}
