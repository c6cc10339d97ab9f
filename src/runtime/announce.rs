//! Tells at the targets themselves what is done to them, one after another for each, and waits for nothing: what a
//! platform does not take in time is left out, and the log says so.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    core::{
        entry::{Entry, Fact, PlanOutcome, StepEvent},
        name::ServiceName,
        policy::Finding,
    },
    target::{Notice, Target},
};

/// Notices of one target that may wait: a few plans with all their steps.
const QUEUE_LIMIT: usize = 64;

/// Where notices go, for each service whose target has a place for them.
#[derive(Debug, Default)]
pub(super) struct Announcer(Vec<(Arc<ServiceName>, mpsc::Sender<Notice>)>);

impl Announcer {
    /// Begins to tell at this target, if it takes notices.
    pub(super) fn add(&mut self, watchers: &mut JoinSet<()>, service: &Arc<ServiceName>, target: &Arc<Target>) {
        if !target.takes_notices() {
            return;
        }
        let (sender, mut notices) = mpsc::channel::<Notice>(QUEUE_LIMIT);
        let target = Arc::clone(target);
        let name = Arc::clone(service);
        watchers.spawn(async move {
            while let Some(notice) = notices.recv().await {
                if let Err(reason) = target.announce(&notice).await {
                    tracing::warn!(service = %name, notice = notice.reason, "not told at the target: failed to {reason}");
                }
            }
        });
        self.0.push((Arc::clone(service), sender));
    }

    /// Tells of an entry, if it is of interest there.
    pub(super) fn tell(&self, entry: &Entry) {
        let Some(service) = &entry.service else { return };
        let Some((_, queue)) = self.0.iter().find(|(name, _)| **name == *service) else { return };
        if let Some(notice) = notice(entry)
            && queue.try_send(notice).is_err()
        {
            tracing::warn!(%service, "not told at the target: {QUEUE_LIMIT} notices wait already");
        }
    }
}

/// What an entry says to whoever looks at the target.
fn notice(entry: &Entry) -> Option<Notice> {
    let (id, reason, message, is_warning) = match &entry.fact {
        Fact::IncidentOpened { incident, path, .. } => {
            (format!("{incident}/opened"), "IncidentOpened", format!("{incident}: {}", path.because), true)
        }
        Fact::IncidentResolved { incident, how } => {
            (format!("{incident}/resolved"), "IncidentResolved", format!("{incident}: {how}"), false)
        }
        Fact::Found { incident: Some(incident), finding: Finding::RollbackRefused, detail, gate, .. } => {
            let gate = gate.map_or("", |gate| gate.as_str());
            let message = format!("{incident}: a rollback was due and is not made: {detail}");
            (format!("{incident}/refused/{gate}"), "RollbackRefused", message, true)
        }
        Fact::PlanStarted { incident, number, plan, from, to, .. } => {
            let (reason, what) = if plan.rolls_back() {
                ("RollbackStarted", format!("rolling back from {from} to {to}"))
            } else {
                ("RestartStarted", format!("restarting what fails of {from}"))
            };
            let message = format!("{incident}: {what} (plan {plan})");
            (format!("{incident}/{number}/started"), reason, message, true)
        }
        Fact::Step { incident, plan, step, event, note } => {
            let (reason, is_warning) = step_reason(*event)?;
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            // People count steps from 1.
            let message = format!("{incident}: step {} of plan {plan}{note}", step + 1);
            (format!("{incident}/{plan}/{step}/{reason}"), reason, message, is_warning)
        }
        Fact::PlanEnded { incident, plan, outcome, detail } => {
            let (reason, is_warning) = outcome_reason(*outcome);
            (format!("{incident}/{plan}/ended"), reason, format!("{incident}: {detail}"), is_warning)
        }
        _ => return None,
    };
    Some(Notice { id, at: entry.at, reason, message, is_warning })
}

