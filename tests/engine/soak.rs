//! What makes a release known to be good: time, and requests served meanwhile.

use std::time::Duration;

use backstop::{
    core::{
        page::PageKind,
        policy::{Mode, ServicePolicy},
        release::Standing,
    },
    testing::Bench,
};

/// The bench counts 40 requests a second.
const A_SECOND: u64 = 40;
const NEEDED: u64 = 2400;

fn wants_many_requests(policy: &mut ServicePolicy) {
    policy.gates.known_good_min_requests = NEEDED;
}

fn is_known_good(bench: &Bench) -> bool {
    bench.record().standing(&"v2".into()) == Standing::KnownGood
}

#[test]
fn requests_of_before_a_broken_soak_do_not_count() {
    let mut bench = Bench::with_v2(Mode::Observe, wants_many_requests);
    bench.pass(50);
    assert!(!is_known_good(&bench), "{} of {NEEDED} requests at most", 55 * A_SECOND);
    bench.requests = (A_SECOND, 20);
    bench.until("told", |bench| bench.was_told(PageKind::IncidentOpened));
    bench.requests = (A_SECOND, 0);
    let healed = bench.now.boot;
    bench.until("known to be good", is_known_good);
    let soaked = bench.now.boot.since(healed);
    assert!(soaked >= Duration::from_secs(NEEDED / A_SECOND - 1), "{soaked:?}");
}

#[test]
fn requests_of_before_a_restart_count() {
    let mut bench = Bench::with_v2(Mode::Observe, wants_many_requests);
    bench.until("most of it is saved", |bench| {
        bench.record().live().is_some_and(|live| live.soaked_requests >= NEEDED * 3 / 4)
    });
    assert!(!is_known_good(&bench));
    bench.restart(1);
    let began = bench.now.boot;
    bench.until("known to be good", is_known_good);
    let soaked = bench.now.boot.since(began);
    assert!(soaked <= Duration::from_secs(NEEDED / A_SECOND / 2), "{soaked:?}");
}
