//! One store, one daemon: a lock beside the database that the kernel gives back whatever way its holder ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::StoreError;
use crate::record::atomic::NEW_FILE_MODE;

/// Ownership of a store, for as long as this value lives.
///
/// The file says who has it, and which installation's store was opened last: a word each.
#[derive(Debug)]
pub(super) struct Owner {
    lock: File,
    last_opened: Option<Uuid>,
}

impl Owner {
    /// Takes the lock of the store at `store`, or names who has it.
    pub(super) fn of(store: &Path) -> Result<Self, StoreError> {
        let path = beside(store, ".lock");
        let failed = |source| StoreError::Lock { path: path.clone(), source };
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(NEW_FILE_MODE).open(&path);
        let lock = match lock {
            // What cannot be written can be locked.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            lock => lock,
        };
        let lock = lock.map_err(failed)?;
        let locked = lock.try_lock();
        let said = fs::read_to_string(&path).unwrap_or_default();
        let mut words = said.split_whitespace();
        let process = words.next().unwrap_or("?").to_owned();
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Owned { path: store.to_owned(), process }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut owner = Self { lock, last_opened: words.next().and_then(|word| word.parse().ok()) };
        match owner.sign() {
            Err(error) if !is_for_want_of_room(&error) => Err(failed(error)),
            _ => Ok(owner),
        }
    }

    /// Whose store was opened last under this lock, if a version that says so did.
    pub(super) const fn last_opened(&self) -> Option<Uuid> {
        self.last_opened
    }

    /// From here on the files beside the store are this installation's.
    pub(super) fn opened(&mut self, installation: Uuid) -> io::Result<()> {
        self.last_opened = Some(installation);
        self.sign()
    }

    /// There is no store under this lock any more.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.last_opened = None;
        self.sign()
    }

    /// Makes the lock theirs who will run the daemon, where we may.
    pub(super) fn give_to(&self, user: u32, group: u32) {
        // Only root may; for anyone else it is their own already.
        drop(fchown(&self.lock, Some(user), Some(group)));
    }

    fn sign(&mut self) -> io::Result<()> {
        let process = std::process::id();
        let text = match self.last_opened {
            Some(installation) => format!("{process} {installation}\n"),
            None => format!("{process}\n"),
        };
        // In its place, so that it takes no other block, and a full disk leaves what was there.
        self.lock.write_all_at(text.as_bytes(), 0)?;
        self.lock.set_len(text.len() as u64)
    }
}

/// Whether the disk is full, or its file system is read-only.
pub(super) fn is_for_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    // Whoever could open it for reading only learns so by this.
    let is_read_only = error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error());
    is_read_only || matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

/// The store's path with `suffix`, as `SQLite` names what goes with it.
pub(super) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
