//! Pages: in which order they come, what gives way when too many wait, and that each is true when it is sent.

use std::sync::Arc;

use backstop::{
    core::{
        entry::{Entry, Fact, PlanOutcome},
        event::{Request, RollbackOrder, Sequence},
        page::{Page, PageKind},
        policy::{Finding, Mode, Severity},
    },
    testing::{Bench, Ends, SERVICE},
};

use super::{as_it_is, outcome};

/// Where pages of incident 1 stand among all that were written, in the order in which they came.
fn arrived(bench: &Bench) -> Vec<u64> {
    let of_it = bench.pages.iter().filter(|page| page.incident.is_some());
    of_it.map(|page| page.id.as_str().rsplit('_').next().expect("it is numbered").parse().expect("a number")).collect()
}

/// The last page of that kind about an incident.
fn last(bench: &Bench, kind: PageKind) -> &Page {
    let is_it = |page: &&Page| page.kind == kind && page.incident.is_some();
    bench.pages.iter().rfind(is_it).unwrap_or_else(|| panic!("{:?}", bench.told()))
}

fn escalated(bench: &Bench) -> bool {
    bench.pages.iter().any(|page| page.kind == PageKind::IncidentEscalated && page.incident.is_some())
}

fn says(page: &Page, words: &str) -> bool {
    page.summary.contains(words) || page.action.contains(words) || page.details.iter().any(|one| one.contains(words))
}

#[test]
fn pages_that_waited_for_their_receiver_come_in_their_order() {
    for away_for in [20, 100, 400] {
        let mut bench = Bench::with_v2(Mode::Act, as_it_is);
        bench.deliveries_fail = u32::MAX;
        bench.requests = (40, 20);
        bench.until("switched", |bench| !bench.switches().is_empty());
        bench.requests = (40, 0);
        bench.pass(away_for);
        assert!(arrived(&bench).is_empty());
        bench.deliveries_fail = 0;
        bench.until("told", |bench| bench.was_told(PageKind::IncidentResolved) || away_for < 100);
        bench.until("all of them", |bench| bench.state.durable().outbox.depth() == 0);
        let arrived = arrived(&bench);
        assert!(arrived.len() > 5 && arrived.is_sorted(), "away for {away_for} s: {:?}", bench.told());
    }
}

#[test]
fn a_page_that_is_never_taken_holds_up_neither_its_incident_for_ever_nor_another() {
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    bench.stuck_pages = Some(PageKind::IncidentOpened);
    bench.ready = Some(false);
    bench.pass(30);
    assert!(!bench.pages.iter().any(|page| page.incident.is_some()), "it is waited for: {:?}", bench.told());
    bench.ready = Some(true);
    bench.until("over", |bench| !bench.incident(1).is_open());
    // The channel takes nothing else meanwhile, so that nobody knows whether it is the page; it takes a while.
    bench.pass(1800);
    assert!(bench.was_told(PageKind::IncidentResolved), "{:?}", bench.told());
    // Where the channel takes others meanwhile, what comes later waits a minute or two.
    bench.ready = Some(false);
    bench.pass(5);
    bench.ready = Some(true);
    bench.until("over", |bench| !bench.incident(2).is_open());
    bench.requests_missed = true;
    bench.until("told", |bench| bench.was_told(PageKind::SignalLost));
    bench.requests_missed = false;
    bench.pass(240);
    let resolved = bench.pages.iter().filter(|page| page.kind == PageKind::IncidentResolved).count();
    assert_eq!(resolved, 2, "{:?}", bench.told());
    assert_eq!(bench.state.durable().outbox.depth(), 2, "the stuck ones are tried on");
    // And when they are taken in the end, nothing is left.
    bench.stuck_pages = None;
    bench.pass(90);
    assert_eq!(bench.state.durable().outbox.depth(), 0);
    assert_eq!(bench.pages.iter().filter(|page| page.kind == PageKind::IncidentOpened).count(), 2);
}

