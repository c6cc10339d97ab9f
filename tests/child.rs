//! Children under the real supervisor: real processes, real signals, real files.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use backstop::{
    core::operation::{Receipt, StepKey},
    runtime::child::{self, ChildEnd, ChildError, ChildSpec},
};
use rustix::process::{Pid, test_kill_process};

#[path = "child/gate.rs"]
mod gate;
#[path = "child/killed.rs"]
mod killed;
#[path = "child/runs.rs"]
mod runs;
#[path = "child/steps.rs"]
mod steps;

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
