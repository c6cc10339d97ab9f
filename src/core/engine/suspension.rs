//! A GitOps controller's sync that a rollback suspends: whether the suspension holds, who is told of it, and when it is
//! resumed.
//!
//! A rollback holds only as long as nobody puts back what Git holds. So the sync stays off, and people are told again and
//! again. Backstop turns it on by itself only where its own record of the suspension is there, what was suspended is still
//! the owner, and the controller says that since the rollback it has compared what is live with a Git that holds something
//! else. Whoever turns it on before that has the last word: it is told as gravely as a rollback that failed, and nothing more
//! is done, nor suspended again, until Git has left.

use std::time::Duration;

use super::{drive::LOST_AFTER_DEADLINE, incident::write_evidence, page::Draft, service::Service, turn::Turn};
use crate::core::{
    action::Action,
    durable::{PlanRecord, SuspensionRecord, SuspensionStage},
    entry::{Fact, StepAction},
    gate::words,
    name::{IncidentId, ServiceName, Version},
    operation::{Attempt, Operation, OperationOutcome, StepKey},
    page::PageKind,
    plan::SYNC_DEADLINE,
    policy::{Finding, GitopsPolicy, Mode},
    release::{GitState, GitSync, Observation, SyncState},
    saga::StepStatus,
    sample::Reason,
    time::{BootTime, WallTime},
};

/// Between the first two attempts at turning a sync on again, and doubled with each that follows: a conflict or an API
/// server that restarts is over by then.
const RESUMED_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Never longer than this between two of them. There is no last one, since a sync that is off forgotten would be worse: but
/// each is an entry of the journal, and a permission that people have to give back is not there sooner for more of them.
const RESUMED_AGAIN_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Attempts at turning it on are counted from here, far above those that its step may have: each has a number of its own
/// for a year and more of failing, and they are not children of ours that could outlive us.
const RESUMES_BEGIN_AT: u16 = 1000;
/// A sync that is off is told again so often where the severity has no repetition of its own: nothing else shows that what
/// Git holds and what is live are two things.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// A controller compares what is live with what Git holds within this after its sync was turned on: Argo CD's own default is
/// every three minutes at the latest, and both begin at once after a change of their object.
const COMPARED_WITHIN: Duration = Duration::from_secs(3 * 60);
/// A controller whose sync is on puts back what Git holds each time its interval is over, and an hour is the longest one in
/// common use: what was not put back for so long does not come back.
const SETTLED_AFTER: Duration = Duration::from_secs(60 * 60);
/// The clocks of a cluster's controllers and ours agree so far: what was compared sooner than this after a rollback may have
/// been compared before it.
const CLOCKS_APART: Duration = Duration::from_secs(5);

/// A look may show what another service has ended since: an incident of which nothing is known for so long is told.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// What is going on about a suspended sync, as far as it is not in the journal.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    /// The attempt at turning it on that has not come back.
    attempt: Option<StepKey>,
    /// Attempts at turning it on in a row, since the daemon started.
    tried: u32,
    /// No attempt before this.
    not_before: Option<BootTime>,
    /// Why the last attempt failed.
    trouble: Option<String>,
    /// When people were last told that it is off.
    told_at: Option<BootTime>,
    /// Since when it is seen on, while what was rolled back from was seen not to be live.
    on_since: Option<BootTime>,
    /// Since when it is suspended for an incident of which nothing is known.
    unknown_since: Option<BootTime>,
}

impl Service {
    /// The sync that a rollback has to suspend first.
    pub(super) fn suspends(&self, turn: &Turn<'_>) -> Option<GitSync> {
        let sync = self.sight.observation().and_then(Observation::sync)?;
        let is_wanted = match sync.state {
            SyncState::Active => true,
            // For another service, which may turn it on while ours is rolled back; or we are turning it on just now.
            SyncState::Suspended { .. } => turn.record(&self.name).suspension.is_none() || self.is_resuming(turn),
            SyncState::ByHand | SyncState::Lifted { .. } | SyncState::Unseen { .. } => false,
        };
        (is_wanted && self.policy.gates.gitops == GitopsPolicy::Suspend).then(|| sync.clone())
    }

