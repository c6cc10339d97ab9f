//! The journal in an embedded `SQLite` database.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use uuid::Uuid;

use super::{
    Journal, StoreError,
    compaction::{self, Compaction, INCREMENTAL, Tidied},
    file::{LOG_LIMIT_BYTES, connect, connect_immutable, examine, identity, open_error},
    owner::{Owner, beside},
    recovery::{checksum, covered, read_entries, verify},
    restore,
};
use crate::{
    core::{entry::Entry, event::Sequence},
    record::atomic,
};

/// Marks the file as ours: `Back` in ASCII.
const APPLICATION_ID: i64 = 0x4261_636b;

/// The schema that this version writes. A new one is one more of [`MIGRATIONS`], and a store of the form before it is
/// kept among the tests' fixtures.
const SCHEMA_VERSION: i64 = 3;

/// The steps from each schema to the next; the first leads from schema 1. Each runs in one transaction with the mark of
/// the schema that it leads to, so that a store is never between two.
const MIGRATIONS: [&str; 2] = [SNAPSHOT_SCHEMA, CHECKSUM_SCHEMA];

const SCHEMA: &str = "
    CREATE TABLE journal (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// The state as it was after an entry; at most one row.
const SNAPSHOT_SCHEMA: &str = "
    CREATE TABLE snapshot (
        sequence INTEGER PRIMARY KEY, form INTEGER NOT NULL, digest TEXT NOT NULL, state TEXT NOT NULL
    ) STRICT;
";

/// Over each entry, so that damage is known for what it is. Entries from before this have none.
const CHECKSUM_SCHEMA: &str = "ALTER TABLE journal ADD COLUMN checksum INTEGER;";

/// The journal in an embedded `SQLite` database. One row for each entry; the entry as JSON, so that it can be read by eye.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) path: PathBuf,
    /// None after an error, until it is opened anew.
    connection: Option<Connection>,
    installation: Uuid,
    /// Device and number of the file, to notice when the path leads to another one.
    file: (u64, u64),
    /// The last entry that is durable.
    last: Sequence,
    /// The last entry that the snapshot covers.
    pub(super) covered: Sequence,
    pub(super) compaction: Compaction,
    /// None where it is only read.
    owner: Option<Owner>,
}

