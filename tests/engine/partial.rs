//! Partial failures, where what fails is restarted before anything is rolled back.

use backstop::{
    core::{
        answer::Answer,
        entry::{Decision, Fact, PlanOutcome},
        event::{Refusal, Request, RollbackOrder},
        gate::Gate,
        name::ServiceIndex,
        operation::Operation,
        page::{Page, PageKind},
        policy::{Finding, Mode, ServicePolicy},
        release::{Instance, Instances, LiveInstances, Standing, Workload},
        verdict::PlanKind,
        view::RollbackPreview,
    },
    testing::{Bench, Ends, SERVICE},
};

pub(super) fn on_platform(policy: &mut ServicePolicy) {
    policy.on_platform = true;
}

fn instance(number: u32) -> Instance {
    Instance { name: format!("shop-{number}"), id: format!("uid-{number}"), why: "CrashLoopBackOff".to_owned() }
}

/// Four instances, of which these fail; one may be restarted at a time.
pub(super) fn failing(numbers: &[u32]) -> Workload {
    let failing = u32::try_from(numbers.len()).expect("a few");
    let to_restart = numbers.iter().take(1).map(|number| instance(*number)).collect();
    // Thirty percent of four are one.
    let exceeds_restart = failing > 1;
    let live = LiveInstances { all: 4, ready: 4 - failing, failing, exceeds_restart, to_restart };
    let instances = Instances { wanted: 4, ready: 4 - failing, failing, why: None, live: Some(live) };
    Workload { instances, ..Workload::default() }
}

pub(super) fn plans(bench: &Bench) -> Vec<(PlanKind, Option<PlanOutcome>)> {
    let incident = bench.incident(1);
    incident.plans.iter().map(|plan| (plan.plan, plan.ended.map(|(_, outcome)| outcome))).collect()
}

pub(super) fn is_open(bench: &Bench) -> bool {
    bench.record().open_incident.is_some()
}

fn restarts(bench: &Bench) -> Vec<Vec<Instance>> {
    let restart = |operation: &Operation| match operation {
        Operation::RestartFailing { instances, .. } => Some(instances.clone()),
        _ => None,
    };
    bench.operations.iter().filter_map(|attempt| restart(&attempt.operation)).collect()
}

pub(super) fn page<'a>(bench: &'a Bench, about: &str) -> &'a Page {
    let found = bench.pages.iter().find(|page| page.summary.contains(about));
    found.unwrap_or_else(|| panic!("no page says {about:?}: {:#?}", bench.told()))
}

pub(super) fn order(plan: PlanKind) -> RollbackOrder {
    RollbackOrder { plan: Some(plan), ..RollbackOrder::default() }
}

pub(super) fn ask(bench: &mut Bench, order: RollbackOrder) -> Result<String, Refusal> {
    bench.ask(Request::RollBack { service: SERVICE.into(), order })
}

/// The live release is older than any deploy that was seen: nothing could be rolled back.
#[test]
fn what_fails_of_an_old_release_is_restarted_and_its_standing_stays() {
    let mut bench = Bench::new(Mode::Act, on_platform);
    let standing = bench.record().standing(&"v1".into());
    bench.workload = Some(failing(&[2]));
    bench.until("restarted", |bench| !restarts(bench).is_empty());
    assert_eq!(restarts(&bench), [vec![instance(2)]]);
    let opened = bench.pages.iter().find(|page| page.kind == PageKind::IncidentOpened).expect("it was told");
    assert!(opened.summary.contains("1 of 4 instances fails: shop-2: CrashLoopBackOff"), "{}", opened.summary);
    assert!(opened.action.contains("Backstop restarts 1 of the instances that fail"), "{}", opened.action);
    bench.workload = Some(failing(&[]));
    bench.until("over", |bench| !is_open(bench));
    assert_eq!(bench.state.service_view(bench.now, ServiceIndex(0)).now.restart_gates, []);
    assert_eq!(plans(&bench), [(PlanKind::RestartFailing, Some(PlanOutcome::Verified))]);
    let (_, how) = bench.incident(1).resolved.clone().expect("it is over");
    assert_eq!(how, "what failed was restarted, and verified");
    assert_eq!(bench.record().standing(&"v1".into()), standing);
    assert_eq!((bench.history.len(), bench.record().rollbacks.len(), bench.record().restarts.len()), (0, 0, 1));
    page(&bench, "restart in progress: what fails of v1");
    let done = page(&bench, "restart complete: v1 is healthy again");
    assert_eq!((done.kind, done.outcome), (PageKind::IncidentEscalated, Some(PlanOutcome::Verified)));
    // But for what comes if it does not help.
    let speaks_of_rollback = |page: &&Page| page.summary.contains("rollback") || page.version_to.is_some();
    assert_eq!(bench.pages.iter().find(speaks_of_rollback), None);
}

