//! What must hold in every run, checked as it happens.

mod approvals;
mod evidence;
mod pages;
mod plans;
mod rest;

use std::collections::{BTreeMap, BTreeSet};

use self::{approvals::Approvals, evidence::Evidence};
use super::world::World;
use crate::core::{
    action::Action,
    durable::{Durable, IncidentRecord},
    entry::{Entry, Fact, PlanOutcome, StepAction, StepEvent},
    event::Authority,
    gate::{Gate, night_of},
    name::{IncidentId, PageId, ServiceName},
    operation::{Attempt, StepKey},
    page::Page,
    policy::{Finding, Mode, Policy},
    release::Standing,
    saga::StepStatus,
    time::{BootTime, WallTime},
};

/// A broken invariant. The run's seed reproduces it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// An entry becomes durable, and what was so before it.
pub(super) struct Moment<'a> {
    pub(super) entry: &'a Entry,
    /// When it was appended, by the clock that nobody steps.
    pub(super) boot: BootTime,
    /// The fold without it.
    pub(super) before: &'a Durable,
    pub(super) mode: Mode,
    pub(super) policy: &'a Policy,
    pub(super) worlds: &'a [World],
}

impl Moment<'_> {
    fn service(&self) -> Result<&ServiceName, Violation> {
        self.entry.service.as_ref().ok_or_else(|| Violation(format!("of no service: {:?}", self.entry.fact)))
    }

    fn index(&self) -> Result<usize, Violation> {
        Ok(self.policy.service_index(self.service()?.as_str()).expect("it is watched").get())
    }
}

/// A moment by both clocks: the wall clock may be stepped, and what was read from the journal knows no other.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    boot: BootTime,
    wall: WallTime,
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Invariants {
    operated: BTreeSet<StepKey>,
    pub(super) delivered: BTreeMap<PageId, Page>,
    /// Pages that a channel refused for good.
    pub(super) refused: BTreeMap<PageId, Page>,
    /// Incidents opened and resolved, as far as that is durable.
    opened: BTreeMap<IncidentId, (ServiceName, Stamp)>,
    resolved: BTreeMap<IncidentId, Stamp>,
    approvals: Approvals,
    pub(super) evidence: Evidence,
    pages: pages::Pages,
    /// Services whose release a person accused: the truth of the world does not explain their rollbacks.
    pub(super) accused_by_people: BTreeSet<ServiceName>,
    /// Services that may only be paged of, and by which process.
    pub(super) distrusted: BTreeMap<ServiceName, u64>,
    pub(super) plans: Vec<(ServiceName, Option<PlanOutcome>)>,
}

fn violated(what: impl Into<String>) -> Result<(), Violation> {
    Err(Violation(what.into()))
}

impl Invariants {
    pub(super) fn new(services: usize) -> Self {
        Self {
            operated: BTreeSet::new(),
            delivered: BTreeMap::new(),
            refused: BTreeMap::new(),
            opened: BTreeMap::new(),
            resolved: BTreeMap::new(),
            approvals: Approvals::default(),
            evidence: Evidence::new(services),
            pages: pages::Pages::default(),
            accused_by_people: BTreeSet::new(),
            distrusted: BTreeMap::new(),
            plans: Vec::new(),
        }
    }

    /// An action is about to be carried out; `disk` is what is durable at this moment.
    pub(super) fn action(&mut self, action: &Action, disk: &Durable) -> Result<(), Violation> {
        match action {
            Action::Operate { attempt, .. } => self.operate(attempt, disk),
            Action::Gather { incident, .. } => {
                let gather = disk.incidents.get(incident).and_then(|incident| incident.gather.as_ref());
                if gather.is_none_or(|gather| gather.ended.is_some()) {
                    return violated(format!("{incident}: evidence is gathered without a durable start"));
                }
                Ok(())
            }
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
        // A sync is turned on again after its plan, as often as that takes.
        if disk.resumes_sync(attempt) {
            return if self.operated.insert(key.clone()) {
                Ok(())
            } else {
                violated(format!("{key} is carried out twice"))
            };
        }
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

    /// No plan leads on from where another plan led, judged by what the target really did.
    pub(super) fn hops(world: &World, disk: &Durable) -> Result<(), Violation> {
        for key in &world.hops {
            let plans = disk.incidents.get(&key.incident).map(|incident| &incident.plans);
            let plan = plans.and_then(|plans| plans.iter().find(|plan| plan.number == key.plan));
            let ordered = plan.and_then(|plan| plan.by_hand.as_ref());
            if !ordered.is_some_and(|order| order.overridden.contains(&Gate::OneRollbackForADeploy)) {
                return violated(format!("{key} switched away from what another plan had made live: a second hop"));
            }
        }
        Ok(())
    }

    /// An entry became durable.
    pub(super) fn entry(&mut self, moment: &Moment<'_>) -> Result<(), Violation> {
        let &Moment { entry, before, .. } = moment;
        let stamp = Stamp { boot: moment.boot, wall: entry.at };
        self.approvals.entry(moment)?;
        match &entry.fact {
            Fact::IncidentOpened { incident, .. } => {
                self.opened.insert(incident.clone(), (moment.service()?.clone(), stamp));
            }
            Fact::IncidentResolved { incident, .. } => {
                self.resolved.insert(incident.clone(), stamp);
            }
            Fact::PlanStarted { .. } => self.plan_started(moment)?,
            Fact::Step { incident, plan, step, event: StepEvent::Started, .. } => {
                let plan = before.incidents[incident].plans.iter().find(|one| one.number == *plan);
                let step = plan.and_then(|plan| plan.steps.get(usize::from(*step)));
                let on_record = step.is_some_and(|step| step.planned.action == StepAction::Record);
                if plan.is_some_and(|plan| plan.aborted.is_some()) && !on_record {
                    return violated(format!("{incident}: a step begins in a plan that was aborted"));
                }
            }
            Fact::StandingChanged { version, standing: Standing::KnownBad, .. } => {
                let incidents = before.incidents.values().filter(|one| Some(&one.service) == entry.service.as_ref());
                let plans = incidents
                    .filter_map(IncidentRecord::active_plan)
                    .filter(|plan| plan.plan.rolls_back() && plan.from == *version);
                let is_verify = |action: &StepAction| *action == StepAction::Verify;
                if !plans.into_iter().any(|plan| plan.status_of(is_verify) == Some(StepStatus::Done)) {
                    return violated(format!("{version} is known to be bad, and no rollback from it was verified"));
                }
            }
            Fact::StandingChanged { version, standing: Standing::Suspect, .. } => {
                let known = before.service(moment.service()?).measured(version);
                if known.is_some_and(|known| known.standing == Standing::KnownBad) {
                    return violated(format!("{version} is known to be bad, and by now only suspect"));
                }
            }
            Fact::PageQueued { page, .. } => self.pages.queued(page, moment.boot)?,
            Fact::Reported { authority, .. } => {
                if let (Authority::Operator, Some(service)) = (authority, &entry.service) {
                    self.accused_by_people.insert(service.clone());
                }
            }
            Fact::NightlyDryRun { .. } => {
                let name = moment.service()?;
                let last = before.service(name).night.as_ref().map(|night| night_of(name, night.at));
                if last >= Some(night_of(name, entry.at)) {
                    return violated(format!("{name}: two dry runs in one night"));
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
}
