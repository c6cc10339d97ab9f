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

/// A poll that was expected.
fn heard(time: u64) -> Heard {
    Heard { counts: Some(at(time)), latency: None }
}

#[test]
fn time_is_divided_finely_enough_for_every_window() {
    // Lengths in milliseconds; the limit of rows; the slots of the shortest window.
    let cases = [
        (&[(60_000, 600_000), (300_000, 600_000)][..], COUNT_ROWS_LIMIT, 20),
        (&[(60_000, 60_000)], COUNT_ROWS_LIMIT, 20),
        (&[(10_000, 600_000)], COUNT_ROWS_LIMIT, 14),
        (&[(1_000, 600_000)], COUNT_ROWS_LIMIT, 9),
        (&[(7_003, 599_999), (61_000, 3_600_000)], COUNT_ROWS_LIMIT, 9),
        (&[(300_000, 600_000)], LATENCY_ROWS_LIMIT, 20),
        (&[(10_000, 600_000)], LATENCY_ROWS_LIMIT, 12),
        (&[(3_000, 600_000)], LATENCY_ROWS_LIMIT, 9),
    ];
    for (views, rows_limit, slots) in cases {
        let views: Vec<_> = views.iter().map(|&(over, widen_to)| view(over, widen_to, 1)).collect();
        let division = Division::of(&views, rows_limit);
        assert!(division.rows() <= rows_limit, "{division:?}");
        assert_eq!(division.slots, slots, "{views:?}: {division:?}");
        let shortest = views.iter().map(|view| nanos(view.over)).min().expect("one");
        for length in views.iter().flat_map(|view| [nanos(view.over), nanos(view.widen_to)]) {
            let width = division.width_nanos << division.level_for(length);
            assert!(width * slots >= length, "{length} is not reached: {division:?}");
            let share = if length == shortest { slots } else { slots / 2 };
            assert!(width <= length.div_ceil(share), "slots of {width} are too wide for {length}: {division:?}");
        }
    }
    assert_eq!(Division::of(&[], COUNT_ROWS_LIMIT), Division { width_nanos: 1, slots: 20, levels: 1 });
}

#[test]
fn windows_may_be_so_far_apart_that_slots_are_still_fine_enough() {
    for (durations, rows_limit, factor) in [(false, COUNT_ROWS_LIMIT, 2_048), (true, LATENCY_ROWS_LIMIT, 512)] {
        for over in [100, 1_000, 7_001, 60_000] {
            let longest = longest_beside(millis(over), durations);
            assert_eq!(longest, millis(over) * factor);
            let slots = |widen_to| Division::of(&[View { widen_to, ..view(over, over, 1) }], rows_limit).slots;
            assert!(slots(longest) >= Division::SLOTS_AT_LEAST, "{longest:?} beside {over} ms");
            assert!(slots(longest * 2) < Division::SLOTS_AT_LEAST, "more than {longest:?} beside {over} ms");
        }
    }
}

#[test]
fn at_any_phase_a_window_is_as_long_as_asked_for_but_for_less_than_a_slot() {
    let cases = [
        (10_000, 600_000, 5_000),
        (10_000, 600_000, 1_000),
        (60_000, 600_000, 5_000),
        (60_000, 60_000, 15_000),
        (1_000, 600_000, 1_000),
        (7_003, 599_999, 3_000),
        (300_000, 600_000, 5_000),
    ];
    for (over, widen_to, every) in cases {
        let views = [view(over, widen_to, 1), view(over, widen_to, 1_000_000)];
        let mut window = CountWindow::new(&views, at(0));
        let division = Division::of(&views, COUNT_ROWS_LIMIT);
        let mut taken = Vec::new();
        for poll in 1..=3 * widen_to / every {
            let time = 12_345 + poll * every + poll * 7_919 % 97;
            assert!(window.record(at(time), 1, 0, heard(time)));
            taken.push(at(time));
            if poll * every < 2 * widen_to {
                continue;
            }
            for phase in 0..5 {
                let now = at(time + phase * every / 5);
                for (view, length) in views.iter().zip([over, widen_to]) {
                    let seen = window.sums(now, view);
                    let width = Duration::from_nanos(division.width_nanos << division.level_for(length * 1_000_000));
                    let covered = now.since(seen.begin);
                    let is_right = covered <= millis(length) && covered + width > millis(length);
                    assert!(is_right, "{over} {widen_to} {every}: {covered:?} for {length}");
                    let naive = taken.iter().filter(|&&time| time >= seen.begin).map(|_| 1).sum::<u64>();
                    assert_eq!((seen.total, window.heard_since(seen.begin, false)), (naive, naive));
                    assert_eq!(seen.span_nanos, length * 1_000_000);
                    assert!(seen.changes_at > now && seen.changes_at <= now.after(width + Duration::from_nanos(1)));
                    let later = window.sums(seen.changes_at.before(Duration::from_nanos(1)), view);
                    assert_eq!(later, seen, "nothing changes before it is said");
                    assert_ne!(window.sums(seen.changes_at, view), seen, "and then it does");
                }
            }
        }
    }
}

