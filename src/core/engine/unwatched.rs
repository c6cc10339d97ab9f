//! Services that the journal knows and the configuration does not have any more, since a reload or a change while no
//! daemon ran: what was open for them is ended and told.

use super::{
    State,
    history::{keep_plan, keep_verification},
    incident::write_evidence,
    page::Draft,
    suspension::leave_to_people,
    turn::Turn,
};
use crate::core::{
    action::Actions,
    durable::IncidentRecord,
    entry::{Fact, PlanOutcome},
    name::{IncidentId, ServiceName},
    page::PageKind,
    policy::Finding,
    time::Now,
};

/// What is said of a service that the configuration no longer has.
const NO_LONGER_WATCHED: &str = "no longer watched: the configuration does not have this service any more";

impl State {
    /// Ends what is open for services that are watched no more.
    pub(super) fn end_unwatched(&mut self, now: Now, actions: &mut Actions, is_watched: impl Fn(&ServiceName) -> bool) {
        let services = &self.ledger.durable.services;
        let gone: Vec<ServiceName> = services.keys().filter(|name| !is_watched(name)).cloned().collect();
        let mut turn = self.turn(now, actions);
        for name in gone {
            end_what_is_open(&mut turn, &name);
        }
        let finding = Finding::SharedCause;
        let shares = |incident: &IncidentRecord| incident.is_open() && incident.found(finding);
        if turn.ledger.durable.findings.contains(&finding) && !turn.ledger.durable.incidents.values().any(shares) {
            turn.append(None, Fact::FindingOver { finding });
        }
    }
}

fn end_what_is_open(turn: &mut Turn<'_>, name: &ServiceName) {
    if let Some(incident) = turn.open_incident(name) {
        let id = incident.id.clone();
        if let Some(approval) = incident.open_approval().map(|approval| approval.number) {
            let why = NO_LONGER_WATCHED.to_owned();
            turn.append(Some(name), Fact::ApprovalVoided { incident: id.clone(), approval, why });
        }
        leave_plan_to_people(turn, name, &id);
        let how = NO_LONGER_WATCHED.to_owned();
        turn.append(Some(name), Fact::IncidentResolved { incident: id.clone(), how });
        let summary = format!("{name}: closed: {NO_LONGER_WATCHED}");
        let draft = Draft::about(PageKind::IncidentResolved, turn.incident(&id), summary);
        turn.page(
            draft.action("Backstop does not look at it any more: whether it is well has to be looked at by hand."),
        );
        write_evidence(turn, &id);
    }
    leave_to_people(turn, name, NO_LONGER_WATCHED);
    let record = turn.record(name);
    let verification = record.verification.as_ref().filter(|one| one.ended.is_none());
    let verification = verification.map(|one| (one.number, one.version.clone(), one.from.is_some()));
    let findings = record.findings.clone();
    if let Some((number, version, was_rolled_back)) = verification {
        let (outcome, note) = (PlanOutcome::Unverified, NO_LONGER_WATCHED.to_owned());
        turn.append(Some(name), Fact::VerificationEnded { number, outcome, note });
        keep_verification(turn, name);
        let summary = format!("{name}: {version} could not be verified: {NO_LONGER_WATCHED}");
        if was_rolled_back {
            let draft = Draft::service(PageKind::RollbackCompleted, name, summary);
            turn.page(draft.found(Finding::RollbackUnverified).ended(outcome));
        }
    }
    for finding in findings {
        turn.append(Some(name), Fact::FindingOver { finding });
        if finding == Finding::SignalLost {
            let summary = format!("{name}: {NO_LONGER_WATCHED}");
            let draft = Draft::finding(PageKind::SignalRestored, Some(name), finding, summary);
            turn.page(draft.action("Nothing to do."));
        }
    }
}

/// A plan found unfinished for a service whose target nobody knows any more is not gone on with.
fn leave_plan_to_people(turn: &mut Turn<'_>, name: &ServiceName, id: &IncidentId) {
    let Some(plan) = turn.incident(id).active_plan() else { return };
    let (number, from, to) = (plan.number, plan.from.clone(), plan.to.clone());
    let untouched = !plan.switch_status().may_have_changed_the_world();
    let (outcome, finding, state) = if untouched {
        let state = format!("Nothing was changed: {from} is live, as before.");
        (PlanOutcome::Failed, Finding::RollbackFailed, state)
    } else {
        let state = format!("Whether {from} or {to} serves has to be looked at by hand.");
        (PlanOutcome::Stuck, Finding::StepStuck, state)
    };
    let detail = NO_LONGER_WATCHED.to_owned();
    turn.append(Some(name), Fact::PlanEnded { incident: id.clone(), plan: number, outcome, detail: detail.clone() });
    keep_plan(turn, id, number);
    let severity = turn.policy.escalation.severity(finding);
    turn.append(Some(name), Fact::Found { incident: Some(id.clone()), finding, severity, detail, gate: None });
    let summary = format!("{name}: the rollback from {from} to {to} is not gone on with: {NO_LONGER_WATCHED}");
    let draft = Draft::about(PageKind::RollbackFailed, turn.incident(id), summary).found(finding);
    turn.page(draft.versions(&from, &to).details([state]));
}
