//! Steps of which nothing is heard, and looks that see nothing: what is not known is looked at, and everything ends.

use std::time::Duration;

use backstop::{
    core::{
        entry::{Fact, PlanOutcome, StepEvent},
        event::{Event, Request},
        operation::{OperationOutcome, Receipt},
        page::PageKind,
        policy::{Finding, Mode},
        release::DeploySource,
        saga::StepStatus,
        sample::Reason,
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, outcome};

/// A rollback that has just begun, of which operations end so.
fn begun(ends: &[Ends], then: Ends, receipt: Receipt) -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = ends.iter().cloned().collect();
    bench.then_ends = then;
    bench.receipt = receipt;
    bench.requests = (40, 20);
    bench.until("began", |bench| bench.was_told(PageKind::RollbackStarted));
    bench
}

/// How long it took until the plan ended.
fn lasts(bench: &mut Bench) -> Duration {
    let began = bench.now.boot;
    bench.until("ended", |bench| outcome(bench).is_some());
    bench.now.boot.since(began)
}

fn status(bench: &Bench, step: usize) -> StepStatus {
    bench.incident(1).plans[0].steps[step].status
}

fn events(bench: &Bench, of: u16) -> Vec<StepEvent> {
    let event = |fact: &Fact| match fact {
        Fact::Step { step, event, .. } if *step == of => Some(*event),
        _ => None,
    };
    bench.journal.iter().filter_map(|(_, entry)| event(&entry.fact)).collect()
}

#[test]
fn an_undo_of_which_nothing_is_heard_is_looked_at_and_found_done() {
    let mut bench = begun(&[Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Lost], Ends::Well, Receipt::Nothing);
    lasts(&mut bench);
    assert_eq!(outcome(&bench), Some(PlanOutcome::Failed), "{:?}", bench.told());
    assert_eq!((status(&bench, 1), bench.live), (StepStatus::Undone, Some("v2")));
    assert!(!bench.incident(1).found(Finding::StepStuck));
    let last: Vec<_> = events(&bench, 1).into_iter().rev().take(3).collect();
    assert_eq!(last, [StepEvent::Undone, StepEvent::BecameUnknown, StepEvent::UndoStarted]);
}

#[test]
fn an_undo_that_was_not_done_is_done_again_and_one_that_goes_on_hanging_is_stuck() {
    for receipt in [Receipt::Nothing, Receipt::Interrupted] {
        let ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Silent];
        let mut bench = begun(&ends, Ends::Well, receipt);
        lasts(&mut bench);
        assert_eq!((status(&bench, 1), bench.live), (StepStatus::Undone, Some("v2")), "{receipt:?}");
        assert_eq!(outcome(&bench), Some(PlanOutcome::Failed));

        let mut bench = begun(&ends, Ends::Silent, receipt);
        let took = lasts(&mut bench);
        assert_eq!((status(&bench, 1), outcome(&bench)), (StepStatus::Stuck, Some(PlanOutcome::Stuck)));
        assert!(bench.incident(1).found(Finding::StepStuck));
        // Two deadlines of 20 s for the undo, and 30 s for putting it on record.
        assert!(took < Duration::from_secs(80), "{took:?}");
        assert_eq!(bench.switches().len(), 4, "two tries at each");
    }
}

#[test]
fn an_undo_found_unfinished_after_a_restart_is_looked_at() {
    let mut bench = begun(&[Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Lost], Ends::Well, Receipt::Nothing);
    bench.until("undoing", |bench| status(bench, 1) == StepStatus::Undoing);
    bench.restart(1);
    lasts(&mut bench);
    assert_eq!(status(&bench, 1), StepStatus::Undone);

    let mut bench = begun(&[Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Silent], Ends::Well, Receipt::Nothing);
    bench.looks_hang = true;
    bench.until("unknown", |bench| status(bench, 1) == StepStatus::UndoUnknown);
    bench.looks_hang = false;
    bench.restart(1);
    lasts(&mut bench);
    assert_eq!((status(&bench, 1), outcome(&bench)), (StepStatus::Undone, Some(PlanOutcome::Failed)));
}

