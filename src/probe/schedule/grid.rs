//! When a signal is sampled: a fixed grid, shifted by a hash of its name. Pure, so that it is tested without waiting.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use crate::core::{
    name::{ServiceName, SignalName},
    time::BootTime,
};

/// A sample that is due for longer than this, and than its own interval, was not merely late: the process or the machine
/// stood still, and nothing was seen meanwhile.
pub const GAP_FLOOR: Duration = Duration::from_secs(1);

/// Places in the grid are so far apart: what is due at about the same time is begun in one turn of the runtime, which wakes
/// once for all of it. Far less than anybody's interval, and long enough for a few samples even where a hundred are due a
/// second.
const PLACES_APART: Duration = Duration::from_millis(10);

/// The plan of one signal's samples.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    every: Duration,
    planned: BootTime,
    began: Option<BootTime>,
}

/// What is to be done now that a sample is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Sample; it begins so much later than planned.
    Sample {
        /// The lag.
        lag: Duration,
    },
    /// Nothing was seen for so long; the next sample is planned.
    Gap {
        /// How long.
        lag: Duration,
    },
}

impl Grid {
    /// The first sample is at the first place of the grid after `now`; every place is `offset` after a multiple of `every`
    /// since the machine's start, so that a restart of the daemon changes nothing.
    pub(super) fn new(now: BootTime, every: Duration, offset: Duration) -> Self {
        Self { every, planned: next_place(now, every, offset), began: None }
    }

    /// How long until the next sample.
    pub(super) fn wait(&self, now: BootTime) -> Duration {
        self.planned.since(now)
    }

    /// The next sample is due.
    pub(super) fn begin(&mut self, now: BootTime) -> Due {
        let lag = now.since(self.planned);
        if lag > self.every.max(GAP_FLOOR) {
            let past = lag.as_nanos() % self.every.as_nanos().max(1);
            let past = Duration::from_nanos(u64::try_from(past).unwrap_or(0));
            self.planned = now.after(self.every.saturating_sub(past));
            return Due::Gap { lag };
        }
        self.began = Some(now);
        Due::Sample { lag }
    }

    /// The sample is over; the next one is planned. One that outlasted its interval is followed at once, so that a service
    /// that hangs is known after three timeouts, and never by two at a time.
    pub(super) fn end(&mut self, now: BootTime) {
        self.planned = self.planned.after(self.every).max(now);
    }

    /// From now on the samples come so often, the next one such an interval after the last one began.
    pub(super) fn set_every(&mut self, now: BootTime, every: Duration) {
        self.every = every;
        self.planned = match self.began {
            Some(began) => began.after(every).max(now),
            None => self.planned.min(now.after(every)),
        };
    }
}

fn next_place(now: BootTime, every: Duration, offset: Duration) -> BootTime {
    let (every, offset) = (every.as_nanos().max(1), offset.as_nanos());
    let into = (u128::from(now.as_nanos()) + every - offset % every) % every;
    now.after(Duration::from_nanos(u64::try_from(every - into).unwrap_or(u64::MAX)))
}

/// Where in its interval a signal has its place: spread evenly by name, so that ten thousand do not fire at once, and at a
/// multiple of [`PLACES_APART`].
pub(super) fn offset(service: &ServiceName, signal: &SignalName, every: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    (service, signal).hash(&mut hasher);
    let nanos = u128::from(hasher.finish()) % every.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanos - nanos % PLACES_APART.as_nanos()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn samples_keep_to_the_grid_however_late_each_begins() {
        let mut grid = Grid::new(at(10_300), SECOND, Duration::from_millis(500));
        assert_eq!(grid.wait(at(10_300)), Duration::from_millis(200));
        for (begin, lag) in [(10_500, 0), (11_507, 7), (12_900, 400), (13_500, 0)] {
            assert_eq!(grid.begin(at(begin)), Due::Sample { lag: Duration::from_millis(lag) });
            grid.end(at(begin + 50));
        }
        assert_eq!(grid.wait(at(13_550)), Duration::from_millis(950));
    }

    #[test]
    fn a_sample_that_outlasts_its_interval_is_followed_at_once() {
        let mut grid = Grid::new(at(0), SECOND, Duration::ZERO);
        grid.begin(at(1000));
        grid.end(at(3400));
        assert_eq!(grid.wait(at(3400)), Duration::ZERO);
        assert_eq!(grid.begin(at(3401)), Due::Sample { lag: Duration::from_millis(1) });
    }

    #[test]
    fn standing_still_makes_a_gap_and_the_grid_goes_on() {
        let mut grid = Grid::new(at(0), SECOND, Duration::from_millis(100));
        assert_eq!(grid.begin(at(9_700)), Due::Gap { lag: Duration::from_millis(9600) });
        assert_eq!(grid.wait(at(9_700)), Duration::from_millis(400));
    }

    #[test]
    fn a_new_cadence_counts_from_the_last_look() {
        let mut grid = Grid::new(at(0), 2 * SECOND, Duration::ZERO);
        grid.set_every(at(100), Duration::from_millis(250));
        assert_eq!(grid.wait(at(100)), Duration::from_millis(250), "before the first sample");
        grid.begin(at(350));
        grid.end(at(360));
        grid.set_every(at(400), 2 * SECOND);
        assert_eq!(grid.wait(at(400)), Duration::from_millis(1950));
        grid.set_every(at(1400), Duration::from_millis(250));
        assert_eq!(grid.wait(at(1400)), Duration::ZERO);
    }

    #[test]
    fn names_spread_over_the_interval() {
        let service = ServiceName::from("api");
        let mut tenths = [0_u32; 10];
        for number in 0..1000 {
            let signal = SignalName::from(format!("probe-{number}"));
            let place = offset(&service, &signal, SECOND);
            assert!(place.as_nanos().is_multiple_of(PLACES_APART.as_nanos()), "{place:?}");
            tenths[usize::try_from(place.as_millis() / 100).expect("small")] += 1;
        }
        assert!(tenths.iter().all(|count| (50..=150).contains(count)), "{tenths:?}");
    }

    proptest! {
        #[test]
        fn the_next_place_is_ahead_and_within_one_interval(now in 0_u64..1 << 60, every in 1_u64..1 << 50, offset in 0_u64..1 << 50) {
            let offset = offset % every;
            let now = BootTime::from_nanos(now);
            let place = next_place(now, Duration::from_nanos(every), Duration::from_nanos(offset));
            prop_assert!(place > now && place.since(now) <= Duration::from_nanos(every));
            prop_assert_eq!(place.as_nanos() % every, offset);
        }

        #[test]
        fn a_grid_never_plans_into_the_past(steps in prop::collection::vec((0_u64..5000, 0_u64..5000, 1_u64..4000), 1..40)) {
            let mut now = at(1);
            let mut grid = Grid::new(now, SECOND, Duration::ZERO);
            for (late, took, every) in steps {
                now = now.after(grid.wait(now)).after(Duration::from_millis(late));
                if grid.begin(now) != (Due::Gap { lag: now.since(now) }) {
                    now = now.after(Duration::from_millis(took));
                    grid.end(now);
                }
                grid.set_every(now, Duration::from_millis(every));
                prop_assert!(grid.wait(now) <= Duration::from_millis(every.max(1000)));
            }
        }
    }
}