#[test]
fn a_window_widens_slot_by_slot_until_enough_is_in_it() {
    let mut window = CountWindow::new(&[view(60_000, 600_000, 100)], at(0));
    for poll in 0..120 {
        assert!(window.record(at(poll * 5_000 + 1), 2, 0, heard(poll * 5_000 + 1)));
    }
    let seen = |min_requests| {
        let sums = window.sums(at(599_000), &view(60_000, 600_000, min_requests));
        (sums.total, sums.span_nanos / 1_000_000_000)
    };
    assert_eq!(seen(1), (24, 60));
    assert_eq!(seen(24), (24, 60));
    assert_eq!(seen(25), (26, 65));
    assert_eq!(seen(100), (100, 251));
    assert_eq!(seen(1_000), (240, 600));
}

#[test]
fn a_jump_leaves_nothing_behind_and_a_late_sample_finds_its_slot() {
    let view = view(60_000, 60_000, 1);
    let mut window = CountWindow::new(&[view], at(0));
    let none = Heard::default();
    assert!(window.record(at(10_000), 7, 1, none));
    assert!(window.record(at(100_000_000), 5, 2, none));
    assert_eq!(window.sums(at(100_000_000), &view).total, 5);
    assert!(window.record(at(100_000_000 - 30_000), 3, 0, none));
    assert!(!window.record(at(100_000_000 - 63_001), 9, 9, none));
    assert_eq!(window.sums(at(100_000_000), &view).total, 8);
    assert_eq!(window.sums(at(100_000_000 + 35_000), &view).total, 5);
    assert_eq!(window.sums(at(100_000_000 + 70_000), &view).total, 0);
}

#[test]
fn memory_is_fixed_and_bounded() {
    for over in [100, 1_000, 7_300, 60_000, 599_000, 600_000] {
        let views = [view(over, 600_000, 100), view(300_000, 600_000, 100)];
        let bounds: Arc<[f64]> = (1..=LATENCY_BUCKETS_LIMIT).map(|bound| bound as f64).collect();
        let counts = CountWindow::new(&views, at(0)).bytes();
        assert!(counts <= 3 * 1_024 + 512, "{counts}");
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
        let found = window.quantile_until(at(5_000), &view, quantile).expect("enough");
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
    /// Sums equal those of a list of all samples, whatever their order and times, for every view at any time; what is as
    /// young as the longest window is taken, and what is not taken is told.
    #[test]
    fn sums_equal_a_naive_model(
        samples in prop::collection::vec((0_u64..400_000, 0_u64..50, 0_u64..9, 0_u64..20), 1..120),
        overs in prop::collection::vec((100_u64..60_000, 0_u64..60_000, 0_u64..200), 1..4),
        latency_at in prop::collection::vec(0_usize..5, 120),
    ) {
        let views: Vec<_> = overs.iter().map(|&(over, more, least)| view(over, over + more, least)).collect();
        let longest = overs.iter().map(|&(over, more, _)| over + more).max().expect("one");
        let bounds: Arc<[f64]> = [0.1, 0.2, 0.4, 0.8, f64::INFINITY].into();
        let mut counts = CountWindow::new(&views, at(0));
        let mut latency = LatencyWindow::new(&views, Arc::clone(&bounds), at(0));
        let mut now = 0;
        let mut newest = 0;
        let mut kept: [Vec<(u64, u64, u64, usize)>; 2] = [Vec::new(), Vec::new()];
        for (place, &(time, total, errors, forward)) in samples.iter().enumerate() {
            // Time goes on; the sample is from somewhere before.
            now = (now + forward * 1_000).max(time / 4);
            let time = time.min(now);
            let bucket = latency_at[place];
            let mut buckets = vec![0; 5];
            buckets[bucket] = total;
            let histogram = LatencyCounts { bounds: Arc::clone(&bounds), counts: buckets.into() };
            let recorded =
                [counts.record(at(time), total, errors, heard(time)), latency.record(at(time), &histogram)];
            for (ring, &taken) in recorded.iter().enumerate() {
                prop_assert!(taken || time + longest <= newest, "{} is not older than {} before {}", time, longest, newest);
                if taken {
                    kept[ring].push((time, total, errors, bucket));
                }
            }
            // What one of both does not take was too old for every window, and is in no sum of either.
            newest = newest.max(time);
            for view in &views {
                let (over, most) = (nanos(view.over), nanos(view.widen_to));
                let sums = counts.sums(at(now), view);
                let naive = |begin: BootTime, pick: fn(&(u64, u64, u64, usize)) -> u64| -> u64 {
                    kept[0].iter().filter(|each| at(each.0) >= begin).map(pick).sum()
                };
                prop_assert_eq!(sums.total, naive(sums.begin, |each| each.1));
                prop_assert_eq!(sums.errors, naive(sums.begin, |each| each.2));
                // Before the begin of a slot nobody was heard of that is not in the sum.
                prop_assert!(counts.heard_since(sums.begin, false) >= naive(sums.begin, |_| 1));
                // As narrow as may be: wide enough, or as wide as may be.
                prop_assert!(sums.total >= view.min_requests || sums.span_nanos == most);
                prop_assert!(sums.span_nanos >= over.min(now * 1_000_000).saturating_sub(over / 8));
                let narrow = counts.sums(at(now), &View { min_requests: 0, ..*view });
                prop_assert!(sums.begin == narrow.begin || narrow.total < view.min_requests);

                let slow = latency.slower(at(now), view, 0.25);
                let naive = |from: usize| -> u64 {
                    let since = kept[1].iter().filter(|each| at(each.0) >= slow.begin && each.3 >= from);
                    since.map(|each| each.1).sum()
                };
                prop_assert_eq!((slow.total, slow.perhaps, slow.surely), (naive(0), naive(2), naive(3)));
            }
        }
    }
}
