//! Both targets on real directories, links, commands and processes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use backstop::{
    config::form::{self, CommandLine},
    core::{
        operation::{Attempt, HistoryRecord, Operation, OperationOutcome, Receipt, StepKey},
        release::Observation,
    },
    runtime::child,
    target::{Shared, Target},
};

/// Long enough never to be reached by what these tests run.
const LONG: Duration = Duration::from_mins(1);

fn shell(script: &str) -> CommandLine {
    CommandLine(["sh", "-c", script].map(str::to_owned).to_vec())
}

fn key(attempt: u16) -> StepKey {
    StepKey { incident: "api-1".into(), plan: 1, step: 2, attempt }
}

fn attempt(number: u16, operation: Operation) -> Attempt {
    Attempt { key: key(number), operation, object: None, deadline: LONG }
}

fn switch(from: &str, to: &str) -> Operation {
    Operation::Switch { from: from.into(), to: to.into() }
}

fn target(form: &form::Target, root: &Path) -> Target {
    child::set_supervisor(env!("CARGO_BIN_EXE_backstop"));
    Target::new(form, "api".into(), root.join("run"), &Shared::new("a-test", None), &[])
}

#[track_caller]
fn done(outcome: OperationOutcome) -> String {
    match outcome {
        OperationOutcome::Done(note) => note,
        other => panic!("not done: {other:?}"),
    }
}

#[track_caller]
fn failed(outcome: OperationOutcome) -> String {
    match outcome {
        OperationOutcome::Failed(reason) => reason.to_string(),
        other => panic!("not failed: {other:?}"),
    }
}

#[track_caller]
fn unknown(outcome: OperationOutcome) -> String {
    match outcome {
        OperationOutcome::Unknown(reason) => reason.to_string(),
        other => panic!("not unknown: {other:?}"),
    }
}

fn names(observation: &Observation) -> (Option<&str>, Vec<&str>) {
    let current = observation.current.as_ref().map(|release| release.version.as_str());
    (current, observation.available.iter().map(|release| release.version.as_str()).collect())
}

/// Releases v1 and v2, of which v2 is live.
struct Host {
    root: tempfile::TempDir,
    form: form::ReleasesTarget,
}

impl Host {
    fn new(restart: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("releases");
        for name in ["v1", "v2"] {
            fs::create_dir_all(directory.join(name)).expect("made");
            fs::write(directory.join(name).join("program"), name).expect("written");
        }
        let current = root.path().join("current");
        symlink("releases/v2", &current).expect("linked");
        let restart = shell(&format!("cd {}; {restart}", root.path().display()));
        let form = form::ReleasesTarget { directory, current, restart, stop: None, start: None, rollout_timeout: LONG };
        Self { root, form }
    }

    fn target(&self) -> Target {
        target(&form::Target::Releases(self.form.clone()), self.root.path())
    }

    fn link(&self) -> PathBuf {
        fs::read_link(&self.form.current).expect("a link")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join(name)).expect("written")
    }
}

#[tokio::test]
async fn a_release_is_switched_and_the_service_restarted() {
    let restart =
        "echo $BACKSTOP_SERVICE $BACKSTOP_VERSION_FROM $BACKSTOP_VERSION_TO $(cat current/program) >> restarts";
    let host = Host::new(restart);
    let target = host.target();
    assert_eq!(names(&target.observe().await.expect("seen")), (Some("v2"), vec!["v1"]));
    done(target.operate(&attempt(1, Operation::EnsureAvailable { version: "v1".into() })).await);
    failed(target.operate(&attempt(1, Operation::WaitRollout { version: "v1".into() })).await);
    done(target.operate(&attempt(1, switch("v2", "v1"))).await);
    assert_eq!(host.link(), Path::new("releases/v1"));
    assert_eq!(host.file("restarts"), "api v2 v1 v1\n", "it was restarted after the link was replaced");
    done(target.operate(&attempt(1, Operation::WaitRollout { version: "v1".into() })).await);
    assert_eq!(target.receipt(&key(1)).await, Ok(Receipt::Succeeded));
    assert_eq!(names(&target.observe().await.expect("seen")), (Some("v1"), vec!["v2"]));
    // Another attempt leaves the link and restarts again; the same one does nothing twice.
    let note = done(target.operate(&attempt(2, switch("v2", "v1"))).await);
    assert!(note.contains("led already"), "{note}");
    let reason = unknown(target.operate(&attempt(2, switch("v2", "v1"))).await);
    assert!(reason.contains("carried out before"), "{reason}");
    assert_eq!(host.file("restarts").lines().count(), 2);
}

