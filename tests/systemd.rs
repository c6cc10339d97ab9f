//! The files for systemd, held against systemd's own tools. They need no systemd that runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What `systemd-analyze security` may say at most, in tenths.
const EXPOSURE_LIMIT: &str = "25";
/// With the drop-in for sudo, which gives up what sudo needs.
const EXPOSURE_LIMIT_WITH_SUDO: &str = "40";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).expect("it is in the repository")
}

fn run(command: &mut Command) -> (Output, String) {
    let output = command.env("NO_COLOR", "1").env("SYSTEMD_PAGER", "cat").output();
    let output = output.expect("systemd's tools are there: `tests/run` installs Debian's package systemd");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

/// The unit in a directory of its own, with `drop_in` at its end, and the binary that was just built in the place of the
/// installed one.
fn unit(drop_in: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backstop.service");
    let mut whole = text("backstop.service").replace("/usr/bin/backstop", env!("CARGO_BIN_EXE_backstop"));
    if let Some(drop_in) = drop_in {
        whole = format!("{whole}\n{}", text(drop_in));
    }
    fs::write(&path, whole).expect("written");
    (directory, path)
}

#[test]
fn systemd_finds_no_fault_in_the_unit_and_its_drop_ins() {
    for drop_in in [None, Some("drop-ins/releases.conf"), Some("drop-ins/own-tools.conf"), Some("drop-ins/sudo.conf")] {
        let (_directory, path) = unit(drop_in);
        let (output, said) = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
        assert!(output.status.success(), "{drop_in:?}: {said}");
        assert!(!said.contains("backstop.service"), "{drop_in:?}: {said}");
    }
    // And it would have said so.
    let (_directory, path) = unit(None);
    let wrong = fs::read_to_string(&path).expect("read").replace("WatchdogSec=30s", "WatchdogSec=soon");
    fs::write(&path, wrong).expect("written");
    let (_, said) = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    assert!(said.contains("backstop.service:") && said.contains("soon"), "{said}");
}

#[test]
fn the_unit_is_as_closed_as_was_promised() {
    for (drop_in, limit) in [
        (None, EXPOSURE_LIMIT),
        (Some("drop-ins/releases.conf"), EXPOSURE_LIMIT),
        (Some("drop-ins/own-tools.conf"), EXPOSURE_LIMIT),
        (Some("drop-ins/sudo.conf"), EXPOSURE_LIMIT_WITH_SUDO),
    ] {
        let (_directory, path) = unit(drop_in);
        let threshold = format!("--threshold={limit}");
        let arguments = ["security", "--offline=yes", "--no-pager", &threshold];
        let (output, said) = run(Command::new("systemd-analyze").args(arguments).arg(&path));
        let exposure = said.lines().find(|line| line.contains("Overall exposure")).unwrap_or(&said);
        assert!(output.status.success(), "{drop_in:?}: {exposure}");
        assert!(exposure.contains("backstop.service"), "{exposure}");
    }
}

/// With `ProcSubset=pid` nothing of /proc is there but processes, and the daemon asks /proc/sys which start of the machine
/// this is: it would not start.
#[test]
fn the_unit_shows_the_daemon_what_it_reads() {
    let hides = |text: &str| text.lines().any(|line| line.trim() == "ProcSubset=pid");
    assert!(!hides(&text("backstop.service")));
    for drop_in in ["releases.conf", "own-tools.conf", "sudo.conf"] {
        assert!(!hides(&text(&format!("drop-ins/{drop_in}"))), "{drop_in}");
    }
    let clock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runtime/clock.rs")).expect("read");
    assert!(clock.contains("/proc/sys/kernel/random/boot_id"), "otherwise the unit may be closed further");
}

#[test]
fn the_unit_gives_the_daemon_time_to_end() {
    // The daemon's own bounds: 20 s for what is in flight, 5 s for requests.
    let unit = text("backstop.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s'));
    assert!(stop.and_then(|seconds| seconds.parse::<u32>().ok()).is_some_and(|seconds| seconds >= 30), "{stop:?}");
    for line in ["Type=notify", "KillMode=process", "Restart=always", "ExecReload=/bin/kill -HUP $MAINPID"] {
        assert!(unit.lines().any(|one| one == line), "{line}");
    }
}

#[test]
fn user_and_directories_are_made_by_systemds_own_tools() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("etc")).expect("made");
    let at = format!("--root={}", root.path().display());
    let (output, said) = run(Command::new("systemd-sysusers").arg(&at).arg(file("sysusers.conf")));
    assert!(output.status.success(), "{said}");
    let users = fs::read_to_string(root.path().join("etc/passwd")).expect("made");
    let user = users.lines().find(|line| line.starts_with("backstop:")).unwrap_or_else(|| panic!("{users}"));
    assert!(user.ends_with("/nologin") && user.contains(":/var/lib/backstop:"), "{user}");
    // What belongs to another user can be made by root alone; others see that it is understood.
    let (output, said) = run(Command::new("systemd-tmpfiles").arg(&at).arg("--create").arg(file("tmpfiles.conf")));
    if rustix::process::geteuid().is_root() {
        assert!(output.status.success(), "{said}");
        assert!(root.path().join("etc/backstop").is_dir());
    }
    assert!(!said.contains("tmpfiles.conf:"), "no line of it is misunderstood: {said}");
}

