//! Rollbacks before, and what people said.

use super::*;

fn begin_rollback(case: &mut Case, ago: Duration) {
    let fact = Fact::PlanStarted {
        by_hand: None,
        incident: "shop-1".into(),
        number: 1,
        plan: PlanKind::Quick,
        from: v("v2"),
        to: v("v1"),
        deploy: 2,
        object: None,
        steps: crate::core::plan::quick(&case.policies[0], &"v2".into(), &"v1".into(), None),
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
