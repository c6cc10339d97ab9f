//! A watch with a policy and a clock of its own.

use std::{sync::Arc, time::Duration};

use VerdictKind::{Consider, RollBack};

use super::super::*;
use crate::core::{
    name::{ServiceIndex, SignalIndex},
    policy::*,
    sample::{LatencyCounts, Measurement, Outcome, Reason, RequestCounts},
    time::WallTime,
};

pub(in super::super) const READY: u16 = 0;
pub(in super::super) const SMOKE: u16 = 1;
pub(in super::super) const REQUESTS: u16 = 2;

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(in super::super) fn rate(above: f64, over: u64) -> RateLimit {
    RateLimit { above, over: seconds(over), confidence: 0.99, min_requests: 100, widen_to: seconds(600), min_errors: 3 }
}

pub(super) fn question(when: u16, then: VerdictKind) -> Question {
    Question { ask: format!("Question {when}?").into(), when, then: Then::Verdict(then), plan: None }
}

/// The service of the runbook's own configuration, without its database.
pub(in crate::core) fn policy() -> ServicePolicy {
    let signal = |name: &str, kind, every, timeout| SignalPolicy {
        name: name.into(),
        kind,
        every: seconds(every),
        timeout: seconds(timeout),
    };
    let latency =
        LatencyLimit { quantile: 0.99, factor: Some(2.0), at_least: Duration::from_millis(200), rate: rate(0.01, 300) };
    let atoms = vec![
        Atom::Failing { signal: SignalIndex(READY), failing: 3 },
        Atom::RolloutFailing,
        Atom::NotMeasured { why: "no integrity queries are configured".into() },
        Atom::ErrorRate { signal: SignalIndex(REQUESTS), limit: rate(0.05, 60) },
        Atom::ErrorRate { signal: SignalIndex(REQUESTS), limit: rate(0.01, 60) },
        Atom::Failing { signal: SignalIndex(SMOKE), failing: 2 },
        Atom::Latency { signal: SignalIndex(REQUESTS), limit: latency },
        Atom::Reported { kind: ReportKind::Complaint, at_least: 3, over: seconds(600) },
    ];
    let sustained = |atom, index| Expression::Sustained {
        inner: Box::new(Expression::Atom(atom)),
        duration: seconds(300),
        index: SustainIndex(index),
    };
    let conditions = [
        ("system_down", Expression::Atom(0)),
        ("rollout_failing", Expression::Atom(1)),
        ("data_at_risk", Expression::Atom(2)),
        ("error_rate_critical", Expression::Atom(3)),
        ("error_rate_elevated", sustained(4, 0)),
        ("key_feature_broken", Expression::Atom(5)),
        ("performance_degraded", sustained(6, 1)),
        ("complaints", Expression::Atom(7)),
    ];
    let verdicts = [RollBack, RollBack, RollBack, RollBack, Consider, Consider, Consider, Consider];
    ServicePolicy {
        name: "api".into(),
        mode: Mode::Act,
        signals: vec![
            signal("ready", SignalKind::Probe { critical: true }, 2, 1),
            signal("smoke", SignalKind::Feature { critical: true }, 60, 30),
            signal("requests", SignalKind::Requests, 5, 4),
        ],
        checks_version: false,
        rollout_timeout: Duration::from_secs(120),
        on_platform: false,
        can_stop_traffic: false,
        blocks_known_bad: false,
        atoms,
        conditions: conditions
            .into_iter()
            .map(|(name, expression)| ConditionPolicy { name: name.into(), expression })
            .collect(),
        sustained_count: 2,
        tree: (0..).zip(verdicts).map(|(when, then)| question(when, then)).collect(),
        thresholds: ThresholdsPolicy {
            down_after: 3,
            confirm_every: Duration::from_millis(250),
            down_for: seconds(10),
        },
        consider: ConsiderPolicy { then: ConsiderThen::Ask, window: seconds(300) },
        hold_back_when: vec![ReportKind::MinorUi, ReportKind::UnderOnePercent],
        reports_expire: seconds(3_600),
        gates: GatesPolicy {
            known_good: KnownGoodPolicy::Soaked,
            known_good_after: seconds(600),
            known_good_min_requests: 100,
            settle: seconds(120),
            deployed_within: seconds(86_400),
            rollbacks: RollbacksPolicy { at_most: 2, over: seconds(3_600) },
            acting_wait: Duration::from_secs(3),
            shared_cause: SharedCausePolicy { services: 3, within: Duration::from_secs(300) },
            cooldown: seconds(600),
            resume_within: seconds(900),
            gitops: GitopsPolicy::Refuse,
        },
        verify: VerifyPolicy { healthy_for: seconds(60), timeout: seconds(600) },
        depends_on: Vec::new(),
        maintenance: Vec::new(),
    }
}

