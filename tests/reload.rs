//! The core under a changed policy, in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use backstop::{
    config,
    core::{
        action::{Action, Actions},
        durable::Durable,
        engine::{Reload, State},
        event::{Event, Refusal, Reply, Request, RequestId, RollbackOrder, Sequence},
        name::{ServiceIndex, SignalIndex},
        operation::{Attempt, Look, OperationOutcome},
        policy::Policy,
        release::{Mark, Observation, Release},
        sample::{Measurement, Outcome, Reason, Sample},
        time::{BootTime, MachineStart, Now, WallTime},
    },
};

const TICK: Duration = Duration::from_millis(100);

/// A service of the configuration, with two probes; `rest` belongs to it.
fn service(name: &str, rest: &str) -> String {
    format!(
        "- name: {name}\n  target: {{releases: {{directory: /srv/{name}, current: /srv/{name}-live, restart: ['true']}}}}\n  \
         probes:\n    ready: {{tcp: '127.0.0.1:1', every: 100ms, timeout: 100ms}}\n    \
         other: {{tcp: '127.0.0.1:2', every: 100ms, timeout: 100ms}}\n  \
         gates: {{settle: 2s}}\n{rest}"
    )
}

fn policy(services: &[String]) -> Arc<Policy> {
    let text = format!("services:\n{}", services.concat());
    let checked = config::check_bytes("backstop.yaml", text.into_bytes(), None);
    checked.config.unwrap_or_else(|| panic!("{}", checked.diagnostics)).policy
}

fn reload(policy: &Arc<Policy>) -> Reload {
    Reload { policy: Arc::clone(policy), retargeted: BTreeSet::new(), redefined: BTreeMap::new() }
}

/// A core whose store commits at once, with what it has asked for.
struct Core {
    state: State,
    millis: u64,
    operations: VecDeque<Attempt>,
    cadences: Vec<(usize, usize, Duration)>,
    looks: Vec<usize>,
    replies: Vec<Reply>,
    /// For each service by its place: what is live, and whether its probes fail.
    world: Vec<(&'static str, bool)>,
}

impl Core {
    fn new(policy: &Arc<Policy>) -> Self {
        let mut core = Self {
            state: State::new(Arc::clone(policy), "test", MachineStart(1), Durable::default(), now(1_000_000)),
            millis: 1_000_000,
            operations: VecDeque::new(),
            cadences: Vec::new(),
            looks: Vec::new(),
            replies: Vec::new(),
            world: vec![("v1", false); policy.services.len()],
        };
        core.step(Event::Started);
        core
    }

    fn step(&mut self, event: Event) {
        let mut actions = Actions::new();
        self.state.step(now(self.millis), event, &mut actions);
        self.carry_out(&mut actions);
    }

    fn reload(&mut self, reload: &Reload) -> Result<backstop::core::engine::Reloaded, String> {
        let mut actions = Actions::new();
        let done = self.state.reload(now(self.millis), reload, &mut actions);
        self.carry_out(&mut actions);
        done.map_err(|error| error.to_string())
    }

    fn carry_out(&mut self, actions: &mut Actions) {
        let mut committed = None;
        for action in actions.drain(..) {
            match action {
                Action::Append { sequence, .. } => committed = Some(sequence),
                Action::Operate { attempt, .. } => self.operations.push_back(attempt),
                Action::SetCadence { service, signal, every } => {
                    self.cadences.push((service.get(), signal.get(), every));
                }
                Action::Look { service, .. } => self.looks.push(service.get()),
                Action::Reply { reply, .. } => self.replies.push(reply),
                Action::Deliver { .. }
                | Action::Gather { .. }
                | Action::KeepHistory { .. }
                | Action::WriteEvidence { .. } => {}
            }
        }
        if let Some(Sequence(number)) = committed {
            self.step(Event::Committed(Sequence(number)));
        }
    }

