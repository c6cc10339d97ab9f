//! Pages: in which order they come, what gives way when too many wait, and that each is true when it is sent.

use std::{sync::Arc, time::Instant};

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

/// Pages that may wait.
const LIMIT: usize = 4096;

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
fn a_page_for_which_the_receiver_asks_for_time_each_time_holds_up_no_later_ones_where_it_takes_others() {
    for asked in [30, 600] {
        let mut bench = Bench::new(Mode::Observe, as_it_is);
        bench.stuck_pages = Some(PageKind::IncidentOpened);
        bench.retry_after_seconds = Some(asked);
        bench.ready = Some(false);
        bench.pass(10);
        bench.ready = Some(true);
        bench.until("over", |bench| !bench.incident(1).is_open());
        // It takes nothing else meanwhile: what it asks for may be for all of them.
        bench.pass(asked + 10);
        assert!(!bench.was_told(PageKind::IncidentResolved), "{:?}", bench.told());
        bench.requests_missed = true;
        bench.until("told", |bench| bench.was_told(PageKind::SignalLost));
        bench.requests_missed = false;
        bench.pass(2 * asked + 300);
        assert!(bench.was_told(PageKind::IncidentResolved), "after {asked} s: {:?}", bench.told());
        assert_eq!(bench.state.durable().outbox.depth(), 1, "the stuck one is tried on");
        bench.stuck_pages = None;
        bench.pass(asked + 60);
        assert_eq!(bench.state.durable().outbox.depth(), 0);
    }
}

#[test]
fn an_open_incident_is_not_told_again_by_a_channel_that_does_not_have_the_last_one() {
    let repeats = |bench: &Bench| bench.state.durable().outbox.pending().filter(|pending| pending.is_repeat).count();
    let told = |bench: &Bench| bench.told().iter().filter(|page| page.contains("still open after")).count();
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.deliveries_fail = u32::MAX;
    // It would be told every 90 s.
    bench.pass(3600);
    bench.restart(1);
    bench.pass(600);
    assert_eq!(repeats(&bench), 1, "one waits, also over a restart");
    bench.deliveries_fail = 0;
    bench.pass(60);
    assert!(repeats(&bench) == 0 && (1..=2).contains(&told(&bench)), "{:?}", bench.told());
    bench.pass(300);
    assert!((4..=5).contains(&told(&bench)), "{:?}", bench.told());
    // A channel that has it is told again, whatever another one has.
    bench.dead_channel = Some("chat");
    bench.restart_with_another_channel(1, "chat");
    let before = told(&bench);
    bench.pass(900);
    assert!((9..=11).contains(&(told(&bench) - before)), "{:?}", bench.told());
    assert_eq!(repeats(&bench), 1, "one waits for the other");
}

#[test]
fn what_a_later_page_of_its_incident_says_anew_gives_way_first() {
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    fill_the_outbox(&mut bench, 2, |place, page, is_repeat| {
        // The first is of the least severity; two repeats of the gravest are of incidents that are over.
        page.severity = if place == 0 { Severity::S3 } else { Severity::S1 };
        *is_repeat = [10, 11, 12].contains(&place);
        let incident = match place {
            10 | 20 => "shop-0-a".to_owned(),
            11 | 21 => "shop-0-b".to_owned(),
            12 => "shop-0-c".to_owned(),
            _ => format!("shop-0-other-{}", place % 50),
        };
        page.incident = Some(incident.as_str().into());
    });
    bench.deliveries_fail = u32::MAX;
    bench.restart(1);
    let outbox = &bench.state.durable().outbox;
    for (place, waits) in [(0, true), (10, false), (11, false), (12, true), (20, true)] {
        assert_eq!(outbox.get(&format!("msg_waiting_{place}").into()).is_some(), waits, "{place}");
    }
}

/// What a delivery costs while as many pages wait as may, of a thousand stories: printed, since it is of one machine.
#[expect(clippy::print_stdout, reason = "the measurement is for people")]
#[test]
fn what_a_delivery_costs_while_many_wait() {
    let mut bench = Bench::new(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    fill_the_outbox(&mut bench, 0, |place, page, _| {
        page.incident = Some(format!("shop-0-other-{}", place % 1000).as_str().into());
    });
    bench.deliveries_fail = u32::MAX;
    bench.restart(1);
    bench.pass(120);
    let depth = bench.state.durable().outbox.depth();
    let (told, began) = (bench.pages.len(), Instant::now());
    bench.deliveries_fail = 0;
    bench.until("all", |bench| bench.state.durable().outbox.depth() == 0);
    let (count, took) = (u32::try_from(bench.pages.len() - told).expect("some thousands"), began.elapsed());
    println!("{depth} waited; {count} deliveries took {took:?}, {:?} each", took / count);
    assert!(count > 4000);
}

/// Puts pages into the journal that wait, so many more than may.
fn fill_the_outbox(bench: &mut Bench, more: u64, change: impl Fn(u64, &mut Page, &mut bool)) {
    let like = last(bench, PageKind::IncidentOpened).clone();
    let queued = bench.journal.iter().find_map(|(_, entry)| match &entry.fact {
        Fact::PageQueued { channels, .. } => Some(channels.clone()),
        _ => None,
    });
    let channels = queued.expect("it was queued");
    let from = bench.journal.last().expect("a journal").0.0;
    for place in 0..LIMIT as u64 + more {
        let mut is_repeat = false;
        let mut page = Page { id: format!("msg_waiting_{place}").into(), path: None, ..like.clone() };
        change(place, &mut page, &mut is_repeat);
        let fact = Fact::PageQueued { page, channels: channels.clone(), is_repeat };
        let entry = Entry { at: bench.now.wall, boot: None, service: Some(SERVICE.into()), fact };
        bench.journal.push((Sequence(from + 1 + place), Arc::new(entry)));
    }
}

#[test]
fn when_too_many_pages_wait_the_least_grave_and_oldest_give_way_and_that_is_told() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    // A hundred S3, then S1, two more than may wait.
    fill_the_outbox(&mut bench, 2, |place, page, _| {
        page.severity = if place < 100 { Severity::S3 } else { Severity::S1 };
        page.incident = Some("shop-0-old".into());
    });
    bench.deliveries_fail = u32::MAX;
    bench.restart(1);
    let outbox = &bench.state.durable().outbox;
    assert!(outbox.depth() <= LIMIT, "{}", outbox.depth());
    for (place, waits) in [(0, false), (1, false), (99, true), (100, true), (4097, true)] {
        assert_eq!(outbox.get(&format!("msg_waiting_{place}").into()).is_some(), waits, "{place}");
    }
    // The channel takes whatever is of another kind.
    bench.stuck_pages = Some(PageKind::IncidentOpened);
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
    bench.ends = [Ends::Well, Ends::Silent].into();
    bench.requests = (40, 20);
    bench.until("switching", |bench| !bench.switches().is_empty());
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
