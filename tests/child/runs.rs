//! What runs: its output, its end, and that nothing is left of it.

use std::{fs, process::Command, time::Duration};

use backstop::runtime::child::{ChildEnd, ChildError, ChildSpec, ChildStatus, OUTPUT_LIMIT_BYTES};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use secrecy::SecretString;

use super::{ended, eventually, is_gone, process_in, run, shell};

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
            .args(["--exact", "runs::when_no_descriptors_are_left_that_is_our_own_fault"])
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
