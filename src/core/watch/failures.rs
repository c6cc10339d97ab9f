//! When a signal failed lately.

use crate::core::time::BootTime;

/// Failures that are remembered, and so the most that can be counted: more than any question about a rollout asks for.
pub(super) const REMEMBERED_FAILURES: usize = 16;

/// The times of the last failed samples, whatever passed between them. Cuts do not clear it: who asks says since when.
///
/// It takes memory only once something failed.
#[derive(Debug, Default)]
pub(super) struct Failures {
    total: usize,
    times: Option<Box<[BootTime; REMEMBERED_FAILURES]>>,
}

impl Failures {
    /// Notes a failed sample taken at `at`.
    pub(super) fn note(&mut self, at: BootTime) {
        let times = self.times.get_or_insert_with(|| Box::new([BootTime::START; REMEMBERED_FAILURES]));
        times[self.total % REMEMBERED_FAILURES] = at;
        self.total = self.total.wrapping_add(1);
    }

    /// How many were taken at `since` or later, [`REMEMBERED_FAILURES`] at most.
    pub(super) fn since(&self, since: BootTime) -> u32 {
        let Some(times) = &self.times else { return 0 };
        let noted = times.iter().take(self.total);
        noted.filter(|&&at| at >= since).map(|_| 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_from_a_time_on_and_no_further_than_remembered() {
        let at = BootTime::from_nanos;
        let mut failures = Failures::default();
        assert_eq!(failures.since(BootTime::START), 0);
        for (time, since, count) in [(10, 0, 1), (20, 10, 2), (30, 11, 2), (40, 40, 1), (50, 51, 0)] {
            failures.note(at(time));
            assert_eq!(failures.since(at(since)), count, "from {since} on, after {time}");
        }
        for time in 60..80 {
            failures.note(at(time));
        }
        assert_eq!(failures.since(at(75)), 5);
        assert_eq!(failures.since(at(0)), 16);
    }
}
