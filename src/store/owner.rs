//! One store, one daemon: a lock beside the database that the kernel gives back whatever way its holder ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::StoreError;
use crate::record::atomic::NEW_FILE_MODE;

/// Ownership of a store, for as long as this value lives.
#[derive(Debug)]
pub(super) struct Owner {
    _lock: File,
}

impl Owner {
    /// Takes the lock of the store at `store`, or names who has it.
    pub(super) fn of(store: &Path) -> Result<Self, StoreError> {
        let path = lock_path(store);
        let failed = |source| StoreError::Lock { path: path.clone(), source };
        let mut lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(NEW_FILE_MODE)
            .open(&path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                let process = if process.is_empty() { "?".to_owned() } else { process };
                return Err(StoreError::Owned { path: store.to_owned(), process });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _lock: lock })
    }
}

fn lock_path(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
