//! The engine on a bench: one situation after another, and what must follow.

use std::time::Duration;

use backstop::{
    core::{
        durable::ApprovalState,
        entry::PlanOutcome,
        event::{Authority, Event, Refusal, Request},
        name::{IncidentId, ServiceIndex},
        page::PageKind,
        policy::{ConsiderThen, Finding, KnownGoodPolicy, Mode, ReportKind, ServicePolicy, Severity},
        release::{Mark, Standing},
        sample::Reason,
        verdict::PlanKind,
    },
    testing::{Bench, Ends, SERVICE},
};

#[path = "engine/around.rs"]
mod around;
#[path = "engine/between.rs"]
mod between;
#[path = "engine/by_hand.rs"]
mod by_hand;
#[path = "engine/clock.rs"]
mod clock;
#[path = "engine/interrupted.rs"]
mod interrupted;
#[path = "engine/pages.rs"]
mod pages;
#[path = "engine/soak.rs"]
mod soak;
#[path = "engine/steps.rs"]
mod steps;
#[path = "engine/trial.rs"]
mod trial;
#[path = "engine/witnesses.rs"]
mod witnesses;

const fn as_it_is(_: &mut ServicePolicy) {}

fn first() -> IncidentId {
    IncidentId::from(format!("{SERVICE}-1"))
}

fn approve(approval: Option<u32>) -> Request {
    Request::Approve { incident: first(), approval }
}

fn deny() -> Request {
    Request::Deny { incident: first(), approval: None, reason: Some("a campaign runs".to_owned()) }
}

fn outcome(bench: &Bench) -> Option<PlanOutcome> {
    let incident = bench.state.durable().incidents.get(first().as_str())?;
    incident.plans.last()?.ended.map(|(_, outcome)| outcome)
}

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
fn what_was_down_at_the_start_has_no_deploy_to_blame() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.restart(1);
    bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
    assert!(bench.incident(1).found(Finding::NoDeployToBlame), "{:?}", bench.told());
    bench.pass(120);
    assert!(bench.switches().is_empty());
}

#[test]
fn without_a_known_good_release_people_decide() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    let service = || SERVICE.into();
    let clear = Request::MarkRelease { service: service(), version: "v1".into(), mark: Mark::Clear };
    bench.ask(clear).expect("a mark");
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
fn a_rollback_that_does_not_help_persists_and_goes_no_further() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Persists));
    assert_eq!(bench.record().standing(&"v2".into()), Standing::Suspect);
    bench.pass(600);
    assert_eq!(bench.switches(), ["v2>v1"], "no second hop, no way forward");
    assert!(bench.incident(1).is_open());
}

#[test]
fn a_rollback_that_nobody_can_prove_is_unverified() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.requests = (1, 0);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Unverified));
    assert!(bench.incident(1).found(Finding::RollbackUnverified));
}

#[test]
fn a_switch_that_fails_by_half_is_undone() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone].into();
    bench.requests = (40, 20);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(
        (bench.switches(), outcome(&bench)),
        (["v2>v1", "v2>v1", "v1>v2"].map(str::to_owned).to_vec(), Some(PlanOutcome::Failed))
    );
    assert_eq!(bench.live, Some("v2"));
    assert!(bench.was_told(PageKind::RollbackFailed) && bench.incident(1).found(Finding::RollbackFailed));
}

#[test]
fn what_cannot_be_undone_is_stuck() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Failing].into();
    bench.requests = (40, 20);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Stuck));
    assert!(bench.incident(1).found(Finding::StepStuck));
}

#[test]
fn a_step_of_which_nothing_is_heard_is_looked_at_before_anything_else() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("tried twice", |bench| bench.switches().len() == 2);
    bench.requests = (40, 0);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Verified));
    let attempts: Vec<u16> = bench.operations.iter().map(|attempt| attempt.key.attempt).collect();
    assert_eq!(attempts[..3], [1, 1, 2], "no attempt is carried out twice");
}

#[test]
fn the_human_who_deploys_meanwhile_wins() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("began", |bench| !bench.operations.is_empty());
    bench.pass(12);
    bench.live = Some("v3");
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!((outcome(&bench), bench.switches().len()), (Some(PlanOutcome::Overtaken), 0));
    bench.pass(300);
    assert_eq!(bench.live, Some("v3"));
}

