//! Process groups: how one is ended, and how it is known again after our own restart.

use std::{fs, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid},
};
use serde::{Deserialize, Serialize};
use tokio::{process::Child, time};

/// Time for a group to end by itself after SIGTERM: enough to close files, short beside any probe's interval.
pub const TERMINATE_GRACE: Duration = Duration::from_secs(2);

/// Time for a killed group to be gone. A process in an uninterruptible call can take so long; it runs no more code of
/// its own.
pub const KILL_WAIT: Duration = Duration::from_secs(5);

/// How often a group that is ending is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Ends the group: asks it with SIGTERM, kills it after [`TERMINATE_GRACE`]. `leader` is our child that leads it, if it
/// may not have been waited for. True once no process of the group is left.
pub(super) async fn end(group: Pid, mut leader: Option<&mut Child>) -> bool {
    for (signal, patience) in [(Signal::TERM, TERMINATE_GRACE), (Signal::KILL, KILL_WAIT)] {
        // A group that is gone already is what is wanted; one that may not be signalled is found out below.
        let _ = kill_process_group(group, signal);
        // A stopped process would never see the signal.
        let _ = kill_process_group(group, Signal::CONT);
        let gone = async {
            if let Some(leader) = leader.as_deref_mut() {
                // Its status was not asked for: it was ended by us.
                let _ = leader.wait().await;
            }
            gone(group).await;
        };
        if time::timeout(patience, gone).await.is_ok() {
            return true;
        }
    }
    false
}

/// Waits until no process of the group is left. Bounded by the caller.
async fn gone(group: Pid) {
    while !is_empty(group) {
        time::sleep(POLL).await;
    }
}

/// Whether no process of the group is left. Reaps those that became our children; the group's leader must have been
/// waited for.
pub(super) fn is_empty(group: Pid) -> bool {
    while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
    test_kill_process_group(group) == Err(Errno::SRCH)
}

/// A process, told apart from a later one of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    process: i32,
    /// Clock ticks from the machine's start to the process's.
    started_ticks: u64,
    /// Which start of the machine.
    boot: String,
}

impl Identity {
    /// Of a process that runs, or is a zombie still.
    pub(super) fn of(process: Pid) -> Option<Self> {
        let process = process.as_raw_nonzero().get();
        let Stat { started_ticks, .. } = Stat::of(process)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { process, started_ticks, boot })
    }

    /// Its number.
    pub(super) fn process(&self) -> i32 {
        self.process
    }

    /// Whether it can do anything still: a zombie cannot, and is gone but for whoever should have asked for its status.
    pub(super) fn is_alive(&self) -> bool {
        let has_ended = || Stat::of(self.process).is_none_or(|stat| matches!(stat.state, 'Z' | 'X'));
        self.running_group().is_some() && !has_ended()
    }

    /// The group that it leads, if it runs still.
    pub(super) fn running_group(&self) -> Option<Pid> {
        let process = Pid::from_raw(self.process)?;
        (Self::of(process).as_ref() == Some(self)).then_some(process)
    }
}

/// What the kernel tells of a process.
struct Stat {
    state: char,
    group: i32,
    started_ticks: u64,
}

impl Stat {
    fn of(process: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name, in parentheses, may hold anything: count from the last one. The state is field 3, the group 5, the
        // start 22 (proc_pid_stat(5)).
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let started_ticks = fields.nth(16)?.parse().ok()?;
        Some(Self { state, group, started_ticks })
    }
}

/// A process of the group that has not ended: its leader, or else any other.
pub(super) fn alive_in(group: Pid) -> Option<Identity> {
    all_alive_in(group).next()
}

/// Every process of the group that has not ended and that may be seen, its leader first.
pub(super) fn all_alive_in(group: Pid) -> impl Iterator<Item = Identity> {
    let number = group.as_raw_nonzero().get();
    let others = fs::read_dir("/proc").into_iter().flatten().flatten();
    let others = others.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    std::iter::once(number)
        .chain(
            others.filter(move |&process| {
                process != number && Stat::of(process).is_some_and(|stat| stat.group == number)
            }),
        )
        .filter_map(|process| Identity::of(Pid::from_raw(process)?))
        .filter(Identity::is_alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again_and_another_is_not() {
        let own = Identity::of(rustix::process::getpid()).expect("we run");
        assert_eq!(own.running_group(), Some(rustix::process::getpid()));
        let later = Identity { started_ticks: own.started_ticks + 1, ..own.clone() };
        assert_eq!(later.running_group(), None);
        let elsewhere = Identity { boot: "another".to_owned(), ..own };
        assert_eq!(elsewhere.running_group(), None);
    }

    #[test]
    fn who_is_left_of_a_group_is_found_until_the_last_has_ended() {
        use std::os::unix::process::CommandExt as _;
        let mut leader = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("cat runs");
        let group = Pid::from_child(&leader);
        let leads = alive_in(group).expect("its leader");
        assert_eq!((leads.process(), leads.is_alive()), (group.as_raw_nonzero().get(), true));
        drop(leader.stdin.take());
        while leads.is_alive() {
            std::thread::yield_now();
        }
        assert!(leads.running_group().is_some() && alive_in(group).is_none(), "a zombie is nobody");
        leader.wait().expect("reaped");
        assert_eq!(alive_in(group), None);
    }
}
