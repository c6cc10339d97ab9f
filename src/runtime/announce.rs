//! Tells at the targets themselves what is done to them, one after another for each, and waits for nothing: what a
//! platform does not take in time is left out, and the log says so.

use std::{collections::VecDeque, sync::Arc};

use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    core::{
        durable::{Durable, IncidentRecord},
        engine::UNCOMMITTED_LIMIT,
        entry::{Entry, Fact, PlanOutcome, StepEvent},
        event::Sequence,
        name::ServiceName,
        policy::Finding,
        verdict::PlanKind,
    },
    target::{Notice, Target},
};

/// Notices of one target that may wait: a few plans with all their steps.
const QUEUE_LIMIT: usize = 64;

/// Entries of interest that are not durable yet: what a crash takes back was never told to anybody. As many as the core
/// leaves uncommitted, and no more.
#[derive(Debug, Default)]
pub(super) struct Uncommitted(VecDeque<(Sequence, Arc<Entry>)>);

impl Uncommitted {
    /// Holds an entry back, if there is anything to tell of it.
    pub(super) fn hold(&mut self, sequence: Sequence, entry: &Arc<Entry>) {
        if entry.service.is_none() || notice(entry, PlanKind::Quick).is_none() {
            return;
        }
        if (self.0.len() as u64) < UNCOMMITTED_LIMIT {
            self.0.push_back((sequence, Arc::clone(entry)));
        } else {
            tracing::warn!(
                sequence = sequence.0,
                "not told at the target: {UNCOMMITTED_LIMIT} entries wait to be written"
            );
        }
    }

    /// The next of those that are durable now that all up to `committed` are.
    pub(super) fn next(&mut self, committed: Sequence) -> Option<Arc<Entry>> {
        self.0.pop_front_if(|(sequence, _)| *sequence <= committed).map(|(_, entry)| entry)
    }
}

/// Where notices go, for each service whose target has a place for them.
#[derive(Debug, Default)]
pub(super) struct Announcer(Vec<Place>);

/// Where it is told what is done to one service's target.
#[derive(Debug)]
struct Place {
    service: Arc<ServiceName>,
    notices: mpsc::Sender<Notice>,
    /// The plan that was begun last: the entries about it do not say which kind it is.
    plan: Option<PlanKind>,
}

impl Announcer {
    /// Begins to tell at this target, if it takes notices. The journal knows of a plan that is under way.
    pub(super) fn add(
        &mut self,
        watchers: &mut JoinSet<()>,
        service: &Arc<ServiceName>,
        target: &Arc<Target>,
        journal: &Durable,
    ) {
        if !target.takes_notices() {
            return;
        }
        let (sender, mut waiting) = mpsc::channel::<Notice>(QUEUE_LIMIT);
        let target = Arc::clone(target);
        let name = Arc::clone(service);
        watchers.spawn(async move {
            while let Some(notice) = waiting.recv().await {
                if let Err(reason) = target.announce(&notice).await {
                    tracing::warn!(service = %name, notice = notice.reason, "not told at the target: failed to {reason}");
                }
            }
        });
        let plan = journal.open_incident(service).and_then(IncidentRecord::active_plan).map(|plan| plan.plan);
        self.0.push(Place { service: Arc::clone(service), notices: sender, plan });
    }

    /// Tells of an entry, if it is of interest there.
    pub(super) fn tell(&mut self, entry: &Entry) {
        let Some(service) = &entry.service else { return };
        let Some(place) = self.0.iter_mut().find(|place| *place.service == *service) else { return };
        if let Fact::PlanStarted { plan, .. } = &entry.fact {
            place.plan = Some(*plan);
        }
        if let Some(notice) = notice(entry, place.plan.unwrap_or(PlanKind::Quick))
            && place.notices.try_send(notice).is_err()
        {
            tracing::warn!(%service, "not told at the target: {QUEUE_LIMIT} notices wait already");
        }
    }
}

