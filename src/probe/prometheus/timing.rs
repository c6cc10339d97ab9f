//! How far back to ask, and whether what came is of now.

use std::time::Duration;

use super::reply::Points;
use crate::{
    core::time::{BootTime, Now, WallTime},
    probe::requests::SKEW_LIMIT,
};

/// Shortest range that is asked for.
pub const RANGE_AT_LEAST: Duration = Duration::from_secs(30);

/// Longest range that is asked for: Prometheus' own lookback. It is asked for at first, when nobody knows how far apart
/// the scrapes are, and after answers without any sample.
pub const LOOKBACK: Duration = Duration::from_mins(5);

/// Scrapes, or polls, that may fail in a row before what is known counts as stale.
const STALE_AFTER: u32 = 3;

/// Series whose samples tell how far apart the scrapes are; all of a server's are usually alike.
const SERIES_ASKED: usize = 64;

/// The two clocks may drift apart by so much (the wall clock is slewed to keep time) before they are compared anew: an
/// earlier comparison keeps one timestamp at one boot time, poll after poll.
const DRIFT_LIMIT: Duration = Duration::from_millis(20);

/// The newest sample is not of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StaleError {
    /// It is too old.
    #[error("stale: the newest sample of total is {age:.1?} old, more than {limit:.1?}; is it still scraped?")]
    Old {
        /// How old.
        age: Duration,
        /// How old it may be.
        limit: Duration,
    },
    /// It is of the future.
    #[error("the newest sample of total is {ahead:.1?} ahead of this machine's clock; one of the two clocks is wrong")]
    Ahead {
        /// How far.
        ahead: Duration,
    },
}

/// What is known of a source's times.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    every: Duration,
    /// Time between two scrapes, once it is known.
    scrape: Option<Duration>,
    /// When the last answer came that could be used.
    last: Option<BootTime>,
    /// The comparison of the two clocks.
    compared: Option<Now>,
    widen: bool,
}

impl Timing {
    pub(super) const fn new(every: Duration) -> Self {
        Self { every, scrape: None, last: None, compared: None, widen: true }
    }

    /// How far back to ask now: over everything since the last answer, so that a pause loses nothing.
    pub(super) fn range(&self, now: BootTime) -> Duration {
        let since = self.last.map_or(Duration::ZERO, |at| now.since(at));
        if self.widen { LOOKBACK.max(self.base()) } else { (since + self.base()).min(LOOKBACK.max(self.base())) }
    }

    fn base(&self) -> Duration {
        RANGE_AT_LEAST.max(4 * self.every).max(STALE_AFTER * self.scrape.unwrap_or_default())
    }

    /// A poll failed. The next one asks further back, unless that may have been the trouble.
    pub(super) const fn failed(&mut self, too_much: bool) {
        self.widen = !too_much;
        if too_much {
            self.last = None;
        }
    }

    /// Judges the samples of an answer, and says from which time on they are to be taken: at first only as far back as
    /// one ordinary range reaches.
    pub(super) fn take(&mut self, total: &Points, now: Now) -> Result<i64, StaleError> {
        let newest = total.iter().filter_map(|series| series.points.last()).map(|point| point.at_millis).max();
        let newest = newest.unwrap_or(i64::MIN);
        self.scrape = scrape_interval(total).or(self.scrape);
        let (at, limit) = (WallTime::from_millis(newest), self.limit());
        if at.since(now.wall) > SKEW_LIMIT {
            return Err(StaleError::Ahead { ahead: at.since(now.wall) });
        }
        if now.wall.since(at) > limit {
            return Err(StaleError::Old { age: now.wall.since(at), limit });
        }
        let since = match self.last {
            Some(_) => i64::MIN,
            None => now.wall.before(self.base()).as_millis(),
        };
        self.last = Some(now.boot);
        self.widen = self.scrape.is_none();
        Ok(since)
    }

    /// The boot time of a sample that has this timestamp; never later than `now`.
    pub(super) fn boot_at(&mut self, at_millis: i64, now: Now) -> BootTime {
        let drift = |compared: &Now| {
            let wall = compared.wall_at(now.boot);
            wall.since(now.wall).max(now.wall.since(wall))
        };
        let compared = self.compared.filter(|compared| drift(compared) <= DRIFT_LIMIT).unwrap_or(now);
        self.compared = Some(compared);
        compared.boot_at(WallTime::from_millis(at_millis)).min(now.boot)
    }

