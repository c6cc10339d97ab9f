//! A GitOps controller owns the target: its sync is suspended for a rollback, and on again once Git has left the release.

use backstop::{
    core::{
        entry::PlanOutcome,
        event::Request,
        page::{Page, PageKind},
        policy::{Finding, GitopsPolicy, Mode, ServicePolicy, Severity},
        release::{GitState, GitSync, SyncState},
    },
    testing::{Bench, Ends},
};

use super::{first, outcome};

const OWNER: &str = "the Argo CD Application shop";
const WAS: &str = r#"{"spec":{"syncPolicy":{"automated":{"prune":true}}}}"#;

fn suspends(policy: &mut ServicePolicy) {
    policy.on_platform = true;
    policy.gates.gitops = GitopsPolicy::Suspend;
}

fn owned(bench: &mut Bench, state: SyncState) {
    bench.sync = Some(GitSync { owner: OWNER.to_owned(), state, was: Some(WAS.to_owned()) });
}

/// `v2` was just synced from Git, and errs.
fn erring(state: SyncState) -> Bench {
    let mut bench = Bench::new(Mode::Act, suspends);
    owned(&mut bench, state);
    bench.live = Some("v2");
    bench.pass(5);
    bench.requests = (40, 20);
    bench
}

/// What the rollback does in the world helps.
fn rolled_back(bench: &mut Bench) {
    bench.until("switched", |bench| bench.switches() == ["v2>v1"]);
    bench.requests = (40, 0);
}

fn verified() -> Bench {
    let mut bench = erring(SyncState::Active);
    rolled_back(&mut bench);
    bench.until("verified", |bench| outcome(bench) == Some(PlanOutcome::Verified));
    bench
}

fn state(bench: &Bench) -> &SyncState {
    &bench.sync.as_ref().expect("a sync").state
}

fn git_is_at(bench: &mut Bench, git: GitState) {
    owned(bench, SyncState::Suspended { incident: first(), git });
}

/// The controller has just compared what is live with another revision, and they are the same.
fn left(bench: &Bench, revision: &str) -> GitState {
    GitState::Left { revision: revision.to_owned(), compared: Some(bench.now.wall) }
}

fn last_told_of(bench: &Bench, finding: Finding) -> &Page {
    bench.pages.iter().rfind(|page| page.finding == Some(finding)).expect("a page")
}

fn told_of(bench: &Bench, finding: Finding) -> usize {
    bench.pages.iter().filter(|page| page.finding == Some(finding)).count()
}

#[test]
fn it_is_suspended_before_the_switch_and_stays_so_until_git_has_left() {
    let mut bench = verified();
    assert_eq!(bench.syncs(), ["suspend_sync"]);
    assert!(matches!(state(&bench), SyncState::Suspended { .. }));
    bench.until("told", |bench| told_of(bench, Finding::SyncSuspended) == 1);
    // Again and again, as the severity wants it, whether the incident is over or not.
    bench.until("told again", |bench| told_of(bench, Finding::SyncSuspended) == 3);
    assert_eq!(bench.syncs(), ["suspend_sync"]);
    let page = last_told_of(&bench, Finding::SyncSuspended);
    assert_eq!(page.severity, Severity::S2);
    assert!(page.summary.contains("Git still holds v2"), "{}", page.summary);

    let revision = || "c2".to_owned();
    let switched = bench.incident(1).plans[0].ended.expect("it ended").0;
    for (git, says) in [
        (GitState::Unclear { why: "it cannot be seen".to_owned() }, "it cannot be seen"),
        (GitState::Moved { revision: revision() }, "still differs from what is live: turn it on by hand"),
        (GitState::Fetched { revision: revision() }, "whether that still holds v2 cannot be told while it is off"),
        // Compared before the rollback, when the same was live there.
        (
            GitState::Left { revision: revision(), compared: Some(switched) },
            "has not compared that with what is live since",
        ),
    ] {
        git_is_at(&mut bench, git);
        bench.pass(1200);
        assert_eq!(bench.syncs(), ["suspend_sync"], "nobody can tell");
        let page = last_told_of(&bench, Finding::SyncSuspended);
        assert!(page.summary.contains(says), "{}", page.summary);
        assert!(page.details.iter().any(|said| said.contains(WAS)), "{:?}", page.details);
    }

    let git = left(&bench, "c3");
    git_is_at(&mut bench, git);
    bench.pass(10);
    assert_eq!(bench.syncs(), ["suspend_sync", "resume_sync"]);
    assert_eq!(bench.record().suspension, None);
    assert!(!bench.record().findings.contains(&Finding::SyncSuspended));
    let last = bench.pages.last().expect("a page");
    assert!(last.summary.contains("is not suspended for it any more"), "{}", last.summary);
    let pages = bench.pages.len();
    bench.pass(600);
    assert_eq!((bench.pages.len(), bench.syncs().len()), (pages, 2), "it has come to rest");
}

