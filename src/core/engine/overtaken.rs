//! Somebody put another release live: approvals and plans for the one before are void, and the human wins.

use super::{drive::Current, outlook, page::Draft, service::Service, turn::Turn};
use crate::core::{
    durable::PlanRecord,
    entry::{Fact, PlanOutcome, StepAction, StepEvent},
    name::Version,
    operation::Operation,
    page::PageKind,
    policy::Finding,
    release::Observation,
    saga::StepStatus,
    sample::Reason,
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

    /// The target itself says so to a step: that came to its end, and is neither tried again nor undone. An undo that finds
    /// somebody else's release is stuck by the journal's word, and nobody is told of a stuck step: what there was to put
    /// back is gone, and the outcome `overtaken` says what people need to know.
    pub(super) fn found_overtaken(&mut self, turn: &mut Turn<'_>, current: &Current, reason: &Reason) {
        let is_undo = current.record.status.is_undo();
        let fact = Fact::Step {
            incident: current.incident.clone(),
            plan: current.plan,
            step: current.step,
            event: if is_undo { StepEvent::UndoFailed } else { StepEvent::Failed },
            note: reason.to_string(),
        };
        turn.append(Some(&self.name), fact);
        self.end_overtaken(turn, &format!("failed to {reason}"));
    }

    /// The human wins: the plan ends where it is, and people are told.
    pub(super) fn end_overtaken(&mut self, turn: &mut Turn<'_>, why: &str) {
        self.end_between(turn, why, Finding::RollbackFailed);
    }

    /// Somebody came between, which is `finding`.
    pub(super) fn end_between(&mut self, turn: &mut Turn<'_>, why: &str, finding: Finding) {
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
        self.find(turn, finding, why, None);
        let summary = format!("{}: the rollback from {from} to {to} stopped: {why}", self.name);
        let draft = Draft::about(PageKind::RollbackFailed, turn.incident(&id), summary)
            .found(finding)
            .versions(&from, &to)
            .details(under_way)
            .details(whose);
        // What is to be done about a sync is said by the escalation table.
        let is_deploy = finding == Finding::RollbackFailed;
        turn.page(if is_deploy { draft.action(outlook::OVERTAKEN) } else { draft.then(outlook::OVERTAKEN.to_owned()) });
        self.left(turn, &id, number);
    }
}

/// How somebody else came between, if a look shows that: a plan is about one object, and leaves it with one of two releases.
pub(super) fn overtaken_by(plan: &PlanRecord, observation: &Observation) -> Option<String> {
    if let Some(why) = &observation.gone {
        return Some(format!("the target is gone: failed to {why}"));
    }
    if let (Some(planned), Some(seen)) = (plan.object.as_deref(), observation.object())
        && planned != seen
    {
        return Some("the target was deleted, and another of the same name is there".to_owned());
    }
    let other = someone_else(plan, observation)?;
    Some(format!("{other} is live at the target, and Backstop did not put it there"))
}

/// What is live, if it is neither what the plan found nor what it puts there.
fn someone_else(plan: &PlanRecord, observation: &Observation) -> Option<Version> {
    let live = &observation.current.as_ref()?.version;
    let expected = match plan.switch_status() {
        StepStatus::Pending | StepStatus::Skipped | StepStatus::Undone => *live == plan.from,
        StepStatus::Done => *live == plan.to,
        StepStatus::Started
        | StepStatus::Failed
        | StepStatus::Unknown
        | StepStatus::Undoing
        | StepStatus::UndoUnknown
        | StepStatus::Stuck => *live == plan.from || *live == plan.to,
    };
    (!expected).then(|| live.clone())
}
