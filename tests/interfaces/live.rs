//! The whole of it once: a real daemon, a service that answers 503, a receiver of pages, and a person at the command line.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use backstop::store::{CompactionBounds, Journal as _, SqliteStore, Tidied};
use serde_json::Value;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::cli::{backstop, told};

/// How long anything may take before the test gives up: far more than it needs on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends its daemon when the test ends, however it ends.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

fn configuration(directory: &Path, service: &str, pages: &str) -> String {
    let at = directory.display();
    format!(
        "server: {{listen: 127.0.0.1:0, socket: {at}/b.sock}}
store: {{path: {at}/b.db}}
history: {{file: {at}/history.json}}
evidence: {{directory: {at}/evidence}}
notify: {{channels: {{audit: {{webhook: {{url: {pages}, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}}}}}}}
severities: {{S1: {{notify: [audit]}}, S2: {{notify: [audit]}}, S3: {{notify: [audit]}}}}
services:
  - name: shop
    target: {{releases: {{directory: {at}/releases, current: {at}/current, restart: [/bin/true]}}}}
    probes: {{ready: {{http: {{url: {service}}}, every: 1s, timeout: 500ms}}}}
"
    )
}

async fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = backstop(arguments);
    told(&tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs"))
}

/// Asks again until what comes back is as wanted.
async fn until(arguments: &[&str], wanted: impl Fn(&str) -> bool) -> String {
    let started = Instant::now();
    loop {
        let (code, stdout, stderr) = run(arguments).await;
        if code == 0 && wanted(&stdout) {
            return stdout;
        }
        assert!(started.elapsed() < PATIENCE, "{arguments:?} ended with {code}: {stdout}{stderr}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_fault_to_the_person_at_the_command_line() {
    let service = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(503)).mount(&service).await;
    let pages = MockServer::start().await;
    Mock::given(matchers::method("POST")).respond_with(ResponseTemplate::new(204)).mount(&pages).await;
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    for version in ["v1", "v2"] {
        std::fs::create_dir_all(at.join("releases").join(version)).expect("made");
    }
    std::os::unix::fs::symlink("releases/v2", at.join("current")).expect("linked");
    let file = at.join("backstop.yaml");
    std::fs::write(&file, configuration(at, &service.uri(), &pages.uri())).expect("written");
    let config = file.to_str().expect("text");

    let mut command = backstop(&["run", "--config", config]);
    let daemon = Daemon(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs"));

    let listed = until(&["incident", "list", "--config", config], |text| text.contains("S1")).await;
    let incident =
        listed.lines().nth(1).and_then(|line| line.split_whitespace().next()).expect("an incident").to_owned();
    let explained = until(&["explain", "shop", "--config", config], |text| text.contains("==> YES")).await;
    assert!(explained.starts_with("shop: ROLL BACK"), "{explained}");
    assert!(explained.contains("503"), "{explained}");
    let status = until(&["status", "--config", config], |text| text.contains(&incident)).await;
    assert!(status.contains("roll_back"), "{status}");
    let marked = run(&["deploys", "mark", "shop", "v1", "good", "--config", config]).await;
    assert_eq!(marked.0, 0, "{}", marked.2);

    // The page has arrived, signed, about this incident.
    let started = Instant::now();
    let page = loop {
        let about = |page: &wiremock::Request| {
            let body: Value = serde_json::from_slice(&page.body).expect("JSON");
            body["type"] == "incident.opened" && body["data"]["incident"] == incident.as_str()
        };
        if let Some(page) = pages.received_requests().await.expect("recorded").into_iter().find(about) {
            break page;
        }
        assert!(started.elapsed() < PATIENCE, "no page came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(page.headers.contains_key("webhook-signature"));

    // Killed: the store still tells the incident, and says where that comes from.
    drop(daemon);
    let (code, stdout, stderr) = run(&["incident", "show", &incident, "--config", config]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with(&format!("{incident}: S1, verdict roll_back")), "{stdout}");
    assert!(stderr.contains("the daemon cannot be reached; this is from its store"), "{stderr}");
    // And so it does when its entries are gone, and only their snapshot is there.
    let shown = run(&["incident", "show", &incident, "--json", "--config", config]).await.1;
    let mut store = SqliteStore::open(&at.join("b.db")).expect("opened");
    store.compact_within(CompactionBounds { keep: Duration::ZERO, snapshot_after: 1, covered_limit: 0 });
    while store.tidy() != Tidied::Nothing {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(store.covered(), store.last());
    drop(store);
    assert_eq!(run(&["incident", "show", &incident, "--json", "--config", config]).await.1, shown);
    let (code, stdout, _) = run(&["incident", "list", "--json", "--config", config]).await;
    assert_eq!(code, 0);
    let list: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(list["incidents"][0]["id"], Value::String(incident));
    let (code, _, _) = run(&["status", "--config", config]).await;
    assert_eq!(code, 1, "only the daemon knows what is so now");
}
