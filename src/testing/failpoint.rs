//! Ends the daemon as `kill -9` does, at the entry of its journal that a test orders: just before that is durable, when
//! what it tells of was done already, or just after, when what follows from it was not begun.

use std::{path::PathBuf, sync::Arc};

use rustix::process::{Signal, getpid, kill_process};

use crate::{
    core::{entry::Entry, event::Sequence},
    store::{Journal, StoreError, Tidied},
};

/// Names the file with the order, `before 37` or `after 37`. It is read at each append; without it nothing happens.
const ORDER: &str = "BACKSTOP_FAILPOINT";

/// On which side of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// A journal beside which the process ends.
#[derive(Debug)]
pub struct Failpoint<J> {
    journal: J,
    order: Option<PathBuf>,
}

impl<J: Journal> Failpoint<J> {
    /// With the order that the environment names, if it names one.
    pub fn from_environment(journal: J) -> Self {
        Self { journal, order: std::env::var_os(ORDER).map(PathBuf::from) }
    }

    fn order(&self) -> Option<(Side, Sequence)> {
        let text = std::fs::read_to_string(self.order.as_ref()?).ok()?;
        let (side, number) = text.trim().split_once(' ')?;
        let side = if side == "before" { Side::Before } else { Side::After };
        Some((side, Sequence(number.parse().ok()?)))
    }
}

impl<J: Journal> Journal for Failpoint<J> {
    fn append(&mut self, batch: &[(Sequence, Arc<Entry>)]) -> Result<(), StoreError> {
        let ordered = self.order().filter(|(_, at)| batch.iter().any(|(sequence, _)| sequence >= at));
        let end_at = |side| {
            if ordered.is_some_and(|(ordered, _)| ordered == side) {
                kill_process(getpid(), Signal::KILL).expect("a process may end itself");
            }
        };
        end_at(Side::Before);
        self.journal.append(batch)?;
        end_at(Side::After);
        Ok(())
    }

    fn tidy(&mut self) -> Tidied {
        self.journal.tidy()
    }

    fn prove_writable(&mut self) -> Result<(), StoreError> {
        self.journal.prove_writable()
    }

    fn inspect(&mut self) -> Result<(), StoreError> {
        self.journal.inspect()
    }
}
