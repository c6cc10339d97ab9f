//! What a person sees who rolls back a release that is well, announces restarts, verifies, and ends plans.

use backstop::{
    core::{
        entry::PlanOutcome,
        event::{Request, RollbackOrder},
        page::PageKind,
        policy::{Mode, Severity},
        release::Standing,
        saga::StepStatus,
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, outcome};

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
    assert_eq!(bench.incident(1).active_plan().map(|plan| plan.switch_status()), Some(StepStatus::Started));
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
