//! Keeps the store small. Now and then the state is written as a snapshot, from which a start goes on; of the entries
//! that it covers the old ones are deleted.
//!
//! A thread of its own folds what is on the disk, for reading only; the store's thread writes the result when nothing
//! waits to be written, and deletes in small transactions. Each leaves a whole store behind: a snapshot that is there
//! covers whatever is deleted, so that an end at any moment loses nothing.

use std::{
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{
    SqliteStore, StoreError,
    recovery::Snapshot,
    sqlite::{pragma, row_id, sequence},
};
use crate::core::{event::Sequence, time::WallTime};

/// A snapshot is made after so many entries: folding them takes a start a tenth of a second.
const SNAPSHOT_AFTER: u64 = 4096;
/// Most entries that are kept although a snapshot covers them: some fifty megabytes.
const COVERED_LIMIT: u64 = 50_000;
/// While a plan is under way no snapshot is written, unless so many times the usual number of entries wait for one.
const PATIENCE: u64 = 4;
/// What failed, or was put off, is tried again after so many entries.
const AGAIN_AFTER: u64 = 256;
/// Entries deleted in one transaction, and pages given back to the file system: a few milliseconds for whoever waits.
const DELETED_AT_ONCE: u32 = 512;
/// So many free pages are kept for what comes next: four megabytes.
const FREE_KEPT_PAGES: i64 = 1024;
/// `SQLite`'s word for a file that gives free pages back when it is told to.
pub(super) const INCREMENTAL: i64 = 2;

/// How much of the journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Entries are kept for so long, beside the snapshot that covers them.
    pub keep: Duration,
    /// A snapshot is made after so many entries.
    pub snapshot_after: u64,
    /// Most entries that are kept although a snapshot covers them, however young.
    pub covered_limit: u64,
}

impl Retention {
    /// Entries are kept for so long, within the usual bounds.
    pub const fn keeping(keep: Duration) -> Self {
        Self { keep, snapshot_after: SNAPSHOT_AFTER, covered_limit: COVERED_LIMIT }
    }
}

/// What is to be done next to keep a store small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tidied {
    /// Nothing, until more is appended.
    Nothing,
    /// Something is being worked at elsewhere: ask again soon.
    Waits,
    /// There is more to be done at once.
    More,
}

/// How far the work has come.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    retention: Option<Retention>,
    stage: Stage,
    /// Not before the journal has come so far.
    not_before: Sequence,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Folding(JoinHandle<Result<Option<Snapshot>, StoreError>>),
    Deleting,
}

impl SqliteStore {
    /// From here on it is kept small.
    pub fn retain(&mut self, retention: Retention) {
        self.compaction.retention = Some(retention);
    }

    /// The entry up to which the snapshot covers the journal; 0 without one.
    pub fn covered(&self) -> Sequence {
        self.covered
    }

    pub(super) fn compact(&mut self) -> Tidied {
        let Some(retention) = self.compaction.retention else { return Tidied::Nothing };
        let (done, doing) = match std::mem::take(&mut self.compaction.stage) {
            Stage::Idle => (self.begin(&retention), "begin"),
            Stage::Folding(folding) if !folding.is_finished() => {
                self.compaction.stage = Stage::Folding(folding);
                return Tidied::Waits;
            }
            Stage::Folding(folding) => (self.snapshot(folding), "make a snapshot in"),
            Stage::Deleting => (self.delete(&retention), "delete from"),
        };
        done.unwrap_or_else(|error| {
            // Nothing is lost by it but room; what cannot be written at all is told by the next append.
            tracing::warn!("failed to {doing} the compaction of the store: {error}; tried again later");
            self.put_off();
            Tidied::Nothing
        })
    }

    fn put_off(&mut self) {
        self.compaction.not_before = Sequence(self.last().0 + AGAIN_AFTER);
    }

    fn begin(&mut self, retention: &Retention) -> Result<Tidied, StoreError> {
        let last = self.last();
        if last < self.compaction.not_before || last.0 - self.covered.0 < retention.snapshot_after {
            return Ok(Tidied::Nothing);
        }
        let (path, covered, most) = (self.path.clone(), self.covered, retention.snapshot_after * PATIENCE);
        let folding = thread::Builder::new().name("compaction".to_owned()).spawn(move || fold(&path, covered, most));
        let refused = |error: std::io::Error| StoreError::Open { path: self.path.clone(), reason: error.to_string() };
        self.compaction.stage = Stage::Folding(folding.map_err(refused)?);
        Ok(Tidied::Waits)
    }

