//! The ring itself.

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

/// Rows of running sums, one row a slot.
#[derive(Debug)]
pub(super) struct Ring<T> {
    division: Division,
    columns: usize,
    /// The newest slot that has a row, see [`Self::slot_of`].
    head: u64,
    /// One row more than there are slots: the sums before the oldest slot.
    rows: Box<[T]>,
}

impl<T: Cell> Ring<T> {
    pub(super) fn new(division: Division, columns: usize, now: BootTime) -> Self {
        let rows = usize::try_from(division.slots + 1).expect("a ring is small") * columns;
        let mut ring = Self { division, columns, head: 0, rows: vec![T::default(); rows].into_boxed_slice() };
        ring.head = ring.slot_of(now);
        ring
    }

    pub(super) fn division(&self) -> Division {
        self.division
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.rows)
    }

    /// Slots count from one ring before the start of the machine, so that a full window fits before any time.
    pub(super) fn slot_of(&self, time: BootTime) -> u64 {
        time.as_nanos() / self.division.width_nanos + self.division.slots
    }

    /// When the slot of `time` ends.
    pub(super) fn slot_end(&self, time: BootTime) -> BootTime {
        let width = self.division.width_nanos;
        BootTime::from_nanos((time.as_nanos() / width + 1).saturating_mul(width))
    }

    fn place(&self, slot: u64) -> usize {
        let row = slot % (self.division.slots + 1);
        usize::try_from(row).expect("a ring is small") * self.columns
    }

    /// Adds to the slot of `time`; false if that has left the ring.
    pub(super) fn add(&mut self, time: BootTime, values: &[T]) -> bool {
        let slot = self.slot_of(time);
        if slot > self.head {
            self.advance(slot);
        } else if self.head - slot >= self.division.slots {
            return false;
        }
        // A late sample belongs to every sum from its own slot on.
        for later in slot..=self.head {
            let place = self.place(later);
            for (cell, value) in self.rows[place..place + self.columns].iter_mut().zip(values) {
                *cell = cell.plus(*value);
            }
        }
        true
    }

    fn advance(&mut self, slot: u64) {
        let newest = self.place(self.head);
        // After a jump longer than the ring every row is the same; going round once is enough.
        for next in (self.head + 1).max(slot.saturating_sub(self.division.slots))..=slot {
            let place = self.place(next);
            if place != newest {
                self.rows.copy_within(newest..newest + self.columns, place);
            }
        }
        self.head = slot;
    }

    /// The sum of one column over the `slots` slots that end with the one of `now`.
    pub(super) fn sum(&self, now: BootTime, slots: u64, column: usize) -> u64 {
        let until = self.slot_of(now).max(self.head);
        let from = until.saturating_sub(slots.min(self.division.slots));
        if from >= self.head {
            return 0;
        }
        let oldest = self.head.saturating_sub(self.division.slots);
        let newest = self.rows[self.place(self.head) + column];
        newest.minus(self.rows[self.place(from.max(oldest)) + column]).into()
    }

    /// The sum of one column over the last `slots` slots that had ended by `then`, as far as the ring still holds them.
    pub(super) fn sum_until(&self, then: BootTime, slots: u64, column: usize) -> u64 {
        let oldest = self.head.saturating_sub(self.division.slots);
        let until = self.slot_of(then).saturating_sub(1);
        let from = until.saturating_sub(slots);
        let upto = |slot: u64| self.rows[self.place(slot.clamp(oldest, self.head)) + column];
        upto(until).minus(upto(from)).into()
    }

    pub(super) fn clear(&mut self) {
        self.rows.fill(T::default());
    }
}