/// The lines of the README that install the unit.
fn installation() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there");
    let block =
        readme.split("<!-- install: begin -->").nth(1).and_then(|rest| rest.split("<!-- install: end -->").next());
    let block = block.and_then(|block| block.trim().strip_prefix("```sh\n")?.strip_suffix("```"));
    block.expect("the README has the block").to_owned()
}

#[test]
fn the_readmes_lines_install_a_daemon_that_could_start() {
    let root = tempfile::tempdir().expect("a directory");
    let at = root.path().display().to_string();
    for directory in ["usr/bin", "etc", "etc/systemd/system"] {
        fs::create_dir_all(root.path().join(directory)).expect("made");
    }
    // The same lines below another root: systemd's own tools know how to work there, and what asks the running systemd
    // tells what it would have found.
    let lines = installation()
        .replace(" /usr/", &format!(" {at}/usr/"))
        .replace(" /etc/", &format!(" {at}/etc/"))
        .replace("target/release/backstop", env!("CARGO_BIN_EXE_backstop"));
    let is_root = rustix::process::geteuid().is_root();
    // What belongs to another user can be made by root alone.
    let tmpfiles = if is_root { format!("command systemd-tmpfiles --root={at} \"$@\"") } else { "true".to_owned() };
    let script = format!(
        "set -eu
systemd-sysusers() {{ command systemd-sysusers --root={at} \"$@\"; }}
systemd-tmpfiles() {{ {tmpfiles}; }}
systemctl() {{
    case \"$1\" in
    daemon-reload) ;;
    enable)
        stat -c 'environment %a' {at}/etc/backstop/environment
        (set -a; . {at}/etc/backstop/environment; {at}/usr/bin/backstop check {at}/etc/backstop/backstop.yaml)
        ;;
    esac
}}
{lines}"
    );
    let install = || {
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(&script).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("WEBHOOK_SECRET");
        let (output, said) = run(&mut shell);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("environment 600") && said.contains("backstop.yaml: ok"), "{said}");
    };
    install();
    let secrets = || fs::read_to_string(root.path().join("etc/backstop/environment")).expect("there");
    let first = secrets();
    fs::write(root.path().join("etc/backstop/backstop.yaml"), format!("{}\n", text("../config/minimal.yaml")))
        .expect("edited");
    let edited = fs::read_to_string(root.path().join("etc/backstop/backstop.yaml")).expect("there");
    install();
    assert_eq!(secrets(), first, "secrets that are there stay");
    assert_eq!(fs::read_to_string(root.path().join("etc/backstop/backstop.yaml")).expect("there"), edited);
    if is_root {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &str| fs::metadata(root.path().join(path)).expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode("etc/backstop"), mode("etc/backstop/backstop.yaml")), (0o750, 0o640));
    }
}
