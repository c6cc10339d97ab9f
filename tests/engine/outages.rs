//! Outages, rollouts and restarts: what opens an incident, what is acted on, and what ends it.

use std::time::Duration;

use backstop::{
    core::{
        entry::PlanOutcome,
        event::Request,
        page::PageKind,
        policy::{Finding, Mode},
        release::Standing,
    },
    testing::{Bench, SERVICE},
};

use super::{as_it_is, first, outcome};

#[test]
fn an_outage_after_a_deploy_is_rolled_back_and_verified() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    assert!(bench.switches().is_empty(), "nothing is done before the outage lasted unbroken");
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.ready = Some(true);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    assert_eq!((bench.switches(), outcome(&bench)), (vec!["v2>v1".to_owned()], Some(PlanOutcome::Verified)));
    assert_eq!(bench.record().standing(&"v2".into()), Standing::KnownBad);
    assert!(bench.record().live_by_rollback());
    let history = bench.operations.last().expect("it was recorded");
    assert_eq!(history.operation.as_str(), "record");
}

#[test]
fn one_answer_in_between_breaks_an_outage() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    for _ in 0..20 {
        bench.ready = Some(false);
        bench.pass(2);
        bench.ready = Some(true);
        bench.pass(1);
    }
    assert!(bench.was_told(PageKind::IncidentOpened));
    assert!(bench.switches().is_empty(), "down_for is 3 s: {:?}", bench.told());
}

#[test]
fn missed_samples_lead_to_nothing_but_a_lost_signal() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = None;
    bench.pass(120);
    assert!(bench.was_told(PageKind::SignalLost), "{:?}", bench.told());
    assert!(!bench.was_told(PageKind::IncidentOpened) && bench.switches().is_empty());
    bench.ready = Some(true);
    bench.until("restored", |bench| bench.was_told(PageKind::SignalRestored));
}

#[test]
fn an_outage_is_no_longer_than_it_was_seen() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    // Less than a second of it was seen.
    bench.ready = None;
    bench.pass(6);
    assert!(bench.switches().is_empty(), "nothing is seen: {:?}", bench.told());
    let again = bench.now.boot;
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    // The look that ended the gap stands for itself, a quarter of a second and a timeout: down_for is 3 s.
    let after = bench.now.boot.since(again);
    assert!((Duration::from_millis(1250)..=Duration::from_secs(3)).contains(&after), "{after:?}");
}

#[test]
fn what_was_down_at_the_start_is_for_people_to_judge() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.restart(1);
    bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
    // Nobody knows is not that no deploy explains it.
    assert!(!bench.incident(1).found(Finding::NoDeployToBlame), "{:?}", bench.told());
    assert!(bench.incident(1).found(Finding::RollbackRefused), "{:?}", bench.told());
    assert!(bench.was_told(PageKind::ApprovalRequested), "{:?}", bench.told());
    bench.pass(120);
    assert!(bench.switches().is_empty());
}

#[test]
fn an_announced_restart_opens_nothing() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.pass(30);
    bench.ask(Request::ReportDeploy { service: SERVICE.into(), version: "v2".into() }).expect("a report");
    bench.ready = Some(false);
    bench.requests = (0, 0);
    bench.pass(8);
    bench.ready = Some(true);
    bench.requests = (40, 0);
    bench.pass(60);
    assert!(!bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
}

#[test]
fn a_release_that_never_answers_is_rolled_back_after_its_settling_time() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.live = Some("v2");
    bench.ready = Some(false);
    bench.pass(8);
    assert!(!bench.was_told(PageKind::IncidentOpened), "its rollout is under way for 12 s");
    bench.until("switched", |bench| bench.switches() == ["v2>v1"]);
}

#[test]
fn an_incident_that_clears_by_itself_is_resolved_and_told() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.pass(2);
    bench.ready = Some(true);
    bench.until("resolved", |bench| bench.was_told(PageKind::IncidentResolved));
    assert!(bench.switches().is_empty());
}

#[test]
fn a_rollout_of_which_nothing_is_seen_has_not_failed() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.live = Some("v2");
    bench.ready = None;
    bench.requests = (0, 0);
    bench.pass(200);
    assert!(bench.switches().is_empty() && !bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
}

#[test]
fn a_rollout_is_not_over_because_nobody_watched_it() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.live = Some("v2");
    bench.ready = Some(false);
    bench.pass(2);
    bench.restart(600);
    bench.ready = None;
    bench.pass(20);
    assert!(!bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
    bench.ready = Some(true);
    bench.pass(30);
    assert!(!bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
}

#[test]
fn a_new_deploy_closes_the_incident_of_the_old_one_and_is_watched_for_itself() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.requests = (40, 20);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.pages.clear();
    bench.live = Some("v3");
    bench.requests = (40, 0);
    bench.until("closed", |bench| bench.was_told(PageKind::IncidentResolved));
    bench.pass(10);
    bench.requests = (40, 20);
    bench.until("opened anew", |bench| bench.was_told(PageKind::IncidentOpened));
    assert_eq!(bench.incident(2).accused.as_ref().map(|(_, version)| version.as_str()), Some("v3"));
}

#[test]
fn what_fails_while_a_deploy_settles_is_not_put_down_to_the_release_before() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.pass(60);
    // A rollout that lets the older instances go first: nothing answers, and the target sees the deploy come in parts.
    bench.ready = Some(false);
    bench.untold = Some("see it settled: the template or its configuration has just changed");
    bench.pass(6);
    assert!(!bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
    bench.untold = None;
    bench.live = Some("v2");
    bench.pass(2);
    bench.ready = Some(true);
    bench.pass(60);
    assert!(!bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
    // What never tells holds nothing back for long.
    bench.ready = Some(false);
    bench.untold = Some("see the Secret login (403)");
    bench.pass(12);
    assert!(bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
    assert!(bench.switches().is_empty(), "nobody knows what is live");
}

#[test]
fn people_approve_what_was_down_at_the_start() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.restart(1);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.ask(Request::Approve { incident: first(), approval: None }).expect("people may");
    bench.until("switched", |bench| !bench.switches().is_empty());
}
