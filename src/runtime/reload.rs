//! The configuration file is watched, and put in force anew when it changed or when somebody asks (SIGHUP).
//!
//! It is compared by its content, every few seconds: that sees editors' renames and the swapped symlinks of mounted
//! `ConfigMaps` alike, needs nothing of the file system, and survives the file being away for a while. Files that the
//! configuration refers to (`${file:…}`, certificates) are read again with it, and do not count as its content.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

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
    core::{
        engine::{PlansUnderWay, Reloaded},
        view::ConfigurationTrouble,
    },
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
    Refused(Why),
    /// It is tried again at each reading.
    Waits(Why),
}

/// Watches the file, for as long as the daemon runs.
pub(super) struct Reloader {
    pub(super) file: ConfigurationFile,
    pub(super) in_force: Arc<Config>,
    pub(super) clock: Clock,
    pub(super) to_loop: mpsc::Sender<Exchange>,
    /// Why the configuration on disk is not the one in force, where it is not.
    pub(super) trouble: watch::Sender<Option<ConfigurationTrouble>>,
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
                    self.trouble.send_replace(Some(why.trouble(&self.file.path)));
                }
                Tried::Waits(why) => {
                    if is_first {
                        tracing::warn!("the configuration in force is kept for now: {why}");
                    }
                    self.trouble.send_replace(Some(why.trouble(&self.file.path)));
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
            Err(diagnostics) => return Tried::Refused(Why::Mistakes(diagnostics)),
        };
        let (name, in_force, clock) =
            (self.file.path.display().to_string(), Arc::clone(&self.in_force), self.clock.clone());
        let made = tokio::task::spawn_blocking(move || make(&name, bytes, &in_force, &clock)).await;
        let (prepared, difference, warnings) = match made {
            Ok(Ok(made)) => made,
            Ok(Err(why)) => return Tried::Refused(why),
            Err(_) => {
                return Tried::Refused(Why::Else {
                    why: "the configuration made it panic".to_owned(),
                    help: OWN_FAULT,
                });
            }
        };
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let (reply, answer) = oneshot::channel();
        let exchange = Exchange { prepared: Box::new(prepared), difference, reply };
        if self.to_loop.send(exchange).await.is_err() {
            return Tried::Waits(loop_ended());
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
            Ok(Err(Refused::PlansUnderWay(plans))) => Tried::Waits(Why::Else {
                why: format!("failed to {plans}"),
                help: "it is taken by itself once that has ended",
            }),
            Ok(Err(refused @ Refused::Panicked)) => {
                Tried::Refused(Why::Else { why: format!("failed to {refused}"), help: OWN_FAULT })
            }
            Err(_) => Tried::Waits(loop_ended()),
        }
    }
}

type Made = (Prepared, config::Difference, Vec<Diagnostic>);

fn make(name: &str, bytes: Vec<u8>, in_force: &Config, clock: &Clock) -> Result<Made, Why> {
    let checked = config::check_bytes_here(name, bytes, &SystemSecrets);
    let Some(config) = checked.config else { return Err(Why::Mistakes(checked.diagnostics)) };
    let difference = config::difference(in_force, &config);
    if !difference.needs_restart.is_empty() {
        let keys = difference.needs_restart.join(", ");
        let why = format!("{keys}: this changes only with a restart of the daemon; nothing of the file was taken");
        return Err(Why::Else { why, help: "restart the daemon, or take that change back" });
    }
    let prepared = edges::prepare(config, clock).map_err(|error| Why::Else {
        why: format!("failed to {error}"),
        help: "mend what is named, then send SIGHUP or change the file: it is read again",
    })?;
    Ok((prepared, difference, checked.diagnostics.list))
}

const OWN_FAULT: &str = "take the change back, and report it: this is a fault of Backstop's own";

fn loop_ended() -> Why {
    Why::Else { why: "failed to reach the loop: it ended".to_owned(), help: "the daemon is stopping" }
}

/// Why a configuration is not in force.
#[derive(Debug)]
enum Why {
    /// What is wrong with the file.
    Mistakes(config::Diagnostics),
    /// Anything else, with what helps.
    Else { why: String, help: &'static str },
}

impl Why {
    /// What a status tells of it; the log has all of it.
    fn trouble(&self, file: &Path) -> ConfigurationTrouble {
        let file = file.display().to_string();
        match self {
            Self::Else { why, help } => {
                let (why, help) = (why.clone(), (*help).to_owned());
                ConfigurationTrouble { file, line: None, column: None, why, help, more: 0 }
            }
            Self::Mistakes(diagnostics) => {
                let errors = diagnostics.list.iter().filter(|one| one.gravity == config::Gravity::Error);
                let first = errors.clone().next().expect("what is refused has an error");
                let place = first.place.as_ref();
                ConfigurationTrouble {
                    file,
                    line: place.map(|place| place.line),
                    column: place.map(|place| place.column),
                    why: first.message.clone(),
                    help: first.help.clone(),
                    more: errors.count() - 1 + diagnostics.left_out,
                }
            }
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mistakes(diagnostics) => diagnostics.fmt(formatter),
            Self::Else { why, help } => write!(formatter, "{why} ({help})"),
        }
    }
}