#[test]
fn what_was_off_already_is_left_so() {
    let mut bench = erring(SyncState::ByHand);
    rolled_back(&mut bench);
    bench.until("verified", |bench| outcome(bench) == Some(PlanOutcome::Verified));
    bench.pass(200);
    assert!(bench.syncs().is_empty());
    assert_eq!(bench.record().suspension, None);
}

#[test]
fn who_turns_it_on_in_the_middle_ends_the_plan_and_there_is_no_tug_of_war() {
    let mut bench = erring(SyncState::Active);
    bench.until("switched", |bench| bench.switches() == ["v2>v1"]);
    bench.pass(1);
    owned(&mut bench, SyncState::Lifted { incident: first(), git: GitState::Holds });
    bench.until("ended", |bench| outcome(bench) == Some(PlanOutcome::Overtaken));
    assert!(bench.incident(1).found(Finding::SyncNotHeld));
    let told = bench.pages.iter().find(|page| page.finding == Some(Finding::SyncNotHeld)).expect("a page");
    assert_eq!((told.severity, told.kind), (Severity::S1, PageKind::RollbackFailed));
    bench.live = Some("v2");
    bench.pass(900);
    assert_eq!((bench.syncs(), bench.switches()), (vec!["suspend_sync"], vec!["v2>v1".to_owned()]));
    assert_eq!(told_of(&bench, Finding::SyncSuspended), 0, "it is not suspended");
}

#[test]
fn who_turns_it_on_after_the_plan_is_told_once() {
    let mut bench = verified();
    bench.pass(5);
    owned(&mut bench, SyncState::Lifted { incident: first(), git: GitState::Holds });
    bench.pass(600);
    assert_eq!(told_of(&bench, Finding::SyncNotHeld), 1, "{:?}", bench.told());
    assert_eq!(bench.syncs(), ["suspend_sync"]);
    // What is left of it is cleaned up once Git has left.
    let git = left(&bench, "c2");
    owned(&mut bench, SyncState::Lifted { incident: first(), git });
    bench.pass(10);
    assert_eq!(bench.syncs(), ["suspend_sync", "resume_sync"]);
    assert_eq!(bench.record().suspension, None);
}

#[test]
fn who_turns_it_on_for_a_mended_release_does_what_the_page_asked_for() {
    for live in ["v1", "v3"] {
        let mut bench = verified();
        bench.until("told", |bench| told_of(bench, Finding::SyncSuspended) == 1);
        owned(
            &mut bench,
            SyncState::Lifted { incident: first(), git: GitState::Fetched { revision: "c2".to_owned() } },
        );
        // The controller has yet to look.
        bench.pass(60);
        bench.live = Some(live);
        bench.pass(60);
        assert_eq!(bench.syncs(), ["suspend_sync"]);
        let git = GitState::Left { revision: "c2".to_owned(), compared: None };
        owned(&mut bench, SyncState::Lifted { incident: first(), git });
        bench.pass(10);
        assert_eq!(told_of(&bench, Finding::SyncNotHeld), 0, "{:?}", bench.told());
        // What is left of the suspension on the object is taken away.
        assert_eq!(bench.syncs(), ["suspend_sync", "resume_sync"]);
        assert_eq!(bench.record().suspension, None);
        let page =
            bench.pages.iter().rfind(|page| page.summary.contains("is not suspended for it any more")).expect("a page");
        assert_eq!(page.action, "See that what it brings is well.");
    }
}

#[test]
fn who_turns_it_on_for_another_commit_that_holds_the_release_as_well_has_not_mended_it() {
    for (says_so, is_back) in [(false, true), (false, false), (true, true)] {
        let mut bench = verified();
        bench.pass(5);
        let revision = || "c2".to_owned();
        let git = if says_so {
            GitState::Left { revision: revision(), compared: None }
        } else {
            GitState::Fetched { revision: revision() }
        };
        owned(&mut bench, SyncState::Lifted { incident: first(), git });
        if is_back {
            bench.live = Some("v2");
        }
        bench.until("told", |bench| told_of(bench, Finding::SyncNotHeld) == 1);
        bench.pass(900);
        assert_eq!(told_of(&bench, Finding::SyncNotHeld), 1, "{:?}", bench.told());
        assert_eq!((bench.syncs(), bench.switches().len()), (vec!["suspend_sync"], 1));
        assert!(bench.record().suspension.is_some(), "it is remembered");
    }
}