    fn sample(&mut self, service: u32, signal: u16, passes: bool) {
        let outcome = if passes { Outcome::Passed } else { Outcome::Failed(Reason::new("refused")) };
        self.step(Event::Sample(Sample {
            service: ServiceIndex(service),
            signal: SignalIndex(signal),
            taken_at: now(self.millis).boot,
            lag: Duration::ZERO,
            measurement: Measurement::Check(outcome),
        }));
    }

    /// Lets time pass: every probe is taken, and every target looked at, ten times a second.
    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / TICK.as_millis() {
            self.millis += 100;
            for place in 0..self.world.len() {
                let (live, fails) = self.world[place];
                let index = u32::try_from(place).expect("few");
                self.sample(index, 0, !fails);
                self.sample(index, 1, !fails);
                let look = Look { observation: Ok(observation(live)), receipt: None, began: now(self.millis).boot };
                self.step(Event::Looked { service: ServiceIndex(index), key: None, look });
            }
            self.step(Event::Woke);
        }
    }

    fn ask(&mut self, request: Request) -> Reply {
        let id = RequestId(self.millis);
        self.step(Event::Requested { id, by: "somebody".to_owned(), request });
        if self.replies.is_empty() {
            // It is answered after a look.
            self.pass(TICK);
        }
        self.replies.pop().expect("answered")
    }

    fn open_incidents(&self) -> Vec<String> {
        let incidents = self.state.durable().incidents.values();
        incidents.filter(|one| one.is_open()).map(|one| one.service.to_string()).collect()
    }

    /// The pages ever written that wait, as kinds and summaries.
    fn resolutions(&self) -> Vec<String> {
        let incidents = self.state.durable().incidents.values();
        incidents.filter_map(|one| one.resolved.as_ref().map(|(_, how)| how.clone())).collect()
    }
}

fn now(millis: u64) -> Now {
    let wall = WallTime::from_millis(1_780_000_000_000 + i64::try_from(millis).expect("small"));
    Now { boot: BootTime::from_nanos(millis * 1_000_000), wall }
}

fn observation(live: &str) -> Observation {
    let available = ["v2", "v1"].into_iter().filter(|version| *version != live).map(Release::of).collect();
    Observation {
        current: Some(Release::of(live)),
        untold: None,
        available,
        rolling_out: false,
        ..Observation::default()
    }
}

/// Two failures of three have been seen of `a`, which stands first.
fn about_to_fall(policy: &Arc<Policy>) -> Core {
    let mut core = Core::new(policy);
    core.pass(Duration::from_secs(5));
    core.world[0].1 = true;
    core.pass(TICK * 2);
    assert!(core.open_incidents().is_empty(), "two of three");
    core
}

#[test]
fn what_did_not_change_goes_on_wherever_it_stands() {
    let before = policy(&[service("a", ""), service("b", ""), service("gone", "")]);
    let mut core = about_to_fall(&before);
    core.cadences.clear();
    core.looks.clear();
    let b = service("b", "  mode: observe\n");
    let after = policy(&[service("new", ""), b, service("a", "")]);
    let done = core.reload(&reload(&after)).expect("no plan is under way");
    assert_eq!((done.added, done.changed, done.removed, done.kept), (1, 1, 1, 1));
    assert_eq!(done.places, [Some(ServiceIndex(2)), Some(ServiceIndex(1)), None]);
    // Both probes of `a` are failing, and are still to be confirmed quickly by whoever takes them now.
    let quick: Vec<_> = core.cadences.iter().map(|(service, signal, _)| (*service, *signal)).collect();
    assert_eq!(quick, [(2, 0), (2, 1)]);
    assert_eq!(core.looks, [0, 1], "what is new or changed is looked at");
    core.millis += 100;
    core.sample(2, 0, false);
    assert_eq!(core.open_incidents(), ["a"], "the third failure in a row");
    // The soaks and deploys of all of them are where they were.
    assert_eq!(core.state.durable().service(&"b".into()).deploys.len(), 1);
}

