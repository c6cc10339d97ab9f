//! One service on a bench: a script says what the world is like, and looks at what the core wants done. Commits are
//! immediate, looks are true, and nothing happens by chance.

mod disturbed;
mod seen;
mod world;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::policy;
use crate::core::{
    action::Actions,
    durable::Durable,
    engine::State,
    entry::Entry,
    event::{Event, Reply, Request, RequestId, Sequence},
    name::{IncidentId, ServiceIndex},
    operation::{Attempt, HistoryRecord, Receipt, StepKey},
    page::{Page, PageKind},
    policy::{Mode, Policy, ServicePolicy},
    release::{GitSync, Workload},
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
    /// Somebody else changed the target before it, and it did nothing.
    Overtaken,
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
    /// The sync of the controller that owns the target, where one does.
    pub sync: Option<GitSync>,
    /// Whether the target can tell what is live, when it is seen.
    pub tells_current: bool,
    /// Why the target does not tell what is live just now, where it is one that can.
    pub untold: Option<&'static str>,
    /// Why there is no target at all any more.
    pub gone: Option<&'static str>,
    /// What the target tells of the configuration of what is live.
    pub configuration: Option<&'static str>,
    /// What a platform shows of it, where it runs on one.
    pub workload: Option<Workload>,
    /// Incidents for which evidence was to be gathered, oldest first.
    pub gathers: Vec<IncidentId>,
    /// Whether the probe passes; [`None`] where it is missed.
    pub ready: Option<bool>,
    /// Requests in each count, and errors among them.
    pub requests: (u64, u64),
    /// How long each request takes, where that is measured: 50 ms or 500 ms.
    pub is_slow: Option<bool>,
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
            sync: None,
            tells_current: true,
            untold: None,
            gone: None,
            configuration: None,
            workload: None,
            gathers: Vec::new(),
            ready: Some(true),
            requests: (40, 0),
            is_slow: None,
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

    /// The version endpoint answers.
    pub fn answer_version(&mut self, version: &str) {
        self.feed(Event::VersionSeen { service: ServiceIndex(0), version: Ok(version.into()) });
    }

    /// A person asks for something. Where the answer waits for a look, one is made at once.
    ///
    /// # Panics
    /// If no answer comes.
    pub fn ask(&mut self, request: Request) -> Reply {
        let id = self.ask_only(request);
        let at_once = self.answer(id);
        at_once.unwrap_or_else(|| {
            self.look(None);
            self.answer(id).expect("commits are immediate")
        })
    }

    /// A person asks for something, and no look is made for it.
    pub fn ask_only(&mut self, request: Request) -> RequestId {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.feed(Event::Requested { id, by: "somebody".to_owned(), request });
        id
    }

    /// The answer to that, once it is there; only the first time.
    pub fn answer(&mut self, id: RequestId) -> Option<Reply> {
        let place = self.replies.iter().position(|(answered, _)| *answered == id)?;
        Some(self.replies.remove(place).1)
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
}
