//! What a person sees who rolls back a release that is well, announces restarts, verifies, and ends plans.

use backstop::{
    core::{
        durable::PlanRecord,
        entry::PlanOutcome,
        event::{Request, RollbackOrder},
        page::{Page, PageKind},
        policy::{Finding, Mode, Severity},
        release::Standing,
        saga::StepStatus,
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, first, outcome};

/// `v2` is live, well, and known to be good.
fn well() -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.pass(60);
    bench.until("good", |bench| bench.record().standing(&"v2".into()) == Standing::KnownGood);
    bench.pages.clear();
    bench
}

fn roll_back(bench: &mut Bench) {
    let order = RollbackOrder::default();
    bench.ask(Request::RollBack { service: SERVICE.into(), order }).expect("it begins");
}

fn no_alarm(bench: &Bench) {
    let alarms = |kind| bench.pages.iter().any(|page| page.kind == kind);
    assert!(!alarms(PageKind::IncidentEscalated) && !alarms(PageKind::SignalLost), "{:?}", bench.told());
    assert!(bench.pages.iter().all(|page| page.severity == Severity::S3), "{:?}", bench.told());
}

#[test]
fn a_rollback_by_hand_whose_own_restart_fails_a_probe_accuses_nobody() {
    let mut bench = well();
    bench.ends = [Ends::Well, Ends::Lost].into();
    bench.until("settled", |bench| bench.state.durable().incidents.is_empty());
    roll_back(&mut bench);
    let switch = bench.incident(1).active_plan().map(PlanRecord::switch_status);
    assert_eq!(switch, Some(StepStatus::Started));
    bench.ready = Some(false);
    bench.pass(5);
    bench.ready = Some(true);
    bench.until("over", |bench| outcome(bench).is_some());
    assert_eq!((outcome(&bench), bench.live), (Some(PlanOutcome::Verified), Some("v1")));
    no_alarm(&bench);
    assert_eq!(bench.record().standing(&"v2".into()), Standing::KnownGood, "nothing was measured against it");
    assert_eq!(bench.operations.last().map(|attempt| attempt.operation.as_str()), Some("record"));
    // And deploying it again alarms nobody.
    bench.pass(30);
    bench.live = Some("v2");
    bench.pass(60);
    no_alarm(&bench);
}

#[test]
fn a_probe_that_fails_while_such_a_rollback_is_undone_accuses_nobody_either() {
    let mut bench = well();
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone].into();
    roll_back(&mut bench);
    bench.ready = Some(false);
    bench.until("undone", |bench| outcome(bench).is_some());
    bench.pass(3);
    bench.ready = Some(true);
    bench.pass(120);
    assert_eq!((outcome(&bench), bench.live), (Some(PlanOutcome::Failed), Some("v2")));
    assert!(!bench.was_told(PageKind::IncidentEscalated), "{:?}", bench.told());
    assert_eq!(bench.record().standing(&"v2".into()), Standing::KnownGood);
}

#[test]
fn a_release_that_fails_after_it_was_gone_back_to_accuses_not_the_one_before() {
    let mut bench = well();
    roll_back(&mut bench);
    bench.until("verifies", |bench| {
        let plan = bench.incident(1).active_plan();
        plan.and_then(|plan| plan.current_step()).is_some_and(|(_, step)| step.planned.title == "verify")
    });
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentEscalated));
    bench.ready = Some(true);
    bench.until("over", |bench| outcome(bench).is_some());
    assert_eq!(bench.record().standing(&"v2".into()), Standing::KnownGood);
    let verify = Request::Verify { service: SERVICE.into() };
    bench.ask(verify).expect("a verification");
    bench.pass(120);
    assert_eq!(bench.record().standing(&"v2".into()), Standing::KnownGood);
}

fn report(bench: &mut Bench, version: &str) -> String {
    bench.ask(Request::ReportDeploy { service: SERVICE.into(), version: version.into() }).expect("a report")
}

