//! The store, and what is left when the process goes.

use std::{sync::Arc, time::Duration};

use super::{Flying, Happening, Simulation};
use crate::{
    core::{
        action::Action,
        entry::{Entry, Fact, StepAction, StepEvent},
        event::{Event, Sequence},
        name::{ServiceIndex, ServiceName},
        operation::Operation,
        release::Standing,
        sample::Reason,
    },
    testing::{
        invariants::{Moment, Violation},
        scenario::VersionEndpoint,
        world::Fate,
    },
};

/// A killed process is usually started again after this.
const RESTART_AFTER: Duration = Duration::from_millis(700);
/// A failed commit is tried again after this.
const COMMIT_RETRY: Duration = Duration::from_millis(500);
/// A supervisor whose daemon died ends its child within this.
const CHILD_ENDS_WITHIN: Duration = Duration::from_secs(7);
/// The shortest absence by which a plan is too old to be gone on with, and the longest.
const LONG_ABSENCE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(180));

impl Simulation<'_> {
    pub(super) fn append(&mut self, appends: Vec<Action>) -> Result<(), Violation> {
        let entry = |action| match action {
            Action::Append { sequence, entry } => (sequence, entry),
            _ => unreachable!("partitioned by the caller"),
        };
        let batch: Vec<(Sequence, Arc<Entry>)> = appends.into_iter().map(entry).collect();
        let decides = |fact: &Fact| matches!(fact, Fact::IncidentOpened { by: None, .. } | Fact::PlanStarted { .. });
        if let Some((_, entry)) = batch.iter().find(|(_, entry)| self.impaired && decides(&entry.fact)) {
            let fact = &entry.fact;
            return Err(Violation(format!("decided while the watchdog's own network is ill: {fact:?}")));
        }
        for (_, entry) in batch.iter().filter(|(_, entry)| matches!(entry.fact, Fact::PlanStarted { .. })) {
            let by = entry.service.as_ref().and_then(|name| self.invariants.distrusted.get(name));
            if by == Some(&self.epoch) {
                return Err(Violation("a plan begins for a service that may only be paged of".to_owned()));
            }
        }
        for (_, entry) in &batch {
            self.judge_by_evidence(entry)?;
        }
        self.appended.extend(batch.iter().map(|(sequence, _)| (*sequence, self.boot)));
        self.batches.push_back(batch);
        if !self.committing {
            self.committing = true;
            let epoch = self.epoch;
            let takes = self.random.between(Duration::from_millis(1), Duration::from_millis(20));
            self.plan(takes, Happening::Commit { epoch });
        }
        Ok(())
    }

    /// What is decided is held against what was seen by then; by the time it is durable more may have been, and
    /// the world may be another.
    fn judge_by_evidence(&self, entry: &Entry) -> Result<(), Violation> {
        let Some(name) = &entry.service else { return Ok(()) };
        let place = self.policy.service_index(name.as_str()).expect("it is watched").get();
        let Some(state) = &self.state else { return Ok(()) };
        let durable = state.durable();
        match &entry.fact {
            Fact::PlanStarted { approved_by: None, by_hand: None, .. } => {
                let service = &self.policy.services[place];
                let reports: Vec<_> = durable.service(name).reports.iter().cloned().collect();
                self.invariants.evidence.supports(service, &reports, place, &self.worlds[place], self.boot)
            }
            Fact::RolloutEnded { healthy: false, .. } => self.invariants.evidence.fails_now(place, name, self.boot),
            Fact::StandingChanged { standing: Standing::KnownBad, .. } => {
                self.invariants.evidence.proves(place, name, self.boot)
            }
            Fact::Step { incident, plan, step, event: StepEvent::Succeeded, .. } => {
                let plans = durable.incidents.get(incident).map(|incident| &incident.plans);
                let plan = plans.and_then(|plans| plans.iter().find(|one| one.number == *plan));
                match plan.and_then(|plan| plan.steps.get(usize::from(*step))) {
                    Some(step) if step.planned.action == StepAction::Verify => self.check_verified(place, name),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn is_store_full(&mut self) -> bool {
        let elapsed = self.elapsed();
        let is_full = self.scenario.store_full.is_some_and(|(from, to)| from <= elapsed && elapsed < to);
        if is_full && self.is_chaos() {
            self.tally.count("fault: store full");
            return true;
        }
        false
    }

    /// For how much longer the disk hangs.
    pub(super) fn store_hangs_for(&self) -> Option<Duration> {
        let elapsed = self.elapsed();
        let (from, to) = self.scenario.store_hangs?;
        let left = to.min(self.scenario.chaos_until).saturating_sub(elapsed);
        (from <= elapsed && !left.is_zero()).then_some(left)
    }

    pub(super) fn commit(&mut self) -> Result<(), Violation> {
        let epoch = self.epoch;
        if let Some(left) = self.store_hangs_for() {
            self.tally.count("fault: store hangs");
            self.plan(left, Happening::Commit { epoch });
            return Ok(());
        }
        self.committing = false;
        if self.is_store_full() || self.chance(self.scenario.chaos.commit_lost, "fault: commit lost") {
            self.committing = true;
            self.plan(COMMIT_RETRY, Happening::Commit { epoch });
            return self.feed(Event::StoreFailing(Reason::new("disk I/O error")));
        }
        let unknown = self.chance(self.scenario.chaos.commit_unknown, "fault: commit unknown");
        // Until the answer is certain the batches are kept and appended again: appending is idempotent.
        let all: Vec<_> = self.batches.iter().flatten().cloned().collect();
        let Some((last, _)) = all.last().cloned() else { return Ok(()) };
        for (sequence, entry) in all {
            self.make_durable(sequence, entry)?;
        }
        if unknown {
            self.committing = true;
            self.plan(COMMIT_RETRY, Happening::Commit { epoch });
            return self.feed(Event::StoreFailing(Reason::new("the answer got lost")));
        }
        self.batches.clear();
        self.feed(Event::Committed(last))
    }

    fn make_durable(&mut self, sequence: Sequence, entry: Arc<Entry>) -> Result<(), Violation> {
        let place = usize::try_from(sequence.0 - 1).expect("a short journal");
        if let Some((_, written)) = self.journal.get(place) {
            if **written != *entry {
                return Err(Violation(format!("entry {} was written twice, and differs", sequence.0)));
            }
            return Ok(());
        }
        let moment = Moment {
            entry: &entry,
            boot: self.appended[&sequence],
            before: &self.disk,
            mode: self.mode,
            policy: &self.policy,
            worlds: &self.worlds,
        };
        self.invariants.entry(&moment)?;
        self.disk.apply(sequence, &entry).map_err(|error| Violation(error.to_string()))?;
        self.journal.push((sequence, entry));
        Ok(())
    }

    fn check_verified(&self, place: usize, name: &ServiceName) -> Result<(), Violation> {
        let world = &self.worlds[place];
        // A person who deploys in the same moments changes the truth under the proof.
        let undisturbed = self.boot.since(self.last_deploy) > Duration::from_secs(10);
        // A target that says it restarted the service, and has not, is found out by its version alone.
        let is_told = self.scenario.version == Some(VersionEndpoint::Honest)
            && self.scenario.chaos.version_contradicts == 0
            || self.scenario.chaos.operation_lies == 0;
        let is_well = if is_told || !world.is_torn() { world.is_well(self.boot) } else { true };
        if undisturbed && !is_well {
            return Err(Violation(format!("{name}: verified, and it is not well: {world:?}")));
        }
        Ok(())
    }

    /// kill -9: what was handed to the store may or may not have got there; operations end where they are, soon after,
    /// or are through before anybody ends them.
    pub(super) fn kill(&mut self) -> Result<(), Violation> {
        self.killed += 1;
        self.tally.count("fault: killed");
        self.state = None;
        self.absent = true;
        self.epoch += 1;
        let batches = std::mem::take(&mut self.batches);
        for batch in batches {
            if self.random.per_mille(500) {
                break;
            }
            for (sequence, entry) in batch {
                self.make_durable(sequence, entry)?;
            }
        }
        self.committing = false;
        for mut one in std::mem::take(&mut self.flying) {
            self.tally.count("fault: killed while an operation was carried out");
            match self.random.below(10) {
                0..=2 => {
                    let Flying { service, attempt, fate, .. } = one;
                    let world = &mut self.worlds[service.get()];
                    world.finish(&attempt.key, &attempt.operation, fate, self.boot, &mut self.random)?;
                }
                // Those on a controller's object are no children of ours.
                3..=5
                    if !matches!(
                        one.attempt.operation,
                        Operation::Record { .. } | Operation::SuspendSync { .. } | Operation::ResumeSync { .. }
                    ) =>
                {
                    self.tally.count("fault: an operation outlived the process");
                    let ended_at = self.boot.after(self.random.between(Duration::ZERO, CHILD_ENDS_WITHIN));
                    if ended_at < one.ends {
                        one.fate = Fate::Hangs;
                        one.ends = ended_at;
                    }
                    self.plan(one.ends.since(self.boot), Happening::Finish { key: one.attempt.key.clone() });
                    self.flying.push(one);
                }
                _ => {}
            }
        }
        let after = if self.chance(self.scenario.chaos.long_absence, "fault: away for long") {
            self.random.between(LONG_ABSENCE.0, LONG_ABSENCE.1)
        } else {
            RESTART_AFTER
        };
        self.plan(after, Happening::Restart);
        Ok(())
    }

    /// The core panicked in a step about a service: its effects are lost, and its state is folded anew, once.
    pub(super) fn panic(&mut self, service: ServiceIndex) -> Result<(), Violation> {
        if std::mem::replace(&mut self.panicked, true) {
            self.tally.count("fault: panicked twice");
            return self.kill();
        }
        self.tally.count("fault: panicked");
        // What was handed to the store before is written first; where it cannot be, the process ends.
        if self.is_store_full() || self.store_hangs_for().is_some() {
            return self.kill();
        }
        for (sequence, entry) in std::mem::take(&mut self.batches).into_iter().flatten() {
            self.make_durable(sequence, entry)?;
        }
        // The answer to what was under way comes back to a state that knows of it already.
        self.fold_anew(service)?;
        self.invariants.distrusted.insert(self.name(service).clone(), self.epoch);
        self.feed(Event::Started)
    }
}
