//! Looks at the target in the middle of a plan: what they settle, and what follows when nothing can be seen.

use std::time::Duration;

use super::{
    abort::is_aborted,
    drive::{ATTEMPTS_LIMIT, Current, RETRY_DELAY},
    overtaken::overtaken_by,
    service::Service,
    turn::Turn,
};
use crate::core::{
    action::Action,
    durable::IncidentRecord,
    entry::{StepAction, StepEvent},
    name::Version,
    operation::{Look, Operation, OperationOutcome, Receipt, StepKey},
    release::Observation,
    saga::StepStatus,
    sample::Reason,
};

/// A look in the middle of a plan is asked for again after this.
const LOOK_LOST_AFTER: Duration = Duration::from_secs(90);
/// A step of which nobody knows what became of it waits for a look that sees the target as long as its own deadline, and
/// no less than this: one look with the wait for what the attempt left running may take fifty seconds.
const BLIND_AT_LEAST: Duration = Duration::from_secs(60);

/// Whether what became of the step shows at the target.
pub(super) fn changes_the_target(current: &Current) -> bool {
    match &current.record.planned.action {
        StepAction::Operate { operation } => operation.changes_the_target(),
        StepAction::CheckHealth | StepAction::CheckVersion { .. } | StepAction::Verify | StepAction::Record => false,
    }
}

impl Service {
    /// Nobody knows what became of the step. Returns whether something was settled.
    pub(super) fn look_for_step(&mut self, turn: &mut Turn<'_>, current: &Current) -> bool {
        if !matches!(current.record.planned.action, StepAction::Operate { .. }) {
            // What the core watches itself, and the history, need no look: they are just done again or left.
            self.step(turn, current, StepEvent::Failed, String::new());
            return true;
        }
        if !changes_the_target(current) {
            return self.again_in_time(turn, current);
        }
        let patience = current.record.planned.deadline.max(BLIND_AT_LEAST);
        let until = *self.drive.blind_until.get_or_insert(turn.now.boot.after(patience));
        if turn.now.boot >= until {
            self.end_blind(turn, current);
            return false;
        }
        self.wake_by(until);
        self.ask_for_look(turn, Some(current.key.clone()));
        false
    }

    /// Nothing was seen for too long: people decide.
    fn end_blind(&mut self, turn: &mut Turn<'_>, current: &Current) {
        let why = self.sight.trouble().map_or("no look came back", Reason::as_str);
        let why = format!("{}: what became of it cannot be seen: {why}", current.record.planned.title);
        self.drive.blind_until = None;
        if current.record.status.is_undo() {
            self.undo_ended(turn, current, OperationOutcome::Failed(Reason::new(&why)));
            self.drive(turn);
        } else {
            self.abandon(turn, &why);
        }
    }

    fn ask_for_look(&mut self, turn: &mut Turn<'_>, key: Option<StepKey>) {
        if let Some(until) = self.drive.looks_until
            && turn.now.boot < until
        {
            self.wake_by(until);
            return;
        }
        let until = turn.now.boot.after(LOOK_LOST_AFTER);
        self.drive.looks_until = Some(until);
        self.drive.looks_for.clone_from(&key);
        self.wake_by(until);
        turn.after_commit(Action::Look { service: self.index, key });
    }

    pub(super) fn look_before_resuming(&mut self, turn: &mut Turn<'_>) {
        if turn.open_incident(&self.name).and_then(IncidentRecord::active_plan).is_none() {
            self.drive.recovering = false;
            return;
        }
        if let Some(current) = self.current(turn)
            && current.record.planned.action == StepAction::Record
        {
            // Everything else has come to its end, however long ago, and was told.
            self.drive.recovering = false;
            if current.record.status.in_flight() {
                self.again(turn, &current);
            } else {
                self.drive(turn);
            }
            return;
        }
        let Some(plan) = turn.open_incident(&self.name).and_then(IncidentRecord::active_plan) else { return };
        let idle = turn.ago(plan.touched_at);
        if !turn.ledger.knows_the_time(turn.now) {
            self.abandon(turn, "found unfinished, and the clock was set back since: nobody knows for how long");
            return;
        }
        if idle > self.policy.gates.resume_within {
            self.abandon(
                turn,
                &format!("found unfinished {} after it was last touched", crate::core::gate::words(idle)),
            );
            return;
        }
        if let Some(not_before) = self.drive.not_before
            && turn.now.boot < not_before
        {
            self.wake_by(not_before);
            return;
        }
        let key = self.current(turn).filter(|current| current.record.attempts > 0).map(|current| current.key);
        self.ask_for_look(turn, key);
    }

    /// A look came back that a plan had asked for.
    pub(super) fn looked_for_plan(&mut self, turn: &mut Turn<'_>, key: Option<&StepKey>, look: &Look) {
        // A regular look that comes in between brings no receipt, and did not wait for what may still be running.
        let waits = self.drive.looks_until.is_some() && key == self.drive.looks_for.as_ref();
        let Some(plan) = turn.open_incident(&self.name).and_then(IncidentRecord::active_plan) else { return };
        let observation = match &look.observation {
            Ok(observation) => observation,
            Err(_) if !waits => return,
            Err(reason) => {
                let reason = reason.clone();
                self.drive.looks_until = None;
                self.saw_nothing(turn, &reason);
                return;
            }
        };
        // First, since what was rolled back from is live again soon after: the cause is told, and not what followed.
        if let Some(why) = self.is_not_held(turn, plan, observation) {
            self.end_not_held(turn, &why);
            return;
        }
        if let Some(why) = overtaken_by(plan, observation) {
            self.end_overtaken(turn, &why);
            return;
        }
        if !waits {
            return;
        }
        self.drive.looks_until = None;
        self.drive.blind_until = None;
        self.drive.blind_looks = 0;
        if self.drive.recovering {
            self.drive.recovering = false;
        }
        let is_open = |status: StepStatus| status.in_flight() || status.is_unknown();
        let asked_for = |current: &Current| key == Some(&current.key) && is_open(current.record.status);
        if let Some(current) = self.current(turn).filter(asked_for) {
            self.settle_by_look(turn, &current, observation, look.receipt);
        }
        self.drive(turn);
    }

