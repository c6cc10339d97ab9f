//! What the history file is told: every rollback that was begun, and every verification that somebody asked for.
//!
//! A plan that goes its way puts itself on record as its last step. One that ends before that, because somebody came
//! between or because it could not be gone on with, is put there when it ends, and again at each start: the file leaves
//! alone what it has.

use std::time::Duration;

use super::{
    State,
    turn::Turn,
    verification::{outcome, why_ended},
};
use crate::core::{
    action::{Action, Actions},
    durable::{DeployRecord, Durable, IncidentRecord, PlanRecord, ServiceRecord, VerificationRecord},
    entry::{PlanOutcome, StepAction},
    name::{IncidentId, ServiceName, Version},
    operation::HistoryRecord,
    release::DeploySource,
    saga::StepStatus,
    time::WallTime,
};

/// What the history file says of `plan` as it stands, after so long: what it accused, and why it did not end well, if it
/// did not.
pub(super) fn of_plan(incident: &IncidentRecord, plan: &PlanRecord, lasted: Duration) -> HistoryRecord {
    let outcome = outcome(plan);
    of_plan_with(incident, plan, lasted, outcome, &why_ended(plan, outcome))
}

fn of_plan_with(
    incident: &IncidentRecord,
    plan: &PlanRecord,
    lasted: Duration,
    outcome: PlanOutcome,
    why: &str,
) -> HistoryRecord {
    let accused = match &plan.by_hand {
        Some(order) => order.words(),
        None => incident.path.because.clone(),
    };
    let reason = match outcome {
        PlanOutcome::Verified => accused,
        // Who aborted it is said with it.
        PlanOutcome::Aborted => format!("{accused}; {why}"),
        _ => format!("{accused}; {}: {why}", outcome.as_str()),
    };
    HistoryRecord {
        date: whole_seconds(plan.started_at),
        version_from: plan.from.to_string(),
        version_to: plan.to.to_string(),
        reason,
        duration_minutes: whole_minutes(lasted),
        root_cause: String::new(),
        post_mortem_link: String::new(),
        service: incident.service.to_string(),
        incident: incident.id.to_string(),
        outcome: outcome.as_str().to_owned(),
    }
}

/// And once it has ended.
fn of_ended_plan(incident: &IncidentRecord, plan: &PlanRecord) -> Option<HistoryRecord> {
    // The history is one of rollbacks.
    if !plan.plan.rolls_back() {
        return None;
    }
    let (_, outcome) = plan.ended?;
    // Nothing touches a plan that has ended.
    Some(of_plan_with(incident, plan, plan.touched_at.since(plan.started), outcome, &plan.ended_why))
}

/// What it says of a verification that has ended. Of what a rollback of Backstop's own made live it says nothing: that one
/// is on record itself, and was not made a second time.
fn of_verification(durable: &Durable, service: &ServiceName, record: &VerificationRecord) -> Option<HistoryRecord> {
    let (_, outcome, note) = record.ended.as_ref()?;
    let known = durable.service(service);
    if was_rolled_back_to(known, record) || was_overtaken(known, record) {
        return None;
    }
    let incident = record.incident.as_ref().and_then(|id| durable.incidents.get(id));
    let why = incident.map(|incident| format!("{}; ", incident.path.because)).unwrap_or_default();
    let what = if record.from.is_some() { "rolled back by hand" } else { "nothing was rolled back" };
    Some(HistoryRecord {
        date: whole_seconds(record.began),
        version_from: record.from.as_ref().map(ToString::to_string).unwrap_or_default(),
        version_to: record.version.to_string(),
        reason: format!("{why}{what}, verification asked for by {}: {note}", record.by),
        duration_minutes: whole_minutes(record.took),
        root_cause: String::new(),
        post_mortem_link: String::new(),
        service: service.to_string(),
        incident: record.incident.as_ref().map(ToString::to_string).unwrap_or_default(),
        outcome: outcome.as_str().to_owned(),
    })
}

