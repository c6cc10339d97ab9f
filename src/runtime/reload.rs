//! The configuration file is watched, and put in force anew when it changed or when somebody asks (SIGHUP).
//!
//! It is compared by its content, every few seconds: that sees editors' renames and the swapped symlinks of mounted
//! `ConfigMaps` alike, needs nothing of the file system, and survives the file being away for a while. Files that the
//! configuration refers to (`${file:…}`, certificates) are read again with it, and do not count as its content.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    clock::Clock,
    edges::{self, Prepared},
    manager::Manager,
    threads,
};
use crate::{
    config::{self, Diagnostic, SystemSecrets, form::Config},
    core::engine::{PlansUnderWay, Reloaded},
    serve::metrics::Metrics,
};

/// The file is read so often. What it says must stand for one such interval before it is taken, so that a file
/// which is still being written is not; somebody who asks is not made to wait.
const READ_EVERY: Duration = Duration::from_secs(2);

/// Where the configuration came from, and how it is asked for anew.
#[derive(Debug, Clone)]
pub struct ConfigurationFile {
    /// The file.
    pub path: PathBuf,
    /// What it said when the configuration was read.
    pub content: ContentDigest,
    /// Notified when somebody wants it read again, changed or not.
    pub asked: Arc<Notify>,
}

/// Stands for a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// A configuration on its way to the loop.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) prepared: Box<Prepared>,
    pub(super) difference: config::Difference,
    pub(super) reply: oneshot::Sender<Result<Done, Refused>>,
}

/// The new configuration in force.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) config: Arc<Config>,
    pub(super) reloaded: Reloaded,
}

/// Why the loop did not take it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    PlansUnderWay(#[from] PlansUnderWay),
    #[error("put the configuration in force: the core panicked over it")]
    Panicked,
}

/// What the file was seen to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Content(ContentDigest),
    /// With the reason.
    Unreadable(String),
}

/// How a try ended.
enum Tried {
    Applied,
    /// It will be refused again until something changes.
    Refused(String),
    /// It is tried again at each reading.
    Waits(String),
}

/// Watches the file, for as long as the daemon runs.
pub(super) struct Reloader {
    pub(super) file: ConfigurationFile,
    pub(super) in_force: Arc<Config>,
    pub(super) clock: Clock,
    pub(super) to_loop: mpsc::Sender<Exchange>,
    /// Why the configuration on disk is not the one in force, where it is not.
    pub(super) trouble: watch::Sender<Option<String>>,
    pub(super) manager: Manager,
    pub(super) metrics: Arc<Metrics>,
}

impl Reloader {
    /// Until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let _ended: Option<()> = shutdown.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&mut self) {
        let mut readings = interval(READ_EVERY);
        readings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let asked = Arc::clone(&self.file.asked);
        let mut in_force = Seen::Content(self.file.content);
        let mut settled = in_force.clone();
        let mut before = in_force.clone();
        let mut waits = false;
        loop {
            let by_hand = tokio::select! {
                _ = readings.tick() => false,
                () = asked.notified() => true,
            };
            let read = self.read().await;
            let seen = match &read {
                Ok(bytes) => Seen::Content(ContentDigest::of(bytes)),
                Err(diagnostics) => Seen::Unreadable(diagnostics.render(false)),
            };
            let stands = seen == before;
            before = seen.clone();
            if !by_hand && !waits && (!stands || seen == settled) {
                continue;
            }
            if !by_hand && seen == in_force {
                // It was changed, and changed back.
                (settled, waits) = (seen, false);
                self.trouble.send_replace(None);
                tracing::info!("the configuration on disk is the one in force again");
                continue;
            }
            self.manager.reloading();
            let is_first = !waits;
            let tried = self.attempt(read).await;
            waits = matches!(tried, Tried::Waits(_));
            match tried {
                Tried::Applied => {
                    in_force = seen.clone();
                    self.trouble.send_replace(None);
                    self.metrics.config_reload(true);
                }
                Tried::Refused(why) => {
                    tracing::error!("the configuration in force is kept: {why}");
                    self.metrics.config_reload(false);
                    self.trouble.send_replace(Some(first_line(&why)));
                }
                Tried::Waits(why) => {
                    if is_first {
                        tracing::warn!("the configuration in force is kept for now: failed to {why}");
                    }
                    self.trouble.send_replace(Some(first_line(&why)));
                }
            }
            settled = seen;
            self.manager.ready();
        }
    }

    async fn read(&self) -> Result<Vec<u8>, config::Diagnostics> {
        let path = self.file.path.clone();
        let read = tokio::task::spawn_blocking(move || config::read(&path)).await;
        read.expect("reading a file does not panic")
    }

    async fn attempt(&mut self, read: Result<Vec<u8>, config::Diagnostics>) -> Tried {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(diagnostics) => return Tried::Refused(diagnostics.render(false)),
        };
        let (name, in_force, clock) =
            (self.file.path.display().to_string(), Arc::clone(&self.in_force), self.clock.clone());
        let made = tokio::task::spawn_blocking(move || make(&name, bytes, &in_force, &clock)).await;
        let (prepared, difference, warnings) = match made {
            Ok(Ok(made)) => made,
            Ok(Err(why)) => return Tried::Refused(why),
            Err(_) => return Tried::Refused("a fault of Backstop's own: the configuration made it panic".to_owned()),
        };
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let (reply, answer) = oneshot::channel();
        let exchange = Exchange { prepared: Box::new(prepared), difference, reply };
        if self.to_loop.send(exchange).await.is_err() {
            return Tried::Waits("reach the loop: it ended".to_owned());
        }
        match answer.await {
            Ok(Ok(Done { config, reloaded })) => {
                self.in_force = config;
                let Reloaded { added, changed, removed, kept, .. } = reloaded;
                tracing::info!(added, changed, removed, kept, "the configuration on disk is in force");
                if threads::wants_more(&self.in_force) {
                    tracing::warn!("it has more to sample than one thread surely carries; a restart gives it more");
                }
                Tried::Applied
            }
            Ok(Err(refused @ Refused::PlansUnderWay(_))) => Tried::Waits(refused.to_string()),
            Ok(Err(refused @ Refused::Panicked)) => Tried::Refused(refused.to_string()),
            Err(_) => Tried::Waits("reach the loop: it ended".to_owned()),
        }
    }
}

type Made = (Prepared, config::Difference, Vec<Diagnostic>);

fn make(name: &str, bytes: Vec<u8>, in_force: &Config, clock: &Clock) -> Result<Made, String> {
    let checked = config::check_bytes_here(name, bytes, &SystemSecrets);
    let Some(config) = checked.config else { return Err(checked.diagnostics.render(false)) };
    let difference = config::difference(in_force, &config);
    if !difference.needs_restart.is_empty() {
        let keys = difference.needs_restart.join(", ");
        return Err(format!("{keys}: this changes only with a restart of the daemon; nothing of the file was taken"));
    }
    let prepared = edges::prepare(config, clock).map_err(|error| format!("failed to {error}"))?;
    Ok((prepared, difference, checked.diagnostics.list))
}

/// What fits into a status line; the log has all of it.
fn first_line(why: &str) -> String {
    why.lines().next().unwrap_or_default().to_owned()
}
