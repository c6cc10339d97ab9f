//! Clients that are slow, many or broken.

use std::{sync::atomic::Ordering, time::Duration};

use backstop::{
    core::event::Sequence,
    serve::{Limits, REQUEST_QUEUE_LIMIT},
};
use reqwest::{Method, StatusCode, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{client, impatient, plain, problem};
use crate::{
    by_hand,
    daemon::{Core, daemon},
};

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
