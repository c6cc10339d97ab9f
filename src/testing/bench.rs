//! One service on a bench: a script says what the world is like, and looks at what the core wants done. Commits are
//! immediate, looks are true, and nothing happens by chance.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use super::policy;
use crate::core::{
    action::{Action, Actions},
    durable::{Durable, IncidentRecord, ServiceRecord},
    engine::{Reload, State},
    entry::Entry,
    event::{Event, Reply, Request, RequestId, Sequence},
    name::{ServiceIndex, ServiceName, SignalIndex, SignalName, Version},
    operation::{Attempt, HistoryRecord, Look, Operation, OperationOutcome, Receipt, StepKey},
    page::{DeliveryOutcome, Page, PageKind},
    policy::{Mode, Policy, ServicePolicy},
    release::{Observation, Release},
    sample::{Measurement, Outcome, Reason, RequestCounts, Sample},
    time::{BootTime, MachineStart, Now, WallTime},
};

/// The service on the bench.
pub const SERVICE: &str = "shop-0";

/// Steps of the bench's clock: quick enough for the quickest probe.
const TICK: Duration = Duration::from_millis(250);
/// Requests are counted so often.
const COUNT_EVERY_TICKS: u64 = 4;

/// How the next operations end; afterwards all succeed.
#[derive(Debug, Clone)]
pub enum Ends {
    /// It is done: a switch has changed what is live.
    Well,
    /// It fails and changes nothing.
    Failing,
    /// A switch changes what is live, and fails.
    HalfDone,
    /// It is said to be done, and nothing is.
    Lying,
    /// Nothing is heard of it until its deadline, and nothing is done.
    Silent,
    /// Nothing is heard of it until its deadline, though it was done.
    Lost,
}

/// The bench.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a script throws by itself")]
pub struct Bench {
    /// The core.
    pub state: State,
    /// The bench's clocks.
    pub now: Now,
    /// What the target says is live; [`None`] where it cannot be seen.
    pub live: Option<&'static str>,
    /// Whether the target can tell what is live, when it is seen.
    pub tells_current: bool,
    /// Whether the probe passes; [`None`] where it is missed.
    pub ready: Option<bool>,
    /// Requests in each count, and errors among them.
    pub requests: (u64, u64),
    /// So many of the next deliveries fail.
    pub deliveries_fail: u32,
    /// Pages of this kind fail on every try.
    pub stuck_pages: Option<PageKind>,
    /// This channel takes nothing.
    pub dead_channel: Option<&'static str>,
    /// For so many seconds a receiver that takes nothing now asks not to be asked again.
    pub retry_after_seconds: Option<u64>,
    /// Counts of requests are missed, as where they come from the service itself and that is down.
    pub requests_missed: bool,
    /// How the next operations end.
    pub ends: VecDeque<Ends>,
    /// How all further ones end.
    pub then_ends: Ends,
    /// What is left behind by attempts of which nothing is heard.
    pub receipt: Receipt,
    /// The store answers nothing for now.
    pub commits_wait: bool,
    /// Looks that a plan asks for never come back.
    pub looks_hang: bool,
    /// Operations begun, oldest first.
    pub operations: Vec<Attempt>,
    /// Pages written, oldest first.
    pub pages: Vec<Page>,
    /// What the history file was to have, oldest first.
    pub history: Vec<HistoryRecord>,
    /// The journal.
    pub journal: Vec<(Sequence, Arc<Entry>)>,
    /// Whether the other services answer.
    pub others_ready: bool,
    /// How often each other service's probe is taken, and when next.
    others: Vec<(Duration, BootTime)>,
    policy: Arc<Policy>,
    machine_start: MachineStart,
    replies: Vec<(RequestId, Reply)>,
    silent: Vec<(BootTime, Attempt)>,
    /// Deliveries that came to their end, and of which the core is to be told.
    delivered: VecDeque<Event>,
    is_delivering: bool,
    lost: BTreeSet<StepKey>,
    uncommitted: Option<Sequence>,
    ticks: u64,
    asked: u64,
}

