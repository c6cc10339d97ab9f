//! Children of which a process could not be ended: it hangs in the kernel, at a file system or a device that does not answer,
//! where no signal reaches it. A probe or a look is made again and again, and each time one more would hang; all of them
//! would be ended only when the file system answers. So there is one at most of each command.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::process::Pid;

use super::{ChildSpec, group, group::Identity};

/// What is run, and where.
type What = (Vec<String>, Option<PathBuf>);

/// One for each command of the configuration at most.
static UNENDED: Mutex<BTreeMap<What, Identity>> = Mutex::new(BTreeMap::new());

/// What this lock guards is whole after every statement.
fn unended() -> MutexGuard<'static, BTreeMap<What, Identity>> {
    UNENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn what(spec: &ChildSpec) -> What {
    (spec.command.clone(), spec.directory.clone())
}

/// The process that hangs of the last run of the same command, by its number; none once it has ended.
pub(super) fn of(spec: &ChildSpec) -> Option<i32> {
    let mut unended = unended();
    if unended.is_empty() {
        return None;
    }
    let what = what(spec);
    let process = unended.get(&what)?;
    if process.is_alive() {
        return Some(process.process());
    }
    unended.remove(&what);
    None
}

/// A process of `group`, which ran that, could not be ended.
pub(super) fn note(spec: &ChildSpec, group: Pid) {
    if let Some(process) = group::alive_in(group) {
        let mut unended = unended();
        // Of commands that are in no configuration any more.
        unended.retain(|_, process| process.is_alive());
        unended.insert(what(spec), process);
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt as _, process::Command, time::Duration};

    use super::*;
    use crate::runtime::child::{self, ChildError};

    #[tokio::test]
    async fn beside_what_hangs_of_a_command_no_other_of_it_is_started() {
        let spec = ChildSpec {
            command: vec!["/a/program".to_owned(), "of this test alone".to_owned()],
            directory: None,
            environment: Vec::new(),
            deadline: Duration::from_secs(1),
            step: None,
        };
        // What it takes for one that hangs is another process that runs.
        let mut hangs = Command::new("sleep").arg("1000").process_group(0).spawn().expect("sleep runs");
        let process = Pid::from_child(&hangs);
        note(&spec, process);
        let told = child::run(spec.clone()).await;
        assert!(
            matches!(&told, Err(ChildError::Unended { process: told, .. }) if *told == process.as_raw_nonzero().get()),
            "{told:?}"
        );
        let other = ChildSpec { command: vec!["/a/program".to_owned()], ..spec.clone() };
        assert_eq!(of(&other), None, "another command is none of its business");
        hangs.kill().expect("killed");
        hangs.wait().expect("reaped");
        assert_eq!(of(&spec), None);
    }
}
