//! The whole daemon beside a real engine.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

#[path = "../daemon/world/times.rs"]
pub(crate) mod times;

use super::bed::{Bed, Fate};

/// Far longer than anything here takes, so that a test that fails ends.
const PATIENCE: Duration = Duration::from_secs(150);

/// A daemon that watches the bed's `api`. Ended when it goes out of scope.
pub(crate) struct Watch {
    directory: tempfile::TempDir,
    daemon: Child,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ended = self.daemon.kill();
        let _reaped = self.daemon.wait();
    }
}

impl Watch {
    pub(crate) fn begin(bed: &Bed) -> Self {
        Self::of(bed, "", "")
    }

    /// With more words about the target, and more lines about the service.
    pub(crate) fn of(bed: &Bed, target: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let here = directory.path().display();
        let configuration = format!(
            "server: {{listen: '127.0.0.1:0', socket: {here}/socket}}\n\
             store: {{path: {here}/store.db}}\nhistory: {{file: {here}/history.json}}\nevidence: {{directory: {here}/evidence}}\n\
             services:\n- name: api\n  target: {{compose: {{project_directory: {}, service: api{target}}}}}\n  \
             probes: {{ready: {{http: {{url: 'http://127.0.0.1:{}/health/ready'}}, every: 500ms, timeout: 400ms}}}}\n{}",
            bed.here().display(),
            bed.port.number,
            if more.is_empty() {
                "  thresholds: {down_after: 3, confirm_every: 200ms, down_for: 1s}\n  \
                 gates: {known_good_after: 2s, settle: 15s, cooldown: 1s, rollbacks: {at_most: 9, over: 1h}}\n  \
                 verify: {healthy_for: 2s, timeout: 60s}\n"
            } else {
                more
            },
        );
        fs::write(directory.path().join("backstop.yaml"), configuration).expect("written");
        let daemon = Self::start(directory.path());
        Self { directory, daemon }
    }

    fn start(directory: &Path) -> Child {
        let log = fs::File::options().create(true).append(true).open(directory.join("log")).expect("a log");
        Command::new(env!("CARGO_BIN_EXE_backstop"))
            .args(["run", "--config"])
            .arg(directory.join("backstop.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts")
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.daemon.kill().expect("killed");
        self.daemon.wait().expect("reaped");
    }

    pub(crate) fn start_again(&mut self) {
        self.daemon = Self::start(self.directory.path());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> Option<String> {
        let asked = Command::new(env!("CARGO_BIN_EXE_backstop"))
            .arg("--config")
            .arg(self.directory.path().join("backstop.yaml"))
            .args(arguments)
            .output()
            .expect("it runs");
        asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).into_owned())
    }

    pub(crate) async fn wait<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(found) = found(self) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = self.log();
        let last: Vec<&str> = log.lines().rev().take(40).collect();
        panic!("not within {PATIENCE:?}: {what}; {:?}; the log, backwards: {last:#?}", self.ask(&["incident", "list"]));
    }

    pub(crate) fn incident(&self, id: &str) -> Option<Value> {
        serde_json::from_str(&self.ask(&["incident", "show", id, "--json"])?).ok()
    }

    fn deploys(&self) -> Option<Vec<Value>> {
        let deploys: Value = serde_json::from_str(&self.ask(&["deploys", "api", "--json"])?).ok()?;
        deploys["services"][0]["deploys"].as_array().cloned()
    }

    /// Waits until it has seen a version live, and healthy for long enough.
    pub(crate) async fn trusts(&self, version: &str) {
        let is_it = |one: &Value| one["release"]["version"] == version && one["standing"] == "known_good";
        let known_good = |watch: &Self| watch.deploys()?.iter().any(is_it).then_some(());
        self.wait(&format!("{version} is known to be good"), known_good).await;
    }

    pub(crate) async fn verified(&self, id: &str) -> Value {
        let is_verified = |incident: &Value| {
            incident["plans"][0]["outcome"] == "verified"
                && incident["state"].as_str().is_some_and(|state| state.starts_with("resolved"))
        };
        self.wait(&format!("{id} is over and verified"), |watch| watch.incident(id).filter(is_verified)).await
    }
}

#[tokio::test]
async fn bad_images_are_rolled_back_and_verified() {
    for (name, fate, why) in
        [("watch-exits", Fate::Exits, "it exited with status 3"), ("watch-unhealthy", Fate::Unhealthy, "unhealthy")]
    {
        let bed = Bed::new(name);
        bed.image("1", Fate::Serves);
        bed.image("2", fate);
        bed.deploy("1");
        let watch = Watch::begin(&bed);
        watch.trusts("1").await;
        bed.deploy("2");
        let begun = Instant::now();
        let incident = watch.verified("api-1").await;
        times::note(&format!("compose, {name}: deploy to verified"), begun.elapsed());
        assert_eq!(bed.serves().as_deref(), Some("1"));
        assert!(incident.to_string().contains(why), "{incident:#}");
        // The last words of what was rolled back from are kept, though its container is gone.
        let evidence = watch.directory().join("evidence/api-1");
        let logs: Vec<String> = fs::read_dir(&evidence)
            .expect("evidence")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.to_string_lossy().contains("before-rollback-log-"))
            .map(|path| fs::read_to_string(path).expect("read"))
            .collect();
        let word = if fate == Fate::Exits { "cannot find its configuration" } else { "2 begins" };
        assert!(logs.iter().any(|log| log.contains(word)), "{logs:?}");
        // What holds it there is shown.
        let status = watch.ask(&["status"]).expect("it answers");
        let shown = status.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains("api is held at 1") && shown.contains("the next `docker compose up`"), "{status}");
    }
}

