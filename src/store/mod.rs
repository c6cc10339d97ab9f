//! The journal: the trait, its `SQLite`, and the thread that writes it.

mod compaction;
mod damaged;
mod error;
mod file;
mod owner;
mod recovery;
mod restore;
mod sqlite;
mod thread;

use std::sync::Arc;

pub use compaction::{CompactionBounds, Tidied};
pub use damaged::DamagedStore;
pub use error::StoreError;
pub use file::has_no_room;
#[cfg(test)]
pub(crate) use recovery::checksum;
pub use restore::Restored;
pub use sqlite::SqliteStore;
pub use thread::{StoreEvent, StoreHandle, spawn};

use crate::core::{entry::Entry, event::Sequence};

/// Where entries become durable.
pub trait Journal: Send {
    /// Makes the batch durable, all of it or nothing. Entries that are there already, with the same content, are left
    /// so: whoever does not know whether an append came through repeats it.
    fn append(&mut self, batch: &[(Sequence, Arc<Entry>)]) -> Result<(), StoreError>;

    /// Keeps the journal small, a little at a time, while nothing waits to be appended. What fails is tried again
    /// later.
    fn tidy(&mut self) -> Tidied {
        Tidied::Nothing
    }

    /// Writes something that is no entry, durably. After an inspection that found it whole this proves that the store
    /// is well again, though there is nothing to append.
    fn prove_writable(&mut self) -> Result<(), StoreError>;

    /// Looks whether what was made durable is still there and whole, on the disk and not in somebody's memory.
    fn inspect(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
