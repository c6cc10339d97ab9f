//! A store that takes nothing: what waits for it, and what people hear meanwhile.

use backstop::{
    core::{
        entry::Fact,
        page::{Page, PageKind},
        policy::{Finding, Mode},
    },
    testing::Bench,
};

use super::as_it_is;

fn of_the_store(bench: &Bench) -> Vec<&Page> {
    bench.pages.iter().filter(|page| page.finding == Some(Finding::StoreFailed)).collect()
}

/// A disk that hangs gives no error.
#[test]
fn a_store_that_hangs_is_told_and_told_again_with_the_incidents_that_it_holds_back() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.pass(30);
    bench.commits_wait = true;
    bench.ready = Some(false);
    bench.pass(60);
    let told = of_the_store(&bench);
    assert_eq!(told.len(), 1, "{:#?}", bench.told());
    assert!(told[0].summary.contains("it takes no entry, and says nothing: its disk may hang"), "{}", told[0].summary);
    assert!(!bench.was_told(PageKind::IncidentOpened), "what is not durable is told to nobody");
    bench.pass(300);
    let told = of_the_store(&bench);
    assert_eq!(told.len(), 4, "each 90 s, as S1 is on the bench: {:#?}", bench.told());
    assert!(told[1].summary.starts_with("the journal has not been written for 1m 40s"), "{}", told[1].summary);
    assert!(told[1].details.iter().any(|line| line.contains("shop-0-1")), "{:?}", told[1].details);
    bench.commits_wait = false;
    bench.until("it is told", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.pass(62);
    assert!(
        bench.pages.iter().any(|page| page.kind == PageKind::SignalRestored && page.summary.contains("written again"))
    );
}

#[test]
fn a_store_that_is_slow_wakes_nobody() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.ready = Some(false);
    for _ in 0..20 {
        bench.commits_wait = true;
        bench.pass(8);
        bench.commits_wait = false;
        bench.pass(2);
    }
    assert!(of_the_store(&bench).is_empty(), "{:#?}", bench.told());
}

/// Each is taken for lost after two minutes and tried again, and none has left.
#[test]
fn what_waited_for_the_store_for_long_leaves_once() {
    let mut bench = Bench::with_v2(Mode::Observe, as_it_is);
    bench.pass(30);
    bench.commits_wait = true;
    bench.ready = Some(false);
    bench.pass(1500);
    bench.commits_wait = false;
    bench.pass(10);
    let queued: Vec<_> = bench
        .journal
        .iter()
        .filter_map(|(_, entry)| match &entry.fact {
            Fact::PageQueued { page, .. } if page.kind == PageKind::IncidentOpened => Some(page.id.clone()),
            _ => None,
        })
        .collect();
    assert!(!queued.is_empty());
    for id in queued {
        assert_eq!(bench.pages.iter().filter(|page| page.id == id).count(), 1, "{:#?}", bench.told());
    }
}