/// A watch with a clock of its own.
pub(super) struct Bench {
    pub(super) watch: Watch,
    pub(super) now: Now,
    pub(super) reports: Vec<(ReportKind, WallTime)>,
    pub(super) baseline: Vec<(String, f64)>,
    pub(super) rolling_out: bool,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::of(policy())
    }

    pub(super) fn of(policy: ServicePolicy) -> Self {
        let now = Now { boot: BootTime::from_nanos(9_876_543_210_987), wall: WallTime::from_millis(1_767_781_800_000) };
        let watch = Watch::new(Arc::new(policy), now);
        Self { watch, now, reports: Vec::new(), baseline: Vec::new(), rolling_out: false }
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        let until = self.now.boot.after(seconds(60));
        Facts {
            rollout: if self.rolling_out { RolloutState::UnderWay { until } } else { RolloutState::Settled },
            reports: &self.reports,
            operators_reports: &self.reports,
            baseline: &self.baseline,
        }
    }

    pub(super) fn evaluate(&mut self) -> Verdict {
        let until = self.now.boot.after(seconds(60));
        let facts = Facts {
            rollout: if self.rolling_out { RolloutState::UnderWay { until } } else { RolloutState::Settled },
            reports: &self.reports,
            operators_reports: &self.reports,
            baseline: &self.baseline,
        };
        self.watch.evaluate(self.now, facts)
    }

    pub(super) fn record_at(&mut self, taken_at: BootTime, signal: u16, measurement: Measurement) -> Recorded {
        let sample = Sample {
            service: ServiceIndex(0),
            signal: SignalIndex(signal),
            taken_at,
            lag: Duration::ZERO,
            measurement,
        };
        self.watch.record(self.now, &sample)
    }

    pub(super) fn record(&mut self, signal: u16, measurement: Measurement) -> Recorded {
        self.record_at(self.now.boot, signal, measurement)
    }

    pub(super) fn pass(&mut self, signal: u16) -> Recorded {
        self.record(signal, Measurement::Check(Outcome::Passed))
    }

    pub(super) fn fail(&mut self, signal: u16) -> Recorded {
        self.record(signal, Measurement::Check(Outcome::Failed(Reason::new("connection refused"))))
    }

    pub(super) fn miss(&mut self, signal: u16) -> Recorded {
        self.record(signal, Measurement::Check(Outcome::Missed(Reason::new("the resolver is down"))))
    }

    pub(super) fn count(&mut self, total: u64, errors: u64) -> Recorded {
        self.record(REQUESTS, Measurement::Requests(RequestCounts { total, errors, latency: None }))
    }

    /// `for_seconds` of life in steps of 5 s: the probe and the feature pass, `errors` of `total` requests fail.
    pub(super) fn live(&mut self, for_seconds: u64, total: u64, errors: impl Fn(u64) -> u64) -> Verdict {
        for step in 0..for_seconds / 5 {
            self.wait(seconds(5));
            self.pass(READY);
            self.pass(SMOKE);
            self.count(total, errors(step));
            self.evaluate();
        }
        self.watch.verdict()
    }

    pub(super) fn answer(&self, name: &str) -> Answer {
        let mut answers = self.watch.condition_answers();
        answers.find(|(condition, _)| condition.as_str() == name).expect("a condition").1
    }

    pub(super) fn latency(&mut self, fast: u64, slow: u64) {
        let bounds: Arc<[f64]> = [0.1, 0.2, 0.4, 0.8, f64::INFINITY].into();
        let counts = Box::new([fast, 0, 0, slow, 0]);
        let total = fast + slow;
        let latency = Some(Ok(LatencyCounts { bounds, counts }));
        self.record(REQUESTS, Measurement::Requests(RequestCounts { total, errors: 0, latency }));
    }
}
