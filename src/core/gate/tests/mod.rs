//! A table for each gate: yes, no and unknown.

mod before;
mod others;
mod own;
mod release;

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
        gone: None,
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

fn maintenance(case: &mut Case, since: Duration, left: Duration) {
    let (from, to) = (now().wall.before(since), now().wall.after(left));
    case.policies[0].maintenance.push(MaintenancePolicy { from, to, why: "the disks are replaced".into() });
}

fn turned(case: &mut Case, ago: &[(u64, u32)]) {
    for (seconds, place) in ago {
        case.turn(Duration::from_secs(*seconds), *place, Wellness::NotWell);
    }
}

fn paused(case: &mut Case, until: Option<WallTime>) {
    case.fact(MINUTE, Fact::Paused { until, by: "ann".into(), reason: "migration".into() });
}
