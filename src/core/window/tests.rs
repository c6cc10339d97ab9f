//! Windows against naive models.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::core::{
    sample::{LATENCY_BUCKETS_LIMIT, LatencyCounts},
    time::BootTime,
};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(time: u64) -> BootTime {
    BootTime::from_nanos(time * 1_000_000)
}

fn view(over: u64, widen_to: u64, min_requests: u64) -> View {
    View { over: millis(over), widen_to: millis(widen_to), min_requests }
}

#[test]
fn time_is_divided_so_that_the_shortest_window_is_whole() {
    let cases = [
        (&[(60_000, 600_000), (300_000, 600_000)][..], 5_000, 120),
        (&[(60_000, 60_000)], 500, 120),
        (&[(1_000, 600_000)], 5_000, 120),
        (&[(7_000, 600_000)], 7_000, 86),
        (&[(3_000, 30_000)], 250, 120),
        (&[(600_000, 600_000)], 5_000, 120),
    ];
    for (views, width, slots) in cases {
        let views: Vec<_> = views.iter().map(|&(over, widen_to)| view(over, widen_to, 1)).collect();
        let division = Division::of(&views, 120);
        assert_eq!((division.width_nanos / 1_000_000, division.slots), (width, slots), "{views:?}");
    }
    assert_eq!(Division::of(&[], 120), Division { width_nanos: 1, slots: 1 });
}

#[test]
fn a_window_widens_slot_by_slot_until_enough_is_in_it() {
    let mut window = CountWindow::new(&[view(60_000, 600_000, 100)], at(0));
    for look in 0..120 {
        assert!(window.record(at(look * 5_000 + 1), 2, 0, true));
    }
    let seen = |min_requests| {
        let sums = window.sums(at(599_000), &view(60_000, 600_000, min_requests));
        (sums.total, sums.span_nanos / 1_000_000_000)
    };
    assert_eq!(seen(1), (24, 60));
    assert_eq!(seen(24), (24, 60));
    assert_eq!(seen(25), (26, 65));
    assert_eq!(seen(100), (100, 250));
    assert_eq!(seen(1_000), (240, 600));
}

#[test]
fn a_jump_leaves_nothing_behind_and_a_late_sample_finds_its_slot() {
    let view = view(60_000, 60_000, 1);
    let mut window = CountWindow::new(&[view], at(0));
    assert!(window.record(at(10_000), 7, 1, true));
    assert!(window.record(at(100_000_000), 5, 2, true));
    assert_eq!(window.sums(at(100_000_000), &view).total, 5);
    assert!(window.record(at(100_000_000 - 30_000), 3, 0, true));
    assert!(!window.record(at(100_000_000 - 61_000), 9, 9, true));
    assert_eq!(window.sums(at(100_000_000), &view).total, 8);
    assert_eq!(window.sums(at(100_000_000 + 35_000), &view).total, 5);
    assert_eq!(window.sums(at(100_000_000 + 70_000), &view).total, 0);
    assert_eq!(window.next_change(at(100_000_000)), at(100_000_500));
}

#[test]
fn memory_is_fixed_and_bounded() {
    for over in [100, 1_000, 7_300, 60_000, 599_000, 600_000] {
        let views = [view(over, 600_000, 100), view(300_000, 600_000, 100)];
        let bounds: Arc<[f64]> = (1..=LATENCY_BUCKETS_LIMIT).map(|bound| bound as f64).collect();
        let counts = CountWindow::new(&views, at(0)).bytes();
        assert!(counts <= 3 * 1_024, "{counts}");
        let latency = LatencyWindow::new(&views, bounds, at(0)).bytes();
        assert!(counts + latency <= 16 * 1_024, "{counts} + {latency}");
    }
}

#[test]
fn slower_requests_are_counted_as_surely_and_perhaps() {
    let view = view(60_000, 60_000, 1);
    let bounds: Arc<[f64]> = [0.1, 0.2, 0.4, f64::INFINITY].into();
    let mut window = LatencyWindow::new(&[view], Arc::clone(&bounds), at(0));
    let counts = Box::new([10, 20, 30, 40]);
    window.record(at(1_000), &LatencyCounts { bounds: Arc::clone(&bounds), counts });
    let cases = [
        (0.0, 100, 100),
        (0.05, 90, 100),
        (0.1, 90, 90),
        (0.15, 70, 90),
        (0.2, 70, 70),
        (0.4, 40, 40),
        (0.5, 0, 40),
        (9.0, 0, 40),
    ];
    for (limit, surely, perhaps) in cases {
        let seen = window.slower(at(2_000), &view, limit);
        assert_eq!((seen.total, seen.surely, seen.perhaps), (100, surely, perhaps), "{limit}");
    }
    for (quantile, seconds) in [(0.05, 0.05), (0.1, 0.1), (0.2, 0.15), (0.45, 0.3), (0.99, 0.4)] {
        let found = window.quantile_until(at(2_000), &view, quantile).expect("enough");
        assert!((found - seconds).abs() < 1e-9, "{quantile}: {found}");
    }
    assert_eq!(window.quantile_until(at(120_000), &view, 0.5), None, "long gone");
    assert_eq!(window.quantile_until(at(500), &view, 0.5), None, "not yet");
    window.record(at(30_000), &LatencyCounts { bounds, counts: Box::new([0, 0, 0, 1_000]) });
    for (then, seconds) in [(20_000, 0.1), (45_000, 0.4)] {
        let found = window.quantile_until(at(then), &view, 0.1).expect("enough");
        assert!((found - seconds).abs() < 1e-9, "at {then}: {found}");
    }
}

