//! What daemon and supervisor say to each other: frames of a length (four bytes, big end first) and JSON. The daemon
//! sends one [`Order`] and then holds the pipe open for as long as it lives; the supervisor sends [`Answer`]s.

use std::{io, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{ChildSpec, ChildStatus, OUTPUT_LIMIT_BYTES};
use crate::core::operation::StepKey;

/// Longest frame: two streams of output, each byte of which JSON may write as six, and room for the rest.
const FRAME_LIMIT_BYTES: usize = 2 * 6 * OUTPUT_LIMIT_BYTES + 256 * 1024;

/// What to run. Holds secrets in the clear: never shown, and no longer-lived than it must be.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) command: Vec<String>,
    pub(super) directory: Option<PathBuf>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) deadline: Duration,
    pub(super) step: Option<(PathBuf, StepKey)>,
}

impl Order {
    /// The frame of `spec`'s order.
    pub(super) fn frame(spec: &ChildSpec) -> io::Result<SecretSlice<u8>> {
        let environment =
            spec.environment.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect();
        let order = Self {
            command: spec.command.clone(),
            directory: spec.directory.clone(),
            environment,
            deadline: spec.deadline,
            step: spec.step.clone(),
        };
        Ok(SecretSlice::from(frame(&order)?))
    }
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    /// It runs, and leads a process group of its own.
    Started {
        /// Its number, and the group's.
        process: i32,
    },
    /// It ended.
    Ended {
        /// How.
        status: Status,
        /// Standard output.
        stdout: String,
        /// Standard error.
        stderr: String,
        /// The supervisor stays, for what was left running in background.
        lingers: bool,
        /// A process of its group could not be ended.
        unended: bool,
    },
    /// Its program could not be started.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// The supervisor itself could not do its part.
    Fault {
        /// Why.
        reason: String,
    },
}

/// [`ChildStatus`] on its way.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// By itself.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// At its deadline.
    TimedOut,
}

impl From<Status> for ChildStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Exited(code) => Self::Exited(code),
            Status::Signalled(signal) => Self::Signalled(signal),
            Status::TimedOut => Self::TimedOut,
        }
    }
}

/// Length and JSON of `message`.
pub(super) fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_LIMIT_BYTES {
        return Err(io::Error::other("command, environment or output is too long"));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).expect("the limit fits").to_be_bytes());
    Ok(frame)
}

/// Reads one frame whole.
pub(super) async fn read<M: DeserializeOwned>(pipe: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let length = usize::try_from(pipe.read_u32().await?).unwrap_or(usize::MAX);
    if length > FRAME_LIMIT_BYTES {
        return Err(io::Error::other("the frame is too long"));
    }
    let mut json = vec![0; length];
    pipe.read_exact(&mut json).await?;
    let json = SecretSlice::from(json);
    serde_json::from_slice(json.expose_secret()).map_err(|_| io::Error::other("the frame is not understood"))
}