#[test]
fn a_plan_found_unfinished_too_late_is_left_to_people() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("switching", |bench| bench.switches().len() == 1);
    bench.restart(600);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!((outcome(&bench), bench.switches().len()), (Some(PlanOutcome::Stuck), 1));
}

#[test]
fn a_known_bad_release_that_comes_back_is_told() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    bench.live = Some("v2");
    bench.pass(5);
    assert!(bench.pages.iter().any(|page| page.finding == Some(Finding::KnownBadDeployed)), "{:?}", bench.told());
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
fn what_an_abandoned_plan_left_live_is_no_deploy_to_go_further_back_from() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench
        .ask(Request::MarkRelease { service: SERVICE.into(), version: "v3".into(), mark: Mark::Good })
        .expect("a mark");
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("switching", |bench| bench.switches().len() == 1);
    bench.restart(600);
    bench.live = Some("v1");
    bench.requests = (40, 0);
    bench.until("ended", |bench| outcome(bench).is_some());
    bench.pass(60);
    assert!(bench.record().live_by_rollback(), "{:?}", bench.record().live());
    bench.requests = (40, 20);
    bench.pass(200);
    assert_eq!(bench.switches().len(), 1, "no second hop: {:?}", bench.told());
}

#[test]
fn a_service_whose_step_panicked_may_only_page() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("began", |bench| !bench.operations.is_empty());
    bench.panic();
    bench.pass(120);
    assert!(bench.switches().is_empty() && bench.was_told(PageKind::RollbackFailed), "{:?}", bench.told());
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
fn what_merely_lies_at_the_target_never_ran_before() {
    let mut bench = Bench::new(Mode::Act, |policy| policy.gates.known_good = KnownGoodPolicy::Previous);
    bench.requests = (40, 20);
    bench.pass(120);
    assert!(bench.switches().is_empty(), "only v1 was ever seen to run: {:?}", bench.told());
}

#[test]
fn a_page_that_failed_is_tried_again_within_seconds() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.deliveries_fail = 1;
    bench.requests = (40, 20);
    bench.until("tried", |bench| bench.deliveries_fail == 0);
    let failed = bench.now.boot;
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    assert!(bench.now.boot.since(failed).as_secs() <= 3);
}

#[test]
fn a_store_that_fails_for_a_moment_wakes_nobody_and_one_that_goes_on_failing_does() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.pages.clear();
    bench.feed(Event::StoreFailing(Reason::new("database is locked")));
    bench.pass(5);
    let last = bench.journal.last().expect("a journal").0;
    bench.feed(Event::Committed(last));
    assert!(bench.pages.is_empty(), "{:?}", bench.told());
    bench.feed(Event::StoreFailing(Reason::new("disk full")));
    bench.deliveries_fail = 2;
    bench.until("told", |bench| bench.pages.iter().any(|page| page.finding == Some(Finding::StoreFailed)));
}

#[test]
fn a_store_that_is_well_again_is_told_though_nothing_waits_to_be_written() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.feed(Event::StoreFailing(Reason::new("page 2 is damaged")));
    bench.until("told", |bench| bench.pages.iter().any(|page| page.finding == Some(Finding::StoreFailed)));
    bench.pages.clear();
    let last = bench.journal.last().map(|(sequence, _)| *sequence);
    bench.feed(Event::StoreWorks);
    let told = bench.pages.iter().filter(|page| page.finding == Some(Finding::StoreFailed));
    assert_eq!(told.map(|page| page.kind).collect::<Vec<_>>(), [PageKind::SignalRestored], "{:?}", bench.told());
    assert_eq!(bench.journal.last().map(|(sequence, _)| *sequence), last, "nothing was written for it");
    bench.feed(Event::StoreWorks);
    assert_eq!(bench.pages.len(), 1, "once");
}

#[test]
fn a_target_that_cannot_be_seen_for_long_is_told() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.live = None;
    bench.until("told", |bench| bench.was_told(PageKind::SignalLost));
    assert!(bench.told().iter().any(|line| line.contains("the target: timed out")), "{:?}", bench.told());
}
