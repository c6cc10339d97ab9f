//! After a rollback: proof that it helped, or that it did not, or that nobody can tell.

use std::{collections::BTreeSet, time::Duration};

use super::{
    drive::Current, incident::write_evidence, outlook, page::Draft, service::Service, sight::same_version, turn::Turn,
};
use crate::core::{
    answer::Answer,
    durable::{PlanRecord, Rollout, StepRecord},
    entry::{Fact, PlanOutcome, StepAction, StepEvent},
    gate::words,
    name::{ConditionName, IncidentId, Version},
    page::PageKind,
    policy::Finding,
    release::Standing,
    saga::StepStatus,
    time::BootTime,
    verdict::VerdictKind,
    view::VerificationProgress,
};

/// What must be no by evidence after every rollback, whatever fired before it.
const ALWAYS_CLEAR: [&str; 4] = ["system_down", "rollout_failing", "error_rate_critical", "key_feature_broken"];

/// What verification has seen so far.
#[derive(Debug, Default)]
pub(super) struct Verification {
    clear_since: Option<BootTime>,
    bad_since: Option<BootTime>,
}

/// How a verification stands.
#[derive(Debug)]
pub(super) enum Judged {
    /// Nothing can be said before this.
    Waits(BootTime),
    /// Succeeded, failed, or became unknown; with a note.
    Ended(StepEvent, String),
}

impl Service {
    pub(super) fn verify(&mut self, turn: &mut Turn<'_>, current: &Current) -> bool {
        let since = *self.drive.watched_since.get_or_insert(turn.now.boot);
        let deadline = current.record.planned.deadline;
        let fired = &turn.incident(&current.incident).fired;
        let state = std::mem::take(&mut self.drive.verification);
        let (state, judged) = self.judge(turn, state, fired, &current.to, since, deadline);
        self.drive.verification = state;
        match judged {
            Judged::Waits(until) => {
                self.wake_by(until);
                false
            }
            Judged::Ended(event, note) if !current.kind.rolls_back() => {
                self.conclude_restart(turn, current, event, &note)
            }
            Judged::Ended(event, note) => self.conclude(turn, current, event, &note),
        }
    }

    /// Judges whether `version` has been proved healthy since `since`.
    pub(super) fn judge(
        &self,
        turn: &Turn<'_>,
        mut state: Verification,
        fired: &BTreeSet<ConditionName>,
        version: &Version,
        since: BootTime,
        timeout: Duration,
    ) -> (Verification, Judged) {
        let now = turn.now.boot;
        let healthy_for = self.policy.verify.healthy_for;
        let obstacle = self.obstacle(turn, fired, version, since);
        let bad = self.is_still_so(fired);
        state.clear_since = if obstacle.is_none() { Some(state.clear_since.unwrap_or(now)) } else { None };
        state.bad_since = if bad { Some(state.bad_since.unwrap_or(now)) } else { None };
        let deadline = since.after(timeout);
        let mut wake = deadline;
        if let Some(clear) = state.clear_since {
            let until = clear.after(healthy_for);
            if now >= until {
                return (state, Judged::Ended(StepEvent::Succeeded, format!("clear for {}", words(healthy_for))));
            }
            wake = wake.min(until);
        }
        if let Some(bad) = state.bad_since {
            // A release that has just come back may need its settling time; after that, what is still so persists.
            let until = bad.after(healthy_for).max(since.after(self.policy.gates.settle));
            if now >= until {
                return (state, Judged::Ended(StepEvent::Failed, self.path(turn).because));
            }
            wake = wake.min(until);
        }
        if now < deadline {
            return (state, Judged::Waits(wake));
        }
        if bad {
            return (state, Judged::Ended(StepEvent::Failed, self.path(turn).because));
        }
        let note = obstacle.unwrap_or_else(|| format!("not clear for {} yet", words(healthy_for)));
        (state, Judged::Ended(StepEvent::BecameUnknown, note))
    }

