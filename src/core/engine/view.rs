//! Renders the state for readers.

use super::{State, preview::command, service::Service, turn::Turn};
use crate::core::{
    durable::{
        ApprovalRecord, ApprovalState, DeployRecord, IncidentRecord, PauseRecord, PinRecord, PlanRecord, Rollout,
        VerificationRecord,
    },
    entry::{PlanOutcome, StepAction},
    event::RollbackOrder,
    name::{IncidentId, ServiceIndex, ServiceName, Version},
    saga::StepStatus,
    time::{Now, WallTime},
    view::{
        ApprovalView, DaemonView, DeployView, FindingView, IncidentView, PauseView, PinView, PlanUnderWay, PlanView,
        ServiceState, ServiceView, StepView, TimelineView, VerificationView, WaitsFor,
    },
};

impl State {
    /// One service as it is now.
    pub fn service_view(&mut self, now: Now, index: ServiceIndex) -> ServiceView {
        let mut actions = Vec::new();
        let (service, turn) = self.split(now, index, &mut actions);
        let path = service.path(&turn);
        let situation = service.situation(&turn);
        let live = situation.record.live();
        let pause = situation.record.paused.as_ref().or(situation.paused_all);
        let plan_under_way = service.plan_under_way(&turn);
        let waits_for = service.waits_for(&turn);
        let state = ServiceState {
            mode: service.policy.mode,
            release: live.map(|live| live.deploy.release.clone()),
            standing: live.map(|live| situation.record.standing(&live.deploy.release.version)),
            rolling_out: live.is_some_and(|live| live.rollout == Rollout::UnderWay)
                || service.announced_until(now).is_some(),
            incident: situation.record.open_incident.clone(),
            waits_for,
            by_hand: waits_for.and_then(|waits_for| service.way_by_hand(&turn, waits_for)),
            plan_under_way,
            approval: situation.incident.and_then(IncidentRecord::open_approval).map(approval_view),
            target_unseen: service.sight.unseen().map(str::to_owned),
            service_says: service.contradiction(&turn).cloned(),
            paused: pause.filter(|pause| !pause.is_over(situation.steady)).map(pause_view),
            rollback_to: situation.candidate(),
            restart_gates: service.gates_of_restart(&turn),
            at: now.wall,
        };
        let view = ServiceView {
            name: service.name.clone(),
            now: state,
            verdict: service.watch.verdict().kind,
            path,
            conditions: service.watch.condition_answers().map(|(name, answer)| (name.clone(), answer)).collect(),
            signals: service.signal_views(now),
            pins: situation.record.pins.iter().map(|(version, pin)| pin_view(version, pin)).collect(),
            reports: service.report_views(&turn),
            verification: situation.record.verification.as_ref().map(|one| verification_view(one, live)),
            gates: situation.reports(),
        };
        assert!(actions.is_empty(), "rendering has no effects");
        view
    }

    /// Services of which readers are to see something new, at most `limit` of them from `from` on, and around. Until
    /// they are stirred again they are not told of any more.
    pub fn take_stirred(&mut self, from: ServiceIndex, limit: usize) -> Vec<ServiceIndex> {
        let around = self.stirred.range(from..).chain(self.stirred.range(..from));
        let taken: Vec<ServiceIndex> = around.take(limit).copied().collect();
        for index in &taken {
            self.stirred.remove(index);
        }
        taken
    }

    /// A service's deploys, the live one first.
    pub fn deploys_view(&self, index: ServiceIndex) -> Vec<DeployView> {
        let record = self.ledger.durable.service(&self.services[index.get()].name);
        let live = record.live().map(|live| live.deploy.number);
        record
            .deploys
            .iter()
            .rev()
            .map(|one| {
                let version = &one.deploy.release.version;
                DeployView {
                    number: one.deploy.number,
                    release: one.deploy.release.clone(),
                    at: one.deploy.at,
                    source: one.deploy.source,
                    by: one.deploy.by.clone(),
                    standing: record.standing(version),
                    why: record.standings.get(version).map(|known| known.why.clone()).unwrap_or_default(),
                    live: Some(one.deploy.number) == live,
                    pinned: record.pins.get(version).map(|pin| pin_view(version, pin)),
                }
            })
            .collect()
    }

    /// One incident.
    pub fn incident(&self, id: &IncidentId) -> Option<IncidentView> {
        self.ledger.durable.incidents.get(id).map(incident_view)
    }

