//! What the store says, folded: the last snapshot, and the entries after it.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};

use super::{
    SqliteStore, StoreError,
    sqlite::{pragma, row_id, sequence},
};
use crate::core::{
    durable::{Durable, SNAPSHOT_FORM},
    entry::Entry,
    event::Sequence,
};

/// Stores of an earlier schema have no snapshot.
const FIRST_SCHEMA_WITH_SNAPSHOT: i64 = 2;

/// Entries of an earlier schema have no checksum.
const FIRST_SCHEMA_WITH_CHECKSUM: i64 = 3;

/// The state as it was after an entry, ready to be written.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) sequence: Sequence,
    state: String,
}

impl Snapshot {
    pub(super) fn of(durable: &Durable) -> Self {
        Self { sequence: durable.last, state: durable.to_snapshot() }
    }

    /// Puts it in the place of the one before.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let digest = digest(self.sequence, SNAPSHOT_FORM, &self.state);
        connection.execute("DELETE FROM snapshot", [])?;
        connection.execute(
            "INSERT INTO snapshot (sequence, form, digest, state) VALUES (?1, ?2, ?3, ?4)",
            params![row_id(self.sequence), SNAPSHOT_FORM, digest, self.state],
        )?;
        Ok(())
    }
}

impl SqliteStore {
    /// The state as it is after the last entry, all of it read as of one moment.
    pub fn recover(&self) -> Result<Durable, StoreError> {
        self.fold().map_err(|error| error.of_known_store(&self.path))
    }

    fn fold(&self) -> Result<Durable, StoreError> {
        let connection = self.readable()?;
        // Nothing is written: it holds the moment, beside a daemon that writes on and deletes what a snapshot covers.
        let moment = connection.unchecked_transaction().map_err(StoreError::read)?;
        let mut durable = read_snapshot(&moment)?.unwrap_or_default();
        let from = Sequence(durable.last.0 + 1);
        read_entries(&moment, from, |sequence, entry| durable.apply(sequence, &entry).map_err(StoreError::Fold))?;
        Ok(durable)
    }
}

/// The entry that the snapshot covers the journal up to; 0 for none.
pub(super) fn covered(connection: &Connection) -> rusqlite::Result<Sequence> {
    if pragma(connection, "user_version")? < FIRST_SCHEMA_WITH_SNAPSHOT {
        return Ok(Sequence(0));
    }
    let covered: i64 = connection.query_row("SELECT coalesce(max(sequence), 0) FROM snapshot", [], |row| row.get(0))?;
    Ok(sequence(covered))
}

fn read_snapshot(connection: &Connection) -> Result<Option<Durable>, StoreError> {
    let Some((sequence, form, state)) = snapshot_text(connection)? else { return Ok(None) };
    let durable = Durable::from_snapshot(form, &state).map_err(|error| StoreError::of_snapshot(sequence, &error))?;
    if durable.last != sequence {
        let reason = format!("it says that it was made after entry {}", durable.last.0);
        return Err(StoreError::Snapshot { sequence, reason });
    }
    Ok(Some(durable))
}

/// The snapshot's entry, form and text, if there is one and it is as it was written.
fn snapshot_text(connection: &Connection) -> Result<Option<(Sequence, u32, String)>, StoreError> {
    if pragma(connection, "user_version").map_err(StoreError::read)? < FIRST_SCHEMA_WITH_SNAPSHOT {
        return Ok(None);
    }
    let row = connection
        .query_row("SELECT sequence, form, digest, state FROM snapshot ORDER BY sequence DESC LIMIT 1", [], |row| {
            Ok((sequence(row.get(0)?), row.get::<_, u32>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
        })
        .optional()
        .map_err(StoreError::read)?;
    let Some((sequence, form, written, state)) = row else { return Ok(None) };
    if digest(sequence, form, &state) != written {
        let reason = "its digest is not that of what it says".to_owned();
        return Err(StoreError::Snapshot { sequence, reason });
    }
    Ok(Some((sequence, form, state)))
}

/// Hands every entry from `from` on to `each`, in order, until that fails. Returns the last one's number; the one before
/// `from` if there is none.
pub(super) fn read_entries(
    connection: &Connection,
    from: Sequence,
    mut each: impl FnMut(Sequence, Entry) -> Result<(), StoreError>,
) -> Result<Sequence, StoreError> {
    read_texts(connection, from, |sequence, text, is_summed| {
        let entry = serde_json::from_str(text);
        each(sequence, entry.map_err(|error| StoreError::of_entry(sequence, &error, is_summed))?)
    })
}

/// Whether the snapshot, and every entry after it, is there and as it was written: what the next start folds. What is
/// covered by the snapshot is kept for people to read.
pub(super) fn verify(connection: &Connection) -> Result<(), StoreError> {
    let from = snapshot_text(connection)?.map_or(1, |(covered, ..)| covered.0 + 1);
    read_texts(connection, Sequence(from), |_, _, _| Ok(())).map(|_last| ())
}

/// Hands every entry's text from `from` on to `each`, in order, and whether there was a checksum that it was held against.
fn read_texts(
    connection: &Connection,
    from: Sequence,
    mut each: impl FnMut(Sequence, &str, bool) -> Result<(), StoreError>,
) -> Result<Sequence, StoreError> {
    let mut expected = from.0.max(1);
    let is_summed = pragma(connection, "user_version").map_err(StoreError::read)? >= FIRST_SCHEMA_WITH_CHECKSUM;
    let checksums = if is_summed { "checksum" } else { "NULL" };
    let query = format!("SELECT sequence, entry, {checksums} FROM journal WHERE sequence >= ?1 ORDER BY sequence");
    let mut statement = connection.prepare_cached(&query).map_err(StoreError::read)?;
    let mut rows = statement.query([row_id(Sequence(expected))]).map_err(StoreError::read)?;
    while let Some(row) = rows.next().map_err(StoreError::read)? {
        let sequence: i64 = row.get(0).map_err(StoreError::read)?;
        if sequence != row_id(Sequence(expected)) {
            return Err(StoreError::Gap(Sequence(expected)));
        }
        let sequence = Sequence(expected);
        let unreadable = |reason: String| StoreError::Entry { sequence, reason };
        let text = row.get_ref(1).map_err(StoreError::read)?.as_str().map_err(|error| unreadable(error.to_string()))?;
        let written: Option<i64> = row.get(2).map_err(StoreError::read)?;
        if written.is_some_and(|written| written != checksum(sequence, text)) {
            return Err(unreadable("its checksum is not that of what it says".to_owned()));
        }
        each(sequence, text, written.is_some())?;
        expected += 1;
    }
    Ok(Sequence(expected - 1))
}

/// Over what an entry's row says: the first eight bytes of its SHA-256, big-endian.
pub(crate) fn checksum(sequence: Sequence, entry: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(format!("{} ", sequence.0));
    hash.update(entry);
    i64::from_be_bytes(hash.finalize()[..8].try_into().expect("SHA-256 gives 32 bytes"))
}

/// Over what the row says, so that no part of it can be exchanged unnoticed. Lowercase hexadecimal SHA-256.
pub(super) fn digest(sequence: Sequence, form: u32, state: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{} {form} ", sequence.0));
    hash.update(state);
    hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