/// What a parent leaves that makes the whole object what it was.
#[test]
fn a_parent_that_takes_the_annotation_too_is_told_once_and_there_is_no_tug_of_war() {
    for in_plan in [true, false] {
        let mut bench = if in_plan {
            let mut bench = erring(SyncState::Active);
            bench.until("switched", |bench| bench.switches() == ["v2>v1"]);
            bench
        } else {
            verified()
        };
        bench.pass(1);
        owned(&mut bench, SyncState::Active);
        bench.until("told", |bench| told_of(bench, Finding::SyncNotHeld) == 1);
        bench.live = Some("v2");
        bench.requests = (40, 20);
        bench.pass(3000);
        assert_eq!((bench.syncs(), bench.switches().len()), (vec!["suspend_sync"], 1), "{:?}", bench.told());
        assert_eq!(told_of(&bench, Finding::SyncNotHeld), 1, "{:?}", bench.told());
        let held = |page: &Page| page.summary.contains("it is not suspended again until Git is known to have left v2");
        // After a rollback that was verified the cooldown is what is told first.
        assert_eq!(bench.pages.iter().any(held), in_plan, "{:?}", bench.told());
        bench.restart(5);
        bench.pass(600);
        assert_eq!((bench.syncs(), bench.switches().len()), (vec!["suspend_sync"], 1), "{:?}", bench.told());
        // Git leaves it: what its controller leaves for an hour is what it holds.
        (bench.live, bench.requests) = (Some("v1"), (40, 0));
        bench.pass(3500);
        assert!(bench.record().suspension.is_some());
        bench.pass(200);
        assert_eq!(bench.record().suspension, None);
        assert_eq!(bench.syncs(), ["suspend_sync"]);
    }
}

#[test]
fn what_is_off_without_its_annotation_stays_told_and_is_left_to_people() {
    let mut bench = verified();
    bench.until("told", |bench| told_of(bench, Finding::SyncSuspended) == 1);
    owned(&mut bench, SyncState::ByHand);
    bench.until("told again", |bench| told_of(bench, Finding::SyncSuspended) == 3);
    let page = last_told_of(&bench, Finding::SyncSuspended);
    assert!(page.summary.contains("nothing of ours is written there any more: turn it on by hand"), "{}", page.summary);
    assert!(
        page.details.iter().any(|said| said.contains(WAS)),
        "what it was is known all the same: {:?}",
        page.details
    );
    assert_eq!(bench.record().suspension.as_ref().expect("it is remembered").was.as_deref(), Some(WAS));
    assert_eq!(bench.syncs(), ["suspend_sync"]);
    assert!(!bench.pages.iter().any(|page| page.kind == PageKind::SignalRestored), "{:?}", bench.told());
}

#[test]
fn an_owner_that_is_another_one_by_now_or_none_is_left_to_people() {
    for other in [Some("the Argo CD Application other"), None] {
        let mut bench = verified();
        bench.until("told", |bench| told_of(bench, Finding::SyncSuspended) == 1);
        let state = SyncState::Active;
        bench.sync = other.map(|owner| GitSync { owner: owner.to_owned(), state, was: None });
        bench.pass(10);
        let page = last_told_of(&bench, Finding::SyncSuspended);
        assert_eq!((page.severity, page.kind), (Severity::S2, PageKind::IncidentEscalated));
        let said = other.unwrap_or("no controller");
        assert!(page.summary.contains(OWNER) && page.summary.contains(said), "{}", page.summary);
        assert!(page.action.contains("by hand once Git has left v2"), "{}", page.action);
        assert_eq!((bench.syncs(), &bench.record().suspension), (vec!["suspend_sync"], &None));
        assert!(!bench.pages.iter().any(|page| page.kind == PageKind::SignalRestored), "{:?}", bench.told());
        let pages = bench.pages.len();
        bench.pass(3000);
        assert_eq!(bench.pages.len(), pages, "once: {:?}", bench.told());
    }
}

