//! Backstop's own troubles: a channel, a store or a target that answers nothing.

use backstop::{
    core::{
        event::Event,
        page::PageKind,
        policy::{Finding, Mode},
        sample::Reason,
    },
    testing::Bench,
};

use super::as_it_is;

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
    bench.pass(62);
    let told = bench.pages.iter().filter(|page| page.finding == Some(Finding::StoreFailed));
    assert_eq!(told.map(|page| page.kind).collect::<Vec<_>>(), [PageKind::SignalRestored], "{:?}", bench.told());
    assert_eq!(bench.journal.last().map(|(sequence, _)| *sequence), last, "nothing was written for it");
    bench.feed(Event::StoreWorks);
    bench.pass(62);
    assert_eq!(bench.pages.len(), 1, "once");
}

#[test]
fn a_target_that_cannot_be_seen_for_long_is_told() {
    let mut bench = Bench::new(Mode::Act, as_it_is);
    bench.live = None;
    bench.until("told", |bench| bench.was_told(PageKind::SignalLost));
    assert!(bench.told().iter().any(|line| line.contains("the target: timed out")), "{:?}", bench.told());
}