#[test]
fn other_buckets_begin_anew() {
    let view = view(60_000, 60_000, 1);
    let bounds: Arc<[f64]> = [0.1, f64::INFINITY].into();
    let mut window = LatencyWindow::new(&[view], Arc::clone(&bounds), at(0));
    window.record(at(1_000), &LatencyCounts { bounds, counts: Box::new([10, 10]) });
    let bounds: Arc<[f64]> = [0.1, 0.5, f64::INFINITY].into();
    window.record(at(2_000), &LatencyCounts { bounds, counts: Box::new([1, 1, 1]) });
    let seen = window.slower(at(2_500), &view, 0.1);
    assert_eq!((seen.total, seen.surely), (3, 2));
}

proptest! {
    /// Sums equal those of a list of all samples, whatever their order and times, for every view at any time.
    #[test]
    fn sums_equal_a_naive_model(
        samples in prop::collection::vec((0_u64..200_000, 0_u64..50, 0_u64..9, 0_u64..8), 1..120),
        overs in prop::collection::vec((100_u64..60_000, 0_u64..60_000, 0_u64..200), 1..4),
        latency_at in prop::collection::vec(0_usize..5, 120),
    ) {
        let views: Vec<_> = overs.iter().map(|&(over, more, least)| view(over, over + more, least)).collect();
        let bounds: Arc<[f64]> = [0.1, 0.2, 0.4, 0.8, f64::INFINITY].into();
        let mut counts = CountWindow::new(&views, at(0));
        let mut latency = LatencyWindow::new(&views, Arc::clone(&bounds), at(0));
        let (counts_division, latency_division) = (Division::of(&views, 120), Division::of(&views, 96));
        let mut now = 0;
        let mut kept: [Vec<(u64, u64, u64, usize)>; 2] = [Vec::new(), Vec::new()];
        let mut heads = [0_u64; 2];
        for (place, &(time, total, errors, forward)) in samples.iter().enumerate() {
            // Time goes on; the sample is from somewhere before.
            now = (now + forward * 1_000).max(time / 4);
            let time = time.min(now);
            let bucket = latency_at[place];
            let mut buckets = vec![0; 5];
            buckets[bucket] = total;
            let histogram = LatencyCounts { bounds: Arc::clone(&bounds), counts: buckets.into() };
            let recorded =
                [counts.record(at(time), total, errors, true), latency.record(at(time), &histogram)];
            for (ring, division) in [counts_division, latency_division].into_iter().enumerate() {
                let slot = time * 1_000_000 / division.width_nanos;
                let taken = slot + division.slots > heads[ring];
                prop_assert_eq!(recorded[ring], taken);
                if taken {
                    heads[ring] = heads[ring].max(slot);
                    kept[ring].push((slot, total, errors, bucket));
                }
            }
            for view in &views {
                let sums = counts.sums(at(now), view);
                let slots = sums.span_nanos / counts_division.width_nanos;
                let until = (now * 1_000_000 / counts_division.width_nanos).max(heads[0]);
                let naive = |slots: u64, pick: fn(&(u64, u64, u64, usize)) -> u64| -> u64 {
                    kept[0].iter().filter(|each| each.0 + slots > until).map(pick).sum()
                };
                prop_assert_eq!(sums.total, naive(slots, |each| each.1));
                prop_assert_eq!(sums.errors, naive(slots, |each| each.2));
                prop_assert_eq!(sums.heard, naive(slots, |_| 1));
                // As narrow as may be: wide enough, and one slot less would not do.
                let least = counts_division.slots_in(view.over);
                let most = counts_division.slots_in(view.widen_to);
                prop_assert!(slots >= least && slots <= most);
                prop_assert!(slots == most || sums.total >= view.min_requests);
                prop_assert!(slots == least || naive(slots - 1, |each| each.1) < view.min_requests);

                let slow = latency.slower(at(now), view, 0.25);
                let slots = slow.span_nanos / latency_division.width_nanos;
                let until = (now * 1_000_000 / latency_division.width_nanos).max(heads[1]);
                let naive = |from: usize| -> u64 {
                    kept[1].iter().filter(|each| each.0 + slots > until && each.3 >= from).map(|each| each.1).sum()
                };
                prop_assert_eq!((slow.total, slow.perhaps, slow.surely), (naive(0), naive(2), naive(3)));
            }
        }
    }
}
