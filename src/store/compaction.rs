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

use rusqlite::{Connection, TransactionBehavior};

use super::{
    SqliteStore, StoreError,
    recovery::Snapshot,
    sqlite::{pragma, row_id, sequence},
};
use crate::core::{
    durable::Timeline,
    event::Sequence,
    time::{BootStamp, WallTime},
};

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

/// Within what bounds the journal is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionBounds {
    /// Entries are kept for so long, beside the snapshot that covers them.
    pub keep: Duration,
    /// A snapshot is made after so many entries.
    pub snapshot_after: u64,
    /// Most entries that are kept although a snapshot covers them, however young.
    pub covered_limit: u64,
}

impl CompactionBounds {
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
    bounds: Option<CompactionBounds>,
    stage: Stage,
    /// Not before the journal has come so far.
    not_before: Sequence,
    /// Up to this entry the journal is older than is kept.
    old: Sequence,
}

/// What the folding thread found.
#[derive(Debug)]
struct Folded {
    snapshot: Snapshot,
    /// Up to this entry the journal is older than is kept.
    old: Sequence,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Folding(JoinHandle<Result<Option<Folded>, StoreError>>),
    Deleting,
}

impl SqliteStore {
    /// From here on it is kept small.
    pub fn compact_within(&mut self, bounds: CompactionBounds) {
        self.compaction.bounds = Some(bounds);
    }

    /// The entry up to which the snapshot covers the journal; 0 without one.
    pub fn covered(&self) -> Sequence {
        self.covered
    }

    pub(super) fn compact(&mut self) -> Tidied {
        let Some(bounds) = self.compaction.bounds else { return Tidied::Nothing };
        let (done, doing) = match std::mem::take(&mut self.compaction.stage) {
            Stage::Idle => (self.begin(&bounds), "begin"),
            Stage::Folding(folding) if !folding.is_finished() => {
                self.compaction.stage = Stage::Folding(folding);
                return Tidied::Waits;
            }
            Stage::Folding(folding) => (self.snapshot(folding), "make a snapshot in"),
            Stage::Deleting => (self.delete(&bounds), "delete from"),
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

    fn begin(&mut self, bounds: &CompactionBounds) -> Result<Tidied, StoreError> {
        let last = self.last();
        if last < self.compaction.not_before || last.0 - self.covered.0 < bounds.snapshot_after {
            return Ok(Tidied::Nothing);
        }
        let (path, covered, bounds) = (self.path.clone(), self.covered, *bounds);
        let folding = thread::Builder::new().name("compaction".to_owned()).spawn(move || fold(&path, covered, &bounds));
        let refused = |error: std::io::Error| StoreError::Open { path: self.path.clone(), reason: error.to_string() };
        self.compaction.stage = Stage::Folding(folding.map_err(refused)?);
        Ok(Tidied::Waits)
    }

    fn snapshot(&mut self, folding: JoinHandle<Result<Option<Folded>, StoreError>>) -> Result<Tidied, StoreError> {
        let Some(Folded { snapshot, old }) = folding.join().map_err(|_panic| StoreError::Gone)?? else {
            self.put_off();
            return Ok(Tidied::Nothing);
        };
        self.write(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            snapshot.write(&transaction)?;
            transaction.commit()
        })?;
        self.covered = snapshot.sequence;
        self.compaction.old = old;
        self.compaction.stage = Stage::Deleting;
        Ok(Tidied::More)
    }

    fn delete(&mut self, bounds: &CompactionBounds) -> Result<Tidied, StoreError> {
        // The last entry that is covered stays: with nothing before it, a journal without its snapshot has a gap.
        let too_many = Sequence(self.covered.0.saturating_sub(bounds.covered_limit));
        let last = self.compaction.old.max(too_many).min(Sequence(self.covered.0.saturating_sub(1)));
        let more = self.write(|connection| delete(connection, last))?;
        if !more {
            return Ok(Tidied::Nothing);
        }
        self.compaction.stage = Stage::Deleting;
        Ok(Tidied::More)
    }
}

/// The state that is on the disk, and what of the journal is old. None if it is not the moment to write it: a plan is
/// under way, and its commits come first.
fn fold(path: &Path, covered: Sequence, bounds: &CompactionBounds) -> Result<Option<Folded>, StoreError> {
    let store = SqliteStore::open_read_only(path)?;
    let durable = store.recover()?;
    let is_acting = durable.incidents.values().any(|incident| incident.active_plan().is_some());
    let is_long = durable.last.0 - covered.0 >= bounds.snapshot_after * PATIENCE;
    if is_acting && !is_long {
        return Ok(None);
    }
    let old = old(store.readable()?, bounds.keep).map_err(StoreError::read)?;
    Ok(Some(Folded { snapshot: Snapshot::of(&durable), old }))
}

/// The last entry that was written longer than `keep` before the newest one; 0 if there is none. By the journal's own time
/// line: what a wall clock showed that was wrong for a while makes nothing old. Reads what is kept, backwards.
fn old(connection: &Connection, keep: Duration) -> rusqlite::Result<Sequence> {
    let mut newest_first = connection.prepare("SELECT sequence, entry FROM journal ORDER BY sequence DESC")?;
    let mut rows = newest_first.query([])?;
    let mut age = Duration::ZERO;
    let mut later: Option<Written> = None;
    while let Some(row) = rows.next()? {
        // What cannot be understood is as old as what comes after it.
        let Some(written) = row.get_ref(1)?.as_str().ok().and_then(written) else { continue };
        age += later.map_or(Duration::ZERO, |later| written.until(later));
        if age > keep {
            return Ok(sequence(row.get(0)?));
        }
        later = Some(written);
    }
    Ok(Sequence(0))
}

/// Deletes the first entries, up to the `last` that need not be kept, and gives room back. True if there is more of either.
fn delete(connection: &mut Connection, last: Sequence) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let count = transaction.execute(
        "DELETE FROM journal WHERE sequence IN (SELECT sequence FROM journal WHERE sequence <= ?1 ORDER BY sequence LIMIT ?2)",
        rusqlite::params![row_id(last), DELETED_AT_ONCE],
    )?;
    transaction.commit()?;
    if count == DELETED_AT_ONCE as usize { Ok(true) } else { give_back(connection) }
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

/// When an entry was written, by both clocks.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
struct Written {
    at: WallTime,
    #[serde(default)]
    boot: Option<BootStamp>,
}

impl Written {
    /// How long after this the `later` one was written.
    fn until(self, later: Self) -> Duration {
        let mut line = Timeline::default();
        line.advance(self.at, self.boot);
        line.at(later.at, later.boot).since(line.at(self.at, self.boot))
    }
}

fn written(entry: &str) -> Option<Written> {
    serde_json::from_str(entry).ok()
}