    /// Whether an operation at the target is under way. It is woken when that is over at the latest.
    fn is_flying(&mut self, turn: &Turn<'_>) -> bool {
        let until = self.flying.as_ref().map(|(_, until)| *until).filter(|until| turn.now.boot < *until);
        if let Some(until) = until {
            self.wake_by(until);
        }
        until.is_some()
    }

    /// Whether an attempt at turning a sync on is under way.
    fn is_resuming(&self, turn: &Turn<'_>) -> bool {
        let is_it =
            |(key, until): &(StepKey, BootTime)| Some(key) == self.syncing.attempt.as_ref() && turn.now.boot < *until;
        self.flying.as_ref().is_some_and(is_it)
    }

    /// Whether a plan counts on a sync that is off: since it has suspended it, or an earlier one of this service had.
    fn rests_on_suspension(&self, turn: &Turn<'_>, plan: &PlanRecord) -> bool {
        let is_held = |one: &SuspensionRecord| one.stage == SuspensionStage::Held;
        match suspended_by(plan) {
            Some(status) => status == StepStatus::Done,
            None => plan.plan.rolls_back() && turn.record(&self.name).suspension.as_ref().is_some_and(is_held),
        }
    }

    /// Why the suspension that the plan rests on does not hold, if it is seen not to.
    pub(super) fn is_not_held(&self, turn: &Turn<'_>, plan: &PlanRecord, observation: &Observation) -> Option<String> {
        if !self.rests_on_suspension(turn, plan) {
            return None;
        }
        let sync = observation.sync()?;
        match sync.state {
            SyncState::Active | SyncState::Lifted { .. } => Some(not_held(&sync.owner, plan.from.as_str())),
            SyncState::ByHand | SyncState::Suspended { .. } | SyncState::Unseen { .. } => None,
        }
    }

    /// What stands between a plan and the proof that the suspension it rests on holds.
    pub(super) fn suspension_obstacle(&self, turn: &Turn<'_>) -> Option<String> {
        let plan = turn.open_incident(&self.name)?.active_plan()?;
        if !self.rests_on_suspension(turn, plan) {
            return None;
        }
        let sync = self.sight.observation().filter(|_| self.is_fresh()).and_then(Observation::sync);
        match sync.map(|sync| &sync.state) {
            Some(SyncState::Suspended { .. } | SyncState::ByHand) => None,
            Some(SyncState::Unseen { why }) => Some(format!("whether the sync stays suspended cannot be seen: {why}")),
            _ => Some("the sync has not been seen to stay suspended yet".to_owned()),
        }
    }

    /// Whether the last look began after whatever we changed last.
    fn is_fresh(&self) -> bool {
        self.sight.looked_at() > self.changed_at
    }

    /// The plan under way rests on a suspension that somebody lifted: it ends there.
    pub(super) fn end_not_held(&mut self, turn: &mut Turn<'_>, why: &str) {
        let Some(incident) = turn.open_incident(&self.name).map(|incident| incident.id.clone()) else { return };
        self.end_between(turn, why, Finding::SyncNotHeld);
        put_on_record(turn, &self.name, &incident.clone(), Fact::SyncNotHeld { incident, why: why.to_owned() });
    }

