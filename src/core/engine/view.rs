//! Renders the state for readers.

use std::collections::BTreeSet;

use super::{State, outlook::doing, preview::command, service::Service, turn::Turn};
use crate::core::{
    durable::{
        ApprovalRecord, ApprovalState, DeployRecord, IncidentRecord, PauseRecord, PinRecord, PlanRecord, Rollout,
        StepRecord, VerificationRecord,
    },
    entry::{PlanOutcome, StepAction},
    event::RollbackOrder,
    name::{IncidentId, ServiceIndex, ServiceName, Version},
    saga::StepStatus,
    time::{Now, WallTime},
    verdict::PlanKind,
    view::{
        ApprovalView, DaemonView, DeployView, DeploysView, FindingView, IncidentView, OPEN, PauseView, PinView,
        PlanUnderWay, PlanView, ServiceState, ServiceView, StepView, TimelineView, UndeployedView, VerificationView,
        WaitsFor,
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
        let holds = |pause: &&PauseRecord| !pause.is_over(situation.steady);
        let own = situation.record.paused.as_ref().filter(holds).map(|pause| pause_view(pause, false));
        let paused = own.or_else(|| situation.paused_all.filter(holds).map(|pause| pause_view(pause, true)));
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
            target_held: service.sight.observation().and_then(|seen| seen.workload.as_ref()?.held.clone()),
            service_says: service.contradiction(&turn).cloned(),
            paused,
            sync_suspended: service.suspension_words(&turn),
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

    /// A service's deploys, the live one first, and what is known of other releases.
    pub fn deploys_view(&self, index: ServiceIndex) -> DeploysView {
        let record = self.ledger.durable.service(&self.services[index.get()].name);
        let live = record.live().map(|live| live.deploy.number);
        let why = |version| record.standings.get(version).map(|known| known.why.clone()).unwrap_or_default();
        let pinned = |version| record.pins.get(version).map(|pin| pin_view(version, pin));
        let deployed: BTreeSet<_> = record.deploys.iter().map(|one| &one.deploy.release.version).collect();
        let spoken_of: BTreeSet<_> = record.standings.keys().chain(record.pins.keys()).collect();
        let undeployed = spoken_of.difference(&deployed).map(|&version| UndeployedView {
            version: version.clone(),
            standing: record.standing(version),
            why: why(version),
            pinned: pinned(version),
        });
        let undeployed = undeployed.collect();
        let deploys = record
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
                    why: why(version),
                    live: Some(one.deploy.number) == live,
                    pinned: pinned(version),
                }
            })
            .collect();
        DeploysView { deploys, undeployed }
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
            paused: self.ledger.durable.paused.as_ref().map(|pause| pause_view(pause, true)),
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
            let (_, outcome) = plan.ended?;
            // What was switched to before somebody ended it stays: while nothing says yes only time is missing.
            let stays = outcome == PlanOutcome::Aborted && plan.switch_status() == StepStatus::Done;
            if stays && !self.is_still_so(&incident.fired) {
                return None;
            }
            return WaitsFor::after(outcome);
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

fn pause_view(pause: &PauseRecord, of_all: bool) -> PauseView {
    PauseView { until: pause.until, by: pause.by.clone(), reason: pause.reason.clone(), of_all }
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
        live: None,
        target_unseen: None,
        paused: None,
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
        reason: match &approval.state {
            ApprovalState::Denied(_) => approval.reason.clone(),
            ApprovalState::Void(why) => Some(why.clone()),
            ApprovalState::Open | ApprovalState::Approved(_) => None,
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
        steps: plan.steps.iter().map(|step| step_view(step, plan.ended.is_some())).collect(),
    }
}

/// A step; in a plan that is over nothing is under way, and nothing is to come.
fn step_view(step: &StepRecord, is_over: bool) -> StepView {
    let operates = matches!(step.planned.action, StepAction::Operate { .. });
    let left = match step.status {
        StepStatus::Pending if step.planned.action == StepAction::Record => {
            Some((StepStatus::Skipped, "the plan's end put it into the history"))
        }
        StepStatus::Pending => Some((StepStatus::Skipped, "left out: the plan ended before it")),
        StepStatus::Started if operates => Some((StepStatus::Unknown, "the plan ended while it was under way")),
        StepStatus::Started => Some((StepStatus::Skipped, "left: the plan ended while it was under way")),
        _ => None,
    };
    let (status, note) = match left.filter(|_| is_over) {
        Some((status, note)) => (status, note.to_owned()),
        None => (step.status, step.note.clone()),
    };
    let title = step.planned.title.clone();
    StepView { title, status, note, started_at: step.started_at, ended_at: step.ended_at }
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
    match incident.plans.last().and_then(|plan| plan.ended.map(|(_, outcome)| (plan, outcome))) {
        Some((plan, PlanOutcome::Verified)) if plan.plan.rolls_back() => "rolled back and verified".to_owned(),
        Some((_, PlanOutcome::Verified)) => "what failed was restarted, and verified".to_owned(),
        Some((plan, PlanOutcome::Aborted)) if plan.switch_status() == StepStatus::Done => format!(
            "open: the rollback was aborted, and {} is live and stays; it closes once what fired is clear",
            plan.to
        ),
        Some((plan, outcome)) => {
            let what = if plan.plan.rolls_back() { "the rollback" } else { "the restart of what fails" };
            // A rollback that would have followed a restart may have been denied.
            let denied = denial(incident).filter(|(plan, _)| plan.rolls_back() && !incident.is_through());
            let denied = denied.map(|(_, text)| format!("; {text}")).unwrap_or_default();
            format!("open: {what} ended {}{denied}", outcome.as_str())
        }
        None => undecided(incident),
    }
}

/// How an incident stands in which no plan was begun and no approval waits.
fn undecided(incident: &IncidentRecord) -> String {
    if let Some((_, denied)) = denial(incident) {
        return format!("open: {denied}");
    }
    match &incident.would_have {
        _ if incident.refused => "open: the rollback was refused".to_owned(),
        Some(would_have) => format!("open, only observed: {}", would_have.what),
        None => OPEN.to_owned(),
    }
}

/// What was denied last, unless something was asked since, and by whom and why.
fn denial(incident: &IncidentRecord) -> Option<(PlanKind, String)> {
    let asked = incident.approvals.last()?;
    let ApprovalState::Denied(by) = &asked.state else { return None };
    let why = asked.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some((asked.plan, format!("{by} denied {}{why}", doing(asked.plan, &asked.from, &asked.to))))
}
