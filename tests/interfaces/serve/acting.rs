//! Who may act, and how what they send is refused.

use backstop::{
    config::form::Role,
    serve::{BODY_LIMIT_BYTES, GATE_PROBLEM, Limits},
};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{client, plain, problem};
use crate::daemon::{Core, daemon, token};

#[tokio::test]
async fn over_the_socket_its_user_acts() {
    let daemon = plain().await;
    let user = std::process::Command::new("id").arg("-un").output().expect("id").stdout;
    let user = String::from_utf8(user).expect("text");
    let user = user.trim();
    for (path, body, asked) in [
        (
            "/api/v1/incidents/solvereign-api-17/approve",
            json!({"approval": 1}),
            json!({"request": "approve", "incident": "solvereign-api-17", "approval": 1}),
        ),
        (
            "/api/v1/incidents/solvereign-api-17/deny",
            json!({"reason": "known, harmless"}),
            json!({"request": "deny", "incident": "solvereign-api-17", "approval": null, "reason": "known, harmless"}),
        ),
        (
            "/api/v1/services/solvereign-api/deploys",
            json!({"version": "v1.2.5"}),
            json!({"request": "report_deploy", "service": "solvereign-api", "version": "v1.2.5"}),
        ),
        (
            "/api/v1/services/solvereign-api/deploys/registry%2Fapi%3A1.2/mark",
            json!({"mark": "good"}),
            json!({"request": "mark_release", "service": "solvereign-api", "version": "registry/api:1.2", "mark": "good"}),
        ),
    ] {
        let response = daemon.by_socket(Method::POST, path, Some(body)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let done: Value = response.json().await.expect("JSON");
        let (by, request) = done["message"].as_str().and_then(|text| text.split_once(" asked: ")).expect("a message");
        assert_eq!(by, user);
        assert_eq!(serde_json::from_str::<Value>(request).expect("JSON"), asked);
    }
    // Approving needs no body at all.
    let response = daemon.by_socket(Method::POST, "/api/v1/incidents/solvereign-api-17/approve", None).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn refusals_have_their_statuses() {
    let daemon = plain().await;
    let post = async |id: &str, verb: &str, body: Value| {
        daemon.by_socket(Method::POST, &format!("/api/v1/incidents/{id}/{verb}"), Some(body)).await
    };
    let conflict =
        problem(post("solvereign-api-17", "approve", json!({"approval": 9})).await, StatusCode::CONFLICT).await;
    assert_eq!(conflict["type"], "about:blank");
    let gate = problem(post("solvereign-api-17", "deny", json!({"reason": "gate"})).await, StatusCode::CONFLICT).await;
    assert_eq!(gate["type"], GATE_PROBLEM);
    assert_eq!(gate["detail"], "cooldown: the last rollback was 2m ago, 10m are needed");
    problem(post("solvereign-api-404", "approve", json!({})).await, StatusCode::NOT_FOUND).await;
    problem(post("nobody-1", "approve", json!({})).await, StatusCode::NOT_FOUND).await;
    let busy = post("solvereign-api-17", "deny", json!({"reason": "busy"})).await;
    assert!(busy.headers().contains_key(header::RETRY_AFTER));
    problem(busy, StatusCode::SERVICE_UNAVAILABLE).await;
}

#[tokio::test]
async fn without_tokens_tcp_only_reads() {
    let daemon = plain().await;
    for (path, body) in [
        ("/api/v1/incidents/solvereign-api-17/approve", json!({})),
        ("/api/v1/incidents/solvereign-api-17/deny", json!({})),
        ("/api/v1/services/billing/deploys", json!({"version": "v2"})),
        ("/api/v1/services/billing/deploys/v2/mark", json!({"mark": "bad"})),
    ] {
        let told = problem(daemon.send(Method::POST, path, None, Some(body)).await, StatusCode::FORBIDDEN).await;
        assert!(told["detail"].as_str().expect("text").contains("socket"), "{told}");
    }
}

#[tokio::test]
async fn each_role_may_do_its_part() {
    let tokens = [
        token("dash", Role::Viewer, "view-token"),
        token("ci", Role::Reporter, "ci-token"),
        token("oncall", Role::Operator, "oncall-token"),
    ];
    let daemon = daemon(&tokens, Core::Answers, Limits::default()).await;
    let approve = "/api/v1/incidents/solvereign-api-17/approve";
    let report = "/api/v1/services/billing/deploys";
    let mark = "/api/v1/services/billing/deploys/v2/mark";
    for (token, read, reported, marked, approved) in
        [("view-token", 200, 403, 403, 403), ("ci-token", 200, 200, 403, 403), ("oncall-token", 200, 200, 200, 200)]
    {
        let status = async |method, path, body| daemon.send(method, path, Some(token), body).await.status().as_u16();
        assert_eq!(status(Method::GET, "/api/v1/services", None).await, read, "{token}");
        assert_eq!(status(Method::POST, report, Some(json!({"version": "v2"}))).await, reported, "{token}");
        assert_eq!(status(Method::POST, mark, Some(json!({"mark": "bad"}))).await, marked, "{token}");
        assert_eq!(status(Method::POST, approve, None).await, approved, "{token}");
    }
    let done = daemon.send(Method::POST, approve, Some("oncall-token"), None).await.text().await.expect("text");
    assert!(done.contains("oncall asked"), "{done}");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(daemon.get(path).await.status(), StatusCode::OK, "{path} is open to everyone");
    }
}

#[tokio::test]
async fn no_token_and_wrong_tokens_are_turned_away() {
    let daemon = daemon(&[token("oncall", Role::Operator, "right")], Core::Answers, Limits::default()).await;
    for presented in [None, Some("wrong"), Some("righ"), Some("right2"), Some("")] {
        let response = daemon.send(Method::GET, "/api/v1/services", presented, None).await;
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"backstop\"", "{presented:?}");
        problem(response, StatusCode::UNAUTHORIZED).await;
    }
}

