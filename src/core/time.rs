//! The two clocks that the core is told about, as plain values.
//!
//! [`BootTime`] counts on through suspend and is never stepped: everything that slides or runs out while the process
//! lives is measured with it. [`WallTime`] is what people read and what must outlive the process (soak, cooldown,
//! approvals). The core never asks for either; both come in with each event.
//!
//! What outlives the process is reckoned in [`SteadyTime`]: the journal's own time line, which grows between two entries
//! by what the boot clock says passed, where both were written since the same start of the machine, and else by what the
//! wall clock says, never backwards. So a stepped wall clock moves nothing.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Nanoseconds since the machine started, suspend included (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootTime(u64);

impl BootTime {
    /// The instant at which the machine started.
    pub const START: Self = Self(0);

    /// An instant `nanos` nanoseconds after the start of the machine.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the machine.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed from `earlier` until `self`; zero if `earlier` is the later of the two.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The instant `duration` earlier, not before the start of the machine.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970-01-01T00:00:00Z. Serialized as RFC 3339 text, so that a journal can be read by eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(i64);

impl WallTime {
    /// The instant `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for WallTime {
    /// As people read it everywhere, to the second: `2026-01-07 10:30:00 UTC`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(formatter, "{}", timestamp.strftime("%Y-%m-%d %H:%M:%S UTC")),
            Err(_) => write!(formatter, "{} ms", self.0),
        }
    }
}

impl WallTime {
    /// As programs read it.
    pub const fn rfc3339(self) -> Rfc3339 {
        Rfc3339(self)
    }
}

/// RFC 3339 in UTC, with milliseconds: `2026-01-07T10:30:00.000Z`.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(WallTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(WallTime(millis)) = self;
        match jiff::Timestamp::from_millisecond(*millis) {
            Ok(timestamp) => write!(formatter, "{timestamp:.3}"),
            Err(_) => write!(formatter, "{millis} ms"),
        }
    }
}

impl Serialize for WallTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse::<jiff::Timestamp>()
            .map(|timestamp| Self(timestamp.as_millisecond()))
            .map_err(serde::de::Error::custom)
    }
}

/// Milliseconds on the journal's own time line. It begins as the wall time of the journal's first entry and never goes
/// back; after steps of the wall clock the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SteadyTime(i64);

impl SteadyTime {
    /// The beginning of a journal whose first entry is from then.
    pub const fn beginning(at: WallTime) -> Self {
        Self(at.0)
    }

    /// Milliseconds from `other` until `self`, negative if `other` is the later of the two.
    pub const fn millis_from(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// The moment at which the wall clock shows `then`, if it shows `wall` at this one.
    #[must_use]
    pub fn when_wall_shows(self, then: WallTime, wall: WallTime) -> Self {
        Self(self.0.saturating_add(then.0.saturating_sub(wall.0)))
    }
}

/// The arithmetic of a time line in milliseconds. Each has its own, so that moments of two never mix.
macro_rules! counts_milliseconds {
    ($line:ident) => {
        impl $line {
            /// The time that passed from `earlier` until `self`; zero if `earlier` is the later of the two.
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
            }

            /// The moment `duration` later.
            #[must_use]
            pub fn after(self, duration: Duration) -> Self {
                Self(self.0.saturating_add(millis(duration)))
            }

            /// The moment `duration` earlier.
            #[must_use]
            pub fn before(self, duration: Duration) -> Self {
                Self(self.0.saturating_sub(millis(duration)))
            }
        }
    };
}

counts_milliseconds!(WallTime);
counts_milliseconds!(SteadyTime);

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Which start of the machine a reading of the boot clock belongs to: readings of two starts do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineStart(pub u64);

/// A reading of the boot clock that is worth something after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BootStamp {
    /// Which start of the machine.
    pub machine_start: MachineStart,
    /// Milliseconds since then.
    pub millis: u64,
}

impl BootStamp {
    /// The reading `boot` of the machine's start.
    pub const fn new(machine_start: MachineStart, boot: BootTime) -> Self {
        Self { machine_start, millis: boot.as_nanos() / 1_000_000 }
    }
}

/// One reading of both clocks, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For what slides and runs out.
    pub boot: BootTime,
    /// For what is stored and shown.
    pub wall: WallTime,
}

impl Now {
    /// Both clocks, `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self { boot: self.boot.after(duration), wall: self.wall.after(duration) }
    }

    /// What the wall clock showed at boot time `then`, judged from this reading.
    pub fn wall_at(self, then: BootTime) -> WallTime {
        if then <= self.boot { self.wall.before(self.boot.since(then)) } else { self.wall.after(then.since(self.boot)) }
    }

    /// The boot time at which the wall clock showed `then`, judged from this reading.
    pub fn boot_at(self, then: WallTime) -> BootTime {
        if then <= self.wall { self.boot.before(self.wall.since(then)) } else { self.boot.after(then.since(self.wall)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_reads_back_what_it_wrote() {
        let written = WallTime::from_millis(1_767_781_800_123);
        let text = serde_json::to_string(&written).expect("a string");
        assert_eq!(text, "\"2026-01-07T10:30:00.123Z\"");
        assert_eq!(written.to_string(), "2026-01-07 10:30:00 UTC", "and for people");
        assert_eq!(serde_json::from_str::<WallTime>(&text).expect("a time"), written);
    }

    #[test]
    fn a_stepped_back_wall_clock_gives_no_negative_spans() {
        assert_eq!(WallTime::from_millis(5).since(WallTime::from_millis(9)), Duration::ZERO);
        assert_eq!(BootTime::from_nanos(5).since(BootTime::from_nanos(9)), Duration::ZERO);
    }
}
