//! Starts and stops the shop, as a service manager would. It lives in the demonstration's own process; the configuration's
//! `restart` command asks it by a Unix socket, and waits until the new process serves.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::UnixListener,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{DemoError, shop};
use crate::{core::time::WallTime, runtime::clock::Clock};

/// A shop that is asked to end does so at once.
const END_GRACE: Duration = Duration::from_secs(2);
/// From the start of the process to its first order, on a machine under load.
const START_LIMIT: Duration = Duration::from_secs(10);
/// A restart that takes longer has gone wrong.
const RESTART_LIMIT: Duration = Duration::from_secs(20);
/// The answer to a restart that was made.
const DONE: &str = "done\n";

/// The shop's service manager.
pub(super) struct Manager {
    program: PathBuf,
    current: PathBuf,
    port: u16,
    clock: Clock,
    running: tokio::sync::Mutex<Option<Process>>,
    fault_began: Mutex<Option<WallTime>>,
}

/// The shop's process. It ends when its input is dropped.
struct Process {
    child: Child,
    _input: ChildStdin,
}

impl Manager {
    pub(super) fn new(program: PathBuf, current: PathBuf, port: u16, clock: Clock) -> Self {
        let (running, fault_began) = (tokio::sync::Mutex::new(None), Mutex::new(None));
        Self { program, current, port, clock, running, fault_began }
    }

    /// Ends the old process, starts the new one, and waits until it serves.
    pub(super) async fn restart(self: &std::sync::Arc<Self>) -> Result<(), DemoError> {
        let mut running = self.running.lock().await;
        if let Some(old) = running.take() {
            end(old).await;
        }
        let (process, lines) = self.start().await?;
        *running = Some(process);
        tokio::spawn(std::sync::Arc::clone(self).listen(lines));
        Ok(())
    }

    async fn start(&self) -> Result<(Process, Lines<BufReader<ChildStdout>>), DemoError> {
        let failed = |error: &dyn std::fmt::Display| DemoError::Shop(error.to_string());
        let mut child = Command::new(&self.program)
            .arg("demo-shop")
            .arg(&self.current)
            .arg(self.port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A terminal's interrupt is for the demonstration, which then ends the shop.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let input = child.stdin.take().expect("it is piped");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        match timeout(START_LIMIT, lines.next_line()).await {
            Ok(Ok(Some(line))) if line == shop::LISTENING => {}
            Ok(Ok(line)) => return Err(failed(&line.unwrap_or_else(|| "it ended without a word".to_owned()))),
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => return Err(failed(&format!("it did not serve within {START_LIMIT:?}"))),
        }
        Ok((Process { child, _input: input }, lines))
    }

    /// Hears when the fault begins; ends with the process.
    async fn listen(self: std::sync::Arc<Self>, mut lines: Lines<BufReader<ChildStdout>>) {
        while let Ok(Some(line)) = lines.next_line().await {
            if line == shop::FAULT {
                let now = self.clock.now().wall;
                self.fault_began.lock().expect("nobody panics with it").get_or_insert(now);
            }
        }
    }

    /// When the second release's fault began, by its own word.
    pub(super) fn fault_began(&self) -> Option<WallTime> {
        *self.fault_began.lock().expect("nobody panics with it")
    }

    pub(super) async fn stop(&self) {
        if let Some(process) = self.running.lock().await.take() {
            end(process).await;
        }
    }

    /// Does what the `restart` command asks for, one after another.
    pub(super) async fn obey(self: std::sync::Arc<Self>, listener: UnixListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = match self.restart().await {
                Ok(()) => DONE.to_owned(),
                Err(error) => format!("failed to {error}\n"),
            };
            // Whoever asked may be gone.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
}

async fn end(mut process: Process) {
    if let Some(id) = process.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        // It is our child and was not waited for: the number is its own.
        let _gone = kill_process(id, Signal::TERM);
        if timeout(END_GRACE, process.child.wait()).await.is_ok() {
            return;
        }
    }
    let _gone = process.child.kill().await;
}

/// `backstop demo-restart SOCKET`: what the configuration names as the restart command.
pub(crate) fn ask(socket: &Path) -> Result<(), DemoError> {
    let answer = answer(socket).map_err(|error| DemoError::Shop(format!("the demonstration is not there: {error}")))?;
    if answer == DONE { Ok(()) } else { Err(DemoError::Shop(answer.trim_end().to_owned())) }
}

fn answer(socket: &Path) -> io::Result<String> {
    // To connect is to ask: there is one thing that can be asked for.
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(RESTART_LIMIT))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