#[tokio::test]
async fn somebody_elses_deploy_is_left_alone() {
    let host = Host::new("touch restarted");
    fs::create_dir(host.form.directory.join("v3")).expect("made");
    fs::remove_file(&host.form.current).expect("removed");
    symlink("releases/v3", &host.form.current).expect("linked");
    let target = host.target();
    let outcome = target.operate(&attempt(1, switch("v2", "v1"))).await;
    let OperationOutcome::Overtaken(reason) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(reason.as_str(), "switch from v2 to v1: v3 is live by now");
    assert_eq!(host.link(), Path::new("releases/v3"));
    assert!(!host.root.path().join("restarted").exists());
    assert_eq!(target.receipt(&key(1)).await, Ok(Receipt::Nothing));
}

#[tokio::test]
async fn a_release_that_is_not_there_is_not_gone_back_to() {
    let host = Host::new("touch restarted");
    let target = host.target();
    for operation in [Operation::EnsureAvailable { version: "v0".into() }, switch("v2", "v0")] {
        let reason = failed(target.operate(&attempt(1, operation)).await);
        assert!(reason.contains("v0"), "{reason}");
    }
    assert_eq!(host.link(), Path::new("releases/v2"));
    assert!(!host.root.path().join("restarted").exists());
}

#[tokio::test]
async fn a_restart_that_fails_hangs_or_is_missing() {
    let mut host = Host::new("echo working; echo port is taken >&2; exit 4");
    let reason = failed(host.target().operate(&attempt(1, switch("v2", "v1"))).await);
    assert!(reason.contains("`restart`: it ended with status 4: port is taken"), "{reason}");
    assert_eq!(host.target().receipt(&key(1)).await, Ok(Receipt::Failed));

    host.form.restart = shell("exec sleep 1000");
    host.form.rollout_timeout = Duration::from_millis(300);
    let reason = unknown(host.target().operate(&attempt(2, switch("v2", "v1"))).await);
    assert!(reason.contains("deadline"), "{reason}");
    assert_eq!(host.target().receipt(&key(2)).await, Ok(Receipt::Interrupted));

    host.form.restart = CommandLine(vec!["/no/such/program".to_owned()]);
    let reason = failed(host.target().operate(&attempt(3, switch("v2", "v1"))).await);
    assert!(reason.contains("/no/such/program"), "{reason}");
}

#[tokio::test]
async fn a_death_between_link_and_restart_is_seen_and_mended() {
    let host = Host::new("echo x >> restarts");
    // What such a death leaves: the link replaced, and no trace of a restart.
    fs::remove_file(&host.form.current).expect("removed");
    symlink("releases/v1", &host.form.current).expect("linked");
    let target = host.target();
    assert_eq!(target.receipt(&key(1)).await, Ok(Receipt::Nothing));
    assert_eq!(names(&target.observe().await.expect("seen")).0, Some("v1"));
    done(target.operate(&attempt(1, switch("v2", "v1"))).await);
    assert_eq!(host.file("restarts"), "x\n");
}

