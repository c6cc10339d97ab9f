use std::sync::atomic::{AtomicU32, Ordering};

use axum::routing::get;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};

use super::*;

/// Far more than the buffers of the kernel, so that most of it waits in the daemon for its reader.
const LARGE_BYTES: usize = 8 << 20;

fn serving(router: Router) -> Arc<Serving> {
    let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
    Arc::new(Serving { router, limits: Limits::default(), shutdown, tracker })
}

/// A time by which everything now idle has been so for long.
fn later() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_mins(1)
}

async fn ask(address: std::net::SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a size");
    let mut stream = socket.connect(address).await.expect("connected");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.expect("written");
    stream
}

#[tokio::test]
async fn who_reads_a_large_answer_slowly_gets_it_whole_though_another_waits_for_the_place() {
    let large = get(async || "x".repeat(LARGE_BYTES));
    let serving = serving(Router::new().route("/large", large).route("/small", get(async || "small")));
    let door = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = door.local_addr().expect("bound");
    let accepting = tokio::spawn(Arc::clone(&serving).accept(1, door));
    let mut slow = ask(address, "/large").await;
    let mut part = vec![0; LARGE_BYTES / 64];
    let mut read = slow.read(&mut part).await.expect("the answer begins");
    let mut waits = ask(address, "/small").await;
    while read < LARGE_BYTES {
        // A slow link: more than half a second for the whole of it, several times what an idle one is given.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let more = slow.read_exact(&mut part).await;
        assert!(more.is_ok(), "cut off after {read} of {LARGE_BYTES} bytes: {more:?}");
        read += part.len();
        part.truncate(LARGE_BYTES.saturating_sub(read));
    }
    // With all of it read the connection is idle, and gives way.
    let mut answer = vec![0; 12];
    waits.read_exact(&mut answer).await.expect("answered");
    assert_eq!(answer, b"HTTP/1.1 200");
    serving.shutdown.cancel();
    accepting.await.expect("no panic");
}

#[tokio::test]
async fn what_is_asked_in_the_moment_of_giving_way_is_answered() {
    // Which of two that are ready is looked at first may be left to chance: several times.
    for round in 0..16 {
        let carried_out = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&carried_out);
        let slow = async move || {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            "done"
        };
        let serving = serving(Router::new().route("/", get(slow)));
        let idle = IdleConnections::default();
        let (mut client, stream) = tokio::io::duplex(1 << 16);
        let connection = idle.add();
        let served = tokio::spawn({
            let serving = Arc::clone(&serving);
            async move { serving.serve(stream, Peer::Network(None), connection).await }
        });
        tokio::task::yield_now().await;
        // Nothing is waited for in between: the server sees both at once.
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("there is room");
        assert_eq!(idle.end_longest_idle(later()), None, "it gives way");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        served.await.expect("no panic");
        assert_eq!(carried_out.load(Ordering::Relaxed), 1, "round {round}");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "round {round}: {answer:?}");
    }
}

#[tokio::test]
async fn who_says_nothing_gives_way_at_once() {
    let serving = serving(Router::new());
    let idle = IdleConnections::default();
    // Half a request is none.
    for begun in ["", "GET / HT"] {
        let (mut client, stream) = tokio::io::duplex(1 << 16);
        let connection = idle.add();
        client.write_all(begun.as_bytes()).await.expect("there is room");
        let served = tokio::spawn({
            let serving = Arc::clone(&serving);
            async move { serving.serve(stream, Peer::Network(None), connection).await }
        });
        tokio::task::yield_now().await;
        idle.end_longest_idle(later());
        // Half of what a head may take, and far below any other deadline.
        let ended = tokio::time::timeout(serving.limits.header_deadline / 2, served).await;
        ended.expect("it did not wait for more").expect("no panic");
    }
}

#[tokio::test]
async fn who_never_reads_an_answer_is_given_up() {
    let mut serving = serving(Router::new().route("/large", get(async || "x".repeat(LARGE_BYTES))));
    let limits = &mut Arc::get_mut(&mut serving).expect("nobody else has it yet").limits;
    limits.write_deadline = Duration::from_millis(100);
    let (mut client, stream) = tokio::io::duplex(1 << 16);
    let idle = IdleConnections::default();
    let connection = idle.add();
    client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("there is room");
    // Far below what any other limit would end it after.
    let patience = Limits::default().header_deadline / 2;
    let served = serving.serve(stream, Peer::Network(None), connection);
    tokio::time::timeout(patience, served).await.expect("it was given up");
}
