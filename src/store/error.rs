//! What can go wrong with the store.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::file::open_error;
use crate::core::{
    durable::{FoldError, SnapshotError},
    event::Sequence,
};

/// What is to be done about damage.
const REMEDY: &str = "stop Backstop, run `backstop store restore BACKUP`, and start it again";

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no file, and none may be made.
    #[error("open the store {path}: there is none yet; `backstop run` makes it")]
    Absent {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The file is the store, and what is in it is damaged.
    #[error("read the store {path}: {reason}; {}", REMEDY)]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What `SQLite` says.
        reason: String,
    },
    /// A backup was copied over it by hand: what another store had not yet brought into its file would be read into this
    /// one.
    #[error("read the store {path}: its -wal is of another store; {}", REMEDY)]
    OtherLog {
        /// Which.
        path: PathBuf,
    },
    /// A restore did not come to its end.
    #[error("open the store {path}: a restore of it was cut short; {}", REMEDY)]
    CutShort {
        /// Which.
        path: PathBuf,
    },
    /// The file cannot be opened.
    #[error("open the store {path}: {reason}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The file holds no database: it never did, or its first page is damaged.
    #[error(
        "open the store {path}: it is not an SQLite database, or its head is damaged; restore it, or name another file as \
         `store.path`"
    )]
    NoDatabase {
        /// Which.
        path: PathBuf,
    },
    /// The disk does not give what is in the file.
    #[error("read the store {path}: {reason}; look at its disk")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What `SQLite` says.
        reason: String,
    },
    /// Its lock cannot be made.
    #[error("lock the store by {path}: {source}")]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon works on it.
    #[error("own the store {path}: process {process} does; stop that one, or give this one a store of its own")]
    Owned {
        /// The store.
        path: PathBuf,
        /// Whose it is; a question mark if that cannot be read.
        process: String,
    },
    /// It is an `SQLite` database, and not ours.
    #[error("use {path} as the store: it is another program's database; name another file as `store.path`")]
    OtherApplication {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error(
        "use the store {path}: its schema is {found}, and this version of Backstop knows up to {known}; run the version \
         that wrote it, or a later one"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// The file went away, or another took its place, while it was in use.
    #[error("write the store {path}: the file was removed or replaced while in use; restart Backstop")]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// An entry is there with other content.
    #[error("append entry {}: another one is there under this number; somebody else writes this store", .0.0)]
    Conflict(Sequence),
    /// The entry before is missing.
    #[error("find entry {}: the journal has a gap there; {}", .0.0, REMEDY)]
    Gap(Sequence),
    /// An entry cannot be understood.
    #[error("understand entry {}: {reason}; {}", .sequence.0, REMEDY)]
    Entry {
        /// Which.
        sequence: Sequence,
        /// Why.
        reason: String,
    },
    /// The snapshot cannot be gone on from.
    #[error("understand the store's snapshot of entry {}: {reason}; {}", .sequence.0, REMEDY)]
    Snapshot {
        /// After which entry it was made.
        sequence: Sequence,
        /// Why.
        reason: String,
    },
    /// A later version of this program wrote it: it is whole, and says what this version does not know.
    #[error("understand {part}: {reason}; a later version of Backstop wrote it: run that version, or a later one")]
    Newer {
        /// Which entry, or the snapshot.
        part: String,
        /// What is not known.
        reason: String,
    },
    /// The entries contradict each other.
    #[error("{}; {}", .0, REMEDY)]
    Fold(FoldError),
    /// `SQLite` says no.
    #[error("{doing} the store: {source}")]
    Database {
        /// What was being done: read or write.
        doing: &'static str,
        /// What it says.
        source: rusqlite::Error,
    },
    /// It could not be read at the start.
    #[error("{reason}")]
    Damaged {
        /// What failed and what to do, as it was told then.
        reason: String,
    },
    /// A copy cannot be made.
    #[error("back the store up to {path}: {reason}")]
    Backup {
        /// The copy.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A copy cannot take the store's place.
    #[error("restore {backup}: {reason}")]
    Restore {
        /// The copy.
        backup: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The store's thread is gone.
    #[error("reach the store's thread: it ended")]
    Gone,
}

impl StoreError {
    /// Whether it is the right file, and what is in it cannot be understood any more.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. }
            | Self::OtherLog { .. }
            | Self::CutShort { .. }
            | Self::Gap(_)
            | Self::Entry { .. }
            | Self::Snapshot { .. }
            | Self::Fold(_) => true,
            Self::Database { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt),
            _ => false,
        }
    }

    /// The same error about a file that was this store before: what might else be a wrong path is damage then.
    pub(super) fn of_known_store(self, path: &Path) -> Self {
        let corrupt = |reason: String| Self::Corrupt { path: path.to_owned(), reason };
        match self {
            Self::NoDatabase { .. } => corrupt("its head is damaged: it is no SQLite database any more".to_owned()),
            Self::Unreadable { reason, .. } => corrupt(format!("{reason}; look at its disk")),
            Self::Database { doing, source } => match open_error(path, &source) {
                error @ (Self::NoDatabase { .. } | Self::Unreadable { .. }) => error.of_known_store(path),
                _ => Self::Database { doing, source },
            },
            error => error,
        }
    }

    /// Whether an inspection that ended so has found something out about the store. One that lacked a descriptor, memory
    /// or a lock has not: what is written meanwhile is as good as before.
    pub(super) fn is_finding(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Lock { .. } | Self::Gone => false,
            Self::Database { .. } => self.is_damage(),
            _ => true,
        }
    }

    /// An entry whose text is as it was written (`is_summed`: its checksum says so) and names something by a word that
    /// this version does not know was written by a later one: words are added to the journal, and none is ever taken away.
    /// Anything else is damage; an entry without a checksum is of an earlier version, whose words are all known.
    pub(super) fn of_entry(sequence: Sequence, error: &serde_json::Error, is_summed: bool) -> Self {
        let reason = error.to_string();
        // All the words that are known follow; they are of no help to anybody.
        let unknown = reason.split(", expected").next().filter(|start| start.starts_with("unknown variant"));
        match unknown.filter(|_| is_summed && error.is_data()) {
            Some(unknown) => Self::Newer { part: format!("entry {}", sequence.0), reason: unknown.to_owned() },
            None => Self::Entry { sequence, reason },
        }
    }

    /// A snapshot whose digest is right, and which this version cannot go on from.
    pub(super) fn of_snapshot(sequence: Sequence, error: &SnapshotError) -> Self {
        let reason = error.to_string();
        match error {
            SnapshotError::NewerForm { .. } | SnapshotError::Content(_) => {
                Self::Newer { part: format!("the store's snapshot of entry {}", sequence.0), reason }
            }
            SnapshotError::Inconsistent(_) => Self::Snapshot { sequence, reason },
        }
    }

    pub(super) fn read(source: rusqlite::Error) -> Self {
        Self::Database { doing: "read", source }
    }

    pub(super) fn write(source: rusqlite::Error) -> Self {
        Self::Database { doing: "write", source }
    }
}
