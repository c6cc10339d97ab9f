//! Child processes, each under a small supervisor that ends its whole process group when the daemon goes away.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;

use crate::core::{operation::StepKey, sample::Reason};

/// Most of a child's output that is kept, in bytes, of each stream: the first half and the last.
pub const OUTPUT_LIMIT_BYTES: usize = 64 * 1024;

/// What to run.
#[derive(Debug, Clone)]
pub struct ChildSpec {
    /// The program and its arguments; no shell.
    pub command: Vec<String>,
    /// Where it runs.
    pub directory: Option<PathBuf>,
    /// Added to its environment.
    pub environment: Vec<(String, SecretString)>,
    /// After this its process group is ended: asked first, then killed.
    pub deadline: Duration,
    /// For a plan's step: the directory of locks and receipts, and the attempt.
    pub step: Option<(PathBuf, StepKey)>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildStatus {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// Ended by us at its deadline.
    TimedOut,
}

/// What is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildEnd {
    /// How it ended.
    pub status: ChildStatus,
    /// Standard output, bounded.
    pub stdout: String,
    /// Standard error, bounded.
    pub stderr: String,
}

/// Why it could not be run at all. These are the watchdog's own faults or the configuration's, never the service's.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The program is not there or may not be run.
    #[error("start {program}: {reason}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        reason: Reason,
    },
    /// The supervisor could not be run, or no descriptors or processes are left.
    #[error("run the supervisor: {0}")]
    Supervisor(Reason),
}
