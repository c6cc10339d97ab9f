//! What benches and long-running examples share: a policy like the runbook's, and a seeded generator.

pub(crate) mod fleet;

use std::{sync::Arc, time::Duration};

use backstop::core::{
    name::SignalIndex,
    policy::{
        Atom, ConditionPolicy, ConsiderPolicy, ConsiderThen, Expression, GatesPolicy, GitopsPolicy, KnownGoodPolicy,
        LatencyLimit, Mode, Question, RateLimit, ReportKind, RollbacksPolicy, ServicePolicy, SharedCausePolicy,
        SignalKind, SignalPolicy, SustainIndex, Then, ThresholdsPolicy, VerifyPolicy,
    },
    verdict::VerdictKind::{Consider, RollBack},
};

/// Signals of one service.
pub(crate) const SIGNALS: usize = 3;

/// The place of the source of requests.
pub(crate) const REQUESTS: u16 = 2;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rate(above: f64, over: u64) -> RateLimit {
    RateLimit { above, over: seconds(over), confidence: 0.99, min_requests: 100, widen_to: seconds(600), min_errors: 3 }
}

fn signal(name: &str, kind: SignalKind, every: u64, timeout: u64) -> SignalPolicy {
    SignalPolicy { name: name.into(), kind, every: seconds(every), timeout: seconds(timeout) }
}

/// A service with a probe, a feature and requests, and the runbook's tree with the defaults.
pub(crate) fn policy(name: &str) -> Arc<ServicePolicy> {
    let requests = SignalIndex(REQUESTS);
    let slow =
        LatencyLimit { quantile: 0.99, factor: Some(2.0), at_least: Duration::from_millis(200), rate: rate(0.01, 300) };
    let atoms = vec![
        Atom::Failing { signal: SignalIndex(0), failing: 3 },
        Atom::RolloutFailing,
        Atom::NotMeasured { why: "no integrity queries are configured".into() },
        Atom::ErrorRate { signal: requests, limit: rate(0.05, 60) },
        Atom::ErrorRate { signal: requests, limit: rate(0.01, 60) },
        Atom::Failing { signal: SignalIndex(1), failing: 2 },
        Atom::Latency { signal: requests, limit: slow },
        Atom::Reported { kind: ReportKind::Complaint, at_least: 3, over: seconds(600) },
    ];
    let lasting = |atom, index| Expression::Sustained {
        inner: Box::new(Expression::Atom(atom)),
        duration: seconds(300),
        index: SustainIndex(index),
    };
    let rows = [
        ("system_down", Expression::Atom(0), RollBack),
        ("rollout_failing", Expression::Atom(1), RollBack),
        ("data_at_risk", Expression::Atom(2), RollBack),
        ("error_rate_critical", Expression::Atom(3), RollBack),
        ("error_rate_elevated", lasting(4, 0), Consider),
        ("key_feature_broken", Expression::Atom(5), Consider),
        ("performance_degraded", lasting(6, 1), Consider),
        ("complaints", Expression::Atom(7), Consider),
    ];
    let tree = (0..).zip(&rows).map(|(when, (name, _, verdict))| Question {
        ask: (*name).into(),
        when,
        then: Then::Verdict(*verdict),
        plan: None,
    });
    let tree = tree.collect();
    let conditions =
        rows.into_iter().map(|(name, expression, _)| ConditionPolicy { name: name.into(), expression }).collect();
    Arc::new(ServicePolicy {
        name: name.into(),
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
        conditions,
        sustained_count: 2,
        tree,
        thresholds: ThresholdsPolicy {
            down_after: 3,
            confirm_every: Duration::from_millis(250),
            down_for: seconds(10),
        },
        consider: ConsiderPolicy { then: ConsiderThen::Ask, window: seconds(300) },
        hold_back_when: vec![ReportKind::MinorUi],
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
    })
}

/// `SplitMix64` (Steele, Lea, Flood; OOPSLA 2014): the same numbers for the same seed, everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, not including, 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