#[test]
fn where_it_persists_the_rollback_follows_under_its_own_gates() {
    let mut bench = Bench::with_v2(Mode::Act, on_platform);
    bench.pass(20);
    bench.workload = Some(failing(&[2, 3]));
    bench.until("rolled back", |bench| !bench.switches().is_empty());
    bench.workload = Some(failing(&[]));
    bench.until("over", |bench| !is_open(bench));
    let expected =
        [(PlanKind::RestartFailing, Some(PlanOutcome::Persists)), (PlanKind::Quick, Some(PlanOutcome::Verified))];
    assert_eq!(plans(&bench), expected);
    assert_eq!((restarts(&bench).len(), bench.live), (1, Some("v1")));
    assert_eq!(bench.record().standing(&"v2".into()), Standing::KnownBad);
    let persists = page(&bench, "was restarted, and the issue persists");
    assert_eq!(persists.action, "A rollback comes next, if every gate allows it.");
    assert!(!bench.incident(1).found(Finding::RollbackFailed));
}

#[test]
fn where_it_persists_and_no_deploy_is_to_blame_people_decide() {
    let mut bench = Bench::new(Mode::Act, on_platform);
    bench.workload = Some(failing(&[2]));
    bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
    bench.pass(60);
    assert_eq!(plans(&bench), [(PlanKind::RestartFailing, Some(PlanOutcome::Persists))]);
    assert!(bench.switches().is_empty() && is_open(&bench));
}

/// New pods that fail while a rollout is under way are the rollout's: the target says that it fails.
#[test]
fn what_fails_in_a_rollout_is_no_partial_failure() {
    let mut bench = Bench::with_v2(Mode::Act, on_platform);
    let mut workload = failing(&[2]);
    workload.instances.live = None;
    bench.workload = Some(workload);
    bench.pass(60);
    assert!(restarts(&bench).is_empty() && bench.record().open_incident.is_none());
}

#[test]
fn a_restart_that_fails_gives_way_to_the_rollback() {
    for (ends, attempts) in [(Ends::Failing, 2), (Ends::Silent, 2)] {
        let mut bench = Bench::with_v2(Mode::Act, on_platform);
        bench.pass(20);
        bench.workload = Some(failing(&[2, 3]));
        bench.ends = [ends.clone(), ends].into();
        bench.until("rolled back", |bench| !bench.switches().is_empty());
        assert_eq!(plans(&bench)[0].0, PlanKind::RestartFailing);
        assert!(restarts(&bench).len() <= attempts + 1, "{:?}", bench.operations);
        let all: std::collections::BTreeSet<_> = restarts(&bench).concat().into_iter().map(|one| one.id).collect();
        assert_eq!(all.len(), 1, "no second share");
    }
}