#[test]
fn nothing_is_turned_on_while_paused() {
    let mut bench = verified();
    bench.ask(Request::Pause { service: None, for_seconds: None, reason: "a drill".to_owned() }).expect("paused");
    bench.pass(60);
    let git = left(&bench, "c2");
    git_is_at(&mut bench, git);
    bench.pass(1200);
    assert_eq!(bench.syncs(), ["suspend_sync"]);
    let page = last_told_of(&bench, Finding::SyncSuspended);
    assert!(page.summary.contains("but Backstop is paused: turn it on by hand"), "{}", page.summary);
    bench.ask(Request::Resume { service: None }).expect("resumed");
    bench.pass(10);
    assert_eq!((bench.syncs().len(), &bench.record().suspension), (2, &None));
}

#[test]
fn a_switch_that_fails_leaves_no_suspension() {
    let mut bench = erring(SyncState::Active);
    // Made sure of, suspended; then no switch succeeds.
    bench.ends = [Ends::Well, Ends::Well, Ends::Failing, Ends::Failing].into();
    bench.until("failed", |bench| outcome(bench) == Some(PlanOutcome::Failed));
    bench.pass(5);
    assert_eq!(bench.syncs(), ["suspend_sync", "resume_sync"], "{:?}", bench.told());
    assert_eq!((state(&bench), bench.live), (&SyncState::Active, Some("v2")));
    assert_eq!(bench.record().suspension, None);
}

#[test]
fn a_suspension_that_fails_is_taken_back_and_nothing_is_switched() {
    let mut bench = erring(SyncState::Active);
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone].into();
    bench.until("failed", |bench| outcome(bench) == Some(PlanOutcome::Failed));
    bench.pass(5);
    assert_eq!(bench.syncs(), ["suspend_sync", "suspend_sync", "resume_sync"]);
    assert_eq!((state(&bench), bench.switches().len()), (&SyncState::Active, 0));
    assert_eq!(bench.record().suspension, None);
}

#[test]
fn a_suspension_of_which_nothing_is_heard_is_made_sure_of() {
    for lost in [Ends::Lost, Ends::Silent] {
        let mut bench = erring(SyncState::Active);
        bench.ends = [Ends::Well, lost].into();
        bench.until("suspended", |bench| bench.syncs().len() == 2);
        rolled_back(&mut bench);
        bench.until("verified", |bench| outcome(bench) == Some(PlanOutcome::Verified));
        assert!(matches!(state(&bench), SyncState::Suspended { .. }));
        assert!(bench.syncs().iter().all(|one| *one == "suspend_sync"));
    }
}

#[test]
fn an_abort_before_the_switch_resumes_and_one_after_it_holds() {
    let mut bench = erring(SyncState::Active);
    bench.ends = [Ends::Well, Ends::Lost].into();
    bench.until("being suspended", |bench| bench.syncs().len() == 1);
    bench.ask(Request::Abort { incident: first(), reason: None }).expect("it is to end");
    bench.until("aborted", |bench| outcome(bench) == Some(PlanOutcome::Aborted));
    bench.pass(120);
    assert_eq!((state(&bench), bench.switches().len()), (&SyncState::Active, 0), "{:?}", bench.told());
    assert_eq!(bench.record().suspension, None);

    let mut bench = erring(SyncState::Active);
    rolled_back(&mut bench);
    bench.ask(Request::Abort { incident: first(), reason: None }).expect("it is to end");
    bench.until("aborted", |bench| outcome(bench) == Some(PlanOutcome::Aborted));
    bench.pass(120);
    assert_eq!(bench.live, Some("v1"));
    assert!(matches!(state(&bench), SyncState::Suspended { .. }), "what was rolled back stays");
}

#[test]
fn resuming_is_tried_until_it_succeeds() {
    let mut bench = verified();
    bench.pass(30);
    bench.then_ends = Ends::Failing;
    let git = left(&bench, "c2");
    git_is_at(&mut bench, git);
    // After half a minute, twice that, and so on; from the sixth on each quarter of an hour.
    for (seconds, expected) in [(5, 1), (60, 2), (60, 3), (800, 5), (930, 7), (1800, 9), (1800, 11)] {
        bench.pass(seconds);
        assert_eq!(bench.syncs().len() - 1, expected, "{seconds} s later");
    }
    assert!(bench.record().suspension.is_some());
    let page = last_told_of(&bench, Finding::SyncSuspended);
    let said = page.details.join("\n");
    assert!(said.contains("It could not be turned on: failed to") && said.contains("again 15m after"), "{said}");
    bench.then_ends = Ends::Well;
    bench.pass(901);
    assert_eq!((state(&bench), &bench.record().suspension), (&SyncState::Active, &None));
}

