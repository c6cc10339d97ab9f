//! The watchdog itself, its nightly look, and the platform.

use super::*;
use crate::core::{
    durable::{SuspensionRecord, SuspensionStage},
    name::ServiceName,
    policy::GitopsPolicy,
    release::{GitState, GitSync, Hindrance, SyncState, WayBack, Workload},
};

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
fn the_nightly_dry_run_tells_only_what_would_hold_whatever_broke() {
    let held = |change: fn(&mut Case)| -> Vec<Gate> {
        let mut case = Case::new();
        change(&mut case);
        let reports = case.reports();
        super::super::holds_tonight(&reports).into_iter().map(|report| report.gate).collect()
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
        let night = |at| super::super::night_of(&name, at);
        assert_eq!(night(before) + 1, night(after), "{name}");
        assert_eq!(night(after), night(at("2026-01-08T02:59:59Z")), "{name}");
        let minute = (0..30).find(|minute| night(at(&format!("2026-01-07T03:{minute:02}:59Z"))) == night(after));
        begins.insert(minute.expect("within half an hour"));
    }
    assert!(begins.len() > 10, "{begins:?}");
}

#[test]
fn a_platform_is_asked_who_owns_it_whether_it_can_be_undone_and_which_side_fails() {
    let owned = |always: bool| Hindrance::Owned { by: "somebody".to_owned(), always };
    let why = || "why".to_owned();
    for (hindrance, gitops, gate, answer) in [
        (None, GitopsPolicy::Refuse, Gate::NotOwned, Yes),
        (None, GitopsPolicy::Refuse, Gate::Undoable, Yes),
        (None, GitopsPolicy::Refuse, Gate::OnlyTheNewFails, Yes),
        (Some(owned(false)), GitopsPolicy::Refuse, Gate::NotOwned, No),
        (Some(owned(false)), GitopsPolicy::Act, Gate::NotOwned, Yes),
        (Some(owned(true)), GitopsPolicy::Act, Gate::NotOwned, No),
        (Some(owned(false)), GitopsPolicy::Suspend, Gate::NotOwned, No),
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

#[test]
fn a_way_back_is_asked_for_the_release_that_it_leads_to() {
    let mut case = Case::new();
    case.policies[0].on_platform = true;
    let to = Version::from("v1");
    for (way_to, hindered, answer, expected) in [
        (to.clone(), true, No, "why"),
        (to.clone(), false, Yes, "the target can be undone, but some stays"),
        ("another".into(), true, Yes, "the target can be undone"),
    ] {
        let (hindered, leaves) =
            if hindered { (Some("why".to_owned()), None) } else { (None, Some("some stays".to_owned())) };
        let ways_back = vec![WayBack { to: way_to, hindered, leaves }];
        case.observation.as_mut().expect("a look").workload =
            Some(Box::new(Workload { ways_back, ..Workload::default() }));
        let report = case.reports().into_iter().find(|report| report.gate == Gate::Undoable).expect("it is asked");
        assert_eq!((report.answer, report.why.as_str()), (answer, expected));
    }
}

/// As a HelmRelease, which is never acted past.
fn owned_by(state: SyncState, gitops: GitopsPolicy) -> Case {
    let mut case = Case::new();
    case.policies[0].on_platform = true;
    case.policies[0].gates.gitops = gitops;
    let hindrances = vec![Hindrance::Owned { by: "its owner".to_owned(), always: true }];
    let sync = Some(GitSync { owner: "its owner".to_owned(), state, was: None });
    let workload = Workload { hindrances, sync, ..Workload::default() };
    case.observation.as_mut().expect("a look").workload = Some(Box::new(workload));
    case
}

fn not_owned(case: &Case) -> GateReport {
    case.reports().into_iter().find(|report| report.gate == Gate::NotOwned).expect("it is asked")
}

#[test]
fn an_owner_whose_sync_can_be_suspended_holds_only_while_it_cannot() {
    let suspended = |git: GitState| SyncState::Suspended { incident: "shop-1".into(), git };
    for (state, gitops, answer, why) in [
        (SyncState::Active, GitopsPolicy::Suspend, Yes, "is suspended before the rollback"),
        (SyncState::ByHand, GitopsPolicy::Suspend, Yes, "does not sync by itself"),
        (suspended(GitState::Holds), GitopsPolicy::Suspend, Yes, "since incident shop-1"),
        (
            SyncState::Lifted { incident: "shop-1".into(), git: GitState::Holds },
            GitopsPolicy::Suspend,
            No,
            "turned its sync on again",
        ),
        (SyncState::Unseen { why: "find it".to_owned() }, GitopsPolicy::Suspend, Unknown, "failed to find it"),
        (SyncState::Active, GitopsPolicy::Refuse, No, "roll back there"),
        (SyncState::Active, GitopsPolicy::Act, No, "roll back there"),
    ] {
        let report = not_owned(&owned_by(state, gitops));
        assert_eq!(report.answer, answer, "{gitops:?}: {report:?}");
        assert!(report.why.contains(why), "{report:?}");
    }
}

#[test]
fn a_suspension_that_did_not_hold_holds_whatever_is_left_of_it_on_the_owner() {
    use SuspensionStage::{Held, NotHeld, ToBeResumed};
    let lifted = || SyncState::Lifted { incident: "shop-1".into(), git: GitState::Holds };
    let suspended = || SyncState::Suspended { incident: "shop-1".into(), git: GitState::Holds };
    let not_held = "somebody turned its sync on after incident shop-1 had suspended it: it is not suspended again until Git is \
                    known to have left v2";
    for (stage, state, gitops, answer, why) in [
        (NotHeld, SyncState::Active, GitopsPolicy::Suspend, No, not_held),
        (NotHeld, SyncState::ByHand, GitopsPolicy::Suspend, No, not_held),
        (NotHeld, lifted(), GitopsPolicy::Suspend, No, not_held),
        (NotHeld, suspended(), GitopsPolicy::Suspend, No, not_held),
        (NotHeld, SyncState::Unseen { why: "find it".to_owned() }, GitopsPolicy::Suspend, Unknown, "failed to find it"),
        (NotHeld, SyncState::Active, GitopsPolicy::Refuse, No, "roll back there"),
        (Held, suspended(), GitopsPolicy::Suspend, Yes, "since incident shop-1"),
        (Held, SyncState::Active, GitopsPolicy::Suspend, Yes, "is suspended before the rollback"),
        (ToBeResumed, suspended(), GitopsPolicy::Suspend, Yes, "since incident shop-1"),
    ] {
        let mut case = owned_by(state.clone(), gitops);
        let steady = case.steady(now());
        let record = case.durable.services.get_mut(&ServiceName::from("shop")).expect("it is known");
        record.suspension = Some(SuspensionRecord {
            incident: "shop-1".into(),
            plan: 1,
            step: 1,
            owner: "its owner".to_owned(),
            was: None,
            from: "v2".into(),
            to: "v1".into(),
            at: now().wall.before(MINUTE),
            began: steady,
            attempts: 0,
            resuming: false,
            held_since: None,
            stage,
        });
        let report = not_owned(&case);
        assert_eq!(report.answer, answer, "{stage:?} {state:?} {gitops:?}: {report:?}");
        assert!(report.why.contains(why), "{report:?}");
    }
}
