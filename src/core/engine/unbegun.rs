//! A plan whose start the journal took only long after it was decided: nothing of it has left yet, and what it was decided on
//! may not stand any more.

use std::time::Duration;

use super::{
    State,
    drive::{Current, Drive},
    incident::write_evidence,
    outlook,
    page::Draft,
    service::Service,
    turn::Turn,
};
use crate::core::{
    action::Actions,
    durable::PlanRecord,
    entry::{Fact, PlanOutcome, StepEvent},
    gate::words,
    name::ServiceIndex,
    page::PageKind,
    saga::StepStatus,
    time::Now,
};

/// What was decided is judged anew when its start waited for the store longer than this: as long as a store may be away before
/// that is told.
const DECIDED_STANDS_FOR: Duration = Duration::from_secs(10);

/// Whether nothing of it was ever begun but the one step that waits for the store.
fn is_unbegun(plan: &PlanRecord) -> bool {
    let is_first = |step: &crate::core::durable::StepRecord| step.status == StepStatus::Started && step.attempts == 1;
    let mut begun = plan.steps.iter().filter(|step| step.status != StepStatus::Pending);
    plan.aborted.is_none() && begun.next().is_some_and(is_first) && begun.next().is_none()
}

impl State {
    /// The store answers. Plans that waited for it for long, and that nothing asks for any more, are not begun.
    pub(super) fn judge_unbegun(&mut self, now: Now, actions: &mut Actions) {
        let waited = |service: &Service| {
            let began = service.drive.attempt_began?;
            let (key, _) = service.flying.as_ref()?;
            let waited = now.boot.since(began);
            (waited > DECIDED_STANDS_FOR && self.ledger.holds(key)).then_some((service.index, waited))
        };
        let waited: Vec<(ServiceIndex, Duration)> = self.services.iter().filter_map(waited).collect();
        for (index, waited) in waited {
            self.with(now, index, actions, |service, turn| service.leave_unbegun(turn, waited));
        }
    }
}

impl Service {
    /// Whoever ordered it by hand wants it all the same; what evidence asked for has to be asked for still.
    fn leave_unbegun(&mut self, turn: &mut Turn<'_>, waited: Duration) {
        let Some(current) = self.current(turn) else { return };
        let incident = turn.incident(&current.incident);
        let plan = incident.active_plan().expect("the plan under way");
        if !is_unbegun(plan) || plan.by_hand.is_some() {
            return;
        }
        let asked = incident.verdict;
        self.evaluate(turn);
        let is_paused = turn.ledger.durable.paused.is_some() || turn.record(&self.name).paused.is_some();
        if self.watch.verdict().kind >= asked && !is_paused {
            return;
        }
        let reason = if is_paused { "it was paused meanwhile" } else { "what fired does not stand any more" };
        self.end_unbegun(turn, &current, waited, reason);
    }

    fn end_unbegun(&mut self, turn: &mut Turn<'_>, current: &Current, waited: Duration, reason: &str) {
        let id = &current.incident;
        let plan = turn.incident(id).active_plan().expect("the plan under way");
        let (what, rolls_back) = (outlook::named(plan), plan.plan.rolls_back());
        let waited = words(waited);
        let why = format!("not begun: the journal took its start {waited} late, and {reason}");
        self.not_begun(turn, current, &why);
        self.leave_rest(turn, current);
        let fact = Fact::PlanEnded {
            incident: id.clone(),
            plan: current.plan,
            outcome: PlanOutcome::Aborted,
            detail: why.clone(),
        };
        turn.append(Some(&self.name), fact);
        let kind = if rolls_back { PageKind::RollbackFailed } else { PageKind::IncidentEscalated };
        let draft = Draft::about(kind, turn.incident(id), format!("{}: {what} was {why}", self.name));
        let draft = if rolls_back { draft.versions(&current.from, &current.to) } else { draft };
        let left = format!("Nothing was changed: {} is live, as before.", current.from);
        let action = "Nothing to do, unless it fires again: Backstop does nothing more in this incident.";
        turn.page(draft.action(action).details([left]));
        self.drive = Drive::default();
        self.calm_since = None;
        self.told_at = Some(turn.now.boot);
        write_evidence(turn, id);
    }

    /// The step whose attempt waits for the store is left: the attempt does not leave any more.
    pub(super) fn not_begun(&mut self, turn: &mut Turn<'_>, current: &Current, why: &str) {
        let fact = Fact::Step {
            incident: current.incident.clone(),
            plan: current.plan,
            step: current.step,
            event: StepEvent::Failed,
            note: why.to_owned(),
        };
        turn.append(Some(&self.name), fact);
        self.leave_flying(turn);
    }
}
