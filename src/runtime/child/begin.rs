//! The last moment before the program of a plan's step runs.
//!
//! Between the start of a process and the moment in which it is known who leads the group, a supervisor that is killed
//! would leave behind a child of which nobody knows. So what the supervisor starts is this very program once more: it waits
//! for a word on its standard input, and only then becomes the child's program, as the same process. By then the leader is
//! in the receipt and the daemon has been told. If the supervisor is gone before that, the word never comes, and nothing
//! has happened.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, ExitCode, Stdio},
};

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The hidden subcommand; the child's program and its arguments follow.
pub const ARGUMENT: &str = "begin";

/// The word.
const GO: u8 = b'!';

/// Waits for the word and becomes the program. Returns only if it did not come to that.
pub fn main() -> ExitCode {
    let mut command = std::env::args_os().skip(2);
    // Nobody to tell but the exit code: this was not started by a supervisor, or it is gone.
    if let (Some(program), Ok(supervisor)) = (command.next(), io::stdin().as_fd().try_clone_to_owned()) {
        become_program(&program, command, supervisor);
    }
    ExitCode::FAILURE
}

fn become_program(program: &OsStr, arguments: impl Iterator<Item = std::ffi::OsString>, supervisor: OwnedFd) {
    let mut supervisor = UnixStream::from(supervisor);
    let mut word = [0];
    if supervisor.read_exact(&mut word).is_err() || word != [GO] {
        return;
    }
    // This end of the pair closes by itself when the program takes over, which is the good news.
    let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
    let errno = error.raw_os_error().unwrap_or_else(|| Errno::IO.raw_os_error());
    // A supervisor that is gone by now sees to nothing any more.
    let _ = supervisor.write_all(&errno.to_be_bytes());
}

/// The supervisor's end: without the word, dropping it ends what waits.
#[derive(Debug)]
pub(super) struct Gate(tokio::net::UnixStream);

impl Gate {
    /// Both ends; the second one is the child's standard input.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, childs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Self(tokio::net::UnixStream::from_std(ours)?), childs.into()))
    }

    /// Gives the word. Returns once the program runs.
    ///
    /// # Errors
    /// Why it could not be run.
    pub(super) async fn open(mut self) -> io::Result<()> {
        self.0.write_all(&[GO]).await?;
        let mut errno = Vec::new();
        self.0.read_to_end(&mut errno).await?;
        match <[u8; 4]>::try_from(errno) {
            Ok(errno) => Err(io::Error::from_raw_os_error(i32::from_be_bytes(errno))),
            Err(_) => Ok(()),
        }
    }
}