#[test]
fn what_an_undo_left_live_though_it_was_said_to_be_done_is_no_deploy_of_somebody() {
    let mut bench = begun(&[Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Lying], Ends::Well, Receipt::Nothing);
    lasts(&mut bench);
    bench
        .until("noticed", |bench| bench.record().live().is_some_and(|live| live.deploy.release.version == "v1".into()));
    assert_eq!((status(&bench, 1), bench.live), (StepStatus::Undone, Some("v1")));
    let live = bench.record().live().expect("a deploy");
    assert_eq!(live.deploy.source, DeploySource::Rollback, "no place to go further back from");
}

#[test]
fn what_a_person_puts_live_after_an_undo_that_was_seen_is_theirs() {
    for (restarts, announces) in [(false, false), (true, false), (false, true)] {
        let mut bench = begun(&[Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Well], Ends::Well, Receipt::Nothing);
        lasts(&mut bench);
        assert_eq!((status(&bench, 1), bench.live), (StepStatus::Undone, Some("v2")));
        if announces {
            // By hand, before anybody looked again.
            let request = Request::ReportDeploy { service: SERVICE.into(), version: "v1".into() };
            bench.ask(request).expect("a report");
        } else {
            bench.pass(1);
        }
        if restarts {
            bench.restart(1);
            bench.pass(1);
        }
        bench.live = Some("v1");
        bench.requests = (40, 0);
        bench.pass(1);
        let live = &bench.record().live().expect("a deploy").deploy;
        assert_eq!((live.release.version.as_str(), live.source), ("v1", DeploySource::Target));
        bench.until("closed", |bench| !bench.incident(1).is_open());
        assert!(bench.incident(1).resolved.as_ref().is_some_and(|(_, how)| how.contains("v1 was deployed")));
        bench.ask(Request::Verify { service: SERVICE.into() }).expect("it begins");
        bench.until("on record", |bench| {
            bench
                .history
                .iter()
                .any(|one| (&*one.version_from, &*one.version_to, &*one.outcome) == ("v2", "v1", "verified"))
        });
    }
}

#[test]
fn a_hanging_operation_without_a_receipt_takes_twice_its_deadline_at_most() {
    for receipt in [Receipt::Nothing, Receipt::Interrupted] {
        // Looking for the older release: 60 s. It changes nothing, so that there is nothing to undo.
        let mut bench = begun(&[], Ends::Silent, receipt);
        let took = lasts(&mut bench);
        assert_eq!((bench.operations.len(), outcome(&bench)), (3, Some(PlanOutcome::Failed)), "{receipt:?}");
        assert!(took <= Duration::from_secs(2 * 60 + 30 + 5), "{took:?}");
        assert_eq!(bench.live, Some("v2"));

        // The switch: 20 s, and what is not known to be done is undone.
        let mut bench = begun(&[Ends::Well, Ends::Silent, Ends::Silent], Ends::Well, receipt);
        let took = lasts(&mut bench);
        assert_eq!(bench.switches(), ["v2>v1", "v2>v1", "v1>v2"]);
        assert_eq!((status(&bench, 1), outcome(&bench)), (StepStatus::Undone, Some(PlanOutcome::Failed)));
        assert!(took <= Duration::from_secs(2 * 20 + 5), "{took:?}");
    }
}

#[test]
fn an_attempt_has_what_is_left_of_the_steps_time_and_one_after_a_failure_all_of_it() {
    let mut bench = begun(&[Ends::Well], Ends::Silent, Receipt::Nothing);
    bench.until("switching", |bench| bench.operations.len() == 2);
    bench.pass(15);
    let key = bench.operations[1].key.clone();
    let outcome = OperationOutcome::Unknown(Reason::new("the answer was lost"));
    bench.feed(Event::OperationEnded { key, outcome });
    bench.until("tried again", |bench| bench.operations.len() == 3);
    let left = bench.operations[2].deadline;
    assert!((3..=5).contains(&left.as_secs()), "15 s of 20 s are over: {left:?}");
    bench.until("tried once more", |bench| bench.operations.len() == 4);
    let deadlines: Vec<u64> = bench.operations[1..].iter().map(|one| one.deadline.as_secs()).collect();
    assert_eq!(bench.switches(), ["v2>v1"; 3]);
    assert_eq!((deadlines[0], deadlines[2]), (20, 20), "{deadlines:?}");
    assert_eq!(events(&bench, 1).iter().filter(|event| **event == StepEvent::Failed).count(), 1);
}

