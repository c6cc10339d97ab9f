//! Effects, as a hostile world carries them out.

use std::time::Duration;

use super::{Flying, Happening, Simulation};
use crate::{
    core::{
        action::Action,
        engine::AS_IT_STANDS,
        event::{Event, Refusal, Reply},
        name::{ChannelName, IncidentId, ServiceIndex},
        operation::{Attempt, Gathering, Look, Operation, OperationOutcome, StepKey},
        page::{DeliveryOutcome, Page},
        policy::Finding,
        sample::Reason,
    },
    testing::{
        invariants::{Invariants, Violation},
        policy::CHANNEL,
        world::Fate,
    },
};

/// How long a look waits for the end of what an earlier attempt left running.
const LOCK_WAIT: Duration = Duration::from_secs(20);

/// A file of evidence is on disk after this, if the process lives so long.
const EVIDENCE_TAKES: Duration = Duration::from_millis(50);

fn tenths(random: &mut super::Random, least_ms: u64, most_ms: u64) -> Duration {
    random.between(Duration::from_millis(least_ms), Duration::from_millis(most_ms))
}

impl Simulation<'_> {
    pub(super) fn carry_out(&mut self, action: Action) -> Result<(), Violation> {
        self.invariants.action(&action, &self.disk)?;
        match action {
            Action::Look { service, key: None } => self.look(service, None),
            Action::Look { service, key: Some(key) } => self.look_after(service, key),
            Action::Operate { service, attempt } => return self.operate(service, attempt),
            Action::Gather { incident, .. } => self.gather(incident),
            Action::Deliver { page, channel, .. } => self.deliver(&page, channel),
            Action::Append { .. } | Action::SetCadence { .. } => unreachable!("handled by `feed`"),
            Action::Reply { reply, .. } => self.tally.count(replied(&reply)),
            Action::WriteEvidence { incident, name, content } if name == AS_IT_STANDS => {
                let epoch = self.epoch;
                self.plan(EVIDENCE_TAKES, Happening::EvidenceWritten { epoch, incident, content });
            }
            Action::KeepHistory { .. } | Action::WriteEvidence { .. } => {}
        }
        Ok(())
    }

    /// A look in a plan waits until nothing of the attempt runs any more.
    fn look_after(&mut self, service: ServiceIndex, key: StepKey) {
        let epoch = self.epoch;
        let ends = self.flying.iter().find(|one| one.attempt.key == key).map(|one| one.ends);
        let waits = ends.map_or(Duration::ZERO, |ends| ends.since(self.boot));
        if waits.is_zero() {
            self.look(service, Some(key));
        } else if waits <= LOCK_WAIT {
            self.tally.count("seen: a look waited for an operation of an earlier process");
            // Right after the end.
            self.plan(waits + Duration::from_millis(1), Happening::LookAfter { epoch, service, key });
        } else {
            let began = self.boot.after(LOCK_WAIT);
            let look = Look { observation: Err(Reason::new("still running")), receipt: None, began };
            self.plan(LOCK_WAIT, Happening::ToCore { epoch, event: Event::Looked { service, key: Some(key), look } });
        }
    }

    pub(super) fn look(&mut self, service: ServiceIndex, key: Option<StepKey>) {
        let epoch = self.epoch;
        let fails = self.chance(self.scenario.chaos.look_fails, "fault: look failed");
        let cannot_tell = self.chance(self.scenario.chaos.current_unknown, "fault: target cannot tell");
        let is_slow = self.chance(self.scenario.chaos.look_slow, "fault: look slow");
        let is_untold = self.is_untold();
        let boot = self.boot;
        let world = &mut self.worlds[service.get()];
        if world.reconcile(boot, &mut self.random) {
            self.last_deploy = boot;
        }
        let mut observation = world.observation(boot);
        if let Some(platform) = world.platform.as_mut().filter(|_| !fails && observation.partial_failure().is_some()) {
            platform.shown_failing_at = Some(boot);
        }
        if cannot_tell || self.scenario.target_is_mute {
            observation.current = None;
        }
        if is_untold {
            observation.current = None;
            observation.untold = Some("tell what is live: the ConfigMap shop-config is away".to_owned());
        }
        let observation = if fails { Err(Reason::new("timed out")) } else { Ok(observation) };
        let receipt = key.as_ref().map(|key| world.receipt(key));
        let takes = tenths(&mut self.random, 1, if is_slow { 6000 } else { 80 });
        let look = Look { observation, receipt, began: self.boot };
        self.plan(takes, Happening::ToCore { epoch, event: Event::Looked { service, key, look } });
    }

    /// Whether the target does not tell just now what is live, and says why.
    fn is_untold(&mut self) -> bool {
        let elapsed = self.elapsed();
        let is_away = self.scenario.untold.is_some_and(|(from, to)| from <= elapsed && elapsed < to);
        if is_away && self.is_chaos() {
            self.tally.count("fault: target does not tell for long");
            return true;
        }
        // No draw where it never happens: the run must not depend on it.
        let rate = self.scenario.chaos.untold;
        rate > 0 && self.chance(rate, "fault: target does not tell")
    }

    fn gather(&mut self, incident: IncidentId) {
        let epoch = self.epoch;
        let outcome = if self.chance(self.scenario.chaos.look_fails, "fault: gathering failed") {
            Err(Reason::new("list the nodes: timed out"))
        } else {
            Ok(Gathering { place: format!("/evidence/{incident}"), files: 3, seen: vec!["1 of 1 nodes".to_owned()] })
        };
        if self.chance(self.scenario.chaos.operation_hangs, "fault: gathering hangs") {
            return;
        }
        let takes = tenths(&mut self.random, 500, 50_000);
        self.plan(takes, Happening::ToCore { epoch, event: Event::Gathered { incident, outcome } });
    }

    fn deliver(&mut self, page: &Page, channel: ChannelName) {
        let epoch = self.epoch;
        let chaos = self.scenario.chaos;
        if page.finding == Some(Finding::StoreFailed) && self.store_hangs_for().is_some() {
            self.tally.count("store: hang told");
        }
        let is_dead = self.scenario.channel_is_dead && channel.as_str() == CHANNEL;
        let outcome = if is_dead || self.chance(chaos.delivery_fails, "fault: delivery failed") {
            DeliveryOutcome::Retry { reason: Reason::new("503"), retry_after_seconds: None }
        } else if self.chance(chaos.delivery_refused, "fault: delivery refused for good") {
            self.invariants.refused.insert(page.id.clone(), page.clone());
            DeliveryOutcome::Refused(Reason::new("410"))
        } else {
            // What hangs may have arrived or not.
            self.invariants.delivered.insert(page.id.clone(), page.clone());
            if self.chance(chaos.delivery_hangs, "fault: delivery hangs") {
                return;
            }
            DeliveryOutcome::Delivered
        };
        let takes = tenths(&mut self.random, 5, 300);
        let event = Event::DeliveryEnded { page: page.id.clone(), channel, outcome };
        self.plan(takes, Happening::ToCore { epoch, event });
    }

    fn fate(&mut self, operation: &Operation) -> Fate {
        let chaos = self.scenario.chaos;
        let is_switch = matches!(operation, Operation::Switch { .. });
        let is_restart = matches!(operation, Operation::RestartFailing { .. });
        if self.chance(chaos.operation_hangs, "fault: operation hangs") {
            Fate::Hangs
        } else if is_restart && self.chance(chaos.operation_half, "fault: restarted by half, and failed") {
            Fate::FailsHalfway
        } else if is_restart && self.chance(chaos.operation_lies, "fault: target lied that it restarted") {
            Fate::LiesThatItRestarted
        } else if is_switch && self.chance(chaos.operation_half, "fault: switched, and the restart failed") {
            Fate::FailsHalfway
        } else if is_switch && self.chance(chaos.operation_lies, "fault: target lied") {
            self.random.pick(&[Fate::LiesThatItSwitched, Fate::LiesThatItRestarted])
        } else {
            Fate::Succeeds
        }
    }

    fn operate(&mut self, service: ServiceIndex, attempt: Attempt) -> Result<(), Violation> {
        let epoch = self.epoch;
        let ended = |attempt: &Attempt, outcome| Event::OperationEnded { key: attempt.key.clone(), outcome };
        // A controller's sync is turned on at that controller's object, whatever goes on at the target.
        let is_target =
            |operation: &Operation| !matches!(operation, Operation::Record { .. } | Operation::ResumeSync { .. });
        let runs = self.flying.iter().find(|one| one.service == service && is_target(&one.attempt.operation));
        if let Some(other) = runs.filter(|_| is_target(&attempt.operation)) {
            let (one, other) = (&attempt.key, &other.attempt.key);
            return Err(Violation(format!("{one} begins while {other} is still being carried out: two at once")));
        }
        let is_switch = matches!(attempt.operation, Operation::Switch { .. });
        if is_switch && self.chance(self.scenario.chaos.deploy_mid_plan, "fault: deploy in the middle of a plan") {
            let after = tenths(&mut self.random, 0, 4000);
            let release = 1 + usize::try_from(self.random.below(2)).expect("two releases");
            self.plan(after, Happening::Deploy { service: service.get(), release });
        }
        if self.chance(self.scenario.chaos.killed_mid_plan, "fault: killed in the middle of a plan") {
            let after = tenths(&mut self.random, 0, 2500);
            self.plan(after, Happening::Kill);
        }
        let takes = tenths(&mut self.random, 20, 2500);
        if self.chance(self.scenario.chaos.operation_fails, "fault: operation failed") {
            let event = ended(&attempt, OperationOutcome::Failed(Reason::new("refused")));
            self.plan(takes, Happening::ToCore { epoch, event });
            return Ok(());
        }
        let fate = self.fate(&attempt.operation);
        let world = &mut self.worlds[service.get()];
        if let Err(outcome) = world.begin(&attempt.key, &attempt.operation, fate, self.boot) {
            let event = ended(&attempt, outcome);
            self.plan(takes, Happening::ToCore { epoch, event });
            return Ok(());
        }
        Invariants::hops(&self.worlds[service.get()], &self.disk)?;
        if let Some(wrong) = self.worlds[service.get()].owner.as_ref().and_then(|owner| owner.wrong.clone()) {
            return Err(Violation(wrong));
        }
        let takes = if fate == Fate::Hangs { attempt.deadline } else { takes };
        self.plan(takes, Happening::Finish { key: attempt.key.clone() });
        let ends = self.boot.after(takes);
        self.flying.push(Flying { service, attempt, fate, ends, epoch });
        Ok(())
    }

    pub(super) fn finish(&mut self, key: &StepKey) -> Result<(), Violation> {
        // What was ended before its time is not there any more.
        let is_due = |one: &Flying| one.attempt.key == *key && one.ends <= self.boot;
        let Some(place) = self.flying.iter().position(is_due) else { return Ok(()) };
        let Flying { service, attempt, fate, epoch, .. } = self.flying.remove(place);
        let world = &mut self.worlds[service.get()];
        let outcome = world.finish(&attempt.key, &attempt.operation, fate, self.boot, &mut self.random)?;
        if epoch == self.epoch { self.feed(Event::OperationEnded { key: attempt.key, outcome }) } else { Ok(()) }
    }
}

fn replied(reply: &Reply) -> &'static str {
    match reply {
        Ok(_) => "people: done as asked",
        Err(Refusal::NotFound(_)) => "people: refused, no such thing",
        Err(Refusal::Conflict(_)) => "people: refused, the situation is another",
        Err(Refusal::Gate(_)) => "people: refused by a gate",
        Err(Refusal::Busy(_)) => "people: refused, too busy",
    }
}
