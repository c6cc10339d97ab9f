//! What is counted from the journal's facts.

use std::{collections::BTreeMap, sync::PoisonError};

use super::Metrics;
use crate::core::{
    durable::{Durable, Timeline},
    entry::{Entry, Fact},
    name::IncidentId,
    time::SteadyTime,
    verdict::PlanKind,
};

/// Plans under way, at most one for a service, and where the journal has got to: how long a plan took is told by the
/// journal's time, whatever the wall clock was set to meanwhile.
#[derive(Debug, Default)]
pub(super) struct Plans {
    /// By incident and number, which plan it is and when it began.
    begun: BTreeMap<(IncidentId, u16), (PlanKind, SteadyTime)>,
    timeline: Timeline,
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
        let handles = self.handles();
        // What is not watched any more is not counted any more.
        let service = entry.service.as_ref().and_then(|name| handles.service_named(name));
        match &entry.fact {
            Fact::IncidentOpened { verdict, .. } => {
                if let Some(service) = service {
                    service.incident_opened(*verdict);
                }
            }
            Fact::Found { gate: Some(gate), .. } => {
                if let Some(service) = service {
                    service.refused_by(*gate);
                }
            }
            Fact::PlanEnded { incident, plan, outcome, .. } => {
                let key = (incident.clone(), *plan);
                let (begun, now) = {
                    let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
                    (plans.begun.get(&key).copied(), plans.timeline.at(entry.at, entry.boot))
                };
                // Every plan that ends was seen to begin: in this process, or in what it recovered.
                if let Some((kind, at)) = begun {
                    if kind.rolls_back() {
                        handles.rollback_duration.record(now.since(at));
                    }
                    if let Some(service) = service {
                        service.plan_ended(kind, *outcome);
                    }
                }
            }
            _ => {}
        }
        self.remember_plan(entry);
    }
}