#[test]
fn a_target_that_is_gone_does_not_make_a_suspension_forgotten() {
    let mut bench = verified();
    bench.until("told", |bench| told_of(bench, Finding::SyncSuspended) == 1);
    bench.pass(30);
    // It is made anew just now: the attempt finds nothing, and later looks neither.
    bench.ends = [Ends::Overtaken].into();
    let git = left(&bench, "c2");
    git_is_at(&mut bench, git);
    bench.pass(5);
    assert_eq!(bench.syncs(), ["suspend_sync", "resume_sync"]);
    bench.gone = Some("find the deployment prod/shop: there is none");
    bench.pass(1200);
    assert!(bench.record().suspension.is_some());
    let page = last_told_of(&bench, Finding::SyncSuspended);
    assert!(page.summary.contains("cannot be seen: find the deployment prod/shop"), "{}", page.summary);
    bench.gone = None;
    bench.pass(60);
    assert_eq!((state(&bench), &bench.record().suspension), (&SyncState::Active, &None), "{:?}", bench.told());
}

#[test]
fn what_backstop_turned_on_itself_is_not_told_as_somebody_elses_doing() {
    // The look is quicker than the answer, which may never come.
    for (unheard, restarts) in [(Ends::Lost, false), (Ends::Silent, false), (Ends::Silent, true)] {
        let mut bench = verified();
        bench.until("told", |bench| told_of(bench, Finding::SyncSuspended) == 1);
        bench.ends = [unheard].into();
        bench.pass(30);
        let git = left(&bench, "c2");
        git_is_at(&mut bench, git);
        bench.until("being resumed", |bench| bench.syncs().len() == 2);
        if restarts {
            bench.restart(5);
        }
        bench.until("resumed", |bench| bench.record().suspension.is_none());
        assert_eq!(state(&bench), &SyncState::Active);
        assert_eq!(told_of(&bench, Finding::SyncNotHeld), 0, "{:?}", bench.told());
        assert!(!bench.record().findings.contains(&Finding::SyncSuspended));
        let pages = bench.pages.len();
        bench.pass(600);
        assert_eq!(bench.pages.len(), pages, "{:?}", bench.told());
    }
}

#[test]
fn a_sync_that_is_suspended_for_another_service_is_suspended_for_this_one_too() {
    let mut bench = erring(SyncState::Suspended { incident: "worker-7".into(), git: GitState::Holds });
    rolled_back(&mut bench);
    bench.until("verified", |bench| outcome(bench) == Some(PlanOutcome::Verified));
    assert_eq!(bench.syncs(), ["suspend_sync"]);
    assert!(bench.record().suspension.is_some());
}

#[test]
fn a_suspension_of_which_nothing_is_known_is_told_once_it_lasts() {
    let mut bench = Bench::new(Mode::Act, suspends);
    let unknown = || SyncState::Suspended { incident: "shop-77".into(), git: GitState::Holds };
    for seconds in [30, 600] {
        owned(&mut bench, unknown());
        bench.pass(seconds);
        assert_eq!(told_of(&bench, Finding::SyncSuspended), usize::from(seconds > 60), "{:?}", bench.told());
        owned(&mut bench, SyncState::Active);
        bench.pass(10);
        assert!(!bench.record().findings.contains(&Finding::SyncSuspended));
    }
    let page = bench.pages.iter().find(|page| page.finding == Some(Finding::SyncSuspended)).expect("a page");
    assert!(page.summary.contains("since incident shop-77, of which nothing is known"), "{}", page.summary);
    assert!(bench.syncs().is_empty());
}

#[test]
fn after_a_restart_it_goes_on() {
    let mut bench = verified();
    bench.until("told", |bench| told_of(bench, Finding::SyncSuspended) == 1);
    bench.restart(5);
    bench.until("told again", |bench| told_of(bench, Finding::SyncSuspended) == 2);
    let git = left(&bench, "c2");
    git_is_at(&mut bench, git);
    bench.pass(10);
    assert_eq!(state(&bench), &SyncState::Active);
    assert_eq!(bench.record().suspension, None);
}

#[test]
fn what_cannot_be_seen_or_was_turned_on_before_holds_a_rollback() {
    for refused in [
        SyncState::Unseen { why: "find the Application argocd/shop: there is none".to_owned() },
        SyncState::Lifted { incident: "shop-0-0".into(), git: GitState::Holds },
    ] {
        let mut bench = erring(refused);
        bench.until("refused", |bench| bench.was_told(PageKind::RollbackRefused));
        assert!(bench.operations.is_empty());
        assert!(bench.pages.iter().any(|page| page.summary.contains("the Argo CD Application shop owns it")));
    }
}
