//! One thing happens after another.

use std::{sync::Arc, time::Duration};

use super::{Happening, Report, Simulation};
use crate::{
    core::{
        action::{Action, Actions},
        durable::{Durable, SNAPSHOT_FORM},
        engine::State,
        entry::Entry,
        event::{Event, Sequence},
        name::{ServiceIndex, SignalIndex},
        time::MachineStart,
    },
    testing::invariants::Violation,
};

/// Steps of one run: a run that needs more does not come to rest.
const HAPPENINGS_LIMIT: u64 = 400_000;
/// A plan that is under way when the run should end has so long: its steps' deadlines and its verification's, together.
const LAST_PLAN_ENDS_WITHIN: Duration = Duration::from_secs(300);
/// The target is looked at so often without being asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And the version endpoint.
const VERSION_EVERY: Duration = Duration::from_secs(2);
/// The watchdog's own network is checked so often.
pub(super) const SELF_CHECK_EVERY: Duration = Duration::from_secs(2);

impl Simulation<'_> {
    pub(super) fn run(&mut self) -> Result<Report, Violation> {
        self.plan_the_world();
        self.start()?;
        for _ in 0..HAPPENINGS_LIMIT {
            let Some((&(at, ticket), _)) = self.queue.first_key_value() else { break };
            // A plan that people or a late finding began is seen through; it has an end of its own.
            if at > self.end && (!self.has_plan_under_way() || at > self.end.after(LAST_PLAN_ENDS_WITHIN)) {
                return self.report();
            }
            let happening = self.queue.remove(&(at, ticket)).expect("it was just there");
            // What was due while the machine was suspended happens right after.
            self.boot = self.boot.max(at);
            self.happen(happening)?;
        }
        Err(Violation(format!("the run did not end within {HAPPENINGS_LIMIT} happenings")))
    }

    fn has_plan_under_way(&self) -> bool {
        self.disk.incidents.values().any(|incident| incident.plans.iter().any(|plan| plan.ended.is_none()))
    }

    fn plan_the_world(&mut self) {
        let scenario = self.scenario;
        for service in 0..scenario.services {
            self.plan(scenario.deploy_after, Happening::Deploy { service, release: 1 });
        }
        self.plan(scenario.chaos_until, Happening::EndOfChaos);
        if let Some(outage) = &scenario.outage {
            self.plan(outage.after, Happening::Outage);
        }
        if let Some(partial) = scenario.partial {
            self.plan(partial.after, Happening::PartialFailure);
        }
        for &(after, by_seconds) in &scenario.clock_steps {
            self.plan(after, Happening::ClockStep { by_seconds });
        }
        for &(after, lasts) in &scenario.suspends {
            self.plan(after, Happening::Suspend { lasts });
        }
        if scenario.chaos.people_every_seconds > 0 {
            self.plan(Duration::from_secs(scenario.chaos.people_every_seconds), Happening::Person);
        }
    }

    fn start(&mut self) -> Result<(), Violation> {
        self.epoch += 1;
        self.absent = false;
        self.panicked = false;
        let epoch = self.epoch;
        for (place, service) in self.policy.services.clone().iter().enumerate() {
            let index = ServiceIndex(u32::try_from(place).expect("few services"));
            for (signal, policy) in service.signals.iter().enumerate() {
                let signal = SignalIndex(u16::try_from(signal).expect("few signals"));
                let offset = self.random.between(Duration::ZERO, policy.every);
                self.plan_take(offset, index, signal);
            }
            self.plan(LOOK_EVERY, Happening::RegularLook { epoch, service: index });
            if self.scenario.version.is_some() {
                self.plan(VERSION_EVERY, Happening::AskVersion { epoch, service: index });
            }
        }
        self.counted_to.fill(None);
        self.impaired = false;
        self.plan(SELF_CHECK_EVERY, Happening::SelfCheck { epoch });
        self.fold()?;
        self.feed(Event::Started)
    }

    /// A state from what is durable, at the ordinary pace.
    fn fold(&mut self) -> Result<(), Violation> {
        let durable = self.durable()?;
        self.ordinary_pace();
        self.invariants.evidence.clear();
        self.state = Some(State::new(Arc::clone(&self.policy), "sim", MachineStart(1), durable, self.now()));
        Ok(())
    }

    /// The same after a panic in a step about a service: what was seen of the others goes on, at its own pace.
    pub(super) fn fold_anew(&mut self, in_hand: ServiceIndex) -> Result<(), Violation> {
        let durable = self.durable()?;
        self.ordinary_pace();
        self.invariants.evidence.clear_of(in_hand.get());
        let Some(broken) = self.state.take() else { return Ok(()) };
        let mut actions = Actions::new();
        let policy = Arc::clone(&self.policy);
        self.state =
            Some(broken.folded_anew(Some(in_hand), policy, MachineStart(1), durable, self.now(), &mut actions));
        for action in actions {
            let Action::SetCadence { service, signal, every } = action else {
                return Err(Violation("a state made anew does more than take up its pace".to_owned()));
            };
            self.set_pace(service, signal, every);
        }
        Ok(())
    }

    fn set_pace(&mut self, service: ServiceIndex, signal: SignalIndex, every: Duration) {
        self.cadence[service.get()][signal.get()] = every;
        self.plan_take(every, service, signal);
    }

    /// Every signal is taken as often as configured.
    fn ordinary_pace(&mut self) {
        for (place, service) in self.policy.services.iter().enumerate() {
            self.cadence[place] = service.signals.iter().map(|signal| signal.every).collect();
        }
    }

    /// What is durable, found by both ways there are.
    fn durable(&self) -> Result<Durable, Violation> {
        let mut durable = Durable::default();
        for (sequence, entry) in &self.journal {
            durable
                .apply(*sequence, entry)
                .map_err(|error| Violation(format!("the journal does not fold: {error}")))?;
        }
        if durable != self.disk {
            return Err(Violation("the fold of the whole journal differs from the running fold".to_owned()));
        }
        self.recover()
    }

    /// Begins from a snapshot made after any entry, and folds the rest, as a store that was compacted does.
    fn recover(&self) -> Result<Durable, Violation> {
        // No draw: the run must not depend on how often it began from a snapshot.
        let mixed = (self.scenario.seed ^ self.epoch).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = usize::try_from(mixed >> 32).expect("32 bits") % (self.journal.len() + 1);
        let (covered, rest) = self.journal.split_at(place);
        let fold = |mut durable: Durable, entries: &[(Sequence, Arc<Entry>)]| {
            for (sequence, entry) in entries {
                durable.apply(*sequence, entry).map_err(|error| Violation(format!("after a snapshot: {error}")))?;
            }
            Ok::<_, Violation>(durable)
        };
        let snapshot = Durable::from_snapshot(SNAPSHOT_FORM, &fold(Durable::default(), covered)?.to_snapshot())
            .map_err(|error| Violation(format!("a snapshot after {place} entries: {error}")))?;
        let durable = fold(snapshot, rest)?;
        if durable != self.disk {
            return Err(Violation(format!("a snapshot after {place} entries leads to another state")));
        }
        Ok(durable)
    }

    /// Gives the core an event and carries out what it wants.
    pub(super) fn feed(&mut self, event: Event) -> Result<(), Violation> {
        let now = self.now();
        let about = self.about(&event);
        let Some(state) = self.state.as_mut() else { return Ok(()) };
        if let Event::Sample(sample) = &event
            && !self.impaired
        {
            let every = self.cadence[sample.service.get()][sample.signal.get()];
            self.invariants.evidence.handed_out(sample, every, now.boot);
        }
        let mut actions = Actions::new();
        state.step(now, event, &mut actions);
        let wake = state.next_wake();
        self.steps += 1;
        if let Some(service) = about.filter(|_| self.scenario.panics.contains(&self.steps)) {
            return self.panic(service);
        }
        let is_append = |action: &Action| matches!(action, Action::Append { .. });
        let (appends, others): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_append);
        if !appends.is_empty() {
            self.effects += 1;
            if self.kills.contains(&(self.effects, true)) {
                return self.kill();
            }
            // One step's entries are one transaction; the store has it before anything else goes out.
            self.append(appends)?;
            if self.kills.contains(&(self.effects, false)) {
                return self.kill();
            }
        }
        for action in others {
            if let Action::SetCadence { service, signal, every } = action {
                self.set_pace(service, signal, every);
                continue;
            }
            self.effects += 1;
            if self.kills.contains(&(self.effects, true)) {
                return self.kill();
            }
            self.carry_out(action)?;
            if self.kills.contains(&(self.effects, false)) {
                return self.kill();
            }
        }
        if let Some(wake) = wake {
            let epoch = self.epoch;
            self.plan(wake.since(self.boot), Happening::Wake { epoch });
        }
        Ok(())
    }

    /// Whose an event is, if it is one service's: the one that a panic in it would be put down to.
    fn about(&self, event: &Event) -> Option<ServiceIndex> {
        match event {
            Event::Sample(sample) => Some(sample.service),
            Event::Looked { service, .. } | Event::VersionSeen { service, .. } => Some(*service),
            Event::OperationEnded { key, .. } => {
                let incident = self.disk.incidents.get(&key.incident)?;
                self.policy.service_index(incident.service.as_str())
            }
            _ => None,
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Take { epoch, service, signal } if epoch == self.epoch => self.take(service, signal),
            Happening::RegularLook { epoch, service } if epoch == self.epoch => {
                self.plan(LOOK_EVERY, Happening::RegularLook { epoch, service });
                self.look(service, None);
                Ok(())
            }
            Happening::LookAfter { epoch, service, key } if epoch == self.epoch => {
                self.look(service, Some(key));
                Ok(())
            }
            Happening::AskVersion { epoch, service } if epoch == self.epoch => {
                self.plan(VERSION_EVERY, Happening::AskVersion { epoch, service });
                self.ask_version(service);
                Ok(())
            }
            Happening::EvidenceWritten { epoch, incident, content } if epoch == self.epoch => {
                self.evidence.insert(incident, content);
                Ok(())
            }
            Happening::ToCore { epoch, event } if epoch == self.epoch => self.feed(event),
            Happening::Wake { epoch } if epoch == self.epoch => {
                let due = self.state.as_ref().and_then(State::next_wake).is_some_and(|wake| wake <= self.boot);
                if due { self.feed(Event::Woke) } else { Ok(()) }
            }
            Happening::Commit { epoch } if epoch == self.epoch => self.commit(),
            Happening::SelfCheck { epoch } if epoch == self.epoch => self.check_self(),
            Happening::Finish { key } => self.finish(&key),
            Happening::Deploy { service, release } => {
                self.last_deploy = self.boot;
                self.worlds[service].deploy_by_people(release, self.boot, &mut self.random);
                Ok(())
            }
            Happening::Outage => {
                let services = self.scenario.outage.iter().flat_map(|outage| &outage.services);
                for service in services {
                    self.worlds[*service].begin_outage(self.boot);
                }
                Ok(())
            }
            Happening::PartialFailure => {
                if let Some(partial) = self.scenario.partial.filter(|_| self.is_chaos()) {
                    self.tally.count("fault: some instances fail");
                    self.worlds[0].begin_partial_failure(partial);
                }
                Ok(())
            }
            Happening::Person => self.person(),
            Happening::ClockStep { by_seconds } => {
                self.tally.count(if by_seconds < 0 { "fault: clock stepped back" } else { "fault: clock stepped on" });
                self.stepped_seconds += by_seconds;
                Ok(())
            }
            Happening::Suspend { lasts } => {
                self.suspend(lasts);
                Ok(())
            }
            Happening::EndOfChaos => {
                for world in &mut self.worlds {
                    world.end_outage();
                }
                Ok(())
            }
            Happening::Kill if !self.absent => self.kill(),
            Happening::Restart => self.start(),
            // Of a process that is gone.
            _ => Ok(()),
        }
    }

    /// The machine sleeps: the clock goes on, and what it was to do meanwhile is late.
    fn suspend(&mut self, lasts: Duration) {
        self.tally.count("fault: suspended");
        self.boot = self.boot.after(lasts);
        self.end = self.end.after(lasts);
        self.suspended += lasts;
        let outside: Vec<_> = self.queue.extract_if(.., |_, happening| happening.is_outside()).collect();
        self.queue.extend(outside.into_iter().map(|((at, ticket), one)| ((at.after(lasts), ticket), one)));
    }
}
