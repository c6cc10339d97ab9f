//! The last moment before a child's program runs.
//!
//! What the supervisor starts is this very program once more: it waits for a word on its standard input, and only then
//! becomes the child's program, as the same process. That has two reasons.
//!
//! Between the start of a process and the moment in which it is known who leads the group, a supervisor that is killed would
//! leave behind a child of which nobody knows. With the gate the leader is in the receipt by then, and the daemon has been
//! told; if the supervisor is gone before that, the word never comes, and nothing has happened.
//!
//! And whoever starts a program waits for the system to have loaded it, which takes for ever on a file system that does not
//! answer. Here it is the child that waits, where its deadline ends it, and the supervisor sees to that. The same goes for
//! entering its directory. That is why a probe's program waits at the gate, too, though it costs 1.5 ms of processor time, of
//! 4.5 for the whole run (release build).

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The hidden subcommand; the child's directory follows, or nothing of a name if it has none, then its program and arguments.
pub const ARGUMENT: &str = "begin";

/// The word.
const GO: u8 = b'!';

/// What could not be used, before the error's number: the program, or its directory.
const OF_PROGRAM: u8 = b'p';
const OF_DIRECTORY: u8 = b'd';

/// Why the program did not run.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Its directory cannot be entered.
    Directory(io::Error),
    /// It cannot be executed.
    Program(io::Error),
}

/// Waits for the word and becomes the program. Returns only if it did not come to that.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(2);
    // Nobody to tell but the exit code: this was not started by a supervisor, or it is gone.
    if let (Some(directory), Some(program), Ok(supervisor)) =
        (words.next(), words.next(), io::stdin().as_fd().try_clone_to_owned())
    {
        become_program(Path::new(&directory), &program, words, supervisor);
    }
    ExitCode::FAILURE
}

fn become_program(
    directory: &Path,
    program: &OsStr,
    arguments: impl Iterator<Item = std::ffi::OsString>,
    supervisor: OwnedFd,
) {
    give_protection_up();
    let mut supervisor = UnixStream::from(supervisor);
    let mut word = [0];
    if supervisor.read_exact(&mut word).is_err() || word != [GO] {
        return;
    }
    let entered = if directory.as_os_str().is_empty() { Ok(()) } else { std::env::set_current_dir(directory) };
    let (what, error) = match entered {
        // This end of the pair closes by itself when the program takes over, which is the good news.
        Ok(()) => (OF_PROGRAM, Command::new(program).args(arguments).stdin(Stdio::null()).exec()),
        Err(error) => (OF_DIRECTORY, error),
    };
    let errno = error.raw_os_error().unwrap_or_else(|| Errno::IO.raw_os_error());
    let mut answer = vec![what];
    answer.extend_from_slice(&errno.to_be_bytes());
    // A supervisor that is gone by now sees to nothing any more.
    let _ = supervisor.write_all(&answer);
}

/// The service manager may have the kernel spare the daemon when memory is short. What it runs is not the daemon: a service
/// that a restart command starts would be spared for ever, and everything else would go first. Giving up needs no right, and
/// where it fails all the same (no /proc) the command is more urgent than this.
fn give_protection_up() {
    const SCORE: &str = "/proc/self/oom_score_adj";
    let score = fs::read_to_string(SCORE).ok().and_then(|score| score.trim().parse::<i32>().ok());
    if score.is_some_and(|score| score < 0) {
        let _as_it_was = fs::write(SCORE, "0");
    }
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
    pub(super) async fn open(mut self) -> Result<(), Refusal> {
        let mut answer = Vec::new();
        let heard = async {
            self.0.write_all(&[GO]).await?;
            self.0.read_to_end(&mut answer).await
        };
        heard.await.map_err(Refusal::Program)?;
        let Ok([what, errno @ ..]) = <[u8; 5]>::try_from(answer) else { return Ok(()) };
        let error = io::Error::from_raw_os_error(i32::from_be_bytes(errno));
        Err(if what == OF_DIRECTORY { Refusal::Directory(error) } else { Refusal::Program(error) })
    }
}
