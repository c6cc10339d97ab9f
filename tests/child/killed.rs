//! Daemons, supervisors and orders that end in the middle.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use backstop::{
    core::operation::Receipt,
    runtime::child::{self, ChildError, ReceiptError},
};
use rustix::process::{Pid, Signal, kill_process};

use super::{by_hand, eventually, is_gone, key, order, process_in, receipt, run, send, shell, supervisor};

#[tokio::test]
async fn when_the_daemon_is_killed_its_child_ends_and_the_lock_is_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("child");
    // It takes a second to end, so that there is something to wait for.
    let script = format!(
        "trap 'sleep 1; touch {0}.ended; exit 0' TERM; echo $$ > {0}; while true; do sleep 0.05; done",
        file.display()
    );
    let mut supervisor = by_hand(&order(&script, directory.path(), 1));
    eventually("the child runs", || process_in(&file).is_some()).await;
    let held = child::receipt_within(directory.path(), &key(1), Duration::from_millis(50)).await;
    assert!(matches!(held, Err(ReceiptError::Held { .. })), "{held:?}");
    drop(supervisor.stdin.take());
    // Though the child said 0 in the end, it did not come to its end.
    assert_eq!(receipt(directory.path(), 1).await, Receipt::Interrupted);
    assert!(directory.path().join("child.ended").exists(), "it was asked first, and waited for");
    assert!(is_gone(process_in(&file).expect("it ran")));
    supervisor.wait().expect("reaped");
}

#[tokio::test]
async fn a_supervisor_that_is_told_to_end_ends_its_child() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("child");
    let script = format!("echo $$ > {}; exec sleep 1000", file.display());
    let mut supervisor = by_hand(&order(&script, directory.path(), 1));
    eventually("the child runs", || process_in(&file).is_some()).await;
    kill_process(Pid::from_child(&supervisor), Signal::TERM).expect("told");
    supervisor.wait().expect("reaped");
    assert!(is_gone(process_in(&file).expect("it ran")));
    assert_eq!(receipt(directory.path(), 1).await, Receipt::Interrupted);
}

#[tokio::test]
async fn what_a_killed_supervisor_left_running_is_ended_by_who_asks() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("child");
    let script = format!("echo $$ > {}; exec sleep 1000", file.display());
    let mut supervisor = by_hand(&order(&script, directory.path(), 1));
    eventually("the child runs, and that is written", || {
        process_in(&file).is_some()
            && fs::read_to_string(directory.path().join("api-1.1.2.1.receipt"))
                .is_ok_and(|text| text.contains("leader"))
    })
    .await;
    supervisor.kill().expect("killed");
    supervisor.wait().expect("reaped");
    let left = process_in(&file).expect("it ran");
    assert!(!is_gone(left));
    assert_eq!(receipt(directory.path(), 1).await, Receipt::Interrupted);
    assert!(is_gone(left));
}

#[tokio::test]
async fn a_child_whose_supervisor_is_killed_under_a_living_daemon_is_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("child");
    // By then the supervisor has told the daemon which process it started.
    let script = format!("echo $PPID > {0}.parent; sleep 1; echo $$ > {0}; exec sleep 1000", file.display());
    let running = tokio::spawn(run(shell(&script)));
    eventually("the child runs", || process_in(&file).is_some()).await;
    let supervisor = process_in(&directory.path().join("child.parent")).expect("written before");
    kill_process(supervisor, Signal::KILL).expect("killed");
    assert!(matches!(running.await.expect("no panic"), Err(ChildError::Supervisor(_))));
    assert!(is_gone(process_in(&file).expect("it ran")));
}

#[tokio::test]
async fn a_supervisor_killed_at_any_moment_leaves_no_child_that_nobody_knows_of() {
    let directory = tempfile::tempdir().expect("a directory");
    for round in 0..40_u16 {
        let file = directory.path().join(format!("child-{round}"));
        let script = format!("echo $$ > {}; exec sleep 60", file.display());
        let mut supervisor = by_hand(&order(&script, directory.path(), round));
        // This chooses the moment: from before the lock is taken until after the child runs.
        std::thread::sleep(Duration::from_micros(u64::from(round) * 500));
        supervisor.kill().expect("killed");
        supervisor.wait().expect("reaped");
        let told = receipt(directory.path(), round).await;
        assert!(matches!(told, Receipt::Nothing | Receipt::Interrupted), "round {round}: {told:?}");
        if let Some(child) = process_in(&file) {
            assert!(is_gone(child), "round {round}: the receipt says {told:?}, and the child runs on");
        }
    }
    // Whoever was still waiting at the gate has gone, too.
    eventually("nothing is left of any round", || {
        let mine = directory.path().to_str().expect("text");
        let processes = fs::read_dir("/proc").expect("listed").flatten();
        let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        !lines.map(|line| String::from_utf8_lossy(&line).into_owned()).any(|line| line.contains(mine))
    })
    .await;
    let ran = (0..40).filter_map(|round| process_in(&directory.path().join(format!("child-{round}"))));
    assert!(ran.into_iter().all(is_gone));
}

#[tokio::test]
async fn an_order_that_is_not_whole_does_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mark = directory.path().join("mark");
    let json = order(&format!("touch {}", mark.display()), directory.path(), 1).to_string();
    for sent in [0, 2, 4, 5, json.len() + 3] {
        let mut supervisor = supervisor();
        let mut frame = u32::try_from(json.len()).expect("short").to_be_bytes().to_vec();
        frame.extend_from_slice(json.as_bytes());
        supervisor.stdin.take().expect("piped").write_all(&frame[..sent]).expect("written");
        let output = supervisor.wait_with_output().expect("it ends");
        assert!(!output.status.success());
    }
    assert!(!mark.exists());
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 0, "no lock, no receipt");
}

#[tokio::test]
async fn a_daemon_that_died_right_after_its_order_has_ordered_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mark = directory.path().join("mark");
    let mut supervisor = supervisor();
    // It stands still until the daemon is gone.
    let process = Pid::from_child(&supervisor);
    kill_process(process, Signal::STOP).expect("told");
    let stat = format!("/proc/{}/stat", process.as_raw_nonzero());
    eventually("it stands still", || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))).await;
    send(&mut supervisor, &order(&format!("touch {}", mark.display()), directory.path(), 1));
    drop(supervisor.stdin.take());
    kill_process(process, Signal::CONT).expect("told");
    supervisor.wait().expect("it ends");
    assert_eq!(receipt(directory.path(), 1).await, Receipt::Nothing);
    assert!(!mark.exists());
}

#[test]
fn by_hand_the_supervisor_says_nothing_and_fails() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_backstop")).arg("supervise").stdin(Stdio::null()).output().expect("run");
    assert!(!output.status.success() && output.stdout.is_empty());
}
