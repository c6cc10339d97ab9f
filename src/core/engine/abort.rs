//! Ending a plan safely because a person wants it: what is under way comes to its end, what is half done is undone, and
//! once the older version is live it stays.

use super::{
    drive::{Current, Drive},
    incident::write_evidence,
    outlook,
    page::Draft,
    service::Service,
    turn::Turn,
    verification::why_ended,
};
use crate::core::{
    durable::PlanRecord,
    entry::{Fact, PlanOutcome, StepAction, StepEvent},
    event::{Refusal, Reply},
    name::IncidentId,
    page::PageKind,
    release::Standing,
    saga::StepStatus,
};

/// Whether somebody wants the plan under way to end.
pub(super) fn is_aborted(turn: &Turn<'_>, current: &Current) -> bool {
    turn.incident(&current.incident).active_plan().is_some_and(|plan| plan.aborted.is_some())
}

/// What the world is left as, in words.
fn left_as(plan: &PlanRecord) -> String {
    if !plan.plan.rolls_back() {
        return format!("{} is live, as before; what was deleted of its instances comes back.", plan.from);
    }
    match plan.switch_status() {
        StepStatus::Done => format!("{} is live, and stays.", plan.to),
        StepStatus::Failed if plan.is_given_up() => format!("{} was not made live: see what is.", plan.to),
        StepStatus::Pending | StepStatus::Skipped => format!("Nothing was changed: {} is live, as before.", plan.from),
        StepStatus::Undone => format!("What was begun was undone: {} is live, as before.", plan.from),
        _ => format!(
            "What is under way comes to its end first: if the switch succeeds, {} is live and stays; if it fails, it is \
             undone, and {} stays.",
            plan.to, plan.from
        ),
    }
}

impl Service {
    pub(super) fn abort(&mut self, turn: &mut Turn<'_>, id: &IncidentId, by: &str, reason: Option<String>) -> Reply {
        let incident = turn.incident(id);
        if let Some((_, how)) = &incident.resolved {
            return Err(Refusal::Conflict(format!("incident {id} is over: {how}")));
        }
        let Some(plan) = incident.active_plan() else {
            let why = format!("no plan is under way in incident {id}; a pause keeps one from beginning");
            return Err(Refusal::Conflict(why));
        };
        if let Some((who, _)) = &plan.aborted {
            return Err(Refusal::Conflict(format!("{who} aborted plan {} already", plan.number)));
        }
        let verified = plan.status_of(|action| *action == StepAction::Verify);
        if matches!(verified, Some(StepStatus::Done | StepStatus::Failed | StepStatus::Unknown)) || plan.is_given_up() {
            let why = format!("plan {} is through already, and only puts itself on record", plan.number);
            return Err(Refusal::Conflict(why));
        }
        let number = plan.number;
        let fact = Fact::AbortAsked { incident: id.clone(), plan: number, by: by.to_owned(), reason };
        turn.append(Some(&self.name), fact);
        self.drive(turn);
        let plan = turn.incident(id).plans.iter().rfind(|plan| plan.number == number);
        let left = plan.map(left_as).unwrap_or_default();
        Ok(format!("{}: plan {number} of {id} ends. {left}", self.name))
    }

    /// Leads a plan that is to end there. Nothing if the step has to go its ordinary way first; else whether something was
    /// settled, so that the plan goes on.
    pub(super) fn follow_abort(&mut self, turn: &mut Turn<'_>, current: &Current) -> Option<bool> {
        if !is_aborted(turn, current) || current.record.planned.action == StepAction::Record {
            return None;
        }
        let operates = matches!(current.record.planned.action, StepAction::Operate { .. });
        match current.record.status {
            StepStatus::Pending => {}
            // It waits for the journal, and has not left.
            StepStatus::Started if operates && turn.ledger.holds(&current.key) => {
                self.not_begun(turn, current, "not begun: the plan was aborted");
            }
            // Its outcome comes back, or a look tells it.
            StepStatus::Started | StepStatus::Undoing | StepStatus::Unknown | StepStatus::UndoUnknown if operates => {
                return None;
            }
            StepStatus::Started | StepStatus::Unknown => {
                let fact = Fact::Step {
                    incident: current.incident.clone(),
                    plan: current.plan,
                    step: current.step,
                    event: StepEvent::Failed,
                    note: "left: the plan was aborted".to_owned(),
                };
                turn.append(Some(&self.name), fact);
            }
            StepStatus::Failed => {
                if let Some(undo) = current.record.planned.undo.clone() {
                    return Some(self.begin_undo(turn, current, undo));
                }
            }
            _ => return None,
        }
        self.leave_rest(turn, current);
        Some(true)
    }

    /// Leaves out every step that was not begun, except putting the plan on record.
    pub(super) fn leave_rest(&self, turn: &mut Turn<'_>, current: &Current) {
        let incident = turn.incident(&current.incident);
        let plan = incident.active_plan().expect("the plan under way");
        let rest = plan
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.status == StepStatus::Pending && step.planned.action != StepAction::Record);
        let rest: Vec<u16> = rest.map(|(place, _)| u16::try_from(place).expect("plans have few steps")).collect();
        for step in rest {
            let fact = Fact::Step {
                incident: current.incident.clone(),
                plan: current.plan,
                step,
                event: StepEvent::Skipped,
                note: String::new(),
            };
            turn.append(Some(&self.name), fact);
        }
    }

    /// Every step of an aborted plan is settled.
    pub(super) fn end_aborted(&mut self, turn: &mut Turn<'_>, id: &IncidentId) {
        let plan = turn.incident(id).active_plan().expect("the plan under way");
        let (number, from, to) = (plan.number, plan.from.clone(), plan.to.clone());
        let (what, rolls_back) = (outlook::named(plan), plan.plan.rolls_back());
        let is_accused = plan.is_accused(turn.incident(id));
        let (left, switched) = (left_as(plan), plan.switch_status() == StepStatus::Done);
        let outcome = PlanOutcome::Aborted;
        let detail = why_ended(plan, outcome);
        turn.append(
            Some(&self.name),
            Fact::PlanEnded { incident: id.clone(), plan: number, outcome, detail: detail.clone() },
        );
        if switched && is_accused {
            let why = "rolled back from, and whether that helped was not waited for".to_owned();
            self.measured(turn, &from, Standing::Suspect, why);
        }
        let kind = if rolls_back { PageKind::RollbackFailed } else { PageKind::IncidentEscalated };
        let draft = Draft::about(kind, turn.incident(id), format!("{}: {what} was {detail}", self.name));
        let draft = if rolls_back { draft.versions(&from, &to) } else { draft };
        let action = if switched {
            format!("{to} stays, and Backstop does nothing more: the incident closes once what fired is clear.")
        } else {
            "Backstop does nothing more in this incident: people decide.".to_owned()
        };
        let draft = draft.action(action).details([left]);
        turn.page(draft);
        self.drive = Drive::default();
        self.calm_since = None;
        self.told_at = Some(turn.now.boot);
        write_evidence(turn, id);
    }
}
