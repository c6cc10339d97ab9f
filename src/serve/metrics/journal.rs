//! What is counted from the journal's facts.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use ::metrics::counter;

use super::{GATE_REFUSALS, INCIDENTS, Metrics, ROLLBACKS};
use crate::core::{
    durable::{Durable, Timeline},
    entry::{Entry, Fact, PlanOutcome},
    gate::Gate,
    name::IncidentId,
    time::SteadyTime,
    verdict::{PlanKind, VerdictKind},
};

/// Plans under way, at most one for a service, and where the journal has got to: how long a plan took is told by the
/// journal's time, whatever the wall clock was set to meanwhile.
#[derive(Debug, Default)]
pub(super) struct Plans {
    /// By incident and number, which plan it is and when it began.
    begun: BTreeMap<(IncidentId, u16), (PlanKind, SteadyTime)>,
    timeline: Timeline,
}

/// Makes every series of a service, so that a rate sees the first count too. The plans that a configuration cannot lead to
/// yet are left out, and so are gates that nothing of the service is asked.
pub(super) fn foresee(service: &str, on_platform: bool) {
    // One text for all of them: a thousand services have tens of thousands of series.
    let service: Arc<str> = service.into();
    for verdict in VerdictKind::ALL {
        counter!(INCIDENTS, "service" => Arc::clone(&service), "verdict" => verdict.as_str()).increment(0);
    }
    for outcome in PlanOutcome::ALL {
        let plan = PlanKind::Quick.as_str();
        counter!(ROLLBACKS, "service" => Arc::clone(&service), "plan" => plan, "outcome" => outcome.as_str())
            .increment(0);
    }
    for gate in Gate::ALL.iter().filter(|gate| on_platform || !gate.is_of_platforms()) {
        counter!(GATE_REFUSALS, "service" => Arc::clone(&service), "gate" => gate.as_str()).increment(0);
    }
}

impl Metrics {
    /// The state of an earlier process was recovered: nothing is counted, but a plan that goes on is remembered.
    pub fn recovered(&self, durable: &Durable) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.timeline = durable.timeline.clone();
        for incident in durable.incidents.values() {
            for plan in incident.plans.iter().filter(|plan| plan.ended.is_none()) {
                plans.begun.insert((incident.id.clone(), plan.number), (plan.plan, plan.started));
            }
        }
    }

    fn remember_plan(&self, entry: &Entry) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let at = plans.timeline.at(entry.at, entry.boot);
        plans.timeline.advance(entry.at, entry.boot);
        match &entry.fact {
            Fact::PlanStarted { incident, number, plan, .. } => {
                plans.begun.insert((incident.clone(), *number), (*plan, at));
            }
            Fact::PlanEnded { incident, plan, .. } => {
                plans.begun.remove(&(incident.clone(), *plan));
            }
            _ => {}
        }
    }

    /// An entry was appended by this process: incidents, rollbacks and refusals are counted.
    pub fn entry_appended(&self, entry: &Entry) {
        let service = || entry.service.as_ref().map(ToString::to_string).unwrap_or_default();
        match &entry.fact {
            Fact::IncidentOpened { verdict, .. } => {
                self.of_services().locally(|| {
                    counter!(INCIDENTS, "service" => service(), "verdict" => verdict.as_str()).increment(1);
                });
            }
            Fact::Found { gate: Some(gate), .. } => {
                self.of_services()
                    .locally(|| counter!(GATE_REFUSALS, "service" => service(), "gate" => gate.as_str()).increment(1));
            }
            Fact::PlanEnded { incident, plan, outcome, .. } => {
                let key = (incident.clone(), *plan);
                let (begun, now) = {
                    let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
                    (plans.begun.get(&key).copied(), plans.timeline.at(entry.at, entry.boot))
                };
                let kind = begun.map_or("unknown", |(kind, _)| kind.as_str());
                self.of_services().locally(|| {
                    counter!(ROLLBACKS, "service" => service(), "plan" => kind, "outcome" => outcome.as_str())
                        .increment(1);
                });
                if let Some((_, at)) = begun {
                    self.handles().rollback_duration.record(now.since(at));
                }
            }
            _ => {}
        }
        self.remember_plan(entry);
    }
}