#[test]
fn when_too_many_pages_wait_the_least_grave_and_oldest_give_way_and_that_is_told() {
    const LIMIT: usize = 4096;
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    let like = last(&bench, PageKind::IncidentOpened).clone();
    let channels: Vec<_> = bench
        .journal
        .iter()
        .find_map(|(_, entry)| match &entry.fact {
            Fact::PageQueued { channels, .. } => Some(channels.clone()),
            _ => None,
        })
        .expect("it was queued");
    // A hundred S3, then S1, two more than may wait.
    let from = bench.journal.last().expect("a journal").0.0;
    for place in 0..LIMIT as u64 + 2 {
        let severity = if place < 100 { Severity::S3 } else { Severity::S1 };
        let (id, incident) = (format!("msg_waiting_{place}").into(), Some("shop-0-old".into()));
        let page = Page { id, incident, severity, path: None, ..like.clone() };
        let fact = Fact::PageQueued { page, channels: channels.clone() };
        let entry = Entry { at: bench.now.wall, boot: None, service: Some(SERVICE.into()), fact };
        bench.journal.push((Sequence(from + 1 + place), Arc::new(entry)));
    }
    bench.deliveries_fail = u32::MAX;
    bench.restart(1);
    let outbox = &bench.state.durable().outbox;
    assert!(outbox.depth() <= LIMIT, "{}", outbox.depth());
    for (place, waits) in [(0, false), (1, false), (99, true), (100, true), (4097, true)] {
        assert_eq!(outbox.get(&format!("msg_waiting_{place}").into()).is_some(), waits, "{place}");
    }
    // The channel takes whatever is of another kind.
    bench.stuck_pages = Some(like.kind);
    bench.deliveries_fail = 0;
    bench.pass(120);
    let told = bench.pages.iter().find(|page| page.finding == Some(Finding::PageUndelivered)).expect("it is told");
    assert!(says(told, "more than 4096 waited: ") && says(told, " of S3"), "{}", told.summary);
    assert!(!says(told, "of S1"), "{}", told.summary);
}

#[test]
fn the_end_of_an_incident_whose_rollback_is_stuck_says_so() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::HalfDone, Ends::HalfDone, Ends::Failing].into();
    bench.requests = (40, 20);
    bench.until("ended", |bench| outcome(bench) == Some(PlanOutcome::Stuck));
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    let page = last(&bench, PageKind::IncidentResolved);
    assert_eq!((page.severity, page.finding), (Severity::S1, Some(Finding::StepStuck)));
    assert!(says(page, "over, but for a rollback that is stuck") && says(page, "is still stuck half-way"), "{page:?}");
    assert!(says(page, "the target says that v1 is live") && !says(page, "Nothing more to do"), "{page:?}");
    assert!(
        !page.details.iter().any(|one| one.contains("not needed any more") && one.contains("step_stuck")),
        "{page:?}"
    );
}

#[test]
fn a_deploy_during_a_rollback_leaves_it_to_whoever_deployed_in_every_page() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("began", |bench| !bench.operations.is_empty());
    bench.pass(12);
    bench.live = Some("v3");
    bench.until("ended", |bench| outcome(bench) == Some(PlanOutcome::Overtaken));
    let page = last(&bench, PageKind::RollbackFailed);
    assert_eq!(page.severity, Severity::S1);
    assert!(
        says(page, "Whoever came between decides: Backstop does nothing more in this incident.")
            && !says(page, "All hands"),
        "{page:?}"
    );
    assert!(says(page, "was under way and may still come to its end"), "{page:?}");
    bench.requests = (40, 0);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    let page = last(&bench, PageKind::IncidentResolved);
    assert!(says(page, "Watch v3: whether it is well is not known yet.") && !says(page, "Nothing more"), "{page:?}");
    assert!(says(page, "What earlier pages of it asked for is not needed any more (rollback_failed"), "{page:?}");
    // It may also go on: then it is still theirs.
    assert!(bench.pages.iter().all(|page| page.kind != PageKind::IncidentEscalated || !says(page, "All hands")));
}

#[test]
fn a_deploy_that_ends_an_incident_is_not_said_to_be_well() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.requests = (40, 20);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.live = Some("v3");
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    let page = last(&bench, PageKind::IncidentResolved);
    assert!(says(page, "Watch v3: whether it is well is not known yet."), "{page:?}");
    assert!(!says(page, "Nothing more to do"), "{page:?}");
}

