//! Operating by hand: what people are shown while something is under way, and in what words they are refused.

use backstop::{
    core::{
        answer::Answer,
        entry::PlanOutcome,
        event::{Event, Refusal, Request, RollbackOrder},
        gate::Gate,
        name::ServiceIndex,
        operation::Look,
        page::PageKind,
        policy::{KnownGoodPolicy, Mode},
        release::{Mark, Observation, Release},
        saga::StepStatus,
        verdict::PlanKind,
        view::{RollbackPreview, ServiceView},
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, first, nothing_soaks, outcome};

pub(super) fn view(bench: &mut Bench) -> ServiceView {
    bench.state.service_view(bench.now, ServiceIndex(0))
}

pub(super) fn roll_back(order: RollbackOrder) -> Request {
    Request::RollBack { service: SERVICE.into(), order }
}

pub(super) fn preview(bench: &mut Bench, order: RollbackOrder) -> RollbackPreview {
    let order = RollbackOrder { dry_run: true, ..order };
    let told = bench.ask(roll_back(order)).expect("a preview");
    serde_json::from_str(&told).expect("a preview")
}

fn refused(bench: &mut Bench, order: RollbackOrder) -> String {
    match bench.ask(roll_back(order)) {
        Err(Refusal::Gate(why)) => why,
        other => panic!("a gate was to refuse it: {other:?}"),
    }
}

fn said(view: &ServiceView, gate: Gate) -> (Answer, String) {
    let report = view.gates.iter().find(|report| report.gate == gate).expect("every gate is asked");
    (report.answer, report.why.clone())
}

pub(super) fn marked(bench: &mut Bench, version: &str, mark: Mark) {
    bench.ask(Request::MarkRelease { service: SERVICE.into(), version: version.into(), mark }).expect("a mark");
}

/// `v2` was rolled back from to `v1`, and that helped.
fn rolled_back() -> Bench {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    bench.ready = Some(true);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    bench
}

/// A rollback from `v2` failed by half and was undone; the errors go on.
fn undone(mode: Mode) -> Bench {
    let mut bench = Bench::with_v2(mode, as_it_is);
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone].into();
    bench.requests = (40, 20);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!((outcome(&bench), bench.live), (Some(PlanOutcome::Failed), Some("v2")));
    bench
}

#[test]
fn the_plan_under_way_is_shown_with_its_step_and_since_when() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    assert_eq!(view(&mut bench).now.plan_under_way, None);
    bench.ready = Some(false);
    bench.until("it waits for health", |bench| {
        let incident = bench.state.durable().incidents.get(first().as_str());
        let plan = incident.and_then(|incident| incident.active_plan());
        plan.and_then(|plan| plan.current_step()).is_some_and(|(_, step)| step.planned.title == "check health")
    });
    bench.pass(3);
    let shown = view(&mut bench).now.plan_under_way.expect("it is under way");
    assert_eq!((shown.version_from.as_str(), shown.version_to.as_str(), shown.plan), ("v2", "v1", PlanKind::Quick));
    assert_eq!((shown.step, shown.steps, shown.title.as_str()), (4, 6, "check health"));
    assert_eq!((shown.status, shown.incident, shown.number), (StepStatus::Started, first(), 1));
    assert!((3.0..4.5).contains(&shown.seconds), "{}", shown.seconds);
    let state = bench.state.incident(&first()).expect("it is open").state;
    assert_eq!(state, "rolling back from v2 to v1: step 4 of 6, check health");
    // A clock that is set forward makes nothing older.
    bench.step_wall_clock(3600);
    assert!(view(&mut bench).now.plan_under_way.expect("it is under way").seconds < 4.5);
    bench.ready = Some(true);
    bench.until("over", |bench| outcome(bench).is_some());
    assert_eq!(view(&mut bench).now.plan_under_way, None);
}

#[test]
fn what_waits_for_a_human_is_shown_with_the_service_until_it_is_decided() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    let shown = view(&mut bench).now.approval.expect("it waits");
    assert_eq!((shown.approval, shown.version_from.as_str(), shown.version_to.as_str()), (1, "v2", "v1"));
    assert_eq!((shown.plan, shown.state), (PlanKind::Quick, "open"));
    assert_eq!(shown.expires.since(shown.requested_at).as_secs(), 1800);
    bench.ask(Request::Deny { incident: first(), approval: None, reason: None }).expect("denied");
    assert_eq!(view(&mut bench).now.approval, None);
}

