//! A project of its own for each test, in the engine that `DOCKER_HOST` names.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use backstop::{
    config::form::{ComposeTarget, Target as Form},
    core::{
        name::Version,
        operation::{Attempt, Operation, OperationOutcome, StepKey},
        release::{Observation, Release},
    },
    runtime::child,
    target::{Shared, Target},
};

#[path = "../daemon/world/port.rs"]
pub(crate) mod port;
use port::Port;

/// Far longer than anything here takes, so that a test that fails ends.
const PATIENCE: Duration = Duration::from_secs(90);

/// What an image does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It answers, and its check passes.
    Serves,
    /// It exits at once.
    Exits,
    /// It runs, and its check fails.
    Unhealthy,
    /// It serves, and takes no notice of SIGTERM.
    Stubborn,
    /// It runs, its check fails, and it takes no notice of SIGTERM.
    StubbornUnhealthy,
}

pub(crate) struct Bed {
    pub(crate) project: String,
    pub(crate) port: Port,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) shared: Shared,
    steps: AtomicU16,
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Whatever is left of it is removed with the engine.
        let _ended = self.docker(&["compose", "--project-name", &self.project, "down", "--timeout", "0", "--volumes"]);
    }
}

pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("the first provider");
        child::set_supervisor(env!("CARGO_BIN_EXE_backstop"));
    });
}

impl Bed {
    /// A bed whose project has that name.
    pub(crate) fn new(name: &str) -> Self {
        prepare();
        assert!(
            std::env::var_os("BACKSTOP_TEST_REGISTRY").is_some(),
            "there is no engine: run these tests by `tests/compose/with cargo test --all-features --test compose`"
        );
        let directory = tempfile::tempdir().expect("a directory");
        let shared = Shared::new(name, Some(directory.path().join("configuration")));
        let bed = Self {
            project: format!("{name}-{}", std::process::id()),
            port: Port::reserve(),
            directory,
            shared,
            steps: 0.into(),
        };
        fs::create_dir(bed.here()).expect("a directory");
        bed
    }

    /// The project's directory.
    pub(crate) fn here(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    /// Where the target keeps its own files.
    pub(crate) fn kept(&self) -> PathBuf {
        self.directory.path().join("configuration/api")
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.args(arguments).stdin(Stdio::null());
        if let Some(directory) = Some(self.here()).filter(|directory| directory.exists()) {
            command.current_dir(directory);
        }
        command.output().expect("docker runs")
    }

    /// The same where it succeeds, with what it prints.
    #[track_caller]
    pub(crate) fn docker_says(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}{complaint}");
        said.trim().to_owned()
    }

    /// An image's name.
    pub(crate) fn name_of(&self, tag: &str) -> String {
        format!("{}:{tag}", self.project)
    }

    /// Makes an image, and says its number.
    pub(crate) fn image(&self, tag: &str, fate: Fate) -> String {
        let root = tempfile::tempdir().expect("a directory");
        let at = |path: &str| root.path().join(path);
        Self::busybox(root.path());
        fs::create_dir_all(at("www/health")).expect("a directory");
        fs::write(at("www/version"), tag).expect("written");
        if !matches!(fate, Fate::Unhealthy | Fate::StubbornUnhealthy) {
            fs::write(at("www/health/ready"), "ready\n").expect("written");
        }
        let serve = "httpd -f -p 8080 -h /www";
        let command = match fate {
            Fate::Serves | Fate::Unhealthy => format!("echo {tag} begins; exec {serve}"),
            Fate::Exits => "echo cannot find its configuration; exit 3".to_owned(),
            Fate::Stubborn | Fate::StubbornUnhealthy => format!("trap '' TERM; {serve} & while :; do sleep 1; done"),
        };
        let change = format!("CMD {}", serde_json::json!(["/bin/sh", "-c", command]));
        self.import(root.path(), tag, &[&change, "ENV PATH=/bin"])
    }