#[test]
fn a_changed_service_keeps_the_streaks_of_signals_that_did_not_change() {
    let before = policy(&[service("a", "")]);
    for (rest, kept) in [
        ("  verify: {healthy_for: 90s}\n", true),
        ("  thresholds: {down_for: 20s}\n", true),
        ("  features: {buy: {http: http://127.0.0.1:1/, every: 1s, timeout: 1s}}\n", true),
        ("  decision_tree:\n  - {ask: Is it so?, when: system_down, then: roll_back}\n", true),
    ] {
        let mut core = about_to_fall(&before);
        let after = policy(&[service("a", rest)]);
        let done = core.reload(&reload(&after)).expect("no plan is under way");
        assert_eq!((done.changed, done.kept), (1, 0), "{rest}");
        core.millis += 100;
        core.sample(0, 0, false);
        let look = Look { observation: Ok(observation("v1")), receipt: None, began: now(core.millis).boot };
        core.step(Event::Looked { service: ServiceIndex(0), key: None, look });
        assert_eq!(!core.open_incidents().is_empty(), kept, "{rest}");
    }
    // Other places of the signals: `early` comes before `ready` in the new one.
    let moved = service("a", "")
        .replace("    ready:", "    early: {tcp: '127.0.0.1:3', every: 100ms, timeout: 100ms}\n    ready:");
    let after = policy(&[moved]);
    let place = after.services[0].signal_index("ready").expect("there");
    let mut core = about_to_fall(&before);
    core.reload(&reload(&after)).expect("no plan is under way");
    core.millis += 100;
    core.sample(0, place.0, false);
    let look = Look { observation: Ok(observation("v1")), receipt: None, began: now(core.millis).boot };
    core.step(Event::Looked { service: ServiceIndex(0), key: None, look });
    assert_eq!(core.open_incidents(), ["a"]);
}

#[test]
fn a_signal_that_looks_at_something_else_begins_anew() {
    let before = policy(&[service("a", "")]);
    let mut core = about_to_fall(&before);
    let redefined = BTreeMap::from([("a".into(), BTreeSet::from(["ready".into(), "other".into()]))]);
    let done = core.reload(&Reload { redefined, ..reload(&before) }).expect("no plan is under way");
    assert_eq!((done.changed, done.kept), (1, 0));
    for (failures, incidents) in [(1, 0), (2, 0), (3, 1)] {
        core.pass(TICK);
        assert_eq!(core.open_incidents().len(), incidents, "after {failures} failures of the new kind");
    }
}

#[test]
fn a_service_that_is_no_longer_watched_is_told_of() {
    let before = policy(&[service("a", ""), service("b", "")]);
    let mut core = about_to_fall(&before);
    core.pass(TICK * 3);
    assert_eq!(core.open_incidents(), ["a"]);
    let after = policy(&[service("b", "")]);
    core.reload(&reload(&after)).expect("no plan is under way");
    assert!(core.open_incidents().is_empty());
    assert!(core.resolutions()[0].contains("no longer watched"), "{:?}", core.resolutions());
    // It goes on with one service.
    core.world = vec![("v1", false)];
    core.pass(Duration::from_secs(5));
    assert!(core.open_incidents().is_empty());
}

/// A rollback of `a` from v2 to v1 is under way: its first operation was handed out.
fn rolling_back(policy: &Arc<Policy>) -> Core {
    let mut core = Core::new(policy);
    core.pass(Duration::from_secs(5));
    let mark = Request::MarkRelease { service: "a".into(), version: "v1".into(), mark: Mark::Good };
    core.ask(mark).expect("marked");
    core.world[0].0 = "v2";
    core.pass(Duration::from_secs(5));
    core.world[0].1 = true;
    core.pass(Duration::from_secs(30));
    assert_eq!(core.operations.len(), 1, "a rollback began");
    core
}

