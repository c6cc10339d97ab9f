//! Putting a backup in the store's place, and telling where somebody did it by hand and by half.
//!
//! `SQLite` reads a write-ahead log into whatever file lies beside it. A killed daemon leaves its log; a backup that is
//! copied over the store then gets the log of another one.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::{
    SqliteStore, StoreError,
    owner::{Owner, beside},
    sqlite::{check_pages, copy},
};
use crate::{core::event::Sequence, record::atomic};

/// The store, and what `SQLite` may have left with it. The store comes last: until it is moved, a restore that was cut
/// short finds the name under which it began.
const PARTS: [&str; 4] = ["-wal", "-shm", "-journal", ""];

/// The copy of the backup, whole, before it takes the store's place. While it is there no daemon opens the store.
const STAGED: &str = ".restoring";

/// Names that are tried for what is moved aside. Each is a restore whose old store nobody has removed.
const ASIDE_LIMIT: u32 = 1000;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The last entry that the backup holds.
    pub last: Sequence,
    /// Where the store lies that was there before, and what went with it. Nothing if there was none.
    pub aside: Vec<PathBuf>,
}

impl SqliteStore {
    /// Puts a copy of `backup` in the place of the store at `path`, which no daemon may have open. What was there is moved
    /// aside and nothing is deleted. Cut short at any moment it leaves the old store, the restored one, or a store that
    /// is refused until this is done again.
    ///
    /// The copy gets an installation of its own, as each backup does.
    pub fn restore(path: &Path, backup: &Path) -> Result<Restored, StoreError> {
        let refused = |reason: String| StoreError::Restore { backup: backup.to_owned(), reason };
        let is_itself =
            fs::canonicalize(backup).is_ok_and(|backup| fs::canonicalize(path).is_ok_and(|it| it == backup));
        if is_itself {
            return Err(refused("it is the store itself; name a backup".to_owned()));
        }
        let directory = atomic::parent(path);
        if !directory.is_dir() {
            return Err(refused(format!("the directory {} is not there; make it or mount it", directory.display())));
        }
        let owner = Owner::of(path)?;
        let last = check_whole(backup).map_err(|error| refused(format!("it is not whole: failed to {error}")))?;
        let staged = stage(path, backup, &owner).map_err(refused)?;
        let aside = move_aside(path).and_then(|aside| {
            fs::rename(&staged, path)?;
            atomic::sync_directory(directory)?;
            Ok(aside)
        });
        let aside = aside.map_err(|error| refused(format!("{error}; {} holds it: do this again", staged.display())))?;
        Ok(Restored { last, aside })
    }
}

/// Every page, the snapshot, and every entry after it. Returns the last entry.
fn check_whole(backup: &Path) -> Result<Sequence, StoreError> {
    let store = SqliteStore::open_read_only(backup)?;
    check_pages(backup, store.readable()?)?;
    Ok(store.recover()?.last)
}

/// Makes the copy, durable under its name beside the store.
fn stage(path: &Path, backup: &Path, owner: &Owner) -> Result<PathBuf, String> {
    let words = |error: io::Error| error.to_string();
    let source = SqliteStore::open_read_only(backup).map_err(|error| format!("failed to {error}"))?;
    let connection = source.readable().map_err(|error| format!("failed to {error}"))?;
    let unfinished = atomic::beside(path).map_err(words)?;
    let staged = beside(path, STAGED);
    let made = copy(connection, &unfinished).and_then(|()| {
        let (user, group, mode) = ownership(path).map_err(words)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(mode)).map_err(words)?;
        // Only root may give a file away; for anyone else it is their own. Root must: the daemon runs as another user.
        drop(chown(&unfinished, Some(user), Some(group)));
        owner.give_to(user, group);
        fs::rename(&unfinished, &staged).map_err(words)?;
        atomic::sync_directory(atomic::parent(path)).map_err(words)
    });
    if made.is_err() {
        // What it says is of no interest beside the first error.
        drop(fs::remove_file(&unfinished));
    }
    made.map(|()| staged)
}

/// User, group and mode of the store; where there is none, its directory's user and group.
fn ownership(path: &Path) -> io::Result<(u32, u32, u32)> {
    match fs::metadata(path) {
        Ok(there) => Ok((there.uid(), there.gid(), there.mode() & 0o7777)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = fs::metadata(atomic::parent(path))?;
            Ok((directory.uid(), directory.gid(), atomic::NEW_FILE_MODE))
        }
        Err(error) => Err(error),
    }
}

/// Moves the store and what goes with it to a name that is free for all of it. Returns where each part is.
fn move_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let parts = PARTS.into_iter().filter(|part| is_there(&beside(path, part)));
    let parts: Vec<&str> = parts.collect();
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let mut names = (1..=ASIDE_LIMIT).map(|number| beside(path, &format!(".replaced-{number}")));
    // One that was cut short has moved some parts, and not yet the store: its name is gone on with.
    let is_free = |name: &PathBuf| !is_there(name) && parts.iter().all(|part| !is_there(&beside(name, part)));
    let name = names.find(is_free).ok_or_else(|| {
        io::Error::other(format!("{ASIDE_LIMIT} stores that were replaced lie beside it; remove some"))
    })?;
    let mut aside = Vec::with_capacity(parts.len());
    for part in parts {
        let to = beside(&name, part);
        fs::rename(beside(path, part), &to)?;
        aside.push(to);
    }
    aside.sort();
    Ok(aside)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Refuses a store whose restore was cut short: what lies beside it may belong to another one.
pub(super) fn refuse_cut_short(path: &Path) -> Result<(), StoreError> {
    if is_there(&beside(path, STAGED)) { Err(StoreError::CutShort { path: path.to_owned() }) } else { Ok(()) }
}

/// Refuses a log that is not this store's: the store that was opened last (`last_opened`, where it is known) is not the
/// one whose file is there now. Where the file alone does not say which one it is, it is left to the check of the pages.
pub(super) fn refuse_other_log(path: &Path, last_opened: Option<Uuid>) -> Result<(), StoreError> {
    let holds_something = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let (true, Some(last_opened)) = (holds_something, last_opened) else { return Ok(()) };
    match installation_without_log(path) {
        Some(there) if there != last_opened => Err(StoreError::OtherLog { path: path.to_owned() }),
        _ => Ok(()),
    }
}

/// Whose store the file alone is, without its log. Nothing is written, and no log is read.
fn installation_without_log(path: &Path) -> Option<Uuid> {
    let absolute = std::path::absolute(path).ok()?;
    // What would end the path in a URI.
    let name = absolute.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags).ok()?;
    let query = "SELECT value FROM meta WHERE key = 'installation'";
    let installation: String = connection.query_row(query, [], |row| row.get(0)).ok()?;
    installation.parse().ok()
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;
