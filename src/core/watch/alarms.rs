//! False alarms and missed ones, by simulation: small and seeded here, at full length in `examples/false_alarms.rs`.

use std::sync::Arc;

use super::{
    tests::{REQUESTS, policy},
    *,
};
use crate::core::{
    name::ServiceIndex,
    sample::{Measurement, RequestCounts},
    statistics::whole_part,
    time::WallTime,
};

const EVERY: Duration = Duration::from_secs(5);
const LOOKS_A_MINUTE: f64 = 12.0;

struct Service {
    watch: Watch,
    now: Now,
    state: u64,
}

impl Service {
    fn new(seed: u64) -> Self {
        let now = Now { boot: BootTime::from_nanos(1 << 50), wall: WallTime::from_millis(0) };
        Self { watch: Watch::new(Arc::new(policy()), now), now, state: seed }
    }

    /// `SplitMix64` (Steele, Lea, Flood; OOPSLA 2014).
    fn share(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A Poisson number, as the arrivals of a unit of time with exponential pauses between them.
    fn poisson(&mut self, mean: f64) -> u64 {
        let mut arrivals = 0;
        let mut time = -(1.0 - self.share()).ln();
        while time < mean {
            arrivals += 1;
            time -= (1.0 - self.share()).ln();
        }
        arrivals
    }

    fn poll(&mut self, requests_a_minute: f64, error_rate: f64) -> VerdictKind {
        let mean = requests_a_minute / LOOKS_A_MINUTE;
        let errors = self.poisson(mean * error_rate);
        // Many good requests need no randomness of their own.
        let good = mean * (1.0 - error_rate);
        let good = if good > 50.0 { whole_part(good.round()) } else { self.poisson(good) };
        self.now = self.now.after(EVERY);
        let sample = Sample {
            service: ServiceIndex(0),
            signal: SignalIndex(REQUESTS),
            taken_at: self.now.boot,
            lag: Duration::ZERO,
            measurement: Measurement::Requests(RequestCounts { total: good + errors, errors, latency: None }),
        };
        self.watch.record(self.now, &sample);
        self.watch
            .evaluate(
                self.now,
                Facts { rollout: RolloutState::Settled, reports: &[], operators_reports: &[], baseline: &[] },
            )
            .kind
    }
}

#[test]
fn an_honest_service_is_not_accused() {
    const LOOKS_A_DAY: u32 = 17_280;
    for (seed, requests_a_minute) in (1..).zip([26.0, 100.0, 6_000.0]) {
        let mut service = Service::new(seed);
        let accused = (0..3 * LOOKS_A_DAY).filter(|_| service.poll(requests_a_minute, 0.008) == VerdictKind::RollBack);
        assert_eq!(accused.count(), 0, "{requests_a_minute} requests a minute");
    }
}

#[test]
fn a_broken_release_is_found_within_five_minutes() {
    const RUNS: u32 = 500;
    let mut service = Service::new(11);
    let found = (0..RUNS).filter(|_| {
        service.watch.cut(service.now);
        for _ in 0..120 {
            service.poll(60.0, 0.008);
        }
        (0..60).any(|_| service.poll(60.0, 0.12) == VerdictKind::RollBack)
    });
    let found = found.count();
    assert!(found as f64 >= 0.95 * f64::from(RUNS), "{found} of {RUNS}");
}
