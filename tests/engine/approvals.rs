//! Who decides: approvals, denials, modes, reporters, and what may be gone back to.

use backstop::{
    core::{
        durable::ApprovalState,
        entry::PlanOutcome,
        event::{Authority, Refusal, Request},
        name::ServiceIndex,
        page::PageKind,
        policy::{ConsiderThen, Finding, KnownGoodPolicy, Mode, ReportKind, Severity},
        release::Mark,
        verdict::PlanKind,
    },
    testing::{Bench, SERVICE},
};

use super::{as_it_is, deny, first, nothing_soaks, outcome};

fn approve(approval: Option<u32>) -> Request {
    Request::Approve { incident: first(), approval }
}

#[test]
fn without_a_known_good_release_people_decide() {
    let mut bench = Bench::with_v2(Mode::Act, nothing_soaks);
    let service = || SERVICE.into();
    bench.requests = (40, 20);
    bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
    assert!(bench.incident(1).found(Finding::RollbackRefused));
    // Once a refusal was told, that incident acts only by approval, whatever the gates say by then.
    bench.ask(Request::MarkRelease { service: service(), version: "v1".into(), mark: Mark::Good }).expect("a mark");
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    assert!(bench.switches().is_empty());
    bench.ask(approve(None)).expect("an approval");
    bench.until("switched", |bench| bench.switches() == ["v2>v1"]);
}

#[test]
fn previous_trusts_whatever_ran_before_but_not_what_is_known_bad() {
    let mut bench = Bench::new(Mode::Act, |policy| policy.gates.known_good = KnownGoodPolicy::Previous);
    bench.ask(Request::MarkRelease { service: SERVICE.into(), version: "v1".into(), mark: Mark::Bad }).expect("a mark");
    bench.live = Some("v2");
    bench.pass(5);
    bench.requests = (40, 20);
    bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
    assert!(bench.told().iter().any(|line| line.contains("v1 is known bad")), "{:?}", bench.told());
}

#[test]
fn an_approval_is_bound_single_use_and_void_when_the_situation_changes() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    assert!(matches!(bench.ask(approve(Some(7))), Err(Refusal::Conflict(_))), "another number");
    bench.live = Some("v3");
    bench.pass(2);
    assert!(matches!(bench.incident(1).approvals[0].state, ApprovalState::Void(_)), "a deploy came between");
    assert!(matches!(bench.ask(approve(Some(1))), Err(Refusal::Conflict(_))));
    assert!(bench.switches().is_empty());

    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.ask(approve(Some(1))).expect("the one that is open");
    assert!(matches!(bench.ask(approve(Some(1))), Err(Refusal::Conflict(_))), "single use");
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    assert_eq!((bench.switches().len(), outcome(&bench)), (1, Some(PlanOutcome::Verified)));
    assert_eq!(bench.incident(1).plans[0].approved_by.as_deref(), Some("somebody"));
}

#[test]
fn an_approval_that_nobody_answers_expires_and_is_asked_for_again() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.pass(31 * 60);
    let approvals = &bench.incident(1).approvals;
    assert!(matches!(approvals[0].state, ApprovalState::Void(_)) && approvals[1].state == ApprovalState::Open);
    assert!(matches!(bench.ask(approve(Some(1))), Err(Refusal::Conflict(_))));
}

#[test]
fn deny_holds_this_deploy_and_a_rise_asks_once_more_at_the_gravest() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    // 3.75%: above 1%, and no evidence for more than 5%.
    bench.requests = (80, 3);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.ask(deny()).expect("a denial");
    bench.pass(60);
    assert_eq!(bench.incident(1).approvals.len(), 1, "consider does not ask again");
    bench.requests = (40, 20);
    bench.until("asked again", |bench| bench.incident(1).approvals.len() == 2);
    let last = bench.pages.iter().rfind(|page| page.kind == PageKind::ApprovalRequested).expect("a page");
    assert_eq!(last.severity, Severity::S1);
    bench.ask(deny()).expect("a denial");
    bench.pass(120);
    assert_eq!((bench.incident(1).approvals.len(), bench.switches().len()), (2, 0));
}

#[test]
fn a_rise_voids_the_approval_and_acts_by_mode() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (80, 3);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.requests = (40, 20);
    bench.until("switched", |bench| !bench.switches().is_empty());
    assert!(matches!(bench.incident(1).approvals[0].state, ApprovalState::Void(_)));
    assert!(bench.was_told(PageKind::IncidentEscalated));
}

