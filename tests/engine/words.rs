//! What people read of an incident in which nothing more is done by itself: why, what stays, and what comes next.

use backstop::{
    core::{
        entry::{Decision, Fact, PlanOutcome},
        event::{Event, Refusal, Request, RollbackOrder},
        gate::Gate,
        name::{IncidentId, ServiceIndex, Version},
        operation::Look,
        page::{Page, PageKind},
        policy::{Finding, Mode},
        release::{Mark, Observation, Release},
        saga::StepStatus,
        view::{IncidentView, WaitsFor},
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{
    as_it_is,
    by_hand::{marked, roll_back, view},
    deny, first, outcome,
};

fn last(bench: &Bench, kind: PageKind) -> &Page {
    bench.pages.iter().rfind(|page| page.kind == kind).expect("such a page")
}

fn shown(bench: &mut Bench, id: &IncidentId) -> IncidentView {
    let state = view(bench).now;
    bench.state.incident(id).expect("it is kept").just_now(&state)
}

/// `v2` is bad, and somebody is asked whether to roll it back.
fn asked() -> Bench {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench
}

#[test]
fn an_incident_that_was_denied_says_by_whom_and_why() {
    let mut bench = asked();
    bench.ask(deny()).expect("a denial");
    let told = bench.state.incident(&first()).expect("it is open");
    assert_eq!(told.state, "open: somebody denied rolling back from v2 to v1: a campaign runs");
    let approval = told.approval.expect("it was asked for");
    assert_eq!((approval.state, approval.reason.as_deref()), ("denied", Some("a campaign runs")));
    // The denial holds the deploy in the next incident too, in whose own story it is not.
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    bench.requests = (40, 20);
    bench.until("opened again", |bench| bench.state.durable().incidents.len() == 2);
    bench.pass(10);
    let second = IncidentId::from(format!("{SERVICE}-2"));
    let told = shown(&mut bench, &second);
    assert_eq!(told.waits_for, Some(WaitsFor::Denied));
    assert_eq!(told.state, "open: a rollback of this deploy was denied in an incident before this one");
}

#[test]
fn an_approval_that_is_void_says_why() {
    let mut bench = asked();
    bench.live = Some("v3");
    bench.pass(2);
    let approval = bench.state.incident(&first()).and_then(|told| told.approval).expect("it was asked for");
    assert_eq!((approval.state, approval.reason.as_deref()), ("void", Some("v3 was deployed")));
}

#[test]
fn who_is_paused_is_told_how_to_take_that_back() {
    for (service, command) in [(Some(SERVICE.into()), "`backstop resume shop-0`"), (None, "`backstop resume`")] {
        let mut bench = asked();
        let pause = Request::Pause { service: service.clone(), for_seconds: None, reason: "a drill".to_owned() };
        bench.ask(pause).expect("paused");
        for request in [Request::Approve { incident: first(), approval: None }, roll_back(RollbackOrder::default())] {
            let Err(Refusal::Gate(why)) = bench.ask(request) else { panic!("the pause holds it") };
            assert!(
                why.contains(&format!("; to take the pause back first: {command}; to go ahead all the same")),
                "{why}"
            );
        }
        let paused = view(&mut bench).now.paused.expect("it is paused");
        assert_eq!(paused.of_all, service.is_none());
        assert!(shown(&mut bench, &first()).paused.is_some());
        bench.ask(Request::Resume { service }).expect("resumed");
        bench.ask(Request::Approve { incident: first(), approval: None }).expect("the approval is open still");
    }
}

#[test]
fn a_pause_that_is_over_hides_no_pause_of_all() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    for (service, for_seconds) in [(None, None), (Some(SERVICE.into()), Some(5))] {
        bench.ask(Request::Pause { service, for_seconds, reason: "a drill".to_owned() }).expect("paused");
    }
    assert!(!view(&mut bench).now.paused.expect("its own").of_all);
    bench.pass(10);
    assert!(view(&mut bench).now.paused.expect("that of all").of_all);
}

#[test]
fn an_abort_after_the_switch_leaves_nothing_to_people_while_what_is_live_is_well() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("switched", |bench| bench.live == Some("v1"));
    bench.ready = Some(true);
    bench.until("checked", |bench| {
        let plan = bench.incident(1).active_plan();
        plan.and_then(|plan| plan.current_step()).is_some_and(|(_, step)| step.planned.title == "verify")
    });
    bench.ask(Request::Abort { incident: first(), reason: None }).expect("it ends");
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!((outcome(&bench), bench.live), (Some(PlanOutcome::Aborted), Some("v1")));
    let told = shown(&mut bench, &first());
    assert_eq!((told.waits_for, told.by_hand), (None, None));
    assert_eq!(
        told.state,
        "open: the rollback was aborted, and v1 is live and stays; it closes once what fired is clear"
    );
    let page = last(&bench, PageKind::RollbackFailed);
    assert!(page.action.starts_with("v1 stays,") && !page.action.contains("people decide"), "{}", page.action);
    // Where that is not well either, people decide as ever.
    bench.ready = Some(false);
    let waits = (0..60).any(|_| {
        bench.pass(1);
        view(&mut bench).now.waits_for == Some(WaitsFor::Aborted)
    });
    assert!(waits, "{:?}", bench.told());
}