impl SqliteStore {
    /// Opens the store for its one daemon, and makes it where it is not there yet. Its directory must be there: a store
    /// whose file system is not mounted must not begin anew.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        examine(path, true)?;
        let owner = Owner::of(path)?;
        let before = owner.last_opened();
        Self::open_owned(path, owner).map_err(|error| if before.is_some() { error.of_known_store(path) } else { error })
    }

    fn open_owned(path: &Path, mut owner: Owner) -> Result<Self, StoreError> {
        restore::refuse_cut_short(path)?;
        restore::refuse_other_log(path, owner.last_opened())?;
        refuse_emptied(path, owner.last_opened())?;
        if let (Some(before), Ok(false)) = (owner.last_opened(), path.try_exists()) {
            // Somebody took it away, and may want a new one. It must not pass for the old one, emptied, if this is cut short.
            tracing::warn!(installation = %before, "the store that was opened here last is gone; a new one is begun");
            owner.forget().map_err(|source| StoreError::Lock { path: beside(path, ".lock"), source })?;
        }
        let refused = |error: io::Error| StoreError::Open { path: path.to_owned(), reason: error.to_string() };
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(atomic::NEW_FILE_MODE)
            .open(path)
            .and_then(|_made| atomic::sync_directory(atomic::parent(path)))
            .map_err(refused)?;
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if is_empty(path, &connection)? {
            if let Some(before) = owner.last_opened() {
                return Err(emptied(path, before));
            }
            make(&mut connection).map_err(StoreError::write)?;
        }
        Self::check(path, &connection)?;
        migrate(&mut connection, &MIGRATIONS).map_err(StoreError::write)?;
        prepare(&connection).map_err(StoreError::write)?;
        if let Err(error) = compaction::shrink(&connection) {
            // It needs room for a second copy; without it the store is as good, and larger.
            tracing::warn!("failed to give the store's free room back: {error}");
        }
        let mut store = Self::with(path, connection, None)?;
        let noted = owner.opened(store.installation);
        noted.map_err(|source| StoreError::Lock { path: beside(path, ".lock"), source })?;
        store.owner = Some(owner);
        Ok(store)
    }

    /// Opens a store that cannot be written just now, because its file system is full or read-only: what is in it is read,
    /// and appending is tried anew each time. Errors as [`Self::open`]; none but those that room would mend are mended here.
    pub fn open_without_room(path: &Path) -> Result<Self, StoreError> {
        examine(path, false)?;
        let owner = Owner::of(path)?;
        let before = owner.last_opened();
        let opened = Self::open_owned_without_room(path, owner);
        opened.map_err(|error| if before.is_some() { error.of_known_store(path) } else { error })
    }

    fn open_owned_without_room(path: &Path, owner: Owner) -> Result<Self, StoreError> {
        restore::refuse_cut_short(path)?;
        restore::refuse_other_log(path, owner.last_opened())?;
        refuse_emptied(path, owner.last_opened())?;
        // Without a log all of it is in the file, which nobody else writes: then it is read without the files that SQLite
        // would make beside it.
        let has_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
        let connection =
            if has_log { connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)? } else { connect_immutable(path)? };
        if let (Some(before), true) = (owner.last_opened(), is_empty(path, &connection)?) {
            return Err(emptied(path, before));
        }
        Self::check(path, &connection)?;
        let found = pragma(&connection, "user_version").map_err(|error| open_error(path, &error))?;
        if found != SCHEMA_VERSION {
            let reason = "it is of an earlier version, and bringing it up to date takes room on its disk".to_owned();
            return Err(StoreError::Open { path: path.to_owned(), reason });
        }
        Self::with(path, connection, Some(owner))
    }

    /// What was read is known: from here on the store is opened anew, for writing, whenever something is to be appended.
    pub fn reopen_to_append(&mut self) {
        self.connection = None;
    }

    /// Copies the store at `path` into the new file `into`, as it is at one moment, beside its daemon or without one. The
    /// copy is a store by itself, with an installation of its own: put in the place of a lost one, it is gone on with.
    pub fn back_up(path: &Path, into: &Path) -> Result<(), StoreError> {
        let failed = |reason: String| StoreError::Backup { path: into.to_owned(), reason };
        let store = Self::open_read_only(path)?;
        if into.symlink_metadata().is_ok() {
            return Err(failed("it is there already, and is not written over; name a new file".to_owned()));
        }
        let connection = store.connection.as_ref().expect("it was opened just now");
        let unfinished = atomic::beside(into).map_err(|error| failed(error.to_string()))?;
        let copied = copy(connection, &unfinished).and_then(|()| {
            // Unlike a rename it never replaces what came there meanwhile.
            fs::hard_link(&unfinished, into).map_err(|error| error.to_string())?;
            atomic::sync_directory(atomic::parent(into)).map_err(|error| error.to_string())
        });
        // What it says is of no interest beside the first error; nobody knows the file.
        drop(fs::remove_file(&unfinished));
        copied.map_err(failed)
    }

    /// Opens the store for reading, beside its daemon or without one.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        examine(path, false)?;
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Self::check(path, &connection)?;
        Self::with(path, connection, None)
    }

    fn check(path: &Path, connection: &Connection) -> Result<(), StoreError> {
        let unreadable = |error| open_error(path, &error);
        if pragma(connection, "application_id").map_err(unreadable)? != APPLICATION_ID {
            return Err(StoreError::OtherApplication { path: path.to_owned() });
        }
        let found = pragma(connection, "user_version").map_err(unreadable)?;
        if found > SCHEMA_VERSION {
            return Err(StoreError::NewerSchema { path: path.to_owned(), found, known: SCHEMA_VERSION });
        }
        Ok(())
    }

    fn with(path: &Path, connection: Connection, owner: Option<Owner>) -> Result<Self, StoreError> {
        let unreadable = |reason: String| StoreError::Open { path: path.to_owned(), reason };
        let installation: String = connection
            .query_row("SELECT value FROM meta WHERE key = 'installation'", [], |row| row.get(0))
            .map_err(|error| open_error(path, &error))?;
        let installation = installation.parse().map_err(|error| unreadable(format!("its installation: {error}")))?;
        let file = identity(path).map_err(|error| unreadable(error.to_string()))?;
        let last: i64 = connection
            .query_row("SELECT coalesce(max(sequence), 0) FROM journal", [], |row| row.get(0))
            .map_err(|error| open_error(path, &error))?;
        let covered = covered(&connection).map_err(|error| open_error(path, &error))?;
        let last = covered.max(sequence(last));
        let (path, connection, compaction) = (path.to_owned(), Some(connection), Compaction::default());
        Ok(Self { path, connection, installation, file, last, covered, compaction, owner })
    }

    /// Identifies this store among all: made once, when the store was.
    pub fn installation(&self) -> Uuid {
        self.installation
    }

    /// The last entry that was durable when the store was opened or last appended to; 0 for none.
    pub fn last(&self) -> Sequence {
        self.last
    }

    /// Hands every entry from `from` on to `each`, in order. Returns the last one's number; the one before `from` if
    /// there is none. What a snapshot covers may be there no more; see [`SqliteStore::recover`].
    pub fn read_all(&self, from: Sequence, mut each: impl FnMut(Sequence, Entry)) -> Result<Sequence, StoreError> {
        read_entries(self.readable()?, from, |sequence, entry| {
            each(sequence, entry);
            Ok(())
        })
    }

    pub(super) fn readable(&self) -> Result<&Connection, StoreError> {
        let failed = || StoreError::Open { path: self.path.clone(), reason: "its last use failed".to_owned() };
        self.connection.as_ref().ok_or_else(failed)
    }

    /// Writes something that is not the journal's.
    pub(super) fn write<T>(
        &mut self,
        what: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let written = self.connected().and_then(|connection| what(connection).map_err(StoreError::write));
        if written.is_err() {
            self.connection = None;
        }
        written
    }

    /// Reads the file by a connection of its own: ours would answer from its memory, and write on into what is damaged.
    fn inspect_anew(&self) -> Result<(), StoreError> {
        let corrupt = |reason: String| StoreError::Corrupt { path: self.path.clone(), reason };
        if identity(&self.path).ok() != Some(self.file) {
            return Err(StoreError::Replaced { path: self.path.clone() });
        }
        let connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Self::check(&self.path, &connection)?;
        check_pages(&self.path, &connection)?;
        let store = Self::with(&self.path, connection, None)?;
        verify(store.readable()?)?;
        let there = store.last;
        if there != self.last {
            return Err(corrupt(format!("its last entry is {}, and {} was made durable", there.0, self.last.0)));
        }
        Ok(())
    }

    /// The connection, opened anew if the last use of it failed.
    fn connected(&mut self) -> Result<&mut Connection, StoreError> {
        // SQLite would write on into a file that nobody can find again.
        if identity(&self.path).ok() != Some(self.file) {
            return Err(StoreError::Replaced { path: self.path.clone() });
        }
        if self.connection.is_none() {
            let connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            Self::check(&self.path, &connection)?;
            prepare(&connection).map_err(StoreError::write)?;
            self.connection = Some(connection);
        }
        Ok(self.connection.as_mut().expect("it was opened just now"))
    }
}

