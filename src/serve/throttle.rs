//! Tells of what comes in floods: at once, then no more often than every few seconds, with how many it were.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A flood is told of so often: a log that is flooded with it says less, and fills the disk.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Counts what is told in bundles.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told_at: Option<Instant>,
    count: u64,
}

impl LogThrottle {
    /// Counts one more. If it is time to tell, how many there were since that was done last.
    pub(super) fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        if state.told_at.is_some_and(|at| now.saturating_duration_since(at) < TOLD_EVERY) {
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_at_once_and_then_in_bundles() {
        let throttle = LogThrottle::default();
        let now = Instant::now();
        assert_eq!(throttle.count_at(now), Some(1));
        for _ in 0..100 {
            assert_eq!(throttle.count_at(now), None);
        }
        assert_eq!(throttle.count_at(now + TOLD_EVERY), Some(101));
        assert_eq!(throttle.count_at(now + TOLD_EVERY), None);
    }
}