    /// Follows a sync that is suspended, while no plan is under way.
    pub(super) fn follow_suspension(&mut self, turn: &mut Turn<'_>) {
        let Some(suspension) = turn.record(&self.name).suspension.clone() else {
            self.syncing = Syncing { unknown_since: self.syncing.unknown_since, ..Syncing::default() };
            self.follow_unknown(turn);
            return;
        };
        self.syncing.unknown_since = None;
        let is_driven = turn.open_incident(&self.name).is_some_and(|one| one.active_plan().is_some());
        if is_driven || suspension.stage == SuspensionStage::InPlan || turn.observer.closing {
            return;
        }
        if !self.is_fresh() {
            self.look(turn);
            return;
        }
        // Of a target that is gone nobody can say who owns it: it may be made anew just now.
        let gone = self.sight.observation().and_then(|seen| seen.gone.clone());
        let seen = self.sight.observation().filter(|_| gone.is_none()).map(|seen| {
            let is_back = seen.current.as_ref().map(|live| live.version == suspension.from);
            (seen.sync().cloned(), is_back)
        });
        let is_told = suspension.stage != SuspensionStage::NotHeld;
        match seen {
            Some((Some(sync), is_back)) if sync.owner == suspension.owner => {
                self.follow_state(turn, &suspension, &sync.state, is_back);
            }
            Some((Some(sync), _)) => self.leave_sync(turn, &format!("{} owns the target by now", sync.owner)),
            Some((None, _)) if self.policy.gates.gitops == GitopsPolicy::Suspend => {
                self.leave_sync(turn, "no controller owns the target any more");
            }
            Some((None, _)) if is_told => {
                let why = "gates.gitops is not `suspend` any more: set it so again, or turn the sync on by hand";
                self.tell_suspended(turn, &suspension, why);
            }
            None if is_told => {
                let trouble = gone.as_deref().or_else(|| self.sight.trouble().map(Reason::as_str));
                let why = trouble.unwrap_or("the target has not been seen yet");
                let why = format!("whether it is still off cannot be seen: {why}");
                self.tell_suspended(turn, &suspension, &why);
            }
            Some(_) | None => {}
        }
    }

    /// Follows it as its owner shows it. `is_back` says whether what was rolled back from is live, where that is told.
    fn follow_state(
        &mut self,
        turn: &mut Turn<'_>,
        suspension: &SuspensionRecord,
        state: &SyncState,
        is_back: Option<bool>,
    ) {
        use SuspensionStage as Stage;
        let is_on = matches!(state, SyncState::Active | SyncState::Lifted { .. });
        if is_on && is_back == Some(false) {
            self.syncing.on_since.get_or_insert(turn.now.boot);
        } else {
            self.syncing.on_since = None;
        }
        let from = &suspension.from;
        match (suspension.stage, state) {
            (_, SyncState::Active | SyncState::Lifted { .. }) => self.follow_on(turn, suspension, state, is_back),
            (Stage::NotHeld, SyncState::Unseen { .. }) => {}
            (_, SyncState::Unseen { why }) => {
                self.tell_suspended(turn, suspension, &format!("whether it is still off cannot be seen: {why}"));
            }
            (Stage::NotHeld, SyncState::ByHand) => {
                self.is_resumed(turn, suspension, "people have turned it off for themselves");
            }
            // Whoever took our annotation away may have turned it off for themselves, or not: only people know.
            (_, SyncState::ByHand) => {
                let why = format!(
                    "it is off, and nothing of ours is written there any more: turn it on by hand if Git has left {from}"
                );
                self.tell_suspended(turn, suspension, &why);
            }
            (Stage::ToBeResumed, SyncState::Suspended { .. }) => {
                self.resume_sync(turn, suspension, "nothing was rolled back");
            }
            (_, SyncState::Suspended { git, .. }) => match left_for(git, suspension, is_back) {
                Some(revision) => self.resume_sync(turn, suspension, &format!("Git has left {from} for {revision}")),
                None => self.tell_suspended(turn, suspension, &git_words(git, from, is_back)),
            },
        }
    }

