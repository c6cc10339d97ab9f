//! Runs one scenario.

mod effects;
mod people;
mod report;
mod signals;
mod store;
mod turn;

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
    tally::Tally,
    world::{Fate, World},
};
use crate::core::{
    durable::Durable,
    engine::State,
    entry::{Entry, PlanOutcome},
    event::{Event, Sequence},
    name::{IncidentId, ServiceIndex, ServiceName, SignalIndex},
    operation::{Attempt, StepKey},
    page::PageKind,
    policy::{Finding, Mode, Policy, Severity},
    time::{BootTime, Now},
};

/// The machine has run for so long when a run begins.
const START: BootTime = BootTime::from_nanos(3_600_000_000_000);

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
    /// Nightly dry runs: whose, and whether it was told.
    pub nights: Vec<(ServiceName, bool)>,
    /// Incidents opened.
    pub incidents: u64,
    /// Incidents still open at the end.
    pub open: u64,
    /// A hash of the whole journal: equal for equal runs.
    pub fingerprint: u64,
    /// How often the process was killed.
    pub kills: u64,
    /// What happened, by name: faults that were really injected, and what came of them.
    pub tally: Tally,
    /// The end of the journal, for people.
    pub journal: Vec<String>,
}

/// What happens next. What belongs to a process that is gone by then does not happen; what has no epoch is the world's.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all that happens are events for the core: a box for each would cost more"
)]
enum Happening {
    Take { epoch: u64, service: ServiceIndex, signal: SignalIndex },
    RegularLook { epoch: u64, service: ServiceIndex },
    LookAfter { epoch: u64, service: ServiceIndex, key: StepKey },
    AskVersion { epoch: u64, service: ServiceIndex },
    ToCore { epoch: u64, event: Event },
    Commit { epoch: u64 },
    Wake { epoch: u64 },
    SelfCheck { epoch: u64 },
    EvidenceWritten { epoch: u64, incident: IncidentId, content: String },
    Finish { key: StepKey },
    Kill,
    Restart,
    Deploy { service: usize, release: usize },
    Outage,
    PartialFailure,
    Person,
    ClockStep { by_seconds: i64 },
    Suspend { lasts: Duration },
    EndOfChaos,
}

impl Happening {
    /// Whether it happens in the world, outside of the machine: while that is suspended the run stands still for it.
    const fn is_outside(&self) -> bool {
        matches!(
            self,
            Self::Deploy { .. }
                | Self::Outage
                | Self::PartialFailure
                | Self::Person
                | Self::ClockStep { .. }
                | Self::Suspend { .. }
                | Self::EndOfChaos
        )
    }
}

/// An operation that is being carried out.
#[derive(Debug, Clone)]
struct Flying {
    service: ServiceIndex,
    attempt: Attempt,
    fate: Fate,
    ends: BootTime,
    /// The process that hears how it ended; one that was killed does not.
    epoch: u64,
}

#[expect(clippy::struct_excessive_bools, reason = "facts about different things, which change apart from each other")]
struct Simulation<'a> {
    scenario: &'a Scenario,
    mode: Mode,
    policy: Arc<Policy>,
    random: Random,
    boot: BootTime,
    end: BootTime,
    /// How long the machine was suspended so far.
    suspended: Duration,
    /// How far the wall clock was stepped so far.
    stepped_seconds: i64,
    queue: BTreeMap<(BootTime, u64), Happening>,
    ticket: u64,
    epoch: u64,
    state: Option<State>,
    worlds: Vec<World>,
    cadence: Vec<Vec<Duration>>,
    /// Where in the queue each signal's next sample is: there is one at a time.
    takes: BTreeMap<(ServiceIndex, SignalIndex), (BootTime, u64)>,
    /// Up to when each service's requests were counted by this process; its first poll only takes the counters' values.
    counted_to: Vec<Option<BootTime>>,
    /// What is durable: the entries, and their fold.
    journal: Vec<(Sequence, Arc<Entry>)>,
    disk: Durable,
    /// When each entry was appended, by the clock that nobody steps.
    appended: BTreeMap<Sequence, BootTime>,
    batches: VecDeque<Vec<(Sequence, Arc<Entry>)>>,
    committing: bool,
    /// What each incident's evidence says of it.
    evidence: BTreeMap<IncidentId, String>,
    flying: Vec<Flying>,
    kills: BTreeSet<(u64, bool)>,
    killed: u64,
    effects: u64,
    steps: u64,
    panicked: bool,
    /// The process is gone, and comes back later.
    absent: bool,
    requests: u64,
    invariants: Invariants,
    last_deploy: BootTime,
    /// The watchdog's own network is ill, as far as the running process was told.
    impaired: bool,
    tally: Tally,
}

