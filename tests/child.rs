//! Children under the real supervisor: real processes, real signals, real files.

use std::{
    fs,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use backstop::{
    core::operation::{Receipt, StepKey},
    runtime::child::{self, ChildEnd, ChildError, ChildSpec, ChildStatus, OUTPUT_LIMIT_BYTES, ReceiptError},
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit, test_kill_process};
use secrecy::SecretString;

/// Long enough never to be reached by what these tests run.
const LONG: Duration = Duration::from_mins(1);

/// How long a test waits for what is bound to happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn shell(script: &str) -> ChildSpec {
    ChildSpec {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        directory: None,
        environment: Vec::new(),
        deadline: LONG,
        step: None,
    }
}

fn key(attempt: u16) -> StepKey {
    StepKey { incident: "api-1".into(), plan: 1, step: 2, attempt }
}

fn step(script: &str, directory: &Path, attempt: u16) -> ChildSpec {
    ChildSpec { step: Some((directory.to_owned(), key(attempt))), ..shell(script) }
}

async fn run(spec: ChildSpec) -> Result<ChildEnd, ChildError> {
    child::set_supervisor(env!("CARGO_BIN_EXE_backstop"));
    child::run(spec).await
}

async fn ended(spec: ChildSpec) -> ChildEnd {
    run(spec).await.expect("it was run")
}

async fn receipt(directory: &Path, attempt: u16) -> Receipt {
    child::receipt(directory, &key(attempt)).await.expect("told")
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "never became so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn process_in(file: &Path) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok()?)
}

/// A process that is gone, or that only its parent's inattention keeps as a zombie.
fn is_gone(process: Pid) -> bool {
    if test_kill_process(process).is_err() {
        return true;
    }
    // It may be gone between the two looks.
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    !stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

/// A daemon's part, played by hand so that it can be killed: the supervisor and our end of its pipe.
fn by_hand(order: &serde_json::Value) -> Child {
    let mut supervisor = supervisor();
    send(&mut supervisor, order);
    supervisor
}

fn supervisor() -> Child {
    Command::new(env!("CARGO_BIN_EXE_backstop"))
        .arg("supervise")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the supervisor starts")
}

fn send(supervisor: &mut Child, order: &serde_json::Value) {
    let json = order.to_string();
    let pipe = supervisor.stdin.as_mut().expect("piped");
    pipe.write_all(&u32::try_from(json.len()).expect("short").to_be_bytes()).expect("written");
    pipe.write_all(json.as_bytes()).expect("written");
}

fn order(script: &str, directory: &Path, attempt: u16) -> serde_json::Value {
    serde_json::json!({
        "command": ["sh", "-c", script],
        "directory": null,
        "environment": [],
        "deadline": {"secs": 60, "nanos": 0},
        "step": [directory, key(attempt)],
    })
}

#[tokio::test]
async fn statuses_and_output() {
    let end = ended(shell("echo out; echo err >&2; exit 3")).await;
    assert_eq!(
        end,
        ChildEnd { status: ChildStatus::Exited(3), stdout: "out\n".to_owned(), stderr: "err\n".to_owned() }
    );
    assert_eq!(end.last_line(), Some("err"));
    assert!(ended(shell("cat")).await.succeeded(), "there is no input");
    assert_eq!(ended(shell("kill -9 $$")).await.status, ChildStatus::Signalled(9));
    assert_eq!(ended(shell("kill -TERM $$")).await.status, ChildStatus::Signalled(15));
}

#[tokio::test]
async fn directory_and_environment() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().canonicalize().expect("there");
    let end = ended(ChildSpec {
        directory: Some(place.clone()),
        environment: vec![("GREETING".to_owned(), SecretString::from("good day"))],
        ..shell("pwd; echo $GREETING; echo ${NOTIFY_SOCKET-none}")
    })
    .await;
    assert_eq!(end.stdout, format!("{}\ngood day\nnone\n", place.display()));
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = directory.path().join("plain");
    fs::write(&plain, "not a program").expect("written");
    let command = |program: &str| ChildSpec { command: vec![program.to_owned()], ..shell("") };
    let nowhere = ChildSpec { directory: Some(directory.path().join("nowhere")), ..shell("true") };
    for (spec, expected) in [
        (command("/no/such/program"), "No such file"),
        (command("no-such-program-anywhere"), "No such file"),
        (command(plain.to_str().expect("text")), "Permission denied"),
        (ChildSpec { command: Vec::new(), ..shell("") }, "empty"),
        (nowhere, "nowhere is not there"),
    ] {
        match run(spec.clone()).await {
            Err(ChildError::Start { program, reason }) => {
                assert_eq!(program, spec.command.first().cloned().unwrap_or_default());
                assert!(reason.as_str().contains(expected), "{reason}");
            }
            other => panic!("{spec:?} gave {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_hanging_child_is_ended_with_its_group_and_its_output_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("grandchild");
    // The child ignores SIGTERM, and so does its grandchild.
    let script = format!("trap '' TERM; echo begun; sleep 1000 & echo $! > {}; wait; sleep 1000", file.display());
    let end = ended(ChildSpec { deadline: Duration::from_secs(3), ..shell(&script) }).await;
    assert_eq!((end.status, end.stdout.as_str()), (ChildStatus::TimedOut, "begun\n"));
    let grandchild = process_in(&file).expect("it ran");
    assert!(is_gone(grandchild));
}

#[tokio::test]
async fn a_gigabyte_is_read_and_not_kept() {
    let end = ended(shell("echo first; head -c 1000000000 /dev/zero | tr '\\0' x; echo; echo last")).await;
    assert!(end.succeeded(), "{:?}", end.status);
    assert!(end.stdout.starts_with("first\nxxx") && end.stdout.ends_with("xxx\nlast\n"));
    assert!(end.stdout.len() < OUTPUT_LIMIT_BYTES + 100, "{}", end.stdout.len());
}

#[tokio::test]
async fn many_grandchildren_are_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 1000 & echo $! > {}/$i; wait) & done; wait",
        directory.path().display()
    );
    let end = ended(ChildSpec { deadline: Duration::from_secs(3), ..shell(&script) }).await;
    assert_eq!(end.status, ChildStatus::TimedOut);
    for entry in fs::read_dir(directory.path()).expect("listed") {
        let grandchild = process_in(&entry.expect("an entry").path()).expect("it ran");
        assert!(is_gone(grandchild));
    }
}

