//! What is held, begun or remembered while the process ends, the journal cannot be written, or a step panicked.

use std::time::Duration;

use backstop::{
    core::{
        engine::UNCOMMITTED_LIMIT,
        entry::PlanOutcome,
        event::{Event, Refusal, Request, RequestId, RollbackOrder},
        name::ServiceIndex,
        operation::Receipt,
        page::PageKind,
        policy::{ConsiderThen, Finding, Mode},
        release::Mark,
        sample::{Outcome, Reason},
    },
    testing::{Bench, Ends, SERVICE},
};

use super::as_it_is;

fn mark() -> Request {
    Request::MarkRelease { service: SERVICE.into(), version: "w1".into(), mark: Mark::Good }
}

/// The store answers nothing, and people go on asking until nothing more is taken.
fn fill_the_journal(bench: &mut Bench) {
    bench.commits_wait = true;
    for number in 0..UNCOMMITTED_LIMIT {
        let id = RequestId(1_000_000 + number);
        bench.feed(Event::Requested { id, by: "somebody".to_owned(), request: mark() });
    }
    assert!(matches!(bench.ask(mark()), Err(Refusal::Busy(_))), "it is full");
}

#[test]
fn an_operation_that_waited_for_the_store_is_not_begun_once_the_process_ends() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.pass(20);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.commits_wait = true;
    bench.until("begun", |bench| bench.incident(1).active_plan().is_some());
    bench.feed(backstop::core::event::Event::Closing);
    bench.commits_wait = false;
    bench.pass(1);
    assert!(bench.operations.is_empty(), "{:?}", bench.operations);
    bench.receipt = Receipt::Nothing;
    bench.restart(1);
    bench.until("taken up", |bench| bench.switches() == ["v2>v1"]);
}

#[test]
fn how_long_something_lasted_does_not_span_a_full_journal() {
    let mut bench = Bench::with_v2(Mode::Act, |policy| policy.consider.then = ConsiderThen::RollBack);
    bench.pass(20);
    bench.requests = (80, 3);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    fill_the_journal(&mut bench);
    bench.pass(180);
    bench.commits_wait = false;
    let written = bench.now.boot;
    bench.until("switched", |bench| !bench.switches().is_empty());
    let waited = bench.now.boot.since(written);
    assert!(waited >= Duration::from_secs(20), "consider waits for 20 s from then on: {waited:?}");
}

#[test]
fn after_a_panic_the_process_still_ends_and_its_network_is_still_ill() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.feed(Event::SelfCheck(Outcome::Failed(Reason::new("no route to host"))));
    bench.pass(11);
    let ill = |bench: &Bench| bench.told().iter().filter(|line| line.contains("own network is ill")).count();
    assert_eq!(ill(&bench), 1);
    bench.feed(backstop::core::event::Event::Closing);
    bench.panic();
    bench.pass(11);
    assert!(bench.state.misses_every_sample() && ill(&bench) == 1 && !bench.was_told(PageKind::SignalRestored));
    assert!(matches!(bench.ask(mark()), Err(Refusal::Busy(_))), "it ends");
}

#[test]
fn a_store_that_failed_before_a_panic_is_told_to_be_well_again_after_it() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.feed(Event::StoreFailing(Reason::new("the disk is full")));
    bench.pass(11);
    let told = |bench: &Bench, what: &str| bench.told().iter().filter(|line| line.contains(what)).count();
    assert_eq!(told(&bench, "the journal cannot be written"), 1);
    bench.panic();
    bench.ask(mark()).expect("written");
    bench.pass(72);
    assert_eq!(told(&bench, "the journal cannot be written"), 1);
    assert_eq!(told(&bench, "the journal is written again"), 1);
}

/// A person deploys while a switch is under way, so that the plan ends and the operation goes on; then the release is
/// gone back from by a person's order. Returns how many operations were begun in all.
fn flying_through(disturb: impl FnOnce(&mut Bench)) -> usize {
    let mut bench = Bench::with_others(Mode::Act, as_it_is, &[Duration::from_secs(1)]);
    bench.live = Some("v2");
    bench.pass(6);
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("switching", |bench| bench.switches().len() == 1);
    bench.live = Some("v3");
    bench.requests = (40, 0);
    bench.pass(2);
    disturb(&mut bench);
    bench.pass(2);
    let order = RollbackOrder { to: Some("v1".into()), ..RollbackOrder::default() };
    bench.ask(Request::RollBack { service: SERVICE.into(), order }).expect("ordered");
    bench.pass(3);
    bench.operations.len()
}

#[test]
fn one_thing_at_a_time_at_a_target_though_another_services_step_panicked() {
    assert_eq!(flying_through(|_| {}), 2, "the first plan's two");
    assert_eq!(flying_through(|bench| bench.panic_in(ServiceIndex(1))), 2);
}

#[test]
fn whether_the_own_network_is_well_is_not_known_before_it_was_checked() {
    let ill = || Event::SelfCheck(Outcome::Failed(Reason::new("no route to host")));
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.restart_with_self_check(1);
    bench.ready = Some(false);
    bench.pass(20);
    assert!(bench.state.misses_every_sample() && !bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
    bench.feed(ill());
    bench.pass(11);
    assert!(bench.told().iter().any(|line| line.contains("own network is ill")));
    // Neither is it after a restart, though it was ill before.
    bench.pages.clear();
    bench.restart(1);
    bench.pass(20);
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.feed(ill());
    bench.pass(20);
    assert_eq!(bench.told(), Vec::<String>::new(), "it was told");
    bench.feed(Event::SelfCheck(Outcome::Passed));
    assert!(bench.was_told(PageKind::SignalRestored));
    bench.until("seen", |bench| bench.was_told(PageKind::IncidentOpened));
}

/// All that is left is to put it on record, and that is cut short for longer than a plan is resumed.
fn is_left_but_for_the_record(ends: &[Ends], operations: usize) -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = ends.iter().cloned().collect();
    bench.ready = Some(false);
    bench.until("under way", |bench| !bench.operations.is_empty());
    bench.ready = Some(true);
    bench.until("it is being put on record", |bench| bench.operations.len() == operations);
    bench.pages.clear();
    bench.restart(60 * 60);
    bench.until("it is over", |bench| super::outcome(bench).is_some());
    assert_eq!(bench.operations.len(), operations + 1, "it is put on record");
    assert!(!bench.pages.iter().any(|page| page.finding == Some(Finding::StepStuck)), "{:?}", bench.told());
    bench
}

#[test]
fn what_was_verified_stays_so_though_it_was_not_put_on_record_for_long() {
    let bench = is_left_but_for_the_record(&[Ends::Well, Ends::Well, Ends::Well, Ends::Silent], 4);
    assert_eq!(super::outcome(&bench), Some(PlanOutcome::Verified));
    assert_eq!(bench.switches().len(), 1);
}

#[test]
fn a_plan_that_was_given_up_before_its_switch_has_changed_nothing() {
    // The older version cannot be made sure of, twice.
    let bench = is_left_but_for_the_record(&[Ends::Failing, Ends::Failing, Ends::Silent], 3);
    assert_eq!(super::outcome(&bench), Some(PlanOutcome::Failed));
    assert!(bench.switches().is_empty());
}
