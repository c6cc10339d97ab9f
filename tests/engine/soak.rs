//! What makes a release known to be good: time, and requests served meanwhile.

use std::time::Duration;

use backstop::{
    core::{
        event::{Event, Request},
        name::{ServiceIndex, SignalIndex},
        page::PageKind,
        policy::{Mode, ServicePolicy, SignalKind, SignalPolicy},
        release::{Mark, Standing},
        sample::{Measurement, RequestCounts, Sample},
    },
    testing::{Bench, SERVICE},
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

#[test]
fn requests_that_were_served_while_it_was_not_known_to_be_healthy_do_not_count() {
    let mut bench = Bench::with_v2(Mode::Observe, wants_many_requests);
    bench.ready = None;
    bench.pass(60);
    bench.ready = Some(true);
    let seen = bench.now.boot;
    bench.until("known to be good", is_known_good);
    let soaked = bench.now.boot.since(seen);
    // What it served before it was blind counts: at most ten seconds of it, until that was noticed.
    assert!(soaked >= Duration::from_secs(NEEDED / A_SECOND - 16), "{soaked:?}");
    // Nor what it served while a person's word stood for it.
    let mark = |mark| Request::MarkRelease { service: SERVICE.into(), version: "v3".into(), mark };
    let mut bench = Bench::new(Mode::Observe, wants_many_requests);
    bench.live = Some("v3");
    bench.pass(5);
    bench.ask(mark(Mark::Good)).expect("a mark");
    bench.pass(120);
    bench.ask(mark(Mark::Clear)).expect("a mark");
    bench.pass(30);
    assert_eq!(bench.record().standing(&"v3".into()), Standing::Unproven);
}

#[test]
fn requests_of_a_source_that_goes_on_over_a_reload_count_once() {
    let mut bench = Bench::with_v2(Mode::Observe, |policy| {
        wants_many_requests(policy);
        let every = Duration::from_secs(2);
        let signal = SignalPolicy { name: "more".into(), kind: SignalKind::Requests, every, timeout: every };
        policy.signals.push(signal);
    });
    let counts = RequestCounts { total: A_SECOND * 30, errors: 0, latency: None };
    for _ in 0..30 {
        let sample = Sample {
            service: ServiceIndex(0),
            signal: SignalIndex(2),
            taken_at: bench.now.boot,
            lag: Duration::ZERO,
            measurement: Measurement::Requests(RequestCounts { total: A_SECOND / 4, ..counts.clone() }),
        };
        bench.feed(Event::Sample(sample));
        bench.pass(1);
    }
    assert!(!is_known_good(&bench), "{} of {NEEDED} requests at most", 36 * A_SECOND * 5 / 4);
    bench.reload(&["more"]);
    bench.pass(10);
    assert!(!is_known_good(&bench), "{} of {NEEDED} requests at most", 46 * A_SECOND * 5 / 4);
    bench.until("known to be good", is_known_good);
}
