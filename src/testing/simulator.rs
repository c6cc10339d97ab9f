//! Runs one scenario.

mod people;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    invariants::{Invariants, Violation},
    policy,
    random::Random,
    scenario::Scenario,
    world::World,
};
use crate::core::{
    action::{Action, Actions},
    durable::{Durable, IncidentRecord, SNAPSHOT_FORM},
    engine::State,
    entry::{Entry, Fact, PlanOutcome, StepAction, StepEvent},
    event::{Authority, Event, Request, RequestId, RollbackOrder, Sequence},
    gate::Gate,
    name::{ServiceIndex, ServiceName, SignalIndex},
    operation::{Attempt, Look, Operation, OperationOutcome},
    page::{DeliveryOutcome, PageKind},
    policy::{Finding, Mode, Policy, ReportKind, Severity},
    release::Mark,
    sample::{Measurement, Outcome, Reason, Sample},
    time::{BootTime, MachineStart, Now},
};

/// The watchdog's own network is looked at so often.
const SELF_CHECK_EVERY: Duration = Duration::from_secs(2);
/// Looks at it in a thousand that fail after one that failed.
const SELF_CHECK_GOES_ON_FAILING: u64 = 700;
/// Steps of one run: a run that needs more does not come to rest.
const HAPPENINGS_LIMIT: u64 = 400_000;
/// The target is looked at so often without being asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A killed process is started again after this.
const RESTART_AFTER: Duration = Duration::from_millis(700);
/// A failed commit is tried again after this.
const COMMIT_RETRY: Duration = Duration::from_millis(500);

/// Kill the process at the effect of this number, counted over the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// Which effect.
    pub effect: u64,
    /// Before it is carried out, or right after.
    pub before: bool,
}

/// A page that reached people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the same fields as `Page`")]
pub struct Told {
    pub kind: PageKind,
    pub severity: Severity,
    pub finding: Option<Finding>,
    pub service: Option<ServiceName>,
    pub summary: String,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Effects handed out over the whole run.
    pub effects: u64,
    /// How each plan ended.
    pub outcomes: Vec<PlanOutcome>,
    /// Services of which a plan was begun, in order.
    pub rolled_back: Vec<ServiceName>,
    /// Pages that reached people, in the order of their queueing.
    pub told: Vec<Told>,
    /// Nightly looks: whose, and whether it was told.
    pub nights: Vec<(ServiceName, bool)>,
    /// Incidents opened.
    pub incidents: u64,
    /// Incidents still open at the end.
    pub open: u64,
    /// A hash of the whole journal: equal for equal runs.
    pub fingerprint: u64,
    /// How often the process was killed.
    pub kills: u64,
    /// The end of the journal, for people.
    pub journal: Vec<String>,
}

#[derive(Debug)]
enum Happening {
    Take { epoch: u64, service: ServiceIndex, signal: SignalIndex },
    RegularLook { epoch: u64, service: ServiceIndex },
    ToCore { epoch: u64, event: Event },
    Commit { epoch: u64 },
    Finish { epoch: u64, service: ServiceIndex, attempt: Attempt, fails: bool },
    Wake { epoch: u64 },
    Deploy { service: usize, release: usize },
    SelfCheck { epoch: u64 },
    Outage,
    Person,
    EndOfChaos,
    Restart,
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    mode: Mode,
    policy: Arc<Policy>,
    random: Random,
    boot: BootTime,
    queue: BTreeMap<(BootTime, u64), Happening>,
    ticket: u64,
    epoch: u64,
    state: Option<State>,
    worlds: Vec<World>,
    cadence: Vec<Vec<Duration>>,
    /// Up to when each service's requests were counted by this process; its first look only takes the counters' values.
    counted_to: Vec<Option<BootTime>>,
    /// What is durable: the entries, and their fold.
    journal: Vec<(Sequence, Arc<Entry>)>,
    disk: Durable,
    batches: VecDeque<Vec<(Sequence, Arc<Entry>)>>,
    committing: bool,
    in_flight: Vec<(ServiceIndex, Attempt, bool)>,
    kills: BTreeSet<(u64, bool)>,
    killed: u64,
    effects: u64,
    requests: u64,
    invariants: Invariants,
    last_deploy: BootTime,
    /// The watchdog's own network is ill, as far as the running process was told.
    impaired: bool,
}