    /// What the daemon says about itself.
    pub fn daemon_view(&self, now: Now) -> DaemonView {
        let outbox = &self.ledger.durable.outbox;
        let oldest = outbox.pending().next().map(|pending| self.ledger.steady(now).since(pending.queued));
        DaemonView {
            outbox_depth: outbox.depth(),
            outbox_oldest_age_seconds: oldest.map_or(0.0, |age| age.as_secs_f64()),
            store_failing: self.observer.store_failing().map(str::to_owned),
            observer_impaired: self.observer.impaired().map(str::to_owned),
            // Only who reads the file knows.
            configuration: None,
            late_samples: self.late_samples,
            paused: self.ledger.durable.paused.as_ref().map(pause_view),
        }
    }

    /// What a service is called.
    pub fn service_name(&self, index: ServiceIndex) -> &ServiceName {
        &self.services[index.get()].name
    }

    /// The services' number.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }
}

fn pin_view(version: &Version, pin: &PinRecord) -> PinView {
    PinView { version: version.clone(), at: pin.at, by: pin.by.clone(), reason: pin.reason.clone() }
}

fn verification_view(record: &VerificationRecord, live: Option<&DeployRecord>) -> VerificationView {
    let ended = record.ended.as_ref();
    VerificationView {
        number: record.number,
        by: record.by.clone(),
        version: record.version.clone(),
        began: record.began,
        ended: ended.map(|(at, ..)| *at),
        outcome: ended.map(|(_, outcome, _)| *outcome),
        note: ended.map(|(.., note)| note.clone()).unwrap_or_default(),
        overtaken: live.is_some_and(|live| live.noticed > record.begun),
    }
}

impl Service {
    /// The plan under way, its step, and how far verification has got.
    pub(super) fn plan_under_way(&self, turn: &Turn<'_>) -> Option<PlanUnderWay> {
        let incident = turn.open_incident(&self.name)?;
        let plan = incident.active_plan()?;
        let last = u16::try_from(plan.steps.len()).expect("plans have few steps");
        // A plan whose steps are all settled is only about to be put down as ended.
        let (place, step) = plan.current_step().or_else(|| Some((last.checked_sub(1)?, plan.steps.last()?)))?;
        Some(PlanUnderWay {
            incident: incident.id.clone(),
            number: plan.number,
            plan: plan.plan,
            version_from: plan.from.clone(),
            version_to: plan.to.clone(),
            step: place + 1,
            steps: last,
            title: step.planned.title.clone(),
            status: step.status,
            seconds: turn.ago(plan.touched_at).as_secs_f64(),
            aborted_by: plan.aborted.as_ref().map(|(by, _)| by.clone()),
            verification: self.verification_progress(turn),
        })
    }

    /// What the open incident waits for, where nothing more is done in it without people. Where what fired is clear by now
    /// nobody is asked to decide about a rollback any more.
    fn waits_for(&self, turn: &Turn<'_>) -> Option<WaitsFor> {
        let incident = turn.open_incident(&self.name)?;
        if incident.open_approval().is_some() {
            return Some(WaitsFor::Approval);
        }
        if let Some(plan) = incident.plans.last().filter(|_| incident.is_through()) {
            return plan.ended.and_then(|(_, outcome)| WaitsFor::after(outcome));
        }
        if self.is_calm(turn) {
            None
        } else if self.is_denied(turn) {
            Some(WaitsFor::Denied)
        } else {
            incident.refused.then_some(WaitsFor::Refused)
        }
    }

    /// The command by which a person would roll back, where that is left to people.
    fn way_by_hand(&self, turn: &Turn<'_>, waits_for: WaitsFor) -> Option<String> {
        if waits_for == WaitsFor::Approval {
            return None;
        }
        let preview = self.preview(turn, &RollbackOrder::default()).ok()?;
        if preview.possible {
            Some(command(&self.name, preview.plan, None, [].into_iter(), None))
        } else {
            preview.all_the_same
        }
    }
}

fn pause_view(pause: &PauseRecord) -> PauseView {
    PauseView { until: pause.until, by: pause.by.clone(), reason: pause.reason.clone() }
}

