//! What must hold in every run, checked as it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::core::{
    action::Action,
    answer::Answer,
    durable::Durable,
    entry::{Entry, Fact, PlanOutcome},
    gate::night_of,
    name::{IncidentId, PageId, ServiceName},
    operation::{Attempt, StepKey},
    page::{Page, PageKind},
    policy::{Finding, Mode, Policy, SharedCausePolicy},
    release::{DeploySource, Standing},
    time::WallTime,
    verdict::VerdictKind,
};

/// An open incident of which nothing else can be said was told again within this: the simulated policy repeats each
/// 90 seconds.
const TOLD_AGAIN_WITHIN: Duration = Duration::from_secs(100);

/// A page is delivered within this once nothing hinders it; one that was queued in the run's last moments may be on its
/// way yet.
const DELIVERED_WITHIN: Duration = Duration::from_secs(5);

/// A broken invariant. The run's seed reproduces it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Invariants {
    operated: BTreeSet<StepKey>,
    pub(super) delivered: BTreeMap<PageId, Page>,
    /// Incidents opened and resolved, as far as that is durable.
    opened: BTreeMap<IncidentId, ServiceName>,
    resolved: BTreeSet<IncidentId>,
    pub(super) plans: Vec<(ServiceName, Option<PlanOutcome>)>,
}

fn violated(what: impl Into<String>) -> Result<(), Violation> {
    Err(Violation(what.into()))
}

