//! The policy of simulated services: the shape that a configuration compiles to, with times that make runs short.

use std::{sync::Arc, time::Duration};

use super::scenario::Scenario;
use crate::core::{
    name::{ChannelName, SignalIndex},
    policy::{
        Atom, ConditionPolicy, ConsiderPolicy, ConsiderThen, Escalation, Expression, GatesPolicy, GitopsPolicy,
        KnownGoodPolicy, MaintenancePolicy, Mode, Policy, Question, RateLimit, ReportKind, RollbacksPolicy,
        ServicePolicy, SeverityPolicy, SharedCausePolicy, SignalKind, SignalPolicy, SustainIndex, Then,
        ThresholdsPolicy, VerifyPolicy,
    },
    verdict::VerdictKind,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The channel that every page goes to.
pub(super) const CHANNEL: &str = "audit";
/// The one that hears of everything too, where there is a second.
pub(super) const SECOND_CHANNEL: &str = "chat";

/// Places of the signals.
pub(super) const READY: SignalIndex = SignalIndex(0);
pub(super) const REQUESTS: SignalIndex = SignalIndex(1);
pub(super) const SMOKE: SignalIndex = SignalIndex(2);

/// An open incident is told again so often.
pub(super) const REPEAT: Duration = seconds(90);

/// So many services turning bad at once point to what they share.
pub(super) const SHARED_CAUSE_SERVICES: u32 = 3;
/// What is over is kept for so long: longer than any run.
const KEEP: Duration = seconds(90 * 86_400);
/// Within this of each other.
pub(super) const SHARED_CAUSE_WITHIN: Duration = seconds(60);

pub(super) fn policy(scenario: &Scenario, mode: Mode) -> Policy {
    let one = |place: usize| {
        let mut service = service(&name(place), mode);
        if scenario.features {
            watch_a_feature(&mut service);
        }
        service.on_platform = scenario.partial.is_some();
        service.checks_version = scenario.version.is_some();
        if scenario.consider_rolls_back {
            service.consider.then = ConsiderThen::RollBack;
        }
        if scenario.gitops.is_some() {
            service.on_platform = true;
            service.gates.gitops = GitopsPolicy::Suspend;
        }
        if scenario.depends_on_first && place > 0 {
            service.depends_on.push(name(0).as_str().into());
        }
        service.maintenance.extend(scenario.maintenance.map(|(from, to)| MaintenancePolicy {
            from: scenario.starts_at.after(from),
            to: scenario.starts_at.after(to),
            why: "the switches are replaced".to_owned(),
        }));
        Arc::new(service)
    };
    let mut channels = vec![ChannelName::from(CHANNEL)];
    if scenario.second_channel {
        channels.push(ChannelName::from(SECOND_CHANNEL));
    }
    let mut escalation = Escalation::default();
    for severity in escalation.severities.values_mut() {
        *severity = SeverityPolicy { notify: channels.clone(), repeat: Some(REPEAT), acknowledge_expires: None };
    }
    Policy {
        services: (0..scenario.services).map(one).collect(),
        channels,
        escalation,
        keep: KEEP,
        checks_itself: scenario.chaos.self_check_fails > 0,
    }
}

fn name(place: usize) -> String {
    format!("shop-{place}")
}

fn rate(above: f64) -> RateLimit {
    RateLimit { above, over: seconds(10), confidence: 0.99, min_requests: 100, widen_to: seconds(60), min_errors: 3 }
}

fn watch_a_feature(service: &mut ServicePolicy) {
    let every = seconds(4);
    let kind = SignalKind::Feature { critical: true };
    service.signals.push(SignalPolicy { name: "smoke".into(), kind, every, timeout: seconds(1) });
    service.atoms.push(Atom::Failing { signal: SMOKE, failing: 2 });
    let place = |count: usize| u16::try_from(count).expect("a few");
    let expression = Expression::Atom(place(service.atoms.len() - 1));
    service.conditions.push(ConditionPolicy { name: "key_feature_broken".into(), expression });
    let when = place(service.conditions.len() - 1);
    let then = Then::Verdict(VerdictKind::Consider);
    service.tree.push(Question { ask: "Is key feature broken?".into(), when, then, plan: None });
}

fn service(name: &str, mode: Mode) -> ServicePolicy {
    let signal = |name: &str, kind, every: Duration| SignalPolicy {
        name: name.into(),
        kind,
        every,
        timeout: every.min(seconds(1)),
    };
    let (ready, requests) = (READY, REQUESTS);
    let condition = |name: &str, expression| ConditionPolicy { name: name.into(), expression };
    let elevated =
        Expression::Sustained { inner: Box::new(Expression::Atom(3)), duration: seconds(20), index: SustainIndex(0) };
    let ask = |ask: &str, when, verdict| Question { ask: ask.into(), when, then: Then::Verdict(verdict), plan: None };
    ServicePolicy {
        name: name.into(),
        mode,
        signals: vec![
            signal("ready", SignalKind::Probe { critical: true }, seconds(2)),
            signal("requests", SignalKind::Requests, seconds(2)),
        ],
        checks_version: false,
        rollout_timeout: seconds(20),
        on_platform: false,
        can_stop_traffic: false,
        blocks_known_bad: false,
        atoms: vec![
            Atom::Failing { signal: ready, failing: 3 },
            Atom::RolloutFailing,
            Atom::ErrorRate { signal: requests, limit: rate(0.05) },
            Atom::ErrorRate { signal: requests, limit: rate(0.01) },
            Atom::Reported { kind: ReportKind::DataCorruption, at_least: 1, over: seconds(60) },
            Atom::Reported { kind: ReportKind::Complaint, at_least: 2, over: seconds(60) },
        ],
        conditions: vec![
            condition("system_down", Expression::Atom(0)),
            condition("rollout_failing", Expression::Atom(1)),
            condition("error_rate_critical", Expression::Atom(2)),
            condition("error_rate_elevated", elevated),
            condition("data_at_risk", Expression::Atom(4)),
            condition("complaints", Expression::Atom(5)),
        ],
        sustained_count: 1,
        tree: vec![
            ask("Is system down?", 0, VerdictKind::RollBack),
            ask("Are health probes failing after the deploy?", 1, VerdictKind::RollBack),
            ask("Is data at risk?", 4, VerdictKind::RollBack),
            ask("Is error rate > 5%?", 2, VerdictKind::RollBack),
            ask("Is error rate > 1%?", 3, VerdictKind::Consider),
            ask("Do several customers complain?", 5, VerdictKind::Consider),
        ],
        thresholds: ThresholdsPolicy { down_after: 3, confirm_every: Duration::from_millis(250), down_for: seconds(3) },
        consider: ConsiderPolicy { then: ConsiderThen::Ask, window: seconds(20) },
        hold_back_when: vec![ReportKind::MinorUi],
        reports_expire: seconds(60),
        gates: GatesPolicy {
            known_good: KnownGoodPolicy::Soaked,
            known_good_after: seconds(15),
            known_good_min_requests: 100,
            settle: seconds(12),
            deployed_within: seconds(3600),
            rollbacks: RollbacksPolicy { at_most: 2, over: seconds(3600) },
            acting_wait: seconds(3),
            shared_cause: SharedCausePolicy { services: SHARED_CAUSE_SERVICES, within: SHARED_CAUSE_WITHIN },
            cooldown: seconds(30),
            resume_within: seconds(120),
            gitops: GitopsPolicy::Refuse,
        },
        verify: VerifyPolicy { healthy_for: seconds(6), timeout: seconds(60) },
        depends_on: Vec::new(),
        maintenance: Vec::new(),
    }
}