    /// It is on. We turned it on, or somebody else did: that is well where the controller says that Git has left what was
    /// rolled back from, or where it was not put back for long enough.
    fn follow_on(
        &mut self,
        turn: &mut Turn<'_>,
        suspension: &SuspensionRecord,
        state: &SyncState,
        is_back: Option<bool>,
    ) {
        let git = match state {
            SyncState::Lifted { git, .. } => Some(git),
            _ => None,
        };
        let is_to_be = suspension.stage == SuspensionStage::ToBeResumed;
        // Also where nothing is heard of our attempt, or not yet.
        let is_ours = is_to_be || (suspension.resuming && is_back != Some(true));
        match git {
            // Its plan ended while it was being suspended: how that comes to its end is waited for.
            None if is_to_be && !self.is_resuming(turn) && self.is_flying(turn) => return,
            None if is_ours => return self.is_resumed(turn, suspension, "it is on again"),
            Some(_) if is_to_be => return self.resume_sync(turn, suspension, "nothing was rolled back"),
            _ => {}
        }
        let since = self.syncing.on_since.unwrap_or(turn.now.boot);
        let is_settled = turn.now.boot >= since.after(SETTLED_AFTER);
        let over = match git.and_then(|git| left_for(git, suspension, is_back)) {
            Some(revision) => Some(format!("somebody turned it on for {revision}")),
            None if is_settled => {
                Some(format!("it has been on for {}, and {} did not come back", words(SETTLED_AFTER), suspension.from))
            }
            None => None,
        };
        // Who turns it on for a mended release does what the page asked for. The controller has yet to look at it.
        let is_hopeful = is_back == Some(false)
            && matches!(git, Some(GitState::Moved { .. } | GitState::Fetched { .. } | GitState::Left { .. }));
        match (over, git) {
            // What is left of the suspension there is taken away.
            (Some(how), Some(_)) => self.resume_sync(turn, suspension, &how),
            (Some(how), None) => self.is_resumed(turn, suspension, &how),
            (None, _) if suspension.stage == SuspensionStage::NotHeld => self.wake_by(since.after(SETTLED_AFTER)),
            (None, _) if is_hopeful && turn.now.boot < since.after(COMPARED_WITHIN) => {
                self.wake_by(since.after(COMPARED_WITHIN));
            }
            (None, _) => self.tell_not_held(turn, suspension),
        }
    }

    /// What was suspended is out of sight for good: people have to see to it.
    fn leave_sync(&mut self, turn: &mut Turn<'_>, why: &str) {
        leave_to_people(turn, &self.name, why);
        self.end_findings(turn);
        self.syncing = Syncing::default();
    }

    /// A sync that is suspended, as its object says, and of which the journal knows nothing: the journal is another one, or
    /// the service was not watched for a while. People are told once, since nobody knows what it was suspended for.
    fn follow_unknown(&mut self, turn: &mut Turn<'_>) {
        let finding = Finding::SyncSuspended;
        let sync = self.sight.observation().filter(|_| self.is_fresh()).and_then(Observation::sync);
        let Some(GitSync { owner, state, .. }) = sync else { return };
        let is_told = turn.record(&self.name).findings.contains(&finding);
        let is_known = |incident: &IncidentId| {
            let is_its = |one: &SuspensionRecord| one.incident == *incident;
            turn.ledger.durable.services.values().any(|record| record.suspension.as_ref().is_some_and(is_its))
        };
        match state {
            SyncState::Suspended { incident, .. } if is_known(incident) => self.syncing.unknown_since = None,
            SyncState::Suspended { incident, .. } if !is_told => {
                let since = *self.syncing.unknown_since.get_or_insert(turn.now.boot);
                let until = since.after(UNKNOWN_FOR);
                let (owner, incident) = (owner.clone(), incident.clone());
                if turn.now.boot < until {
                    self.wake_by(until);
                    return;
                }
                if self.sight.looked_at() < Some(since) {
                    self.look(turn);
                    return;
                }
                let detail =
                    format!("the sync of {owner} is suspended since incident {incident}, of which nothing is known");
                let severity = turn.policy.escalation.severity(finding);
                let summary = format!("{}: {detail}", self.name);
                let draft = Draft::finding(PageKind::IncidentEscalated, Some(&self.name), finding, summary);
                turn.append(Some(&self.name), Fact::Found { incident: None, finding, severity, detail, gate: None });
                turn.page(draft.action("See what Git holds, and turn it on by hand."));
            }
            SyncState::Active | SyncState::ByHand | SyncState::Lifted { .. } => {
                self.syncing.unknown_since = None;
                self.end_findings(turn);
            }
            SyncState::Suspended { .. } | SyncState::Unseen { .. } => {}
        }
    }