    fn limit(&self) -> Duration {
        // Until the scrape interval is known, the lookback is the only bound there is.
        let scrape = self.scrape.map_or(LOOKBACK, |scrape| STALE_AFTER * scrape);
        scrape.max(STALE_AFTER * self.every) + SKEW_LIMIT
    }
}

/// The middle one of all distances between two samples of a series.
fn scrape_interval(points: &Points) -> Option<Duration> {
    let mut distances: Vec<i64> = points
        .iter()
        .take(SERIES_ASKED)
        .flat_map(|series| series.points.windows(2).map(|pair| pair[1].at_millis - pair[0].at_millis))
        .filter(|distance| *distance > 0)
        .collect();
    if distances.is_empty() {
        return None;
    }
    let middle = distances.len() / 2;
    let (_, distance, _) = distances.select_nth_unstable(middle);
    Some(Duration::from_millis(u64::try_from(*distance).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::reply::{RawPoint, RawSeries},
        *,
    };

    const SECOND: Duration = Duration::from_secs(1);
    const WALL_MILLIS: i64 = 1_767_781_800_000;

    fn now(seconds: u64) -> Now {
        Now { boot: BootTime::from_nanos(1_000_000_000_000), wall: WallTime::from_millis(WALL_MILLIS) }
            .after(Duration::from_secs(seconds))
    }

    /// One series with a sample at each of these seconds.
    fn points(seconds: &[i64]) -> Points {
        let point = |second: &i64| RawPoint { at_millis: WALL_MILLIS + second * 1000, value: 1.0 };
        vec![RawSeries::new(&[], seconds.iter().map(point).collect())]
    }

    #[test]
    fn the_range_follows_the_scrapes_and_reaches_back_over_pauses() {
        let mut timing = Timing::new(5 * SECOND);
        assert_eq!(timing.range(now(0).boot), LOOKBACK, "nobody knows yet");
        timing.take(&points(&[-120, -60, 0]), now(0)).expect("fresh");
        assert_eq!(timing.range(now(5).boot), 185 * SECOND, "three scrapes and the five seconds since");
        assert_eq!(timing.range(now(90).boot), 270 * SECOND);
        assert_eq!(timing.range(now(900).boot), LOOKBACK);
        timing.failed(false);
        assert_eq!(timing.range(now(5).boot), LOOKBACK);
        timing.failed(true);
        assert_eq!(timing.range(now(5).boot), 180 * SECOND, "no more than is needed");

        let mut quick = Timing::new(SECOND);
        quick.take(&points(&[-2, -1, 0]), now(0)).expect("fresh");
        assert_eq!(quick.range(now(0).boot), RANGE_AT_LEAST);
    }

    #[test]
    fn only_what_is_of_now_is_fresh() {
        let judge = |seconds: &[i64]| Timing::new(5 * SECOND).take(&points(seconds), now(0)).map(|_| ());
        assert_eq!(judge(&[-30, -20, -10]), Ok(()));
        assert_eq!(judge(&[-55, -45, -35]), Ok(()));
        assert_eq!(judge(&[-56, -46, -36]), Err(StaleError::Old { age: 36 * SECOND, limit: 35 * SECOND }));
        assert_eq!(judge(&[-11, -1, 5]), Ok(()));
        assert_eq!(judge(&[-14, -4, 6]), Err(StaleError::Ahead { ahead: 6 * SECOND }));
        assert_eq!(judge(&[-200]), Ok(()), "one sample tells nothing of the scrapes");
    }

    #[test]
    fn a_timestamp_keeps_its_boot_time_until_the_clock_is_stepped() {
        let mut timing = Timing::new(SECOND);
        let at = WALL_MILLIS - 1000;
        let first = timing.boot_at(at, now(0));
        assert_eq!(first, now(0).boot.before(SECOND));
        let slewed = Now { wall: now(5).wall.after(Duration::from_millis(3)), ..now(5) };
        assert_eq!(timing.boot_at(at, slewed), first);
        let stepped = Now { wall: now(9).wall.after(100 * SECOND), ..now(9) };
        assert_eq!(timing.boot_at(at, stepped), now(9).boot.before(110 * SECOND));
        assert_eq!(timing.boot_at(i64::MAX, stepped), stepped.boot, "never later than now");
    }

    #[test]
    fn the_first_answer_counts_only_over_an_ordinary_range() {
        let mut timing = Timing::new(SECOND);
        let since = timing.take(&points(&[-40, -20, 0]), now(0)).expect("fresh");
        assert_eq!(since, WALL_MILLIS - 60_000);
        assert_eq!(timing.take(&points(&[-40, -20, 0]), now(1)), Ok(i64::MIN), "the tracker knows what is new");
    }
}
