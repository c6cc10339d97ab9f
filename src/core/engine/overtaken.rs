//! Somebody put another release live: approvals and plans for the one before are void, and the human wins.

use super::{outlook, page::Draft, service::Service, turn::Turn};
use crate::core::{
    entry::{Fact, PlanOutcome, StepAction},
    name::Version,
    operation::Operation,
    page::PageKind,
    policy::Finding,
};

impl Service {
    /// A deploy that is not ours came: approvals and plans for the one before are void.
    pub(super) fn overtaken_by_deploy(&mut self, turn: &mut Turn<'_>, version: &Version) {
        self.void_approval(turn, &format!("{version} was deployed"));
        let Some(incident) = turn.open_incident(&self.name) else { return };
        if incident.active_plan().is_some() {
            self.end_overtaken(turn, &format!("{version} was deployed meanwhile"));
        } else {
            // It accuses a release that is gone. If the new one is not well either, an incident of its own says so.
            self.resolve(
                turn,
                &format!("closed, since {version} was deployed; if that is not well, a new incident opens"),
                Some(version),
            );
        }
    }

    /// The human wins: the plan ends where it is, and people are told.
    pub(super) fn end_overtaken(&mut self, turn: &mut Turn<'_>, why: &str) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let Some(plan) = incident.active_plan() else { return };
        if !plan.plan.rolls_back() {
            return self.end_overtaken_restart(turn, why);
        }
        let (id, number, from, to) = (incident.id.clone(), plan.number, plan.from.clone(), plan.to.clone());
        // Only what changes the target may change it still.
        let under_way = plan.current_step().filter(|(_, step)| {
            let operation = match &step.planned.action {
                StepAction::Operate { operation } => Some(operation),
                _ => None,
            };
            step.status.in_flight() && matches!(operation, Some(Operation::Switch { .. }))
        });
        let under_way = under_way.map(|(place, step)| {
            let title = &step.planned.title;
            format!("Step {} ({title}) was under way and may still come to its end: see what is live then.", place + 1)
        });
        let whose = outlook::whose(plan);
        let fact = Fact::PlanEnded {
            incident: id.clone(),
            plan: number,
            outcome: PlanOutcome::Overtaken,
            detail: why.to_owned(),
        };
        turn.append(Some(&self.name), fact);
        self.find(turn, Finding::RollbackFailed, why, None);
        let summary = format!("{}: the rollback from {from} to {to} stopped: {why}", self.name);
        let draft = Draft::about(PageKind::RollbackFailed, turn.incident(&id), summary)
            .found(Finding::RollbackFailed)
            .versions(&from, &to)
            .action(outlook::OVERTAKEN)
            .details(under_way)
            .details(whose);
        turn.page(draft);
        self.left(turn, &id, number);
    }
}
