//! Requests and errors.

use super::{Division, View, ring::Ring, widen};
use crate::core::time::BootTime;

/// Most slots of a ring of counts: five seconds each in ten minutes, 3 KiB.
const SLOTS_LIMIT: u64 = 120;

const TOTAL: usize = 0;
const ERRORS: usize = 1;
const HEARD: usize = 2;
const COLUMNS: usize = 3;

/// Requests, errors and looks in slots of time.
#[derive(Debug)]
pub struct CountWindow(Ring<u64>);

/// What a view saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountSums {
    /// Requests.
    pub total: u64,
    /// Errors among them.
    pub errors: u64,
    /// Looks that were heard.
    pub heard: u64,
    /// How long the window was, in nanoseconds.
    pub span_nanos: u64,
}

impl CountWindow {
    /// An empty ring that serves all of `views`.
    pub fn new(views: &[View], now: BootTime) -> Self {
        Self(Ring::new(Division::of(views, SLOTS_LIMIT), COLUMNS, now))
    }

    /// Adds one look's counts; false if they are too old. `heard` tells whether the look is one that was expected.
    pub fn record(&mut self, time: BootTime, total: u64, errors: u64, heard: bool) -> bool {
        self.0.add(time, &[total, errors, u64::from(heard)])
    }

    /// What is in the window just now.
    pub fn sums(&self, now: BootTime, view: &View) -> CountSums {
        let division = self.0.division();
        let (least, most) = (division.slots_in(view.over), division.slots_in(view.widen_to.max(view.over)));
        let slots = widen(least, most, |slots| self.0.sum(now, slots, TOTAL) >= view.min_requests);
        let sum = |column| self.0.sum(now, slots, column);
        CountSums {
            total: sum(TOTAL),
            errors: sum(ERRORS),
            heard: sum(HEARD),
            span_nanos: slots * division.width_nanos,
        }
    }

    /// When the current slot ends, and with it the oldest one leaves.
    pub fn next_change(&self, now: BootTime) -> BootTime {
        self.0.slot_end(now)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Memory on the heap.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