/// Another instance fails by the time the daemon is back: it is not this plan's.
#[test]
fn killed_in_the_middle_it_deletes_the_same_and_no_other() {
    let mut bench = Bench::new(Mode::Act, on_platform);
    bench.workload = Some(failing(&[2]));
    bench.ends = [Ends::Silent].into();
    bench.until("begun", |bench| restarts(bench).len() == 1);
    bench.workload = Some(failing(&[3, 2]));
    bench.restart(5);
    bench.until("again", |bench| restarts(bench).len() == 2);
    assert_eq!(restarts(&bench), [vec![instance(2)], vec![instance(2)]]);
    bench.workload = Some(failing(&[]));
    bench.until("over", |bench| !is_open(bench));
    assert_eq!(plans(&bench), [(PlanKind::RestartFailing, Some(PlanOutcome::Verified))]);
}

#[test]
fn what_is_only_starting_proves_nothing() {
    let mut bench = Bench::new(Mode::Act, on_platform);
    bench.workload = Some(failing(&[2]));
    bench.until("restarted", |bench| !restarts(bench).is_empty());
    let mut starting = failing(&[]);
    starting.instances.live.as_mut().expect("its own").ready = 3;
    bench.workload = Some(starting);
    bench.pass(30);
    assert_eq!(plans(&bench), [(PlanKind::RestartFailing, None)]);
    bench.workload = Some(failing(&[]));
    bench.until("over", |bench| !is_open(bench));
}

/// A target that is looked at anew says of an instance that it fails once it has seen that for a while.
#[test]
fn after_a_restart_what_is_not_seen_to_serve_is_not_clear() {
    for blind in [false, true] {
        let mut bench = Bench::new(Mode::Ask, on_platform);
        bench.workload = Some(failing(&[2]));
        bench.until("told", is_open);
        let mut starting = failing(&[]);
        starting.instances.live.as_mut().expect("its own").ready = 3;
        bench.workload = Some(starting);
        bench.live = (!blind).then_some("v1");
        bench.restart(5);
        bench.pass(25);
        assert!(is_open(&bench), "blind: {blind}: {:#?}", bench.told());
        bench.live = Some("v1");
        bench.workload = Some(failing(&[]));
        bench.until("over", |bench| !is_open(bench));
        assert_eq!(bench.record().incident_count, 1);
    }
}

/// A service that grows and shrinks has an instance that is starting at any time, and one may never find a place.
#[test]
fn what_goes_on_starting_keeps_no_incident_open() {
    for restart in [false, true] {
        let mut bench = Bench::new(Mode::Ask, on_platform);
        bench.workload = Some(failing(&[2]));
        bench.until("told", is_open);
        let mut starting = failing(&[]);
        starting.instances.live.as_mut().expect("its own").ready = 3;
        bench.workload = Some(starting);
        if restart {
            bench.restart(5);
        }
        bench.pass(400);
        assert!(!is_open(&bench), "restart: {restart}: {:#?}", bench.told());
    }
}

#[test]
fn who_wants_to_be_asked_is_asked_for_the_restart() {
    let mut bench = Bench::new(Mode::Ask, on_platform);
    bench.workload = Some(failing(&[2]));
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    let asked = page(&bench, "approve restarting what fails of v1?");
    assert_eq!((asked.action.as_str(), &asked.version_to), ("Approve or deny the restart.", &None));
    let approved = bench.ask(Request::Approve { incident: "shop-0-1".into(), approval: Some(1) });
    assert_eq!(approved.expect("given"), "approved: restarting what fails of shop-0 v1");
    bench.workload = Some(failing(&[]));
    bench.until("over", |bench| !is_open(bench));
    assert_eq!(plans(&bench), [(PlanKind::RestartFailing, Some(PlanOutcome::Verified))]);
}

