//! The daemon's side: one supervisor for each child.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use rustix::process::Pid;
use secrecy::ExposeSecret;
use tokio::{
    io::AsyncWriteExt,
    process::{ChildStdout, Command},
    time,
};

use super::{
    ChildEnd, ChildError, ChildSpec, group,
    order::{self, Answer, Order},
    supervise, unended,
};
use crate::core::sample::Reason;

/// This very program, even when its file was replaced or removed since it started.
pub(super) const OWN_PROGRAM: &str = "/proc/self/exe";

/// How much later than the child's deadline the supervisor may answer: grace, wait after a kill, the rest of the output,
/// and a machine under load. After that it is taken for stuck.
const OVERRUN: Duration = Duration::from_secs(15);

static SUPERVISOR: OnceLock<PathBuf> = OnceLock::new();

/// Uses another program than this one as supervisor; for tests, whose own program is none. The first call counts.
pub fn set_supervisor(path: impl Into<PathBuf>) {
    let _first = SUPERVISOR.set(path.into());
}

/// Runs a child to its end. Dropping the future ends the child and its process group.
///
/// The child has no input, its output is bounded, and what of its process group it leaves behind is ended, unless it is a
/// plan's step and exited with 0: then it may have started something in background. What that writes to the output that it
/// inherited is read and discarded by its supervisor, which stays for as long.
///
/// # Errors
/// [`ChildError::Unended`] if it is no step and its last run hangs still, in a way that no signal ends: there is never more
/// than one such process of a command. [`ChildError::Start`] if the program could not be started: then nothing happened. [`ChildError::Supervisor`] if the
/// supervisor could not do its part: then it is unknown whether something happened, and [`super::receipt`] tells. So does
/// it of a step of which a process could not be ended, [`ChildError::Left`].
pub async fn run(spec: ChildSpec) -> Result<ChildEnd, ChildError> {
    let fault = |error: &dyn std::fmt::Display| ChildError::Supervisor(Reason::new(&error.to_string()));
    let program = spec.command.first().cloned().unwrap_or_default();
    if spec.step.is_none()
        && let Some(process) = unended::of(&spec)
    {
        return Err(ChildError::Unended { program, process });
    }
    let order = Order::frame(&spec).map_err(|error| fault(&error))?;
    let supervisor = SUPERVISOR.get().map_or(Path::new(OWN_PROGRAM), PathBuf::as_path);
    let mut process = Command::new(supervisor)
        .arg0("backstop")
        .arg(supervise::ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A terminal's interrupt is for the daemon, which then closes the pipe.
        .process_group(0)
        .spawn()
        .map_err(|error| fault(&format!("start {}: {error}", supervisor.display())))?;
    // Closed when this future ends or is dropped, or when the daemon is killed: the supervisor then ends the child.
    let mut to_supervisor = process.stdin.take().expect("it is piped");
    let mut from_supervisor = process.stdout.take().expect("it is piped");

    let mut group = None;
    let talk = async {
        to_supervisor.write_all(order.expose_secret()).await?;
        drop(order);
        last_answer(&mut from_supervisor, &mut group).await
    };
    let answer = match time::timeout(spec.deadline.saturating_add(OVERRUN), talk).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            drop(to_supervisor);
            let fate = match time::timeout(OVERRUN, process.wait()).await {
                Ok(Ok(status)) => status.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => {
                    let _ = process.kill().await;
                    "it was killed".to_owned()
                }
            };
            end_group(&spec, group).await;
            return Err(fault(&format!("it gave no answer: {error} ({fate})")));
        }
        Err(_) => {
            let _ = process.kill().await;
            end_group(&spec, group).await;
            return Err(fault(&"it gave no answer in time and was killed"));
        }
    };
    drop(to_supervisor);
    if !matches!(answer, Answer::Ended { lingers: true, .. }) {
        // It has said its last word; this only reaps it. One that lingers is reaped by tokio, whenever it ends.
        let _ = time::timeout(OVERRUN, process.wait()).await;
    }
    match answer {
        Answer::Ended { status, stdout, stderr, unended, .. } => {
            if let Some(group) = group.filter(|_| unended) {
                unended::note(&spec, group);
            }
            if unended && spec.step.is_some() {
                // Whatever its status: another attempt would run beside what is left of this one.
                return Err(ChildError::Left { program });
            }
            Ok(ChildEnd { status: status.into(), stdout, stderr })
        }
        Answer::NotStarted { reason } => Err(ChildError::Start { program, reason: Reason::new(&reason) }),
        Answer::Fault { reason } => Err(fault(&reason)),
        Answer::Started { .. } => Err(fault(&"it gave a wrong answer")),
    }
}

/// Reads up to the answer that ends the talk; `group` learns the child's process group on the way.
async fn last_answer(from_supervisor: &mut ChildStdout, group: &mut Option<Pid>) -> io::Result<Answer> {
    let first = order::read(from_supervisor).await?;
    let Answer::Started { process } = first else { return Ok(first) };
    *group = Pid::from_raw(process);
    order::read(from_supervisor).await
}

/// A supervisor that was killed left its child behind.
async fn end_group(spec: &ChildSpec, group: Option<Pid>) {
    if let Some(group) = group
        && !group::end(group, None).await
    {
        unended::note(spec, group);
    }
}
