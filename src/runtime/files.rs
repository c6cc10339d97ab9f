//! Writes evidence files on a thread of its own: a slow disk holds up no probe and no page.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    time::{Duration, SystemTime},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::clock::Clock;
use crate::{
    core::{name::IncidentId, sample::Reason},
    record::evidence,
};

/// Files that may wait to be written. Each open incident rewrites one file a few times; more means that the disk hangs.
const WAITING_LIMIT: usize = 1024;
/// Old folders are looked for after so many files written.
const PRUNE_AFTER_WRITES: u32 = 256;
/// And after so long in which nothing is written; at the start, too.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Files(SyncSender<Order>);

/// What is to be written.
#[derive(Debug)]
enum Order {
    /// One file, which nobody waits for.
    One { incident: IncidentId, name: String, content: String },
    /// Several, and the folder that they are in then.
    All { incident: IncidentId, files: Vec<(String, String)>, reply: oneshot::Sender<Result<PathBuf, Reason>> },
}

impl Files {
    /// Starts the thread, for the store of that `installation`. It ends when this is dropped and everything waiting is
    /// written. `known` tells of which incidents the journal knows: their folders stay. While it tells nothing, everything
    /// stays.
    pub(super) fn start(
        directory: PathBuf,
        installation: String,
        keep: Duration,
        clock: Clock,
        mut known: impl FnMut() -> Option<BTreeSet<IncidentId>> + Send + 'static,
    ) -> Self {
        let (sender, waiting) = sync_channel::<Order>(WAITING_LIMIT);
        let work = move || {
            let mut until_prune = 0;
            // Ends when the sender is gone.
            loop {
                if until_prune == 0 {
                    until_prune = PRUNE_AFTER_WRITES;
                    if let Some(known) = known() {
                        prune(&directory, &installation, keep, &clock, &known);
                    }
                }
                match waiting.recv_timeout(PRUNE_EVERY) {
                    Ok(Order::One { incident, name, content }) => {
                        if let Err(error) = evidence::write(&directory, &installation, &incident, &name, &content) {
                            tracing::error!(%incident, name, %error, "failed to keep evidence");
                        }
                        until_prune -= 1;
                    }
                    Ok(Order::All { incident, files, reply }) => {
                        let mut place = Err(Reason::new("keep evidence: there is none"));
                        for (name, content) in files {
                            let written = evidence::write(&directory, &installation, &incident, &name, &content);
                            place = written.map_err(|error| Reason::new(&error.to_string()));
                            if place.is_err() {
                                break;
                            }
                        }
                        let folder = place.map(|file| file.parent().unwrap_or(&file).to_owned());
                        // Whoever asked may have stopped waiting.
                        let _ = reply.send(folder);
                        until_prune -= 1;
                    }
                    Err(RecvTimeoutError::Timeout) => until_prune = 0,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        std::thread::Builder::new().name("files".to_owned()).spawn(work).expect("a thread at the start of the process");
        Self(sender)
    }

    pub(super) fn write(&self, incident: IncidentId, name: String, content: String) {
        match self.0.try_send(Order::One { incident, name, content }) {
            Ok(()) => {}
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => {
                let Order::One { incident, name, .. } = order else { return };
                tracing::error!(%incident, name, "failed to keep evidence: too much waits for the disk");
            }
        }
    }

    /// Another way to the same thread.
    pub(super) fn another(&self) -> Self {
        Self(self.0.clone())
    }

    /// Writes several files, each durably, and tells in which folder they are.
    ///
    /// # Errors
    /// The first that could not be written; those before it are there.
    pub(super) async fn write_all(
        &self,
        incident: IncidentId,
        files: Vec<(String, String)>,
    ) -> Result<PathBuf, Reason> {
        let (reply, written) = oneshot::channel();
        let full = || Reason::new("keep evidence: too much waits for the disk");
        self.0.try_send(Order::All { incident, files, reply }).map_err(|_| full())?;
        written.await.map_err(|_| Reason::new("keep evidence: the process ends"))?
    }
}

/// When the installation began: its identity tells. None where it is none.
fn began(installation: &str) -> Option<SystemTime> {
    let (seconds, nanoseconds) = Uuid::parse_str(installation).ok()?.get_timestamp()?.to_unix();
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}

fn prune(directory: &Path, installation: &str, keep: Duration, clock: &Clock, known: &BTreeSet<IncidentId>) {
    let now = clock.system();
    // A store that was lost, or restored, a short time ago does not know which incidents of the one before are open, and
    // its evidence may be all that is left of them. A clock that was ahead then shows less than that time.
    let is_old = began(installation).and_then(|began| now.duration_since(began).ok()).is_some_and(|age| age > keep);
    match evidence::prune(directory, installation, keep, now, known, !is_old) {
        Ok(pruned) => {
            for folder in pruned.removed {
                tracing::info!(folder = %folder.display(), "old evidence removed");
            }
            for error in pruned.failed {
                tracing::warn!(%error, "failed to remove old evidence");
            }
        }
        Err(error) => tracing::warn!(%error, "failed to remove old evidence"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Instant};

    use super::*;

    const KEEP: Duration = Duration::from_secs(3600);

    /// An installation that began so long ago.
    fn installation(ago: Duration) -> String {
        let began = (Clock::new().system() - ago).duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let began = uuid::Timestamp::from_unix(uuid::NoContext, began.as_secs(), began.subsec_nanos());
        Uuid::new_v7(began).simple().to_string()
    }

    fn age(root: &Path, folders: &[&str]) {
        let long_ago = Clock::new().system() - 2 * KEEP;
        for folder in folders.iter().map(|name| root.join(name)) {
            for file in [folder.join("incident.json"), folder.join(".backstop-evidence"), folder] {
                File::open(file).and_then(|file| file.set_modified(long_ago)).expect("aged");
            }
        }
    }

    /// Which of these are there once the first look for old ones is over.
    fn left(
        root: &Path,
        installation: &str,
        names: &[&str],
        known: impl FnMut() -> Option<BTreeSet<IncidentId>> + Send + 'static,
    ) -> Vec<String> {
        let files = Files::start(root.to_owned(), installation.to_owned(), KEEP, Clock::new(), known);
        // What is written next is written after everything old was looked at.
        files.write("last-1".into(), "incident.json".to_owned(), "{}".to_owned());
        let began = Instant::now();
        while !root.join("last-1/incident.json").exists() {
            assert!(began.elapsed() < Duration::from_secs(30), "it is not written");
            std::thread::sleep(Duration::from_millis(5));
        }
        let is_left = |name: &&&str| root.join(name).join("incident.json").exists();
        names.iter().filter(is_left).map(ToString::to_string).collect()
    }

    const FOLDERS: [&str; 4] = ["known-1", "old-1", "others-1", "young-1"];

    /// Evidence of this installation, and of another one.
    fn evidence_of(here: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for name in FOLDERS {
            let installation = if name == "others-1" { "another" } else { here };
            evidence::write(root.path(), installation, &name.into(), "incident.json", "{}").expect("written");
        }
        age(root.path(), &["known-1", "old-1", "others-1"]);
        root
    }

    #[test]
    fn old_evidence_goes_at_the_start_though_nothing_is_written() {
        let here = installation(2 * KEEP);
        let root = evidence_of(&here);
        assert_eq!(left(root.path(), &here, &FOLDERS, || Some(["known-1".into()].into())), ["known-1", "young-1"]);
    }

    #[test]
    fn a_new_installation_removes_nothing_of_another_ones() {
        for here in [installation(KEEP / 2), "no identity".to_owned()] {
            let root = evidence_of(&here);
            let left = left(root.path(), &here, &FOLDERS, || Some(["known-1".into()].into()));
            assert_eq!(left, ["known-1", "others-1", "young-1"]);
        }
    }

    #[test]
    fn nothing_is_removed_while_nobody_knows_which_incidents_there_are() {
        let here = installation(2 * KEEP);
        let root = evidence_of(&here);
        assert_eq!(left(root.path(), &here, &FOLDERS, || None), FOLDERS);
    }
}
