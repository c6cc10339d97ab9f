//! What comes between: a restart, a slow store, a version endpoint that says something else than the target did.

use backstop::{
    core::{
        entry::{Fact, PlanOutcome, StepEvent},
        event::{Event, Request, RollbackOrder},
        gate::Gate,
        name::ServiceIndex,
        operation::Look,
        page::PageKind,
        policy::Mode,
        release::{DeploySource, Observation, Release},
        saga::StepStatus,
        verdict::VerdictKind,
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, first, outcome};

/// A target that does not tell what is live; then the service itself says that it is `version`.
fn only_the_endpoint_says(bench: &mut Bench, version: &'static str) {
    let service = ServiceIndex(0);
    let available = ["v1", "v2", "v3"].into_iter().map(Release::of).collect();
    let observation =
        Ok(Observation { current: None, untold: None, available, rolling_out: false, ..Observation::default() });
    let look = Look { observation, receipt: None, began: bench.now.boot };
    bench.feed(Event::Looked { service, key: None, look });
    bench.feed(Event::VersionSeen { service, version: Ok(version.into()) });
}

/// What is live as the journal has it, and who made it so.
fn live(bench: &Bench) -> (String, DeploySource) {
    let live = &bench.record().live().expect("something is live").deploy;
    (live.release.version.to_string(), live.source)
}

/// A rollback from `v2` to `v1` that waits for a healthy answer.
fn checking_health() -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("checks health", |bench| {
        let plan = bench.state.durable().incidents.get(first().as_str()).and_then(|one| one.plans.first());
        plan.is_some_and(|plan| plan.steps[3].status == StepStatus::Started)
    });
    bench
}

#[test]
fn an_abort_that_was_asked_for_before_the_world_was_looked_at_begins_no_check_again() {
    let mut bench = checking_health();
    bench.live = None;
    bench.restart(1);
    bench.ask(Request::Abort { incident: first(), reason: None }).expect("it is under way");
    assert_eq!(outcome(&bench), None, "nothing is done before the world was looked at");
    bench.live = Some("v1");
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Aborted));
    let facts = bench.journal.iter().map(|(_, entry)| &entry.fact);
    let after = facts.skip_while(|fact| !matches!(fact, Fact::AbortAsked { .. }));
    let begun = after.filter_map(|fact| match fact {
        Fact::Step { step, event: StepEvent::Started, .. } => Some(*step),
        _ => None,
    });
    let last = u16::try_from(bench.incident(1).plans[0].steps.len() - 1).expect("few steps");
    assert_eq!(begun.collect::<Vec<_>>(), [last], "it only puts itself on record");
    assert_eq!(bench.incident(1).plans[0].steps[3].status, StepStatus::Failed);
}

#[test]
fn the_time_of_an_attempt_is_reckoned_from_when_its_start_is_durable() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.commits_wait = true;
    bench.until("began", |bench| !bench.incident(1).plans.is_empty());
    bench.pass(60);
    assert_eq!(bench.operations.len(), 0, "its start is not durable");
    bench.commits_wait = false;
    bench.until("carried out", |bench| bench.operations.len() == 1);
    // Its deadline is 60 s, and since the plan began as many have passed already.
    bench.pass(58);
    assert_eq!(bench.operations.len(), 1, "one is still being carried out");
    bench.until("another try", |bench| bench.operations.len() >= 2);
    let heard =
        bench.told().iter().any(|page| page.contains("not known to be done") || page.contains("no end in time"));
    assert!(heard, "it came to its end before: {:?}", bench.told());
}

#[test]
fn while_a_plan_is_under_way_no_endpoint_ends_it() {
    for answer in ["v2", "v1", "v3"] {
        let mut bench = checking_health();
        let deploys = bench.record().deploys.len();
        only_the_endpoint_says(&mut bench, answer);
        assert_eq!((outcome(&bench), bench.record().deploys.len()), (None, deploys), "{answer} says the endpoint");
        bench.ready = Some(true);
        bench.until("ended", |bench| outcome(bench).is_some());
        assert_eq!(outcome(&bench), Some(PlanOutcome::Verified));
    }
}

#[test]
fn what_an_endpoint_said_in_between_makes_no_deploy_of_what_a_rollback_made_live() {
    let mut bench = checking_health();
    bench.ready = Some(true);
    bench.until("ended", |bench| outcome(bench).is_some());
    bench.pass(20);
    for answer in ["v3", "v1"] {
        only_the_endpoint_says(&mut bench, answer);
        assert_eq!(live(&bench), ("v1".to_owned(), DeploySource::Rollback), "the target told what is live");
    }
    // What somebody deployed, as the target shows, is theirs; and so is what they go back to.
    bench.live = Some("v3");
    bench.pass(1);
    assert_eq!(live(&bench), ("v3".to_owned(), DeploySource::Target));
    bench.live = Some("v1");
    bench.pass(1);
    assert_eq!(live(&bench), ("v1".to_owned(), DeploySource::Target));
}

#[test]
fn a_denial_holds_whatever_an_endpoint_says_in_between() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.ask(Request::Deny { incident: first(), approval: None, reason: None }).expect("denied");
    let denied = |bench: &Bench| bench.record().live().expect("something is live").denied;
    assert_eq!(denied(&bench), Some(VerdictKind::RollBack));
    only_the_endpoint_says(&mut bench, "v1");
    bench.pass(1);
    assert_eq!(live(&bench), ("v2".to_owned(), DeploySource::Target));
    assert_eq!(denied(&bench), Some(VerdictKind::RollBack), "the target shows that nobody deployed");
    bench.pages.clear();
    bench.pass(60);
    assert!(!bench.was_told(PageKind::ApprovalRequested), "{:?}", bench.told());
    // Somebody goes back, and deploys it again: that is another deploy.
    for version in ["v1", "v2"] {
        bench.live = Some(version);
        bench.pass(1);
    }
    assert_eq!((live(&bench), denied(&bench)), (("v2".to_owned(), DeploySource::Target), None));
}

#[test]
fn a_switch_that_was_only_said_to_be_done_leaves_what_the_rollback_before_made_live() {
    let mut bench = checking_health();
    bench.ready = Some(true);
    bench.until("ended", |bench| outcome(bench).is_some());
    let order = RollbackOrder {
        to: Some("v3".into()),
        overrides: vec![Gate::OneRollbackForADeploy, Gate::KnownGood],
        reason: Some("v1 has a hole".to_owned()),
        ..RollbackOrder::default()
    };
    bench.ask(Request::RollBack { service: SERVICE.into(), order }).expect("ordered");
    bench.until("switched", |bench| bench.switches().last().is_some_and(|last| last == "v1>v3"));
    bench.live = Some("v1");
    bench.pass(2);
    let plan = &bench.incident(2).plans[0];
    assert_eq!(plan.ended.map(|(_, outcome)| outcome), Some(PlanOutcome::Overtaken));
    assert_eq!(live(&bench), ("v1".to_owned(), DeploySource::Rollback), "no place to go further back from");
}

#[test]
fn an_open_incident_is_told_again_however_often_the_daemon_is_started_anew() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.requests = (40, 20);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    let again = |bench: &Bench| bench.told().iter().filter(|page| page.contains("still open after")).count();
    // It is told every 90 s.
    for _ in 0..9 {
        bench.restart(1);
        bench.pass(40);
    }
    assert!((3..=4).contains(&again(&bench)), "{:?}", bench.told());
}
