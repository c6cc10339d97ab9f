//! The fold of what is said of plans and of gathering.

use super::{
    GatherRecord, PlanRecord, StepRecord,
    apply::{Fold, FoldError},
    service::ROLLBACKS_LIMIT,
};
use crate::core::{
    entry::{Fact, PlanOutcome, StepAction, StepEvent},
    operation::Operation,
    saga::{StepStatus, next_status},
};

impl Fold<'_> {
    pub(super) fn plan_fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        let (at, steady) = (self.at, self.steady);
        match fact {
            Fact::PlanStarted { incident, number, plan, from, to, deploy, object, steps, approved_by, by_hand } => {
                let verdict = Some(self.incident(incident)?.verdict);
                let begun = PlanRecord {
                    verdict,
                    number: *number,
                    plan: *plan,
                    from: from.clone(),
                    to: to.clone(),
                    deploy: *deploy,
                    object: object.clone(),
                    started_at: at,
                    started: steady,
                    approved_by: approved_by.clone(),
                    by_hand: by_hand.clone(),
                    aborted: None,
                    steps: steps
                        .iter()
                        .map(|planned| StepRecord {
                            planned: planned.clone(),
                            status: StepStatus::Pending,
                            attempts: 0,
                            failures: 0,
                            note: String::new(),
                            started_at: None,
                            ended_at: None,
                        })
                        .collect(),
                    ended: None,
                    ended_why: String::new(),
                    touched_at: steady,
                };
                self.incident(incident)?.plans.push(begun);
                let ordered = by_hand.as_ref().map(|order| format!(", {}", order.words())).unwrap_or_default();
                let versions = if plan.rolls_back() { format!("from {from} to {to}") } else { format!("of {from}") };
                self.tell(incident, format!("plan {plan} begun: {versions}{ordered}"))?;
                let record = self.service()?;
                let begun = if plan.rolls_back() { &mut record.rollbacks } else { &mut record.restarts };
                if begun.len() == ROLLBACKS_LIMIT {
                    begun.pop_front();
                }
                begun.push_back(steady);
            }
            Fact::Step { incident, plan, step, event, note } => {
                let (sequence, missing) = (self.sequence, self.dangling(format!("step {step}")));
                let record = self.plan(incident, *plan)?;
                record.touched_at = steady;
                let accused = record.deploy;
                let record = record.steps.get_mut(usize::from(*step)).ok_or(missing)?;
                record.status = next_status(record.status, *event)
                    .map_err(|source| FoldError::Transition { at: sequence, source })?;
                if matches!(event, StepEvent::Started | StepEvent::UndoStarted) {
                    record.attempts += 1;
                    record.started_at.get_or_insert(at);
                } else {
                    record.ended_at = Some(at);
                }
                if *event == StepEvent::Failed {
                    record.failures += 1;
                }
                if !note.is_empty() {
                    record.note.clone_from(note);
                }
                let switches =
                    matches!(&record.planned.action, StepAction::Operate { operation: Operation::Switch { .. } });
                let title = record.planned.title.clone();
                let status = record.status.as_str();
                let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
                self.tell(incident, format!("step {}: {title}: {status}{note}", step + 1))?;
                self.sync_by_step((incident, *plan, *step), *event)?;
                // What changed nothing yet does not use up the one rollback of this deploy.
                if switches
                    && *event == StepEvent::Started
                    && let Some(accused) = self.service()?.deploy_mut(accused)
                {
                    accused.rolled_back = true;
                }
            }
            Fact::PlanEnded { incident, plan, outcome, detail } => {
                let record = self.plan(incident, *plan)?;
                record.ended = Some((at, *outcome));
                record.ended_why.clone_from(detail);
                record.touched_at = steady;
                let rolls_back = record.plan.rolls_back();
                self.tell(incident, format!("plan ended {}: {detail}", outcome.as_str()))?;
                self.sync_at_end(incident, *plan, *outcome)?;
                let record = self.service()?;
                if rolls_back && !matches!(outcome, PlanOutcome::Overtaken) {
                    record.last_rollback_ended = Some(steady);
                }
            }
            _ => unreachable!("dispatched by `fact`"),
        }
        Ok(())
    }

    pub(super) fn gather_fact(&mut self, fact: &Fact) -> Result<(), FoldError> {
        let at = self.at;
        match fact {
            Fact::GatherBegun { incident, why, by } => {
                let by = by.as_ref().map(|by| format!(", ordered by {by}")).unwrap_or_default();
                let record = self.incident(incident)?;
                record.gather = Some(GatherRecord { begun_at: at, why: why.clone(), ended: None });
                record.tell(at, format!("evidence is being gathered: {why}{by}"));
            }
            Fact::Gathered { incident, found, why_not } => {
                let not_begun = self.dangling(format!("gathering under way for incident {incident}"));
                let record = self.incident(incident)?;
                let under_way = record.gather.as_mut().filter(|gather| gather.ended.is_none());
                let gather = under_way.ok_or(not_begun)?;
                gather.ended = Some(found.clone().ok_or_else(|| why_not.clone().unwrap_or_default()));
                let text = match found {
                    Some(found) => found.words(),
                    None => format!("nothing could be gathered: failed to {}", why_not.as_deref().unwrap_or_default()),
                };
                record.tell(at, text);
                for line in found.iter().flat_map(|found| &found.seen) {
                    record.tell(at, format!("gathered: {line}"));
                }
            }
            _ => unreachable!("dispatched by `fact`"),
        }
        Ok(())
    }
}
