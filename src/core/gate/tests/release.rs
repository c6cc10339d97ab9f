//! What is live, what is accused of what, and where a rollback would go.

use super::*;

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

fn clear(case: &mut Case, version: &str) {
    case.fact(MINUTE, Fact::Marked { version: v(version), mark: Mark::Clear, by: "ann".into() });
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
            "v1 is known to be good, and is no longer at the target",
        ),
        (
            Gate::KnownGood,
            "none is known to be good",
            |case| {
                clear(case, "v1");
                case.observation = Some(observation(Some("v2"), &["v0"]));
            },
            No,
            "backstop deploys mark shop VERSION good",
        ),
        (
            Gate::KnownGood,
            "none at all",
            |case| {
                clear(case, "v1");
                case.observation = Some(observation(Some("v2"), &[]));
            },
            No,
            "no other release",
        ),
        (
            Gate::KnownGood,
            "only what is live",
            |case| {
                clear(case, "v1");
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
                clear(case, "v1");
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
