//! A plan that was decided while the store took nothing: what it was decided on has to stand when it is to begin.

use backstop::{
    core::{
        entry::{Fact, PlanOutcome},
        event::Request,
        operation::{Attempt, Operation},
        page::PageKind,
        policy::{Finding, Mode},
        saga::StepStatus,
    },
    testing::{Bench, SERVICE},
};

use super::{as_it_is, first, outcome};

/// A rollback that waits for the store.
fn decided_while_the_store_hangs() -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.commits_wait = true;
    bench.until("decided", |bench| !bench.incident(1).plans.is_empty());
    bench
}

#[test]
fn what_has_healed_meanwhile_is_not_rolled_back() {
    let mut bench = decided_while_the_store_hangs();
    bench.pass(15);
    bench.ready = Some(true);
    bench.pass(40);
    bench.commits_wait = false;
    bench.until("told", |bench| bench.was_told(PageKind::RollbackFailed));
    bench.until("over", |bench| bench.incident(1).resolved.is_some());
    assert_eq!(bench.operations.len(), 0, "nothing was begun");
    assert_eq!(outcome(&bench), Some(PlanOutcome::Aborted));
    let plan = &bench.incident(1).plans[0];
    assert_eq!(plan.steps[0].status, StepStatus::Failed);
    assert!(plan.steps[1].status == StepStatus::Skipped, "{:?}", plan.steps[1]);
    let told = bench.told();
    assert!(told.iter().any(|page| page.contains("not begun: the journal took its start")), "{told:#?}");
    assert_eq!(bench.live, Some("v2"));
    // The next incident is another one, and after the cooldown nothing keeps it from being undone.
    bench.pass(60);
    bench.ready = Some(false);
    bench.until("rolled back", |bench| bench.live == Some("v1"));
}

#[test]
fn what_still_fails_is_rolled_back_however_late() {
    let mut bench = decided_while_the_store_hangs();
    bench.pass(55);
    assert_eq!(bench.operations.len(), 0);
    bench.commits_wait = false;
    bench.until("rolled back", |bench| bench.live == Some("v1"));
}

#[test]
fn people_can_stop_what_waits_while_nothing_can_be_put_on_record() {
    for (request, ends) in [
        (Request::Abort { incident: first(), reason: None }, "it was aborted"),
        (
            Request::Pause { service: Some(SERVICE.into()), for_seconds: None, reason: "we are at it".to_owned() },
            "it was paused",
        ),
    ] {
        let mut bench = decided_while_the_store_hangs();
        bench.pass(15);
        let answer = bench.ask(request).expect("it holds in memory");
        assert!(answer.contains("holds in memory only"), "{answer}");
        bench.pass(30);
        bench.commits_wait = false;
        bench.pass(60);
        let is_record = |attempt: &Attempt| matches!(attempt.operation, Operation::Record { .. });
        assert!(bench.operations.iter().all(is_record), "{ends}: {:?}", bench.operations);
        assert_eq!(outcome(&bench), Some(PlanOutcome::Aborted), "{ends}");
        assert_eq!(bench.live, Some("v2"), "{ends}");
    }
}

#[test]
fn a_disk_that_stalls_again_and_again_is_one_trouble() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    bench.pass(30);
    for _ in 0..5 {
        bench.commits_wait = true;
        // Something waits to be put on record.
        bench.ask_only(Request::Pause { service: None, for_seconds: Some(1), reason: "a write".to_owned() });
        bench.pass(12);
        bench.commits_wait = false;
        bench.pass(3);
    }
    let of_the_store = |bench: &Bench| {
        let pages = bench.pages.iter().filter(|page| page.finding == Some(Finding::StoreFailed));
        pages.map(|page| page.kind).collect::<Vec<_>>()
    };
    assert_eq!(of_the_store(&bench), [PageKind::IncidentEscalated], "{:#?}", bench.told());
    bench.pass(70);
    assert_eq!(of_the_store(&bench), [PageKind::IncidentEscalated, PageKind::SignalRestored]);
}

#[test]
fn an_outage_that_begins_while_nothing_can_be_put_on_record_is_told_at_once() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.commits_wait = true;
    bench.ask_only(Request::Pause { service: None, for_seconds: Some(1), reason: "a write".to_owned() });
    bench.until("told", |bench| bench.pages.iter().any(|page| page.finding == Some(Finding::StoreFailed)));
    bench.ready = Some(false);
    bench.until("told", |bench| bench.told().iter().any(|page| page.contains("roll_back (shop-0-1)")));
    assert!(!bench.was_told(PageKind::IncidentOpened), "its own page waits for the journal");
    bench.pass(30);
    assert_eq!(bench.told().iter().filter(|page| page.contains("(shop-0-1)")).count(), 1, "{:#?}", bench.told());
    bench.commits_wait = false;
    bench.until("its own page", |bench| bench.was_told(PageKind::IncidentOpened));
}

#[test]
fn who_waits_for_updates_hears_that_the_daemon_is_stopped_in_the_middle() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [backstop::testing::Ends::Well, backstop::testing::Ends::Silent].into();
    bench.ready = Some(false);
    bench.until("it switches", |bench| bench.operations.len() == 2);
    bench.feed(backstop::core::event::Event::Closing);
    let told = bench.told();
    assert!(told.iter().any(|page| page.contains("is being stopped in step 2 of")), "{told:#?}");
    let begun = bench.journal.iter().filter(|(_, entry)| matches!(entry.fact, Fact::PlanStarted { .. })).count();
    assert_eq!(begun, 1);
}
