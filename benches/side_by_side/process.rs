//! Child processes, where they run, and what they use.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// Ticks a second in `/proc/PID/stat` (`USER_HZ`), the same on every architecture that this is built for.
const TICKS_A_SECOND: u32 = 100;
/// A child that was asked to end has so long before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Where a process runs, on a machine of several cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// The last one.
    Server,
    /// The first one.
    Subject,
    /// Any.
    Any,
}

/// A command that runs there.
pub(crate) fn pinned(core: Core, program: impl AsRef<OsStr>) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let place = match core {
        Core::Server => cores - 1,
        Core::Subject => 0,
        Core::Any => cores,
    };
    if cores == 1 || place == cores {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(place.to_string()).arg(program);
    command
}

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct Child(std::process::Child);

impl Child {
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        Ok(Self(command.spawn().with_context(|| format!("run {}", command.get_program().display()))?))
    }

    /// Starts it without input; what it says goes to `log`.
    pub(crate) fn start_logged(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = fs::File::options().create(true).append(true).open(log).context("open a log")?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Self::start(command)
    }

    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.0.stdin.take().expect("piped, and taken once")
    }

    pub(crate) fn take_output(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("piped, and taken once")
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Fails if it has ended by itself.
    pub(crate) fn must_run(&mut self) -> anyhow::Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("keep a process running: it ended by itself, {status}"),
        }
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _over = self.0.kill();
        let _over = self.0.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _over = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }
}

/// What processes have used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// In ticks, threads that have ended included.
    ticks: u64,
    /// Each thread's, to the nanosecond.
    threads: Vec<(u64, u64)>,
}

impl Usage {
    /// Of these processes together, up to now.
    pub(crate) fn of(children: &[Child]) -> anyhow::Result<Self> {
        let mut usage = Self::default();
        for child in children {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).context("read a process's times")?;
            // After the name, which may hold anything, the state is field 3; utime and stime are 14 and 15.
            let fields: Vec<&str> =
                stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(2).collect();
            for field in fields {
                usage.ticks += field.parse::<u64>().context("read a process's times")?;
            }
            for entry in fs::read_dir(format!("/proc/{}/task", child.id())).context("list a process's threads")? {
                let path = entry?.path();
                let id: u64 = path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok()).unwrap_or(0);
                // One that ends meanwhile is noticed by its absence.
                let Ok(times) = fs::read_to_string(path.join("schedstat")) else { continue };
                let nanos = times.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
                usage.threads.push((id, nanos));
            }
        }
        usage.threads.sort_unstable();
        Ok(usage)
    }

    /// Processor time between two looks: to the nanosecond where no thread has ended between them, else to 10 ms.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let now = |id: u64| self.threads.binary_search_by_key(&id, |thread| thread.0).ok().map(|at| self.threads[at].1);
        let ended = before.threads.iter().any(|(id, _)| now(*id).is_none());
        let nanos = |usage: &Self| usage.threads.iter().map(|thread| thread.1).sum::<u64>();
        if ended || nanos(self) == 0 {
            Duration::from_secs(1) * u32::try_from(self.ticks - before.ticks).unwrap_or(u32::MAX) / TICKS_A_SECOND
        } else {
            Duration::from_nanos(nanos(self) - nanos(before))
        }
    }
}

/// Resident memory of these processes together, in bytes.
pub(crate) fn resident_bytes(children: &[Child]) -> anyhow::Result<u64> {
    children.iter().map(|child| resident_bytes_of(child.id())).sum()
}

/// Resident memory of one process, in bytes.
pub(crate) fn resident_bytes_of(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("read a process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("read a process's memory")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}