    /// Tells that it is off: once, and again as often as its severity is repeated.
    fn tell_suspended(&mut self, turn: &mut Turn<'_>, suspension: &SuspensionRecord, why: &str) {
        let finding = Finding::SyncSuspended;
        let severity = turn.policy.escalation.severity(finding);
        let repeat = turn.policy.escalation.severities.get(&severity).and_then(|policy| policy.repeat);
        let every = repeat.unwrap_or(TOLD_AGAIN_AFTER);
        let is_new = !turn.record(&self.name).findings.contains(&finding);
        // After a restart nobody remembers when people were told last: its age says when that was due.
        let age = turn.ago(suspension.began);
        let since_due = age.as_millis() % every.as_millis().max(1);
        let since_due = Duration::from_millis(u64::try_from(since_due).unwrap_or(u64::MAX));
        let told = *self.syncing.told_at.get_or_insert(turn.now.boot.before(since_due));
        if !is_new && turn.now.boot < told.after(every) {
            return;
        }
        self.syncing.told_at = Some(turn.now.boot);
        let SuspensionRecord { owner, from, to, .. } = suspension;
        let detail = format!("the sync of {owner} has been suspended for {}: {why}", words(age));
        if is_new {
            let fact = Fact::Found { incident: None, finding, severity, detail: detail.clone(), gate: None };
            turn.append(Some(&self.name), fact);
        }
        let trouble = self.syncing.trouble.as_ref().map(|why| {
            let after = words(resumed_again_after(self.syncing.tried));
            format!("It could not be turned on: failed to {why}. It is tried again {after} after that.")
        });
        let what = match suspension.stage {
            SuspensionStage::ToBeResumed => "Nothing was rolled back: Backstop turns it on again.".to_owned(),
            _ => format!(
                "Backstop turns it on by itself only where its controller says that what is live is what Git holds, without \
                 {from}: Flux says nothing while it is suspended. Until it is on {to} stays."
            ),
        };
        let was = suspension.was.as_ref().map(|was| format!("This merge patch makes it what it was: {was}"));
        let draft =
            Draft::finding(PageKind::IncidentEscalated, Some(&self.name), finding, format!("{}: {detail}", self.name));
        let draft = draft.of(&suspension.incident).versions(from, to).details([what]).details(was).details(trouble);
        turn.page(if is_new { draft } else { draft.once_more() });
    }

    /// Somebody turned it on while Git still held what was rolled back from.
    fn tell_not_held(&mut self, turn: &mut Turn<'_>, suspension: &SuspensionRecord) {
        let finding = Finding::SyncNotHeld;
        let why = not_held(&suspension.owner, suspension.from.as_str());
        let incident = suspension.incident.clone();
        put_on_record(turn, &self.name, &suspension.incident, Fact::SyncNotHeld { incident, why: why.clone() });
        self.end_findings(turn);
        let severity = turn.policy.escalation.severity(finding);
        let fact = Fact::Found { incident: None, finding, severity, detail: why.clone(), gate: None };
        turn.append(Some(&self.name), fact);
        let draft =
            Draft::finding(PageKind::RollbackFailed, Some(&self.name), finding, format!("{}: {why}", self.name));
        let draft = draft.of(&suspension.incident).versions(&suspension.from, &suspension.to);
        turn.page(draft.details(["Backstop does not suspend it a second time.".to_owned()]));
    }

    /// What was found outside of incidents about a suspension is over.
    fn end_findings(&self, turn: &mut Turn<'_>) {
        for finding in [Finding::SyncSuspended, Finding::SyncNotHeld] {
            if turn.record(&self.name).findings.contains(&finding) {
                turn.append(Some(&self.name), Fact::FindingOver { finding });
            }
        }
    }