#[tokio::test]
async fn outside_a_step_nothing_is_left_running() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("left");
    // It holds the output open, which must not keep us waiting.
    let end = ended(shell(&format!("sleep 1000 & echo $! > {}; echo done", file.display()))).await;
    assert_eq!((end.status, end.stdout.as_str()), (ChildStatus::Exited(0), "done\n"));
    assert!(is_gone(process_in(&file).expect("it ran")));
}

#[tokio::test]
async fn a_session_of_its_own_that_holds_the_output_open_does_not_keep_us_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("left");
    let script = format!("setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' & ", file.display());
    let script = format!("{script} while [ ! -e {} ]; do sleep 0.01; done; echo done", file.display());
    let end = ended(shell(&script)).await;
    assert_eq!((end.status, end.stdout.as_str()), (ChildStatus::Exited(0), "done\n"));
    let left = process_in(&file).expect("it ran");
    assert!(!is_gone(left), "it left the group on purpose");
    kill_process(left, Signal::KILL).expect("ended");
}

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

/// What a supervisor starts: it waits at the gate, whose other end is given back.
fn at_the_gate(directory: &str, command: &[&str]) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let waiting = Command::new(env!("CARGO_BIN_EXE_backstop"))
        .args(["begin", directory])
        .args(command)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    (waiting, ours)
}

#[test]
fn a_program_runs_only_after_the_word_and_as_the_same_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let mark = directory.path().join("mark");
    let touch = ["touch", mark.to_str().expect("text")];
    let (mut waiting, gate) = at_the_gate("", &touch);
    drop(gate);
    assert!(!waiting.wait().expect("it ends").success() && !mark.exists(), "the word never came");

    let (waiting, mut gate) = at_the_gate("/", &["sh", "-c", "echo $$; pwd; cat"]);
    let process = waiting.id();
    gate.write_all(b"!").expect("the word");
    let mut said = Vec::new();
    gate.read_to_end(&mut said).expect("its end closes when the program runs");
    assert!(said.is_empty());
    let output = waiting.wait_with_output().expect("it ends: there is no input");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{process}\n/\n"));

    for (directory, program, which) in [("", "/no/such/program", b'p'), ("/no/such/place", "true", b'd')] {
        let (mut waiting, mut gate) = at_the_gate(directory, &[program]);
        gate.write_all(b"!").expect("the word");
        let mut said = Vec::new();
        gate.read_to_end(&mut said).expect("told");
        assert_eq!(said, [&[which][..], &rustix::io::Errno::NOENT.raw_os_error().to_be_bytes()].concat());
        assert!(!waiting.wait().expect("it ends").success());
    }
}