impl Bench {
    /// A bench whose service has `v1` live and known to be good.
    pub fn new(mode: Mode, change: impl FnOnce(&mut ServicePolicy)) -> Self {
        Self::with_others(mode, change, &[])
    }

    /// The same beside other services, whose probes are taken so often.
    pub fn with_others(mode: Mode, change: impl FnOnce(&mut ServicePolicy), others: &[Duration]) -> Self {
        let mut bench = Self::unbegun(mode, change, others);
        bench.feed(Event::Started);
        bench.pass(30);
        bench
    }

    /// A bench whose target never tells what is live, so that nothing is known to be.
    pub fn with_mute_target(mode: Mode) -> Self {
        let mut bench = Self { tells_current: false, ..Self::unbegun(mode, |_| {}, &[]) };
        bench.feed(Event::Started);
        bench.pass(30);
        bench
    }

    fn unbegun(mode: Mode, change: impl FnOnce(&mut ServicePolicy), others: &[Duration]) -> Self {
        let faults = vec![super::Fault::None; others.len() + 1];
        let mut policy = policy::policy(&super::Scenario::calm_crowd(0, &faults), mode);
        change(Arc::get_mut(&mut policy.services[0]).expect("nobody else has it yet"));
        for (other, every) in policy.services[1..].iter_mut().zip(others) {
            let other = Arc::get_mut(other).expect("nobody else has it yet");
            other.signals.truncate(1);
            other.signals[0].every = *every;
            other.conditions.truncate(2);
            other.atoms.truncate(2);
            other.tree.truncate(2);
            other.sustained_count = 0;
        }
        let now = Now { boot: BootTime::from_nanos(5_000_000_000_000), wall: WallTime::from_millis(1_780_000_000_000) };
        let policy = Arc::new(policy);
        Self {
            state: State::new(Arc::clone(&policy), "bench", MachineStart(1), Durable::default(), now),
            machine_start: MachineStart(1),
            policy,
            others_ready: true,
            others: others.iter().map(|every| (*every, now.boot)).collect(),
            now,
            live: Some("v1"),
            tells_current: true,
            ready: Some(true),
            requests: (40, 0),
            deliveries_fail: 0,
            stuck_pages: None,
            dead_channel: None,
            retry_after_seconds: None,
            requests_missed: false,
            ends: VecDeque::new(),
            then_ends: Ends::Well,
            receipt: Receipt::Interrupted,
            commits_wait: false,
            looks_hang: false,
            lost: BTreeSet::new(),
            uncommitted: None,
            operations: Vec::new(),
            pages: Vec::new(),
            history: Vec::new(),
            journal: Vec::new(),
            replies: Vec::new(),
            silent: Vec::new(),
            delivered: VecDeque::new(),
            is_delivering: false,
            ticks: 0,
            asked: 0,
        }
    }

    /// The same with the release `v2` just deployed and answering.
    pub fn with_v2(mode: Mode, change: impl FnOnce(&mut ServicePolicy)) -> Self {
        let mut bench = Self::new(mode, change);
        bench.live = Some("v2");
        bench.pass(5);
        bench
    }

    /// kill -9, and a start after `seconds`.
    pub fn restart(&mut self, seconds: u64) {
        self.silent.clear();
        self.delivered.clear();
        self.now = self.now.after(Duration::from_secs(seconds));
        let mut durable = Durable::default();
        for (sequence, entry) in &self.journal {
            durable.apply(*sequence, entry).expect("the journal folds");
        }
        self.state = State::new(Arc::clone(&self.policy), "bench", self.machine_start, durable, self.now);
        self.feed(Event::Started);
    }

    /// The daemon is ended, and started after `seconds` with a configuration by which it checks its own network.
    pub fn restart_with_self_check(&mut self, seconds: u64) {
        let mut policy = (*self.policy).clone();
        policy.checks_itself = true;
        self.policy = Arc::new(policy);
        self.restart(seconds);
    }

