//! How a rollback ends, whatever comes between.

use backstop::{
    core::{
        entry::PlanOutcome,
        event::Request,
        page::PageKind,
        policy::{Finding, Mode},
        release::{Mark, Standing, Workload},
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, outcome};

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
    // Why it failed, not how it was undone.
    let page = bench.pages.iter().find(|page| page.kind == PageKind::RollbackFailed).expect("told");
    assert!(page.summary.ends_with("failed: roll back the target: exit status 1"), "{}", page.summary);
    assert!(page.details.iter().any(|line| line == "It was undone: v2 is live, as before."), "{page:?}");
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
fn a_step_that_finds_somebody_elses_change_ends_the_plan_and_is_not_tried_again() {
    // Also while it is undone: what somebody else made live stays.
    for (ends, switches) in
        [(vec![Ends::Well, Ends::Overtaken], 1), (vec![Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Overtaken], 3)]
    {
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        bench.ends = ends.into();
        bench.requests = (40, 20);
        bench.until("ended", |bench| outcome(bench).is_some());
        assert_eq!((outcome(&bench), bench.switches().len()), (Some(PlanOutcome::Overtaken), switches));
        let page = bench.pages.iter().find(|page| page.kind == PageKind::RollbackFailed).expect("told");
        assert!(page.summary.ends_with("stopped: failed to switch: v3 is live by now"), "{}", page.summary);
        assert!(!page.details.iter().any(|line| line.contains("under way")), "{:?}", page.details);
        bench.pass(60);
        assert_eq!(bench.switches().len(), switches);
    }
}

#[test]
fn a_target_that_is_gone_or_another_one_ends_the_plan() {
    let another = |bench: &mut Bench| {
        bench.workload = Some(Workload { object: Some("another".to_owned()), ..Workload::default() });
    };
    let gone = |bench: &mut Bench| bench.gone = Some("find it: there is none");
    for (happens, why) in [
        (&another as &dyn Fn(&mut Bench), "the target was deleted, and another of the same name is there"),
        (&gone, "the target is gone: failed to find it: there is none"),
    ] {
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        bench.workload = Some(Workload { object: Some("one".to_owned()), ..Workload::default() });
        bench.ends = [Ends::Well, Ends::Silent].into();
        bench.requests = (40, 20);
        bench.until("switching", |bench| bench.switches().len() == 1);
        assert_eq!(bench.operations[1].object.as_deref(), Some("one"));
        happens(&mut bench);
        // It is known after a restart, too.
        bench.restart(1);
        bench.until("ended", |bench| outcome(bench).is_some());
        assert_eq!((outcome(&bench), bench.switches().len()), (Some(PlanOutcome::Overtaken), 1));
        let page = bench.pages.iter().find(|page| page.kind == PageKind::RollbackFailed).expect("told");
        assert!(page.summary.ends_with(&format!("stopped: {why}")), "{}", page.summary);
    }
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