#[test]
fn consider_can_be_told_to_act_after_its_window() {
    let mut bench = Bench::with_v2(Mode::Act, |policy| policy.consider.then = ConsiderThen::RollBack);
    bench.requests = (80, 3);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    let opened = bench.now.boot;
    bench.until("switched", |bench| !bench.switches().is_empty());
    assert!(bench.now.boot.since(opened).as_secs() >= 19, "the window is 20 s");
    assert!(!bench.was_told(PageKind::ApprovalRequested));
}

fn complain(bench: &mut Bench, authority: Authority) {
    for _ in 0..2 {
        let (service, kind) = (SERVICE.into(), ReportKind::Complaint);
        bench.ask(Request::Report { service, kind, detail: None, authority }).expect("a report");
    }
}

#[test]
fn what_reporters_alone_say_is_asked_about_and_never_acted_on() {
    let mut bench = Bench::with_v2(Mode::Act, |policy| policy.consider.then = ConsiderThen::RollBack);
    complain(&mut bench, Authority::Reporter);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    let opened = bench.pages.iter().find(|page| page.kind == PageKind::IncidentOpened).expect("it was told");
    assert!(opened.action.contains("asks for approval"), "{}", opened.action);
    bench.pass(18);
    assert!(!bench.was_told(PageKind::ApprovalRequested), "the window is 20 s");
    // They go on for ten minutes.
    for _ in 0..20 {
        complain(&mut bench, Authority::Reporter);
        bench.pass(30);
    }
    assert!(bench.was_told(PageKind::ApprovalRequested) && bench.switches().is_empty(), "{:?}", bench.told());
    bench.ask(approve(None)).expect("a human may");
    bench.until("switched", |bench| bench.switches() == ["v2>v1"]);
}

#[test]
fn what_reporters_say_does_not_shorten_the_window_of_what_operators_say() {
    let mut bench = Bench::with_v2(Mode::Act, |policy| policy.consider.then = ConsiderThen::RollBack);
    complain(&mut bench, Authority::Reporter);
    bench.pass(45);
    assert!(bench.was_told(PageKind::ApprovalRequested) && bench.switches().is_empty(), "{:?}", bench.told());
    complain(&mut bench, Authority::Operator);
    let said = bench.now.boot;
    bench.until("switched", |bench| !bench.switches().is_empty());
    let waited = bench.now.boot.since(said).as_secs();
    assert!((19..25).contains(&waited), "the window of 20 s, from when operators said so: {waited} s");
    assert!(matches!(bench.incident(1).approvals[0].state, ApprovalState::Void(_)), "nobody is to answer it any more");
}

#[test]
fn who_only_observes_does_nothing() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    bench.pass(120);
    assert!(bench.was_told(PageKind::IncidentOpened));
    assert!(bench.operations.is_empty() && !bench.was_told(PageKind::ApprovalRequested));
}

#[test]
fn nothing_new_begins_while_paused() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    let pause = Request::Pause { service: None, for_seconds: Some(300), reason: "a migration".to_owned() };
    bench.ask(pause).expect("a pause");
    bench.requests = (40, 20);
    bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
    bench.pass(400);
    assert!(bench.switches().is_empty(), "and after the pause that incident acts only by approval");
    assert!(bench.was_told(PageKind::ApprovalRequested));
}

#[test]
fn a_denial_holds_the_deploy_beyond_its_incident() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.ask(deny()).expect("a denial");
    bench.requests = (40, 0);
    bench.until("resolved", |bench| bench.was_told(PageKind::IncidentResolved));
    bench.pages.clear();
    bench.requests = (40, 20);
    bench.until("opened again", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.pass(120);
    assert!(bench.switches().is_empty() && !bench.was_told(PageKind::ApprovalRequested), "{:?}", bench.told());
}

#[test]
fn a_plan_that_this_version_cannot_carry_out_is_left_to_people() {
    let mut bench = Bench::with_v2(Mode::Act, |policy| {
        policy.tree.iter_mut().for_each(|question| question.plan = Some(PlanKind::StopWrites));
    });
    bench.requests = (40, 20);
    bench.until("told", |bench| bench.was_told(PageKind::RollbackRefused));
    bench.pass(120);
    assert!(bench.switches().is_empty());
    let wanted = bench.state.service_view(bench.now, ServiceIndex(0)).path.plan;
    assert!(wanted.is_some_and(|plan| !plan.is_available()), "and so it is shown: {wanted:?}");
}

#[test]
fn what_merely_lies_at_the_target_never_ran_before() {
    let mut bench = Bench::new(Mode::Act, |policy| policy.gates.known_good = KnownGoodPolicy::Previous);
    bench.requests = (40, 20);
    bench.pass(120);
    assert!(bench.switches().is_empty(), "only v1 was ever seen to run: {:?}", bench.told());
}