    /// The daemon is ended, and started after `seconds` with a configuration that has another service in this one's place.
    pub fn restart_with_another_service(&mut self, seconds: u64) {
        let mut policy = (*self.policy).clone();
        let mut service = (*policy.services[0]).clone();
        service.name = "another".into();
        policy.services[0] = Arc::new(service);
        self.policy = Arc::new(policy);
        self.restart(seconds);
    }

    /// The daemon is ended, and started after `seconds` with a configuration by which another channel hears of everything too.
    pub fn restart_with_another_channel(&mut self, seconds: u64, channel: &str) {
        let mut policy = (*self.policy).clone();
        policy.channels.push(channel.into());
        for severity in policy.escalation.severities.values_mut() {
            severity.notify.push(channel.into());
        }
        self.policy = Arc::new(policy);
        self.restart(seconds);
    }

    /// The machine is switched off, and is up again after `seconds`.
    pub fn restart_the_machine(&mut self, seconds: u64) {
        self.machine_start = MachineStart(self.machine_start.0 + 1);
        self.now.wall = self.now.wall.after(Duration::from_secs(seconds));
        self.now.boot = BootTime::from_nanos(20_000_000_000);
        self.restart(0);
    }

    /// Somebody sets the wall clock forward, or back.
    pub fn step_wall_clock(&mut self, by_seconds: i64) {
        self.now.wall = WallTime::from_millis(self.now.wall.as_millis() + by_seconds * 1000);
    }

    /// A step of the service panics, since it is told of a signal that it does not have, and the state is made anew.
    ///
    /// # Panics
    /// If that step does not.
    pub fn panic(&mut self) {
        self.panic_in(ServiceIndex(0));
    }

