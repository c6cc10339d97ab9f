//! Command probes under the real supervisor: real programs that do what no well-behaved one does.

use std::{collections::BTreeMap, time::Duration};

use backstop::{
    config::form::{CommandCheck, CommandLine},
    core::sample::Outcome,
    probe::command::CommandProbe,
    runtime::child,
};
use secrecy::SecretString;

/// For programs that end by themselves.
const PATIENCE: Duration = Duration::from_mins(1);

async fn sample(run: &[&str], environment: &[(&str, &str)], timeout: Duration) -> Outcome {
    child::set_supervisor(env!("CARGO_BIN_EXE_backstop"));
    let check = CommandCheck {
        run: CommandLine(run.iter().map(ToString::to_string).collect()),
        directory: None,
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)))
            .collect::<BTreeMap<_, _>>(),
    };
    CommandProbe::new(&check).sample(timeout).await
}

async fn script(script: &str, timeout: Duration) -> Outcome {
    sample(&["sh", "-c", script], &[], timeout).await
}

fn failed(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(reason) => reason.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_exit_status_decides() {
    assert_eq!(script("exit 0", PATIENCE).await, Outcome::Passed);
    assert_eq!(failed(script("echo one; echo two >&2; exit 3", PATIENCE).await), "exit status 3: two");
    let outcome = sample(&["sh", "-c", "test \"$KEY\" = s3cret"], &[("KEY", "s3cret")], PATIENCE).await;
    assert_eq!(outcome, Outcome::Passed);
}

#[tokio::test]
async fn what_cannot_be_started_is_missed() {
    for program in ["/nowhere/to/be/found", "/etc/passwd"] {
        let outcome = sample(&[program], &[], PATIENCE).await;
        let Outcome::Missed(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.as_str().contains(program), "{reason}");
    }
}

#[tokio::test]
async fn what_hangs_is_ended_with_all_it_started() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let forks = format!("for n in 1 2 3; do sleep 1000 & echo $! >> {}; done; wait", file.path().display());
    let reason = failed(script(&forks, Duration::from_secs(1)).await);
    assert!(reason.starts_with("did not end within 1s"), "{reason}");
    let processes = std::fs::read_to_string(file.path()).expect("written");
    let running = |process: &str| {
        // A zombie that nobody waits for has ended all the same.
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        status.contains("(sleep)") && !status.contains(") Z ")
    };
    assert_eq!(processes.lines().count(), 3);
    for _ in 0..600 {
        if !processes.lines().any(running) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("something of it still runs");
}

#[tokio::test]
async fn a_gigabyte_of_output_is_not_kept() {
    let reason = failed(script("yes | head -c 1000000000; echo the end; exit 1", PATIENCE).await);
    assert_eq!(reason, "exit status 1: the end");
}
