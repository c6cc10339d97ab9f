//! Drives a plan: one step at a time, intent before effect, and a look at the world wherever nobody knows.

use std::time::Duration;

use super::{
    abort::is_aborted, deploys::Announced, history::of_plan, look::changes_the_target, outlook, page::Draft,
    service::Service, sight::same_version, turn::Turn,
};
use crate::core::{
    action::Action,
    durable::StepRecord,
    entry::{Fact, StepAction, StepEvent},
    name::{IncidentId, Version},
    operation::{Attempt, Operation, OperationOutcome, StepKey},
    page::PageKind,
    policy::{Finding, Severity},
    release::{DeploySource, Release},
    saga::StepStatus,
    sample::Reason,
    time::{BootTime, Now},
    verdict::PlanKind,
};

/// Attempts at one operation that may come to their end and fail before it is given up: the first, and one more. An
/// operation of which nothing is heard is tried again, since each may be repeated (what is so already is left so), until
/// its deadline has passed since its first attempt; then it counts as one that failed. So a step that hangs takes twice
/// its deadline at most.
pub(super) const FAILURES_LIMIT: u16 = 2;
/// Attempts of any kind, cut short by restarts of ours included: a crash loop ends here.
pub(super) const ATTEMPTS_LIMIT: u16 = 10;
/// Between two attempts, and between two looks at a world that cannot be seen.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(2);
/// The runtime ends operations at their deadline; this much later the core stops waiting for it.
pub(super) const LOST_AFTER_DEADLINE: Duration = Duration::from_secs(30);

/// What is going on in a plan, as far as it is not in the journal.
#[derive(Debug, Default)]
pub(super) struct Drive {
    /// The process began with this plan unfinished: nothing is done before the world was looked at.
    pub(super) recovering: bool,
    /// When the attempt in flight is given up as lost.
    waits_until: Option<BootTime>,
    /// When the look in flight is given up as lost.
    pub(super) looks_until: Option<BootTime>,
    /// The attempt whose receipt the look in flight brings, if it was asked for one.
    pub(super) looks_for: Option<StepKey>,
    /// Until when the plan waits for a look that sees the target.
    pub(super) blind_until: Option<BootTime>,
    /// Nothing is tried before this.
    pub(super) not_before: Option<BootTime>,
    /// Looks in a row that saw nothing.
    pub(super) blind_looks: u32,
    /// The step that operations are begun for, whether it is being undone, and since when.
    working_at: Option<(u16, bool, BootTime)>,
    /// Attempts at undoing of which nothing was heard.
    undos_unheard: u16,
    /// When the last attempt began.
    pub(super) attempt_began: Option<BootTime>,
    /// When the step that the core watches itself began.
    pub(super) watched_since: Option<BootTime>,
    /// Verification's own state.
    pub(super) verification: super::verification::Verification,
}

/// The plan under way, in small.
pub(super) struct Current {
    pub(super) incident: IncidentId,
    pub(super) plan: u16,
    pub(super) kind: PlanKind,
    pub(super) step: u16,
    pub(super) record: StepRecord,
    pub(super) from: Version,
    pub(super) to: Version,
    pub(super) key: StepKey,
}