#[tokio::test]
async fn a_flood_of_wrong_tokens_does_not_shut_the_right_one_out() {
    let daemon = daemon(&[token("oncall", Role::Operator, "right")], Core::Answers, Limits::default()).await;
    let http = client().build().expect("a client");
    let mut wrong = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let request = http.get(daemon.url("/api/v1/services")).bearer_auth("wrong");
        wrong.spawn(async move { request.send().await.expect("an answer").status() });
    }
    let right = daemon.send(Method::GET, "/api/v1/services", Some("right"), None).await;
    assert_eq!(right.status(), StatusCode::OK);
    let statuses = wrong.join_all().await;
    assert!(statuses.iter().all(|status| [401, 429].contains(&status.as_u16())), "{statuses:?}");
}

#[tokio::test]
async fn bad_bodies_are_refused_with_a_reason() {
    let daemon = plain().await;
    let http = client().unix_socket(daemon.socket.as_path()).build().expect("a client");
    let url = "http://backstop/api/v1/services/billing/deploys";
    let long = format!("{{\"version\": \"{}\"}}", "v".repeat(600));
    for (body, media_type, status) in [
        ("{\"version\": ", "application/json", StatusCode::BAD_REQUEST),
        ("version=v2", "application/json", StatusCode::BAD_REQUEST),
        ("{\"version\": 7}", "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        ("{}", "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        ("", "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        ("{\"version\": \"v2\", \"verison\": 1}", "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        ("{\"version\": \"\"}", "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        (&long, "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        ("{\"version\": \"v2\"}", "text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("{\"version\": \"v2\"}", "application/json; charset=utf-8", StatusCode::OK),
    ] {
        let request = http.post(url).header(header::CONTENT_TYPE, media_type).body(body.to_owned());
        let response = request.send().await.expect("an answer");
        if status == StatusCode::OK {
            assert_eq!(response.status(), status, "{body}");
        } else {
            problem(response, status).await;
        }
    }
}

#[tokio::test]
async fn large_bodies_are_refused_announced_or_not() {
    let daemon = plain().await;
    let http = client().unix_socket(daemon.socket.as_path()).build().expect("a client");
    let url = "http://backstop/api/v1/services/billing/deploys";
    let large = vec![b' '; BODY_LIMIT_BYTES + 1];
    let announced = http.post(url).header(header::CONTENT_TYPE, "application/json").body(large.clone());
    problem(announced.send().await.expect("an answer"), StatusCode::PAYLOAD_TOO_LARGE).await;

    let mut stream = tokio::net::UnixStream::connect(&daemon.socket).await.expect("connected");
    let head = "POST /api/v1/services/billing/deploys HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(format!("{:x}\r\n", large.len()).as_bytes()).await.expect("written");
    // The server may answer and close before all of it is through.
    let _cut_short = stream.write_all(&large).await;
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 413");
}
