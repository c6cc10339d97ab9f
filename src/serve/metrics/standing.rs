//! How each service stands: gauges to alert on and to draw.

use ::metrics::{Gauge, describe_gauge, gauge};

use super::Metrics;
use crate::core::{
    durable::IncidentRecord, name::ServiceIndex, policy::Severity, verdict::VerdictKind, view::ServiceView,
};

const OPEN: &str = "backstop_open_incidents";
const VERDICT: &str = "backstop_verdict";
const PAUSED: &str = "backstop_paused";
const RUNNING: &str = "backstop_rollback_running";

/// The names of all of them.
pub(super) const GAUGES: [&str; 4] = [OPEN, VERDICT, PAUSED, RUNNING];

/// One service's gauges: each value of a label has its own, so that none is missing.
pub(super) struct Standing {
    open: [(Severity, Gauge); Severity::ALL.len()],
    verdict: [(VerdictKind, Gauge); VerdictKind::ALL.len()],
    paused: Gauge,
    running: Gauge,
}

impl Standing {
    /// The gauges of `service`, as they are where they are there already: a reload must not look like an incident's end.
    pub(super) fn of(service: &str) -> Self {
        let name = || service.to_owned();
        let standing = Self {
            open: Severity::ALL.map(|one| (one, gauge!(OPEN, "service" => name(), "severity" => one.as_str()))),
            verdict: VerdictKind::ALL.map(|one| (one, gauge!(VERDICT, "service" => name(), "verdict" => one.as_str()))),
            paused: gauge!(PAUSED, "service" => name()),
            running: gauge!(RUNNING, "service" => name()),
        };
        let gauges = standing.open.iter().map(|(_, gauge)| gauge);
        let gauges = gauges.chain(standing.verdict.iter().map(|(_, gauge)| gauge));
        // A series is there from its first change on.
        gauges.chain([&standing.paused, &standing.running]).for_each(|gauge| gauge.increment(0.0));
        standing
    }
}

impl Metrics {
    /// How a service stands, with the incident that is open.
    pub fn standing(&self, service: ServiceIndex, view: &ServiceView, open: Option<&IncidentRecord>) {
        let handles = self.handles();
        let Some(handles) = handles.services.get(service.get()) else { return };
        let Standing { open: by_severity, verdict, paused, running } = &handles.standing;
        let severity = open.map(IncidentRecord::severity);
        for (one, gauge) in by_severity {
            gauge.set(flag(severity == Some(*one)));
        }
        for (one, gauge) in verdict {
            gauge.set(flag(view.verdict == *one));
        }
        paused.set(flag(view.paused.is_some()));
        running.set(flag(open.is_some_and(|incident| incident.active_plan().is_some())));
    }
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

pub(super) fn describe() {
    describe_gauge!(OPEN, "Open incidents, by the gravest severity in them.");
    describe_gauge!(VERDICT, "1 for what the tree says just now, 0 for the other verdicts.");
    describe_gauge!(PAUSED, "1 while nothing new is begun because a person paused the service, or all of them.");
    describe_gauge!(RUNNING, "1 while a plan is under way.");
}
