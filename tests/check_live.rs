//! `backstop check --live` beside real directories, programs and servers: what is well is passed over, and each thing that
//! would fail tonight is one line.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

/// A port that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn tool(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode set");
}

/// A service with releases, a page of metrics, and somebody who is told.
async fn server() -> MockServer {
    let server = MockServer::start().await;
    let page = "http_requests_total{code=\"200\"} 10\nhttp_requests_total{code=\"500\"} 1\n";
    for (path, answer) in [
        ("/health", ResponseTemplate::new(200).set_body_string(r#"{"version": "v2"}"#)),
        ("/metrics", ResponseTemplate::new(200).set_body_raw(page, "text/plain; version=0.0.4")),
    ] {
        Mock::given(matchers::path(path)).respond_with(answer).mount(&server).await;
    }
    server
}

/// Two releases, the newer one live.
fn releases(at: &Path) {
    for version in ["v1", "v2"] {
        fs::create_dir_all(at.join("releases").join(version)).expect("made");
    }
    symlink("releases/v2", at.join("current")).expect("linked");
    tool(&at.join("restart"), "exit 0");
    tool(&at.join("tool"), "[ \"$1\" = current ] && echo v2 && exit; printf 'v1\\nv0\\n'");
}

fn written(at: &Path, text: &str) -> PathBuf {
    let own = format!(
        "server: {{socket: {0}/socket}}\nstore: {{path: {0}/store.db}}\nhistory: {{file: {0}/history.json}}\n\
         evidence: {{directory: {0}/evidence}}\n",
        at.display()
    );
    let path = at.join("backstop.yaml");
    fs::write(&path, own + text).expect("written");
    path
}

async fn check(file: &Path, more: &[&'static str]) -> Output {
    let (file, more) = (file.to_owned(), more.to_owned());
    let command = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backstop"));
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        command.args(["check", "--live"]).args(more).arg(file).output()
    };
    tokio::task::spawn_blocking(command).await.expect("no panic").expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn what_is_well_is_passed_over_and_nobody_is_paged() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    releases(at);
    let server = server().await;
    let (here, web) = (at.display(), server.uri());
    let address = server.address();
    let file = written(
        at,
        &format!(
            "self_check: {{tcp: ['{address}']}}\n\
             notify:\n  channels: {{audit: {{webhook: {{url: '{web}/hook/T0P', secret: a-secret-of-its-own}}}}}}\n  \
             heartbeat: {{url: '{web}/beat', every: 60s}}\n\
             services:\n- name: shop\n  \
             target: {{releases: {{directory: {here}/releases, current: {here}/current, restart: [{here}/restart]}}}}\n  \
             version: {{http: '{web}/health', pointer: /version}}\n  \
             probes: {{ready: {{http: {{url: '{web}/health'}}}}, port: {{tcp: '{address}'}}}}\n  \
             requests: {{metrics: {{url: '{web}/metrics', total: http_requests_total, errors: 'http_requests_total{{code=~\"5..\"}}'}}}}\n  \
             features: {{smoke: {{command: {{run: ['true']}}}}}}\n\
             - name: api\n  \
             target: {{command: {{current: [{here}/tool, current], previous: [{here}/tool], roll_back: [{here}/restart]}}}}\n  \
             probes: {{ready: {{tcp: '{address}'}}}}\n"
        ),
    );
    let output = check(&file, &[]).await;
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    let expected = format!("{}: 18 looks, and nothing would fail tonight\n", file.display());
    assert_eq!(text(&output.stdout), expected, "{said}");
    let asked = server.received_requests().await.expect("requests");
    let told: Vec<String> = asked.iter().map(|one| format!("{} {}", one.method, one.url.path())).collect();
    // Channel and heartbeat: their host alone.
    assert_eq!(told.iter().filter(|one| *one == "HEAD /").count(), 2, "{told:?}");
    assert!(!told.iter().any(|one| one.contains("T0P") || one.contains("beat")), "{told:?}");
    let made = fs::read_dir(at).expect("a folder").count();
    assert_eq!(made, 5, "it changes nothing: releases, current, restart, tool, the configuration, and no more");
}

#[tokio::test]
async fn each_thing_that_would_fail_is_one_line_with_its_key_and_how_to_mend_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    releases(at);
    fs::remove_dir_all(at.join("releases/v1")).expect("removed");
    tool(&at.join("broken"), "echo 'not logged in' >&2; exit 3");
    let server = server().await;
    let (here, web, port) = (at.display(), server.uri(), closed_port());
    let file = written(
        at,
        &format!(
            "self_check: {{tcp: ['127.0.0.1:{port}']}}\n\
             notify:\n  channels: {{audit: {{webhook: {{url: 'http://127.0.0.1:{port}/hook/T0P', secret: a-secret-of-its-own}}}}}}\n\
             services:\n- name: shop\n  \
             target: {{releases: {{directory: {here}/releases, current: {here}/current, restart: [{here}/none]}}}}\n  \
             version: {{http: '{web}/none', pointer: /version}}\n  \
             probes: {{ready: {{http: {{url: '{web}/none'}}}}}}\n  \
             requests: {{prometheus: {{url: 'http://127.0.0.1:{port}', total: http_requests_total, errors: 'http_requests_total{{code=~\"5..\"}}'}}}}\n  \
             features: {{smoke: {{command: {{run: ['false']}}}}}}\n\
             - name: api\n  \
             target: {{command: {{current: [{here}/broken], previous: [{here}/tool], roll_back: [{here}/restart]}}}}\n  \
             probes: {{ready: {{tcp: '127.0.0.1:{port}'}}}}\n\
             - name: far\n  \
             target: {{kubernetes: {{namespace: prod, deployment: shop, kubeconfig: {here}/no-kubeconfig}}}}\n  \
             probes: {{ready: {{command: {{run: ['true']}}}}}}\n"
        ),
    );
    let output = check(&file, &[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        ("services(shop).target.releases.restart", "the program"),
        ("services(shop).target.releases", "there is nothing to go back to from v2"),
        ("services(api).target.command", "not logged in"),
        ("services(far).target.kubernetes", "failed to read the kubeconfig"),
        ("services(shop).probes.ready", "status 404"),
        ("services(shop).features.smoke", "exit"),
        ("services(shop).requests", "it sees nothing: prometheus: total: connection refused"),
        ("services(api).probes.ready", "connection refused"),
        ("services(shop).version", "status 404"),
        ("self_check", "connection refused"),
        ("notify.channels.audit", "127.0.0.1 is not reached"),
    ];
    for (place, what) in expected {
        let begins = format!("fails  {place}: ");
        let found: Vec<_> = lines.iter().filter(|line| line.starts_with(&begins)).collect();
        let [line] = found.as_slice() else { panic!("{place} once, not {found:?} in\n{said}") };
        assert!(line.contains(what) && line.contains("; mend: "), "{line}");
    }
    assert_eq!(lines.len(), expected.len() + 1, "{said}");
    assert!(lines.last().is_some_and(|line| line.ends_with(" 11 would fail tonight")), "{said}");
    assert!(!said.contains("T0P"), "{said}");

    let output = check(&file, &["--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), expected.len());
    for finding in findings {
        let keys: Vec<&str> = finding.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(
            (keys.as_slice(), &finding["gravity"]),
            (&["where", "gravity", "what", "mend"][..], &"fails".into())
        );
    }
}

#[tokio::test]
async fn a_bad_configuration_is_told_as_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = written(folder.path(), "services: []\n");
    let output = check(&file, &[]).await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(78), ""));
    assert!(text(&output.stderr).contains("services"), "{}", text(&output.stderr));
    for wrong in [&["--no-secrets"][..], &[]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backstop"));
        command.arg("check").args(wrong).arg(if wrong.is_empty() { "--json" } else { "--live" }).arg(&file);
        assert_eq!(command.output().expect("it runs").status.code(), Some(2), "{wrong:?}");
    }
}