#[tokio::test]
async fn a_plain_up_that_brings_the_bad_release_back_is_undone_once() {
    let bed = Bed::new("watch-again");
    bed.image("1", Fate::Serves);
    bed.image("2", Fate::Unhealthy);
    bed.deploy("1");
    let watch = Watch::begin(&bed);
    watch.trusts("1").await;
    bed.deploy("2");
    watch.verified("api-1").await;
    assert_eq!(bed.serves().as_deref(), Some("1"));
    bed.up();
    let incident = watch.verified("api-2").await;
    assert_eq!(incident["opened_by"], "Backstop", "nobody is accused while containers are exchanged: {incident:#}");
    assert!(incident.to_string().contains("block_known_bad"), "{incident:#}");
    assert_eq!(bed.serves().as_deref(), Some("1"));
    assert_eq!(bed.containers(), [format!("{}-api-1 running", bed.project)]);
}

#[tokio::test]
async fn killed_in_the_middle_of_an_exchange_the_service_does_not_stay_down() {
    // Compose had come so far as to make the new container, or to remove the old one as well.
    for is_removed in [false, true] {
        let bed = Bed::new(if is_removed { "killed-removed" } else { "killed-made" });
        bed.image("1", Fate::Serves);
        bed.image("2", Fate::StubbornUnhealthy);
        bed.deploy("1");
        let mut watch = Watch::begin(&bed);
        watch.trusts("1").await;
        bed.deploy("2");
        let is_half_way =
            |all: &[String]| ["created", "running"].iter().all(|state| all.iter().any(|one| one.ends_with(state)));
        let incident = watch.wait("it is being rolled back", |watch| watch.incident("api-1")).await;
        assert_eq!(incident["path"]["verdict"], "roll_back", "{incident:#}");
        watch.wait("the exchange is half-way", |_| is_half_way(&bed.containers()).then_some(())).await;
        watch.kill();
        // Its tool ends with it; the engine goes on with what it was told, and no further.
        let settled = |_: &Watch| bed.containers().iter().all(|one| !one.ends_with(" running")).then_some(());
        watch.wait("the old container has ended", settled).await;
        if is_removed {
            bed.docker_says(&["rm", &format!("{}-api-1", bed.project)]);
        }
        assert_eq!(bed.serves(), None, "the service is down");
        watch.start_again();
        let begun = Instant::now();
        watch.wait("it serves again", |_| (bed.serves().as_deref() == Some("1")).then_some(())).await;
        times::note("compose, kill -9 in the middle of an exchange: start to served again", begun.elapsed());
        watch.verified("api-1").await;
        assert_eq!(bed.containers(), [format!("{}-api-1 running", bed.project)], "nothing is left over");
    }
}

/// Requests at a steady pace, for as long as this value lives.
struct Traffic(tokio::task::JoinHandle<()>);

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Traffic {
    fn begin(port: u16, a_second: u32) -> Self {
        Self(tokio::spawn(async move {
            let mut regular = tokio::time::interval(Duration::from_secs(1) / a_second);
            // Ends with the test.
            loop {
                regular.tick().await;
                let _failed = tokio::task::spawn_blocking(move || work(port)).await;
            }
        }))
    }
}

fn work(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET /work HTTP/1.0\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

#[tokio::test]
async fn twelve_percent_of_errors_are_rolled_back() {
    let bed = Bed::new("watch-errors");
    let port = bed.port.number;
    for (tag, share) in [("1", 0), ("2", 120)] {
        bed.counting_image(tag, share);
    }
    let file = |tag: &str| {
        format!(
            "name: {}\nservices:\n  api:\n    image: {}\n    init: true\n    network_mode: host\n    \
             command: [/service, '{port}', /release]\n",
            bed.project,
            bed.name_of(tag)
        )
    };
    bed.write(&file("1"));
    bed.up();
    let series = "total: 'http_requests_total{app=\"api\"}', errors: 'http_requests_total{app=\"api\",code=~\"5..\"}'";
    let more = format!(
        "  requests: {{metrics: {{url: 'http://127.0.0.1:{port}/metrics', {series}}}, every: 1s, timeout: 900ms}}\n  \
         thresholds: {{down_after: 3, confirm_every: 200ms, down_for: 1500ms, min_requests: 50, widen_to: 20s, \
         roll_back_above: {{error_rate: 5%, over: 10s}}, consider_above: {{error_rate: 1%, over: 10s, for: 10s}}, \
         slow_above: {{latency_p99: 2x, over: 10s, for: 10s}}}}\n  \
         gates: {{known_good_after: 3s, settle: 8s}}\n  verify: {{healthy_for: 2s, timeout: 60s}}\n"
    );
    let _traffic = Traffic::begin(port, 80);
    let watch = Watch::of(&bed, "", &more);
    watch.trusts("1").await;
    bed.write(&file("2"));
    bed.up();
    let begun = Instant::now();
    let incident = watch.verified("api-1").await;
    times::note("compose, 12% errors: deploy to verified", begun.elapsed());
    assert!(incident.to_string().contains("error_rate_critical"), "{incident:#}");
    assert_eq!(incident["plans"][0]["version_to"], "1");
}