    /// The same in a step of that service.
    ///
    /// # Panics
    /// If that step does not.
    pub fn panic_in(&mut self, service: ServiceIndex) {
        let no_signal = u16::MAX;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.sample(service, no_signal, Measurement::Check(Outcome::Passed));
        }));
        assert!(outcome.is_err(), "the step went well");
        let mut durable = Durable::default();
        for (sequence, entry) in &self.journal {
            durable.apply(*sequence, entry).expect("the journal folds");
        }
        let empty = State::new(Arc::clone(&self.policy), "bench", self.machine_start, Durable::default(), self.now);
        let broken = std::mem::replace(&mut self.state, empty);
        let mut actions = Actions::new();
        let in_hand = broken.in_hand();
        self.state =
            broken.folded_anew(in_hand, Arc::clone(&self.policy), self.machine_start, durable, self.now, &mut actions);
        self.feed(Event::Started);
    }

    /// So many seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        let until = self.now.boot.after(Duration::from_secs(seconds));
        while self.now.boot < until {
            self.tick();
        }
    }

    /// Time passes until `holds`, at most ten minutes.
    ///
    /// # Panics
    /// If it does not hold by then.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2400 {
            if holds(self) {
                return;
            }
            self.tick();
        }
        panic!("{what}: not within ten minutes; the pages were\n{}", self.told().join("\n"));
    }

    fn tick(&mut self) {
        self.now = self.now.after(TICK);
        self.ticks += 1;
        let due = |(at, _): &(BootTime, Attempt)| *at <= self.now.boot;
        let (over, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.silent).into_iter().partition(due);
        self.silent = waiting;
        for (_, attempt) in over {
            let outcome = OperationOutcome::Unknown(Reason::new("no end in time"));
            self.feed(Event::OperationEnded { key: attempt.key, outcome });
        }
        self.look(None);
        self.sample_others();
        let check = match self.ready {
            Some(true) => Outcome::Passed,
            Some(false) => Outcome::Failed(Reason::new("connection refused")),
            None => Outcome::Missed(Reason::new("no descriptors left")),
        };
        self.sample(ServiceIndex(0), 0, Measurement::Check(check));
        if self.ticks.is_multiple_of(COUNT_EVERY_TICKS) {
            let (total, errors) = self.requests;
            let counts = if self.requests_missed {
                Measurement::RequestsMissed(Reason::new("connection refused"))
            } else {
                Measurement::Requests(RequestCounts { total, errors, latency: None })
            };
            self.sample(ServiceIndex(0), 1, counts);
        }
        if self.state.next_wake().is_some_and(|wake| wake <= self.now.boot) {
            self.feed(Event::Woke);
        }
    }

    fn sample_others(&mut self) {
        for place in 0..self.others.len() {
            let (every, next) = self.others[place];
            if self.now.boot < next {
                continue;
            }
            let service = ServiceIndex(u32::try_from(place + 1).expect("few services"));
            self.others[place].1 = self.now.boot.after(every);
            let outcome =
                if self.others_ready { Outcome::Passed } else { Outcome::Failed(Reason::new("connection refused")) };
            self.sample(service, 0, Measurement::Check(outcome));
            let observation = Ok(Observation {
                current: Some(Release::of("v1")),
                untold: None,
                available: Vec::new(),
                rolling_out: false,
                failing: None,
                ..Observation::default()
            });
            let look = Look { observation, receipt: None, began: self.now.boot };
            self.feed(Event::Looked { service, key: None, look });
        }
    }

    fn sample(&mut self, service: ServiceIndex, signal: u16, measurement: Measurement) {
        let sample =
            Sample { service, signal: SignalIndex(signal), taken_at: self.now.boot, lag: Duration::ZERO, measurement };
        self.feed(Event::Sample(sample));
    }

    fn look(&mut self, key: Option<StepKey>) {
        let observation = match self.live {
            None => Err(Reason::new("timed out")),
            Some(live) => Ok(Observation {
                current: self.tells_current.then(|| Release::of(live)),
                untold: None,
                available: ["v3", "v2", "v1"].into_iter().filter(|one| *one != live).map(Release::of).collect(),
                rolling_out: false,
                failing: None,
                ..Observation::default()
            }),
        };
        let receipt = key.as_ref().map(|key| if self.lost.contains(key) { Receipt::Succeeded } else { self.receipt });
        self.feed(Event::Looked {
            service: ServiceIndex(0),
            key,
            look: Look { observation, receipt, began: self.now.boot },
        });
    }

    /// The version endpoint answers.
    pub fn answer_version(&mut self, version: &str) {
        self.feed(Event::VersionSeen { service: ServiceIndex(0), version: Ok(version.into()) });
    }

    /// A person asks for something.
    ///
    /// # Panics
    /// If no answer comes.
    pub fn ask(&mut self, request: Request) -> Reply {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.feed(Event::Requested { id, by: "somebody".to_owned(), request });
        let reply = self.replies.iter().position(|(answered, _)| *answered == id).expect("commits are immediate");
        self.replies.remove(reply).1
    }

    /// Gives the core an event, and does what it wants.
    pub fn feed(&mut self, event: Event) {
        let mut actions = Actions::new();
        self.state.step(self.now, event, &mut actions);
        self.carry_out(actions);
        // Thousands of deliveries may follow one from another: they are no deeper for that.
        if !std::mem::replace(&mut self.is_delivering, true) {
            while let Some(event) = self.delivered.pop_front() {
                self.feed(event);
            }
            self.is_delivering = false;
        }
    }

    /// Another policy is put in force, by which the signals of these names look at something else.
    ///
    /// # Panics
    /// If a plan is under way.
    pub fn reload(&mut self, redefined: &[&str]) {
        let signals = redefined.iter().map(|name| SignalName::from(*name)).collect();
        let reload = Reload {
            policy: Arc::clone(&self.policy),
            retargeted: BTreeSet::new(),
            redefined: BTreeMap::from([(ServiceName::from(SERVICE), signals)]),
        };
        let mut actions = Actions::new();
        self.state.reload(self.now, &reload, &mut actions).expect("no plan is under way");
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Actions) {
        let mut last = None;
        for action in actions {
            match action {
                Action::Append { sequence, entry } => {
                    last = Some(sequence);
                    self.journal.push((sequence, entry));
                }
                Action::Look { key: Some(_), .. } if self.looks_hang => {}
                Action::Look { key: Some(key), .. } => self.look(Some(key)),
                Action::Operate { attempt, .. } => self.operate(attempt),
                Action::Deliver { page, channel, .. } => {
                    let is_dead = self.dead_channel == Some(channel.as_str());
                    let outcome = if is_dead || self.deliveries_fail > 0 || self.stuck_pages == Some(page.kind) {
                        self.deliveries_fail = self.deliveries_fail.saturating_sub(1);
                        DeliveryOutcome::Retry {
                            reason: Reason::new("503"),
                            retry_after_seconds: self.retry_after_seconds,
                        }
                    } else {
                        self.pages.push((*page).clone());
                        DeliveryOutcome::Delivered
                    };
                    self.delivered.push_back(Event::DeliveryEnded { page: page.id.clone(), channel, outcome });
                }
                Action::Reply { id, reply } => self.replies.push((id, reply)),
                Action::KeepHistory { records } => self.history.extend(records),
                Action::SetCadence { service, every, .. } if service.get() > 0 => {
                    self.others[service.get() - 1] = (every, self.now.boot.after(every));
                }
                Action::Look { key: None, .. } | Action::SetCadence { .. } | Action::WriteEvidence { .. } => {}
            }
        }
        if let Some(last) = last {
            self.uncommitted = Some(last);
        }
        if !self.commits_wait
            && let Some(last) = self.uncommitted.take()
        {
            self.feed(Event::Committed(last));
        }
    }

    fn operate(&mut self, attempt: Attempt) {
        self.operations.push(attempt.clone());
        let ends = self.ends.pop_front().unwrap_or_else(|| self.then_ends.clone());
        let switches = match (&attempt.operation, &ends) {
            (Operation::Switch { to, .. }, Ends::Well | Ends::HalfDone | Ends::Lost) => Some(to.clone()),
            _ => None,
        };
        if let Some(to) = switches {
            self.live = ["v1", "v2", "v3"].into_iter().find(|known| Version::from(*known) == to);
        }
        let outcome = match ends {
            Ends::Well | Ends::Lying => OperationOutcome::Done(String::new()),
            Ends::Failing | Ends::HalfDone => OperationOutcome::Failed(Reason::new("exit status 1")),
            Ends::Silent | Ends::Lost => {
                if let Ends::Lost = ends {
                    self.lost.insert(attempt.key.clone());
                }
                self.silent.push((self.now.boot.after(attempt.deadline), attempt));
                return;
            }
        };
        self.feed(Event::OperationEnded { key: attempt.key, outcome });
    }

    /// The service's durable record.
    pub fn record(&self) -> &ServiceRecord {
        self.state.durable().service(&ServiceName::from(SERVICE))
    }

    /// The incident of that number.
    ///
    /// # Panics
    /// If there is none.
    pub fn incident(&self, number: u64) -> &IncidentRecord {
        self.state.durable().incidents.get(format!("{SERVICE}-{number}").as_str()).expect("an incident")
    }

    /// Whether a page of that kind was written.
    pub fn was_told(&self, kind: PageKind) -> bool {
        self.pages.iter().any(|page| page.kind == kind)
    }

    /// Pages as one line each.
    pub fn told(&self) -> Vec<String> {
        self.pages.iter().map(|page| format!("{} {} {}", page.severity, page.kind.as_str(), page.summary)).collect()
    }

    /// What switches were begun, as `v2>v1`.
    pub fn switches(&self) -> Vec<String> {
        let switch = |attempt: &Attempt| match &attempt.operation {
            Operation::Switch { from, to } => Some(format!("{from}>{to}")),
            _ => None,
        };
        self.operations.iter().filter_map(switch).collect()
    }
}