/// What an entry says to whoever looks at the target. `under_way` is the kind of plan that it may be about.
fn notice(entry: &Entry, under_way: PlanKind) -> Option<Notice> {
    let rolls_back = under_way.rolls_back();
    let (id, reason, message, is_warning) = match &entry.fact {
        Fact::IncidentOpened { incident, path, .. } => {
            (format!("{incident}/opened"), "IncidentOpened", format!("{incident}: {}", path.because), true)
        }
        Fact::IncidentResolved { incident, how } => {
            (format!("{incident}/resolved"), "IncidentResolved", format!("{incident}: {how}"), false)
        }
        Fact::Found { incident: Some(incident), finding: Finding::RollbackRefused, detail, gate, .. } => {
            let gate = gate.map_or("", |gate| gate.as_str());
            let message = format!("{incident}: what was due is not done: {detail}");
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
            let (reason, is_warning) = step_reason(*event, rolls_back)?;
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            // People count steps from 1.
            let message = format!("{incident}: step {} of plan {plan}{note}", step + 1);
            (format!("{incident}/{plan}/{step}/{reason}"), reason, message, is_warning)
        }
        Fact::PlanEnded { incident, plan, outcome, detail } => {
            let (reason, is_warning) = outcome_reason(*outcome, rolls_back);
            (format!("{incident}/{plan}/ended"), reason, format!("{incident}: {detail}"), is_warning)
        }
        Fact::SyncNotHeld { incident, why } => {
            (format!("{incident}/sync-not-held"), "SyncNotHeld", format!("{incident}: {why}"), true)
        }
        Fact::SyncLeft { incident, why } => (
            format!("{incident}/sync-left"),
            "SyncLeft",
            format!("{incident}: its sync is left to people: {why}"),
            true,
        ),
        Fact::SyncResumed { incident, how } => {
            (format!("{incident}/sync-resumed"), "SyncResumed", format!("{incident}: {how}"), false)
        }
        _ => return None,
    };
    Some(Notice { id, at: entry.at, reason, message, is_warning })
}

/// Only how steps end: that they begin is told by the one before.
const fn step_reason(event: StepEvent, rolls_back: bool) -> Option<(&'static str, bool)> {
    Some(match (event, rolls_back) {
        (StepEvent::Succeeded, true) => ("RollbackStep", false),
        (StepEvent::Succeeded, false) => ("RestartStep", false),
        (StepEvent::Failed, true) => ("RollbackStepFailed", true),
        (StepEvent::Failed, false) => ("RestartStepFailed", true),
        // What a restart has done is not undone.
        (StepEvent::Undone, _) => ("RollbackStepUndone", true),
        (StepEvent::UndoFailed, _) => ("RollbackStepStuck", true),
        (StepEvent::Started | StepEvent::BecameUnknown | StepEvent::Skipped | StepEvent::UndoStarted, _) => {
            return None;
        }
    })
}