#[tokio::test]
async fn releases_that_cannot_be_seen_are_missed() {
    let host = Host::new("true");
    fs::remove_file(&host.form.current).expect("removed");
    let nothing_live = host.target().observe().await.expect("seen");
    assert_eq!(nothing_live.current, None);
    assert_eq!(nothing_live.available.len(), 2);
    // A release that is not there cannot be the one that runs.
    symlink("releases/ghost", &host.form.current).expect("linked");
    let dangling = host.target().observe().await.expect("seen");
    assert_eq!((dangling.current, dangling.available.len()), (None, 2));
    let why = dangling.untold.expect("it says why");
    assert!(why.ends_with("current leads to ghost, which is not there"), "{why}");
    fs::remove_file(&host.form.current).expect("removed");
    symlink("/etc/hostname", &host.form.current).expect("linked");
    let reason = host.target().observe().await.expect_err("it leads elsewhere");
    assert!(reason.as_str().contains("not directly inside"), "{reason}");
    fs::remove_dir_all(&host.form.directory).expect("removed");
    let reason = host.target().observe().await.expect_err("it is gone");
    assert!(reason.as_str().contains("releases"), "{reason}");
}

#[tokio::test]
async fn traffic_stops_and_starts_where_there_is_a_command() {
    let mut host = Host::new("true");
    let root = host.root.path().display().to_string();
    host.form.stop = Some(shell(&format!("echo $BACKSTOP_SERVICE > {root}/stopped")));
    let target = host.target();
    done(target.stop_traffic(&key(1), LONG).await);
    assert_eq!(host.file("stopped"), "api\n");
    assert_eq!(target.receipt(&key(1)).await, Ok(Receipt::Succeeded));
    let reason = failed(target.start_traffic(&key(2), LONG).await);
    assert!(reason.contains("no such command"), "{reason}");
}

#[tokio::test]
async fn what_is_no_operation_on_a_target_is_refused() {
    let host = Host::new("true");
    let history = HistoryRecord {
        date: "2026-01-07T10:30:00Z".to_owned(),
        version_from: "v2".to_owned(),
        version_to: "v1".to_owned(),
        reason: String::new(),
        duration_minutes: 1,
        root_cause: String::new(),
        post_mortem_link: String::new(),
        service: String::new(),
        incident: String::new(),
        outcome: String::new(),
    };
    failed(host.target().operate(&attempt(1, Operation::Record { history })).await);
}

/// A tool that keeps the live version in a file.
struct Tools {
    root: tempfile::TempDir,
    form: form::CommandTarget,
}

impl Tools {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let place = root.path().display();
        fs::write(root.path().join("live"), "v2\n").expect("written");
        let form = form::CommandTarget {
            current: shell(&format!("cat {place}/live")),
            previous: shell("printf 'v2\\nv1\\nv0\\nv1\\n'"),
            roll_back: shell(&format!(
                "echo $BACKSTOP_SERVICE $BACKSTOP_VERSION_FROM $BACKSTOP_VERSION_TO >> {place}/calls; \
                 echo $BACKSTOP_VERSION_TO > {place}/live"
            )),
            stop: None,
            start: Some(shell("echo not yet; false")),
            rollout_timeout: LONG,
        };
        Self { root, form }
    }

    fn target(&self) -> Target {
        target(&form::Target::Command(self.form.clone()), self.root.path())
    }
}

#[tokio::test]
async fn the_users_own_tools_roll_back() {
    let tools = Tools::new();
    let target = tools.target();
    assert_eq!(names(&target.observe().await.expect("seen")), (Some("v2"), vec!["v1", "v0"]));
    done(target.operate(&attempt(1, Operation::EnsureAvailable { version: "v1".into() })).await);
    let reason = failed(target.operate(&attempt(1, Operation::EnsureAvailable { version: "v9".into() })).await);
    assert!(reason.contains("v9"), "{reason}");
    done(target.operate(&attempt(1, switch("v2", "v1"))).await);
    assert_eq!(fs::read_to_string(tools.root.path().join("calls")).expect("written"), "api v2 v1\n");
    done(target.operate(&attempt(1, Operation::WaitRollout { version: "v1".into() })).await);
    assert_eq!(target.receipt(&key(1)).await, Ok(Receipt::Succeeded));
    let outcome = target.operate(&attempt(2, switch("v3", "v2"))).await;
    let OperationOutcome::Overtaken(reason) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(reason.as_str(), "switch from v3 to v2: v1 is live by now");
    assert_eq!(target.receipt(&key(2)).await, Ok(Receipt::Nothing));
    let reason = failed(target.start_traffic(&key(3), LONG).await);
    assert!(reason.contains("status 1: not yet"), "{reason}");
    failed(target.stop_traffic(&key(4), LONG).await);
}