/// Runs a scenario and holds it against the invariants.
pub fn simulate(scenario: &Scenario, mode: Mode, kills: &[Kill]) -> Result<Report, Violation> {
    let policy = Arc::new(policy::policy(scenario, mode));
    let boot = BootTime::from_nanos(3_600_000_000_000);
    let cadence = policy.services.iter().map(|one| one.signals.iter().map(|signal| signal.every).collect()).collect();
    let mut simulation = Simulation {
        scenario,
        mode,
        random: Random::new(scenario.seed),
        boot,
        queue: BTreeMap::new(),
        ticket: 0,
        epoch: 0,
        state: None,
        worlds: scenario.faults.iter().map(|&fault| World::new(fault, boot)).collect(),
        cadence,
        counted_to: vec![None; scenario.services],
        journal: Vec::new(),
        disk: Durable::default(),
        batches: VecDeque::new(),
        committing: false,
        in_flight: Vec::new(),
        kills: kills.iter().map(|kill| (kill.effect, kill.before)).collect(),
        killed: 0,
        effects: 0,
        requests: 0,
        invariants: Invariants::default(),
        last_deploy: boot,
        impaired: false,
        policy,
    };
    simulation.run().map_err(|violation| simulation.explain(&violation))
}

/// Journal entries that are shown with a violation.
const SHOWN_ENTRIES: usize = 60;

