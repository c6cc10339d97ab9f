//! Writes evidence files on a thread of its own: a slow disk holds up no probe and no page.

use std::{
    path::PathBuf,
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    time::Duration,
};

use super::clock::Clock;
use crate::{core::name::IncidentId, record::evidence};

/// Files that may wait to be written. Each open incident rewrites one file a few times; more means that the disk hangs.
const WAITING_LIMIT: usize = 1024;
/// Old folders are looked for after so many files written.
const PRUNE_AFTER_WRITES: u32 = 256;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Files(SyncSender<(IncidentId, String, String)>);

impl Files {
    /// Starts the thread. It ends when this is dropped and everything waiting is written.
    pub(super) fn start(directory: PathBuf, keep: Duration, clock: Clock) -> Self {
        let (sender, waiting) = sync_channel::<(IncidentId, String, String)>(WAITING_LIMIT);
        let work = move || {
            let mut until_prune = 0;
            for (incident, name, content) in waiting {
                if let Err(error) = evidence::write(&directory, &incident, &name, &content) {
                    tracing::error!(%incident, name, %error, "failed to keep evidence");
                }
                if until_prune == 0 {
                    until_prune = PRUNE_AFTER_WRITES;
                    if let Err(error) = evidence::prune(&directory, keep, clock.system()) {
                        tracing::warn!(%error, "failed to remove old evidence");
                    }
                }
                until_prune -= 1;
            }
        };
        std::thread::Builder::new().name("files".to_owned()).spawn(work).expect("a thread at the start of the process");
        Self(sender)
    }

    pub(super) fn write(&self, incident: IncidentId, name: String, content: String) {
        match self.0.try_send((incident, name, content)) {
            Ok(()) => {}
            Err(TrySendError::Full((incident, name, _)) | TrySendError::Disconnected((incident, name, _))) => {
                tracing::error!(%incident, name, "failed to keep evidence: too much waits for the disk");
            }
        }
    }
}