impl Service {
    pub(super) fn current(&self, turn: &Turn<'_>) -> Option<Current> {
        let incident = turn.open_incident(&self.name)?;
        let plan = incident.active_plan()?;
        let (step, record) = plan.current_step()?;
        Some(Current {
            incident: incident.id.clone(),
            plan: plan.number,
            kind: plan.plan,
            step,
            record: record.clone(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            key: plan.key(&incident.id, step),
        })
    }

    /// Goes on with the plan as far as it goes without waiting.
    pub(super) fn drive(&mut self, turn: &mut Turn<'_>) {
        // The next start takes it up from the journal. Plans that stopped traffic have to restore it before this.
        if turn.observer.closing {
            return;
        }
        // A plan has few steps, and each turn of this loop settles one or ends it.
        for _ in 0..64 {
            self.tell_too_long(turn);
            if self.drive.recovering {
                self.look_before_resuming(turn);
                return;
            }
            let Some(current) = self.current(turn) else {
                self.end_plan(turn);
                return;
            };
            if let Some(goes_on) = self.follow_abort(turn, &current) {
                if goes_on {
                    continue;
                }
                return;
            }
            if let Some(not_before) = self.drive.not_before {
                if turn.now.boot < not_before {
                    self.wake_by(not_before);
                    return;
                }
                self.drive.not_before = None;
            }
            let goes_on = match current.record.status {
                StepStatus::Pending => self.begin(turn, &current),
                StepStatus::Started | StepStatus::Undoing => self.wait(turn, &current),
                StepStatus::Unknown | StepStatus::UndoUnknown => self.look_for_step(turn, &current),
                StepStatus::Failed => self.after_failure(turn, &current),
                settled => panic!("a step that is {} is worked at no more", settled.as_str()),
            };
            if !goes_on {
                return;
            }
        }
        panic!("a plan went round without settling a step");
    }

    fn begin(&mut self, turn: &mut Turn<'_>, current: &Current) -> bool {
        // One thing at a time at a target, whichever plan began it.
        if let Some((_, until)) = self.flying.as_ref().filter(|(_, until)| turn.now.boot < *until)
            && matches!(current.record.planned.action, StepAction::Operate { .. })
        {
            self.wake_by(*until);
            return false;
        }
        self.step(turn, current, StepEvent::Started, String::new());
        self.perform(turn, current)
    }

    /// Carries out the step whose attempt was just put into the journal.
    pub(super) fn perform(&mut self, turn: &mut Turn<'_>, current: &Current) -> bool {
        let operation = match &current.record.planned.action {
            StepAction::Operate { operation } => operation.clone(),
            StepAction::Record => {
                let incident = turn.incident(&current.incident);
                let plan = incident.active_plan().expect("the plan under way");
                Operation::Record { history: of_plan(incident, plan, turn.ago(plan.started)) }
            }
            StepAction::CheckHealth | StepAction::CheckVersion { .. } | StepAction::Verify => {
                self.drive.watched_since = Some(turn.now.boot);
                self.drive.verification = super::verification::Verification::default();
                return true;
            }
        };
        self.operate(turn, current, operation)
    }

    pub(super) fn operate(&mut self, turn: &mut Turn<'_>, current: &Current, operation: Operation) -> bool {
        let incident = turn.incident(&current.incident);
        let plan = incident.active_plan().expect("the plan under way");
        let key = plan.key(&current.incident, current.step);
        let is_undo = plan.steps[usize::from(current.step)].status.is_undo();
        if self.drive.working_at.is_none_or(|(step, undo, _)| (step, undo) != (current.step, is_undo)) {
            self.drive.working_at = Some((current.step, is_undo, turn.now.boot));
        }
        self.drive.attempt_began = Some(turn.now.boot);
        let deadline = self.time_left(turn, current, is_undo);
        let lost_at = turn.now.boot.after(deadline + LOST_AFTER_DEADLINE);
        self.drive.waits_until = Some(lost_at);
        if !matches!(operation, Operation::Record { .. }) {
            self.flying = Some((key.clone(), lost_at));
        }
        let attempt = Attempt { key, operation, object: plan.object.clone(), deadline };
        turn.after_commit(Action::Operate { service: self.index, attempt });
        false
    }

    /// The deadline of an attempt: what is left of the step's where nothing was heard of the attempts before. One that failed is
    /// tried once more with all of it, and what was done is taken back with all of it.
    fn time_left(&self, turn: &Turn<'_>, current: &Current, is_undo: bool) -> Duration {
        let whole = current.record.planned.deadline;
        let since = self.drive.working_at.filter(|_| !is_undo && current.record.failures == 0);
        let left = since.map_or(whole, |(.., since)| whole.saturating_sub(turn.now.boot.since(since)));
        left.max(RETRY_DELAY.min(whole))
    }

    /// The attempt begins only now that its start is durable: its time is reckoned from here, however long the store took.
    pub(super) fn begins_now(&mut self, now: Now, attempt: &Attempt) {
        let lost_at = now.boot.after(attempt.deadline + LOST_AFTER_DEADLINE);
        if let Some((_, until)) = self.flying.as_mut().filter(|(key, _)| *key == attempt.key) {
            *until = lost_at;
        }
        self.drive.waits_until = Some(lost_at);
        let asked_at = self.drive.attempt_began.replace(now.boot);
        // Its first attempt: the step's time begins with it.
        if let Some((.., since)) = self.drive.working_at.as_mut().filter(|(.., since)| Some(*since) == asked_at) {
            *since = now.boot;
        }
    }

    /// The process ends in the middle of a plan: who was told that updates follow hears that none do for now.
    pub(super) fn tell_stopping(&mut self, turn: &mut Turn<'_>) {
        let Some(current) = self.current(turn) else { return };
        let incident = turn.incident(&current.incident);
        let plan = incident.active_plan().expect("the plan under way");
        let (what, steps) = (super::outlook::named(plan), plan.steps.len());
        let (step, title) = (current.step + 1, &current.record.planned.title);
        let summary = format!("{}: Backstop is being stopped in step {step} of {steps} ({title}) of {what}", self.name);
        let draft = Draft::about(PageKind::RollbackStep, incident, summary).versions(&current.from, &current.to);
        let within = crate::core::gate::words(self.policy.gates.resume_within);
        let action = format!(
            "It goes on when Backstop is started again within {within}. After that, or if it is not, people decide."
        );
        turn.page(draft.action(action));
    }

    /// The plan ends whatever is under way. What still waits for the store is not begun any more.
    pub(super) fn leave_flying(&mut self, turn: &Turn<'_>) {
        self.flying.take_if(|(key, _)| turn.ledger.holds(key));
    }

    /// Begins to take the step back.
    pub(super) fn begin_undo(&mut self, turn: &mut Turn<'_>, current: &Current, undo: Operation) -> bool {
        self.step(turn, current, StepEvent::UndoStarted, String::new());
        self.operate(turn, current, undo)
    }

    /// Whether the step's time is over: its deadline has passed since the first attempt; and where it is being undone, as
    /// many attempts were not heard of as may fail.
    pub(super) fn time_is_over(&self, turn: &Turn<'_>, current: &Current) -> bool {
        let is_undo = current.record.status.is_undo();
        if is_undo && self.drive.undos_unheard < FAILURES_LIMIT {
            return false;
        }
        let since = self.drive.working_at.filter(|(step, undo, _)| (*step, *undo) == (current.step, is_undo));
        since.is_some_and(|(.., since)| turn.now.boot >= since.after(current.record.planned.deadline))
    }

    /// Waits for the attempt in flight, or watches the step that is the core's own.
    fn wait(&mut self, turn: &mut Turn<'_>, current: &Current) -> bool {
        if current.record.status == StepStatus::Started {
            match &current.record.planned.action {
                StepAction::CheckHealth => return self.check_health(turn, current),
                StepAction::CheckVersion { version } => return self.check_version(turn, current, version),
                StepAction::Verify => return self.verify(turn, current),
                StepAction::Operate { .. } | StepAction::Record => {}
            }
        }
        let until = *self.drive.waits_until.get_or_insert(turn.now.boot.after(LOST_AFTER_DEADLINE));
        if turn.now.boot < until {
            self.wake_by(until);
            return false;
        }
        self.drive.waits_until = None;
        self.ended(turn, &current.key, OperationOutcome::Unknown(Reason::new("no answer came back")));
        false
    }

    /// An operation ended.
    pub(super) fn ended(&mut self, turn: &mut Turn<'_>, key: &StepKey, outcome: OperationOutcome) {
        let has_ended = self.flying.take_if(|(flying, _)| flying == key).is_some();
        if self.resuming_ended(turn, key, &outcome) {
            return;
        }
        let Some(current) = self.current(turn).filter(|current| current.key == *key) else {
            // Its plan is over. What it did to a sync shows in looks that begin from here on.
            if has_ended && turn.record(&self.name).suspension.is_some() {
                self.changed_at = Some(turn.now.boot);
            }
            return;
        };
        if !current.record.status.in_flight() || self.drive.recovering {
            return;
        }
        self.drive.waits_until = None;
        match outcome {
            outcome if current.record.status == StepStatus::Undoing => self.undo_ended(turn, &current, outcome),
            OperationOutcome::Overtaken(reason) => self.found_overtaken(turn, &current, &reason),
            OperationOutcome::Done(note) => self.succeeded(turn, &current, note),
            OperationOutcome::Failed(reason) => self.failed(turn, &current, &reason),
            // What changes nothing at the target needs no look: in time it has not come about.
            OperationOutcome::Unknown(reason) if !changes_the_target(&current) && self.time_is_over(turn, &current) => {
                self.failed(turn, &current, &reason);
            }
            OperationOutcome::Unknown(reason) => {
                self.step(turn, &current, StepEvent::BecameUnknown, reason.to_string());
            }
        }
        self.drive(turn);
    }

    pub(super) fn succeeded(&mut self, turn: &mut Turn<'_>, current: &Current, note: String) {
        self.step(turn, current, StepEvent::Succeeded, note);
        if is_switch(&current.record) {
            let known = self.sight.observation().map(|seen| seen.available.iter().chain(&seen.current));
            let known = known.and_then(|mut all| all.find(|release| release.version == current.to)).cloned();
            let release = known.unwrap_or_else(|| Release::of(current.to.clone()));
            self.deployed(turn, release, DeploySource::Rollback, None);
        }
    }

    pub(super) fn failed(&mut self, turn: &mut Turn<'_>, current: &Current, reason: &Reason) {
        // What the plan goes on without is not tried again.
        self.drive.not_before = (!current.record.planned.optional).then(|| turn.now.boot.after(RETRY_DELAY));
        self.step(turn, current, StepEvent::Failed, reason.to_string());
    }

    /// A step failed: tries again, or takes back what was done and gives the plan up.
    fn after_failure(&mut self, turn: &mut Turn<'_>, current: &Current) -> bool {
        let tried = current.record.failures >= FAILURES_LIMIT || current.record.attempts >= ATTEMPTS_LIMIT;
        if !tried {
            return self.begin(turn, current);
        }
        if let Some(undo) = &current.record.planned.undo {
            let undo = undo.clone();
            self.begin_undo(turn, current, undo)
        } else {
            self.give_up(turn, current, false);
            true
        }
    }

    pub(super) fn undo_ended(&mut self, turn: &mut Turn<'_>, current: &Current, outcome: OperationOutcome) {
        match outcome {
            OperationOutcome::Done(note) if is_aborted(turn, current) => {
                self.step(turn, current, StepEvent::Undone, note);
                self.leave_rest(turn, current);
            }
            OperationOutcome::Done(note) => {
                self.step(turn, current, StepEvent::Undone, note);
                self.give_up(turn, current, false);
            }
            OperationOutcome::Overtaken(reason) => self.found_overtaken(turn, current, &reason),
            OperationOutcome::Failed(reason) => {
                self.step(turn, current, StepEvent::UndoFailed, reason.to_string());
                self.give_up(turn, current, true);
            }
            // Whether the older state is back is looked at; it is not given up before that.
            OperationOutcome::Unknown(reason) => {
                self.drive.undos_unheard += 1;
                self.step(turn, current, StepEvent::BecameUnknown, reason.to_string());
            }
        }
    }

    /// Leaves out what remains, except putting it on record, and tells people.
    fn give_up(&mut self, turn: &mut Turn<'_>, current: &Current, stuck: bool) {
        if !current.kind.rolls_back() {
            return self.give_up_restart(turn, current);
        }
        let incident = turn.incident(&current.incident);
        let plan = incident.active_plan().expect("the plan under way");
        // Why it failed is what people need, not how it was undone: that is told beside.
        let (why, last) = (&current.record.note, &plan.steps[usize::from(current.step)].note);
        let why = match stuck {
            false if !why.is_empty() => why.clone(),
            true if !why.is_empty() && why != last => format!("{why}; undoing it: {last}"),
            _ => last.clone(),
        };
        let whose = outlook::whose(plan);
        self.leave_rest(turn, current);
        let title = &current.record.planned.title;
        let (from, to) = (&current.from, &current.to);
        let detail = format!("{title}: {why}");
        let finding = if stuck { Finding::StepStuck } else { Finding::RollbackFailed };
        if stuck {
            self.find(turn, Finding::RollbackFailed, &detail, None);
        }
        self.find(turn, finding, &detail, None);
        let state = match (stuck, current.record.planned.undo.is_some()) {
            (true, _) => {
                let seen = self.sight.last_seen(&format!("which of {from} and {to} serves is not known."));
                format!("It could not be undone either: {seen}")
            }
            (false, true) => format!("It was undone: {from} is live, as before."),
            (false, false) => format!("Nothing was changed: {from} is live, as before."),
        };
        let summary = format!("{}: rollback from {from} to {to} failed: {detail}", self.name);
        let draft = Draft::about(PageKind::RollbackFailed, turn.incident(&current.incident), summary)
            .found(finding)
            .versions(from, to)
            .details([state])
            .details(whose);
        let what_to_do = outlook::after_stuck(turn.incident(&current.incident), from, to);
        turn.page(if stuck { draft.then(what_to_do) } else { draft });
    }

    /// Puts what happened to a step into the journal, and tells people when it ends.
    pub(super) fn step(&mut self, turn: &mut Turn<'_>, current: &Current, event: StepEvent, note: String) {
        let fact = Fact::Step {
            incident: current.incident.clone(),
            plan: current.plan,
            step: current.step,
            event,
            note: note.clone(),
        };
        turn.append(Some(&self.name), fact);
        if changes_the_target(current) && !matches!(event, StepEvent::Started | StepEvent::UndoStarted) {
            self.changed_at = Some(turn.now.boot);
        }
        if event == StepEvent::Undone && is_switch(&current.record) {
            self.settle_after_undoing(turn, current);
        }
        let word = match event {
            StepEvent::Succeeded => "done",
            StepEvent::Failed => "failed",
            StepEvent::BecameUnknown if current.record.status.is_undo() => "not known to be undone",
            StepEvent::BecameUnknown => "not known to be done",
            StepEvent::Undone => "undone",
            StepEvent::UndoFailed => "could not be undone",
            StepEvent::Started | StepEvent::Skipped | StepEvent::UndoStarted => return,
        };
        // By then how it ended was told.
        let is_record = current.record.planned.action == StepAction::Record;
        if is_record && event == StepEvent::Succeeded {
            return;
        }
        let incident = turn.incident(&current.incident);
        let plan = incident.active_plan().expect("the plan under way");
        let title = &current.record.planned.title;
        let step = &plan.steps[usize::from(current.step)];
        let attempt = match (event, step.attempts) {
            (StepEvent::Succeeded | StepEvent::Failed | StepEvent::BecameUnknown, 2..) if !step.status.is_undo() => {
                let most = if step.attempts > FAILURES_LIMIT { ATTEMPTS_LIMIT } else { FAILURES_LIMIT };
                format!(", attempt {} of {most}", step.attempts)
            }
            _ => String::new(),
        };
        let place = format!("step {} of {}{attempt}", current.step + 1, plan.steps.len());
        let is_tried_again = event == StepEvent::Failed
            && !step.planned.optional
            && step.failures < FAILURES_LIMIT
            && step.attempts < ATTEMPTS_LIMIT
            && plan.aborted.is_none();
        let action = match is_tried_again {
            _ if is_record => {
                "How the rollback ended was told already: only its entry in the history file is at stake."
            }
            true => "It is tried again. Updates will follow.",
            false => "Updates will follow.",
        };
        let note = if note.is_empty() { note } else { format!(" ({note})") };
        let kind = if current.kind.rolls_back() { PageKind::RollbackStep } else { PageKind::IncidentEscalated };
        let summary = format!("{}: {place}: {title}: {word}{note}", self.name);
        let draft = Draft::about(kind, incident, summary).at(Severity::S3).brief().action(action);
        let draft = if current.kind.rolls_back() { draft.versions(&current.from, &current.to) } else { draft };
        turn.page(draft);
    }

    /// Undoing restarted a service of which nothing was wrong: that it comes back may take what a deploy's settling takes.
    fn settle_after_undoing(&mut self, turn: &Turn<'_>, current: &Current) {
        let incident = turn.incident(&current.incident);
        if incident.active_plan().is_some_and(|plan| !plan.is_accused(incident)) {
            let (version, by) = (current.from.clone(), "Backstop".to_owned());
            let until = turn.now.boot.after(self.policy.gates.settle);
            self.rollout.announced = Some(Announced { version, at: turn.now.boot, until, by });
        }
    }

    fn check_health(&mut self, turn: &mut Turn<'_>, current: &Current) -> bool {
        let since = *self.drive.watched_since.get_or_insert(turn.now.boot);
        if self.watch.critical_probes_passed_since(since) {
            self.step(turn, current, StepEvent::Succeeded, "every critical probe passed".to_owned());
            return true;
        }
        self.fail_at_deadline(turn, current, since, "no healthy answer in time")
    }

    fn check_version(&mut self, turn: &mut Turn<'_>, current: &Current, version: &Version) -> bool {
        let since = *self.drive.watched_since.get_or_insert(turn.now.boot);
        let seen = self.sight.live_version_after(since);
        if let Some(seen) = seen.filter(|seen| same_version(seen, version)) {
            let note = format!("the service says {seen}");
            self.step(turn, current, StepEvent::Succeeded, note);
            return true;
        }
        let note = match seen {
            Some(seen) => format!("the service says {seen}, not {version}"),
            None => "the version endpoint did not answer in time".to_owned(),
        };
        self.fail_at_deadline(turn, current, since, &note)
    }

    pub(super) fn fail_at_deadline(
        &mut self,
        turn: &mut Turn<'_>,
        current: &Current,
        since: BootTime,
        note: &str,
    ) -> bool {
        let until = since.after(current.record.planned.deadline);
        if turn.now.boot < until {
            self.wake_by(until);
            return false;
        }
        self.step(turn, current, StepEvent::Failed, note.to_owned());
        true
    }
}

fn is_switch(step: &StepRecord) -> bool {
    matches!(step.planned.action, StepAction::Operate { operation: Operation::Switch { .. } })
}
