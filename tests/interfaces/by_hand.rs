//! Operating by hand: routes, roles, commands, and the journal as it grows.

use std::{io::Read as _, process::Stdio, sync::Arc, time::Duration};

use backstop::{
    config::form::Role,
    core::{
        entry::{Entry, Fact, PlanOutcome, StepEvent},
        event::Sequence,
        name::ServiceIndex,
        view::{RollbackPreview, VerificationView},
    },
    serve::{GATE_PROBLEM, Limits},
};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    cli::{backstop, told},
    daemon::{Core, daemon, token},
    serve::{client, impatient, plain, problem},
    views,
};

const REPORTS: &str = "/api/v1/services/billing/reports";

#[tokio::test]
async fn what_people_ask_for_reaches_the_core_with_their_role() {
    let tokens = [token("support", Role::Reporter, "r"), token("oncall", Role::Operator, "o")];
    let daemon = daemon(&tokens, Core::Answers, Limits::default()).await;
    let service = |verb: &str| format!("/api/v1/services/billing/{verb}");
    for (token, path, body, asked) in [
        (
            "r",
            service("reports"),
            json!({"kind": "data_corruption", "detail": "orders without lines"}),
            json!({"request": "report", "service": "billing", "kind": "data_corruption",
                   "detail": "orders without lines", "authority": "reporter"}),
        ),
        (
            "o",
            service("reports"),
            json!({"kind": "under_1_percent"}),
            json!({"request": "report", "service": "billing", "kind": "under_1_percent", "detail": null,
                   "authority": "operator"}),
        ),
        (
            "r",
            service("reports"),
            json!({"kind": "complaint", "retract": true}),
            json!({"request": "retract_report", "service": "billing", "kind": "complaint", "authority": "reporter"}),
        ),
        (
            "o",
            service("pause"),
            json!({"for_seconds": 60, "reason": "migration"}),
            json!({"request": "pause", "service": "billing", "for_seconds": 60, "reason": "migration"}),
        ),
        ("o", service("resume"), json!({}), json!({"request": "resume", "service": "billing"})),
        (
            "o",
            "/api/v1/pause".to_owned(),
            json!({"reason": "migration"}),
            json!({"request": "pause", "service": null, "for_seconds": null, "reason": "migration"}),
        ),
        ("o", "/api/v1/resume".to_owned(), json!({}), json!({"request": "resume", "service": null})),
        (
            "o",
            service("pin"),
            json!({"version": "v1"}),
            json!({"request": "pin", "service": "billing", "version": "v1", "reason": null}),
        ),
        (
            "o",
            service("unpin"),
            json!({"version": "v1"}),
            json!({"request": "unpin", "service": "billing", "version": "v1"}),
        ),
        (
            "o",
            "/api/v1/incidents/solvereign-api-17/abort".to_owned(),
            json!({"reason": "a fix is out"}),
            json!({"request": "abort", "incident": "solvereign-api-17", "reason": "a fix is out"}),
        ),
        (
            "o",
            service("rollback"),
            json!({"to": "v1", "override": ["not_pinned"], "reason": "known"}),
            json!({"request": "roll_back", "service": "billing", "order": {"to": "v1", "plan": null, "dry_run": false,
                   "overrides": ["not_pinned"], "reason": "known"}}),
        ),
        ("o", service("verify"), json!({}), json!({"request": "verify", "service": "billing"})),
    ] {
        let response = daemon.send(Method::POST, &path, Some(token), Some(body)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let done: Value = response.json().await.expect("JSON");
        let (by, request) = done["message"].as_str().and_then(|text| text.split_once(" asked: ")).expect("a message");
        assert_eq!(by, if token == "r" { "support" } else { "oncall" });
        assert_eq!(serde_json::from_str::<Value>(request).expect("JSON"), asked);
    }
}

#[tokio::test]
async fn only_operators_act_and_viewers_do_not_even_report() {
    let tokens = [token("dash", Role::Viewer, "v"), token("ci", Role::Reporter, "r")];
    let daemon = daemon(&tokens, Core::Answers, Limits::default()).await;
    for (path, body) in [
        ("/api/v1/services/billing/pause", json!({"reason": "x"})),
        ("/api/v1/services/billing/resume", json!({})),
        ("/api/v1/pause", json!({"reason": "x"})),
        ("/api/v1/resume", json!({})),
        ("/api/v1/services/billing/pin", json!({"version": "v1"})),
        ("/api/v1/services/billing/unpin", json!({"version": "v1"})),
        ("/api/v1/services/billing/rollback", json!({"dry_run": true})),
        ("/api/v1/services/billing/verify", json!({})),
        ("/api/v1/incidents/solvereign-api-17/abort", json!({})),
    ] {
        for token in ["v", "r"] {
            problem(daemon.send(Method::POST, path, Some(token), Some(body.clone())).await, StatusCode::FORBIDDEN)
                .await;
        }
    }
    let report = json!({"kind": "complaint"});
    problem(daemon.send(Method::POST, REPORTS, Some("v"), Some(report.clone())).await, StatusCode::FORBIDDEN).await;
    assert_eq!(daemon.send(Method::POST, REPORTS, Some("r"), Some(report)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_reason() {
    let daemon = plain().await;
    for (path, body) in [
        (REPORTS, json!({"kind": "boredom"})),
        (REPORTS, json!({})),
        (REPORTS, json!({"kind": "complaint", "detail": "x".repeat(2001)})),
        ("/api/v1/pause", json!({})),
        ("/api/v1/pause", json!({"reason": " "})),
        ("/api/v1/pause", json!({"reason": "x", "for_seconds": 0})),
        ("/api/v1/pause", json!({"reason": "x", "for_seconds": u64::MAX})),
        ("/api/v1/services/billing/pin", json!({"version": ""})),
        ("/api/v1/services/billing/rollback", json!({"override": ["not_pinned"]})),
        ("/api/v1/services/billing/rollback", json!({"override": ["not_there"], "reason": "x"})),
        ("/api/v1/services/billing/rollback", json!({"plan": "slow"})),
    ] {
        let response = daemon.by_socket(Method::POST, path, Some(body)).await;
        problem(response, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let elsewhere = daemon.by_socket(Method::POST, "/api/v1/services/none/verify", None).await;
    problem(elsewhere, StatusCode::NOT_FOUND).await;
    let body = Some(json!({"reason": "gate"}));
    let held = daemon.by_socket(Method::POST, "/api/v1/services/billing/rollback", body).await;
    assert_eq!(problem(held, StatusCode::CONFLICT).await["type"], GATE_PROBLEM);
}

#[tokio::test]
async fn a_dry_run_is_answered_as_a_document() {
    let daemon = plain().await;
    let body = Some(json!({"dry_run": true}));
    let response = daemon.by_socket(Method::POST, "/api/v1/services/solvereign-api/rollback", body).await;
    assert_eq!(response.json::<RollbackPreview>().await.expect("a preview"), views::preview(true));
}

pub(crate) fn entry() -> Arc<Entry> {
    let fact = Fact::Resumed { by: "oncall\nand company".to_owned() };
    Arc::new(Entry { at: views::at(0), boot: None, service: Some("billing".into()), fact })
}

#[tokio::test]
async fn the_journal_is_told_as_it_grows() {
    let daemon = plain().await;
    let mut response = daemon.get("/api/v1/events").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let first = response.chunk().await.expect("open").expect("a first word");
    assert_eq!(first, "retry: 1000\n\n");
    daemon.publisher.committed(Sequence(7), &entry());
    let told = response.chunk().await.expect("open").expect("an event");
    assert_eq!(
        told,
        "id: 7\nevent: resumed\ndata: {\"at\":\"2026-01-07T10:30:00.000Z\",\"service\":\"billing\",\"fact\":\"resumed\",\
         \"by\":\"oncall\\nand company\"}\n\n"
    );
}

#[tokio::test]
async fn steps_count_from_one_where_they_are_told() {
    let daemon = plain().await;
    let mut response = daemon.get("/api/v1/events").await;
    assert!(response.chunk().await.expect("open").is_some());
    let fact =
        Fact::Step { incident: "billing-1".into(), plan: 1, step: 0, event: StepEvent::Started, note: String::new() };
    let entry = Arc::new(Entry { at: views::at(0), boot: None, service: Some("billing".into()), fact });
    daemon.publisher.committed(Sequence(8), &entry);
    let told = response.chunk().await.expect("open").expect("an event");
    let told = String::from_utf8(told.to_vec()).expect("text");
    assert!(told.contains("\"plan\":1,\"step\":1,"), "{told}");
}

#[tokio::test]
async fn readers_of_events_are_bounded_and_their_places_given_back() {
    let daemon = plain().await;
    let mut readers = Vec::new();
    loop {
        let response = daemon.get("/api/v1/events").await;
        if response.status() != StatusCode::OK {
            problem(response, StatusCode::SERVICE_UNAVAILABLE).await;
            break;
        }
        readers.push(response);
        assert!(readers.len() <= 32, "there is a bound");
    }
    drop(readers);
    // Their going away is noticed soon, not at once.
    for _ in 0..600 {
        if daemon.get("/api/v1/events").await.status() == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no place was given back");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_dropped_and_nobody_waits_for_it() {
    let daemon = plain().await;
    let mut response = daemon.get("/api/v1/events").await;
    // More than every queue and buffer on the way holds: the loop's end never waits all the same.
    let large = Fact::Resumed { by: "x".repeat(16 * 1024) };
    let large = Arc::new(Entry { at: views::at(0), boot: None, service: None, fact: large });
    for sequence in 1..=5000 {
        daemon.publisher.committed(Sequence(sequence), &large);
        if sequence % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.expect("a whole end") {
        bytes += chunk.len();
    }
    assert!(bytes < 5000 * 16 * 1024, "it did not get everything");
}

#[tokio::test]
async fn an_open_stream_does_not_hold_the_shutdown_up() {
    let limits = Limits { shutdown_grace: Duration::from_hours(1), ..impatient() };
    let daemon = daemon(&[], Core::Answers, limits).await;
    let mut response = daemon.get("/api/v1/events").await;
    assert!(response.chunk().await.expect("open").is_some());
    daemon.shutdown.cancel();
    // With an hour of grace this ends only because the stream does.
    daemon.server.await.expect("no panic");
    assert!(response.chunk().await.expect("a whole end").is_none());
    drop(client());
}

async fn with(arguments: &[&str]) -> (i32, String, String) {
    let mut command = backstop(arguments);
    told(&tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_for_the_same() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let socket = daemon.socket.to_str().expect("text");
    for (arguments, code, expected) in [
        (&["report", "billing", "complaint", "--detail", "no invoice"][..], 0, r#""detail":"no invoice""#),
        (&["report", "billing", "minor_ui", "--retract"], 0, r#""request":"retract_report""#),
        (&["pause", "billing", "--for", "1h", "--reason", "migration"], 0, r#""for_seconds":3600"#),
        (&["pause", "--reason", "migration"], 0, r#""service":null"#),
        (&["resume"], 0, r#""request":"resume","service":null"#),
        (&["resume", "billing"], 0, r#""service":"billing""#),
        (&["pin", "billing", "v1", "--reason", "one way"], 0, r#""request":"pin""#),
        (&["unpin", "billing", "v1"], 0, r#""request":"unpin""#),
        (&["abort", "solvereign-api-17"], 0, r#""request":"abort""#),
        (&["rollback", "billing", "--to", "v1"], 0, r#""to":"v1""#),
        (&["rollback", "billing", "--reason", "gate"], 3, "not_pinned says no"),
        (&["rollback", "billing", "--dry-run"], 3, "held by not_pinned"),
        (&["rollback", "billing", "--dry-run", "--override", "not_pinned", "--reason", "x"], 0, "It would begin."),
        (&["verify", "billing"], 0, r#""request":"verify""#),
        (&["verify", "none"], 1, "there is no service"),
    ] {
        let (was, stdout, stderr) = with(&[&["--socket", socket], arguments].concat()).await;
        assert_eq!(was, code, "{arguments:?}: {stdout}{stderr}");
        let speaks = if code == 0 { stdout } else { stderr };
        assert!(speaks.contains(expected), "{arguments:?}: {speaks}");
    }
    for arguments in [
        &["report", "billing", "boredom"][..],
        &["report", "billing", "complaint", "--retract", "--detail", "x"],
        &["pause", "billing"],
        &["pause", "billing", "--for", "soon", "--reason", "x"],
        &["rollback", "billing", "--override", "not_pinned"],
        &["rollback", "billing", "--override", "store", "--reason", "x"],
        &["rollback", "billing", "--json"],
        &["rollback", "billing", "--plan", "fast"],
        &["notify", "test"],
        &["completions", "teletype"],
    ] {
        let (code, _, stderr) = with(&[&["--socket", socket], arguments].concat()).await;
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_is_waited_for() {
    for (outcome, code) in [("verified", 0), ("persists", 1)] {
        let daemon = daemon(&[], Core::Answers, Limits::default()).await;
        let socket = daemon.socket.to_str().expect("text").to_owned();
        let waiting = tokio::spawn(async move { with(&["--socket", &socket, "verify", "billing", "--wait"]).await });
        // The one before it is over; nobody is told of that one.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut view = views::healthy();
        let ended = json!({"number": 2, "by": "root", "version": "2026-01-05", "began": views::at(0),
                           "ended": views::at(60), "outcome": outcome, "note": "seen"});
        view.verification = Some(serde_json::from_value::<VerificationView>(ended).expect("a view"));
        // However late the command is, it has seen the one before by then, or this one is the one before: both end.
        let mut number = 2;
        let result = loop {
            daemon.publisher.service(ServiceIndex(0), view.clone());
            if waiting.is_finished() {
                break waiting.await.expect("no panic");
            }
            tokio::time::sleep(Duration::from_millis(1500)).await;
            number += 1;
            view.verification.as_mut().expect("set above").number = number;
        };
        assert_eq!(result.0, code, "{result:?}");
        let speaks = if code == 0 { &result.1 } else { &result.2 };
        assert!(speaks.contains(&format!("{outcome} of 2026-01-05: seen")), "{result:?}");
    }
}

/// Waits beside a board whose view of `billing` is that verification, and tells how the command ended.
async fn joined(verification: Value, end: impl Fn(&Value) -> Value) -> (i32, String, String) {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let socket = daemon.socket.to_str().expect("text").to_owned();
    let view = |verification: &Value| {
        let mut view = views::healthy();
        view.verification = Some(serde_json::from_value(verification.clone()).expect("a view"));
        view
    };
    daemon.publisher.service(ServiceIndex(0), view(&verification));
    let waiting = tokio::spawn(async move { with(&["--socket", &socket, "verify", "billing", "--wait"]).await });
    daemon.asked_to_verify.notified().await;
    daemon.publisher.service(ServiceIndex(0), view(&end(&verification)));
    waiting.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_is_under_way_is_joined() {
    let under_way = json!({"number": 7, "by": "root", "version": "2026-01-05", "began": views::at(0)});
    let (code, stdout, stderr) = joined(under_way, |before| {
        let mut over = before.clone();
        over["ended"] = json!(views::at(60));
        over["outcome"] = json!("verified");
        over["note"] = json!("clear for 1m");
        over
    })
    .await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.ends_with("verified of 2026-01-05: clear for 1m\n"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_plan_under_way_is_waited_for() {
    for (outcome, code) in [(PlanOutcome::Verified, 0), (PlanOutcome::Persists, 1)] {
        let daemon = daemon(&[], Core::Answers, Limits::default()).await;
        let mut view = views::under_way();
        view.name = "billing".into();
        view.now.plan_under_way.as_mut().expect("it is under way").incident = "solvereign-api-16".into();
        daemon.publisher.service(ServiceIndex(0), view);
        let mut incident = views::resolved_incident();
        incident.plans[0].outcome = Some(outcome);
        daemon.publisher.incidents(vec![Arc::new(incident)]);
        let socket = daemon.socket.to_str().expect("text");
        let (was, stdout, stderr) = with(&["--socket", socket, "verify", "billing", "--wait"]).await;
        assert_eq!(was, code, "{stdout}{stderr}");
        assert!(stdout.starts_with("plan 1 of solvereign-api-16 is under way, v1.2.4 -> v1.2.3"), "{stdout}");
        let said = format!("{}: plan 1 of solvereign-api-16, v1.2.4 -> v1.2.3", outcome.as_str());
        assert!(format!("{stdout}{stderr}").contains(&said), "{stdout}{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_watched_until_nobody_reads() {
    let daemon = daemon(&[], Core::Answers, Limits::default()).await;
    let socket = daemon.socket.to_str().expect("text").to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let mut command = backstop(&["--socket", &socket, "status", "--watch"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut out = child.stdout.take().expect("piped");
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while seen.matches("SERVICE").count() < 2 {
            let read = out.read(&mut buffer).expect("it goes on");
            assert!(read > 0, "it ended: {seen}");
            seen += &String::from_utf8_lossy(&buffer[..read]);
        }
        assert!(!seen.contains('\u{1b}'), "nothing is redrawn where there is no terminal: {seen}");
        drop(out);
        child.wait_with_output().expect("it ends")
    });
    let (code, _, stderr) = told(&ended.await.expect("no panic"));
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_tried_without_a_daemon() {
    for (status, code, expected) in [
        (204, 0, "delivered by audit: a test page of severity S3 and type signal.restored, msg_test_"),
        (500, 1, "500"),
        (410, 1, "refused for good"),
    ] {
        let receiver = wiremock::MockServer::start().await;
        let answer = wiremock::ResponseTemplate::new(status);
        wiremock::Mock::given(wiremock::matchers::method("POST")).respond_with(answer).expect(1).mount(&receiver).await;
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path().display();
        let file = directory.path().join("backstop.yaml");
        let text = format!(
            "server: {{listen: '127.0.0.1:0', socket: {at}/b.sock}}\nstore: {{path: {at}/b.db}}\n\
             history: {{file: {at}/h.json}}\nevidence: {{directory: {at}/e}}\n\
             notify: {{channels: {{audit: {{webhook: {{url: {}, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}}}}}}}\n\
             services:\n- name: shop\n  target: {{releases: {{directory: {at}/r, current: {at}/c, restart: ['true']}}}}\n  \
             probes: {{ready: {{tcp: '127.0.0.1:1'}}}}\n",
            receiver.uri()
        );
        std::fs::write(&file, text).expect("written");
        let file = file.to_str().expect("text");
        let (was, stdout, stderr) = with(&["--config", file, "notify", "test", "audit"]).await;
        assert_eq!(was, code, "{stdout}{stderr}");
        assert!(format!("{stdout}{stderr}").contains(expected), "{stdout}{stderr}");
        let pages = receiver.received_requests().await.expect("recorded");
        let page: Value = serde_json::from_slice(&pages[0].body).expect("JSON");
        assert_eq!((&page["type"], &page["data"]["test"]), (&json!("signal.restored"), &json!(true)));
        assert!(page["data"]["summary"].as_str().is_some_and(|text| text.contains("nothing is wrong")), "{page}");
        let (was, _, stderr) = with(&["--config", file, "notify", "test", "pigeon"]).await;
        assert_eq!(was, 1);
        assert!(stderr.contains("it has audit"), "{stderr}");
    }
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = told(&backstop(&["completions", shell]).output().expect("it runs"));
        assert_eq!(code, 0);
        assert!(stdout.contains("rollback") && stdout.contains("not_pinned"), "{shell}");
    }
    let (code, stdout, _) = told(&backstop(&["man"]).output().expect("it runs"));
    assert_eq!(code, 0);
    assert!(stdout.starts_with(".ie") && stdout.contains("rollback"), "{stdout}");
    let directory = tempfile::tempdir().expect("a directory");
    let into = directory.path().join("man1");
    let into = into.to_str().expect("text");
    let (code, ..) = told(&backstop(&["man", into]).output().expect("it runs"));
    assert_eq!(code, 0);
    for page in ["backstop", "backstop-incident-approve", "backstop-rollback", "backstop-notify-test"] {
        let text = std::fs::read_to_string(format!("{into}/{page}.1")).expect("a page");
        assert!(text.contains(&page.replace('-', "\\-")), "{page}: {text}");
    }
    assert!(!std::path::Path::new(&format!("{into}/backstop-demo-shop.1")).exists(), "what is hidden stays so");
}

#[test]
fn a_place_where_no_manual_page_can_be_written_is_named_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    let taken = directory.path().join("taken");
    std::fs::create_dir_all(taken.join("backstop.1")).expect("a directory");
    let (below, file) = (file.join("man1").display().to_string(), file.display().to_string());
    let taken = taken.display().to_string();
    for (into, said) in [
        (file.as_str(), format!("make the directory {file}: something else than a directory is in its way")),
        (&below, format!("make the directory {below}: something else than a directory is in its way")),
        ("/proc/none/man1", "make the directory /proc/none/man1: a directory above it cannot be made".to_owned()),
        (&taken, format!("write {taken}/backstop.1: ")),
    ] {
        let (code, stdout, stderr) = told(&backstop(&["man", into]).output().expect("it runs"));
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.starts_with(&format!("backstop: failed to {said}")), "{stderr}");
        assert!(stderr.contains("hint: name a directory that you may write to"), "{stderr}");
    }
}

#[test]
fn plans_are_named_where_one_is_to_be_chosen() {
    let (code, stdout, _) = told(&backstop(&["rollback", "-h"]).output().expect("it runs"));
    let help = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code, 0);
    assert!(help.contains("full and stop_writes are not in this version yet"), "{stdout}");
    assert!(help.contains("[possible values: quick, full, stop_writes, restart_failing, gather]"), "{stdout}");
    let (code, _, stderr) = told(&backstop(&["rollback", "api", "--plan", "fast"]).output().expect("it runs"));
    assert_eq!(code, 2);
    assert!(stderr.contains("possible values: quick, full, stop_writes, restart_failing, gather"), "{stderr}");
}
