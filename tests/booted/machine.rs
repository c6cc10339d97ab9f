//! A machine of the test's own, on which systemd is the first process.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// How long a test waits for what is bound to happen: long enough for a machine under load.
const PATIENCE: Duration = Duration::from_mins(2);
/// Pause between two looks at what is waited for.
const POLL: Duration = Duration::from_millis(200);
/// What a login shell would find.
const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Ends, with all that runs on it, when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Machine {
    directory: tempfile::TempDir,
    boot: Child,
    leader: String,
}

/// As root: as it is, or by a sudo that asks nothing.
fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

impl Machine {
    /// Boots, and installs Backstop by the lines of the README, with `configuration` in its place beforehand.
    #[track_caller]
    pub(crate) fn installed(configuration: &str) -> Self {
        let machine = Self::boot();
        machine.write("/etc/backstop/backstop.yaml", configuration);
        let lines = installation().replace("target/release/backstop", "/built");
        machine.must(&format!("cd /repository\nset -e\n{lines}"));
        machine
    }

    #[track_caller]
    fn boot() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let repository = env!("CARGO_MANIFEST_DIR");
        let boot = as_root("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(Path::new(repository).join("tests/booted/boot"))
            .arg(directory.path())
            .args([repository, env!("CARGO_BIN_EXE_backstop")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("util-linux is there");
        let mut machine = Self { directory, boot, leader: String::new() };
        let leader = eventually("a first process", || {
            let ended = machine.boot.try_wait().expect("it is ours");
            assert!(ended.is_none(), "the machine ended: {ended:?}\n{}", machine.console());
            fs::read_to_string(machine.directory.path().join("leader")).ok()
        });
        leader.trim().clone_into(&mut machine.leader);
        // `degraded` where one of the image's own units is of no use in a container.
        eventually("systemd is up", || {
            let said = machine.run("systemctl is-system-running").1;
            matches!(said.trim(), "running" | "degraded").then_some(())
        });
        machine
    }

    fn console(&self) -> String {
        fs::read_to_string(self.directory.path().join("console")).unwrap_or_default()
    }

    /// Runs a script on it: how it ended, and what it said.
    pub(crate) fn run(&self, script: &str) -> (Output, String) {
        let output = as_root("nsenter")
            .args([
                "--all",
                "--target",
                &self.leader,
                "--",
                "env",
                "-i",
                SEARCH_PATH,
                "SYSTEMD_PAGER=cat",
                "sh",
                "-c",
                script,
            ])
            .output()
            .expect("util-linux is there");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output, said)
    }

    /// What a script that must succeed says.
    #[track_caller]
    pub(crate) fn must(&self, script: &str) -> String {
        let (output, said) = self.run(script);
        assert!(output.status.success(), "{script}: {}\n{said}\n{}", output.status, self.journal());
        said
    }

    /// A file, with the directories above it.
    #[track_caller]
    pub(crate) fn write(&self, path: &str, text: &str) {
        self.must(&format!(
            "mkdir -p \"$(dirname {path})\"\ncat > {path} <<'END OF THE FILE'\n{text}\nEND OF THE FILE"
        ));
    }

    /// A property of the unit, as systemd has it.
    #[track_caller]
    pub(crate) fn property(&self, name: &str) -> String {
        self.must(&format!("systemctl show backstop --value --property={name}")).trim().to_owned()
    }

    /// What the unit logged.
    pub(crate) fn journal(&self) -> String {
        self.run("journalctl --unit=backstop --no-pager --output=cat").1
    }

    /// Waits until a script succeeds, and answers what it says.
    #[track_caller]
    pub(crate) fn until(&self, script: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let (output, said) = self.run(script);
            if output.status.success() {
                return said;
            }
            assert!(Instant::now() < end, "never became so: {script}\n{said}\n{}", self.journal());
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.boot.stdin.take());
        let _over = self.boot.wait();
    }
}

#[track_caller]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "never became so: {what}");
        std::thread::sleep(POLL);
    }
}

/// The lines of the README that install the unit.
fn installation() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there");
    let block =
        readme.split("<!-- install: begin -->").nth(1).and_then(|rest| rest.split("<!-- install: end -->").next());
    let block = block.and_then(|block| block.trim().strip_prefix("```sh\n")?.strip_suffix("```"));
    block.expect("the README has the block").to_owned()
}
