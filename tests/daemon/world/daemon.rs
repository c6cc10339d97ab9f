//! The real binary: as a daemon, and as the command line that speaks to it.

use std::{
    fs::{self, File},
    io::PipeReader,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{receiver, wait::eventually};

/// The size of a pipe that is soon full.
pub(crate) const PIPE_BYTES: usize = 4096;

/// The binary, ready for arguments, with the environment that the configurations here ask for.
pub(crate) fn backstop(configuration: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstop"));
    command
        .env("BACKSTOP_CONFIG", configuration)
        .env("WEBHOOK_SECRET", receiver::SECRET)
        .env("RUST_LOG", "backstop=debug,warn")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// A daemon that runs, or has ended.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    pub(crate) log: PathBuf,
    /// The other end of its standard error, where nobody reads it.
    unread: Option<PipeReader>,
}

impl Daemon {
    /// Starts it; what it logs is appended to `log`.
    pub(crate) fn start(configuration: &Path, log: &Path) -> Self {
        Self::start_with(configuration, log, &[])
    }

    /// Starts it with more in its environment.
    pub(crate) fn start_with(configuration: &Path, log: &Path, environment: &[(&str, &str)]) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log");
        let child = backstop(configuration)
            .arg("run")
            .envs(environment.iter().copied())
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file)
            .spawn()
            .expect("the binary runs");
        Self { child, log: log.to_owned(), unread: None }
    }

    /// Starts it, logging into a pipe that nobody reads, of a page's size.
    pub(crate) fn start_unread(configuration: &Path) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES).expect("a page at least");
        let child = backstop(configuration).arg("run").stdout(Stdio::null()).stderr(writer).spawn();
        let child = child.expect("the binary runs");
        Self { child, log: PathBuf::new(), unread: Some(reader) }
    }

    /// Bytes that wait in the pipe that nobody reads.
    pub(crate) fn unread_bytes(&self) -> u64 {
        rustix::io::ioctl_fionread(self.unread.as_ref().expect("started so")).expect("a pipe")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// As `kill` does; waits for its end.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("it is ours");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the daemon ends", || self.child.try_wait().expect("it is ours"))
    }

    #[track_caller]
    pub(crate) fn must_run(&mut self) {
        let ended = self.child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "the daemon ended: {ended:?}\n{}", self.said());
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _over = self.child.kill();
        let _over = self.child.wait();
        // `BACKSTOP_TEST_LOG=1` shows it of tests that pass, too.
        let whole = std::env::var_os("BACKSTOP_TEST_LOG").is_some();
        if std::thread::panicking() || whole {
            let said = self.said();
            let begin = if whole { 0 } else { said.len().saturating_sub(12_000) };
            let begin = (begin..said.len()).find(|&at| said.is_char_boundary(at)).unwrap_or(0);
            eprintln!("---- the daemon's log, its end:\n{}", &said[begin..]);
        }
    }
}

/// The command line.
#[derive(Debug, Clone)]
pub(crate) struct Cli {
    pub(crate) configuration: PathBuf,
}

impl Cli {
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        backstop(&self.configuration).args(arguments).output().expect("the binary runs")
    }

    /// What a command that must succeed prints.
    #[track_caller]
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{out}\n{err}", output.status);
        out.into_owned()
    }

    /// The same with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// What a command that must fail says, and its exit code.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let code = output.status.code().expect("it ends by itself");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(code != 0, "{arguments:?} succeeded: {}{err}", String::from_utf8_lossy(&output.stdout));
        (code, err)
    }
}