#[test]
fn a_wait_for_the_rollout_ends_at_its_deadline_though_nothing_can_be_seen() {
    for hangs in [true, false] {
        let mut bench = begun(&[Ends::Well, Ends::Well, Ends::Silent], Ends::Well, Receipt::Nothing);
        bench.until("waits", |bench| bench.operations.len() == 3);
        bench.looks_hang = hangs;
        bench.live = None;
        bench.requests = (40, 0);
        let began = bench.now.boot;
        bench.until("goes on", |bench| status(bench, 3) != StepStatus::Pending);
        let took = bench.now.boot.since(began);
        assert!(took <= Duration::from_secs(21), "its deadline is 20 s: {took:?}");
        assert_eq!(status(&bench, 2), StepStatus::Failed);
        lasts(&mut bench);
        // What proves a rollback is what customers see; that the target cannot be seen is told by itself.
        assert_eq!(outcome(&bench), Some(PlanOutcome::Verified), "{:?}", bench.told());
    }
}

#[test]
fn a_switch_of_which_nothing_can_be_seen_is_left_to_people_within_its_time() {
    for hangs in [true, false] {
        let mut bench = begun(&[Ends::Well, Ends::Silent], Ends::Well, Receipt::Nothing);
        bench.until("switching", |bench| bench.switches().len() == 1);
        bench.looks_hang = hangs;
        bench.live = None;
        let took = lasts(&mut bench);
        assert_eq!(outcome(&bench), Some(PlanOutcome::Stuck));
        assert!(bench.incident(1).found(Finding::StepStuck) && bench.was_told(PageKind::RollbackFailed));
        assert!(took <= Duration::from_secs(20 + 60 + 5), "{took:?}");
        bench.pass(120);
        assert_eq!(bench.switches().len(), 1, "nothing is done blindly");
    }
}

#[test]
fn what_was_verified_is_asked_again_when_putting_it_on_record_took_long() {
    let record = [Ends::Well, Ends::Well, Ends::Well, Ends::Silent];
    let mut bench = begun(&record, Ends::Well, Receipt::Nothing);
    bench.requests = (40, 0);
    bench.until("verified", |bench| bench.was_told(PageKind::RollbackCompleted));
    bench.requests = (40, 20);
    lasts(&mut bench);
    assert_eq!(outcome(&bench), Some(PlanOutcome::Verified));
    assert!(!bench.was_told(PageKind::IncidentResolved), "it is bad again");
    assert!(bench.incident(1).is_open() && bench.incident(1).found(Finding::RollbackSucceededIssuePersists));
    assert!(bench.pages.iter().any(|page| page.finding == Some(Finding::RollbackSucceededIssuePersists)));
    bench.requests = (40, 0);
    bench.until("well again", |bench| bench.was_told(PageKind::IncidentResolved));
    assert_eq!(bench.switches().len(), 1);

    // What merely cannot be seen resolves nothing, and is no alarm of its own.
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = record.into();
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.ready = Some(true);
    bench.until("verified", |bench| bench.was_told(PageKind::RollbackCompleted));
    bench.ready = None;
    lasts(&mut bench);
    assert!(bench.incident(1).is_open() && !bench.incident(1).found(Finding::RollbackSucceededIssuePersists));
    bench.ready = Some(true);
    bench.until("seen to be well", |bench| bench.was_told(PageKind::IncidentResolved));
}

#[test]
fn pages_about_steps_are_small() {
    let mut bench = begun(&[], Ends::Well, Receipt::Nothing);
    bench.requests = (40, 0);
    lasts(&mut bench);
    let of = |kind: PageKind| bench.pages.iter().filter(move |page| page.kind == kind);
    assert!(of(PageKind::RollbackStep).count() >= 5);
    assert!(of(PageKind::RollbackStep).all(|page| page.path.is_none()));
    for kind in [PageKind::RollbackStarted, PageKind::RollbackCompleted] {
        assert!(of(kind).all(|page| page.path.is_some()), "the first and the last carry it");
    }
}
