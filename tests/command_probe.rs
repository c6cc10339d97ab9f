//! Command probes under the real supervisor: real programs that do what no well-behaved one does.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

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
    sample_in(None, run, environment, timeout).await
}

async fn sample_in(directory: Option<&str>, run: &[&str], environment: &[(&str, &str)], timeout: Duration) -> Outcome {
    child::set_supervisor(env!("CARGO_BIN_EXE_backstop"));
    let check = CommandCheck {
        run: CommandLine(run.iter().map(ToString::to_string).collect()),
        directory: directory.map(Into::into),
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

/// A file system that takes what is asked of it and answers nothing but that it is there, for whatever program follows its
/// directory, in a mount namespace of their own. SIGUSR1 ends it, and then all that waited for it gets an error. The
/// numbers are those of the kernel's protocol (fuse(4)): 26 is `FUSE_INIT`; a request's head is 40 bytes.
const ANSWERS_NOTHING: &str = r#"
    use strict;
    my ($place, @program) = @ARGV;
    $^F = 100;
    open(my $fuse, '+<', '/dev/fuse') or die "/dev/fuse: $!";
    my $options = 'fd=' . fileno($fuse) . ',rootmode=40000,user_id=0,group_id=0';
    system('mount', '-i', '-t', 'fuse', '-o', $options, 'hung', $place) == 0 or die 'mount';
    my $child = fork() // die $!;
    if (!$child) { close($fuse); exec(@program) or die $!; }
    $SIG{USR1} = sub { close($fuse) };
    while (defined(fileno($fuse)) && defined(sysread($fuse, my $request, 1 << 20))) {
        my ($length, $operation, $unique) = unpack('LLQ', $request);
        next unless $operation == 26;
        syswrite($fuse, pack('LlQ', 16 + 64, 0, $unique) . pack('LLLLSSLL', 7, 31, 4096, 0, 12, 9, 4096, 1) . "\0" x 36);
    }
    waitpid($child, 0);
    exit($? ? 1 : 0);
"#;

/// Runs the test again beside [`ANSWERS_NOTHING`]. Needs root, or sudo that asks nothing, as `tests/run` does.
fn beside_what_answers_nothing(test: &str) {
    let place = tempfile::tempdir().expect("a directory");
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("unshare")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "unshare"]);
        sudo
    };
    let output = command
        .args(["--mount", "--", "perl", "-e", ANSWERS_NOTHING])
        .arg(place.path())
        .args(["env", &format!("{ANSWERS_NOTHING_AT}={}", place.path().display())])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

/// Where it is, for the test that runs beside it.
const ANSWERS_NOTHING_AT: &str = "BACKSTOP_TEST_ANSWERS_NOTHING_AT";

#[tokio::test]
async fn a_file_system_that_answers_nothing_holds_one_process_of_a_probe_and_no_more() {
    let Ok(place) = std::env::var(ANSWERS_NOTHING_AT) else {
        return beside_what_answers_nothing(
            "a_file_system_that_answers_nothing_holds_one_process_of_a_probe_and_no_more",
        );
    };
    let program = format!("{place}/program");
    let timeout = Duration::from_millis(500);
    let of_directory = async || sample_in(Some(&place), &["true"], &[], timeout).await;
    let of_program = async || sample(&[&program], &[], timeout).await;
    // The deadline is kept, and told as such, though no signal ends what waits there.
    let (one, other) = tokio::join!(of_directory(), of_program());
    for outcome in [one, other] {
        assert_eq!(failed(outcome), "did not end within 500ms");
    }
    for outcome in [of_directory().await, of_program().await] {
        let Outcome::Missed(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.as_str().contains("of its last run hangs in the kernel"), "{reason}");
    }
    // Once there is an answer, be it an error, they end unrun, and the next run is an ordinary one.
    let file_system = rustix::process::getppid().expect("it started us");
    rustix::process::kill_process(file_system, rustix::process::Signal::USR1).expect("told");
    let until = Instant::now() + PATIENCE;
    for directory in [Some(place.as_str()), None] {
        let run = if directory.is_some() { "true" } else { &program };
        loop {
            let outcome = sample_in(directory, &[run], &[], timeout).await;
            if matches!(&outcome, Outcome::Missed(reason) if !reason.as_str().contains("hangs")) {
                break;
            }
            assert!(Instant::now() < until, "{outcome:?}");
        }
    }
}