#[test]
fn what_failed_and_was_undone_may_be_tried_again_by_a_person_and_by_nobody_else() {
    let mut bench = undone(Mode::Act);
    let (answer, _) = said(&view(&mut bench), Gate::OneRollbackForADeploy);
    assert_eq!(answer, Answer::No, "Backstop itself does not try again");
    bench.pass(600);
    assert_eq!(bench.incident(1).plans.len(), 1);
    let shown = preview(&mut bench, RollbackOrder::default());
    let gate = shown.gates.iter().find(|gate| gate.gate == Gate::OneRollbackForADeploy).expect("every gate");
    assert!(shown.possible && !gate.binds && gate.answer == Answer::No, "{gate:?}");
    assert_eq!(
        gate.why,
        "this deploy was rolled back from already, and what that changed was undone: a person may try again"
    );
    bench.ask(roll_back(RollbackOrder::default())).expect("it begins");
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    assert_eq!((outcome(&bench), bench.live), (Some(PlanOutcome::Verified), Some("v1")));
    assert_eq!(bench.incident(1).plans[1].by_hand.as_ref().map(|order| order.overridden.len()), Some(0));
    // From there on it is a second hop again.
    marked(&mut bench, "v3", Mark::Good);
    assert!(refused(&mut bench, RollbackOrder::default()).contains("no second hop"));
}

#[test]
fn what_could_not_be_undone_holds_a_person_and_the_command_is_named() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Failing].into();
    bench.requests = (40, 20);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Stuck));
    // Somebody looked, and put the link back by hand.
    bench.live = Some("v2");
    bench.pass(5);
    let why = refused(&mut bench, RollbackOrder::default());
    assert_eq!(
        why,
        "gate one_rollback_for_a_deploy says no: a rollback from this deploy was begun already, and got stuck; to go ahead \
         all the same: `backstop rollback shop-0 --override one_rollback_for_a_deploy --reason TEXT`"
    );
    let order = RollbackOrder {
        overrides: vec![Gate::OneRollbackForADeploy],
        reason: Some("looked at".to_owned()),
        ..RollbackOrder::default()
    };
    bench.ask(roll_back(order)).expect("it begins");
}

#[test]
fn every_gate_that_holds_is_named_in_one_command_with_what_was_said_already() {
    let mut bench = rolled_back();
    let pin = Request::Pin { service: SERVICE.into(), version: "v1".into(), reason: Some("one way".to_owned()) };
    bench.ask(pin).expect("pinned");
    let order = RollbackOrder {
        to: Some("v2".into()),
        overrides: vec![Gate::NotPinned],
        reason: Some("it's over".to_owned()),
        ..RollbackOrder::default()
    };
    let why = refused(&mut bench, order.clone());
    for part in [
        "gate known_good says no: v2 is known bad: rolled back from, and that helped",
        "gate not_known_bad says no: v2 is known bad: rolled back from, and that helped",
        "gate one_rollback_for_a_deploy says no: a rollback made v1 live, and no second hop follows by itself",
        "to go ahead all the same: `backstop rollback shop-0 --to v2 --override known_good --override not_known_bad \
         --override one_rollback_for_a_deploy --override not_pinned --reason 'it'\\''s over'`",
    ] {
        assert!(why.contains(part), "{part} in {why}");
    }
    // And that command is let through.
    let overrides = vec![Gate::KnownGood, Gate::NotKnownBad, Gate::OneRollbackForADeploy, Gate::NotPinned];
    bench.ask(roll_back(RollbackOrder { overrides, ..order })).expect("it begins");
    bench.until("switched", |bench| bench.switches().last().is_some_and(|last| last == "v1>v2"));
}

#[test]
fn where_a_gate_cannot_be_overridden_no_command_is_named() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.live = None;
    bench.pass(5);
    let why = refused(&mut bench, RollbackOrder::default());
    assert!(why.contains("accused says unknown: the target could not be looked at: timed out (it cannot be"), "{why}");
    assert!(!why.contains("--override"), "{why}");
}

