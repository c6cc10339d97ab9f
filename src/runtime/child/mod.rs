//! Child processes, each under a small supervisor that ends its whole process group when the daemon goes away.
//!
//! [`run`] is the daemon's side, [`supervise`] the supervisor's, [`receipt`] what a later process asks about a plan's step.

pub mod begin;
mod group;
mod order;
mod output;
mod receipt;
mod run;
mod step;
pub mod supervise;
mod unended;

pub use group::{KILL_WAIT, TERMINATE_GRACE};
pub use receipt::{LOCK_WAIT, ReceiptError, prune, receipt, receipt_within};
pub use run::{run, set_supervisor};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl std::fmt::Display for ChildStatus {
    /// As in "ended with status 3".
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "ended with status {code}"),
            Self::Signalled(signal) => write!(formatter, "was ended by signal {signal}"),
            Self::TimedOut => formatter.write_str("ran into its deadline and was ended"),
        }
    }
}

impl ChildEnd {
    /// Whether it ended by itself with status 0.
    pub fn succeeded(&self) -> bool {
        self.status == ChildStatus::Exited(0)
    }

    /// The last line that says something, of standard error or else of standard output.
    pub fn last_line(&self) -> Option<&str> {
        [&self.stderr, &self.stdout]
            .into_iter()
            .find_map(|text| text.lines().map(str::trim).rfind(|line| !line.is_empty()))
    }
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
    /// Of its last run a process hangs in the kernel, at a file system or a device that does not answer: another one would
    /// only hang beside it.
    #[error("start {program} again: process {process} of its last run hangs in the kernel, and no signal ends it")]
    Unended {
        /// The program.
        program: String,
        /// The process's number.
        process: i32,
    },
    /// It is a plan's step, and over as far as it could be ended: a process of it runs on, and does what it does when it is
    /// let go. [`receipt`] waits for that.
    #[error("see the end of {program}: a process that it left hangs in the kernel, or is not ours to end")]
    Left {
        /// The program.
        program: String,
    },
    /// The supervisor could not be run, or no descriptors or processes are left.
    #[error("run the supervisor: {0}")]
    Supervisor(Reason),
}