#[test]
fn an_abort_does_not_begin_the_steps_time_anew() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.ready = Some(false);
    bench.until("switching", |bench| !bench.switches().is_empty());
    bench.pass(4);
    bench.ask(Request::Abort { incident: first(), reason: None }).expect("it is to end");
    let under_way = view(&mut bench).now.plan_under_way.expect("the switch is under way");
    assert!(under_way.seconds >= 4.0, "{under_way:?}");
}

#[test]
fn a_plan_that_was_overtaken_has_no_step_under_way_nor_to_come() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.ready = Some(false);
    bench.until("switching", |bench| !bench.switches().is_empty());
    (bench.live, bench.ready) = (Some("v3"), Some(true));
    bench.until("overtaken", |bench| outcome(bench) == Some(PlanOutcome::Overtaken));
    let told = bench.state.incident(&first()).expect("it is kept");
    let steps: Vec<_> = told.plans[0].steps.iter().map(|step| (step.status, step.note.as_str())).collect();
    assert_eq!(steps[1], (StepStatus::Unknown, "the plan ended while it was under way"));
    for step in &steps[2..steps.len() - 1] {
        assert_eq!(*step, (StepStatus::Skipped, "left out: the plan ended before it"));
    }
}

#[test]
fn an_incident_with_a_stuck_plan_shows_what_is_live() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Failing].into();
    bench.requests = (40, 20);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Stuck));
    bench.pass(2);
    let told = shown(&mut bench, &first());
    assert_eq!((told.live, told.target_unseen), (Some(bench.live.expect("seen").into()), None));
    bench.live = None;
    bench.pass(5);
    let told = shown(&mut bench, &first());
    assert_eq!(told.target_unseen.as_deref(), Some("timed out"));
    assert!(told.live.is_some(), "as it was seen last");
}

fn would_have(bench: &Bench) -> Vec<(Decision, Option<Gate>, String)> {
    let of = |entry: &Fact| match entry {
        Fact::WouldHave { decision, gate, what, .. } => Some((*decision, *gate, what.clone())),
        _ => None,
    };
    bench.journal.iter().filter_map(|(_, entry)| of(&entry.fact)).collect()
}

#[test]
fn who_only_observes_says_once_what_would_have_been_done() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.requests = (40, 20);
    bench.until("told", |bench| !would_have(bench).is_empty());
    bench.pass(300);
    let what = "would have rolled back v2 to v1";
    assert_eq!(would_have(&bench), [(Decision::RollBack, None, what.to_owned())], "once");
    assert!(bench.switches().is_empty() && bench.incident(1).plans.is_empty(), "and nothing was done");
    let pages: Vec<_> = bench.pages.iter().filter(|page| page.summary.contains(what)).collect();
    let [page] = &pages[..] else { panic!("{:?}", bench.told()) };
    assert_eq!(page.kind, PageKind::IncidentEscalated);
    let versions = (page.version_from.as_ref().map(Version::as_str), page.version_to.as_ref().map(Version::as_str));
    assert_eq!(versions, (Some("v2"), Some("v1")));
    let told = bench.state.incident(&first()).expect("it is open");
    assert_eq!(told.state, format!("open, only observed: {what}"));
    assert!(told.timeline.iter().any(|line| line.text == format!("only observed: {what}")), "{:?}", told.timeline);
    // What was said is not said again after a restart.
    bench.restart(1);
    bench.pass(30);
    assert_eq!(would_have(&bench).len(), 1);
}