const fn outcome_reason(outcome: PlanOutcome, rolls_back: bool) -> (&'static str, bool) {
    match (outcome, rolls_back) {
        (PlanOutcome::Verified, true) => ("RollbackVerified", false),
        (PlanOutcome::Verified, false) => ("RestartVerified", false),
        (PlanOutcome::Persists, true) => ("RollbackPersists", true),
        (PlanOutcome::Persists, false) => ("RestartPersists", true),
        (PlanOutcome::Unverified, true) => ("RollbackUnverified", true),
        (PlanOutcome::Unverified, false) => ("RestartUnverified", true),
        (PlanOutcome::Failed, true) => ("RollbackFailed", true),
        (PlanOutcome::Failed, false) => ("RestartFailed", true),
        (PlanOutcome::Stuck, _) => ("RollbackStuck", true),
        (PlanOutcome::Overtaken, true) => ("RollbackOvertaken", true),
        (PlanOutcome::Overtaken, false) => ("RestartOvertaken", true),
        (PlanOutcome::Aborted, true) => ("RollbackAborted", true),
        (PlanOutcome::Aborted, false) => ("RestartAborted", true),
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

    fn entry(fact: Fact) -> Entry {
        Entry { at: WallTime::from_millis(7), boot: None, service: Some(ServiceName::from("shop")), fact }
    }

    fn told(fact: Fact) -> Option<(String, &'static str, String, bool)> {
        let entry = entry(fact);
        let notice = notice(&entry, PlanKind::Quick)?;
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
                    object: None,
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
                    "shop-1: what was due is not done: two rollbacks within the hour",
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

    #[test]
    fn what_becomes_of_a_suspended_sync_is_heard_there() {
        let held = Fact::SyncNotHeld { incident: incident(), why: "it is on again".to_owned() };
        let message = "shop-1: it is on again".to_owned();
        assert_eq!(told(held), Some(("shop-1/sync-not-held".to_owned(), "SyncNotHeld", message, true)));
        let resumed = Fact::SyncResumed { incident: incident(), how: "its sync is on again".to_owned() };
        let message = "shop-1: its sync is on again".to_owned();
        assert_eq!(told(resumed), Some(("shop-1/sync-resumed".to_owned(), "SyncResumed", message, false)));
        assert_eq!(told(Fact::SyncResuming { incident: incident() }), None);
    }

    fn begun(plan: PlanKind, to: &str) -> Fact {
        Fact::PlanStarted {
            incident: incident(),
            number: 1,
            plan,
            from: Version::from("v2"),
            to: Version::from(to),
            deploy: 2,
            object: None,
            steps: Vec::new(),
            approved_by: None,
            by_hand: None,
        }
    }

    fn ended(plan: u16, outcome: PlanOutcome) -> Fact {
        Fact::PlanEnded { incident: incident(), plan, outcome, detail: "so it ended".to_owned() }
    }

    /// The reasons that are told of these facts, one after another.
    fn reasons(known: Option<PlanKind>, facts: Vec<Fact>) -> Vec<&'static str> {
        let (notices, mut waiting) = mpsc::channel(QUEUE_LIMIT);
        let place = Place { service: Arc::new(ServiceName::from("shop")), notices, plan: known };
        let mut announcer = Announcer(vec![place]);
        for fact in facts {
            announcer.tell(&entry(fact));
        }
        std::iter::from_fn(|| waiting.try_recv().ok()).map(|notice| notice.reason).collect()
    }

    #[test]
    fn a_restart_is_told_as_one_and_the_rollback_after_it_as_a_rollback() {
        let failed = Fact::Step {
            incident: incident(),
            plan: 1,
            step: 0,
            event: StepEvent::Failed,
            note: "forbidden".to_owned(),
        };
        let restart = || begun(PlanKind::RestartFailing, "v2");
        for (facts, expected) in [
            (vec![restart(), ended(1, PlanOutcome::Verified)], vec!["RestartStarted", "RestartVerified"]),
            (
                vec![
                    restart(),
                    failed,
                    ended(1, PlanOutcome::Failed),
                    begun(PlanKind::Quick, "v1"),
                    ended(2, PlanOutcome::Verified),
                ],
                vec!["RestartStarted", "RestartStepFailed", "RestartFailed", "RollbackStarted", "RollbackVerified"],
            ),
            (vec![restart(), ended(1, PlanOutcome::Persists)], vec!["RestartStarted", "RestartPersists"]),
        ] {
            assert_eq!(reasons(None, facts), expected);
        }
        // Begun by an earlier process.
        assert_eq!(reasons(Some(PlanKind::RestartFailing), vec![ended(1, PlanOutcome::Aborted)]), ["RestartAborted"]);
    }

    #[test]
    fn what_is_not_durable_is_told_to_nobody() {
        let entry = |service: Option<&str>, fact: Fact| {
            let at = WallTime::from_millis(7);
            Arc::new(Entry { at, boot: None, service: service.map(ServiceName::from), fact })
        };
        let resolved = |how: &str| Fact::IncidentResolved { incident: incident(), how: how.to_owned() };
        let mut waiting = Uncommitted::default();
        for (sequence, entry) in [
            (3, entry(Some("shop"), resolved("first"))),
            (4, entry(None, Fact::Resumed { by: "ann".to_owned() })),
            (5, entry(Some("shop"), resolved("second"))),
        ] {
            waiting.hold(Sequence(sequence), &entry);
        }
        let (sender, mut told) = mpsc::channel(QUEUE_LIMIT);
        let mut announcer =
            Announcer(vec![Place { service: Arc::new(ServiceName::from("shop")), notices: sender, plan: None }]);
        let mut committed = |sequence: u64| {
            while let Some(entry) = waiting.next(Sequence(sequence)) {
                announcer.tell(&entry);
            }
            std::iter::from_fn(|| told.try_recv().ok()).map(|notice| notice.message).collect::<Vec<_>>()
        };
        assert_eq!(committed(2), Vec::<String>::new());
        assert_eq!(committed(4), ["shop-1: first"]);
        assert_eq!(committed(9), ["shop-1: second"]);
    }
}