fn away(bench: &mut Bench, seconds: u64) {
    (bench.ready, bench.requests_missed) = (Some(false), true);
    bench.pass(seconds);
    (bench.ready, bench.requests_missed) = (Some(true), false);
}

#[test]
fn what_is_asked_of_a_service_that_is_restarted_on_purpose_is_not_lost() {
    let mut bench = well();
    report(&mut bench, "v2");
    away(&mut bench, 9);
    bench.pass(60);
    no_alarm(&bench);
    // Nor in a deploy, nor in a switch of a plan's own, nor where Backstop is killed in it.
    bench.live = Some("v3");
    away(&mut bench, 9);
    bench.pass(60);
    bench.ends = [Ends::Well, Ends::Lost].into();
    roll_back(&mut bench);
    (bench.ready, bench.requests_missed) = (Some(false), true);
    bench.pass(4);
    bench.restart(1);
    away(&mut bench, 6);
    bench.until("over", |bench| outcome(bench).is_some());
    bench.pass(60);
    let lost: Vec<_> = bench.pages.iter().filter(|page| page.kind == PageKind::SignalLost).collect();
    assert!(lost.is_empty(), "{:?}", bench.told());
    // What stays away is lost as ever.
    bench.requests_missed = true;
    let live = bench.live.expect("it is seen");
    report(&mut bench, live);
    bench.pass(60);
    assert!(bench.was_told(PageKind::SignalLost), "{:?}", bench.told());
}

#[test]
fn what_fails_in_an_incident_opened_by_hand_is_told_with_since_when() {
    let mut bench = well();
    roll_back(&mut bench);
    bench.until("verifies", |bench| {
        let plan = bench.incident(1).active_plan();
        plan.and_then(|plan| plan.current_step()).is_some_and(|(_, step)| step.planned.title == "verify")
    });
    bench.pass(2);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentEscalated));
    let page = bench.pages.iter().rfind(|page| page.kind == PageKind::IncidentEscalated).expect("it was told");
    assert!(page.details[0].starts_with("Since 20"), "{:?}", page.details);
}

#[test]
fn an_abort_during_the_switch_says_what_will_be_live_and_nobody_is_told_that_it_goes_on() {
    let mut bench = well();
    bench.ends = [Ends::Well, Ends::Lost].into();
    roll_back(&mut bench);
    let said = bench.ask(Request::Abort { incident: first(), reason: None }).expect("it ends");
    assert!(
        said.contains("if the switch succeeds, v1 is live and stays; if it fails, it is undone, and v2 stays"),
        "{said}"
    );
    bench.ready = Some(false);
    bench.pass(4);
    bench.ready = Some(true);
    bench.until("over", |bench| outcome(bench).is_some());
    no_alarm_but_the_end(&bench);
    assert_eq!(outcome(&bench), Some(PlanOutcome::Aborted));
}

fn no_alarm_but_the_end(bench: &Bench) {
    assert!(!bench.was_told(PageKind::IncidentEscalated), "{:?}", bench.told());
    assert!(bench.pages.iter().all(|page| !page.action.contains("goes on; what becomes")), "{:?}", bench.pages);
}

#[test]
fn each_restart_of_what_is_live_may_be_announced_once_it_answered_after_the_one_before() {
    let mut bench = well();
    let said = report(&mut bench, "v2");
    let first = "shop-0: v2 is live, and a restart of it is expected; until its first healthy answer nothing is opened, for 12s at most";
    assert_eq!(said, first);
    bench.pass(2);
    let said = report(&mut bench, "v2");
    assert!(
        said.ends_with(
            "announced 2s ago already, and holds incidents back until its first healthy answer, for 10s more at most"
        ),
        "{said}"
    );
    away(&mut bench, 5);
    bench.pass(20);
    assert_eq!(report(&mut bench, "v2"), first);
    away(&mut bench, 5);
    bench.pass(20);
    no_alarm(&bench);
    // One that never comes back holds nothing back a second time.
    report(&mut bench, "v2");
    bench.ready = Some(false);
    bench.pass(12);
    let said = report(&mut bench, "v2");
    assert!(!said.contains("nothing is opened"), "{said}");
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
}

