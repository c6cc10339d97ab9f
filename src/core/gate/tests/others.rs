//! Other services: in trouble together, and depended on.

use super::*;

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
        object: None,
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
