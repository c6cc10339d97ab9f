//! The demonstration, as a user starts it: every fault, the right outcome, the files, and nothing left behind.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Looks for processes that should be gone: a machine under load ends them a little later.
const GONE_TRIES: u32 = 100;
const GONE_DELAY: Duration = Duration::from_millis(100);

/// A demonstration under way, in a directory for temporary files of its own.
struct Demo {
    child: Child,
    lines: BufReader<ChildStdout>,
    directory: tempfile::TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_backstop"))
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", directory.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines, directory }
    }

    fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")).expect("not zero")
    }

    /// Everything said up to a line that holds `text`, or up to the end.
    fn read_until(&mut self, text: &str) -> String {
        let mut said = String::new();
        while self.lines.read_line(&mut said).expect("it is text") > 0 {
            if said.lines().last().is_some_and(|line| line.contains(text)) {
                break;
            }
        }
        said
    }

    /// Waits for the end: the exit code, the rest of what was said, and what went to standard error.
    fn end(&mut self) -> (Option<i32>, String, String) {
        let (mut said, mut errors) = (String::new(), String::new());
        self.lines.read_to_string(&mut said).expect("it is text");
        self.child.stderr.take().expect("it is piped").read_to_string(&mut errors).expect("it is text");
        (self.child.wait().expect("it ended").code(), said, errors)
    }

    /// The one directory that the run made.
    fn place(&self) -> PathBuf {
        let mut places: Vec<_> = fs::read_dir(self.directory.path()).expect("it is there").flatten().collect();
        assert_eq!(places.len(), 1, "{places:?}");
        places.remove(0).path()
    }

    /// No process of this run is left.
    fn assert_nothing_left(&self) {
        let mut left = Vec::new();
        for _ in 0..GONE_TRIES {
            left = processes_with(self.directory.path());
            if left.is_empty() {
                return;
            }
            thread::sleep(GONE_DELAY);
        }
        panic!("left behind: {left:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A test that failed ends what it started; one that passed has waited for it already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Command lines that name a path below `directory`: each process of a run but the demonstration itself does.
fn processes_with(directory: &Path) -> Vec<String> {
    let wanted = directory.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let commands = commands.map(|command| String::from_utf8_lossy(&command).replace('\0', " "));
    commands.filter(|command| command.contains(&wanted)).collect()
}

fn rollbacks(place: &Path) -> Vec<Value> {
    let Ok(bytes) = fs::read(place.join("rollback-history.json")) else { return Vec::new() };
    let history: Value = serde_json::from_slice(&bytes).expect("JSON");
    history["rollbacks"].as_array().expect("a list").clone()
}

/// Lines are wrapped to a width: where they break is of no interest.
#[track_caller]
fn assert_says(said: &str, expected: &[&str]) {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = plain(said);
    for text in expected {
        assert!(words.contains(&plain(text)), "{text:?} is not in:\n{said}");
    }
}

/// Runs to the end and expects a verified rollback.
fn rolls_back(fault: &str, expected: &[&str]) {
    let mut demo = Demo::start(&["--fault", fault]);
    let (code, said, errors) = demo.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}");
    assert_rolled_back(&demo.place(), &said);
    assert_says(&said, expected);
    demo.assert_nothing_left();
}

fn assert_rolled_back(place: &Path, said: &str) {
    assert_says(
        said,
        &[
            "known_good_after: 12s",
            "v1.2.3 is a place to go back to",
            "v1.2.4 is deployed",
            "incident.opened",
            "2 of 7 roll back the target: done",
            "6 of 7 verify: done",
            "RIGHT: v1.2.4 was rolled back, and that it helped is verified.",
            "from fault to verified",
            "rollback-history.json",
            "incident.json",
        ],
    );
    let rollbacks = rollbacks(place);
    assert_eq!(rollbacks.len(), 1, "{rollbacks:?}");
    let record = &rollbacks[0];
    assert_eq!((&record["version_from"], &record["version_to"]), (&"v1.2.4".into(), &"v1.2.3".into()));
    assert_eq!(record["outcome"], "verified");
    let incident = fs::read(place.join("evidence/shop-1/incident.json")).expect("evidence");
    let incident: Value = serde_json::from_slice(&incident).expect("JSON");
    assert_eq!(incident["plans"][0]["outcome"], "verified");
    let live = fs::read_link(place.join("current")).expect("a link");
    assert!(live.ends_with("v1.2.3"), "{}", live.display());
}

#[test]
fn a_release_that_goes_down_is_rolled_back() {
    rolls_back("down", &["ROLL BACK: Ready failed", "==> YES      Is system down?"]);
}

#[test]
fn a_slow_release_is_rolled_back_once_that_is_approved() {
    rolls_back(
        "slow",
        &[
            "CONSIDER ROLLING BACK",
            "==> YES      Is performance much degraded?",
            "approval.requested",
            "the demonstration plays the on-call: backstop incident approve shop-1",
            "approved: rolling shop back from v1.2.4 to v1.2.3",
        ],
    );
}

#[test]
fn a_release_with_a_few_errors_is_left_alone() {
    let mut demo = Demo::start(&["--fault", "flaky"]);
    let (code, said, errors) = demo.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}");
    assert_says(&said, &["v1.2.4 is a place to go back to", "RIGHT: v1.2.4 was left alone", "HEALTHY"]);
    assert!(!said.contains("incident.opened") && !said.contains("rollback.started"), "{said}");
    assert!(rollbacks(&demo.place()).is_empty());
    let live = fs::read_link(demo.place().join("current")).expect("a link");
    assert!(live.ends_with("v1.2.4"), "{}", live.display());
    demo.assert_nothing_left();
}

#[test]
fn a_release_with_many_errors_is_rolled_back_and_one_can_stay() {
    let mut demo = Demo::start(&["--fault", "errors", "--stay"]);
    let mut said = demo.read_until("It goes on until Ctrl-C");
    said += &demo.read_until("backstop history");
    assert_rolled_back(&demo.place(), &said);
    assert_says(&said, &["==> YES      Is error rate > 5%?"]);
    for (arguments, expected) in [
        (&["status"][..], "v1.2.3"),
        (&["explain", "shop"], "HEALTHY"),
        (&["incident", "show", "shop-1"], "resolved: rolled back, and verified"),
        (&["deploys", "shop"], "known bad"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_backstop"))
            .args(arguments)
            .arg("--socket")
            .arg(demo.place().join("backstop.sock"))
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        assert_says(&String::from_utf8_lossy(&output.stdout), &[expected]);
    }
    kill_process(demo.id(), Signal::INT).expect("it runs");
    let (code, rest, errors) = demo.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}{rest}");
    demo.assert_nothing_left();
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let mut demo = Demo::start(&[]);
    demo.read_until("Backstop watches");
    kill_process(demo.id(), Signal::INT).expect("it runs");
    let (code, said, errors) = demo.end();
    assert_eq!(code, Some(1), "{said}{errors}");
    assert!(errors.contains("it was interrupted"), "{errors}");
    demo.assert_nothing_left();
}

#[test]
fn nothing_outlives_kill_minus_nine() {
    let mut demo = Demo::start(&[]);
    demo.read_until("v1.2.3 serves");
    assert!(!processes_with(demo.directory.path()).is_empty(), "the shop runs");
    kill_process(demo.id(), Signal::KILL).expect("it runs");
    demo.child.wait().expect("it ended");
    demo.assert_nothing_left();
}
