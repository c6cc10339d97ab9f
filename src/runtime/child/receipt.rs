//! Locks and receipts of a plan's steps: how a later process finds out what an attempt of an earlier one came to.
//!
//! In the directory of receipts each attempt has `KEY.lock`, held (flock) by its supervisor from before the child starts
//! until its process group has ended or was left alone on purpose, and `KEY.receipt`, which says first that it started
//! and then how it ended. Keys are unique within one store only, so each store needs a directory of its own.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::time;

use super::group::{self, Identity};
use crate::{
    core::{
        name::IncidentId,
        operation::{Receipt, StepKey},
    },
    record::atomic,
};

/// How long a look waits for the lock of an attempt. A supervisor whose daemon died needs the grace and the wait after a
/// kill, seven seconds at most; the rest is for a machine under load.
pub const LOCK_WAIT: Duration = Duration::from_secs(20);

/// How often the lock is tried.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Why it cannot be told what an attempt came to.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// It is still going on.
    #[error("see the end of step {key}: its supervisor still holds {lock}")]
    Held {
        /// The attempt.
        key: StepKey,
        /// Its lock.
        lock: PathBuf,
    },
    /// A file cannot be read.
    #[error("read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("understand {path}: {reason}; it was not written by Backstop, look what the step did and remove it")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: serde_json::Error,
    },
    /// The key has a form that no incident has.
    #[error("name a file after step {0}: it holds a slash or begins with a dot")]
    Name(StepKey),
    /// A child of the attempt runs on although its supervisor is gone, and could not be ended.
    #[error("end what step {0} left running")]
    Left(StepKey),
}

/// A receipt as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Written {
    /// The attempt began; the child too, where its identity is there.
    Started {
        /// Leads the process group.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        leader: Option<Identity>,
    },
    /// It ended as far as it could be ended.
    Unended {
        /// What runs on. None where nothing of it may be seen: processes of another user, which it started by `sudo`.
        processes: Vec<Identity>,
        /// What is answered once they have ended.
        receipt: Receipt,
        /// In words, for people.
        detail: String,
    },
    /// It ended.
    Ended {
        /// What is answered.
        receipt: Receipt,
        /// In words, for people.
        detail: String,
    },
}

/// Paths of one attempt.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) directory: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) receipt: PathBuf,
}

impl Paths {
    pub(super) fn of(directory: &Path, key: &StepKey) -> Result<Self, ReceiptError> {
        let name = key.file_name();
        if name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(ReceiptError::Name(key.clone()));
        }
        Ok(Self {
            directory: directory.to_owned(),
            lock: directory.join(format!("{name}.lock")),
            receipt: directory.join(format!("{name}.receipt")),
        })
    }

    /// Makes the directory, if need be, and opens the lock's file without taking it.
    pub(super) fn open_lock(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(atomic::NEW_FILE_MODE).open(&self.lock)
    }

    pub(super) fn write(&self, written: &Written) -> io::Result<()> {
        let mut text = serde_json::to_vec(written)?;
        text.push(b'\n');
        atomic::replace(&self.receipt, &text)
    }

    pub(super) fn read(&self) -> Result<Option<Written>, ReceiptError> {
        match fs::read(&self.receipt) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|reason| ReceiptError::Damaged { path: self.receipt.clone(), reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ReceiptError::Unreadable { path: self.receipt.clone(), source }),
        }
    }
}

/// Waits until the attempt's supervisor is through, for [`LOCK_WAIT`] at most, and says what the attempt came to.
///
/// Where the supervisor itself was killed and its child runs on, the child's process group is ended first.
pub async fn receipt(directory: &Path, key: &StepKey) -> Result<Receipt, ReceiptError> {
    receipt_within(directory, key, LOCK_WAIT).await
}