    /// Turns it on again.
    fn resume_sync(&mut self, turn: &mut Turn<'_>, suspension: &SuspensionRecord, why: &str) {
        if let Some(held_back) = self.only_watches(turn) {
            self.tell_suspended(turn, suspension, &format!("{why}, but {held_back}: turn it on by hand"));
            return;
        }
        if self.is_flying(turn) {
            return;
        }
        if let Some(not_before) = self.syncing.not_before.filter(|not_before| turn.now.boot < *not_before) {
            if self.syncing.trouble.is_some() {
                self.tell_suspended(turn, suspension, why);
            }
            self.wake_by(not_before);
            return;
        }
        let SuspensionRecord { incident, plan, step, owner, attempts, .. } = suspension.clone();
        turn.append(Some(&self.name), Fact::SyncResuming { incident: incident.clone() });
        let attempt = RESUMES_BEGIN_AT.saturating_add(attempts);
        let key = StepKey { incident, plan, step, attempt };
        self.syncing.attempt = Some(key.clone());
        self.syncing.tried = self.syncing.tried.saturating_add(1);
        self.syncing.not_before = Some(turn.now.boot.after(resumed_again_after(self.syncing.tried)));
        self.flying = Some((key.clone(), turn.now.boot.after(SYNC_DEADLINE + LOST_AFTER_DEADLINE)));
        let operation = Operation::ResumeSync { owner };
        // It is about the owner: whether the target was made anew meanwhile does not matter.
        let attempt = Attempt { key, operation, object: None, deadline: SYNC_DEADLINE };
        turn.after_commit(Action::Operate { service: self.index, attempt });
    }

    /// Why nothing is changed here just now, if so.
    fn only_watches(&self, turn: &Turn<'_>) -> Option<&'static str> {
        if self.page_only {
            Some("Backstop only watches here, after an error of its own")
        } else if self.policy.mode == Mode::Observe {
            Some("Backstop only watches here (mode: observe)")
        } else if turn.record(&self.name).paused.is_some() || turn.ledger.durable.paused.is_some() {
            Some("Backstop is paused")
        } else {
            None
        }
    }

    /// An attempt at turning it on ended. Returns whether it was one.
    pub(super) fn resuming_ended(&mut self, turn: &mut Turn<'_>, key: &StepKey, outcome: &OperationOutcome) -> bool {
        if self.syncing.attempt.take_if(|attempt| attempt == key).is_none() {
            return false;
        }
        let Some(suspension) = turn.record(&self.name).suspension.clone() else { return true };
        self.changed_at = Some(turn.now.boot);
        match outcome {
            OperationOutcome::Done(note) => self.is_resumed(turn, &suspension, note),
            // It stays ours to turn on, whatever became of the target.
            OperationOutcome::Failed(reason)
            | OperationOutcome::Unknown(reason)
            | OperationOutcome::Overtaken(reason) => {
                self.syncing.trouble = Some(reason.to_string());
            }
        }
        true
    }

    /// Nothing of ours is suspended any more.
    fn is_resumed(&mut self, turn: &mut Turn<'_>, suspension: &SuspensionRecord, how: &str) {
        let incident = suspension.incident.clone();
        let was_told = turn.record(&self.name).findings.contains(&Finding::SyncSuspended);
        let sync = self.sight.observation().and_then(Observation::sync).map(|sync| &sync.state);
        let is_lifted = matches!(sync, Some(SyncState::Lifted { .. }));
        let fact = Fact::SyncResumed { incident, how: how.to_owned() };
        put_on_record(turn, &self.name, &suspension.incident, fact);
        self.end_findings(turn);
        self.syncing = Syncing::default();
        let off_for = words(turn.ago(suspension.began));
        let summary =
            format!("{}: the sync of {} is not suspended for it any more: {how}", self.name, suspension.owner);
        let draft = Draft::service(PageKind::SignalRestored, &self.name, summary).of(&suspension.incident);
        let draft = if was_told { draft.found(Finding::SyncSuspended) } else { draft };
        let action = if is_lifted { "See that what it brings is well." } else { "Nothing to do." };
        turn.page(draft.action(action).details([format!("It was suspended {off_for} ago.")]));
    }

    /// What is so of a suspended sync, in words.
    pub(super) fn suspension_words(&self, turn: &Turn<'_>) -> Option<String> {
        let SuspensionRecord { owner, from, at, stage, .. } = turn.record(&self.name).suspension.as_ref()?;
        let left = if matches!(stage, SuspensionStage::Held | SuspensionStage::NotHeld) {
            format!(" {from}")
        } else {
            String::new()
        };
        Some(format!("the sync of {owner} {}{left} (since {at})", stage.words()))
    }
}

/// Puts on record what became of a suspended sync, and into the evidence of its incident, if that is not forgotten by now.
pub(super) fn put_on_record(turn: &mut Turn<'_>, service: &ServiceName, incident: &IncidentId, fact: Fact) {
    turn.append(Some(service), fact);
    if turn.ledger.durable.incidents.contains_key(incident) {
        write_evidence(turn, incident);
    }
}

/// How the step stands that suspends a sync, where the plan has one.
fn suspended_by(plan: &PlanRecord) -> Option<StepStatus> {
    plan.status_of(|action| matches!(action, StepAction::Operate { operation: Operation::SuspendSync { .. } }))
}

/// How long after the last of so many attempts the next one follows.
fn resumed_again_after(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1);
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    RESUMED_AGAIN_AFTER.saturating_mul(factor).min(RESUMED_AGAIN_WITHIN)
}