impl Journal for SqliteStore {
    fn append(&mut self, batch: &[(Sequence, Arc<Entry>)]) -> Result<(), StoreError> {
        if self.owner.is_none() {
            return Err(StoreError::Open { path: self.path.clone(), reason: "it was opened for reading".to_owned() });
        }
        let (last, covered) = (self.last, self.covered);
        let appended = self.connected().and_then(|connection| append(connection, last, covered, batch));
        match &appended {
            Ok(last) => self.last = *last,
            // What SQLite keeps in memory after an error is not trusted.
            Err(StoreError::Database { .. }) => self.connection = None,
            Err(_) => {}
        }
        appended.map(|_last| ())
    }

    fn prove_writable(&mut self) -> Result<(), StoreError> {
        // SQLite would not write what is there already.
        let proof = "INSERT INTO meta (key, value) VALUES ('proofs', '1') ON CONFLICT DO UPDATE SET value = value + 1";
        self.write(|connection| connection.execute(proof, [])).map(|_rows| ())
    }

    fn tidy(&mut self) -> Tidied {
        self.compact()
    }

    fn inspect(&mut self) -> Result<(), StoreError> {
        let inspected = self.inspect_anew().map_err(|error| error.of_known_store(&self.path));
        // Where nothing was found out, the connection that works is kept: perhaps none could be opened in its place.
        if inspected.as_ref().is_err_and(StoreError::is_finding) {
            self.connection = None;
        }
        inspected
    }
}

