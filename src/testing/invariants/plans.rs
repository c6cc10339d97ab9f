//! A plan begins only where it may.

use super::{Invariants, Moment, Stamp, Violation, violated};
use crate::core::{
    answer::Answer,
    durable::PauseRecord,
    entry::Fact,
    event::Authority,
    gate::Gate,
    policy::{ConsiderThen, Mode, SharedCausePolicy},
    release::{DeploySource, Standing},
    verdict::VerdictKind,
};

impl Invariants {
    pub(super) fn plan_started(&mut self, moment: &Moment<'_>) -> Result<(), Violation> {
        let &Moment { entry, before, mode, policy, .. } = moment;
        let Fact::PlanStarted { incident, plan, from, to, approved_by, by_hand, .. } = &entry.fact else {
            return Ok(());
        };
        let name = moment.service()?.clone();
        self.plans.push((name.clone(), None));
        let record = before.service(&name);
        let incident = &before.incidents[incident];
        // What a person overrode by name is that person's; everything else holds for people, too.
        let is_overridden = |gate: Gate| by_hand.as_ref().is_some_and(|order| order.overridden.contains(&gate));
        // Where consider is acted on, operators' reports are enough; a reporter's never are.
        let by_report = policy.services[moment.index()?].consider.then == ConsiderThen::RollBack
            && record.reports.iter().any(|report| report.authority == Authority::Operator);
        if by_hand.is_some() || approved_by.is_some() || by_report {
            self.accused_by_people.insert(name.clone());
        }
        if by_hand.is_some() {
            self.pages.ordered(&name, moment.boot);
        }
        if by_hand.as_ref().is_some_and(|order| !order.overridden.is_empty() && order.reason.is_none()) {
            return violated(format!("{name}: gates overridden without a reason"));
        }
        if incident.active_plan().is_some() {
            return violated(format!("{name}: two plans at once"));
        }
        let began = |rolls_back: bool| incident.plans.iter().any(|one| one.plan.rolls_back() == rolls_back);
        if by_hand.is_none() && (began(true) || (!plan.rolls_back() && began(false))) {
            return violated(format!("{name}: {plan} begins after {:?} in one incident", incident.plans));
        }
        if plan.rolls_back() == (from == to) {
            return violated(format!("{name}: {plan} from {from} to {to}"));
        }
        if plan.rolls_back() {
            Self::check_destination(moment)?;
        }
        // A pause lasts as long as it was given for, whatever the wall clock was set to meanwhile.
        let steady = before.timeline.at(entry.at, entry.boot);
        let holds = |pause: &PauseRecord| !pause.is_over(steady);
        let is_paused = [&record.paused, &before.paused].into_iter().flatten().any(holds);
        if is_paused && !is_overridden(Gate::NotPaused) {
            return violated(format!("{name}: a plan begins while paused"));
        }
        if by_hand.is_some() {
            return Ok(());
        }
        self.check_surroundings(moment)?;
        let deciding = incident.path.deciding();
        if deciding.is_none_or(|question| question.answer != Answer::Yes) {
            return violated(format!("{name}: a plan begins and no question says yes"));
        }
        if approved_by.is_some() {
            return Ok(());
        }
        let index = moment.index()?;
        let acts_on_consider = policy.services[index].consider.then == ConsiderThen::RollBack;
        let is_grave = incident.verdict == VerdictKind::RollBack
            || (acts_on_consider && incident.verdict == VerdictKind::Consider);
        if mode != Mode::Act || !is_grave || incident.refused {
            return violated(format!("{name}: a plan begins and nobody approved it"));
        }
        Ok(())
    }

    /// Where a rollback leads to, and what it leads away from.
    fn check_destination(moment: &Moment<'_>) -> Result<(), Violation> {
        let &Moment { entry, before, .. } = moment;
        let Fact::PlanStarted { from, to, by_hand, .. } = &entry.fact else { return Ok(()) };
        let name = moment.service()?;
        let record = before.service(name);
        let live = record.live().ok_or_else(|| Violation("a plan without a live release".to_owned()))?;
        let is_overridden = |gate: Gate| by_hand.as_ref().is_some_and(|order| order.overridden.contains(&gate));
        // A person may try again what failed and was undone. That it was is judged by the world, where it counts hops.
        let tries_again = by_hand.is_some() && before.was_undone(name, live.deploy.number);
        if (live.deploy.source == DeploySource::Rollback || (live.rolled_back && !tries_again))
            && !is_overridden(Gate::OneRollbackForADeploy)
        {
            return violated(format!("{name}: a second hop, from {from} to {to}"));
        }
        if matches!(record.standing(to), Standing::KnownBad | Standing::Suspect) && !is_overridden(Gate::NotKnownBad) {
            return violated(format!("{name}: back to {to}, which is {}", record.standing(to).as_str()));
        }
        if record.standing(to) != Standing::KnownGood && !is_overridden(Gate::KnownGood) {
            return violated(format!("{name}: back to {to}, which is not known to be good"));
        }
        if record.pins.contains_key(from) && !is_overridden(Gate::NotPinned) {
            return violated(format!("{name}: a plan leads away from {from}, which is pinned"));
        }
        Ok(())
    }

    /// What several services share is not suspected, what it depends on is well, and it is no time of maintenance.
    fn check_surroundings(&self, moment: &Moment<'_>) -> Result<(), Violation> {
        let &Moment { entry, before, policy, .. } = moment;
        let name = moment.service()?;
        let service = &policy.services[moment.index()?];
        if service.maintenance.iter().any(|time| time.is_on(entry.at)) {
            return violated(format!("{name}: a plan begins in a time of maintenance"));
        }
        let healthy_for = service.verify.healthy_for;
        // A step of the wall clock may hide from a process that began after it how short ago something was.
        let is_recent =
            |stamp: &Stamp| moment.boot.since(stamp.boot) < healthy_for && entry.at.since(stamp.wall) < healthy_for;
        let is_ill = |needed: &&crate::core::name::ServiceName| {
            let mut incidents = before.incidents.values().filter(|incident| incident.service == **needed);
            incidents.any(|incident| incident.is_open() || self.resolved.get(&incident.id).is_some_and(is_recent))
        };
        if let Some(needed) = service.depends_on.iter().find(is_ill) {
            return violated(format!("{name}: a plan begins, and {needed}, on which it depends, is not well"));
        }
        let SharedCausePolicy { services, within } = service.gates.shared_cause;
        let limit = usize::try_from(services).expect("a small number");
        let stamp_of = |name| before.open_incident(name).and_then(|open| self.opened.get(&open.id)).map(|one| one.1);
        let own = stamp_of(name).ok_or_else(|| Violation(format!("{name}: a plan without an incident")))?;
        let opened: Vec<Stamp> = policy.services.iter().filter_map(|service| stamp_of(&service.name)).collect();
        let by_boot = |first: &Stamp, other: &Stamp| first.boot <= other.boot && other.boot <= first.boot.after(within);
        let by_wall = |first: &Stamp, other: &Stamp| first.wall <= other.wall && other.wall <= first.wall.after(within);
        let together = |is_in: &dyn Fn(&Stamp, &Stamp) -> bool| {
            opened
                .iter()
                .any(|first| is_in(first, &own) && opened.iter().filter(|other| is_in(first, other)).count() >= limit)
        };
        if together(&by_boot) && together(&by_wall) {
            return violated(format!("{name}: a plan begins, and what several services share is to be suspected"));
        }
        Ok(())
    }
}