/// Whether what was verified had been made live by a rollback of Backstop's own.
pub(super) fn was_rolled_back_to(service: &ServiceRecord, record: &VerificationRecord) -> bool {
    let verified = service.deploys.iter().rev().find(|deploy| deploy.noticed <= record.begun);
    verified.is_some_and(|verified| verified.deploy.source == DeploySource::Rollback)
}

/// Whether another release became live before the verification ended: what it was about was not live any more, and
/// nothing was proved of it.
pub(super) fn was_overtaken(service: &ServiceRecord, record: &VerificationRecord) -> bool {
    let ended = record.begun.after(record.took);
    let is_meanwhile = |one: &DeployRecord| {
        one.noticed >= record.begun && one.noticed <= ended && one.deploy.release.version != record.version
    };
    record.ended.is_some() && service.deploys.iter().rev().any(is_meanwhile)
}

/// A plan ended before it could put itself on record.
pub(super) fn keep_plan(turn: &mut Turn<'_>, id: &IncidentId, number: u16) {
    let incident = turn.incident(id);
    let plan = incident.plans.iter().find(|plan| plan.number == number);
    let records: Vec<_> = plan.and_then(|plan| of_ended_plan(incident, plan)).into_iter().collect();
    if !records.is_empty() {
        turn.after_commit(Action::KeepHistory { records });
    }
}

/// The last verification of a service ended.
pub(super) fn keep_verification(turn: &mut Turn<'_>, service: &ServiceName) {
    let durable = &turn.ledger.durable;
    let last = durable.service(service).verification.as_ref();
    let records: Vec<_> = last.and_then(|last| of_verification(durable, service, last)).into_iter().collect();
    turn.after_commit(Action::KeepHistory { records });
}

/// What `live` was put in the place of, if it was gone back to: what the open incident accuses, or what was live before,
/// where `live` had its turn before that already.
pub(super) fn put_in_place_of(
    record: &ServiceRecord,
    incident: Option<&IncidentRecord>,
    live: &Version,
) -> Option<Version> {
    let accused = incident.and_then(|incident| incident.accused.as_ref()).map(|(_, version)| version);
    let versions = record.deploys.iter().rev().map(|one| &one.deploy.release.version);
    if let Some(accused) = accused.filter(|accused| *accused != live) {
        // What never ran before the accused release is no way back from it: nobody rolled back.
        let mut before = versions.skip_while(|version| *version != accused);
        return before.any(|version| version == live).then(|| accused.clone());
    }
    let mut before = versions.skip_while(|version| *version == live);
    let previous = before.next()?;
    before.any(|version| version == live).then(|| previous.clone())
}

impl State {
    /// What an earlier process may not have come to put on record.
    pub(super) fn keep_history_of_before(&mut self, actions: &mut Actions) {
        let durable = &self.ledger.durable;
        let is_on_record = |plan: &PlanRecord| {
            plan.status_of(|action| *action == StepAction::Record).is_some_and(|status| status == StepStatus::Done)
        };
        let plans = durable.incidents.values().flat_map(|incident| {
            let unrecorded = incident.plans.iter().filter(|plan| !is_on_record(plan));
            unrecorded.filter_map(|plan| of_ended_plan(incident, plan))
        });
        let services = durable.services.iter();
        let verifications = services.filter_map(|(name, record)| {
            record.verification.as_ref().and_then(|last| of_verification(durable, name, last))
        });
        let mut records: Vec<_> = plans.chain(verifications).collect();
        if records.is_empty() {
            return;
        }
        records.sort_by(|one, other| one.date.cmp(&other.date));
        self.ledger.after_commit(Action::KeepHistory { records }, actions);
    }
}

fn whole_seconds(at: WallTime) -> String {
    let date = at.rfc3339().to_string();
    format!("{}Z", date.split('.').next().unwrap_or(&date))
}

fn whole_minutes(lasted: Duration) -> u64 {
    u64::try_from(lasted.as_millis().div_ceil(60_000)).unwrap_or(u64::MAX)
}