    /// What stands between the present state and a proof, in words.
    fn obstacle(
        &self,
        turn: &Turn<'_>,
        fired: &BTreeSet<ConditionName>,
        version: &Version,
        since: BootTime,
    ) -> Option<String> {
        let verdict = self.watch.verdict().kind;
        if verdict >= VerdictKind::Consider {
            return Some(format!("the verdict is {verdict}"));
        }
        for (name, answer) in self.watch.condition_answers() {
            let asked = fired.contains(name) || ALWAYS_CLEAR.contains(&name.as_str());
            if asked && answer != Answer::No {
                return Some(format!("{name} is {answer}"));
            }
        }
        if turn.record(&self.name).live().is_some_and(|live| live.rollout != Rollout::Settled) {
            return Some("the older release has not answered healthily yet".to_owned());
        }
        // What was deleted has to be replaced by what serves, however long that takes to start.
        if let Some(workload) = self.sight.observation().and_then(|seen| seen.workload.as_ref())
            && let Some(live) = workload.instances.live.as_ref().filter(|live| live.ready < workload.instances.wanted)
        {
            return Some(format!("{} of {} instances serve", live.ready, workload.instances.wanted));
        }
        if let Some((signal, reason)) = self.watch.lost(turn.now).into_iter().next() {
            return Some(format!("signal {signal} is lost: {reason}"));
        }
        if let Some(obstacle) = self.suspension_obstacle(turn) {
            return Some(obstacle);
        }
        if self.policy.checks_version {
            match self.sight.live_version_after(since) {
                Some(seen) if same_version(seen, version) => {}
                Some(seen) => return Some(format!("the service says that it is {seen}")),
                None => return Some("the version endpoint has not answered".to_owned()),
            }
        }
        None
    }

    /// How far the verification of the plan under way has got, while that is its step.
    pub(super) fn verification_progress(&self, turn: &Turn<'_>) -> Option<VerificationProgress> {
        let current = self.current(turn).filter(|_| !self.drive.recovering)?;
        let verifies =
            current.record.planned.action == StepAction::Verify && current.record.status == StepStatus::Started;
        let since = self.drive.watched_since.filter(|_| verifies)?;
        let now = turn.now.boot;
        let fired = &turn.incident(&current.incident).fired;
        let healthy = self.drive.verification.clear_since.map_or(Duration::ZERO, |clear| now.since(clear));
        let left = since.after(current.record.planned.deadline).since(now);
        Some(VerificationProgress {
            healthy_seconds: healthy.as_secs_f64(),
            healthy_for_seconds: self.policy.verify.healthy_for.as_secs_f64(),
            obstacle: self.obstacle(turn, fired, &current.to, since),
            left_seconds: left.as_secs_f64(),
        })
    }

    /// Whether something that fired, or something as grave, is a plain yes.
    pub(super) fn is_still_so(&self, fired: &BTreeSet<ConditionName>) -> bool {
        self.watch.verdict().kind >= VerdictKind::Consider
            || self.watch.condition_answers().any(|(name, answer)| answer == Answer::Yes && fired.contains(name))
    }

