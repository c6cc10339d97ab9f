//! The supervisor: the process between the daemon and a child.
//!
//! It is this program under another argument, so that nothing else has to be installed. It reads its order from standard
//! input, runs the child in a process group of its own, and ends that group when the deadline comes, when it is told to
//! end itself, or when standard input closes, which is what happens when the daemon is killed.
//!
//! What happens to the rest of the group once the child itself has ended:
//! - a plan's step that exited with 0 leaves it alone: a restart command may have started the service in background. If
//!   that inherited the output, the supervisor stays and reads on, for it would be ended by its next line otherwise;
//! - after any other end, and always where no step is carried out (probes, looks), it is ended, so that nothing goes on.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::Path,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{io::Errno, process::Pid};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    process::{Child, ChildStderr, ChildStdout, Command},
    signal::unix::{Signal, SignalKind, signal},
    time,
};
use tokio_util::sync::CancellationToken;

use super::{
    begin::{self, Gate, Refusal},
    group::{self, Identity},
    order::{self, Answer, Order, Status},
    output, run,
    step::Step,
};
use crate::core::operation::Receipt;

/// The hidden subcommand.
pub const ARGUMENT: &str = "supervise";

/// How long the rest of the output is waited for once the child has ended: what it wrote is in the pipe already, and
/// whoever still holds the pipe open may hold it for ever.
const DRAIN_WAIT: Duration = Duration::from_millis(500);

/// What the daemon got from its service manager and a child must not take for its own.
const NOT_INHERITED: [&str; 5] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"];

/// Runs one order. The exit code says only whether an answer was given.
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(supervise())) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody to tell: the daemon is gone, or this was not started by it.
        Err(_) => ExitCode::FAILURE,
    }
}

async fn supervise() -> io::Result<()> {
    let signals = Signals::caught()?;
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let mut from_daemon = pipe::Receiver::from_owned_fd(stdin.try_clone()?)?;
    let mut to_daemon = pipe::Sender::from_owned_fd(io::stdout().as_fd().try_clone_to_owned()?)?;
    // Half an order is none: the daemon was killed while it wrote, and nothing happens.
    let order: Order = order::read(&mut from_daemon).await?;

    let over = CancellationToken::new();
    tokio::spawn(watch(from_daemon, signals, over.clone()));
    let (answer, held) = match carry_out(order, &stdin, &over, &mut to_daemon).await {
        Ok(outcome) => outcome,
        Err(error) => (Answer::Fault { reason: error.to_string() }, None),
    };
    let told = to_daemon.write_all(&order::frame(&answer)?).await;
    if let Some(held) = held {
        linger(held).await?;
    }
    told
}

/// Output that somebody still holds open after the child's end.
type Held = (Option<ChildStdout>, Option<ChildStderr>);

/// Reads and discards until whoever writes has ended, or until told to end.
async fn linger((stdout, stderr): Held) -> io::Result<()> {
    let mut signals = Signals::caught()?;
    // Whatever is orphaned from now on is for the machine's own reaper, not for us.
    let _ = rustix::process::set_child_subreaper(None);
    tokio::select! {
        _ = async { tokio::join!(drain(stdout), drain(stderr)) } => {}
        () = signals.one() => {}
    }
    Ok(())
}

async fn drain(pipe: Option<impl AsyncRead + Unpin>) {
    if let Some(mut pipe) = pipe {
        // An error is an end too.
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
}

/// The signals that ask us to end. Caught from the very beginning: one that came before would leave a child behind.
struct Signals([Signal; 3]);

impl Signals {
    fn caught() -> io::Result<Self> {
        let [terminate, interrupt, hang_up] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([terminate?, interrupt?, hang_up?]))
    }

    async fn one(&mut self) {
        let [terminate, interrupt, hang_up] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

/// Cancels `over` when the daemon is gone or we are told to end.
async fn watch(mut from_daemon: pipe::Receiver, mut signals: Signals, over: CancellationToken) {
    let _however_this_ends = over.drop_guard();
    let mut byte = [0];
    tokio::select! {
        // The daemon says nothing more: whatever comes is its end.
        _ = from_daemon.read(&mut byte) => {}
        () = signals.one() => {}
    }
}

/// Whether the daemon still holds its end of the pipe; asked of the kernel itself.
fn daemon_lives(stdin: &OwnedFd) -> bool {
    rustix::io::read(stdin, &mut [0; 1]) == Err(Errno::AGAIN)
}

async fn carry_out(
    order: Order,
    stdin: &OwnedFd,
    over: &CancellationToken,
    to_daemon: &mut pipe::Sender,
) -> io::Result<(Answer, Option<Held>)> {
    let mut step = match &order.step {
        Some((directory, key)) => Some(Step::begin(directory, key, order.deadline, over).await?),
        None => None,
    };
    // The lock is held by now. A daemon that died before this line may have a successor that found no lock: then
    // nothing may happen. One that dies after it leaves a successor that waits.
    if !daemon_lives(stdin) {
        if let Some(step) = step {
            step.never_began()?;
        }
        return Err(io::Error::other("the daemon is gone"));
    }
    // Orphans of the group come to us, so that it can be told when it is empty. Without it only that takes longer.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let (mut child, gate) = match start(&order) {
        Ok(started) => started,
        Err(answer) => return not_begun(step, answer),
    };
    let process = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).expect("it was not waited for yet");
    if let Some(step) = &mut step
        && let Err(error) = step.started(Identity::of(process))
    {
        group::end(process, Some(&mut child)).await;
        return Err(error);
    }
    let started = Answer::Started { process: process.as_raw_nonzero().get() };
    // If it cannot be told, the daemon is gone, which is noticed below.
    let _ = to_daemon.write_all(&order::frame(&started)?).await;
    // Only now, when whoever looks for the child finds it, does its program run.
    let mut deadline = order.deadline;
    let opened = tokio::select! {
        opened = gate.open() => opened,
        // A program on a file system that hangs: its process is ended like one that runs.
        () = over.cancelled() => Ok(()),
        () = time::sleep(deadline) => {
            deadline = Duration::ZERO;
            Ok(())
        }
    };
    if let Err(refusal) = opened {
        // It ends by itself.
        let _ = child.wait().await;
        return not_begun(step, not_run(&refusal, order.directory.as_deref()));
    }
    attend(child, process, deadline, step, over).await
}

