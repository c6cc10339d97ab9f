//! What the history file is told: every rollback that was begun, however it ended, and every verification by hand.

use backstop::{
    core::{
        entry::PlanOutcome,
        event::Request,
        operation::{HistoryRecord, Operation},
        page::PageKind,
        policy::{Mode, ServicePolicy},
    },
    testing::{Bench, Ends, SERVICE},
};

const fn as_it_is(_: &mut ServicePolicy) {}

fn outcome(bench: &Bench) -> Option<PlanOutcome> {
    bench
        .state
        .durable()
        .incidents
        .get(format!("{SERVICE}-1").as_str())?
        .plans
        .last()?
        .ended
        .map(|(_, outcome)| outcome)
}

/// What the plans put on record as their last step.
fn by_step(bench: &Bench) -> Vec<&HistoryRecord> {
    let history = bench.operations.iter().filter_map(|attempt| match &attempt.operation {
        Operation::Record { history } => Some(history),
        _ => None,
    });
    history.collect()
}

fn verify(bench: &mut Bench) -> HistoryRecord {
    bench.ask(Request::Verify { service: SERVICE.into() }).expect("it begins");
    bench.until("proved", |bench| !bench.history.is_empty());
    bench.history.pop().expect("one")
}

#[test]
fn a_plan_that_goes_its_way_is_told_once() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    let [record] = by_step(&bench)[..] else { panic!("{:?}", by_step(&bench)) };
    assert_eq!((record.version_from.as_str(), record.version_to.as_str()), ("v2", "v1"));
    assert_eq!((record.outcome.as_str(), record.service.as_str()), ("verified", SERVICE));
    bench.restart(5);
    assert_eq!(bench.history, [], "nothing is missing");
}

#[test]
fn a_plan_that_a_deploy_overtook_is_told_with_what_overtook_it() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("began", |bench| !bench.operations.is_empty());
    bench.pass(12);
    bench.live = Some("v3");
    bench.until("ended", |bench| outcome(bench) == Some(PlanOutcome::Overtaken));
    assert!(by_step(&bench).is_empty());
    let [record] = &bench.history[..] else { panic!("{:?}", bench.history) };
    assert_eq!((record.version_from.as_str(), record.version_to.as_str()), ("v2", "v1"));
    assert_eq!((record.outcome.as_str(), record.duration_minutes), ("overtaken", 1));
    assert!(record.reason.contains("Error rate") && record.reason.contains("overtaken: v3"), "{}", record.reason);
    // The process may be killed before the file is written: the next start says the same again.
    let record = record.clone();
    bench.restart(5);
    assert_eq!(bench.history, [record.clone(), record]);
}

#[test]
fn a_plan_that_gets_stuck_or_is_aborted_is_told_with_why() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Failing].into();
    bench.requests = (40, 20);
    bench.until("ended", |bench| outcome(bench) == Some(PlanOutcome::Stuck));
    let [record] = by_step(&bench)[..] else { panic!("{:?}", by_step(&bench)) };
    assert_eq!(record.outcome, "stuck");
    assert!(record.reason.ends_with("; stuck: roll back the target: exit status 1"), "{}", record.reason);

    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("switched", |bench| !bench.switches().is_empty());
    let incident = bench.record().open_incident.clone().expect("it is open");
    bench.ask(Request::Abort { incident, reason: Some("we look ourselves".to_owned()) }).expect("aborted");
    bench.until("ended", |bench| outcome(bench) == Some(PlanOutcome::Aborted));
    let [record] = by_step(&bench)[..] else { panic!("{:?}", by_step(&bench)) };
    assert_eq!(record.outcome, "aborted");
    assert!(record.reason.ends_with("; aborted by somebody: we look ourselves"), "{}", record.reason);
}

#[test]
fn a_plan_that_is_not_gone_on_with_is_told() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("switching", |bench| bench.switches().len() == 1);
    bench.restart(600);
    bench.until("ended", |bench| outcome(bench) == Some(PlanOutcome::Stuck));
    let [record] = &bench.history[..] else { panic!("{:?}", bench.history) };
    assert_eq!(record.outcome, "stuck");
    assert!(record.reason.contains("stuck: found unfinished"), "{}", record.reason);
    assert_eq!(record.duration_minutes, 10, "from its beginning to its end");
}

#[test]
fn a_verification_after_a_rollback_by_hand_is_told_as_that_rollback() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.requests = (40, 20);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    // Somebody rolls back without Backstop: that closes the incident, which accuses what is gone.
    bench.live = Some("v1");
    bench.requests = (40, 0);
    bench.pass(5);
    let record = verify(&mut bench);
    assert_eq!((record.version_from.as_str(), record.version_to.as_str()), ("v2", "v1"));
    assert_eq!(record.outcome, "verified");
    assert!(record.reason.contains("rolled back by hand, verification asked for by somebody"), "{}", record.reason);
    bench.restart(5);
    assert_eq!(bench.history, [record], "and again at each start");
}

#[test]
fn a_verification_of_what_was_deployed_forward_claims_no_rollback() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 0);
    let record = verify(&mut bench);
    assert_eq!((record.version_from.as_str(), record.version_to.as_str()), ("", "v2"));
    assert!(record.reason.starts_with("nothing was rolled back"), "{}", record.reason);
}
