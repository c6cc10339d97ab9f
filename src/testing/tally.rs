//! Counts what really happened in a run, by name: a fault that never occurs proves nothing.

use std::collections::BTreeMap;

/// How often each thing happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds a run in which something happened, once for each thing however often it did.
    pub fn add_run(&mut self, run: &Self) {
        for what in run.0.keys() {
            self.count(what);
        }
    }

    /// How often it happened.
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// All of it, by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, count)| (*what, *count))
    }
}