/// As [`receipt`], with a wait of the caller's.
pub async fn receipt_within(directory: &Path, key: &StepKey, wait: Duration) -> Result<Receipt, ReceiptError> {
    let paths = Paths::of(directory, key)?;
    let until = time::Instant::now() + wait;
    let unreadable = |source| ReceiptError::Unreadable { path: paths.lock.clone(), source };
    // Held until the answer is known.
    let _lock = match tokio::fs::OpenOptions::new().write(true).open(&paths.lock).await {
        Ok(lock) => {
            let lock = lock.into_std().await;
            // Bounded by `until`.
            loop {
                match lock.try_lock() {
                    Ok(()) => break Some(lock),
                    Err(TryLockError::WouldBlock) if time::Instant::now() >= until => {
                        return Err(ReceiptError::Held { key: key.clone(), lock: paths.lock });
                    }
                    Err(TryLockError::WouldBlock) => time::sleep(LOCK_POLL).await,
                    Err(TryLockError::Error(source)) => return Err(unreadable(source)),
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(unreadable(source)),
    };
    let reader = paths.clone();
    // A slow disk must not hold up whoever shares this thread.
    let written = tokio::task::spawn_blocking(move || reader.read())
        .await
        .map_err(|error| ReceiptError::Unreadable { path: paths.receipt, source: io::Error::other(error) })??;
    match written {
        None => Ok(Receipt::Nothing),
        Some(Written::Ended { receipt, .. }) => Ok(receipt),
        Some(Written::Unended { processes, receipt, .. }) => {
            // Bounded by `until`.
            while processes.is_empty() || processes.iter().any(Identity::is_alive) {
                if time::Instant::now() >= until {
                    return Err(ReceiptError::Left(key.clone()));
                }
                time::sleep(LOCK_POLL).await;
            }
            Ok(receipt)
        }
        Some(Written::Started { leader }) => {
            if let Some(group) = leader.and_then(|leader| leader.running_group())
                && !group::end(group, None).await
            {
                return Err(ReceiptError::Left(key.clone()));
            }
            Ok(Receipt::Interrupted)
        }
    }
}

/// Removes locks and receipts that nobody has written since `before`, by a wall clock that may be wrong: those of the
/// `unfinished` plans (of which incident, and their numbers) stay however old they seem, since without its receipt a step
/// would look as if it had never begun. Returns how many files went.
pub fn prune(directory: &Path, before: SystemTime, unfinished: &[(&IncidentId, u16)]) -> io::Result<u64> {
    let unfinished: Vec<String> = unfinished.iter().map(|(incident, plan)| format!("{incident}.{plan}.")).collect();
    let mut removed = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| unfinished.iter().any(|plan| name.starts_with(plan))) {
            continue;
        }
        let metadata = entry.metadata()?;
        if metadata.is_file() && metadata.modified()? < before {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(incident: &str) -> StepKey {
        StepKey { incident: incident.into(), plan: 1, step: 2, attempt: 3 }
    }

    #[tokio::test]
    async fn what_is_written_is_answered() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = Paths::of(directory.path(), &key("api-1")).expect("a fair name");
        let answer = async || receipt_within(directory.path(), &key("api-1"), Duration::ZERO).await;
        assert_eq!(answer().await.expect("told"), Receipt::Nothing);
        drop(paths.open_lock().expect("opened"));
        assert_eq!(answer().await.expect("told"), Receipt::Nothing);
        paths.write(&Written::Started { leader: None }).expect("written");
        assert_eq!(answer().await.expect("told"), Receipt::Interrupted);
        for receipt in [Receipt::Succeeded, Receipt::Failed, Receipt::Interrupted] {
            paths.write(&Written::Ended { receipt, detail: String::new() }).expect("written");
            assert_eq!(answer().await.expect("told"), receipt);
        }
        let own = Identity::of(rustix::process::getpid()).expect("we run");
        for (processes, is_left) in [(vec![own], true), (Vec::new(), true), (vec![ended_process()], false)] {
            let written = Written::Unended { processes, receipt: Receipt::Failed, detail: String::new() };
            paths.write(&written).expect("written");
            match answer().await {
                Ok(receipt) => assert!(!is_left && receipt == Receipt::Failed, "{written:?}"),
                Err(error) => assert!(is_left && matches!(error, ReceiptError::Left(_)), "{error}"),
            }
        }
        let held = paths.open_lock().expect("opened");
        held.lock().expect("locked");
        assert!(matches!(answer().await, Err(ReceiptError::Held { .. })));
        drop(held);
        fs::write(&paths.receipt, "{").expect("written");
        let error = answer().await.expect_err("damaged").to_string();
        assert!(error.contains("api-1.1.2.3.receipt"), "{error}");
    }

    fn ended_process() -> Identity {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat runs");
        let identity = Identity::of(rustix::process::Pid::from_child(&child)).expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("ended");
        identity
    }

    #[tokio::test]
    async fn a_key_never_leaves_the_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["../x", ".x", "a/b"] {
            assert!(matches!(receipt(directory.path(), &key(name)).await, Err(ReceiptError::Name(_))), "{name}");
        }
    }

    #[test]
    fn old_files_go_and_new_ones_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let hour = Duration::from_hours(1);
        for name in ["api-1.1.2.3.receipt", "api-1.2.0.0.receipt", "api-1.2.0.0.lock", "api-1.22.0.0.receipt"] {
            let old = File::create(directory.path().join(name)).expect("made");
            old.set_modified(SystemTime::now() - 2 * hour).expect("dated back");
        }
        File::create(directory.path().join("api-1.1.2.4.receipt")).expect("made");
        let unfinished = [(&IncidentId::from("api-1"), 2)];
        assert_eq!(prune(directory.path(), SystemTime::now() - hour, &unfinished).expect("pruned"), 2);
        for kept in ["api-1.2.0.0.receipt", "api-1.2.0.0.lock", "api-1.1.2.4.receipt"] {
            assert!(directory.path().join(kept).exists(), "{kept}");
        }
        // Whatever the clock says.
        prune(directory.path(), SystemTime::now() + 1000 * hour, &unfinished).expect("pruned");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 2);
    }
}