/// Only how steps end: that they begin is told by the one before.
const fn step_reason(event: StepEvent) -> Option<(&'static str, bool)> {
    Some(match event {
        StepEvent::Succeeded => ("RollbackStep", false),
        StepEvent::Failed => ("RollbackStepFailed", true),
        StepEvent::Undone => ("RollbackStepUndone", true),
        StepEvent::UndoFailed => ("RollbackStepStuck", true),
        StepEvent::Started | StepEvent::BecameUnknown | StepEvent::Skipped | StepEvent::UndoStarted => return None,
    })
}

const fn outcome_reason(outcome: PlanOutcome) -> (&'static str, bool) {
    match outcome {
        PlanOutcome::Verified => ("RollbackVerified", false),
        PlanOutcome::Persists => ("RollbackPersists", true),
        PlanOutcome::Unverified => ("RollbackUnverified", true),
        PlanOutcome::Failed => ("RollbackFailed", true),
        PlanOutcome::Stuck => ("RollbackStuck", true),
        PlanOutcome::Overtaken => ("RollbackOvertaken", true),
        PlanOutcome::Aborted => ("RollbackAborted", true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        gate::Gate,
        name::{IncidentId, Version},
        policy::Severity,
        time::WallTime,
        verdict::PlanKind,
    };

    fn told(fact: Fact) -> Option<(String, &'static str, String, bool)> {
        let entry = Entry { at: WallTime::from_millis(7), boot: None, service: Some(ServiceName::from("shop")), fact };
        let notice = notice(&entry)?;
        assert_eq!(notice.at, entry.at);
        Some((notice.id, notice.reason, notice.message, notice.is_warning))
    }

    fn incident() -> IncidentId {
        IncidentId::from("shop-1")
    }

    #[test]
    fn what_people_at_the_target_hear() {
        let step = |event: StepEvent, note: &str| Fact::Step {
            incident: incident(),
            plan: 1,
            step: 1,
            event,
            note: note.to_owned(),
        };
        let found = |finding: Finding| Fact::Found {
            incident: Some(incident()),
            finding,
            severity: Severity::S1,
            detail: "two rollbacks within the hour".to_owned(),
            gate: Some(Gate::Budget),
        };
        for (fact, expected) in [
            (
                Fact::PlanStarted {
                    incident: incident(),
                    number: 1,
                    plan: PlanKind::Quick,
                    from: Version::from("v2"),
                    to: Version::from("v1"),
                    deploy: 2,
                    steps: Vec::new(),
                    approved_by: None,
                    by_hand: None,
                },
                Some(("shop-1/1/started", "RollbackStarted", "shop-1: rolling back from v2 to v1 (plan quick)", true)),
            ),
            (
                step(StepEvent::Succeeded, "revision 1 is the workload's again"),
                Some((
                    "shop-1/1/1/RollbackStep",
                    "RollbackStep",
                    "shop-1: step 2 of plan 1: revision 1 is the workload's again",
                    false,
                )),
            ),
            (step(StepEvent::Started, ""), None),
            (
                step(StepEvent::UndoFailed, "forbidden"),
                Some((
                    "shop-1/1/1/RollbackStepStuck",
                    "RollbackStepStuck",
                    "shop-1: step 2 of plan 1: forbidden",
                    true,
                )),
            ),
            (
                Fact::PlanEnded {
                    incident: incident(),
                    plan: 1,
                    outcome: PlanOutcome::Verified,
                    detail: "all is well".to_owned(),
                },
                Some(("shop-1/1/ended", "RollbackVerified", "shop-1: all is well", false)),
            ),
            (
                found(Finding::RollbackRefused),
                Some((
                    "shop-1/refused/budget",
                    "RollbackRefused",
                    "shop-1: a rollback was due and is not made: two rollbacks within the hour",
                    true,
                )),
            ),
            (found(Finding::SignalLost), None),
            (
                Fact::IncidentResolved { incident: incident(), how: "it is well".to_owned() },
                Some(("shop-1/resolved", "IncidentResolved", "shop-1: it is well", false)),
            ),
        ] {
            let words = expected.map(|(id, reason, message, warns)| (id.to_owned(), reason, message.to_owned(), warns));
            assert_eq!(told(fact), words);
        }
    }
}
