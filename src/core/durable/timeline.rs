//! The journal's own time line: how the fold knows how long something lasted, whatever was done to the wall clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::{BootStamp, SteadyTime, WallTime};

/// Both clocks as the last entry has them, and where it lies on the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ClockStamp {
    wall: WallTime,
    boot: Option<BootStamp>,
    steady: SteadyTime,
}

impl ClockStamp {
    /// What passed from this stamp until another one.
    ///
    /// Since the same start of the machine the boot clock tells it exactly. Over a restart of the machine only the wall
    /// clock can: it is believed where it went forward, and no less passed than the machine has run since. A wall clock
    /// that was set forward while the machine was off cannot be told from one that ran.
    fn until(&self, wall: WallTime, boot: Option<BootStamp>) -> Duration {
        let by_wall = wall.since(self.wall);
        match (self.boot, boot) {
            (Some(before), Some(now)) if before.machine_start == now.machine_start && before.millis <= now.millis => {
                Duration::from_millis(now.millis - before.millis)
            }
            (Some(_), Some(now)) => by_wall.max(Duration::from_millis(now.millis)),
            _ => by_wall,
        }
    }

    fn is_comparable(&self, wall: WallTime, boot: Option<BootStamp>) -> bool {
        let same_start = self.boot.map(|boot| boot.machine_start) == boot.map(|boot| boot.machine_start);
        (same_start && boot.is_some()) || wall >= self.wall
    }
}

/// Where the journal has got to in time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(Option<ClockStamp>);

impl Timeline {
    /// The moment at which the clocks show this, not before the last entry.
    pub fn at(&self, wall: WallTime, boot: Option<BootStamp>) -> SteadyTime {
        match &self.0 {
            None => SteadyTime::beginning(wall),
            Some(last) => last.steady.after(last.until(wall, boot)),
        }
    }

    /// When the last entry was written; [`None`] before the first.
    pub(super) fn last(&self) -> Option<SteadyTime> {
        self.0.map(|last| last.steady)
    }

    /// Whether it is known how long ago the last entry was written. It is not if the machine was started anew since and
    /// the wall clock shows an earlier time than it did then.
    pub fn knows(&self, wall: WallTime, boot: Option<BootStamp>) -> bool {
        self.0.is_none_or(|last| last.is_comparable(wall, boot))
    }

    /// An entry was folded in.
    pub fn advance(&mut self, wall: WallTime, boot: Option<BootStamp>) {
        let steady = self.at(wall, boot);
        self.0 = Some(ClockStamp { wall, boot, steady });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::MachineStart;

    const HOUR: i64 = 3_600_000;

    const fn boot(machine_start: u64, millis: u64) -> BootStamp {
        BootStamp { machine_start: MachineStart(machine_start), millis }
    }

    fn wall(millis: i64) -> WallTime {
        WallTime::from_millis(100 * HOUR + millis)
    }

    #[test]
    fn what_passed_between_two_entries() {
        let before = (wall(0), Some(boot(1, 50_000)));
        for (what, wall, boot, seconds, known) in [
            ("nothing special", wall(9_000), Some(boot(1, 59_000)), 9, true),
            ("set forward by an hour", wall(9_000 + HOUR), Some(boot(1, 59_000)), 9, true),
            ("set back by an hour", wall(9_000 - HOUR), Some(boot(1, 59_000)), 9, true),
            ("the machine was started anew", wall(60_000), Some(boot(2, 20_000)), 60, true),
            ("and its wall clock lags", wall(10_000), Some(boot(2, 20_000)), 20, true),
            ("or was set back", wall(-HOUR), Some(boot(2, 20_000)), 20, false),
            ("a boot clock that went back is another one", wall(60_000), Some(boot(1, 20_000)), 60, true),
            ("no boot clock is known", wall(60_000), None, 60, true),
            ("nor a wall clock to believe", wall(-HOUR), None, 0, false),
        ] {
            let mut line = Timeline::default();
            line.advance(before.0, before.1);
            let began = line.at(before.0, before.1);
            assert_eq!(line.at(wall, boot).since(began), Duration::from_secs(seconds), "{what}");
            assert_eq!(line.knows(wall, boot), known, "{what}");
            line.advance(wall, boot);
            assert!(line.at(wall, boot) >= began, "{what}");
        }
    }
}