/// Runs a scenario and holds it against the invariants.
pub fn simulate(scenario: &Scenario, mode: Mode, kills: &[Kill]) -> Result<Report, Violation> {
    let policy = Arc::new(policy::policy(scenario, mode));
    let cadence = policy.services.iter().map(|one| one.signals.iter().map(|signal| signal.every).collect()).collect();
    let mut simulation = Simulation {
        scenario,
        mode,
        random: Random::new(scenario.seed),
        boot: START,
        end: START.after(scenario.ends_after),
        suspended: Duration::ZERO,
        stepped_seconds: 0,
        queue: BTreeMap::new(),
        ticket: 0,
        epoch: 0,
        state: None,
        worlds: scenario
            .faults
            .iter()
            .map(|&fault| World::new(fault, scenario.third, scenario.partial.is_some(), scenario.gitops, START))
            .collect(),
        cadence,
        takes: BTreeMap::new(),
        counted_to: vec![None; scenario.services],
        journal: Vec::new(),
        disk: Durable::default(),
        appended: BTreeMap::new(),
        batches: VecDeque::new(),
        committing: false,
        evidence: BTreeMap::new(),
        flying: Vec::new(),
        kills: kills.iter().map(|kill| (kill.effect, kill.before)).collect(),
        killed: 0,
        effects: 0,
        steps: 0,
        panicked: false,
        absent: false,
        requests: 0,
        invariants: Invariants::new(scenario.services),
        last_deploy: START,
        impaired: false,
        tally: Tally::default(),
        policy,
    };
    simulation.run().map_err(|violation| simulation.explain(&violation))
}

impl Simulation<'_> {
    fn now(&self) -> Now {
        let shown = self.scenario.starts_at.after(self.boot.since(START));
        let by = Duration::from_secs(self.stepped_seconds.unsigned_abs());
        let wall = if self.stepped_seconds < 0 { shown.before(by) } else { shown.after(by) };
        Now { boot: self.boot, wall }
    }

    /// Time of the run: what the world goes by.
    fn elapsed(&self) -> Duration {
        self.boot.since(START).saturating_sub(self.suspended)
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.ticket += 1;
        self.queue.insert((self.boot.after(after), self.ticket), happening);
    }

    /// Plans the next sample of a signal, in place of the one that was planned.
    fn plan_take(&mut self, after: Duration, service: ServiceIndex, signal: SignalIndex) {
        let epoch = self.epoch;
        if let Some(planned) = self.takes.remove(&(service, signal)) {
            self.queue.remove(&planned);
        }
        self.plan(after, Happening::Take { epoch, service, signal });
        self.takes.insert((service, signal), (self.boot.after(after), self.ticket));
    }

    fn is_chaos(&self) -> bool {
        self.elapsed() < self.scenario.chaos_until
    }

    /// Whether something happens that does so many times in a thousand while chaos lasts; counted by its name.
    fn chance(&mut self, per_mille: u64, what: &'static str) -> bool {
        let happens = self.is_chaos() && self.random.per_mille(per_mille);
        if happens {
            self.tally.count(what);
        }
        happens
    }

    fn name(&self, service: ServiceIndex) -> &ServiceName {
        &self.policy.services[service.get()].name
    }
}
