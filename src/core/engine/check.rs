//! The verification after a rollback made by hand: the same proof, without a plan.

use super::{
    history::{keep_verification, put_in_place_of, was_overtaken},
    page::Draft,
    service::Service,
    turn::Turn,
    verification::{Judged, Verification},
};
use crate::core::{
    entry::{Fact, PlanOutcome, StepEvent},
    event::{Refusal, Reply},
    gate::words,
    name::Version,
    page::PageKind,
    policy::Finding,
    release::Standing,
};

impl Service {
    pub(super) fn ask_to_verify(&mut self, turn: &mut Turn<'_>, by: &str) -> Reply {
        let record = turn.record(&self.name);
        let Some(live) = record.live().map(|live| live.deploy.release.version.clone()) else {
            return Err(Refusal::Conflict(format!("{}: what is live is not known yet", self.name)));
        };
        if let Some(under_way) = record.verification.as_ref().filter(|one| one.ended.is_none()) {
            // The same proof serves whoever asks.
            let (since, most) = (words(turn.ago(under_way.begun)), words(self.policy.verify.timeout));
            return Ok(format!(
                "{}: {} asked {since} ago to verify {} already; that goes on, within {most}",
                self.name, under_way.by, under_way.version
            ));
        }
        let incident = turn.open_incident(&self.name);
        if let Some(incident) = incident
            && let Some(plan) = incident.active_plan()
        {
            let why = format!(
                "{}: plan {} of {id} is under way and verifies by itself; `backstop verify {} --wait` waits for that, \
                 `backstop incident show {id}` tells how it goes",
                self.name,
                plan.number,
                self.name,
                id = incident.id
            );
            return Err(Refusal::Conflict(why));
        }
        let number = record.verification.as_ref().map_or(1, |last| last.number + 1);
        let must_clear = incident.map(|incident| incident.fired.iter().cloned().collect()).unwrap_or_default();
        let fact = Fact::VerificationBegun {
            number,
            by: by.to_owned(),
            version: live.clone(),
            from: put_in_place_of(record, incident, &live),
            incident: incident.map(|incident| incident.id.clone()),
            must_clear,
        };
        turn.append(Some(&self.name), fact);
        self.look(turn);
        self.assess(turn);
        let policy = self.policy.verify;
        let (clear, most) = (words(policy.healthy_for), words(policy.timeout));
        let record = if turn.record(&self.name).live_by_rollback() {
            "; the rollback to it is on record already, and the history gets no other"
        } else {
            ""
        };
        Ok(format!("{}: verifying {live}: it must be clear for {clear}, within {most}{record}", self.name))
    }

    /// Goes on with the verification that somebody asked for.
    pub(super) fn follow_verification(&mut self, turn: &mut Turn<'_>) {
        let record = turn.record(&self.name);
        let Some(asked) = record.verification.as_ref().filter(|one| one.ended.is_none()).cloned() else {
            self.verifying = None;
            return;
        };
        let live = record.live().map(|live| &live.deploy.release.version);
        let stopped = if live != Some(&asked.version) {
            Some("another version was made live meanwhile")
        } else if turn.open_incident(&self.name).is_some_and(|incident| incident.active_plan().is_some()) {
            Some("a rollback began meanwhile")
        } else {
            None
        };
        if let Some(why) = stopped {
            self.end_verification(turn, asked.number, &asked.version, StepEvent::BecameUnknown, why);
            return;
        }
        // After a restart of ours it begins anew: nothing was seen while nobody watched.
        let (_, since, state) = self
            .verifying
            .take()
            .filter(|(number, ..)| *number == asked.number)
            .unwrap_or_else(|| (asked.number, turn.now.boot, Verification::default()));
        let timeout = self.policy.verify.timeout;
        let (state, judged) = self.judge(turn, state, &asked.must_clear, &asked.version, since, timeout);
        match judged {
            Judged::Waits(until) => {
                self.verifying = Some((asked.number, since, state));
                self.wake_by(until);
            }
            Judged::Ended(event, note) => self.end_verification(turn, asked.number, &asked.version, event, &note),
        }
    }

    pub(super) fn end_verification(
        &mut self,
        turn: &mut Turn<'_>,
        number: u64,
        version: &Version,
        event: StepEvent,
        note: &str,
    ) {
        self.verifying = None;
        let outcome = match event {
            StepEvent::Succeeded => PlanOutcome::Verified,
            StepEvent::Failed => PlanOutcome::Persists,
            _ => PlanOutcome::Unverified,
        };
        let fact = Fact::VerificationEnded { number, outcome, note: note.to_owned() };
        turn.append(Some(&self.name), fact);
        keep_verification(turn, &self.name);
        if outcome == PlanOutcome::Verified {
            self.learn_from_rollback_by_hand(turn, version);
        }
        let record = turn.record(&self.name);
        let last = record.verification.as_ref();
        if last.is_none_or(|last| last.from.is_none() || was_overtaken(record, last)) {
            // Nothing was rolled back, or what was verified is not live: whoever asked is answered, and what is wrong is
            // told as ever.
            return;
        }
        let (summary, finding) = match outcome {
            PlanOutcome::Verified => (format!("{}: verified: {version} is live and healthy ({note})", self.name), None),
            PlanOutcome::Persists => {
                let summary = format!("{}: {version} is live, and the issue persists: {note}", self.name);
                (summary, Some(Finding::RollbackSucceededIssuePersists))
            }
            _ => {
                let summary = format!("{}: {version} is live, and could not be verified: {note}", self.name);
                (summary, Some(Finding::RollbackUnverified))
            }
        };
        if let Some(finding) = finding {
            self.find(turn, finding, note, None);
        }
        let draft = match turn.open_incident(&self.name) {
            Some(incident) => Draft::about(PageKind::RollbackCompleted, incident, summary),
            None => Draft::service(PageKind::RollbackCompleted, &self.name, summary),
        };
        let draft = match finding {
            Some(finding) => draft.found(finding),
            None => draft.action("Root cause investigation comes next; post-mortem to be scheduled."),
        };
        turn.page(draft.ended(outcome).live(version));
    }

    /// The open incident accuses another version than the one that was proved healthy: that one was rolled back from by
    /// hand, and it helped.
    fn learn_from_rollback_by_hand(&self, turn: &mut Turn<'_>, healthy: &Version) {
        let Some(incident) = turn.open_incident(&self.name) else { return };
        let accused = incident.accused.clone();
        let Some((_, bad)) = accused.filter(|(_, version)| version != healthy) else { return };
        // Where somebody had it rolled back with nothing measured against it, another release's health proves nothing.
        let mut plans = incident.plans.iter().filter(|plan| plan.plan.rolls_back() && plan.from == bad).peekable();
        if plans.peek().is_some() && !plans.any(|plan| plan.is_accused(incident)) {
            return;
        }
        let why = format!("replaced by {healthy} by hand, and that helped");
        self.measured(turn, &bad, Standing::KnownBad, why);
    }
}