fn append(
    connection: &mut Connection,
    mut last: Sequence,
    covered: Sequence,
    batch: &[(Sequence, Arc<Entry>)],
) -> Result<Sequence, StoreError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::write)?;
    {
        let mut insert = transaction
            .prepare_cached("INSERT OR IGNORE INTO journal (sequence, entry, checksum) VALUES (?1, ?2, ?3)")
            .map_err(StoreError::write)?;
        let mut select =
            transaction.prepare_cached("SELECT entry FROM journal WHERE sequence = ?1").map_err(StoreError::write)?;
        for (sequence, entry) in batch {
            if sequence.0 > last.0 + 1 {
                return Err(StoreError::Gap(Sequence(last.0 + 1)));
            }
            let text = serde_json::to_string(entry)
                .map_err(|error| StoreError::Entry { sequence: *sequence, reason: error.to_string() })?;
            // What is covered may be gone, and does not come again.
            let row = params![row_id(*sequence), text, checksum(*sequence, &text)];
            let is_new = *sequence > covered && insert.execute(row).map_err(StoreError::write)? > 0;
            if !is_new {
                let there: Option<String> =
                    select.query_row([row_id(*sequence)], |row| row.get(0)).optional().map_err(StoreError::write)?;
                if there.as_deref() != Some(text.as_str()) {
                    return Err(StoreError::Conflict(*sequence));
                }
            }
            last = last.max(*sequence);
        }
    }
    transaction.commit().map_err(StoreError::write)?;
    Ok(last)
}

/// Whether every page is as `SQLite` wrote it.
pub(super) fn check_pages(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| open_error(path, &error))?;
    if found == "ok" {
        return Ok(());
    }
    // A heading of stars comes before the first finding.
    let finding = found.lines().find(|line| !line.starts_with('*')).unwrap_or(&found);
    Err(StoreError::Corrupt { path: path.to_owned(), reason: finding.to_owned() })
}

/// Refuses an empty file where a store was opened before: a new one would begin without its pauses, pins and open plans.
fn refuse_emptied(path: &Path, last_opened: Option<Uuid>) -> Result<(), StoreError> {
    match (fs::metadata(path), last_opened) {
        (Ok(metadata), Some(before)) if metadata.len() == 0 => Err(emptied(path, before)),
        _ => Ok(()),
    }
}

fn emptied(path: &Path, before: Uuid) -> StoreError {
    let reason = format!("it is empty, and held the journal of installation {before} (to begin anew, remove it)");
    StoreError::Corrupt { path: path.to_owned(), reason }
}

/// Whether nobody has written anything yet.
fn is_empty(path: &Path, connection: &Connection) -> Result<bool, StoreError> {
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    let marks = tables
        .and_then(|tables| Ok([tables, pragma(connection, "application_id")?, pragma(connection, "user_version")?]));
    Ok(marks.map_err(|error| open_error(path, &error))? == [0; 3])
}

fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    // It cannot be said later without writing the file anew.
    connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    MIGRATIONS.iter().try_for_each(|step| transaction.execute_batch(step))?;
    transaction.execute("INSERT INTO meta (key, value) VALUES ('installation', ?1)", [Uuid::now_v7().to_string()])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// Brings a store of an earlier version to the present schema, step by step.
fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let mut version = pragma(connection, "user_version")?;
    while let Some(step) = usize::try_from(version - 1).ok().and_then(|place| steps.get(place)) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        version += 1;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Copies what is there into a file that is not there yet, and makes it durable.
pub(super) fn copy(connection: &Connection, into: &Path) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let name = into.to_str().ok_or("its path is not UTF-8")?;
    let file = OpenOptions::new().write(true).create_new(true).mode(atomic::NEW_FILE_MODE).open(into).map_err(words)?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| error.to_string())?;
    rename_installation(into).map_err(|error| error.to_string())?;
    file.sync_all().map_err(words)
}

/// What the original does after the copy was made has the numbers that the copy gives again: of steps, whose receipts lie
/// beside the store, and of pages, by which receivers know what they have. Under a name of its own they are not the same.
fn rename_installation(copy: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let renamed = "UPDATE meta SET value = ?1 WHERE key = 'installation'";
    connection.execute(renamed, [Uuid::now_v7().to_string()])?;
    connection.close().map_err(|(_connection, error)| error)
}

/// For writing: a commit is durable when it returns (`synchronous=FULL` syncs the log each time).
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)
}

pub(super) fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

pub(super) fn sequence(row_id: i64) -> Sequence {
    Sequence(u64::try_from(row_id).unwrap_or(0))
}

pub(super) fn row_id(sequence: Sequence) -> i64 {
    i64::try_from(sequence.0).expect("no journal grows to 2^63 entries")
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "compaction_tests.rs"]
mod compaction_tests;
