//! What is asked of the live release speaks of what is live at that moment, not of what a look saw before.

use std::time::Duration;

use backstop::{
    core::{
        event::{Authority, Event, Request, RollbackOrder},
        name::ServiceIndex,
        operation::Look,
        page::PageKind,
        policy::{Mode, ReportKind},
        release::{Observation, Release},
    },
    testing::{Bench, SERVICE},
};

use super::{
    as_it_is,
    by_hand::{preview, view},
};

fn verify() -> Request {
    Request::Verify { service: SERVICE.into() }
}

fn looked(bench: &Bench, live: &str, earlier: Duration) -> Event {
    let available = ["v1", "v2", "v3"].into_iter().filter(|one| *one != live).map(Release::of).collect();
    let observation = Ok(Observation { current: Some(Release::of(live)), available, ..Observation::default() });
    let look = Look { observation, receipt: None, began: bench.now.boot.before(earlier) };
    Event::Looked { service: ServiceIndex(0), key: None, look }
}

#[test]
fn what_was_linked_a_moment_ago_is_what_is_verified_rolled_back_and_accused() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.live = Some("v1");
    let said = bench.ask(verify()).expect("it begins");
    assert!(said.contains("verifying v1"), "{said}");
    assert_eq!(bench.record().verification.as_ref().map(|one| one.version.as_str()), Some("v1"));
    bench.live = Some("v3");
    assert_eq!(preview(&mut bench, RollbackOrder::default()).version_from.as_str(), "v3");
    // What was verified is not live any more, and was for no moment after that was known.
    assert!(!bench.was_told(PageKind::RollbackCompleted) && bench.history.is_empty(), "{:?}", bench.told());
    bench.live = Some("v2");
    let (service, authority) = (SERVICE.into(), Authority::Operator);
    let report = Request::Report { service, kind: ReportKind::SecurityExploited, detail: None, authority };
    bench.ask(report).expect("reported");
    assert_eq!(bench.record().live().map(|live| live.deploy.release.version.as_str()), Some("v2"));
}

#[test]
fn a_look_from_before_the_question_answers_it_not() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.now = bench.now.after(Duration::from_millis(100));
    let asked = bench.ask_only(verify());
    assert_eq!(bench.answer(asked), None);
    let late = looked(&bench, "v2", Duration::from_millis(50));
    bench.feed(late);
    assert_eq!(bench.answer(asked), None, "what it saw was before");
    let seen = looked(&bench, "v3", Duration::ZERO);
    bench.feed(seen);
    let said = bench.answer(asked).expect("it is answered").expect("it begins");
    assert!(said.contains("verifying v3"), "{said}");
    assert_eq!(bench.answer(asked), None, "once");
}

#[test]
fn a_target_that_hangs_holds_no_answer_up() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    let asked = bench.ask_only(verify());
    bench.now = bench.now.after(Duration::from_millis(4900));
    bench.feed(Event::Woke);
    assert_eq!(bench.answer(asked), None);
    assert!(bench.state.next_wake().is_some_and(|wake| wake <= bench.now.boot.after(Duration::from_millis(100))));
    bench.now = bench.now.after(Duration::from_millis(100));
    bench.feed(Event::Woke);
    let said = bench.answer(asked).expect("it is answered").expect("it begins");
    assert!(said.contains("verifying v2"), "{said}");
}

#[test]
fn a_verification_of_what_is_not_live_any_more_is_no_rollback_on_record() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.live = Some("v1");
    bench.ask(verify()).expect("it begins");
    bench.pass(5);
    bench.live = Some("v3");
    bench.until("ended", |bench| bench.record().verification.as_ref().is_some_and(|one| one.ended.is_some()));
    assert!(view(&mut bench).verification.is_some_and(|one| one.overtaken));
    assert!(!bench.was_told(PageKind::RollbackCompleted), "{:?}", bench.told());
    bench.restart(1);
    bench.pass(2);
    assert_eq!(bench.history, []);
    // One that comes to its end is.
    bench.live = Some("v1");
    bench.ask(verify()).expect("it begins");
    bench.until("ended", |bench| bench.record().verification.as_ref().is_some_and(|one| one.ended.is_some()));
    assert_eq!(bench.history.iter().map(|one| one.version_to.as_str()).collect::<Vec<_>>(), ["v1"]);
}
