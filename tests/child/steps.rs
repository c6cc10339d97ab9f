//! Steps: receipts, one run for each attempt, and what they start in background.

use std::{fs, time::Duration};

use backstop::{
    core::operation::Receipt,
    runtime::child::{self, ChildError, ChildSpec, ChildStatus},
};
use rustix::process::{Pid, Signal, kill_process};

use super::{ended, eventually, is_gone, process_in, receipt, run, step};

#[tokio::test]
async fn a_step_that_succeeds_may_start_something_in_background() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("service");
    let script = format!("sleep 1000 >/dev/null 2>&1 & echo $! > {}", file.display());
    assert!(ended(step(&script, directory.path(), 1)).await.succeeded());
    let service = process_in(&file).expect("it ran");
    assert!(!is_gone(service));
    assert_eq!(receipt(directory.path(), 1).await, Receipt::Succeeded);
    kill_process(service, Signal::KILL).expect("ended");
    // One that fails leaves nothing behind.
    assert_eq!(ended(step(&format!("{script}; exit 1"), directory.path(), 2)).await.status, ChildStatus::Exited(1));
    assert!(is_gone(process_in(&file).expect("it ran")));
    assert_eq!(receipt(directory.path(), 2).await, Receipt::Failed);
}

#[tokio::test]
async fn what_was_started_in_background_may_go_on_writing_to_its_output() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, ticks) = (directory.path().join("service"), directory.path().join("ticks"));
    // A writer to a pipe that nobody reads would be ended by SIGPIPE.
    let service = format!("while sleep 0.02; do echo tick; echo x >> {}; done", ticks.display());
    let script = format!("sh -c '{service}' & echo $! > {}; echo done", file.display());
    let end = ended(step(&script, directory.path(), 1)).await;
    assert!(end.succeeded() && end.stdout.contains("done"), "{end:?}");
    let count = || fs::read_to_string(&ticks).map_or(0, |text| text.lines().count());
    let before = count();
    eventually("it goes on writing", || count() > before + 20).await;
    let service = process_in(&file).expect("it ran");
    let stat = fs::read_to_string(format!("/proc/{}/stat", service.as_raw_nonzero())).expect("it runs");
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
    let supervisor = Pid::from_raw(parent.expect("a parent")).expect("a process");
    assert_eq!(receipt(directory.path(), 1).await, Receipt::Succeeded);
    assert!(!is_gone(supervisor));
    kill_process(service, Signal::KILL).expect("ended");
    eventually("its supervisor ends after it", || is_gone(supervisor)).await;
}

#[tokio::test]
async fn receipts_of_every_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("made/when/needed");
    assert_eq!(receipt(&place, 1).await, Receipt::Nothing);
    assert!(ended(step("true", &place, 1)).await.succeeded());
    assert_eq!(receipt(&place, 1).await, Receipt::Succeeded);
    ended(step("exit 7", &place, 2)).await;
    assert_eq!(receipt(&place, 2).await, Receipt::Failed);
    ended(step("kill -9 $$", &place, 3)).await;
    assert_eq!(receipt(&place, 3).await, Receipt::Failed);
    ended(ChildSpec { deadline: Duration::from_millis(300), ..step("exec sleep 1000", &place, 4) }).await;
    assert_eq!(receipt(&place, 4).await, Receipt::Interrupted);
    let missing = ChildSpec { command: vec!["/no/such/program".to_owned()], ..step("", &place, 5) };
    run(missing).await.expect_err("it is not there");
    assert_eq!(receipt(&place, 5).await, Receipt::Failed);
}

#[tokio::test]
async fn one_attempt_runs_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = format!("echo x >> {}/times", directory.path().display());
    ended(step(&script, directory.path(), 1)).await;
    match run(step(&script, directory.path(), 1)).await {
        Err(ChildError::Supervisor(reason)) => assert!(reason.as_str().contains("carried out before"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_to_string(directory.path().join("times")).expect("read"), "x\n");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_stops_the_step_before_it_begins() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("written");
    let script = format!("touch {}/done", directory.path().display());
    match run(step(&script, &file.join("below"), 1)).await {
        Err(ChildError::Supervisor(reason)) => assert!(reason.as_str().contains("file/below"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(!directory.path().join("done").exists());
}

/// A small file system that can be stopped: what writes to it then hangs in the kernel. Needs root, or sudo that asks
/// nothing, as `tests/run` does.
struct Frozen(std::path::PathBuf);

impl Frozen {
    fn mount(directory: &std::path::Path) -> Self {
        let (image, place) = (directory.join("image"), directory.join("mounted"));
        fs::create_dir(&place).expect("made");
        let file = fs::File::create(&image).expect("made");
        file.set_len(16 * 1024 * 1024).expect("a sparse file");
        let options =
            format!("root_owner={}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        as_root(&["mkfs.ext4", "-q", "-E", &options, image.to_str().expect("UTF-8")]);
        let mounted = Self(place);
        as_root(&["mount", "-o", "loop", image.to_str().expect("UTF-8"), mounted.place()]);
        mounted
    }

    fn place(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for command in [&["fsfreeze", "--unfreeze"][..], &["umount", "--lazy"]] {
            // Thawed already, where the test came so far.
            let _over = root_command(&[command, &[self.place()]].concat()).status();
        }
    }
}

fn root_command(command: &[&str]) -> std::process::Command {
    let (first, rest) = command.split_first().expect("a command");
    if rustix::process::geteuid().is_root() {
        let mut direct = std::process::Command::new(first);
        direct.args(rest);
        return direct;
    }
    let mut sudo = std::process::Command::new("sudo");
    sudo.arg("-n").args(command);
    sudo
}

#[track_caller]
fn as_root(command: &[&str]) {
    assert!(root_command(command).status().expect("it runs").success(), "{command:?}");
}

#[tokio::test]
async fn beside_what_could_not_be_ended_no_other_attempt_begins() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Frozen::mount(directory.path());
    as_root(&["fsfreeze", "--freeze", disk.place()]);
    let script = format!("echo more >> {}/file", disk.place());
    let spec = ChildSpec { deadline: Duration::from_secs(1), ..step(&script, directory.path(), 1) };
    let end = run(spec).await;
    assert!(matches!(&end, Err(ChildError::Left { program }) if program == "sh"), "{end:?}");
    let key = super::key(1);
    let look = child::receipt_within(directory.path(), &key, Duration::from_millis(100)).await;
    assert!(matches!(look, Err(child::ReceiptError::Left(_))), "it hangs still: {look:?}");
    as_root(&["fsfreeze", "--unfreeze", disk.place()]);
    assert_eq!(receipt(directory.path(), 1).await, Receipt::Interrupted, "now it has ended");
}
