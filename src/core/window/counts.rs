//! Requests and errors.

use super::{COUNT_ROWS_LIMIT, Division, View, ring::Ring};
use crate::core::time::BootTime;

const TOTAL: usize = 0;
const ERRORS: usize = 1;
const HEARD: usize = 2;
const LATENCY_HEARD: usize = 3;
const COLUMNS: usize = 4;

/// Requests, errors and polls in slots of time.
#[derive(Debug)]
pub struct CountWindow(Ring<u64>);

/// When one poll was heard, if it is one that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// Its counts.
    pub counts: Option<BootTime>,
    /// Its durations.
    pub latency: Option<BootTime>,
}

/// What a view saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountSums {
    /// Requests.
    pub total: u64,
    /// Errors among them.
    pub errors: u64,
    /// When the window begins.
    pub begin: BootTime,
    /// The length that was asked for, or that it was widened to.
    pub span_nanos: u64,
    /// When it begins at another time if nothing more is recorded.
    pub changes_at: BootTime,
}

impl CountWindow {
    /// An empty ring that serves all of `views`.
    pub fn new(views: &[View], now: BootTime) -> Self {
        Self(Ring::new(Division::of(views, COUNT_ROWS_LIMIT), COLUMNS, now))
    }

    /// Adds one poll's counts; false if they are too old. Where the poll is one that was expected, `heard` tells when it
    /// was heard.
    pub fn record(&mut self, time: BootTime, total: u64, errors: u64, heard: Heard) -> bool {
        match heard {
            Heard { counts: Some(counts), latency }
                if self.0.is_same_slot(time, counts) && latency.is_none_or(|at| at == counts) =>
            {
                self.0.add(time, &[total, errors, 1, u64::from(latency.is_some())])
            }
            Heard { counts, latency } => {
                for (at, row) in [(counts, [0, 0, 1, 0]), (latency, [0, 0, 0, 1])] {
                    at.map(|at| self.0.add(at, &row));
                }
                self.0.add(time, &[total, errors, 0, 0])
            }
        }
    }

    /// What is in the window just now.
    pub fn sums(&self, now: BootTime, view: &View) -> CountSums {
        let window = view.window(&self.0, now, |begin| self.0.since(begin, TOTAL));
        CountSums {
            total: self.0.since(window.begin, TOTAL),
            errors: self.0.since(window.begin, ERRORS),
            begin: BootTime::from_nanos(self.0.time_of(window.begin)),
            span_nanos: window.span_nanos,
            changes_at: window.changes_at,
        }
    }

    /// Polls heard since `begin`, with durations where `latency`. Reaches back no further than the ring.
    pub fn heard_since(&self, begin: BootTime, latency: bool) -> u64 {
        self.0.since(self.0.last_until(begin), if latency { LATENCY_HEARD } else { HEARD })
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Memory on the heap.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