/// The program never ran.
fn not_begun(step: Option<Step>, answer: Answer) -> io::Result<(Answer, Option<Held>)> {
    if let (Some(step), Answer::NotStarted { reason } | Answer::Fault { reason }) = (step, &answer) {
        step.end(Receipt::Failed, reason)?;
    }
    Ok((answer, None))
}

/// What follows from a child that could not be started: whether it was our own fault, or the command's.
fn refused(error: &io::Error) -> Answer {
    let exhausted = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    if exhausted.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        Answer::Fault { reason: format!("start a child: {error}") }
    } else {
        Answer::NotStarted { reason: error.to_string() }
    }
}

/// What follows from a child that did not become its program.
fn not_run(refusal: &Refusal, directory: Option<&Path>) -> Answer {
    match (refusal, directory) {
        (Refusal::Directory(error), Some(directory)) => {
            let is_missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
            let why = if is_missing { "is not there".to_owned() } else { format!("cannot be entered: {error}") };
            Answer::NotStarted { reason: format!("its directory {} {why}", directory.display()) }
        }
        (Refusal::Program(error) | Refusal::Directory(error), _) => refused(error),
    }
}

/// Starts the child's process, which waits at the gate. Nothing here may touch the child's program or directory: on a file
/// system that does not answer it would hold the supervisor up, which has the deadline to see to.
fn start(order: &Order) -> Result<(Child, Gate), Answer> {
    let Some((program, arguments)) = order.command.split_first() else {
        return Err(Answer::NotStarted { reason: "the command is empty".to_owned() });
    };
    let (gate, at_the_gate) = Gate::pair().map_err(|error| refused(&error))?;
    let mut command = Command::new(run::OWN_PROGRAM);
    command.arg0("backstop").arg(begin::ARGUMENT);
    command.arg(order.directory.as_deref().unwrap_or(Path::new(""))).arg(program).args(arguments);
    command.stdin(at_the_gate).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    command.envs(order.environment.iter().map(|(name, value)| (name, value)));
    let child = command.spawn().map_err(|error| refused(&error))?;
    Ok((child, gate))
}

/// How the child came to its end.
enum End {
    Itself(ExitStatus),
    Deadline,
    /// The daemon is gone, or we were told to end.
    Over,
}

impl End {
    fn receipt(&self) -> (Receipt, String) {
        match self {
            Self::Itself(status) if status.success() => (Receipt::Succeeded, status.to_string()),
            Self::Itself(status) => (Receipt::Failed, status.to_string()),
            Self::Deadline => (Receipt::Interrupted, "ended at its deadline".to_owned()),
            Self::Over => (Receipt::Interrupted, "ended because the daemon did".to_owned()),
        }
    }
}

/// Sees the child to its end, and its group as far as it has to go.
async fn attend(
    mut child: Child,
    process: Pid,
    deadline: Duration,
    step: Option<Step>,
    over: &CancellationToken,
) -> io::Result<(Answer, Option<Held>)> {
    let drained = CancellationToken::new();
    let stdout = tokio::spawn(output::collect(child.stdout.take().expect("it is piped"), drained.clone()));
    let stderr = tokio::spawn(output::collect(child.stderr.take().expect("it is piped"), drained.clone()));
    let end = tokio::select! {
        biased;
        status = child.wait() => End::Itself(status?),
        () = over.cancelled() => End::Over,
        () = time::sleep(deadline) => End::Deadline,
    };
    let succeeded = matches!(end, End::Itself(status) if status.success());
    let left_alone = succeeded && step.is_some();
    let quiet = left_alone || group::end(process, Some(&mut child)).await;
    if let Some(step) = step {
        let (receipt, detail) = end.receipt();
        if quiet {
            step.end(receipt, &detail)?;
        } else {
            let left = group::all_alive_in(process).collect();
            step.end_but(left, receipt, &format!("{detail}; a process of its group could not be ended"))?;
        }
    }
    let mut output = std::pin::pin!(async { tokio::join!(stdout, stderr) });
    let (stdout, stderr) = if let Ok(both) = time::timeout(DRAIN_WAIT, &mut output).await {
        both
    } else {
        drained.cancel();
        output.await
    };
    let status = match end {
        End::Itself(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Status::Exited(code),
            (None, signal) => Status::Signalled(signal.unwrap_or_default()),
        },
        End::Deadline => Status::TimedOut,
        End::Over => return Err(io::Error::other("it was told to end")),
    };
    let ((stdout, stdout_held), (stderr, stderr_held)) = (stdout?, stderr?);
    let held = left_alone && (stdout_held.is_some() || stderr_held.is_some());
    let (stdout, stderr) = (stdout.into_text(), stderr.into_text());
    let answer = Answer::Ended { status, stdout, stderr, lingers: held, unended: !quiet };
    Ok((answer, held.then_some((stdout_held, stderr_held))))
}