    /// Makes an image of the service that counts its requests; of a thousand so many end in an error.
    pub(crate) fn counting_image(&self, tag: &str, errors_per_mille: u64) {
        let service = env!("CARGO_BIN_EXE_backstop-test-service");
        let root = tempfile::tempdir().expect("a directory");
        fs::copy(service, root.path().join("service")).expect("copied");
        Self::libraries_of(Path::new(service), root.path());
        let release = serde_json::json!({"version": tag, "errors_per_mille": errors_per_mille});
        fs::create_dir(root.path().join("release")).expect("a directory");
        fs::write(root.path().join("release/release.json"), release.to_string()).expect("written");
        self.import(root.path(), tag, &["CMD [\"/service\"]"]);
    }

    /// Puts a program's libraries where it looks for them.
    pub(crate) fn libraries_of(program: &Path, root: &Path) {
        let listed = Command::new("ldd").arg(program).output().expect("ldd runs");
        for word in String::from_utf8_lossy(&listed.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
            let to = root.join(word.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
            fs::copy(word, to).expect("copied");
        }
    }

    /// Makes the example's shop as its Dockerfile says.
    pub(crate) fn shop_image(&self, tag: &str, from: &Path, fails_every: u32) {
        let base = format!("{}:base", self.project);
        let root = tempfile::tempdir().expect("a directory");
        Self::busybox(root.path());
        self.import(root.path(), "base", &["ENV PATH=/bin"]);
        let fails = format!("FAILS_EVERY={fails_every}");
        let from = from.to_str().expect("text");
        let base = format!("BASE_IMAGE={base}");
        let arguments = ["build", "--tag", &self.name_of(tag), "--build-arg", &base, "--build-arg", &fails, from];
        self.docker_says(&arguments);
    }

    /// Busybox, by the names that anything here calls it.
    pub(crate) fn busybox(root: &Path) {
        for directory in ["bin", "tmp"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists());
        fs::copy(busybox.expect("Debian's busybox-static"), root.join("bin/busybox")).expect("copied");
        for name in ["sh", "httpd", "sleep", "wget", "echo", "wc", "touch", "mkdir", "cp", "["] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("linked");
        }
    }

    pub(crate) fn import(&self, root: &Path, tag: &str, changes: &[&str]) -> String {
        let mut tar = Command::new("tar")
            .args(["--create", "--directory"])
            .arg(root)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar runs");
        let changes = changes.iter().flat_map(|change| ["--change", change]);
        let imported = Command::new("docker")
            .arg("import")
            .args(changes)
            .args(["-", &self.name_of(tag)])
            .stdin(tar.stdout.take().expect("a pipe"))
            .output()
            .expect("docker runs");
        assert!(tar.wait().expect("it ends").success() && imported.status.success(), "{imported:?}");
        String::from_utf8_lossy(&imported.stdout).trim().to_owned()
    }

    /// The project's file, with more lines about the service.
    pub(crate) fn file(&self, image: &str, more: &str) -> String {
        format!(
            "name: {}\nservices:\n  api:\n    image: {image}\n    init: true\n    \
             healthcheck: {{test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/health/ready'], interval: 300ms, \
             timeout: 1s, retries: 2}}\n    stop_grace_period: 2s\n{more}",
            self.project
        )
    }

