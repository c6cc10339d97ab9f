//! The real binary: its help, its exit codes, and its verbs against a daemon's serving half.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use backstop::{
    config::form::Role,
    core::name::ServiceIndex,
    serve::{
        Limits,
        answers::{Explanation, Services},
    },
};
use serde_json::Value;

use crate::{
    daemon::{Core, daemon, token},
    views,
};

pub(crate) fn backstop(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstop"));
    command.args(arguments).env_remove("BACKSTOP_CONFIG").env_remove("BACKSTOP_TOKEN").stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn output(arguments: &[&str]) -> (i32, String, String) {
    told(&backstop(arguments).output().expect("it runs"))
}

pub(crate) fn told(output: &Output) -> (i32, String, String) {
    (output.status.code().expect("it ended by itself"), text(&output.stdout), text(&output.stderr))
}

/// Runs the binary beside the server, which lives on this test's runtime.
async fn with(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = backstop(arguments);
    command.envs(environment.iter().copied());
    told(&tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs"))
}

#[test]
fn help_is_as_written() {
    let mut all = String::new();
    for verb in [
        &[][..],
        &["run"],
        &["check"],
        &["schema"],
        &["demo"],
        &["status"],
        &["explain"],
        &["incident"],
        &["incident", "list"],
        &["incident", "show"],
        &["incident", "approve"],
        &["incident", "deny"],
        &["deploys"],
        &["deploys", "mark"],
        &["deploys", "report"],
        &["history"],
        &["store"],
        &["store", "backup"],
        &["store", "restore"],
    ] {
        let (code, stdout, stderr) = output(&[verb, &["-h"]].concat());
        assert_eq!((code, stderr.as_str()), (0, ""), "{verb:?}");
        all.extend(["$ backstop ", &verb.join(" "), " -h\n", &stdout, "\n"]);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["explain"],
        &["rollbck"],
        &["status", "--jsn"],
        &["incident"],
        &["deploys", "mark", "api", "v1", "excellent"],
        &["demo", "--fault", "boredom"],
        &["status", "--server", "http://127.0.0.1:1", "--socket", "/x"],
        &["status", "--server", "backstop.example.com"],
        &["status", "--server", "ftp://backstop.example.com"],
    ] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
    let (code, stdout, _) = output(&["--version"]);
    assert_eq!((code, stdout), (0, format!("backstop {}\n", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn how_an_incident_stands_is_shown_with_what_to_do() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let mut view = views::rolling_back();
    (view.now.plan_under_way, view.now.approval) = (None, None);
    daemon.publisher.service(ServiceIndex(1), view);
    let mut incident = views::open_incident();
    "open: the rollback ended stuck".clone_into(&mut incident.state);
    daemon.publisher.incidents(vec![Arc::new(incident)]);
    let (code, stdout, stderr) = with(&["status", "--socket", daemon.socket.to_str().expect("text")], &[]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("solvereign-api-17: open: the rollback ended stuck"), "{stdout}");
    assert!(stdout.contains("-> backstop incident show solvereign-api-17"), "{stdout}");
}

#[test]
fn what_the_environment_says_is_no_argument() {
    let with = |arguments: &[&str]| {
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_backstop"))
            .args(arguments)
            .env("BACKSTOP_CONFIG", "/none.yaml")
            .env("BACKSTOP_TOKEN", "t")
            .output()
            .expect("the binary runs");
        (command.status.code(), String::from_utf8(command.stderr).expect("text"))
    };
    let (code, stderr) = with(&[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("rollback") && !stderr.contains("demo-shop"), "{stderr}");
    let (code, stderr) = with(&["explain"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("Usage: backstop explain") && !stderr.contains("--config"), "{stderr}");
}

/// Every verb's help, and what is said to every mistake on the command line.
#[test]
fn the_token_of_the_environment_is_never_shown() {
    let secret = "t0p-s3cret";
    for arguments in [
        &["-h"][..],
        &["--help"],
        &["status", "--help"],
        &["incident", "approve", "--help"],
        &["help", "rollback"],
        &["explain"],
        &["status", "--jsn"],
        &["status", "--server", "http://127.0.0.1:1", "--socket", "/x"],
        &["status", "--server", "ftp://127.0.0.1"],
        &["status", "--server", "http://127.0.0.1:1"],
        &["completions", "bash"],
        &["man"],
    ] {
        let mut command = backstop(arguments);
        let (_, stdout, stderr) = told(&command.env("BACKSTOP_TOKEN", secret).output().expect("it runs"));
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{arguments:?}: {stdout}{stderr}");
        let is_help = arguments.iter().any(|one| one.contains("help") || *one == "-h");
        assert!(!is_help || stdout.contains("[env: BACKSTOP_TOKEN]"), "{arguments:?}: {stdout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_door_that_is_asked_for_tls_is_told() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let (code, _, stderr) = with(&["status", "--server", &format!("https://{}", daemon.address)], &[]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("does not speak TLS: --server http://{}", daemon.address)), "{stderr}");
}

#[test]
fn a_daemon_that_is_not_there_is_a_clear_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("none.sock");
    let socket = socket.to_str().expect("text");
    let (code, stdout, stderr) = output(&["--socket", socket, "status"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with(&format!("backstop: failed to reach the daemon at {socket}: No such file")), "{stderr}");
    assert!(stderr.contains("is `backstop run` running there?"), "{stderr}");
    let (code, _, stderr) = output(&["status", "--server", "http://127.0.0.1:1/"]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("backstop: failed to reach the daemon at http://127.0.0.1:1/: "), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_read_over_the_socket() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let socket = daemon.socket.to_str().expect("text");
    for (arguments, expected) in [
        (&["status"][..], "solvereign-api  impaired      roll_back"),
        (&["explain", "solvereign-api"], "==> YES      Is error rate > 5%?"),
        (&["incident", "list"], "solvereign-api-17"),
        (&["incident", "list", "--service", "billing"], "no incidents"),
        (&["incident", "show", "solvereign-api-17"], "backstop incident approve solvereign-api-17 --approval 1"),
        (&["deploys"], "known good"),
        (&["deploys", "solvereign-api"], "healthy for 10m"),
    ] {
        let (code, stdout, stderr) = with(&[&["--socket", socket], arguments].concat(), &[]).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(stdout.contains(expected), "{arguments:?}: {stdout}");
        assert!(!stdout.contains('\u{1b}'), "no colour without a terminal: {stdout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lists_also_speaks_json() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let socket = daemon.socket.to_str().expect("text");
    let json = async |arguments: &[&str]| {
        let (code, stdout, _) = with(&[&["--socket", socket], arguments, &["--json"]].concat(), &[]).await;
        assert_eq!(code, 0, "{arguments:?}");
        serde_json::from_str::<Value>(&stdout).expect("JSON")
    };
    let services: Services = serde_json::from_value(json(&["status"]).await).expect("services");
    assert_eq!(services.daemon, views::daemon());
    let explanation: Explanation = serde_json::from_value(json(&["explain", "solvereign-api"]).await).expect("one");
    assert_eq!(explanation, Explanation::from(&views::rolling_back()));
    assert_eq!(json(&["incident", "list", "--open"]).await["incidents"][0]["id"], "solvereign-api-17");
    assert_eq!(json(&["incident", "show", "solvereign-api-16"]).await["plans"][0]["outcome"], "verified");
    assert_eq!(json(&["deploys"]).await["services"][1]["deploys"][0]["release"]["version"], "v1.2.4");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_decide_by_it_and_exit_codes_tell() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let socket = daemon.socket.to_str().expect("text");
    for (arguments, code, expected) in [
        (&["incident", "approve", "solvereign-api-17"][..], 0, r#""approval":1"#),
        (&["incident", "deny", "solvereign-api-17", "--reason", "known"], 0, r#""reason":"known""#),
        (&["deploys", "mark", "solvereign-api", "team/api:v1", "bad"], 0, r#""version":"team/api:v1","mark":"bad""#),
        (&["deploys", "report", "solvereign-api", "v1.2.5"], 0, r#""version":"v1.2.5""#),
        (&["incident", "deny", "solvereign-api-17", "--reason", "gate"], 3, "cooldown: the last rollback was 2m ago"),
        (&["incident", "approve", "solvereign-api-17", "--approval", "9"], 1, "approval 9 is void"),
        (&["incident", "approve", "solvereign-api-16"], 1, "it is over (rolled back, verified)"),
        (
            &["incident", "show", "solvereign-api-99"],
            1,
            "there is no incident \"solvereign-api-99\"; did you mean solvereign",
        ),
        (&["incident", "approve", "solvereign-api"], 1, "failed to approve solvereign-api: there is no incident"),
        (&["incident", "deny", "solvereign-api"], 1, "\"solvereign-api\"; did you mean solvereign-api-17?"),
        (&["incident", "show", "shop"], 1, "failed to show shop: there is no incident \"shop\"\n"),
        (&["explain", "shop"], 1, "failed to explain shop: there is no service \"shop\""),
        (&["deploys", "mark", "shop", "v1", "good"], 1, "failed to mark v1 of shop: there is no service"),
        (&["pause", "shop", "--reason", "a drill"], 1, "failed to pause shop: there is no service"),
        (&["abort", "solvereign-api-99"], 0, "solvereign-api-99"),
    ] {
        let (was, stdout, stderr) = with(&[&["--socket", socket], arguments].concat(), &[]).await;
        assert_eq!(was, code, "{arguments:?}: {stderr}");
        let (speaks, silent) = if code == 0 { (stdout, stderr) } else { (stderr, stdout) };
        assert!(speaks.contains(expected), "{arguments:?}: {speaks}");
        assert_eq!(silent, "", "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_the_way_over_tcp() {
    let daemon = daemon(&[token("oncall", Role::Operator, "right-token")], Core::Answers, Limits::default()).await;
    let server = format!("http://{}", daemon.address);
    let approve = ["--server", &server, "incident", "approve", "solvereign-api-17"];
    let (code, stdout, _) = with(&approve, &[("BACKSTOP_TOKEN", "right-token")]).await;
    assert_eq!(code, 0);
    assert!(stdout.starts_with("oncall asked"), "{stdout}");
    let (code, _, _) = with(&["status", "--server", &server, "--token", "right-token"], &[]).await;
    assert_eq!(code, 0);
    let (code, _, stderr) = with(&["status", "--server", &server, "--token", "wrong-token"], &[]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("BACKSTOP_TOKEN") && !stderr.contains("wrong-token"), "{stderr}");
    assert!(stderr.contains("the daemon has others in server.tokens"), "{stderr}");
    let (code, _, stderr) = with(&["status", "--server", &server], &[]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("hint: give a token with --token or BACKSTOP_TOKEN"), "{stderr}");
    // A token in the environment is no hindrance to a subcommand, nor shown in the help.
    let (code, stdout, _) = with(&["deploys", "-h"], &[("BACKSTOP_TOKEN", "s3cret")]).await;
    assert_eq!(code, 0);
    assert!(!stdout.contains("s3cret"), "{stdout}");
    let mark = ["deploys", "mark", "billing", "v1", "good", "--server", &server];
    let (code, _, stderr) = with(&mark, &[("BACKSTOP_TOKEN", "right-token")]).await;
    assert_eq!(code, 0, "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let socket = daemon.socket.to_str().expect("text").to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let mut command = backstop(&["--socket", &socket, "explain", "solvereign-api"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        // The reading end is closed before anything is written.
        drop(child.stdout.take());
        child.wait_with_output().expect("it ends")
    });
    let (code, _, stderr) = told(&ended.await.expect("no panic"));
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_behind_the_port_is_told() {
    let server = wiremock::MockServer::start().await;
    let page = wiremock::ResponseTemplate::new(200).set_body_string("<html>not Backstop</html>");
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(page).mount(&server).await;
    let (code, _, stderr) = with(&["status", "--server", &server.uri()], &[]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("failed to understand the daemon at"), "{stderr}");
}

fn history(directory: &Path, content: &str) -> (i32, String, String) {
    let file = directory.join("rollback-history.json");
    std::fs::write(&file, content).expect("written");
    output(&["history", "--file", file.to_str().expect("text")])
}

#[test]
fn history_needs_no_daemon() {
    let directory = tempfile::tempdir().expect("a directory");
    let runbook = r#"{"rollbacks": [{"date": "2026-01-07T10:30:00Z", "version_from": "v1.2.4", "version_to": "v1.2.3",
        "reason": "Error rate spike after deploy", "duration_minutes": 8, "root_cause": "Missing null check",
        "post_mortem_link": "..."}]}"#;
    let (code, stdout, _) = history(directory.path(), runbook);
    assert_eq!(code, 0);
    assert!(stdout.contains("v1.2.4") && stdout.contains("Error rate"), "{stdout}");
    let (code, _, stderr) = history(directory.path(), "{\"rollbacks\": [");
    assert_eq!(code, 1);
    assert!(stderr.contains("failed to understand the history"), "{stderr}");
    let none = directory.path().join("none.json");
    let (code, stdout, stderr) = output(&["history", "--file", none.to_str().expect("text")]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("none.json: No such file"), "{stderr}");
}

#[test]
fn the_history_of_a_service_that_nobody_knows_is_no_good_news() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().display();
    let (config, file) = (format!("{at}/backstop.yaml"), format!("{at}/h.json"));
    std::fs::write(&config, format!("history: {{file: {file}}}\nservices: [{{name: web}}, {{name: pay}}]\n"))
        .expect("written");
    let rollback = r#"{"rollbacks": [{"date": "2026-01-07T10:30:00Z", "version_from": "v2", "version_to": "v1", "reason": "x",
        "duration_minutes": 8, "root_cause": "", "post_mortem_link": "", "service": "gone"}]}"#;
    std::fs::write(&file, rollback).expect("written");
    let of = |service: &str| output(&["history", "--config", &config, "--service", service]);
    let (code, stdout, stderr) = of("wbe");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("there is no service \"wbe\" in the configuration, and no rollback of one"), "{stderr}");
    assert!(stderr.contains("hint: did you mean web?"), "{stderr}");
    assert_eq!(of("web"), (0, "no rollbacks\n".to_owned(), String::new()));
    assert!(of("gone").1.contains("v2"), "it is watched no more");
    // A file by itself names no services.
    let none = format!("{at}/none.yaml");
    let (code, ..) = output(&["history", "--file", &file, "--config", &none, "--service", "wbe"]);
    assert_eq!(code, 0);
}

#[test]
fn how_a_daemon_is_reached_is_shown_where_one_is_and_taken_everywhere() {
    for (verb, shown) in [("status", true), ("pause", true), ("run", false), ("man", false), ("completions", false)] {
        let (code, stdout, _) = output(&[verb, "-h"]);
        assert_eq!((code, stdout.contains("Reaching the daemon")), (0, shown), "{verb}: {stdout}");
        assert_eq!(stdout.contains("--socket"), shown, "{verb}: {stdout}");
    }
    let (code, ..) = output(&["--socket", "/x", "schema"]);
    assert_eq!(code, 0);
    let (code, ..) = output(&["schema", "--socket", "/x"]);
    assert_eq!(code, 0);
}

#[test]
fn a_service_to_pause_is_not_shown_as_required() {
    let (code, _, stderr) = output(&["pause", "billing"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("Usage: backstop pause [OPTIONS] --reason <TEXT> [SERVICE]"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_other_mistakes_still_leads_to_the_daemon() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("backstop.yaml");
    let (at, socket) = (directory.path().display(), daemon.socket.display());
    let wrong = format!("server: {{socket: {socket}}}\nhistory: {{file: {at}/h.json}}\nservces: []\nmode: atc\n");
    std::fs::write(&file, wrong).expect("written");
    let file = file.to_str().expect("text");
    for arguments in [&["status"][..], &["explain", "solvereign-api"], &["incident", "list"], &["history"]] {
        let (code, stdout, stderr) = with(&[arguments, &["--config", file]].concat(), &[]).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}: {stdout}");
    }
    // What is wrong itself is told, and what to do instead.
    std::fs::write(file, "server: {socket: 7}\nservices: []\n").expect("written");
    let (code, stdout, stderr) = with(&["status", "--config", file], &[]).await;
    assert_eq!((code, stdout.as_str()), (78, ""));
    assert!(stderr.contains("server.socket") && stderr.contains("--socket, or --server URL"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_configuration_locks_nobody_out() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("backstop.yaml");
    let name = file.to_str().expect("text");
    let socket = daemon.socket.display();
    let broken = format!("server: {{socket: {socket}}}\nservices:\n  - name: [api\n");
    std::fs::write(&file, broken).expect("written");
    for (arguments, expected) in
        [(&["status"][..], "solvereign-api"), (&["incident", "approve", "solvereign-api-17"], r#""approval":1"#)]
    {
        let (code, stdout, stderr) = with(&[arguments, &["--config", name]].concat(), &[]).await;
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        assert!(stdout.contains(expected), "{arguments:?}: {stdout}");
        assert!(stderr.contains(&format!("{name}:")), "it names the file's fault: {stderr}");
        let said =
            format!("the configuration cannot be used; asking the daemon at {socket}, which the file's text names");
        assert!(stderr.contains(&said), "{stderr}");
    }
    // Which daemon is meant is not guessed where the file does not say it.
    for text in ["", "services: [", "a: {socket: /a}\nb: {socket: /b}\n]"] {
        std::fs::write(&file, text).expect("written");
        let (code, stdout, stderr) = with(&["status", "--config", name], &[]).await;
        assert_eq!((code, stdout.as_str()), (78, ""), "{text:?}");
        assert!(stderr.contains("use --socket (by default it is /run/backstop/backstop.sock)"), "{stderr}");
    }
    // With the socket or the server named, the file is not even looked at.
    let named = socket.to_string();
    let (code, _, stderr) = with(&["status", "--config", name, "--socket", &named], &[]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn a_server_without_a_scheme_is_told_of_it() {
    for (server, hint) in [
        ("127.0.0.1:9464", Some("write --server http://127.0.0.1:9464, or https://")),
        ("backstop.example.com", Some("write --server http://backstop.example.com, or https://")),
        ("localhost:9464", Some("write --server http://localhost:9464, or https://")),
        ("ftp://backstop.example.com", None),
    ] {
        let (code, stdout, stderr) = output(&["status", "--server", server]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{server}");
        assert!(stderr.contains("expected an http or https URL"), "{stderr}");
        assert_eq!(stderr.contains("hint: "), hint.is_some(), "{stderr}");
        assert!(hint.is_none_or(|hint| stderr.contains(hint)), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_open_the_socket_is_told_who_may() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    let directory = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("mode set");
    let socket = directory.path().join("backstop.sock");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let mut command = backstop(&["status", "--socket", socket.to_str().expect("text")]);
    // Root may open everything, and leaves that for this.
    let mode = if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
        0o600
    } else {
        0o000
    };
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(mode)).expect("mode set");
    let (code, _, stderr) = told(&command.output().expect("it runs"));
    assert_eq!(code, 1);
    assert!(stderr.contains("Permission denied"), "{stderr}");
    assert!(stderr.contains("is open to its user alone, and to no group: run it as `sudo -u "), "{stderr}");
}

#[test]
fn a_variable_that_is_set_to_nothing_counts_as_not_set() {
    let run = |variable: Option<&str>| {
        let mut command = backstop(&["history"]);
        if let Some(value) = variable {
            command.env("BACKSTOP_CONFIG", value);
        }
        told(&command.output().expect("it runs"))
    };
    assert_eq!(run(Some("")), run(None));
    let (code, _, stderr) = run(Some("/no/such/backstop.yaml"));
    assert_eq!(code, 78);
    assert!(stderr.contains("/no/such/backstop.yaml") && stderr.contains("hint: name the configuration"), "{stderr}");
}

#[test]
fn lines_can_be_taken_one_by_one() {
    let mut child = backstop(&["--help"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    assert!(child.wait().expect("it ends").success());
    assert!(first.starts_with("Stands watch"), "{first}");
}