    fn snapshot(&mut self, folding: JoinHandle<Result<Option<Snapshot>, StoreError>>) -> Result<Tidied, StoreError> {
        let Some(snapshot) = folding.join().map_err(|_panic| StoreError::Gone)?? else {
            self.put_off();
            return Ok(Tidied::Nothing);
        };
        self.write(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            snapshot.write(&transaction)?;
            transaction.commit()
        })?;
        self.covered = snapshot.sequence;
        self.compaction.stage = Stage::Deleting;
        Ok(Tidied::More)
    }

    fn delete(&mut self, retention: &Retention) -> Result<Tidied, StoreError> {
        let covered = self.covered;
        let more = self.write(|connection| delete(connection, covered, retention))?;
        if !more {
            return Ok(Tidied::Nothing);
        }
        self.compaction.stage = Stage::Deleting;
        Ok(Tidied::More)
    }
}

/// The state that is on the disk. None if it is not the moment to write it: a plan is under way, and its commits come
/// first.
fn fold(path: &Path, covered: Sequence, most: u64) -> Result<Option<Snapshot>, StoreError> {
    let durable = SqliteStore::open_read_only(path)?.recover()?;
    let is_acting = durable.incidents.values().any(|incident| incident.active_plan().is_some());
    let is_long = durable.last.0 - covered.0 >= most;
    Ok((is_long || !is_acting).then(|| Snapshot::of(&durable)))
}

/// Deletes the first entries that need not be kept, and gives room back. True if there is more of either.
fn delete(connection: &mut Connection, covered: Sequence, retention: &Retention) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let newest: Option<String> = transaction
        .query_row("SELECT entry FROM journal ORDER BY sequence DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    // By the journal's own time: no other clock is needed.
    let before = newest.as_deref().and_then(written_at).map(|at| at.before(retention.keep));
    let many = covered.0.saturating_sub(retention.covered_limit);
    let mut last = None;
    let mut count = 0;
    {
        // The last entry that is covered stays: with nothing before it, a journal without its snapshot has a gap.
        let mut oldest = transaction
            .prepare_cached("SELECT sequence, entry FROM journal WHERE sequence < ?1 ORDER BY sequence LIMIT ?2")?;
        let mut rows = oldest.query(rusqlite::params![row_id(covered), DELETED_AT_ONCE])?;
        while let Some(row) = rows.next()? {
            let row_id: i64 = row.get(0)?;
            if sequence(row_id).0 > many && row.get_ref(1)?.as_str().ok().and_then(written_at) >= before {
                break;
            }
            last = Some(row_id);
            count += 1;
        }
    }
    if let Some(last) = last {
        transaction.execute("DELETE FROM journal WHERE sequence <= ?1", [last])?;
    }
    transaction.commit()?;
    if count == DELETED_AT_ONCE { Ok(true) } else { give_back(connection) }
}

/// Gives pages that nothing is in any more back to the file system, where they are many; a few are soon used again. True
/// if there are more.
fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
    let (free, all) = (pragma(connection, "freelist_count")?, pragma(connection, "page_count")?);
    if pragma(connection, "auto_vacuum")? != INCREMENTAL || !is_much(free, all) {
        return Ok(false);
    }
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({DELETED_AT_ONCE})"))?;
    Ok(pragma(connection, "freelist_count")? < free)
}

/// Writes the store anew at the start where most of it is empty and it cannot give pages back by itself: one of an
/// earlier form, after its first compaction.
pub(super) fn shrink(connection: &Connection) -> rusqlite::Result<()> {
    let (free, all) = (pragma(connection, "freelist_count")?, pragma(connection, "page_count")?);
    if pragma(connection, "auto_vacuum")? == INCREMENTAL || !is_much(free, all) {
        return Ok(());
    }
    connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
    connection.execute_batch("VACUUM")
}

/// Whether so many free pages are worth giving back.
const fn is_much(free: i64, all: i64) -> bool {
    free >= FREE_KEPT_PAGES && free > all / 2
}

/// When an entry was written. The last one is always understood; of what is covered nothing else matters any more.
fn written_at(entry: &str) -> Option<WallTime> {
    #[derive(serde::Deserialize)]
    struct Written {
        at: WallTime,
    }
    serde_json::from_str::<Written>(entry).ok().map(|written| written.at)
}
