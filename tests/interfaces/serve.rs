//! The API over real connections: loopback and the Unix socket, with a core that answers from a table.

use std::{sync::atomic::Ordering, time::Duration};

use backstop::{
    config::form::{Role, Server as Settings},
    core::{
        durable::Durable,
        entry::{Entry, Fact, PlanOutcome},
        event::Sequence,
        gate::Gate,
        name::{ServiceIndex, SignalIndex},
        page::DeliveryOutcome,
        policy::{Finding, Severity},
        sample::{Measurement, Outcome, Reason},
        time::BootTime,
        verdict::{PlanKind, VerdictKind},
        view::{DaemonView, IncidentView, ServiceView},
    },
    serve::{
        BODY_LIMIT_BYTES, GATE_PROBLEM, LOOP_TURN_LIMIT, Limits, Listeners, REQUEST_QUEUE_LIMIT, ServeError,
        answers::{Deploys, Explanation, Incidents, Services},
        metrics::Metrics,
    },
};
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    by_hand,
    daemon::{self, Core, Daemon, daemon, token},
    views,
};

pub(crate) fn client() -> reqwest::ClientBuilder {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let tls =
        rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    Client::builder().tls_backend_preconfigured(tls).no_proxy()
}

impl Daemon {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        client().build().expect("a client").get(self.url(path)).send().await.expect("an answer")
    }

    pub(crate) async fn send(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Response {
        let mut request = client().build().expect("a client").request(method, self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an answer")
    }

    pub(crate) async fn by_socket(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let client = client().unix_socket(self.socket.as_path()).build().expect("a client");
        let mut request = client.request(method, format!("http://backstop{path}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an answer")
    }
}

pub(crate) async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = response.json().await.expect("JSON");
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    problem
}

pub(crate) async fn plain() -> Daemon {
    daemon(&[], Core::Answers, Limits::default()).await
}

#[tokio::test]
async fn views_come_back_as_they_were_published() {
    let daemon = plain().await;
    let services: Services = daemon.get("/api/v1/services").await.json().await.expect("services");
    let names: Vec<_> = services.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["billing", "solvereign-api"]);
    assert_eq!(services.daemon, views::daemon());
    assert_eq!(services.services[1].held_by, [Gate::FaultAfterDeploy, Gate::Cooldown]);
    assert_eq!(services.services[1].rollback_possible, backstop::core::answer::Answer::No);

    let service: ServiceView = daemon.get("/api/v1/services/solvereign-api").await.json().await.expect("a service");
    assert_eq!(service, views::rolling_back());
    let explanation: Explanation =
        daemon.get("/api/v1/services/solvereign-api/explain").await.json().await.expect("an explanation");
    assert_eq!(explanation, Explanation::from(&views::rolling_back()));
    let deploys: Deploys = daemon.get("/api/v1/services/solvereign-api/deploys").await.json().await.expect("deploys");
    assert_eq!(deploys.deploys, views::deploys());
    let incident: IncidentView = daemon.get("/api/v1/incidents/solvereign-api-16").await.json().await.expect("one");
    assert_eq!(incident, views::resolved_incident());
}