    /// A port on loopback, as one of the lines about the service.
    pub(crate) fn published(&self) -> String {
        format!("    ports: ['127.0.0.1:{}:8080']\n", self.port.number)
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.here().join("compose.yaml"), text).expect("written");
    }

    /// What a pipeline does: another image into the file, and up.
    #[track_caller]
    pub(crate) fn deploy(&self, tag: &str) {
        self.deploy_with(tag, &self.published());
    }

    #[track_caller]
    pub(crate) fn deploy_with(&self, tag: &str, more: &str) {
        self.write(&self.file(&self.name_of(tag), more));
        self.up();
    }

    #[track_caller]
    pub(crate) fn up(&self) {
        self.docker_says(&["compose", "up", "--detach", "--timeout", "1"]);
    }

    /// What the service says it is.
    pub(crate) fn serves(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port.number)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        write!(stream, "GET /version HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.rsplit_once("\r\n\r\n").or_else(|| answer.rsplit_once("\n\n"))?.1.trim().to_owned())
    }

    /// The containers of the service, by name, with their state.
    pub(crate) fn containers(&self) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let format = "{{.Names}} {{.State}}";
        let said = self.docker_says(&["ps", "--all", "--filter", &project, "--format", format]);
        let mut all: Vec<String> = said.lines().map(str::to_owned).collect();
        all.sort();
        all
    }

    pub(crate) fn form(&self) -> ComposeTarget {
        ComposeTarget {
            project_directory: self.here(),
            service: "api".to_owned(),
            files: Vec::new(),
            profiles: Vec::new(),
            env_file: None,
            docker_host: None,
            tls: None,
            stop_traffic: vec!["api".to_owned()],
            block_known_bad: true,
            rollout_timeout: Duration::from_secs(40),
        }
    }

    pub(crate) fn target(&self) -> Target {
        self.target_of(self.form())
    }

    pub(crate) fn target_of(&self, form: ComposeTarget) -> Target {
        Target::new(&Form::Compose(form), "api".into(), self.directory.path().join("steps"), &self.shared, &[])
    }

    /// A target as after a restart of the daemon, whose journal knows these releases.
    pub(crate) fn target_anew(&self, known: &[Release]) -> Target {
        let shared = Shared::new("anew", Some(self.directory.path().join("configuration")));
        Target::new(&Form::Compose(self.form()), "api".into(), self.directory.path().join("steps"), &shared, known)
    }

    /// The key of another step.
    pub(crate) fn key(&self) -> StepKey {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        StepKey { incident: "api-1".into(), plan: 1, step, attempt: 1 }
    }

    /// Carries an operation out, within a deadline.
    pub(crate) async fn operate(&self, target: &Target, operation: Operation, seconds: u64) -> OperationOutcome {
        target
            .operate(&Attempt { key: self.key(), operation, object: None, deadline: Duration::from_secs(seconds) })
            .await
    }

    /// Deploys two releases, the first one healthy, and looks at both.
    pub(crate) async fn two_releases(&self, newer: Fate, more: &str) -> Target {
        self.image("1", Fate::Serves);
        self.image("2", newer);
        let target = self.target();
        self.deploy_with("1", more);
        until(&target, "the first release", is_settled_at("1")).await;
        self.deploy_with("2", more);
        until(&target, "the second release", |seen| current(seen) == "2").await;
        target
    }
}

/// Switches from one version to another.
pub(crate) fn switch(from: &str, to: &str) -> Operation {
    Operation::Switch { from: Version::from(from), to: Version::from(to) }
}

/// Waits until a look at the target shows what is wanted.
pub(crate) async fn until(target: &Target, what: &str, holds: impl Fn(&Observation) -> bool) -> Observation {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < PATIENCE {
        let seen = target.observe().await;
        if let Ok(observation) = &seen
            && holds(observation)
        {
            return observation.clone();
        }
        last = Some(seen);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within {PATIENCE:?}: {what}; last seen: {last:#?}");
}

pub(crate) fn current(observation: &Observation) -> &str {
    observation.current.as_ref().map_or("", |release| release.version.as_str())
}

pub(crate) fn is_settled_at(version: &str) -> impl Fn(&Observation) -> bool {
    move |seen| current(seen) == version && !seen.rolling_out && ready(seen) > 0
}

pub(crate) fn ready(observation: &Observation) -> u32 {
    observation.workload.as_ref().map_or(0, |workload| workload.instances.ready)
}

pub(crate) fn available(observation: &Observation) -> Vec<&str> {
    observation.available.iter().map(|release| release.version.as_str()).collect()
}

#[track_caller]
pub(crate) fn done(outcome: OperationOutcome) -> String {
    match outcome {
        OperationOutcome::Done(note) => note,
        other => panic!("not done: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn failed(outcome: &OperationOutcome) -> &str {
    match outcome {
        OperationOutcome::Failed(reason) => reason.as_str(),
        other => panic!("it should have failed: {other:?}"),
    }
}