#[test]
fn an_approval_that_a_gate_refuses_names_the_command_too() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    let pause =
        Request::Pause { service: Some(SERVICE.into()), for_seconds: None, reason: "a migration runs".to_owned() };
    bench.ask(pause).expect("paused");
    let why = match bench.ask(Request::Approve { incident: first(), approval: None }) {
        Err(Refusal::Gate(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        why,
        "gate not_paused says no: paused by somebody: a migration runs; to take the pause back first: \
         `backstop resume shop-0`; to go ahead all the same: `backstop rollback shop-0 --override not_paused --reason TEXT`"
    );
}

#[test]
fn a_dry_run_while_a_plan_switches_tells_what_that_plan_does() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::Lost].into();
    bench.requests = (40, 20);
    bench.until("switching", |bench| bench.switches().len() == 1);
    bench.pass(1);
    assert_eq!(bench.live, Some("v1"), "the target is switched already, and nothing was heard of it");
    for to in [None, Some("v1".into())] {
        let shown = preview(&mut bench, RollbackOrder { to, ..RollbackOrder::default() });
        assert_eq!((shown.version_from.as_str(), shown.version_to), ("v2", Some("v1".into())));
        assert!(!shown.possible && shown.plan_under_way.is_some() && !shown.steps.is_empty());
    }
}

#[test]
fn a_dry_run_with_nothing_to_go_back_to_asks_every_gate() {
    let mut bench = Bench::with_v2(Mode::Act, nothing_soaks);
    let shown = preview(&mut bench, RollbackOrder::default());
    let asked = Gate::ALL.iter().filter(|gate| !gate.is_of_platforms()).count();
    assert_eq!((shown.gates.len(), shown.version_to, shown.possible), (asked, None, false));
    assert_eq!((shown.steps.len(), shown.available.len()), (0, 2));
    let command = "backstop rollback shop-0 --to VERSION --override known_good --reason TEXT";
    assert_eq!(shown.all_the_same.as_deref(), Some(command));
    let why = refused(&mut bench, RollbackOrder::default());
    assert!(
        why.contains("there is nothing to go back to; the target has v3, v1; to go ahead all the same: `"),
        "{why}"
    );
    // Setting the gate aside leads nowhere by itself.
    let order = RollbackOrder {
        overrides: vec![Gate::KnownGood],
        reason: Some("v1 is fine".to_owned()),
        ..RollbackOrder::default()
    };
    let why = refused(&mut bench, order.clone());
    assert!(why.starts_with("there is nothing to go back to") && why.contains("--to VERSION"), "{why}");
    bench.ask(roll_back(RollbackOrder { to: Some("v1".into()), ..order })).expect("it begins");
}

#[test]
fn the_gates_say_what_is_so() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    marked(&mut bench, "v1", Mark::Good);
    let (answer, why) = said(&view(&mut bench), Gate::KnownGood);
    assert_eq!(answer, Answer::No);
    assert!(why.starts_with("no other release at the target than v1, which is live, is known to be good: "), "{why}");
    let (_, why) = said(&view(&mut bench), Gate::FaultAfterDeploy);
    assert_eq!(why, "no incident is open; a fault that begins from now on comes after the deploy");
    // A rollout that fails is a fault already.
    bench.live = Some("v2");
    bench.ready = Some(false);
    bench.pass(5);
    let (answer, why) = said(&view(&mut bench), Gate::FaultAfterDeploy);
    assert_eq!(
        (answer, why.as_str()),
        (Answer::Yes, "no incident is open; what fails in the rollout comes after the deploy")
    );
    // By hand, too, the gate speaks of the incident that is open.
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    let shown = preview(&mut bench, RollbackOrder::default());
    let gate = shown.gates.iter().find(|gate| gate.gate == Gate::FaultAfterDeploy).expect("every gate");
    assert!(gate.why.starts_with("it began ") && !gate.binds, "{gate:?}");
}

#[test]
fn where_the_previous_release_is_trusted_the_gate_does_not_ask_for_soaking() {
    let mut bench = Bench::new(Mode::Act, |policy| policy.gates.known_good = KnownGoodPolicy::Previous);
    let (answer, why) = said(&view(&mut bench), Gate::KnownGood);
    assert_eq!((answer, why.as_str()), (Answer::No, "no release that ran here before is at the target"));
    assert_eq!(bench.switches(), Vec::<String>::new());
}