    fn conclude(&mut self, turn: &mut Turn<'_>, current: &Current, event: StepEvent, note: &str) -> bool {
        self.step(turn, current, event, note.to_owned());
        let (from, to) = (&current.from, &current.to);
        let plan_started = turn.incident(&current.incident).active_plan().map(|plan| plan.started);
        let lasted = words(plan_started.map_or(Duration::ZERO, |began| turn.ago(began)));
        let incident = turn.incident(&current.incident);
        let is_accused = incident.active_plan().is_some_and(|plan| plan.is_accused(incident));
        let (standing, why) = match event {
            StepEvent::Succeeded => (Standing::KnownBad, "rolled back from, and that helped".to_owned()),
            _ => (Standing::Suspect, "rolled back from, and that was not proved to help".to_owned()),
        };
        // Nothing was measured against what somebody rolled back from by hand: it stands as it stood.
        if is_accused {
            self.measured(turn, from, standing, why);
        }
        let draft = if event == StepEvent::Succeeded {
            let summary = format!("{}: rollback complete: {to} is live and healthy", self.name);
            Draft::about(PageKind::RollbackCompleted, turn.incident(&current.incident), summary)
                .action("Root cause investigation comes next; post-mortem to be scheduled.")
                .details([
                    format!("Duration: {lasted}"),
                    format!("Previous version restored: {to}"),
                    format!("Services: {} healthy ({note})", self.name),
                ])
        } else {
            let persists = event == StepEvent::Failed;
            let finding = if persists { Finding::RollbackSucceededIssuePersists } else { Finding::RollbackUnverified };
            self.find(turn, finding, note, None);
            let state = if persists { "the issue persists" } else { "it could not be verified" };
            let summary = format!("{}: rolled back from {from} to {to}, and {state}: {note}", self.name);
            Draft::about(PageKind::RollbackCompleted, turn.incident(&current.incident), summary)
                .found(finding)
                .details([format!("Duration: {lasted}"), "Backstop goes no further back by itself.".to_owned()])
        };
        let whose = turn.incident(&current.incident).active_plan().and_then(outlook::whose);
        let outcome = match event {
            StepEvent::Succeeded => PlanOutcome::Verified,
            StepEvent::Failed => PlanOutcome::Persists,
            _ => PlanOutcome::Unverified,
        };
        let draft = draft.ended(outcome).versions(from, to).details(whose);
        turn.page(draft);
        true
    }

    /// Puts into the journal what was measured of a release. What was proved stays proved: a doubt takes nothing from a
    /// release that is known to be bad.
    pub(super) fn measured(&self, turn: &mut Turn<'_>, version: &Version, standing: Standing, why: String) {
        let before = turn.record(&self.name).measured(version).map(|known| known.standing);
        if standing == Standing::Suspect && before == Some(Standing::KnownBad) {
            return;
        }
        turn.append(Some(&self.name), Fact::StandingChanged { version: version.clone(), standing, why });
    }

    /// Ends the plan when all its steps are settled.
    pub(super) fn end_plan(&mut self, turn: &mut Turn<'_>) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let Some(plan) = incident.active_plan() else { return };
        let (id, number) = (incident.id.clone(), plan.number);
        let (outcome, rolls_back) = (outcome(plan), plan.plan.rolls_back());
        if outcome == PlanOutcome::Aborted {
            self.end_aborted(turn, &id);
            return;
        }
        let detail = why_ended(plan, outcome);
        let fact = Fact::PlanEnded { incident: id.clone(), plan: number, outcome, detail };
        turn.append(Some(&self.name), fact);
        self.drive = super::drive::Drive::default();
        self.calm_since = None;
        self.told_at = Some(turn.now.boot);
        match outcome {
            // Putting it on record may have taken a while: what was proved then is asked again now.
            PlanOutcome::Verified if self.is_calm(turn) => {
                let how =
                    if rolls_back { "rolled back, and verified" } else { "what failed was restarted, and verified" };
                self.resolve(turn, how, None);
            }
            PlanOutcome::Verified if rolls_back => self.tell_bad_again(turn, &id),
            _ => write_evidence(turn, &id),
        }
    }

    /// What was verified does not hold any more at the plan's end. The incident stays open: it is resolved once what fired
    /// is clear for long enough, and people are told if something says yes.
    fn tell_bad_again(&mut self, turn: &mut Turn<'_>, id: &IncidentId) {
        if self.is_still_so(&turn.incident(id).fired) {
            let finding = Finding::RollbackSucceededIssuePersists;
            let because = self.path(turn).because;
            let detail = format!("verified, and not well again before the plan's end: {because}");
            self.find(turn, finding, &detail, None);
            let summary = format!("{}: {detail}", self.name);
            let draft = Draft::about(PageKind::IncidentEscalated, turn.incident(id), summary).found(finding);
            turn.page(draft.details(["Backstop goes no further back by itself.".to_owned()]));
        }
        write_evidence(turn, id);
    }