#[tokio::test]
async fn incidents_are_filtered() {
    let daemon = plain().await;
    for (query, expected) in [
        ("", &["solvereign-api-17", "solvereign-api-16"][..]),
        ("?open=true", &["solvereign-api-17"]),
        ("?open=false", &["solvereign-api-16"]),
        ("?service=billing", &[]),
        ("?service=solvereign-api&open=false", &["solvereign-api-16"]),
    ] {
        let answer: Incidents = daemon.get(&format!("/api/v1/incidents{query}")).await.json().await.expect("incidents");
        let ids: Vec<_> = answer.incidents.iter().map(|incident| incident.id.as_str()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    problem(daemon.get("/api/v1/incidents?service=biling").await, StatusCode::NOT_FOUND).await;
    for query in ["?open=maybe", "?opne=true"] {
        problem(daemon.get(&format!("/api/v1/incidents{query}")).await, StatusCode::BAD_REQUEST).await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_as_a_problem() {
    let daemon = plain().await;
    for path in [
        "/",
        "/api/v1",
        "/api/v1/servces",
        "/api/v1/services/none",
        "/api/v1/services/none/explain",
        "/api/v1/services/none/deploys",
        "/api/v1/incidents/none-1",
        "/api/v2/services",
    ] {
        problem(daemon.get(path).await, StatusCode::NOT_FOUND).await;
    }
    problem(daemon.get("/api/v1/services/%ff").await, StatusCode::BAD_REQUEST).await;
    for (method, path, allow) in [
        (Method::DELETE, "/api/v1/services", "GET,HEAD"),
        (Method::GET, "/api/v1/incidents/solvereign-api-17/approve", "POST"),
        (Method::PUT, "/healthz", "GET,HEAD"),
    ] {
        let response = daemon.send(method, path, None, None).await;
        assert_eq!(response.headers()[header::ALLOW], allow, "{path}");
        problem(response, StatusCode::METHOD_NOT_ALLOWED).await;
    }
}

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

#[tokio::test]
async fn a_full_queue_says_come_again() {
    let limits = Limits {
        reply_deadline: Duration::from_millis(300),
        socket_connections: REQUEST_QUEUE_LIMIT,
        ..Limits::default()
    };
    let daemon = daemon(&[], Core::Stuck, limits).await;
    let http = client().unix_socket(daemon.socket.as_path()).build().expect("a client");
    let mut asked = tokio::task::JoinSet::new();
    let approve = "http://backstop/api/v1/incidents/solvereign-api-17/approve";
    for _ in 0..REQUEST_QUEUE_LIMIT {
        let request = http.post(approve);
        asked.spawn(async move { request.send().await.expect("an answer").status() });
    }
    // Nobody takes them: each is told so after the deadline, none hangs for ever.
    for status in asked.join_all().await {
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    }
    // Idle connections would take the places of new ones.
    drop(http);
    // They still stand in the queue, and further ones are turned away at once.
    let response = daemon.by_socket(Method::POST, "/api/v1/incidents/solvereign-api-17/approve", None).await;
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    problem(response, StatusCode::SERVICE_UNAVAILABLE).await;
}

pub(crate) fn impatient() -> Limits {
    let short = Duration::from_millis(200);
    Limits { header_deadline: short, request_deadline: short, shutdown_grace: short, ..Limits::default() }
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let daemon = daemon(&[], Core::Answers, impatient()).await;
    // One that never finishes its head, and one that never says anything.
    for head in ["GET /api/v1/services HTTP/1.1\r\nx-slow: ", ""] {
        let mut stream = TcpStream::connect(daemon.address).await.expect("connected");
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the server closes");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{head}");
    }
    // One that never finishes its body.
    let mut stream = tokio::net::UnixStream::connect(&daemon.socket).await.expect("connected");
    let head = "POST /api/v1/services/billing/deploys HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the server answers and closes");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // And the others are served all the while.
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_connection_has_a_bounded_life() {
    let short = Duration::from_millis(200);
    let daemon = daemon(&[], Core::Answers, Limits { connection_lifetime: short, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(daemon.address).await.expect("connected");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    // Kept alive after the answer, and closed by the server long before the deadline for a head.
    stream.read_to_string(&mut answer).await.expect("the server closes");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_handlers_panic_is_one_requests_alone() {
    let daemon = plain().await;
    daemon.clock.store(u64::MAX, Ordering::SeqCst);
    let told = problem(daemon.get("/healthz").await, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert!(!told.to_string().contains("clock"), "what a panic says is not for the one who asked: {told}");
    assert_eq!(daemon.get("/api/v1/services").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let daemon = plain().await;
    let request = client().build().expect("a client").get(daemon.url("/healthz")).header("x-large", "a".repeat(60_000));
    match request.send().await {
        Ok(response) => assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(error.is_request(), "{error:?}"),
    }
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_flood_over_tcp_leaves_the_socket_open() {
    let daemon = daemon(&[], Core::Answers, Limits { connections: 2, ..Limits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(TcpStream::connect(daemon.address).await.expect("the kernel's queue has room"));
    }
    let response = daemon.by_socket(Method::GET, "/api/v1/services", None).await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(held);
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_idle_give_way_and_who_is_answered_does_not() {
    let daemon = daemon(&[], Core::Answers, Limits { connections: 2, ..Limits::default() }).await;
    let mut stream = daemon.get("/api/v1/events").await;
    assert!(stream.chunk().await.expect("open").is_some());
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(TcpStream::connect(daemon.address).await.expect("the kernel's queue has room"));
    }
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    // All five came before, and one at most is idle beside the stream.
    for mut idle in held {
        assert!(matches!(idle.read(&mut [0; 1]).await, Ok(0) | Err(_)), "it gave way without a word");
    }
    daemon.publisher.committed(Sequence(7), &by_hand::entry());
    assert!(stream.chunk().await.expect("open").is_some(), "the stream goes on");
}

#[tokio::test]
async fn health_and_readiness_say_what_is_wrong() {
    let daemon = plain().await;
    assert_eq!(daemon.get("/readyz").await.status(), StatusCode::OK);
    daemon.publisher.daemon(DaemonView { store_failing: Some("disk full".to_owned()), ..views::daemon() });
    let told = problem(daemon.get("/readyz").await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(told["detail"], "the journal cannot be written: disk full");

    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    let later = daemon.clock.load(Ordering::SeqCst) + u64::try_from(LOOP_TURN_LIMIT.as_nanos()).expect("fits") + 1;
    daemon.clock.store(later, Ordering::SeqCst);
    problem(daemon.get("/healthz").await, StatusCode::SERVICE_UNAVAILABLE).await;
    daemon.publisher.turned(BootTime::from_nanos(later));
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
}

#[test]
fn readiness_waits_for_the_journal_and_for_every_service() {
    let policy = daemon::policy(&["billing", "solvereign-api"]);
    let (publisher, board) = backstop::serve::board(&policy, std::sync::Arc::new(BootTime::default));
    assert_eq!(board.ready(), Err("the journal is still being read".to_owned()));
    publisher.started();
    publisher.service(ServiceIndex(0), views::healthy());
    assert_eq!(board.ready(), Err("service solvereign-api has not been evaluated yet".to_owned()));
    publisher.service(ServiceIndex(1), views::rolling_back());
    assert_eq!(board.ready(), Ok(()));
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_removes_the_socket() {
    let daemon = daemon(&[], Core::Answers, impatient()).await;
    let mut idle = TcpStream::connect(daemon.address).await.expect("connected");
    assert_eq!(daemon.get("/healthz").await.status(), StatusCode::OK);
    daemon.shutdown.cancel();
    daemon.server.await.expect("no panic");
    let mut rest = Vec::new();
    let _closed_or_reset = idle.read_to_end(&mut rest).await;
    assert!(!daemon.socket.exists());
    assert!(TcpStream::connect(daemon.address).await.is_err());
}

#[tokio::test]
async fn the_socket_is_private_and_a_dead_daemons_one_is_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        socket: directory.path().join("backstop.sock"),
        external_url: String::new(),
        tokens: Vec::new(),
    };
    let first = Listeners::open(&settings).await.expect("opened");
    let mode = std::fs::metadata(&settings.socket).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 1, "nothing else is left");
    let error = Listeners::open(&settings).await.expect_err("in use");
    assert!(matches!(error, ServeError::SocketInUse { .. }), "{error}");
    // As after kill -9: the file is there, and nobody listens.
    drop(first);
    assert!(settings.socket.exists());
    drop(Listeners::open(&settings).await.expect("replaced"));

    std::fs::remove_file(&settings.socket).expect("removed");
    std::fs::write(&settings.socket, "precious").expect("written");
    let error = Listeners::open(&settings).await.expect_err("a file");
    assert!(matches!(error, ServeError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&settings.socket).expect("still there"), "precious");
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings {
        listen: taken.local_addr().expect("bound"),
        socket: directory.path().join("backstop.sock"),
        external_url: String::new(),
        tokens: Vec::new(),
    };
    let error = Listeners::open(&settings).await.expect_err("taken").to_string();
    assert!(error.starts_with("listen on 127.0.0.1:") && error.contains("in use"), "{error}");
}

fn counted(metrics: &Metrics) -> Vec<String> {
    let mut lines: Vec<String> = metrics
        .render()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains("_bucket{"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn metrics_count_what_happened() {
    let metrics = Metrics::new(&daemon::policy(&["solvereign-api"])).expect("metrics");
    let (service, signal) = (ServiceIndex(0), SignalIndex(0));
    metrics.sample(service, signal, &Measurement::Check(Outcome::Passed), false);
    metrics.sample(service, signal, &Measurement::Check(Outcome::Failed(Reason::new("503"))), false);
    metrics.sample(service, signal, &Measurement::RequestsMissed(Reason::new("away")), false);
    metrics.sample(service, signal, &Measurement::Check(Outcome::Failed(Reason::new("503"))), true);
    metrics.lag(Duration::from_millis(3));
    metrics.evaluation_duration(Duration::from_micros(2));
    metrics.service(service, &views::rolling_back(), None);
    metrics.delivery(&"audit".into(), &DeliveryOutcome::Delivered);
    metrics.daemon(&views::daemon());
    metrics.heartbeat_succeeded(views::at(0));
    metrics.config_reload(true);
    let entry =
        |seconds, fact| Entry { at: views::at(seconds), boot: None, service: Some("solvereign-api".into()), fact };
    let incident = backstop::core::name::IncidentId::from("solvereign-api-17");
    let opened = entry(
        0,
        Fact::IncidentOpened {
            incident: incident.clone(),
            verdict: VerdictKind::RollBack,
            path: views::path(),
            deploy: Some(3),
            onset: None,
            by: None,
        },
    );
    metrics.entry_appended(&opened);
    metrics.entry_appended(&entry(
        1,
        Fact::Found {
            incident: Some(incident.clone()),
            finding: Finding::RollbackRefused,
            severity: Severity::S1,
            detail: String::new(),
            gate: Some(Gate::Cooldown),
        },
    ));
    // The plan began in an earlier process.
    let begun = Fact::PlanStarted {
        incident: incident.clone(),
        number: 1,
        plan: PlanKind::Quick,
        from: "v2".into(),
        to: "v1".into(),
        deploy: 3,
        steps: Vec::new(),
        approved_by: None,
        by_hand: None,
    };
    let mut durable = Durable::default();
    for (sequence, entry) in [(Sequence(1), opened), (Sequence(2), entry(10, begun))] {
        durable.apply(sequence, &entry).expect("it folds");
    }
    metrics.recovered(&durable);
    metrics.entry_appended(&entry(
        100,
        Fact::PlanEnded { incident, plan: 1, outcome: PlanOutcome::Verified, detail: String::new() },
    ));
    metrics.upkeep();
    insta::assert_snapshot!(counted(&metrics).join("\n"));
    let text = metrics.render();
    assert!(text.contains("backstop_rollback_duration_seconds_bucket{le=\"120\"} 1"), "{text}");
    assert!(text.contains("# HELP backstop_condition A condition's answer"), "{text}");
}

#[tokio::test]
async fn metrics_are_served_as_text() {
    let daemon = plain().await;
    let response = daemon.get("/metrics").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.expect("text");
    assert!(text.contains("backstop_build_info{version="), "{text}");
}
