//! What people are shown and told while it is their turn: what an incident waits for, and what comes of their word.

use std::time::Duration;

use backstop::{
    core::{
        entry::PlanOutcome,
        event::{Authority, Refusal, Request, RollbackOrder},
        page::{Page, PageKind},
        policy::{Mode, ReportKind},
        release::Mark,
        view::WaitsFor,
    },
    testing::{Bench, SERVICE},
};

use super::{
    as_it_is,
    by_hand::{marked, preview, roll_back, view},
    deny, first, nothing_soaks, outcome,
};

fn waits_for(bench: &mut Bench) -> (Option<WaitsFor>, Option<String>) {
    let shown = view(bench).now;
    (shown.waits_for, shown.by_hand)
}

fn last(bench: &Bench, kind: PageKind) -> &Page {
    bench.pages.iter().rfind(|page| page.kind == kind).expect("a page")
}

#[test]
fn a_refused_incident_waits_for_people_until_it_can_be_approved() {
    let mut bench = Bench::with_v2(Mode::Act, nothing_soaks);
    assert_eq!(waits_for(&mut bench), (None, None));
    bench.requests = (40, 20);
    bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
    let command = "backstop rollback shop-0 --to VERSION --override known_good --reason TEXT";
    assert_eq!(waits_for(&mut bench), (Some(WaitsFor::Refused), Some(command.to_owned())));
    marked(&mut bench, "v1", Mark::Good);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    assert_eq!(waits_for(&mut bench), (Some(WaitsFor::Approval), None));
}

#[test]
fn a_denied_incident_waits_for_people_while_something_is_wrong() {
    let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
    bench.requests = (40, 20);
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    assert_eq!(waits_for(&mut bench), (Some(WaitsFor::Approval), None));
    bench.ask(deny()).expect("a denial");
    let (waits, by_hand) = waits_for(&mut bench);
    assert_eq!(waits, Some(WaitsFor::Denied));
    let by_hand = by_hand.expect("people may");
    assert!(by_hand.starts_with("backstop rollback shop-0"), "{by_hand}");
    bench.requests = (40, 0);
    let is_clear = (0..300).any(|_| {
        bench.pass(1);
        waits_for(&mut bench).0.is_none()
    });
    assert!(is_clear && bench.incident(1).is_open(), "it is only about to be over");
}

#[test]
fn an_incident_whose_plan_ended_without_helping_waits_for_people() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("ended", |bench| outcome(bench).is_some());
    assert_eq!(outcome(&bench), Some(PlanOutcome::Persists));
    assert_eq!(waits_for(&mut bench).0, Some(WaitsFor::Persists));
}

#[test]
fn whoever_was_asked_hears_who_denied_and_why() {
    for (requests, again) in [((40, 20), false), ((80, 3), true)] {
        let mut bench = Bench::with_v2(Mode::Ask, as_it_is);
        bench.requests = requests;
        bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
        let asked = last(&bench, PageKind::ApprovalRequested).severity;
        bench.ask(deny()).expect("a denial");
        let page = last(&bench, PageKind::RollbackRefused);
        assert_eq!(page.summary, "shop-0: somebody denied rolling back from v2 to v1");
        assert_eq!((page.severity, page.incident.clone(), page.finding), (asked, Some(first()), None));
        assert!(page.details.iter().any(|line| line == "Reason: a campaign runs"), "{:?}", page.details);
        assert_eq!(page.action.contains("unless the verdict rises to roll_back"), again, "{}", page.action);
    }
}

#[test]
fn the_end_of_a_pause_tells_that_an_approval_waits() {
    for service in [None, Some(SERVICE.into())] {
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        let pause =
            Request::Pause { service: service.clone(), for_seconds: None, reason: "a migration runs".to_owned() };
        bench.ask(pause.clone()).expect("a pause");
        let well = bench.ask(Request::Resume { service: service.clone() }).expect("resumed");
        assert_eq!(well, if service.is_some() { "shop-0 resumed" } else { "resumed" });
        bench.ask(pause).expect("a pause");
        bench.requests = (40, 20);
        bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
        let said = bench.ask(Request::Resume { service: service.clone() }).expect("resumed");
        let asked = "to roll back from v2 to v1: `backstop incident approve shop-0-1 --approval 1`, or `deny`";
        assert!(said.contains("approval 1 waits until") && said.ends_with(asked), "{said}");
        assert!(bench.was_told(PageKind::ApprovalRequested), "at once");
    }
}