#[test]
fn an_approval_for_what_does_not_fail_any_more_is_void() {
    let mut bench = Bench::new(Mode::Ask, on_platform);
    bench.workload = Some(failing(&[2]));
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    bench.workload = Some(failing(&[]));
    bench.pass(1);
    let refused = bench.ask(Request::Approve { incident: "shop-0-1".into(), approval: Some(1) });
    let Err(Refusal::Conflict(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("void"), "{why}");
    assert!(restarts(&bench).is_empty());
}

#[test]
fn a_pause_holds_a_restart_and_it_is_told_so() {
    let mut bench = Bench::new(Mode::Act, on_platform);
    let pause = Request::Pause { service: None, for_seconds: None, reason: "a migration".to_owned() };
    bench.ask(pause).expect("paused");
    bench.workload = Some(failing(&[2]));
    bench.until("told", |bench| bench.was_told(PageKind::RollbackRefused));
    let shown = bench.state.service_view(bench.now, ServiceIndex(0)).now.restart_gates;
    let held: Vec<Gate> = shown.iter().filter(|one| one.answer == Answer::No).map(|one| one.gate).collect();
    assert_eq!((held, shown.len()), (vec![Gate::NotPaused], 9));
    let told = page(&bench, "what fails is not restarted: paused by");
    assert!(told.action.starts_with("A restart of what fails was due"), "{}", told.action);
    assert!(restarts(&bench).is_empty());
}

#[test]
fn what_fails_again_and_again_is_not_restarted_for_ever() {
    let mut bench = Bench::new(Mode::Act, on_platform);
    for number in 1..=3_u32 {
        bench.workload = Some(failing(&[number]));
        if number == 3 {
            bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
            break;
        }
        let count = usize::try_from(number).expect("small");
        bench.until("restarted", |bench| restarts(bench).len() == count);
        bench.workload = Some(failing(&[]));
        bench.until("over", |bench| !is_open(bench));
        bench.pass(5);
    }
    assert_eq!(restarts(&bench).len(), 2);
}

/// What comes after a restart that did not help: how many of four fail, whether the release is known to be good, what else
/// fails, and whether Backstop rolls back without asking.
#[test]
fn few_instances_of_a_proven_release_are_no_ground_for_a_rollback_unasked() {
    let errors: fn(&mut Bench) = |bench| bench.requests = (40, 20);
    let nothing: fn(&mut Bench) = |_| {};
    for (instances, is_proven, beside, rolls_back) in [
        (&[2][..], true, nothing, false),
        (&[2, 3], true, nothing, true),
        (&[2], false, nothing, true),
        (&[2, 3], false, nothing, true),
        (&[2], true, errors, true),
    ] {
        let mut bench = Bench::with_v2(Mode::Act, on_platform);
        if is_proven {
            bench.pass(30);
        }
        let standing = bench.record().standing(&"v2".into());
        assert_eq!(standing == Standing::KnownGood, is_proven, "{instances:?}");
        bench.workload = Some(failing(instances));
        beside(&mut bench);
        let is_decided = |bench: &Bench| !bench.switches().is_empty() || bench.was_told(PageKind::ApprovalRequested);
        bench.until("decided", is_decided);
        let case = format!("{instances:?}, proven: {is_proven}, rolls back: {rolls_back}");
        assert_eq!(plans(&bench)[0], (PlanKind::RestartFailing, Some(PlanOutcome::Persists)), "{case}");
        assert_eq!(!bench.switches().is_empty(), rolls_back, "{case}");
        let persists = page(&bench, "was restarted, and the issue persists");
        if rolls_back {
            assert_eq!(persists.action, "A rollback comes next, if every gate allows it.", "{case}");
            continue;
        }
        assert_eq!(persists.action, "Approval for a rollback is asked for next, if every gate allows it.");
        let opened = bench.pages.iter().find(|page| page.kind == PageKind::IncidentOpened).expect("it was told");
        assert!(
            opened.action.contains("and asks for approval to roll back if that does not help"),
            "{}",
            opened.action
        );
        bench.pass(60);
        assert!(bench.switches().is_empty(), "nobody has answered");
        bench.ask(Request::Approve { incident: "shop-0-1".into(), approval: Some(1) }).expect("approved");
        bench.until("rolled back", |bench| !bench.switches().is_empty());
    }
}

/// Where the tree wants a rollback by name, that was decided by whoever wrote it.
#[test]
fn a_rollback_that_the_tree_names_is_not_asked_for() {
    let names_it = |policy: &mut ServicePolicy| {
        policy.on_platform = true;
        policy.tree[1].plan = Some(PlanKind::Quick);
    };
    let mut bench = Bench::with_v2(Mode::Act, names_it);
    bench.pass(30);
    bench.workload = Some(failing(&[2]));
    bench.until("rolled back", |bench| !bench.switches().is_empty());
    assert!(restarts(&bench).is_empty());
}

#[test]
fn a_spent_budget_of_restarts_holds_no_rollback() {
    let mut bench = Bench::with_v2(Mode::Act, on_platform);
    bench.pass(20);
    for count in 1..=2 {
        bench.workload = Some(failing(&[2]));
        bench.until("restarted", |bench| restarts(bench).len() == count);
        bench.workload = Some(failing(&[]));
        bench.until("over", |bench| !is_open(bench));
        bench.pass(5);
    }
    bench.workload = Some(failing(&[2, 3]));
    bench.until("rolled back", |bench| !bench.switches().is_empty());
    assert_eq!(restarts(&bench).len(), 2);
}

#[test]
fn after_an_abort_nothing_more_is_done() {
    let mut bench = Bench::with_v2(Mode::Act, on_platform);
    bench.pass(20);
    bench.workload = Some(failing(&[2]));
    bench.until("restarted", |bench| !restarts(bench).is_empty());
    let told = bench.ask(Request::Abort { incident: "shop-0-1".into(), reason: None }).expect("aborted");
    assert!(told.contains("v2 is live, as before"), "{told}");
    bench.pass(120);
    assert_eq!(plans(&bench), [(PlanKind::RestartFailing, Some(PlanOutcome::Aborted))]);
    assert!(bench.switches().is_empty());
    page(&bench, "the restart of what fails of v2 was aborted");
}

#[test]
fn a_deploy_overtakes_a_restart() {
    let mut bench = Bench::with_v2(Mode::Act, on_platform);
    bench.pass(20);
    bench.workload = Some(failing(&[2]));
    bench.until("restarted", |bench| !restarts(bench).is_empty());
    bench.live = Some("v3");
    bench.workload = Some(failing(&[]));
    bench.pass(30);
    assert_eq!(plans(&bench), [(PlanKind::RestartFailing, Some(PlanOutcome::Overtaken))]);
    assert_eq!(bench.live, Some("v3"));
}

#[test]
fn by_hand_it_is_shown_ordered_and_refused_in_its_own_words() {
    let mut bench = Bench::new(Mode::Observe, on_platform);
    bench.workload = Some(failing(&[]));
    bench.pass(1);
    let conflict = |said: Result<String, Refusal>| match said {
        Err(Refusal::Conflict(why)) => why,
        other => panic!("it was to be refused: {other:?}"),
    };
    let none = conflict(ask(&mut bench, order(PlanKind::RestartFailing)));
    assert_eq!(none, "shop-0: plan restart_failing: no instance of what is live is seen to fail");
    bench.workload = Some(failing(&[2]));
    bench.pass(1);
    let to = RollbackOrder { to: Some("v1".into()), ..order(PlanKind::RestartFailing) };
    assert!(conflict(ask(&mut bench, to)).contains("leave --to out"));
    let overrides = RollbackOrder {
        overrides: vec![Gate::KnownGood],
        reason: Some("why".to_owned()),
        ..order(PlanKind::RestartFailing)
    };
    let why = conflict(ask(&mut bench, overrides));
    assert_eq!(why, "gate known_good is not asked before the plan restart_failing: it needs no override");
    bench.ask(Request::Pause { service: None, for_seconds: None, reason: "a move".to_owned() }).expect("paused");
    let shown = ask(&mut bench, RollbackOrder { dry_run: true, ..order(PlanKind::RestartFailing) }).expect("shown");
    let shown: RollbackPreview = serde_json::from_str(&shown).expect("a preview");
    let titles: Vec<&str> = shown.steps.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(titles, ["delete what fails: shop-2", "wait and verify"]);
    assert!(!shown.possible);
    let command = shown.all_the_same.expect("a pause can be overridden");
    assert_eq!(command, "backstop rollback shop-0 --plan restart_failing --override not_paused --reason TEXT");
    bench.ask(Request::Resume { service: None }).expect("resumed");
    let begun = ask(&mut bench, order(PlanKind::RestartFailing)).expect("begun");
    assert_eq!(begun, "shop-0: restarting what fails of v1; `backstop incident show shop-0-1` tells how it goes");
    let view = bench.state.service_view(bench.now, ServiceIndex(0));
    assert_eq!(view.now.plan_under_way.expect("it is under way").plan, PlanKind::RestartFailing);
    // On a host nothing is restarted one by one.
    let mut host = Bench::new(Mode::Act, |_| {});
    for (plan, why) in [(PlanKind::RestartFailing, "has no instances"), (PlanKind::Gather, "has nothing to gather")] {
        let said = conflict(ask(&mut host, order(plan)));
        assert!(said.contains(why), "{said}");
    }
}

/// Who only observes is told which plan would have come, and that is not always a rollback.
#[test]
fn who_only_observes_says_what_would_have_been_restarted_or_left() {
    let fails: fn(&mut Bench) = |bench| bench.workload = Some(failing(&[2]));
    let unseen: fn(&mut Bench) = |bench| (bench.live, bench.requests) = (None, (40, 20));
    for (then, expected, what) in [
        (fails, Decision::Restart, "would have restarted what fails of v2"),
        (unseen, Decision::Hold, "would have left it to people: the target cannot be seen: failed to timed out"),
    ] {
        let mut bench = Bench::with_v2(Mode::Observe, on_platform);
        bench.pass(20);
        then(&mut bench);
        let told = |bench: &Bench| -> Vec<(Decision, String)> {
            let of = |fact: &Fact| match fact {
                Fact::WouldHave { decision, what, .. } => Some((*decision, what.clone())),
                _ => None,
            };
            bench.journal.iter().filter_map(|(_, entry)| of(&entry.fact)).collect()
        };
        bench.until("told", |bench| !told(bench).is_empty());
        bench.pass(60);
        assert_eq!(told(&bench), [(expected, what.to_owned())], "once");
        assert_eq!(page(&bench, what).version_to, None);
        assert!(bench.operations.is_empty() && plans(&bench).is_empty(), "and nothing was done");
        let opened = bench.pages.iter().find(|page| page.kind == PageKind::IncidentOpened).expect("it was told");
        assert!(opened.action.starts_with("Observing only. "), "{}", opened.action);
    }
}

#[test]
fn a_rollback_that_was_denied_after_a_restart_is_said_so() {
    let mut bench = Bench::with_v2(Mode::Act, on_platform);
    bench.pass(30);
    bench.workload = Some(failing(&[2]));
    bench.until("asked", |bench| bench.was_told(PageKind::ApprovalRequested));
    let state = |bench: &Bench| bench.state.incident(&"shop-0-1".into()).expect("it is kept").state;
    assert!(state(&bench).starts_with("waits for approval 1 until "), "{}", state(&bench));
    let (incident, reason) = ("shop-0-1".into(), Some("a node is ill".to_owned()));
    bench.ask(Request::Deny { incident, approval: None, reason }).expect("denied");
    assert_eq!(
        state(&bench),
        "open: the restart of what fails ended persists; somebody denied rolling back from v2 to v1: a node is ill"
    );
}
