//! Where a program waits for the word, and one that cannot be loaded.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use backstop::runtime::child::{ChildSpec, ChildStatus};

use super::{LONG, ended, shell};

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

/// What the program finds in its score, on a machine whose kernel says `score` of it before it begins: another file system
/// lies over /proc, since not every machine lets root protect a process. Needs root, or sudo that asks nothing, as
/// `tests/run` does.
fn score_after_the_gate(score: &str) -> String {
    let machine = format!(
        "mount -t tmpfs none /proc && mkdir /proc/self && echo {score} >/proc/self/oom_score_adj && exec \"$@\""
    );
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let as_root: &[&str] = if rustix::process::geteuid().is_root() { &["env"] } else { &["sudo", "-n"] };
    let child = Command::new(as_root[0])
        .args(&as_root[1..])
        .args(["unshare", "--mount", "sh", "-c", &machine, "sh", env!("CARGO_BIN_EXE_backstop")])
        .args(["begin", "", "cat", "/proc/self/oom_score_adj"])
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    ours.write_all(b"!").expect("the word");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_program_is_not_spared_with_the_daemon_when_memory_is_short() {
    assert_eq!(score_after_the_gate("-900"), "0");
    assert_eq!(score_after_the_gate("300"), "300", "who has no protection keeps what it has");
}
