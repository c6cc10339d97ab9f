//! The ring itself: running sums, remembered at boundaries of time.

use super::Division;
use crate::core::time::BootTime;

/// A counter that wraps: differences within one window are exact as long as they fit.
pub(super) trait Cell: Copy + Default + std::fmt::Debug + Into<u64> {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
}

macro_rules! cell {
    ($($type:ty)*) => {
        $(impl Cell for $type {
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        })*
    };
}

cell!(u32 u64);

/// A place at which a sum may begin or end: a boundary between two slots of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boundary {
    level: u32,
    /// Counted in slots of its level since the start of the machine.
    number: u64,
}

/// Running sums: the newest, and those remembered at the last boundaries of each level.
///
/// Slots of level `k` are `2^k` times as wide as those of level 0, so that a boundary of any level is one of every finer
/// level too. What was counted before a boundary is in its row.
#[derive(Debug)]
pub(super) struct Ring<T> {
    division: Division,
    columns: usize,
    /// The newest slot of level 0 that something was added to, or that of the beginning.
    head: u64,
    /// The newest sums, then each level's rows.
    rows: Box<[T]>,
}

impl<T: Cell> Ring<T> {
    pub(super) fn new(division: Division, columns: usize, now: BootTime) -> Self {
        let rows = usize::try_from(division.rows()).expect("a ring is small") * columns;
        let head = now.as_nanos() / division.width_nanos;
        Self { division, columns, head, rows: vec![T::default(); rows].into_boxed_slice() }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.rows)
    }

    pub(super) fn clear(&mut self) {
        self.rows.fill(T::default());
    }

    /// Whether both times lie in one slot.
    pub(super) fn is_same_slot(&self, one: BootTime, other: BootTime) -> bool {
        one.as_nanos() / self.division.width_nanos == other.as_nanos() / self.division.width_nanos
    }

    /// Adds to the slot of `time`; false if that is older than every boundary that is remembered.
    #[inline]
    pub(super) fn add(&mut self, time: BootTime, values: &[T]) -> bool {
        let slot = time.as_nanos() / self.division.width_nanos;
        if slot > self.head {
            self.advance(slot);
        } else if slot < self.head && !self.add_late(slot, values) {
            return false;
        }
        add_to(&mut self.rows[..self.columns], values);
        true
    }

    /// A late sample belongs to every remembered sum from the end of its own slot on.
    fn add_late(&mut self, slot: u64, values: &[T]) -> bool {
        let top = self.division.levels - 1;
        if slot < self.oldest(top) << top {
            return false;
        }
        for level in 0..self.division.levels {
            for number in ((slot >> level) + 1).max(self.oldest(level))..=self.head >> level {
                let place = self.place(Boundary { level, number });
                add_to(&mut self.rows[place..place + self.columns], values);
            }
        }
        true
    }

    /// Remembers the newest sums at every boundary up to that before `slot`.
    fn advance(&mut self, slot: u64) {
        for level in 0..self.division.levels {
            let (before, after) = (self.head >> level, slot >> level);
            if before == after {
                break;
            }
            // After a jump longer than the level every row is the same; going round once is enough.
            for number in (before + 1).max((after + 1).saturating_sub(self.division.per_level()))..=after {
                let place = self.place(Boundary { level, number });
                self.rows.copy_within(..self.columns, place);
            }
        }
        self.head = slot;
    }

    /// The number of the oldest boundary that a level remembers.
    fn oldest(&self, level: u32) -> u64 {
        ((self.head >> level) + 1).saturating_sub(self.division.per_level())
    }

    fn place(&self, boundary: Boundary) -> usize {
        let row =
            1 + u64::from(boundary.level) * self.division.per_level() + boundary.number % self.division.per_level();
        usize::try_from(row).expect("a ring is small") * self.columns
    }

    fn width(&self, level: u32) -> u64 {
        self.division.width_nanos << level
    }

    /// When a boundary is, in nanoseconds.
    pub(super) fn time_of(&self, boundary: Boundary) -> u64 {
        boundary.number.saturating_mul(self.width(boundary.level))
    }

    /// Where a window of `length` begins: the first boundary in it, of the level whose slots are fine enough for that
    /// length.
    pub(super) fn begin_of(&self, now: BootTime, length: u64) -> Boundary {
        let level = self.division.level_for(length);
        let number = now.as_nanos().saturating_sub(length).div_ceil(self.width(level));
        Boundary { level, number: number.max(self.oldest(level)) }
    }

    /// When a window of `length` that begins at `begin` will begin at the next boundary.
    pub(super) fn moves_at(&self, begin: Boundary, length: u64) -> BootTime {
        BootTime::from_nanos(self.time_of(begin).saturating_add(length).saturating_add(1))
    }

    /// The last boundary at or before `time`, of the finest level that remembers it; the oldest of all if none does.
    pub(super) fn last_until(&self, time: BootTime) -> Boundary {
        let top = self.division.levels - 1;
        for level in 0..top {
            let number = time.as_nanos() / self.width(level);
            if number >= self.oldest(level) {
                return Boundary { level, number };
            }
        }
        Boundary { level: top, number: (time.as_nanos() / self.width(top)).max(self.oldest(top)) }
    }

    /// Begins at `begin` or, if `enough` does not hold of what was counted since, at the latest boundary before it at
    /// which it does; not before `limit`. `enough` is monotone.
    pub(super) fn widen(&self, begin: Boundary, limit: Boundary, enough: impl Fn(Boundary) -> bool) -> Boundary {
        if enough(begin) {
            return begin;
        }
        let mut too_few = begin;
        for level in begin.level..=limit.level {
            // What is known to be too little, in this level's slots.
            let after = self.time_of(too_few).div_ceil(self.width(level));
            let last = if level == limit.level { limit.number } else { self.oldest(level) };
            if last >= after {
                continue;
            }
            let oldest = Boundary { level, number: last };
            if !enough(oldest) {
                too_few = oldest;
                continue;
            }
            let (mut found, mut few) = (last, after);
            while few - found > 1 {
                let middle = found + (few - found) / 2;
                if enough(Boundary { level, number: middle }) {
                    found = middle;
                } else {
                    few = middle;
                }
            }
            return Boundary { level, number: found };
        }
        limit
    }

    /// The sum of one column since `begin`.
    pub(super) fn since(&self, begin: Boundary, column: usize) -> u64 {
        self.rows[column].minus(self.until(begin, column)).into()
    }

    /// The sum of one column between two boundaries.
    pub(super) fn between(&self, begin: Boundary, end: Boundary, column: usize) -> u64 {
        if self.time_of(begin) >= self.time_of(end) {
            return 0;
        }
        self.until(end, column).minus(self.until(begin, column)).into()
    }

    /// The running sum at a boundary. After the newest sample all are the newest sum.
    fn until(&self, boundary: Boundary, column: usize) -> T {
        if boundary.number > self.head >> boundary.level {
            return self.rows[column];
        }
        self.rows[self.place(boundary) + column]
    }
}

fn add_to<T: Cell>(row: &mut [T], values: &[T]) {
    for (cell, value) in row.iter_mut().zip(values) {
        *cell = cell.plus(*value);
    }
}