#[test]
fn a_verification_after_an_own_rollback_is_no_second_rollback() {
    let mut bench = rolled_back();
    let verify = || Request::Verify { service: SERVICE.into() };
    let reply = bench.ask(verify()).expect("a verification");
    assert!(reply.contains("the rollback to it is on record already"), "{reply}");
    bench.until("proved", |bench| bench.record().verification.as_ref().is_some_and(|one| one.ended.is_some()));
    assert!(bench.history.is_empty(), "{:?}", bench.history);
    bench.restart(1);
    bench.pass(5);
    assert!(bench.history.is_empty(), "nor at a start: {:?}", bench.history);
    // One that somebody made at the target is a rollback of its own.
    bench.live = Some("v3");
    bench.pass(30);
    bench.live = Some("v1");
    bench.pass(30);
    bench.ask(verify()).expect("a verification");
    bench.until("on record", |bench| !bench.history.is_empty());
    let record = &bench.history[0];
    assert_eq!((record.version_from.as_str(), record.version_to.as_str()), ("v3", "v1"));
}

#[test]
fn a_verification_under_way_serves_whoever_asks() {
    let mut bench = rolled_back();
    let verify = || Request::Verify { service: SERVICE.into() };
    bench.ask(verify()).expect("a verification");
    bench.pass(2);
    let reply = bench.ask(verify()).expect("the same one");
    assert_eq!(reply, "shop-0: somebody asked 2s ago to verify v1 already; that goes on, within 1m");
    assert_eq!(bench.record().verification.as_ref().map(|one| one.number), Some(1));
    bench.until("proved", |bench| bench.record().verification.as_ref().is_some_and(|one| one.ended.is_some()));
    assert!(!view(&mut bench).verification.expect("the last one").overtaken);
    bench.live = Some("v3");
    bench.pass(5);
    assert!(view(&mut bench).verification.expect("the last one").overtaken, "v3 was not verified");
    bench.live = Some("v1");
    bench.pass(5);
    assert!(view(&mut bench).verification.expect("the last one").overtaken, "nor was this deploy of v1");
}

#[test]
fn a_plan_under_way_is_what_verifies() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    let refusal = bench.ask(Request::Verify { service: SERVICE.into() }).expect_err("a plan is under way");
    let Refusal::Conflict(why) = refusal else { panic!("{refusal:?}") };
    assert!(why.contains("plan 1 of shop-0-1") && why.contains("`backstop verify shop-0 --wait` waits for"), "{why}");
}

#[test]
fn why_a_target_is_not_seen_is_shown() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    assert_eq!(view(&mut bench).now.target_unseen, None);
    bench.live = None;
    bench.pass(2);
    assert_eq!(view(&mut bench).now.target_unseen.as_deref(), Some("timed out"));
    bench.live = Some("v1");
    bench.pass(2);
    assert_eq!(view(&mut bench).now.target_unseen, None);
    let why = "read the link /srv/current: it is not there";
    let observation = Ok(Observation {
        current: None,
        untold: Some(why.to_owned()),
        available: vec![Release::of("v1")],
        rolling_out: false,
        failing: None,
        ..Observation::default()
    });
    let look = Look { observation, receipt: None, began: bench.now.boot };
    bench.feed(Event::Looked { service: ServiceIndex(0), key: None, look });
    let shown = view(&mut bench);
    assert_eq!(shown.now.target_unseen.as_deref(), Some(why));
    let (answer, said) = said(&shown, Gate::Accused);
    assert_eq!((answer, said), (Answer::Unknown, format!("the target cannot tell what is live: failed to {why}")));
}

#[test]
fn an_announced_deploy_is_told_what_it_holds_back() {
    let report = || Request::ReportDeploy { service: SERVICE.into(), version: "v2".into() };
    let mut bench = Bench::new(Mode::Act, as_it_is);
    let reply = bench.ask(report()).expect("a report");
    assert!(
        reply.ends_with("v2 is expected; until its first healthy answer nothing is opened, for 12s at most"),
        "{reply}"
    );
    bench.pass(60);
    let reply = bench.ask(report()).expect("a report");
    assert_eq!(
        reply,
        "shop-0: v2 is expected; a deploy was announced 1m ago already, and within 10m only the first holds incidents \
         back: until v2 is seen live, failures open one as ever"
    );
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.requests = (40, 20);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    let reply = bench.ask(report()).expect("a report");
    assert_eq!(
        reply,
        "shop-0: v2 is live, and a restart of it is expected; incident shop-0-1 is open and goes on as before"
    );
}