#[test]
fn who_only_observes_names_the_gate_that_would_have_held() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    marked(&mut bench, "v1", Mark::Bad);
    bench.requests = (40, 20);
    bench.until("told", |bench| !would_have(bench).is_empty());
    let [(decision, gate, what)] = &would_have(&bench)[..] else { panic!("once") };
    assert_eq!((*decision, *gate), (Decision::Hold, Some(Gate::KnownGood)));
    assert!(what.starts_with("a rollback would have been held: known_good: "), "{what}");
    assert!(!bench.incident(1).found(Finding::RollbackRefused), "no rollback was refused");
}

#[test]
fn who_only_observes_says_what_would_have_been_asked_and_what_a_rise_changes() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.requests = (80, 3);
    bench.until("told", |bench| !would_have(bench).is_empty());
    bench.pass(120);
    let asked = (Decision::Ask, None, "would have asked for approval to roll back v2 to v1".to_owned());
    assert_eq!(would_have(&bench), [asked]);
    bench.requests = (40, 20);
    bench.until("told again", |bench| would_have(bench).len() == 2);
    assert_eq!(would_have(&bench)[1].0, Decision::RollBack);
}

#[test]
fn a_verification_of_what_was_deployed_forward_tells_of_no_rollback() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("verifies", |bench| bench.live == Some("v1"));
    // Somebody comes between with a release that never ran here.
    (bench.live, bench.requests) = (Some("v3"), (40, 0));
    bench.until("overtaken", |bench| outcome(bench) == Some(PlanOutcome::Overtaken));
    bench.pages.clear();
    let before = bench.history.len();
    bench.ask(Request::Verify { service: SERVICE.into() }).expect("a verification");
    bench.until("ended", |bench| bench.record().verification.as_ref().is_some_and(|one| one.ended.is_some()));
    assert!(!bench.was_told(PageKind::RollbackCompleted), "{:?}", bench.told());
    let record = bench.history.get(before).expect("it is on record");
    assert_eq!((record.version_from.as_str(), record.version_to.as_str()), ("", "v3"));
}

#[test]
fn a_deploy_that_is_announced_and_not_at_the_target_is_doubted() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    let mut report = |version: &str| {
        bench.ask(Request::ReportDeploy { service: SERVICE.into(), version: version.into() }).expect("a report")
    };
    assert!(report("v88").contains("v88 is expected (warning: the target has no release of this name yet"));
    assert!(!report("v3").contains("warning") && !report("v2").contains("warning"));
}

#[test]
fn where_the_target_has_no_other_release_nobody_is_told_to_mark_one() {
    for (available, is_alone) in [(vec![Release::of("v0")], false), (Vec::new(), true)] {
        let mut bench = Bench::new(Mode::Act, as_it_is);
        marked(&mut bench, "v1", Mark::Bad);
        bench.pages.clear();
        let observation = Observation { current: Some(Release::of("v2")), available, ..Observation::default() };
        let look = Look { observation: Ok(observation), receipt: None, began: bench.now.boot };
        bench.feed(Event::Looked { service: ServiceIndex(0), key: None, look });
        let told = bench.pages.iter().find(|page| page.finding == Some(Finding::NothingToGoBackTo)).expect("a page");
        assert_eq!(told.action == Finding::NothingToGoBackTo.default_action(), !is_alone, "{}", told.action);
        assert_eq!(told.action.starts_with("The target has no other release"), is_alone, "{}", told.action);
    }
}

#[test]
fn moments_are_written_for_people_in_one_way() {
    let mut bench = asked();
    let pause = Request::Pause { service: None, for_seconds: Some(60), reason: "a drill".to_owned() };
    let said = bench.ask(pause).expect("paused");
    let approval = bench.state.incident(&first()).and_then(|told| told.approval).expect("it waits");
    let state = bench.state.incident(&first()).expect("it is open").state;
    for text in [&said, &state, &last(&bench, PageKind::ApprovalRequested).details.join(" ")] {
        assert!(text.contains(" UTC") && !text.contains('Z'), "{text}");
    }
    let json = serde_json::to_string(&approval).expect("JSON");
    assert!(json.contains("Z\"") && !json.contains("UTC"), "{json}");
}