#[test]
fn pages_of_a_rollback_by_hand_say_whose_it_is() {
    let mut bench = Bench::with_v2(Mode::Act, as_it_is);
    bench.ends = [Ends::Well, Ends::Silent].into();
    let order = RollbackOrder { reason: Some("a drill".to_owned()), ..RollbackOrder::default() };
    bench.ask(Request::RollBack { service: SERVICE.into(), order }).expect("it begins");
    bench.until("switching", |bench| !bench.switches().is_empty());
    let page = last(&bench, PageKind::RollbackStarted);
    assert!(
        says(page, ", ordered by somebody") && says(page, "Issue: a rollback ordered by somebody (a drill)"),
        "{page:?}"
    );
    // It turns bad meanwhile: nobody promises a second rollback.
    bench.requests = (40, 20);
    bench.until("told", escalated);
    let page = last(&bench, PageKind::IncidentEscalated);
    assert!(says(page, "The rollback from v2 to v1, ordered by somebody (a drill), goes on"), "{page:?}");
    assert!(!says(page, "Backstop rolls back to"), "{page:?}");
    bench.until("ended", |bench| outcome(bench).is_some());
    let page = last(&bench, PageKind::RollbackCompleted);
    assert!(says(page, "This rollback was ordered by somebody (a drill)."), "{page:?}");
}

#[test]
fn a_signal_that_an_outage_explains_belongs_to_its_incident() {
    let lost = |bench: &Bench| bench.was_told(PageKind::SignalLost);
    let down = || {
        let mut bench = Bench::new(Mode::Observe, as_it_is);
        (bench.ready, bench.requests_missed) = (Some(false), true);
        let noted = |bench: &Bench| {
            bench.state.durable().incidents.values().any(|incident| incident.found(Finding::SignalLost))
        };
        bench.until("noted", noted);
        bench.pass(300);
        assert!(!lost(&bench), "{:?}", bench.told());
        bench
    };
    // Both are back: nobody was woken a second time.
    let mut bench = down();
    let noted = bench.incident(1).findings.iter().find(|found| found.finding == Finding::SignalLost).expect("noted");
    assert!(noted.detail.starts_with("while it is down: requests: "), "{}", noted.detail);
    (bench.ready, bench.requests_missed) = (Some(true), false);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    bench.pass(120);
    assert!(!lost(&bench) && !bench.was_told(PageKind::SignalRestored), "{:?}", bench.told());
    // It outlasts the outage: now it pages, also where the daemon was started anew meanwhile.
    for restarts in [false, true] {
        let mut bench = down();
        if restarts {
            bench.restart(2);
            bench.pass(60);
            assert!(!lost(&bench), "{:?}", bench.told());
        }
        bench.ready = Some(true);
        bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
        bench.until("told", lost);
        let kinds: Vec<_> = bench.pages.iter().map(|page| page.kind).collect();
        let place = |kind| kinds.iter().position(|one| *one == kind);
        assert!(place(PageKind::SignalLost) > place(PageKind::IncidentResolved), "{:?}", bench.told());
    }
    // Also where something else fired in the incident that nobody can say to be clear.
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    bench.requests = (80, 3);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    (bench.ready, bench.requests_missed) = (Some(false), true);
    bench.until("down", escalated);
    bench.pass(300);
    assert!(!lost(&bench) && bench.incident(1).found(Finding::SignalLost), "{:?}", bench.told());
    bench.ready = Some(true);
    bench.pass(30);
    assert!(lost(&bench) && bench.incident(1).is_open(), "{:?}", bench.told());
    (bench.requests, bench.requests_missed) = ((80, 0), false);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    bench.until("restored", |bench| bench.was_told(PageKind::SignalRestored));
    // Heard again in its own time after the outage, it is no news.
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    bench.requests = (80, 3);
    bench.until("opened", |bench| bench.was_told(PageKind::IncidentOpened));
    (bench.ready, bench.requests_missed) = (Some(false), true);
    bench.until("down", escalated);
    bench.pass(300);
    (bench.ready, bench.requests, bench.requests_missed) = (Some(true), (80, 0), false);
    bench.until("over", |bench| bench.was_told(PageKind::IncidentResolved));
    bench.pass(60);
    assert!(!lost(&bench), "{:?}", bench.told());
    // Without an outage nothing explains it, and neither does one that is not seen.
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    bench.requests_missed = true;
    bench.until("told", lost);
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    (bench.ready, bench.requests_missed) = (None, true);
    bench.until("told", lost);
}
