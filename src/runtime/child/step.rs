//! A plan's step under its supervisor: the lock, and the receipt that it leaves.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    group::Identity,
    receipt::{Paths, Written},
};
use crate::{
    core::operation::{Receipt, StepKey},
    record::atomic,
};

/// How often a lock that somebody else holds is tried.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// One attempt, locked for as long as this value lives.
#[derive(Debug)]
pub(super) struct Step {
    paths: Paths,
    _lock: File,
}

impl Step {
    /// Takes the lock, which nobody should hold, within `patience`, and makes it durable that the attempt began. An
    /// attempt that began before does not begin again: its key says that it is the same one.
    pub(super) async fn begin(
        directory: &Path,
        key: &StepKey,
        patience: Duration,
        over: &CancellationToken,
    ) -> io::Result<Self> {
        let paths = Paths::of(directory, key).map_err(io::Error::other)?;
        let in_directory =
            |error: io::Error| io::Error::new(error.kind(), format!("write to {}: {error}", directory.display()));
        let lock = paths.open_lock().map_err(in_directory)?;
        let until = time::Instant::now() + patience;
        // Bounded by `until`.
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if time::Instant::now() >= until => {
                    return Err(io::Error::other(format!("somebody else holds {}", paths.lock.display())));
                }
                Err(TryLockError::WouldBlock) => tokio::select! {
                    () = time::sleep(LOCK_POLL) => {}
                    () = over.cancelled() => return Err(io::Error::other("it was told to end")),
                },
                Err(TryLockError::Error(error)) => return Err(in_directory(error)),
            }
        }
        if paths.receipt.exists() {
            return Err(io::Error::other(format!("step {key} was carried out before: {}", paths.receipt.display())));
        }
        let step = Self { paths, _lock: lock };
        step.started(None).map_err(in_directory)?;
        Ok(step)
    }

    /// The child runs, or is about to.
    pub(super) fn started(&self, leader: Option<Identity>) -> io::Result<()> {
        self.paths.write(&Written::Started { leader })
    }

    /// Nothing was done after all.
    pub(super) fn never_began(self) -> io::Result<()> {
        fs::remove_file(&self.paths.receipt)?;
        atomic::sync_directory(&self.paths.directory)
    }

    /// It is over.
    pub(super) fn end(self, receipt: Receipt, detail: &str) -> io::Result<()> {
        self.paths.write(&Written::Ended { receipt, detail: detail.to_owned() })
    }

    /// It is over but for these processes, which could not be ended.
    pub(super) fn end_but(self, processes: Vec<Identity>, receipt: Receipt, detail: &str) -> io::Result<()> {
        self.paths.write(&Written::Unended { processes, receipt, detail: detail.to_owned() })
    }
}