impl Simulation<'_> {
    fn now(&self) -> Now {
        let since = self.boot.since(BootTime::from_nanos(3_600_000_000_000));
        Now { boot: self.boot, wall: self.scenario.starts_at.after(since) }
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.ticket += 1;
        self.queue.insert((self.boot.after(after), self.ticket), happening);
    }

    fn is_chaos(&self) -> bool {
        let start = BootTime::from_nanos(3_600_000_000_000);
        self.boot.since(start) < self.scenario.chaos_until
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.is_chaos() && self.random.per_mille(per_mille)
    }

    fn run(&mut self) -> Result<Report, Violation> {
        for service in 0..self.scenario.services {
            self.plan(self.scenario.deploy_after, Happening::Deploy { service, release: 1 });
        }
        self.plan(self.scenario.chaos_until, Happening::EndOfChaos);
        if let Some(outage) = &self.scenario.outage {
            self.plan(outage.after, Happening::Outage);
        }
        if self.scenario.chaos.people_every_seconds > 0 {
            self.plan(Duration::from_secs(self.scenario.chaos.people_every_seconds), Happening::Person);
        }
        self.start()?;
        let end = self.boot.after(self.scenario.ends_after);
        for _ in 0..HAPPENINGS_LIMIT {
            let Some(entry) = self.queue.first_entry() else { break };
            let (at, _) = *entry.key();
            if at > end {
                return self.report();
            }
            let happening = entry.remove();
            self.boot = at;
            self.happen(happening)?;
        }
        Err(Violation(format!("the run did not end within {HAPPENINGS_LIMIT} happenings")))
    }

    fn start(&mut self) -> Result<(), Violation> {
        self.epoch += 1;
        let epoch = self.epoch;
        let mut durable = Durable::default();
        for (sequence, entry) in &self.journal {
            durable
                .apply(*sequence, entry)
                .map_err(|error| Violation(format!("the journal does not fold: {error}")))?;
        }
        if durable != self.disk {
            return Err(Violation("the fold of the whole journal differs from the running fold".to_owned()));
        }
        let durable = self.recover()?;
        self.state = Some(State::new(Arc::clone(&self.policy), "sim", MachineStart(1), durable, self.now()));
        for (place, service) in self.policy.services.clone().iter().enumerate() {
            let index = ServiceIndex(u32::try_from(place).expect("few services"));
            for (signal, policy) in service.signals.iter().enumerate() {
                self.cadence[place][signal] = policy.every;
                let signal = SignalIndex(u16::try_from(signal).expect("few signals"));
                let offset = self.random.between(Duration::ZERO, policy.every);
                self.plan(offset, Happening::Take { epoch, service: index, signal });
            }
            self.plan(LOOK_EVERY, Happening::RegularLook { epoch, service: index });
        }
        self.counted_to.fill(None);
        self.impaired = false;
        self.plan(SELF_CHECK_EVERY, Happening::SelfCheck { epoch });
        self.feed(Event::Started)
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
    fn feed(&mut self, event: Event) -> Result<(), Violation> {
        let now = self.now();
        let Some(state) = self.state.as_mut() else { return Ok(()) };
        let mut actions = Actions::new();
        state.step(now, event, &mut actions);
        let wake = state.next_wake();
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
                self.cadence[service.get()][signal.get()] = every;
                let epoch = self.epoch;
                self.plan(every, Happening::Take { epoch, service, signal });
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

    fn append(&mut self, appends: Vec<Action>) -> Result<(), Violation> {
        let entry = |action| match action {
            Action::Append { sequence, entry } => (sequence, entry),
            _ => unreachable!("partitioned by the caller"),
        };
        let batch: Vec<(Sequence, Arc<Entry>)> = appends.into_iter().map(entry).collect();
        let decides = |fact: &Fact| matches!(fact, Fact::IncidentOpened { .. } | Fact::PlanStarted { .. });
        if let Some((_, entry)) = batch.iter().find(|(_, entry)| self.impaired && decides(&entry.fact)) {
            let fact = &entry.fact;
            return Err(Violation(format!("decided while the watchdog's own network is ill: {fact:?}")));
        }
        self.batches.push_back(batch);
        if !self.committing {
            self.committing = true;
            let epoch = self.epoch;
            let takes = self.random.between(Duration::from_millis(1), Duration::from_millis(20));
            self.plan(takes, Happening::Commit { epoch });
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action) -> Result<(), Violation> {
        self.invariants.action(&action, &self.disk)?;
        let epoch = self.epoch;
        match action {
            Action::Look { service, key } => {
                let fails = self.chance(self.scenario.chaos.look_fails);
                let world = &self.worlds[service.get()];
                let observation = if fails { Err(Reason::new("timed out")) } else { Ok(world.observation()) };
                let receipt = key.as_ref().map(|key| world.receipt(key));
                let takes = self.random.between(Duration::from_millis(1), Duration::from_millis(80));
                let look = Look { observation, receipt, took: takes };
                self.plan(takes, Happening::ToCore { epoch, event: Event::Looked { service, key, look } });
            }
            Action::Operate { service, attempt } => self.operate(service, attempt),
            Action::Deliver { page, channel, .. } => {
                let outcome = if self.chance(self.scenario.chaos.delivery_fails) {
                    DeliveryOutcome::Retry { reason: Reason::new("503"), retry_after_seconds: None }
                } else {
                    self.invariants.delivered.insert(page.id.clone(), (*page).clone());
                    DeliveryOutcome::Delivered
                };
                let takes = self.random.between(Duration::from_millis(5), Duration::from_millis(300));
                let event = Event::DeliveryEnded { page: page.id.clone(), channel, outcome };
                self.plan(takes, Happening::ToCore { epoch, event });
            }
            Action::Append { .. } | Action::SetCadence { .. } => unreachable!("handled by `feed`"),
            Action::Reply { .. } | Action::KeepHistory { .. } | Action::WriteEvidence { .. } => {}
        }
        Ok(())
    }

    fn operate(&mut self, service: ServiceIndex, attempt: Attempt) {
        let epoch = self.epoch;
        let ended = |attempt: &Attempt, outcome| Event::OperationEnded { key: attempt.key.clone(), outcome };
        let chaos = self.scenario.chaos;
        let takes = self.random.between(Duration::from_millis(20), Duration::from_millis(2500));
        let is_switch = matches!(attempt.operation, Operation::Switch { .. });
        if self.chance(chaos.operation_fails) {
            let event = ended(&attempt, OperationOutcome::Failed(Reason::new("refused")));
            self.plan(takes, Happening::ToCore { epoch, event });
            return;
        }
        if let Err(outcome) = self.worlds[service.get()].begin(&attempt.key, &attempt.operation) {
            let event = ended(&attempt, outcome);
            self.plan(takes, Happening::ToCore { epoch, event });
        } else if self.chance(chaos.operation_hangs) {
            let event = ended(&attempt, OperationOutcome::Unknown(Reason::new("no answer within its deadline")));
            self.plan(attempt.deadline, Happening::ToCore { epoch, event });
        } else {
            let fails = is_switch && self.chance(chaos.operation_half);
            self.in_flight.push((service, attempt.clone(), fails));
            self.plan(takes, Happening::Finish { epoch, service, attempt, fails });
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Take { epoch, service, signal } if epoch == self.epoch => self.take(service, signal),
            Happening::RegularLook { epoch, service } if epoch == self.epoch => {
                self.plan(LOOK_EVERY, Happening::RegularLook { epoch, service });
                self.carry_out(Action::Look { service, key: None })
            }
            Happening::ToCore { epoch, event } if epoch == self.epoch => self.feed(event),
            Happening::Wake { epoch } if epoch == self.epoch => {
                let due = self.state.as_ref().and_then(State::next_wake).is_some_and(|wake| wake <= self.boot);
                if due { self.feed(Event::Woke) } else { Ok(()) }
            }
            Happening::Commit { epoch } if epoch == self.epoch => self.commit(),
            Happening::Finish { epoch, service, attempt, fails } if epoch == self.epoch => {
                self.in_flight.retain(|(_, flying, _)| flying.key != attempt.key);
                let world = &mut self.worlds[service.get()];
                let outcome = world.finish(&attempt.key, &attempt.operation, fails, self.boot, &mut self.random);
                self.feed(Event::OperationEnded { key: attempt.key, outcome })
            }
            Happening::Deploy { service, release } => {
                self.last_deploy = self.boot;
                self.worlds[service].deploy(release, self.boot, &mut self.random);
                Ok(())
            }
            Happening::SelfCheck { epoch } if epoch == self.epoch => self.check_self(),
            Happening::Outage => {
                let services = self.scenario.outage.iter().flat_map(|outage| &outage.services);
                for service in services {
                    self.worlds[*service].begin_outage(self.boot);
                }
                Ok(())
            }
            Happening::Person => self.person(),
            Happening::EndOfChaos => {
                for world in &mut self.worlds {
                    world.end_outage();
                }
                Ok(())
            }
            Happening::Restart => self.start(),
            // Of a process that is gone.
            _ => Ok(()),
        }
    }

    fn check_self(&mut self) -> Result<(), Violation> {
        let epoch = self.epoch;
        self.plan(SELF_CHECK_EVERY, Happening::SelfCheck { epoch });
        let chance = match self.scenario.chaos.self_check_fails {
            0 => return Ok(()),
            _ if self.impaired => SELF_CHECK_GOES_ON_FAILING,
            first => first,
        };
        self.impaired = self.chance(chance);
        let ill = || Outcome::Failed(Reason::new("no route to host"));
        self.feed(Event::SelfCheck(if self.impaired { ill() } else { Outcome::Passed }))
    }

    fn take(&mut self, service: ServiceIndex, signal: SignalIndex) -> Result<(), Violation> {
        let every = self.cadence[service.get()][signal.get()];
        let epoch = self.epoch;
        // A change of pace plans a look of its own: the older plan is dropped.
        self.queue.retain(|_, one| {
            !matches!(one, Happening::Take { service: of, signal: which, .. } if *of == service && *which == signal)
        });
        self.plan(every, Happening::Take { epoch, service, signal });
        let missed = self.chance(self.scenario.chaos.missed);
        let world = &mut self.worlds[service.get()];
        let measurement = match (signal.get(), missed) {
            (0, true) => Measurement::Check(Outcome::Missed(Reason::new("no descriptors left"))),
            (0, false) => Measurement::Check(world.probe(self.boot)),
            (_, true) => Measurement::RequestsMissed(Reason::new("Prometheus is away")),
            (_, false) => {
                let before = self.counted_to[service.get()].replace(self.boot);
                let Some(before) = before else { return Ok(()) };
                Measurement::Requests(world.requests(self.boot, self.boot.since(before), &mut self.random))
            }
        };
        let sample = Sample { service, signal, taken_at: self.boot, lag: Duration::ZERO, measurement };
        self.feed(Event::Sample(sample))
    }

    fn commit(&mut self) -> Result<(), Violation> {
        let epoch = self.epoch;
        self.committing = false;
        if self.chance(self.scenario.chaos.commit_lost) {
            self.committing = true;
            self.plan(COMMIT_RETRY, Happening::Commit { epoch });
            return self.feed(Event::StoreFailing(Reason::new("disk I/O error")));
        }
        let unknown = self.chance(self.scenario.chaos.commit_unknown);
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
        if let Some((_, written)) = self.journal.iter().rev().find(|(known, _)| *known == sequence) {
            if **written != *entry {
                return Err(Violation(format!("entry {} was written twice, and differs", sequence.0)));
            }
            return Ok(());
        }
        self.invariants.entry(&entry, &self.disk, self.mode, &self.policy)?;
        if let Fact::Step { incident, step, event: StepEvent::Succeeded, .. } = &entry.fact {
            let plan = self.disk.incidents.get(incident).and_then(IncidentRecord::active_plan);
            let step = plan.and_then(|plan| plan.steps.get(usize::from(*step)));
            if step.is_some_and(|step| step.planned.action == StepAction::Verify) {
                self.check_verified(&entry)?;
            }
        }
        self.disk.apply(sequence, &entry).map_err(|error| Violation(error.to_string()))?;
        self.journal.push((sequence, entry));
        Ok(())
    }

    fn check_verified(&self, entry: &Entry) -> Result<(), Violation> {
        let name = entry.service.as_ref().expect("a plan is of a service");
        let index = self.policy.service_index(name.as_str()).expect("it is watched");
        // A person who deploys in the same moments changes the truth under the proof.
        let undisturbed = self.boot.since(self.last_deploy) > Duration::from_secs(10);
        if undisturbed && !self.worlds[index.get()].is_well(self.now().boot_at(entry.at)) {
            let world = &self.worlds[index.get()];
            return Err(Violation(format!("{name}: verified, and it is not well: {world:?}")));
        }
        Ok(())
    }

    /// kill -9: what was handed to the store may or may not have got there; operations end where they are.
    fn kill(&mut self) -> Result<(), Violation> {
        self.killed += 1;
        self.state = None;
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
        for (service, attempt, fails) in std::mem::take(&mut self.in_flight) {
            if self.random.per_mille(300) {
                let world = &mut self.worlds[service.get()];
                let _ = world.finish(&attempt.key, &attempt.operation, fails, self.boot, &mut self.random);
            }
        }
        self.plan(RESTART_AFTER, Happening::Restart);
        Ok(())
    }
}
