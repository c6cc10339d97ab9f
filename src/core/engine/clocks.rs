//! What the two clocks say of each other: whether the wall clock was stepped, and whether the process stood still. Nothing
//! is decided by it; it is told, so that people understand what they see.

use std::time::Duration;

use crate::core::time::{BootTime, Now};

/// The two clocks may drift apart by so much between two readings; more is a step. Clocks that are slewed differ by half a
/// millisecond in a second, and readings are taken several times a second.
const STEP_AT_LEAST: Duration = Duration::from_secs(1);

/// The core is given something to do every second at least. Where it was not for so long, the process or its machine stood
/// still: stopped, frozen, suspended, or starved of its processor.
pub(super) const STOOD_STILL_AT_LEAST: Duration = Duration::from_secs(5);

/// The last reading, and what was odd about the ones before.
#[derive(Debug)]
pub(super) struct Clocks {
    last: Now,
    step: Option<ClockStep>,
    /// When the process last went on after it stood still, and for how long it did.
    stood_still: Option<(BootTime, Duration)>,
}

/// The wall clock was stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// Whether it was set to a later time.
    pub forward: bool,
    /// By how much.
    pub by: Duration,
}

impl Clocks {
    pub(super) const fn new(now: Now) -> Self {
        Self { last: now, step: None, stood_still: None }
    }

    /// Takes the next reading in.
    pub(super) fn read(&mut self, now: Now) {
        let passed = now.boot.since(self.last.boot);
        if passed >= STOOD_STILL_AT_LEAST {
            self.stood_still = Some((now.boot, passed));
        }
        let expected = self.last.wall.after(passed);
        self.last = now;
        let forward = now.wall > expected;
        let by = if forward { now.wall.since(expected) } else { expected.since(now.wall) };
        if by >= STEP_AT_LEAST {
            self.step = Some(ClockStep { forward, by });
        }
    }

    /// A step that was noticed since this was last asked.
    pub(super) const fn take_step(&mut self) -> Option<ClockStep> {
        self.step.take()
    }

    /// For how long the process stood still, if it did within `lately`.
    pub(super) fn stood_still(&self, now: Now, lately: Duration) -> Option<Duration> {
        self.stood_still.filter(|(at, _)| now.boot.since(*at) <= lately).map(|(_, passed)| passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::WallTime;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> Now {
        Now { boot: BootTime::from_nanos(7_000_000_000_000), wall: WallTime::from_millis(1_780_000_000_000) }
    }

    #[test]
    fn a_step_is_told_once_and_slewing_is_none() {
        let mut clocks = Clocks::new(start());
        let mut now = start();
        for _ in 0..10_000 {
            now = now.after(SECOND);
            now.wall = now.wall.after(SECOND / 1000);
            clocks.read(now);
        }
        assert_eq!(clocks.take_step(), None);
        for forward in [true, false] {
            now = now.after(SECOND);
            now.wall = if forward { now.wall.after(HOUR) } else { now.wall.before(HOUR) };
            clocks.read(now);
            now = now.after(SECOND);
            clocks.read(now);
            assert_eq!(clocks.take_step(), Some(ClockStep { forward, by: HOUR }));
            assert_eq!(clocks.take_step(), None);
        }
    }

    #[test]
    fn standing_still_is_remembered_for_a_while() {
        let mut clocks = Clocks::new(start());
        let mut now = start().after(SECOND);
        clocks.read(now);
        assert_eq!(clocks.stood_still(now, HOUR), None);
        now = now.after(10 * MINUTE);
        clocks.read(now);
        assert_eq!(clocks.take_step(), None, "both clocks went on");
        assert_eq!(clocks.stood_still(now.after(MINUTE), MINUTE), Some(10 * MINUTE));
        assert_eq!(clocks.stood_still(now.after(2 * MINUTE), MINUTE), None);
    }
}