impl Invariants {
    /// An action is about to be carried out; `disk` is what is durable at this moment.
    pub(super) fn action(&mut self, action: &Action, disk: &Durable) -> Result<(), Violation> {
        match action {
            Action::Operate { attempt, .. } => self.operate(attempt, disk),
            Action::Deliver { page, .. } => {
                if disk.outbox.get(&page.id).is_none() && page.finding != Some(Finding::StoreFailed) {
                    return violated(format!("page {} goes out and is not in the durable outbox", page.id));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn operate(&mut self, attempt: &Attempt, disk: &Durable) -> Result<(), Violation> {
        let key = &attempt.key;
        let plan = disk.incidents.get(&key.incident).and_then(|incident| incident.active_plan());
        let step = plan.filter(|plan| plan.number == key.plan).and_then(|plan| plan.steps.get(usize::from(key.step)));
        match step {
            Some(step) if step.attempts == key.attempt && step.status.in_flight() => {}
            Some(step) => {
                let status = step.status.as_str();
                let attempts = step.attempts;
                return violated(format!("{key} is carried out while attempt {attempts} is {status} in the journal"));
            }
            None => return violated(format!("{key} is carried out without a durable start")),
        }
        if !self.operated.insert(key.clone()) {
            return violated(format!("{key} is carried out twice"));
        }
        Ok(())
    }

    /// An entry became durable; `before` is the fold without it.
    pub(super) fn entry(
        &mut self,
        entry: &Entry,
        before: &Durable,
        mode: Mode,
        policy: &Policy,
    ) -> Result<(), Violation> {
        match &entry.fact {
            Fact::IncidentOpened { incident, .. } => {
                let service = entry.service.clone().ok_or_else(|| Violation("an incident of no service".to_owned()))?;
                self.opened.insert(incident.clone(), service);
            }
            Fact::IncidentResolved { incident, .. } => {
                self.resolved.insert(incident.clone());
            }
            Fact::PlanStarted { incident, from, to, approved_by, .. } => {
                let name = entry.service.clone().ok_or_else(|| Violation("a plan of no service".to_owned()))?;
                self.plans.push((name.clone(), None));
                let record = before.service(&name);
                let incident = &before.incidents[incident];
                let live = record.live().ok_or_else(|| Violation("a plan without a live release".to_owned()))?;
                if incident.active_plan().is_some() {
                    return violated(format!("{name}: two plans at once"));
                }
                if live.deploy.source == DeploySource::Rollback || live.rolled_back {
                    return violated(format!("{name}: a second hop, from {from} to {to}"));
                }
                if matches!(record.standing(to), Standing::KnownBad | Standing::Suspect) {
                    return violated(format!("{name}: back to {to}, which is {}", record.standing(to).as_str()));
                }
                let holds = |until: Option<crate::core::time::WallTime>| until.is_none_or(|until| until > entry.at);
                if [&record.paused, &before.paused].into_iter().flatten().any(|pause| holds(pause.until)) {
                    return violated(format!("{name}: a plan begins while paused"));
                }
                check_surroundings(&name, entry.at, before, policy)?;
                let deciding = incident.path.deciding();
                if deciding.is_none_or(|question| question.answer != Answer::Yes) {
                    return violated(format!("{name}: a plan begins and no question says yes"));
                }
                let by_itself = mode == Mode::Act && incident.verdict == VerdictKind::RollBack && !incident.refused;
                if approved_by.is_none() && !by_itself {
                    return violated(format!("{name}: a plan begins and nobody approved it"));
                }
            }
            Fact::NightlyLook { .. } => {
                let name = entry.service.as_ref().ok_or_else(|| Violation("a night of no service".to_owned()))?;
                let last = before.service(name).night.as_ref().map(|night| night_of(name, night.at));
                if last >= Some(night_of(name, entry.at)) {
                    return violated(format!("{name}: two looks in one night"));
                }
            }
            Fact::PlanEnded { outcome, .. } => {
                let name = entry.service.as_ref();
                let open =
                    self.plans.iter_mut().rev().find(|(service, ended)| Some(service) == name && ended.is_none());
                if let Some((_, ended)) = open {
                    *ended = Some(*outcome);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Everything has come to rest.
    pub(super) fn rest(&self, disk: &Durable, mode: Mode, now: WallTime) -> Result<(), Violation> {
        let is_late = |at: WallTime| now.since(at) > DELIVERED_WITHIN;
        if let Some(pending) = disk.outbox.pending().find(|pending| is_late(pending.page.at)) {
            return violated(format!("page {} ({}) never went out", pending.page.id, pending.page.summary));
        }
        let told = |incident: &IncidentId, kind: PageKind| {
            self.delivered.values().any(|page| page.kind == kind && page.incident.as_ref() == Some(incident))
        };
        for (incident, service) in &self.opened {
            if !told(incident, PageKind::IncidentOpened) {
                return violated(format!("incident {incident} of {service} was never told"));
            }
            if self.resolved.contains(incident) && !told(incident, PageKind::IncidentResolved) {
                return violated(format!("the end of incident {incident} was never told"));
            }
        }
        for incident in disk.incidents.values().filter(|incident| incident.is_open()) {
            if incident.active_plan().is_some() {
                return violated(format!("incident {}: its plan never came to an end", incident.id));
            }
            // Who only observes tells that an incident is open, and leaves the rest to people.
            // What flaps is never down unbroken: it is told again and again until it is well or somebody acts.
            let told_again = self.delivered.values().any(|page| {
                page.kind == PageKind::IncidentEscalated
                    && page.incident.as_ref() == Some(&incident.id)
                    && now.since(page.at) < TOLD_AGAIN_WITHIN
            });
            let is_escalated = told_again || !incident.findings.is_empty() || !incident.approvals.is_empty();
            if mode != Mode::Observe && !is_escalated {
                return violated(format!("incident {} is open, and neither resolved nor escalated", incident.id));
            }
        }
        Ok(())
    }
}

/// A plan begins: what several services share is not suspected, what it depends on is well, and it is no time of
/// maintenance.
fn check_surroundings(name: &ServiceName, at: WallTime, before: &Durable, policy: &Policy) -> Result<(), Violation> {
    let index = policy.service_index(name.as_str()).expect("it is watched");
    let service = &policy.services[index.get()];
    if service.maintenance.iter().any(|time| time.is_on(at)) {
        return violated(format!("{name}: a plan begins in a time of maintenance"));
    }
    let healthy_for = service.verify.healthy_for;
    let is_ill =
        |needed: &&ServiceName| {
            before.incidents.values().filter(|incident| incident.service == **needed).any(|incident| {
                incident.resolved.as_ref().is_none_or(|(resolved, _)| at.since(*resolved) < healthy_for)
            })
        };
    if let Some(needed) = service.depends_on.iter().find(is_ill) {
        return violated(format!("{name}: a plan begins, and {needed}, on which it depends, is not well"));
    }
    let SharedCausePolicy { services, within } = service.gates.shared_cause;
    let own = before.open_incident(name).ok_or_else(|| Violation(format!("{name}: a plan without an incident")))?;
    let opened = policy.services.iter().filter_map(|service| before.open_incident(&service.name));
    let opened: Vec<WallTime> = opened.map(|incident| incident.opened_at).collect();
    let holds = |first: &&WallTime| {
        let is_in = |moment: WallTime| **first <= moment && moment <= first.after(within);
        let count = opened.iter().filter(|moment| is_in(**moment)).count();
        is_in(own.opened_at) && count >= usize::try_from(services).expect("a small number")
    };
    match opened.iter().find(holds) {
        Some(_) => violated(format!("{name}: a plan begins, and what several services share is to be suspected")),
        None => Ok(()),
    }
}
