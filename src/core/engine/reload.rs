//! Another policy takes the place of the one in force, while the process lives: what did not change goes on as if
//! nothing had happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{State, service::Service};
use crate::core::{
    action::{Action, Actions},
    durable::IncidentRecord,
    name::{IncidentId, ServiceIndex, ServiceName, SignalIndex, SignalName},
    policy::{Policy, ServicePolicy},
    time::Now,
};

/// A policy to be put in force, and what changed at the edges, which the policy does not show.
#[derive(Debug, Clone)]
pub struct Reload {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Services whose target or version endpoint is another one by now.
    pub retargeted: BTreeSet<ServiceName>,
    /// Signals that look at something else by now.
    pub redefined: BTreeMap<ServiceName, BTreeSet<SignalName>>,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Services that were not watched before.
    pub added: usize,
    /// Services that go on under another policy, or with other edges.
    pub changed: usize,
    /// Services that are not watched any more.
    pub removed: usize,
    /// Services that go on as they were.
    pub kept: usize,
    /// For each service of the policy before, where it stands now.
    pub places: Vec<Option<ServiceIndex>>,
}

/// Plans are under way for services that would be changed or removed: the reload has to wait for their ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("put the configuration in force: a rollback is under way, of {}; it is tried again after its end", list(.0))]
pub struct PlansUnderWay(pub Vec<(ServiceName, IncidentId)>);

fn list(plans: &[(ServiceName, IncidentId)]) -> String {
    let each: Vec<_> = plans.iter().map(|(service, incident)| format!("{service} ({incident})")).collect();
    each.join(", ")
}

impl Reload {
    /// Whether a service is watched as before.
    fn keeps(&self, old: &ServicePolicy) -> bool {
        self.find(&old.name).is_some_and(|new| **new == *old)
            && !self.retargeted.contains(&old.name)
            && !self.redefined.contains_key(&old.name)
    }

    fn find(&self, name: &ServiceName) -> Option<&Arc<ServicePolicy>> {
        self.policy.services.iter().find(|service| service.name == *name)
    }
}

impl State {
    /// Puts another policy in force. A service whose policy and edges are equal keeps everything. One that changed keeps
    /// its durable state, and windows and streaks of the signals that did not change. One that is gone is told of: its
    /// open incident ends. `actions` speak of services by their new places.
    ///
    /// # Errors
    /// While a plan is under way for a service that would be changed or removed; nothing is done then.
    pub fn reload(&mut self, now: Now, reload: &Reload, actions: &mut Actions) -> Result<Reloaded, PlansUnderWay> {
        self.let_plans_end(reload)?;
        let before = self.ledger.durable.last;
        self.end_unwatched(now, actions, |name| reload.find(name).is_some());
        let old_names: Vec<ServiceName> = self.services.iter().map(|service| service.name.clone()).collect();
        let mut old: BTreeMap<ServiceName, Service> =
            std::mem::take(&mut self.services).into_iter().map(|service| (service.name.clone(), service)).collect();
        let mut done = Reloaded::default();
        let mut fresh = Vec::new();
        for (index, policy) in (0..).map(ServiceIndex).zip(&reload.policy.services) {
            let service = match old.remove(&policy.name) {
                Some(service) if reload.keeps(&service.policy) => {
                    done.kept += 1;
                    Service { index, ..service }
                }
                Some(service) => {
                    done.changed += 1;
                    fresh.push(index);
                    service.changed(index, policy, reload, now)
                }
                None => {
                    done.added += 1;
                    fresh.push(index);
                    Service::new(index, Arc::clone(policy), now)
                }
            };
            self.services.push(service);
        }
        done.removed = old.len();
        self.observer.reload(&self.policy, &reload.policy);
        self.policy = Arc::clone(&reload.policy);
        self.tell_impaired(now, actions);
        self.neighbours = std::mem::take(&mut self.neighbours).carried_over(
            &self.policy,
            &self.ledger.durable,
            now,
            self.ledger.steady(now),
        );
        done.places = old_names.iter().map(|name| self.policy.service_index(name.as_str())).collect();
        self.ledger.move_services(|index| done.places.get(index.get()).copied().flatten());
        // Readers get every service anew.
        self.stirred.clear();
        self.wakes = self.services.iter().map(|service| (service.wake, service.index)).collect();
        for service in &self.services {
            service.pace_again(actions);
        }
        for index in fresh {
            self.with(now, index, actions, |service, turn| {
                service.look(turn);
                service.assess(turn);
            });
        }
        if self.ledger.durable.last != before {
            self.pump(now, actions);
        }
        Ok(done)
    }

    fn let_plans_end(&self, reload: &Reload) -> Result<(), PlansUnderWay> {
        let plans: Vec<_> = self
            .services
            .iter()
            .filter(|service| !reload.keeps(&service.policy))
            .filter_map(|service| self.ledger.durable.open_incident(&service.name))
            .filter(|incident| incident.active_plan().is_some())
            .map(|incident: &IncidentRecord| (incident.service.clone(), incident.id.clone()))
            .collect();
        if plans.is_empty() { Ok(()) } else { Err(PlansUnderWay(plans)) }
    }
}

impl Service {
    /// Goes on under another policy. How long something has lasted begins anew: waiting longer is the safe side.
    fn changed(mut self, index: ServiceIndex, policy: &Arc<ServicePolicy>, reload: &Reload, now: Now) -> Self {
        let nothing = BTreeSet::new();
        let redefined = reload.redefined.get(&self.name).unwrap_or(&nothing);
        let mut next = Self::new(index, Arc::clone(policy), now);
        for (confirming, signal) in next.confirming.iter_mut().zip(&policy.signals) {
            if let Some(before) = self.policy.signal_index(signal.name.as_str())
                && !redefined.contains(&signal.name)
                && self.policy.signals[before.get()] == *signal
            {
                *confirming = self.confirming[before.get()];
            }
        }
        next.go_on_from(&mut self);
        next.watch = self.watch.carried_over(policy, redefined, now);
        // A source that begins anew has less than what was counted of all; the others' share was counted already.
        next.soak.counted_requests = next.watch.requests_since_cut().unwrap_or(0);
        for signal in (0_u16..).take(policy.signals.len()).map(SignalIndex) {
            next.watch.set_cadence(signal, next.cadence(signal));
        }
        if !reload.retargeted.contains(&self.name) {
            next.sight = self.sight;
        }
        next
    }

    /// Whoever takes the signals now does not know which of them are taken at the quick pace.
    pub(super) fn pace_again(&self, actions: &mut Actions) {
        for (place, confirming) in (0_u16..).zip(&self.confirming) {
            if confirming.is_some() {
                let signal = SignalIndex(place);
                let every = self.cadence(signal);
                actions.push(Action::SetCadence { service: self.index, signal, every });
            }
        }
    }
}