    /// The world cannot be seen: tried again for a while, then people decide.
    fn saw_nothing(&mut self, turn: &mut Turn<'_>, reason: &Reason) {
        self.drive.blind_looks += 1;
        let delay = RETRY_DELAY * self.drive.blind_looks.min(15);
        let next = turn.now.boot.after(delay);
        let next = self.drive.blind_until.map_or(next, |until| until.min(next));
        self.drive.not_before = Some(next);
        self.wake_by(next);
        if !self.drive.recovering {
            return;
        }
        let Some(plan) = turn.open_incident(&self.name).and_then(IncidentRecord::active_plan) else { return };
        if turn.ago(plan.touched_at) > self.policy.gates.resume_within {
            self.abandon(turn, &format!("the target cannot be seen: {reason}"));
        }
    }

    /// Decides from the world and the receipt what became of an attempt.
    fn settle_by_look(
        &mut self,
        turn: &mut Turn<'_>,
        current: &Current,
        observation: &Observation,
        receipt: Option<Receipt>,
    ) {
        let live = observation.current.as_ref().map(|release| &release.version);
        let receipt = receipt.unwrap_or(Receipt::Nothing);
        if current.record.status.is_undo() {
            self.settle_undo(turn, current, live, receipt);
            return;
        }
        let StepAction::Operate { operation } = &current.record.planned.action else {
            // What the core watches itself is left as it is where the plan is to end; putting it on record is not.
            if !is_aborted(turn, current) || current.record.planned.action == StepAction::Record {
                self.again(turn, current);
            }
            return;
        };
        let is_switch = matches!(operation, Operation::Switch { .. });
        match receipt {
            Receipt::Succeeded if is_switch && live == Some(&current.to) => {
                self.succeeded(turn, current, "found done when the world was looked at".to_owned());
            }
            Receipt::Failed => {
                let reason = Reason::new("it came to its end and failed");
                self.failed(turn, current, &reason);
            }
            // Nothing was heard of it, and it is not seen to be done.
            _ if current.record.status == StepStatus::Unknown => {
                self.again_in_time(turn, current);
            }
            // Cut short by a restart of ours.
            _ => self.again(turn, current),
        }
    }

    fn settle_undo(&mut self, turn: &mut Turn<'_>, current: &Current, live: Option<&Version>, receipt: Receipt) {
        let is_over = current.record.attempts >= ATTEMPTS_LIMIT || self.time_is_over(turn, current);
        if receipt == Receipt::Succeeded && live == Some(&current.from) {
            let note = "found done when the world was looked at".to_owned();
            self.undo_ended(turn, current, OperationOutcome::Done(note));
        } else if receipt == Receipt::Failed || is_over {
            let reason = unheard(current, "it had not come to its end when the world was looked at");
            self.undo_ended(turn, current, OperationOutcome::Failed(reason));
        } else if self.may_try_again(turn)
            && let Some(undo) = current.record.planned.undo.clone()
        {
            self.begin_undo(turn, current, undo);
        }
    }

    /// Two attempts do not follow each other at once, whatever ended the first one so soon.
    fn may_try_again(&mut self, turn: &Turn<'_>) -> bool {
        let Some(not_before) = self.drive.attempt_began.map(|began| began.after(RETRY_DELAY)) else { return true };
        if turn.now.boot < not_before {
            self.drive.not_before = Some(not_before);
            self.wake_by(not_before);
            return false;
        }
        true
    }

    /// Makes another attempt at a step of which nothing was heard, as long as its deadline has not passed since the first
    /// one; after that it has failed. Returns whether something was settled.
    fn again_in_time(&mut self, turn: &mut Turn<'_>, current: &Current) -> bool {
        if self.time_is_over(turn, current) {
            let reason = unheard(current, "it did not come to its end in time");
            self.failed(turn, current, &reason);
            return true;
        }
        if !self.may_try_again(turn) {
            return false;
        }
        self.again(turn, current);
        self.current(turn).is_none_or(|now| !now.record.status.in_flight())
    }

    /// Makes another attempt at a step that was cut short.
    fn again(&mut self, turn: &mut Turn<'_>, current: &Current) {
        if is_aborted(turn, current) && matches!(current.record.planned.action, StepAction::Operate { .. }) {
            let reason = Reason::new("it was cut short, and the plan is to end");
            self.failed(turn, current, &reason);
            return;
        }
        if current.record.attempts >= ATTEMPTS_LIMIT {
            let reason = Reason::new("it was cut short too often");
            self.failed(turn, current, &reason);
            return;
        }
        if current.record.status == StepStatus::Started {
            self.step(turn, current, StepEvent::BecameUnknown, "cut short".to_owned());
        }
        self.step(turn, current, StepEvent::Started, String::new());
        self.perform(turn, current);
    }
}

/// Why a step failed of which nothing was heard: what was said of its last attempt, or else `why`.
fn unheard(current: &Current, why: &str) -> Reason {
    let note = &current.record.note;
    Reason::new(if current.record.status.is_unknown() && !note.is_empty() { note } else { why })
}