#[test]
fn while_everything_is_paused_the_end_of_one_pause_begins_nothing() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    for service in [None, Some(SERVICE.into())] {
        bench.ask(Request::Pause { service, for_seconds: None, reason: "a drill".to_owned() }).expect("a pause");
    }
    let said = bench.ask(Request::Resume { service: Some(SERVICE.into()) }).expect("resumed");
    assert_eq!(said, "shop-0 resumed; every service is still paused: `backstop resume` takes that back");
}

#[test]
fn an_incident_tells_who_reported_what_led_to_it() {
    let mut bench = Bench::with_v2(Mode::Act, |policy| policy.reports_expire = Duration::from_secs(120));
    let report = |bench: &mut Bench, detail: &str| {
        let (service, kind, authority) = (SERVICE.into(), ReportKind::Complaint, Authority::Operator);
        let detail = Some(detail.to_owned());
        bench.ask(Request::Report { service, kind, detail, authority }).expect("a report");
    };
    report(&mut bench, "long ago");
    bench.pass(150);
    assert!(!bench.was_told(PageKind::IncidentOpened), "{:?}", bench.told());
    report(&mut bench, "the basket is empty");
    bench.pass(3);
    report(&mut bench, "no payment");
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    report(&mut bench, "me too");
    let timeline = bench.state.incident(&first()).expect("it is open").timeline;
    let lines: Vec<&str> = timeline.iter().map(|line| line.text.as_str()).collect();
    let begins = ["somebody reported complaint: the basket is empty", "somebody reported complaint: no payment"];
    assert_eq!(lines[..2], begins, "{lines:?}");
    assert!(lines[2].starts_with("opened with verdict consider"), "{lines:?}");
    assert!(lines.contains(&"somebody reported complaint: me too"), "{lines:?}");
    assert_eq!(timeline[1].at.since(timeline[0].at), Duration::from_secs(3), "when each came");
}

#[test]
fn a_dry_run_beside_a_plan_shows_that_it_runs() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ready = Some(false);
    bench.until("switched", |bench| !bench.switches().is_empty());
    let shown = preview(&mut bench, RollbackOrder::default());
    assert!(!shown.possible && shown.all_the_same.is_none() && !shown.gates.is_empty());
    let plan = shown.plan_under_way.expect("it runs");
    assert_eq!((plan.incident, plan.version_from.as_str(), plan.version_to.as_str()), (first(), "v2", "v1"));
    match bench.ask(roll_back(RollbackOrder::default())) {
        Err(Refusal::Conflict(why)) => assert!(why.contains("is under way already"), "{why}"),
        other => panic!("one plan at a time: {other:?}"),
    }
}

#[test]
fn verification_under_way_shows_how_far_it_has_got() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.requests = (40, 20);
    bench.until("switched", |bench| !bench.switches().is_empty());
    let progress = |bench: &Bench| {
        let incident = bench.state.durable().incidents.get(first().as_str());
        incident
            .and_then(|incident| incident.active_plan())
            .and_then(|plan| plan.current_step())
            .is_some_and(|(_, step)| step.planned.title == "verify")
    };
    bench.until("verifying", progress);
    let shown = |bench: &mut Bench| view(bench).now.plan_under_way.and_then(|plan| plan.verification);
    bench.pass(1);
    let ill = shown(&mut bench).expect("it verifies");
    assert!(ill.healthy_seconds.abs() < 1e-9, "{ill:?}");
    assert!(ill.obstacle.is_some_and(|why| !why.is_empty()) && ill.left_seconds > 0.0);
    bench.requests = (40, 0);
    let mut seen = Vec::new();
    while outcome(&bench).is_none() && seen.len() < 120 {
        bench.pass(1);
        seen.extend(shown(&mut bench).filter(|progress| progress.obstacle.is_none()));
    }
    assert_eq!(outcome(&bench), Some(PlanOutcome::Verified));
    assert!(seen.len() >= 4, "6 s of health, looked at each second: {seen:?}");
    for pair in seen.windows(2) {
        assert!(pair[0].healthy_seconds < pair[1].healthy_seconds && pair[0].left_seconds > pair[1].left_seconds);
    }
    assert!(seen.iter().all(|one| one.healthy_seconds < 6.0 && (one.healthy_for_seconds - 6.0).abs() < 1e-9));
}