fn last(bench: &Bench, kind: PageKind) -> &Page {
    bench.pages.iter().rfind(|page| page.kind == kind).expect("such a page")
}

#[test]
fn a_stuck_rollback_says_what_was_seen_and_what_to_do() {
    let mut bench = well();
    bench.answer_version("v2");
    bench.ends = [Ends::Well, Ends::Failing, Ends::Failing, Ends::Failing].into();
    roll_back(&mut bench);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Stuck));
    let page = last(&bench, PageKind::RollbackFailed);
    let seen =
        "It could not be undone either: When last seen, the target had v2 live, and the service said that it is v2.";
    assert!(page.details.iter().any(|line| line == seen), "{:?}", page.details);
    for part in [
        "`backstop incident show shop-0-1`",
        "`backstop rollback shop-0 --override",
        "`backstop deploys mark shop-0 v2 good`",
    ] {
        assert!(page.action.contains(part), "{}", page.action);
    }
}

#[test]
fn a_deploy_during_the_verification_leaves_no_step_under_way() {
    let mut bench = well();
    roll_back(&mut bench);
    bench.until("verifies", |bench| {
        let plan = bench.incident(1).active_plan();
        plan.and_then(|plan| plan.current_step()).is_some_and(|(_, step)| step.planned.title == "verify")
    });
    bench.live = Some("v3");
    bench.until("overtaken", |bench| outcome(bench).is_some());
    let page = last(&bench, PageKind::RollbackFailed);
    assert!(!page.details.iter().any(|line| line.contains("under way")), "{:?}", page.details);
    let shown = bench.state.incident(&first()).expect("it is kept");
    let record = shown.plans[0].steps.last().expect("steps");
    assert_eq!((record.status, record.note.as_str()), (StepStatus::Skipped, "the plan's end put it into the history"));
    assert_eq!(bench.history.len(), 1);
}

#[test]
fn what_an_outage_explained_is_not_taken_back_when_the_incident_is_over() {
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    (bench.ready, bench.requests_missed) = (Some(false), true);
    bench.pass(120);
    (bench.ready, bench.requests_missed) = (Some(true), false);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    let page = last(&bench, PageKind::IncidentResolved);
    assert!(bench.incident(1).found(Finding::SignalLost));
    assert!(!page.details.iter().any(|line| line.contains("signal_lost")), "{:?}", page.details);
}

#[test]
fn a_verification_of_what_nobody_rolled_back_to_tells_of_no_rollback() {
    let mut bench = well();
    bench.ask(Request::Verify { service: SERVICE.into() }).expect("a verification");
    bench.until("proved", |bench| bench.record().verification.as_ref().is_some_and(|one| one.ended.is_some()));
    assert!(bench.pages.is_empty(), "{:?}", bench.told());
}

#[test]
fn how_a_rollback_ended_is_in_its_page_and_nothing_follows_that() {
    let mut bench = well();
    bench.ends = [Ends::Well, Ends::Failing].into();
    roll_back(&mut bench);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    assert_eq!(last(&bench, PageKind::RollbackCompleted).outcome, Some(PlanOutcome::Verified));
    let told = bench.told();
    let after: Vec<_> = told.iter().skip_while(|line| !line.contains("rollback.completed")).skip(1).collect();
    assert!(after.iter().all(|line| !line.contains("rollback.step")), "{told:?}");
    assert!(
        told.iter().any(|line| line.contains("step 2 of 6, attempt 2 of 2: roll back the target: done")),
        "{told:?}"
    );
    assert!(bench.pages.iter().any(|page| page.action == "It is tried again. Updates will follow."), "{told:?}");
    // One that did not help is no success.
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("told", |bench| bench.was_told(PageKind::RollbackCompleted));
    let page = last(&bench, PageKind::RollbackCompleted);
    assert_eq!(page.outcome, Some(PlanOutcome::Persists));
    assert!(page.summary.contains("and the issue persists"), "{}", page.summary);
}
