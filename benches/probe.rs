//! The cost of one plaintext HTTP probe on a fresh connection, beside a bare connect-write-read-close loop.
//!
//! What is measured is the CPU time of the thread that probes; the server runs on a thread of its own.

#![expect(missing_docs, reason = "criterion's macros write functions without")]

use std::{hint::black_box, net::SocketAddr, time::Duration};

use backstop::{
    config::form::{HttpCheck, TlsOptions},
    core::sample::Outcome,
    probe::{http::HttpProbe, net::Network},
};
use criterion::{Criterion, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// CPU time that this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
}

fn serve() -> SocketAddr {
    let (bound, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            bound.send(listener.local_addr().expect("bound")).expect("waited for");
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream.write_all(ANSWER).await;
                });
            }
        });
    });
    address.recv().expect("a server")
}

async fn bare(address: SocketAddr, request: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("accepted");
    stream.write_all(request).await.expect("sent");
    let mut answer = [0; 1024];
    let mut length = 0;
    while !answer[..length].ends_with(b"ok") {
        let read = stream.read(&mut answer[length..]).await.expect("answered");
        assert!(read > 0, "closed early");
        length += read;
    }
    black_box(answer[..length].starts_with(b"HTTP/1.1 200"));
}

fn probes(criterion: &mut Criterion) {
    let address = serve();
    let runtime = runtime();
    let mut group = criterion.benchmark_group("probe");
    group.measurement_time(Duration::from_secs(5));

    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: */*\r\n\r\n");
    group.bench_function("bare_loop", |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let begin = cpu_time();
                for _ in 0..count {
                    bare(address, request.as_bytes()).await;
                }
                cpu_time().checked_sub(begin).expect("time goes on")
            })
        });
    });

    let check = HttpCheck {
        url: format!("http://{address}/health"),
        method: "GET".into(),
        headers: Vec::new(),
        status: Vec::new(),
        body_contains: None,
        redirects: 0,
        tls: TlsOptions::default(),
    };
    let probe = HttpProbe::new(&check, &Network::new()).expect("a valid check");
    group.bench_function("http_probe", |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let begin = cpu_time();
                for _ in 0..count {
                    assert_eq!(probe.sample(Duration::from_secs(1)).await, Outcome::Passed);
                }
                cpu_time().checked_sub(begin).expect("time goes on")
            })
        });
    });
    group.finish();
}

criterion_group!(benches, probes);
criterion_main!(benches);
