//! A table for each gate: yes, no and unknown.

use std::{sync::Arc, time::Duration};

use super::{Gate, Impaired, Neighbours, Situation, Wellness, together};
use crate::core::{
    answer::Answer::{self, No, Unknown, Yes},
    durable::{Durable, IncidentRecord, PauseRecord},
    entry::{Entry, Fact},
    event::Sequence,
    gate::GateReport,
    name::{ServiceIndex, Version},
    policy::{
        Escalation, Finding, KnownGoodPolicy, MaintenancePolicy, Policy, ServicePolicy, Severity, SharedCausePolicy,
    },
    release::{Deploy, DeploySource, Mark, Observation, Release},
    time::{BootTime, Now, SteadyTime, WallTime},
    verdict::{Path, PlanKind, VerdictKind},
    watch::tests::bench::policy,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const SHOP: ServiceIndex = ServiceIndex(0);

fn now() -> Now {
    Now { boot: BootTime::from_nanos(100_000_000_000_000), wall: WallTime::from_millis(1_780_000_000_000) }
}

/// A service `shop` with others beside it, and all that its gates look at.
struct Case {
    policies: Vec<ServicePolicy>,
    durable: Durable,
    observation: Option<Observation>,
    blind: Option<&'static str>,
    impaired: Option<Impaired<'static>>,
    store: Option<&'static str>,
    /// Changes of the others after the start, so long ago.
    turns: Vec<(Duration, ServiceIndex, Wellness, bool)>,
}

impl Case {
    /// v1 known to be good, v2 deployed ten minutes ago, an incident of v2 that began five minutes ago: every gate says
    /// yes.
    fn new() -> Self {
        let names = ["shop", "cart", "search", "ledger"];
        let service = |name: &&str| {
            let mut service = policy();
            service.name = (*name).into();
            service.gates.known_good = KnownGoodPolicy::Soaked;
            service.gates.deployed_within = 24 * HOUR;
            service.gates.cooldown = 10 * MINUTE;
            service.gates.shared_cause = SharedCausePolicy { services: 3, within: 5 * MINUTE };
            service
        };
        let mut case = Self {
            policies: names.iter().map(service).collect(),
            durable: Durable::default(),
            observation: Some(observation(Some("v2"), &["v1"])),
            blind: None,
            impaired: None,
            store: None,
            turns: (1..4).map(|place| (HOUR, ServiceIndex(place), Wellness::Well, false)).collect(),
        };
        case.deploy(30 * HOUR, "v1", DeploySource::FirstSeen);
        case.fact(29 * HOUR, Fact::Marked { version: "v1".into(), mark: Mark::Good, by: "ann".into() });
        case.deploy(10 * MINUTE, "v2", DeploySource::Target);
        case
    }

    fn steady(&self, now: Now) -> SteadyTime {
        self.durable.timeline.at(now.wall, None)
    }

    fn fact(&mut self, ago: Duration, fact: Fact) {
        self.fact_of("shop", ago, fact);
    }

    fn fact_of(&mut self, service: &str, ago: Duration, fact: Fact) {
        let sequence = Sequence(self.durable.last.0 + 1);
        let entry = Entry { at: now().wall.before(ago), boot: None, service: Some(service.into()), fact };
        self.durable.apply(sequence, &entry).expect("it folds");
    }

    fn deploy(&mut self, ago: Duration, version: &str, source: DeploySource) {
        let number = self.durable.service(&"shop".into()).next_deploy();
        let release = Release::of(v(version));
        let deploy = Deploy { number, release, at: now().wall.before(ago), source, by: None, by_endpoint_alone: false };
        self.fact(ago, Fact::Deployed { deploy });
    }

    fn incident(&mut self, opened: Duration, onset: Option<Duration>) {
        let deploy = self.durable.service(&"shop".into()).live().map(|live| live.deploy.number);
        self.incident_of("shop", opened, deploy, onset);
    }

    fn incident_of(&mut self, service: &str, opened: Duration, deploy: Option<u64>, onset: Option<Duration>) {
        let verdict = VerdictKind::RollBack;
        let path = Path { verdict, plan: None, questions: Vec::new(), because: "it is down".into() };
        let incident = format!("{service}-1").as_str().into();
        let onset = onset.map(|ago| now().wall.before(ago));
        self.fact_of(service, opened, Fact::IncidentOpened { incident, verdict, path, deploy, onset, by: None });
    }

    fn open(&self) -> Option<&IncidentRecord> {
        self.durable.open_incident(&"shop".into())
    }

    fn reports(&self) -> Vec<GateReport> {
        let policy = Policy {
            services: self.policies.iter().cloned().map(Arc::new).collect(),
            channels: Vec::new(),
            escalation: Escalation::default(),
            keep: 24 * HOUR,
            checks_itself: false,
        };
        let start = Now { boot: now().boot.before(2 * HOUR), wall: now().wall.before(2 * HOUR) };
        let steady = self.steady(now()).before(2 * HOUR);
        let mut neighbours = Neighbours::new(&policy, &self.durable, start, steady);
        for (ago, service, wellness, is_bad) in &self.turns {
            let then = Now { boot: now().boot.before(*ago), wall: now().wall.before(*ago) };
            neighbours.update(then, *service, *wellness, *is_bad);
        }
        let situation = Situation {
            policy: &self.policies[0],
            record: self.durable.service(&"shop".into()),
            incident: self.open(),
            observation: self.observation.as_ref(),
            blind: self.blind,
            paused_all: self.durable.paused.as_ref(),
            observer_impaired: self.impaired,
            store_failing: self.store,
            neighbours: &neighbours,
            index: SHOP,
            now: now(),
            steady: self.steady(now()),
        };
        situation.reports()
    }

    fn turn(&mut self, ago: Duration, place: u32, wellness: Wellness) {
        self.turns.push((ago, ServiceIndex(place), wellness, wellness == Wellness::NotWell));
    }
}

fn observation(current: Option<&str>, available: &[&str]) -> Observation {
    Observation {
        current: current.map(|version| Release::of(v(version))),
        untold: None,
        available: available.iter().map(|version| Release::of(v(version))).collect(),
        rolling_out: false,
        failing: None,
        ..Observation::default()
    }
}

/// One row: what is changed in the good case, what the gate then says, and a part of why.
type Row = (Gate, &'static str, fn(&mut Case), Answer, &'static str);

fn check(rows: &[Row]) {
    for (gate, what, change, expected, part) in rows {
        let mut case = Case::new();
        change(&mut case);
        let reports = case.reports();
        let report = reports.iter().find(|report| report.gate == *gate).expect("every gate is asked");
        assert_eq!(report.answer, *expected, "{gate}, {what}: {}", report.why);
        assert!(report.why.contains(part), "{gate}, {what}: {}", report.why);
        if *expected != Yes {
            assert_ne!(together(&reports), Yes, "{gate}, {what}");
        }
    }
}

fn v(version: &str) -> Version {
    version.into()
}

fn bad_incident(case: &mut Case) {
    case.incident(5 * MINUTE, Some(5 * MINUTE));
}

#[test]
fn in_the_good_case_every_gate_says_yes() {
    let mut case = Case::new();
    let all_yes = |case: &Case| {
        let reports = case.reports();
        let gates: Vec<Gate> = reports.iter().map(|report| report.gate).collect();
        let asked: Vec<Gate> = Gate::ALL.iter().copied().filter(|gate| !gate.is_of_platforms()).collect();
        assert_eq!(gates, asked);
        let held: Vec<&GateReport> = reports.iter().filter(|report| report.answer != Yes).collect();
        assert!(held.is_empty(), "{held:#?}");
    };
    all_yes(&case);
    bad_incident(&mut case);
    all_yes(&case);
}

#[test]
fn the_release_that_is_accused() {
    check(&[
        (Gate::Accused, "live and seen", |_| {}, Yes, "v2 is live"),
        (
            Gate::Accused,
            "another was deployed since",
            |case| {
                bad_incident(case);
                case.deploy(MINUTE, "v3", DeploySource::Target);
            },
            No,
            "v3 was deployed since",
        ),
        (Gate::Accused, "nothing is known", |case| case.durable = Durable::default(), Unknown, "not known yet"),
        (
            Gate::Accused,
            "nothing was known then",
            |case| case.incident_of("shop", MINUTE, None, None),
            Unknown,
            "when the incident began",
        ),
        (
            Gate::Accused,
            "the target says another",
            |case| case.observation = Some(observation(Some("v9"), &[])),
            Unknown,
            "the target says that v9",
        ),
        (
            Gate::Accused,
            "the target cannot tell",
            |case| case.observation = Some(observation(None, &[])),
            Unknown,
            "cannot tell",
        ),
        (
            Gate::Accused,
            "the target is not seen",
            |case| (case.observation, case.blind) = (None, Some("timed out")),
            Unknown,
            "timed out",
        ),
    ]);
}

#[test]
fn the_deploy_and_the_fault() {
    check(&[
        (Gate::DeployedRecently, "ten minutes ago", |_| {}, Yes, "10m ago"),
        (
            Gate::DeployedRecently,
            "two days ago",
            |case| case.policies[0].gates.deployed_within = MINUTE,
            No,
            "more than 1m",
        ),
        (Gate::DeployedRecently, "no deploy", |case| case.durable = Durable::default(), Unknown, "no deploy"),
        (
            Gate::DeployedRecently,
            "not seen",
            |case| case.deploy(MINUTE, "v3", DeploySource::FirstSeen),
            Unknown,
            "was not seen",
        ),
        (Gate::FaultAfterDeploy, "no incident in a rollout", |_| {}, Yes, "what fails in the rollout comes after"),
        (
            Gate::FaultAfterDeploy,
            "no incident",
            |case| {
                let deploy = case.durable.service(&"shop".into()).live().expect("it is known").deploy.number;
                case.fact(MINUTE, Fact::RolloutEnded { deploy, healthy: true });
            },
            Yes,
            "no incident is open; a fault that begins from now on comes after the deploy",
        ),
        (Gate::FaultAfterDeploy, "after", bad_incident, Yes, "5m after"),
        (
            Gate::FaultAfterDeploy,
            "just before it was noticed",
            |case| case.incident(9 * MINUTE, Some(10 * MINUTE + 4 * SECOND)),
            Yes,
            "after the deploy was noticed",
        ),
        (
            Gate::FaultAfterDeploy,
            "before",
            |case| case.incident(9 * MINUTE, Some(11 * MINUTE)),
            No,
            "1m before the deploy",
        ),
        (Gate::FaultAfterDeploy, "nobody knows", |case| case.incident(9 * MINUTE, None), Unknown, "not known"),
    ]);
}

#[test]
fn the_release_to_go_back_to() {
    check(&[
        (Gate::KnownGood, "marked", |_| {}, Yes, "v1: marked by ann"),
        (
            Gate::KnownGood,
            "not there any more",
            |case| case.observation = Some(observation(Some("v2"), &["v0"])),
            No,
            "backstop deploys mark shop VERSION good",
        ),
        (
            Gate::KnownGood,
            "none at all",
            |case| case.observation = Some(observation(Some("v2"), &[])),
            No,
            "no other release",
        ),
        (
            Gate::KnownGood,
            "only what is live",
            |case| {
                case.fact(MINUTE, Fact::Marked { version: v("v2"), mark: Mark::Good, by: "ann".into() });
                case.observation = Some(observation(Some("v2"), &["v0"]));
            },
            No,
            "no other release at the target than v2, which is live, is known to be good",
        ),
        (Gate::KnownGood, "not looked", |case| case.observation = None, Unknown, "not been looked at"),
        (
            Gate::KnownGood,
            "whatever ran before",
            |case| {
                case.policies[0].gates.known_good = KnownGoodPolicy::Previous;
                case.fact(MINUTE, Fact::Marked { version: v("v1"), mark: Mark::Clear, by: "ann".into() });
            },
            Yes,
            "it ran before",
        ),
        (Gate::NotKnownBad, "good", |_| {}, Yes, "nothing bad is known of v1"),
        (Gate::NotKnownBad, "none", |case| case.observation = None, Yes, "none to go back to"),
        (
            Gate::NotKnownBad,
            "bad",
            |case| {
                case.policies[0].gates.known_good = KnownGoodPolicy::Previous;
                case.fact(MINUTE, Fact::Marked { version: v("v1"), mark: Mark::Bad, by: "bob".into() });
            },
            No,
            "marked by bob",
        ),
    ]);
}

fn begin_rollback(case: &mut Case, ago: Duration) {
    let fact = Fact::PlanStarted {
        by_hand: None,
        incident: "shop-1".into(),
        number: 1,
        plan: PlanKind::Quick,
        from: v("v2"),
        to: v("v1"),
        deploy: 2,
        steps: crate::core::plan::quick(&case.policies[0], &"v2".into(), &"v1".into()),
        approved_by: None,
    };
    case.fact(ago, fact);
    let event = crate::core::entry::StepEvent::Started;
    case.fact(ago, Fact::Step { incident: "shop-1".into(), plan: 1, step: 1, event, note: String::new() });
}

fn rolled_back(case: &mut Case, began: Duration, ended: Duration) {
    bad_incident(case);
    begin_rollback(case, began);
    let outcome = crate::core::entry::PlanOutcome::Failed;
    case.fact(ended, Fact::PlanEnded { incident: "shop-1".into(), plan: 1, outcome, detail: String::new() });
}

#[test]
fn rollbacks_before() {
    check(&[
        (Gate::OneRollbackForADeploy, "the first", bad_incident, Yes, "the first for this deploy"),
        (
            Gate::OneRollbackForADeploy,
            "again",
            |case| rolled_back(case, 4 * MINUTE, MINUTE),
            No,
            "rolled back from already",
        ),
        (
            Gate::OneRollbackForADeploy,
            "a second hop",
            |case| case.deploy(MINUTE, "v1", DeploySource::Rollback),
            No,
            "no second hop",
        ),
        (Gate::OneRollbackForADeploy, "no deploy", |case| case.durable = Durable::default(), Unknown, "no deploy"),
        (Gate::Budget, "none", |_| {}, Yes, "0 of 2"),
        (
            Gate::Budget,
            "spent",
            |case| {
                case.policies[0].gates.rollbacks.at_most = 1;
                rolled_back(case, 4 * MINUTE, 3 * MINUTE);
            },
            No,
            "1 of 1",
        ),
        (
            Gate::Budget,
            "long ago",
            |case| {
                case.policies[0].gates.rollbacks.at_most = 1;
                case.policies[0].gates.rollbacks.over = 2 * MINUTE;
                rolled_back(case, 4 * MINUTE, 3 * MINUTE);
            },
            Yes,
            "0 of 1",
        ),
        (Gate::Cooldown, "none before", |_| {}, Yes, "no rollback before"),
        (Gate::Cooldown, "just now", |case| rolled_back(case, 4 * MINUTE, MINUTE), No, "ended 1m ago; cooldown 10m"),
        (
            Gate::Cooldown,
            "over",
            |case| {
                case.policies[0].gates.cooldown = MINUTE;
                rolled_back(case, 4 * MINUTE, MINUTE);
            },
            Yes,
            "ended 1m ago",
        ),
    ]);
}

fn denied(case: &mut Case, verdict: VerdictKind) {
    bad_incident(case);
    let approval = Fact::ApprovalRequested {
        incident: "shop-1".into(),
        approval: 1,
        plan: PlanKind::Quick,
        verdict,
        from: v("v2"),
        to: v("v1"),
        expires: now().wall.after(HOUR),
    };
    case.fact(MINUTE, approval);
    case.fact(MINUTE, Fact::Denied { incident: "shop-1".into(), approval: 1, by: "ann".into(), reason: None });
}

fn paused(case: &mut Case, until: Option<WallTime>) {
    case.fact(MINUTE, Fact::Paused { until, by: "ann".into(), reason: "migration".into() });
}

#[test]
fn what_people_said() {
    check(&[
        (Gate::NotDenied, "nobody", bad_incident, Yes, "nobody denied it"),
        (
            Gate::NotDenied,
            "denied, and the incident is over",
            |case| {
                denied(case, VerdictKind::Consider);
                case.fact(SECOND, Fact::IncidentResolved { incident: "shop-1".into(), how: "it cleared".into() });
            },
            No,
            "a human denied",
        ),
        (Gate::NotDenied, "it rose since", |case| denied(case, VerdictKind::Consider), Yes, "asked for again"),
        (Gate::NotPaused, "not", |_| {}, Yes, "not paused"),
        (Gate::NotPaused, "for good", |case| paused(case, None), No, "paused by ann: migration"),
        (Gate::NotPaused, "for an hour", |case| paused(case, Some(now().wall.after(HOUR))), No, "paused by ann"),
        (Gate::NotPaused, "until just now", |case| paused(case, Some(now().wall)), Yes, "not paused"),
        (
            Gate::NotPaused,
            "all of them",
            |case| {
                case.durable.paused =
                    Some(PauseRecord { until: None, ends: None, by: "bob".into(), reason: "the network moves".into() });
            },
            No,
            "paused by bob",
        ),
        (Gate::NotInMaintenance, "none", |_| {}, Yes, "no maintenance time"),
        (Gate::NotInMaintenance, "on", |case| maintenance(case, MINUTE, MINUTE), No, "disks are replaced"),
        (
            Gate::NotInMaintenance,
            "it begins now",
            |case| maintenance(case, Duration::ZERO, MINUTE),
            No,
            "in maintenance",
        ),
        (
            Gate::NotInMaintenance,
            "it ends now",
            |case| maintenance(case, MINUTE, Duration::ZERO),
            Yes,
            "no maintenance time",
        ),
    ]);
}

fn maintenance(case: &mut Case, since: Duration, left: Duration) {
    let (from, to) = (now().wall.before(since), now().wall.after(left));
    case.policies[0].maintenance.push(MaintenancePolicy { from, to, why: "the disks are replaced".into() });
}

fn turned(case: &mut Case, ago: &[(u64, u32)]) {
    for (seconds, place) in ago {
        case.turn(Duration::from_secs(*seconds), *place, Wellness::NotWell);
    }
}

#[test]
fn other_services() {
    check(&[
        (Gate::NoSharedCause, "alone", |_| {}, Yes, "0 others turned bad within 5m"),
        (Gate::NoSharedCause, "one other", |case| turned(case, &[(60, 1)]), Yes, "1 others"),
        (Gate::NoSharedCause, "two others", |case| turned(case, &[(60, 1), (30, 2)]), No, "cart, search, shop"),
        (Gate::NoSharedCause, "too long ago", |case| turned(case, &[(301, 1), (30, 2)]), Yes, "1 others"),
        (
            Gate::NoSharedCause,
            "within of this one, not of each other",
            |case| {
                case.incident(10 * MINUTE, None);
                case.turns.insert(0, (10 * MINUTE, SHOP, Wellness::NotWell, true));
                turned(case, &[(14 * 60, 1), (6 * 60, 2)]);
            },
            Yes,
            "1 others",
        ),
        (
            Gate::NoSharedCause,
            "they recovered",
            |case| {
                turned(case, &[(60, 1), (30, 2)]);
                case.turn(10 * SECOND, 1, Wellness::Well);
            },
            No,
            "3 services",
        ),
        (
            Gate::NoSharedCause,
            "nothing is known of two since just now",
            |case| {
                case.turn(MINUTE, 1, Wellness::Unknown);
                case.turn(MINUTE, 2, Wellness::Unknown);
            },
            Unknown,
            "nothing is known of cart, search",
        ),
        (
            Gate::NoSharedCause,
            "nothing was known of them for long",
            |case| {
                case.turn(20 * MINUTE, 1, Wellness::Unknown);
                case.turn(20 * MINUTE, 2, Wellness::Unknown);
            },
            Yes,
            "0 others",
        ),
    ]);
}

#[test]
fn what_the_service_depends_on() {
    check(&[
        (Gate::DependenciesWell, "none", |_| {}, Yes, "depends on nothing"),
        (Gate::DependenciesWell, "well", |case| case.policies[0].depends_on.push("ledger".into()), Yes, "is well"),
        (
            Gate::DependenciesWell,
            "not well",
            |case| {
                case.policies[0].depends_on.push("ledger".into());
                case.turn(MINUTE, 3, Wellness::NotWell);
            },
            No,
            "depends on ledger, which is not well",
        ),
        (
            Gate::DependenciesWell,
            "well again just now",
            |case| {
                case.policies[0].depends_on.push("ledger".into());
                case.turn(MINUTE, 3, Wellness::NotWell);
                case.turn(10 * SECOND, 3, Wellness::Well);
            },
            No,
            "depends on ledger, which was not well until 10s ago",
        ),
        (
            Gate::DependenciesWell,
            "well again for long enough",
            |case| {
                case.policies[0].depends_on.push("ledger".into());
                case.turn(2 * MINUTE, 3, Wellness::NotWell);
                case.turn(MINUTE, 3, Wellness::Well);
            },
            Yes,
            "is well",
        ),
        (
            Gate::DependenciesWell,
            "by way of another",
            |case| {
                case.policies[0].depends_on.push("cart".into());
                case.policies[1].depends_on.push("ledger".into());
                case.turn(MINUTE, 3, Wellness::NotWell);
            },
            No,
            "depends on ledger",
        ),
        (
            Gate::DependenciesWell,
            "nobody knows",
            |case| {
                case.policies[0].depends_on.push("ledger".into());
                case.turn(20 * MINUTE, 3, Wellness::Unknown);
            },
            Unknown,
            "of which it is not known",
        ),
    ]);
}

#[test]
fn the_watchdog_itself() {
    check(&[
        (Gate::SelfCheck, "well", |_| {}, Yes, "is well"),
        (
            Gate::SelfCheck,
            "a packet was lost",
            |case| case.impaired = Some(Impaired { why: "timed out", certain: false }),
            Unknown,
            "may be ill: timed out",
        ),
        (
            Gate::SelfCheck,
            "ill",
            |case| case.impaired = Some(Impaired { why: "timed out", certain: true }),
            No,
            "is ill: timed out",
        ),
        (Gate::Store, "works", |_| {}, Yes, "can be written"),
        (Gate::Store, "fails", |case| case.store = Some("the disk is full"), Unknown, "the disk is full"),
    ]);
}

#[test]
fn what_the_journal_knows_counts_after_a_restart() {
    let mut case = Case::new();
    for (service, ago) in [("cart", 4 * MINUTE), ("search", 3 * MINUTE)] {
        case.incident_of(service, ago, None, None);
    }
    case.turns.clear();
    case.turns.push((MINUTE, ServiceIndex(3), Wellness::Well, false));
    bad_incident(&mut case);
    let shared = |case: &Case| {
        case.reports().into_iter().find(|report| report.gate == Gate::NoSharedCause).expect("asked").answer
    };
    assert_eq!(shared(&case), No);
    // What was proved to be a release's own fault says nothing of the others.
    begin_rollback_of(&mut case, "cart");
    assert_eq!(shared(&case), Yes);
}

fn begin_rollback_of(case: &mut Case, service: &str) {
    let incident = || format!("{service}-1").as_str().into();
    let fact = Fact::PlanStarted {
        by_hand: None,
        incident: incident(),
        number: 1,
        plan: PlanKind::Quick,
        from: v("v2"),
        to: v("v1"),
        deploy: 1,
        steps: Vec::new(),
        approved_by: None,
    };
    case.fact_of(service, 2 * MINUTE, fact);
    let outcome = crate::core::entry::PlanOutcome::Verified;
    case.fact_of(service, MINUTE, Fact::PlanEnded { incident: incident(), plan: 1, outcome, detail: String::new() });
    case.fact_of(service, MINUTE, Fact::IncidentResolved { incident: incident(), how: "rolled back".into() });
}

#[test]
fn a_shared_cause_is_left_to_people() {
    let mut case = Case::new();
    bad_incident(&mut case);
    let finding = Finding::SharedCause;
    let incident = Some("shop-1".into());
    let gate = Some(Gate::NoSharedCause);
    case.fact(MINUTE, Fact::Found { incident, finding, severity: Severity::S1, detail: String::new(), gate });
    assert!(case.open().expect("open").refused);
}

#[test]
fn the_nightly_dry_run_tells_only_what_would_hold_whatever_broke() {
    let held = |change: fn(&mut Case)| -> Vec<Gate> {
        let mut case = Case::new();
        change(&mut case);
        let reports = case.reports();
        super::holds_tonight(&reports).into_iter().map(|report| report.gate).collect()
    };
    assert_eq!(held(|_| {}), []);
    assert_eq!(held(|case| case.policies[0].gates.deployed_within = MINUTE), [], "an old release is normal");
    assert_eq!(held(|case| maintenance(case, MINUTE, MINUTE)), [], "somebody's will");
    assert_eq!(held(|case| turned(case, &[(60, 1), (30, 2)])), [], "told by itself");
    assert_eq!(held(|case| case.store = Some("full")), [], "told by itself");
    assert_eq!(held(|case| paused(case, None)), [Gate::NotPaused]);
    assert_eq!(held(|case| case.observation = None), [Gate::Accused, Gate::KnownGood]);
    let none = |case: &mut Case| case.observation = Some(observation(Some("v2"), &[]));
    assert_eq!(held(none), [Gate::KnownGood]);
    let none_and_old = |case: &mut Case| {
        case.observation = Some(observation(Some("v2"), &[]));
        case.policies[0].gates.deployed_within = MINUTE;
    };
    assert_eq!(held(none_and_old), [], "an old release is not gone back from");
}

#[test]
fn a_night_begins_at_three_and_is_spread_over_half_an_hour() {
    let at = |text: &str| -> WallTime { serde_json::from_str(&format!("\"{text}\"")).expect("a time") };
    let (before, after) = (at("2026-01-07T02:59:59Z"), at("2026-01-07T03:30:00Z"));
    let mut begins = std::collections::BTreeSet::new();
    for place in 0..50 {
        let name = format!("shop-{place}").as_str().into();
        let night = |at| super::night_of(&name, at);
        assert_eq!(night(before) + 1, night(after), "{name}");
        assert_eq!(night(after), night(at("2026-01-08T02:59:59Z")), "{name}");
        let minute = (0..30).find(|minute| night(at(&format!("2026-01-07T03:{minute:02}:59Z"))) == night(after));
        begins.insert(minute.expect("within half an hour"));
    }
    assert!(begins.len() > 10, "{begins:?}");
}

#[test]
fn a_platform_is_asked_who_owns_it_whether_it_can_be_undone_and_which_side_fails() {
    use crate::core::{
        policy::GitopsPolicy,
        release::{Hindrance, Workload},
    };
    let owned = |always: bool| Hindrance::Owned { by: "somebody".to_owned(), always };
    let why = || "why".to_owned();
    for (hindrance, gitops, gate, answer) in [
        (None, GitopsPolicy::Refuse, Gate::NotOwned, Yes),
        (None, GitopsPolicy::Refuse, Gate::Undoable, Yes),
        (None, GitopsPolicy::Refuse, Gate::OnlyTheNewFails, Yes),
        (Some(owned(false)), GitopsPolicy::Refuse, Gate::NotOwned, No),
        (Some(owned(false)), GitopsPolicy::Act, Gate::NotOwned, Yes),
        (Some(owned(true)), GitopsPolicy::Act, Gate::NotOwned, No),
        (Some(Hindrance::NotUndoable { why: why() }), GitopsPolicy::Act, Gate::Undoable, No),
        (Some(Hindrance::OlderFailsToo { why: why() }), GitopsPolicy::Act, Gate::OnlyTheNewFails, No),
    ] {
        let mut case = Case::new();
        case.policies[0].on_platform = true;
        case.policies[0].gates.gitops = gitops;
        let workload = Workload { hindrances: hindrance.clone().into_iter().collect(), ..Workload::default() };
        case.observation.as_mut().expect("a look").workload = Some(Box::new(workload));
        let report = case.reports().into_iter().find(|report| report.gate == gate).expect("it is asked");
        assert_eq!(report.answer, answer, "{hindrance:?}: {report:?}");
    }
}