    /// An unfinished plan that may not be resumed any more: people decide.
    pub(super) fn abandon(&mut self, turn: &mut Turn<'_>, why: &str) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let Some(plan) = incident.active_plan() else { return };
        if !plan.plan.rolls_back() {
            return self.abandon_restart(turn, why);
        }
        let (id, number, from, to) = (incident.id.clone(), plan.number, plan.from.clone(), plan.to.clone());
        let untouched = !plan.switch_status().may_have_changed_the_world();
        let outcome = if untouched { PlanOutcome::Failed } else { PlanOutcome::Stuck };
        let finding = if untouched { Finding::RollbackFailed } else { Finding::StepStuck };
        let fact = Fact::PlanEnded { incident: id.clone(), plan: number, outcome, detail: why.to_owned() };
        turn.append(Some(&self.name), fact);
        self.find(turn, finding, why, None);
        let state = if untouched {
            format!("Nothing was changed: {from} is live, as before.")
        } else {
            self.sight.last_seen(&format!("whether {from} or {to} serves has to be looked at by hand."))
        };
        let summary = format!("{}: the rollback from {from} to {to} is not gone on with: {why}", self.name);
        let draft = Draft::about(PageKind::RollbackFailed, turn.incident(&id), summary)
            .found(finding)
            .versions(&from, &to)
            .details([state]);
        let what_to_do = outlook::after_stuck(turn.incident(&id), &from, &to);
        turn.page(if untouched { draft } else { draft.then(what_to_do) });
        self.left(turn, &id, number);
    }

    pub(super) fn tell_too_long(&mut self, turn: &mut Turn<'_>) {
        let over = turn.policy.escalation.rollback_too_long_over;
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let Some(plan) = incident.active_plan().filter(|plan| plan.plan.rolls_back()) else { return };
        let lasted = turn.ago(plan.started);
        if lasted <= over || incident.found(Finding::RollbackTookTooLong) {
            return;
        }
        let id = incident.id.clone();
        let detail = format!("the rollback has taken {} so far, more than {}", words(lasted), words(over));
        self.find(turn, Finding::RollbackTookTooLong, &detail, None);
        let incident = turn.incident(&id);
        let draft = Draft::about(PageKind::IncidentEscalated, incident, format!("{}: {detail}", self.name));
        let draft = draft.found(Finding::RollbackTookTooLong);
        turn.page(draft);
    }
}

/// Why a plan ends as it does: who ended it, or what was said last of a step.
pub(super) fn why_ended(plan: &PlanRecord, outcome: PlanOutcome) -> String {
    if let (PlanOutcome::Aborted, Some((by, reason))) = (outcome, &plan.aborted) {
        let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        return format!("aborted by {by}{why}");
    }
    let is_said = |step: &&StepRecord| !step.note.is_empty() && step.planned.action != StepAction::Record;
    let last = plan.steps.iter().rfind(is_said);
    last.map(|step| format!("{}: {}", step.planned.title, step.note)).unwrap_or_default()
}

pub(super) fn outcome(plan: &PlanRecord) -> PlanOutcome {
    if plan.steps.iter().any(|step| step.status == StepStatus::Stuck) {
        return PlanOutcome::Stuck;
    }
    if plan.aborted.is_some() {
        return PlanOutcome::Aborted;
    }
    if plan.is_given_up() {
        return PlanOutcome::Failed;
    }
    match plan.status_of(|action| *action == StepAction::Verify) {
        Some(StepStatus::Done) => PlanOutcome::Verified,
        Some(StepStatus::Failed) => PlanOutcome::Persists,
        _ => PlanOutcome::Unverified,
    }
}
