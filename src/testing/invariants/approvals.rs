//! Approvals act once, in time, and only for what was shown; a denial holds its deploy.

use std::collections::{BTreeMap, BTreeSet};

use super::{Moment, Violation, violated};
use crate::core::{
    durable::ApprovalState,
    entry::Fact,
    gate::Gate,
    name::{IncidentId, ServiceName, Version},
    time::BootTime,
    verdict::VerdictKind,
};

#[derive(Debug, Default)]
pub(super) struct Approvals {
    used: BTreeSet<(IncidentId, u32)>,
    /// When each runs out by the clock that nobody steps.
    expires: BTreeMap<(IncidentId, u32), BootTime>,
    /// Deploys that somebody denied, and the gravest verdict at which that was.
    denied: BTreeMap<(ServiceName, u64), VerdictKind>,
    /// The same by its version and the moment at which the world's people made it live, whatever number the journal gives
    /// it.
    truly_denied: BTreeMap<(ServiceName, Version, BootTime), VerdictKind>,
}

impl Approvals {
    pub(super) fn entry(&mut self, moment: &Moment<'_>) -> Result<(), Violation> {
        match &moment.entry.fact {
            Fact::ApprovalRequested { incident, approval, expires, .. } => {
                let at = moment.boot.after(expires.since(moment.entry.at));
                self.expires.insert((incident.clone(), *approval), at);
                Ok(())
            }
            Fact::Approved { incident, approval, .. } => self.given(moment, incident, *approval),
            Fact::Denied { incident, approval, .. } => {
                let record = &moment.before.incidents[incident];
                let asked = record.approvals.iter().find(|one| one.number == *approval);
                if let (Some(asked), Some((deploy, _))) = (asked, &record.accused) {
                    let world = &moment.worlds[moment.index()?];
                    if world.deployed_at <= moment.boot && world.is_live(&asked.from) {
                        let key = (record.service.clone(), asked.from.clone(), world.deployed_at);
                        self.truly_denied.insert(key, asked.verdict);
                    }
                    let at = self.denied.entry((record.service.clone(), *deploy)).or_insert(asked.verdict);
                    *at = (*at).max(asked.verdict);
                }
                Ok(())
            }
            Fact::PlanStarted { .. } => self.acted_on(moment),
            _ => Ok(()),
        }
    }

    fn given(&self, moment: &Moment<'_>, incident: &IncidentId, number: u32) -> Result<(), Violation> {
        let record = &moment.before.incidents[incident];
        let Some(asked) = record.open_approval().filter(|open| open.number == number) else {
            return violated(format!("{incident}: approval {number} is given and was not open"));
        };
        let is_over = self.expires.get(&(incident.clone(), number)).is_some_and(|expires| moment.boot >= *expires);
        if is_over {
            return violated(format!("{incident}: approval {number} is given after it expired"));
        }
        let live = moment.before.service(&record.service).live().map(|live| &live.deploy.release.version);
        if live != Some(&asked.from) {
            return violated(format!("{incident}: approval {number} is for {}, and {live:?} is live", asked.from));
        }
        Ok(())
    }

    fn acted_on(&mut self, moment: &Moment<'_>) -> Result<(), Violation> {
        let Fact::PlanStarted { incident, plan, from, to, deploy, approved_by, by_hand, .. } = &moment.entry.fact
        else {
            return Ok(());
        };
        let record = &moment.before.incidents[incident];
        let mut approved_at = None;
        if let Some(by) = approved_by {
            let Some(asked) = record.approvals.last().filter(|one| one.state == ApprovalState::Approved(by.clone()))
            else {
                return violated(format!("{incident}: a plan is put down to an approval that was not given"));
            };
            if (asked.plan, &asked.from, &asked.to) != (*plan, from, to) {
                return violated(format!("{incident}: {asked:?} was approved, and {plan} from {from} to {to} begins"));
            }
            if !self.used.insert((incident.clone(), asked.number)) {
                return violated(format!("{incident}: approval {} is used twice", asked.number));
            }
            approved_at = Some(asked.verdict);
        }
        let world = &moment.worlds[moment.index()?];
        let deployed_at = world.deployed_at;
        let truly = self.truly_denied.get(&(record.service.clone(), from.clone(), deployed_at));
        let truly = truly.filter(|_| deployed_at <= moment.boot && !world.is_mistold);
        let Some(denied) = self.denied.get(&(record.service.clone(), *deploy)).or(truly) else { return Ok(()) };
        let is_overridden = by_hand.as_ref().is_some_and(|order| order.overridden.contains(&Gate::NotDenied));
        // Whoever orders it at a graver verdict than the one at which it was denied has answered what would be asked anew.
        let ordered_at = by_hand.as_ref().map(|_| record.verdict);
        if !is_overridden && approved_at.or(ordered_at).is_none_or(|verdict| verdict <= *denied) {
            return violated(format!("{incident}: a plan begins for deploy {deploy}, which was denied at {denied}"));
        }
        Ok(())
    }
}