/// Whoever opens the file waits for as long as this process lives, or until the kernel's patience ends (45 s): a lease on
/// it, as a file server has one. It stands for a file system that does not answer.
fn lease(file: &Path) -> Lease {
    // F_SETLEASE and F_WRLCK of Linux; the signal that tells of who waits is not heeded.
    let script = "$SIG{IO} = 'IGNORE'; open(F, '+<', $ARGV[0]) or die $!; fcntl(F, 1024, 1) or die $!; \
                  $| = 1; print '.'; sleep 1000";
    let mut holder = Command::new("perl")
        .args(["-e", script])
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("perl runs, which Debian and its like always have");
    holder.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("it has the lease");
    Lease(holder)
}

/// Who holds it; it ends with this value.
struct Lease(Child);

impl Drop for Lease {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_loaded_for_now_is_ended_at_its_deadline_and_never_runs() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let (program, mark) = (directory.path().join("program"), directory.path().join("mark"));
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", mark.display())).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode set");
    let lease = lease(&program);
    let spec = ChildSpec {
        command: vec![program.to_str().expect("text").to_owned()],
        deadline: Duration::from_millis(500),
        ..shell("")
    };
    let end = ended(spec.clone()).await;
    assert_eq!(end.status, ChildStatus::TimedOut);
    // Nothing waits for the file any more.
    let named = |name: &str| fs::read(Path::new("/proc").join(name).join("cmdline")).unwrap_or_default();
    let waits = fs::read_dir("/proc").expect("listed").flatten().filter(|entry| {
        let line = named(&entry.file_name().to_string_lossy());
        String::from_utf8_lossy(&line).split('\0').any(|word| word == spec.command[0])
    });
    let waits: Vec<_> =
        waits.map(|entry| entry.file_name()).filter(|name| *name != *lease.0.id().to_string()).collect();
    assert!(waits.is_empty(), "{waits:?}");
    drop(lease);
    assert!(!mark.exists(), "it did not run after all");
    assert!(ended(ChildSpec { deadline: LONG, ..spec }).await.succeeded() && mark.exists());
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
async fn a_dropped_run_ends_its_child() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("child");
    let script = format!("echo $$ > {}; exec sleep 1000", file.display());
    let running = tokio::spawn(run(shell(&script)));
    eventually("the child runs", || process_in(&file).is_some()).await;
    running.abort();
    let child = process_in(&file).expect("it ran");
    eventually("it is gone", || is_gone(child)).await;
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

#[tokio::test]
async fn secrets_are_in_no_command_line() {
    let secret = "correct-horse-battery-staple";
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("seen");
    // What all processes' command lines are while it runs, its supervisor's above all.
    let script = format!("cat /proc/[0-9]*/cmdline > {} 2>/dev/null; test -n \"$TOKEN\"", file.display());
    let environment = vec![("TOKEN".to_owned(), SecretString::from(secret))];
    assert!(ended(ChildSpec { environment, ..shell(&script) }).await.succeeded());
    let seen = String::from_utf8_lossy(&fs::read(&file).expect("read")).into_owned();
    assert!(seen.contains("supervise"), "it looked at the right place");
    assert!(!seen.contains(secret));
}

/// In a process of its own, since the limit is the whole process's.
#[tokio::test]
async fn when_no_descriptors_are_left_that_is_our_own_fault() {
    const ALONE: &str = "BACKSTOP_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "when_no_descriptors_are_left_that_is_our_own_fault"])
            .env(ALONE, "1")
            .output()
            .expect("run");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    assert!(ended(shell("true")).await.succeeded());
    let open = fs::read_dir("/proc/self/fd").expect("listed").count() as u64;
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(open), ..limits }).expect("limited");
    let error = run(shell("true")).await.expect_err("a child needs descriptors");
    setrlimit(Resource::Nofile, limits).expect("as before");
    assert!(matches!(&error, ChildError::Supervisor(reason) if reason.as_str().contains("open files")), "{error}");
    assert!(ended(shell("true")).await.succeeded(), "and it goes on once there are some");
}

#[tokio::test]
async fn many_at_once() {
    let runs: Vec<_> =
        (0..20).map(|number| tokio::spawn(run(shell(&format!("echo {number}; exit {number}"))))).collect();
    for (number, running) in (0..).zip(runs) {
        let end = running.await.expect("no panic").expect("it was run");
        assert_eq!((end.status, end.stdout), (ChildStatus::Exited(number), format!("{number}\n")));
    }
}

#[test]
fn by_hand_the_supervisor_says_nothing_and_fails() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_backstop")).arg("supervise").stdin(Stdio::null()).output().expect("run");
    assert!(!output.status.success() && output.stdout.is_empty());
}