#[test]
fn a_plan_under_way_is_waited_for() {
    let before = policy(&[service("a", ""), service("b", "")]);
    let mut core = rolling_back(&before);
    let without = reload(&policy(&[service("b", "")]));
    let changed = reload(&policy(&[service("b", ""), service("a", "  mode: ask\n")]));
    let retargeted = Reload { retargeted: BTreeSet::from(["a".into()]), ..reload(&before) };
    for reload in [&without, &changed, &retargeted] {
        let refused = core.reload(reload).expect_err("a plan is under way");
        assert!(refused.contains("a (a-1)") && refused.contains("after its end"), "{refused}");
    }
    // What does not concern it goes through, and the plan goes on in its new place.
    let moved = reload(&policy(&[service("b", "  mode: ask\n"), service("a", "")]));
    core.reload(&moved).expect("the plan's service stays as it is");
    core.world.swap(0, 1);
    let first = core.operations.pop_front().expect("under way");
    core.step(Event::OperationEnded { key: first.key, outcome: OperationOutcome::Done(String::new()) });
    assert_eq!(core.operations.len(), 1, "the next step of the same plan");
    core.operations.clear();
    // A human deploys, and that ends it.
    core.world[1] = ("v3", false);
    core.pass(TICK * 3);
    core.reload(&without).expect("no plan is under way any more");
}

#[test]
fn what_runs_at_a_target_is_known_to_run_under_another_policy_too() {
    let mut core = rolling_back(&policy(&[service("a", "")]));
    core.world[0] = ("v3", false);
    core.pass(TICK * 3);
    core.reload(&reload(&policy(&[service("a", "  mode: ask\n")]))).expect("a human's deploy ended the plan");
    core.pass(TICK * 3);
    let order = RollbackOrder { to: Some("v1".into()), ..RollbackOrder::default() };
    core.ask(Request::RollBack { service: "a".into(), order }).expect("ordered");
    core.pass(TICK * 3);
    assert_eq!(core.operations.len(), 1, "the first one has not come back yet");
    let first = core.operations.pop_front().expect("it runs");
    core.step(Event::OperationEnded { key: first.key, outcome: OperationOutcome::Done(String::new()) });
    core.pass(TICK * 3);
    assert_eq!(core.operations.len(), 1, "now the one that was ordered begins");
}

#[test]
fn what_is_about_to_end_begins_nothing() {
    let one = policy(&[service("a", "")]);
    let mut core = rolling_back(&one);
    core.step(Event::Closing);
    let first = core.operations.pop_front().expect("under way");
    let durable = |core: &Core| {
        let incident = core.state.durable().open_incident(&"a".into()).expect("open");
        incident.active_plan().expect("under way").steps.iter().map(|step| step.status.as_str()).collect::<Vec<_>>()
    };
    core.step(Event::OperationEnded { key: first.key, outcome: OperationOutcome::Done(String::new()) });
    core.pass(Duration::from_secs(5));
    assert_eq!(durable(&core)[..2], ["done", "pending"], "the outcome is kept, and the next step is left for later");
    assert!(core.operations.is_empty());
    let refused = core.ask(Request::Resume { service: None }).expect_err("too late");
    assert!(matches!(refused, Refusal::Busy(_)), "{refused}");
    // And no plan begins.
    let mut core = Core::new(&one);
    core.pass(Duration::from_secs(5));
    core.ask(Request::MarkRelease { service: "a".into(), version: "v1".into(), mark: Mark::Good }).expect("marked");
    core.world[0].0 = "v2";
    core.pass(Duration::from_secs(5));
    core.step(Event::Closing);
    core.world[0].1 = true;
    core.pass(Duration::from_secs(30));
    assert_eq!(core.open_incidents(), ["a"], "it is still watched and told of");
    assert!(core.operations.is_empty());
}
