//! Why a target could not be seen or changed.

use std::{io, path::PathBuf, time::Duration};

use crate::{
    core::{name::Version, operation::OperationOutcome, sample::Reason},
    runtime::child::{ChildError, ChildStatus},
};

/// Why a target could not be seen or changed.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The file system says no.
    #[error("read {path}: {source}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The link could not be replaced.
    #[error("replace the link {path}: {source}")]
    Replace {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A release's configuration could not be kept.
    #[error("keep a release's configuration as {path}: {source}")]
    Keep {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system does not answer.
    #[error("read {path}: no answer within {limit:?}")]
    Hanging {
        /// Where.
        path: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// Where the link should be is something else.
    #[error("read the link {0}: it is not a symbolic link")]
    NoLink(PathBuf),
    /// There is no link.
    #[error("read the link {0}: it is not there")]
    LinkAbsent(PathBuf),
    /// The link leads to a release that is not there.
    #[error("see what is live: the link {link} leads to {version}, which is not there")]
    Dangling {
        /// The link.
        link: PathBuf,
        /// The release that it names.
        version: Version,
    },
    /// The link names no release.
    #[error("find a release by the link {link}: it leads to {to}, which is not directly inside {directory}")]
    Outside {
        /// The link.
        link: PathBuf,
        /// What it says.
        to: PathBuf,
        /// Where it should lead.
        directory: PathBuf,
    },
    /// There is too much in the directory.
    #[error("list {path}: it holds more than {limit} entries")]
    TooMany {
        /// Which.
        path: PathBuf,
        /// How many are read.
        limit: usize,
    },
    /// The version names no directory of releases.
    #[error("use {0:?} as a release's name: it is no single name")]
    Name(String),
    /// The release to go back to is not usable.
    #[error("find release {version}: {why}")]
    Unavailable {
        /// Which.
        version: Version,
        /// Why.
        why: String,
    },
    /// Something else is live by now.
    #[error("switch from {from} to {to}: {live} is live by now")]
    Overtaken {
        /// The accused version.
        from: Version,
        /// The older one.
        to: Version,
        /// What is live.
        live: Version,
    },
    /// Something else is live by now, and parts of the older one came back before.
    #[error("switch from {from} to {to}: {live} is live by now, with {maps} as {older} had it")]
    OvertakenHalfway {
        /// The accused version.
        from: Version,
        /// The older one.
        to: Version,
        /// What is live.
        live: Version,
        /// Whose parts they are.
        older: Version,
        /// Which they are, in words.
        maps: String,
    },
    /// What is live cannot be told, so that a human's deploy might be undone.
    #[error("switch from {from} to {to}: what is live cannot be told: failed to {why}")]
    Unseen {
        /// The accused version.
        from: Version,
        /// The older one.
        to: Version,
        /// Why it cannot be told.
        why: Box<TargetError>,
    },
    /// It cannot be told just now; with a reason that follows "failed to".
    #[error("{0}")]
    Untold(String),
    /// What should be live is not.
    #[error("see {wanted} live: {live} is")]
    NotLive {
        /// What should be.
        wanted: Version,
        /// What is.
        live: Version,
    },
    /// The deadline came first.
    #[error("see {wanted} live before the deadline: {last}")]
    NotYetLive {
        /// What should be.
        wanted: Version,
        /// What was seen last.
        last: String,
    },
    /// A command could not be run.
    #[error("run `{name}`: {source}")]
    Run {
        /// Its key in the configuration.
        name: &'static str,
        /// Why.
        source: ChildError,
    },
    /// A command did not succeed.
    #[error("run `{name}`: it {status}{}{}", if .said.is_empty() { "" } else { ": " }, .said)]
    Ended {
        /// Its key in the configuration.
        name: &'static str,
        /// How it ended.
        status: ChildStatus,
        /// Its last line.
        said: String,
    },
    /// A command printed something else than versions.
    #[error("understand what `{name}` printed: {why}")]
    Printed {
        /// Its key in the configuration.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// There is no such command.
    #[error("run `{0}`: the target has no such command")]
    NotConfigured(&'static str),
    /// Not an operation on a target.
    #[error("carry out {0}: it is no operation on a target")]
    Foreign(&'static str),
    /// The cluster says no, or nothing.
    #[error(transparent)]
    Kubernetes(#[from] super::KubernetesError),
    /// The engine or the project says no, or nothing.
    #[error(transparent)]
    Compose(#[from] super::ComposeError),
    /// Others wrote at the same time, again and again, or what is written is refused.
    #[error("write in {limit} tries, each after a fresh look; the last: {said}")]
    Contended {
        /// Tries.
        limit: usize,
        /// What was said to the last one.
        said: String,
    },
    /// The cluster has given the rollout up.
    #[error("see {wanted} rolled out: {why}")]
    RolloutFailed {
        /// What should be live.
        wanted: Version,
        /// What the cluster says.
        why: String,
    },
    /// Pods are exchanged only when people delete them.
    #[error("see {wanted} rolled out: its update strategy is OnDelete, so that its pods go on running what they run")]
    ByHand {
        /// What should be live.
        wanted: Version,
    },
    /// Our own task was lost.
    #[error("wait for a task of our own: {0}")]
    Lost(String),
}

impl TargetError {
    pub(super) fn reason(&self) -> Reason {
        Reason::new(&self.to_string())
    }

    /// What follows for an operation: failed where it is certain that nothing is going on any more; overtaken where somebody
    /// else changed what it is about.
    pub(super) fn outcome(&self) -> OperationOutcome {
        let reason = self.reason();
        match self {
            Self::Overtaken { .. } | Self::OvertakenHalfway { .. } => OperationOutcome::Overtaken(reason),
            Self::Kubernetes(error) if error.is_overtaken() => OperationOutcome::Overtaken(reason),
            Self::Kubernetes(error) if !error.is_refusal() => OperationOutcome::Unknown(reason),
            Self::Compose(error) if !error.is_refusal() => OperationOutcome::Unknown(reason),
            Self::Hanging { .. }
            | Self::Unseen { .. }
            | Self::Untold(_)
            | Self::NotYetLive { .. }
            | Self::Lost(_)
            | Self::Run { source: ChildError::Supervisor(_) | ChildError::Left { .. }, .. }
            | Self::Ended { status: ChildStatus::TimedOut, .. } => OperationOutcome::Unknown(reason),
            _ => OperationOutcome::Failed(reason),
        }
    }
}