#[tokio::test]
async fn a_rollout_is_waited_for_until_the_deadline() {
    let tools = Tools::new();
    let target = tools.target();
    let wait = Attempt {
        object: None,
        deadline: Duration::from_millis(1200),
        ..attempt(1, Operation::WaitRollout { version: "v1".into() })
    };
    let reason = unknown(target.operate(&wait).await);
    assert!(reason.contains("see v1 live before the deadline"), "{reason}");
    let waiting = tokio::spawn({
        let target = tools.target();
        async move { target.operate(&attempt(2, Operation::WaitRollout { version: "v1".into() })).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    fs::write(tools.root.path().join("live"), "v1\n").expect("written");
    done(waiting.await.expect("no panic"));
}

#[tokio::test]
async fn commands_that_say_nothing_of_use_are_missed_with_a_reason() {
    for (script, expected) in [
        ("true", "no version on its first line"),
        ("echo Error: please log in", "is no version"),
        ("printf '\\377\\376\\001'", "is no version"),
        ("head -c 1000000000 /dev/zero | tr '\\0' x", "more than"),
        ("echo no cluster >&2; exit 1", "status 1: no cluster"),
        ("exec sleep 1000", "deadline"),
        ("kill -9 $$", "signal 9"),
    ] {
        let mut tools = Tools::new();
        tools.form.current = shell(script);
        if expected == "deadline" {
            tools.form.rollout_timeout = Duration::from_millis(300);
        }
        let reason = tools.target().observe().await.expect_err(script);
        assert!(reason.as_str().contains(expected), "{script}: {reason}");
    }
    let mut tools = Tools::new();
    tools.form.current = CommandLine(vec!["/no/such/program".to_owned()]);
    let reason = tools.target().observe().await.expect_err("it is not there");
    assert!(reason.as_str().contains("/no/such/program"), "{reason}");
}

#[tokio::test]
async fn what_is_live_is_known_even_where_nothing_to_go_back_to_is() {
    let mut tools = Tools::new();
    tools.form.previous = shell("exit 1");
    let target = tools.target();
    for _ in 0..2 {
        assert_eq!(names(&target.observe().await.expect("seen")), (Some("v2"), vec![]));
    }
    let reason = failed(target.operate(&attempt(1, Operation::EnsureAvailable { version: "v1".into() })).await);
    assert!(reason.contains("`previous`"), "{reason}");
}

#[tokio::test]
async fn nothing_is_switched_where_what_is_live_cannot_be_told() {
    let mut tools = Tools::new();
    tools.form.current = shell("echo no answer >&2; exit 1");
    let target = tools.target();
    let reason = unknown(target.operate(&attempt(1, switch("v2", "v1"))).await);
    assert!(reason.contains("what is live cannot be told") && reason.contains("no answer"), "{reason}");
    assert_eq!(fs::read_to_string(tools.root.path().join("live")).expect("written"), "v2\n");
    assert_eq!(target.receipt(&key(1)).await, Ok(Receipt::Nothing), "the command never ran");
    // The version to go back to is found all the same, if it is there.
    done(target.operate(&attempt(2, Operation::EnsureAvailable { version: "v1".into() })).await);
    failed(target.operate(&attempt(2, Operation::EnsureAvailable { version: "v9".into() })).await);
}
