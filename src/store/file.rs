//! The store's file: looked at, opened, and what is said when that fails.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use crate::record::atomic;

/// How long a statement waits for a reader's checkpoint lock. Short: the store's thread tries again by itself.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// The write-ahead log is cut to this after a checkpoint; without it one burst would keep its size for ever.
pub(super) const LOG_LIMIT_BYTES: i64 = 4 * 1024 * 1024;

/// What `SQLite` would say of a path that is no database file is of little help.
pub(super) fn examine(path: &Path, may_be_made: bool) -> Result<(), StoreError> {
    let refused = |reason: String| Err(StoreError::Open { path: path.to_owned(), reason });
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => refused("it is not an ordinary file; name a file as `store.path`".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = atomic::parent(path);
            if !directory.is_dir() {
                return refused(format!("its directory {} is not there; make it or mount it", directory.display()));
            }
            if may_be_made { Ok(()) } else { Err(StoreError::Absent { path: path.to_owned() }) }
        }
        Err(error) => refused(error.to_string()),
    }
}

pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| open_error(path, &error);
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    Ok(connection)
}

/// As [`connect`], for reading a file that nobody writes meanwhile, and nothing beside it.
pub(super) fn connect_immutable(path: &Path) -> Result<Connection, StoreError> {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
    const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
    let encoded = percent_encoding::percent_encode(path.as_os_str().as_encoded_bytes(), SPECIAL);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("file:{encoded}?immutable=1"), flags).map_err(|error| open_error(path, &error))
}

/// Whether the file system of the store has no room for what goes with it, or takes no writes.
pub fn has_no_room(path: &Path) -> bool {
    let Ok(system) = rustix::fs::statvfs(atomic::parent(path)) else { return false };
    let is_read_only = system.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    is_read_only || room(path).is_some_and(|room| room < LOG_LIMIT_BYTES.unsigned_abs())
}

pub(super) fn open_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    let reason = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => return StoreError::NoDatabase { path: path.to_owned() },
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            return StoreError::Corrupt { path: path.to_owned(), reason: error.to_string() };
        }
        // So it looks where there is no room for the files that go with it.
        Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::CannotOpen) => match room(path) {
            Some(room) if room < LOG_LIMIT_BYTES.unsigned_abs() => {
                format!("{error}; its file system is full: {} KiB are left", room / 1024)
            }
            _ if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure) => {
                return StoreError::Unreadable { path: path.to_owned(), reason: error.to_string() };
            }
            _ => error.to_string(),
        },
        _ => error.to_string(),
    };
    StoreError::Open { path: path.to_owned(), reason }
}

/// Bytes that may still be written to the file system of `path`.
fn room(path: &Path) -> Option<u64> {
    rustix::fs::statvfs(path).ok().map(|system| system.f_bavail.saturating_mul(system.f_frsize))
}

pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