/// An incident as people see it; also what its evidence folder keeps, and what is shown while the daemon is down.
pub fn incident_view(incident: &IncidentRecord) -> IncidentView {
    IncidentView {
        id: incident.id.clone(),
        service: incident.service.clone(),
        opened_at: incident.opened_at,
        onset: incident.onset,
        opened_by: incident.opened_by.clone(),
        resolved_at: incident.resolved.as_ref().map(|(at, _)| *at),
        state: state(incident),
        verdict: incident.verdict,
        severity: incident.severity(),
        accused: incident.accused.as_ref().map(|(_, version)| version.clone()),
        findings: incident
            .findings
            .iter()
            .map(|found| FindingView {
                finding: found.finding,
                severity: found.severity,
                at: found.at,
                detail: found.detail.clone(),
            })
            .collect(),
        approval: incident.approvals.last().map(approval_view),
        plans: incident.plans.iter().map(plan_view).collect(),
        timeline: timeline(incident),
        path: incident.path.clone(),
        waits_for: None,
        by_hand: None,
        plan_under_way: None,
    }
}

fn approval_view(approval: &ApprovalRecord) -> ApprovalView {
    ApprovalView {
        approval: approval.number,
        plan: approval.plan,
        version_from: approval.from.clone(),
        version_to: approval.to.clone(),
        requested_at: approval.requested_at,
        expires: approval.expires,
        state: match &approval.state {
            ApprovalState::Open => "open",
            ApprovalState::Approved(_) => "approved",
            ApprovalState::Denied(_) => "denied",
            ApprovalState::Void(_) => "void",
        },
        by: match &approval.state {
            ApprovalState::Approved(by) | ApprovalState::Denied(by) => Some(by.clone()),
            ApprovalState::Open | ApprovalState::Void(_) => None,
        },
    }
}

fn timeline(incident: &IncidentRecord) -> Vec<TimelineView> {
    let line = |(at, text): &(WallTime, String)| TimelineView { at: *at, text: text.clone() };
    let mut lines: Vec<_> = incident.timeline.iter().map(line).collect();
    if incident.timeline_left_out > 0 {
        let middle = lines.len() / 2;
        let text = format!("… {} lines are left out here …", incident.timeline_left_out);
        lines.insert(middle, TimelineView { at: incident.timeline[middle].0, text });
    }
    lines
}

fn plan_view(plan: &PlanRecord) -> PlanView {
    PlanView {
        number: plan.number,
        plan: plan.plan,
        version_from: plan.from.clone(),
        version_to: plan.to.clone(),
        started_at: plan.started_at,
        ended_at: plan.ended.map(|(at, _)| at),
        outcome: plan.ended.map(|(_, outcome)| outcome),
        approved_by: plan.approved_by.clone(),
        by_hand: plan.by_hand.clone(),
        aborted_by: plan.aborted.as_ref().map(|(by, _)| by.clone()),
        steps: plan
            .steps
            .iter()
            .map(|step| {
                // A plan that ended before this step is put into the history by its end.
                let by_its_end = plan.ended.is_some()
                    && step.planned.action == StepAction::Record
                    && step.status == StepStatus::Pending;
                let (status, note) = if by_its_end {
                    (StepStatus::Skipped, "the plan's end put it into the history".to_owned())
                } else {
                    (step.status, step.note.clone())
                };
                let title = step.planned.title.clone();
                StepView { title, status, note, started_at: step.started_at, ended_at: step.ended_at }
            })
            .collect(),
    }
}

fn state(incident: &IncidentRecord) -> String {
    if let Some((_, how)) = &incident.resolved {
        return format!("resolved: {how}");
    }
    if let Some(plan) = incident.active_plan() {
        let steps = plan.steps.len();
        let at = plan.current_step().map_or_else(
            || "ending".to_owned(),
            |(place, step)| format!("step {} of {steps}, {}", place + 1, step.planned.title),
        );
        if !plan.plan.rolls_back() {
            return format!("restarting what fails of {}: {at}", plan.from);
        }
        return format!("rolling back from {} to {}: {at}", plan.from, plan.to);
    }
    if let Some(approval) = incident.open_approval() {
        return format!("waits for approval {} until {}", approval.number, approval.expires);
    }
    let last = incident.plans.last();
    let what =
        if last.is_none_or(|plan| plan.plan.rolls_back()) { "the rollback" } else { "the restart of what fails" };
    match last.and_then(|plan| plan.ended) {
        Some((_, PlanOutcome::Verified)) if what == "the rollback" => "rolled back and verified".to_owned(),
        Some((_, PlanOutcome::Verified)) => "what failed was restarted, and verified".to_owned(),
        Some((_, outcome)) => format!("open: {what} ended {}", outcome.as_str()),
        None if incident.refused => "open: the rollback was refused".to_owned(),
        None => "open".to_owned(),
    }
}