/// For which revision Git has left what was rolled back from, where the controller says so and it is seen not to be live.
fn left_for<'a>(git: &'a GitState, suspension: &SuspensionRecord, is_back: Option<bool>) -> Option<&'a str> {
    let GitState::Left { revision, compared } = git else { return None };
    let since = suspension.held_since.unwrap_or(suspension.at);
    let is_after = |at: WallTime| {
        u128::try_from(at.as_millis() - since.as_millis()).is_ok_and(|since| since > CLOCKS_APART.as_millis())
    };
    (is_back == Some(false) && compared.is_none_or(is_after)).then_some(revision)
}

/// Why a sync that is off stays so, in words.
fn git_words(git: &GitState, from: &Version, is_back: Option<bool>) -> String {
    match git {
        GitState::Holds => format!("Git still holds {from}"),
        GitState::Moved { revision } => format!(
            "Git is at {revision}, and that still differs from what is live: turn it on by hand if that is a mended release"
        ),
        GitState::Fetched { revision } => format!(
            "Git is at {revision}, and whether that still holds {from} cannot be told while it is off: turn it on by hand if \
             it does not"
        ),
        GitState::Left { revision, .. } if is_back != Some(false) => {
            format!("Git is at {revision}, and what is live is not known to be another release than {from}")
        }
        GitState::Left { revision, .. } => {
            format!(
                "Git is at {revision}, and its controller has not compared that with what is live since the rollback"
            )
        }
        GitState::Unclear { why } => why.clone(),
    }
}

/// A suspended sync is not followed any more: people are told once.
pub(super) fn leave_to_people(turn: &mut Turn<'_>, name: &ServiceName, why: &str) {
    let Some(suspension) = turn.record(name).suspension.clone() else { return };
    let SuspensionRecord { incident, owner, from, to, was, stage, .. } = suspension;
    put_on_record(turn, name, &incident.clone(), Fact::SyncLeft { incident: incident.clone(), why: why.to_owned() });
    if stage == SuspensionStage::NotHeld {
        return;
    }
    let summary = format!("{name}: the sync of {owner} may be suspended yet, and is left to people: {why}");
    let draft = Draft::finding(PageKind::IncidentEscalated, Some(name), Finding::SyncSuspended, summary);
    let when = if stage == SuspensionStage::ToBeResumed { String::new() } else { format!(" once Git has left {from}") };
    let what = format!("Turn it on by hand{when}: what it was stands in its annotation backstop.io/sync-before.");
    let was = was.map(|was| format!("This merge patch makes it what it was: {was}"));
    turn.page(draft.of(&incident).versions(&from, &to).action(what).details(was));
}

fn not_held(owner: &str, from: &str) -> String {
    format!("the sync of {owner} is on again, and Backstop did not turn it on: Git puts {from} back")
}
