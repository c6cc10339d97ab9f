//! The shop: a small HTTP service, as real as it has to be. It runs as a process of its own (`backstop demo-shop`), reads
//! its release from the directory that the link leads to, and ends when its standard input closes: nothing outlives the
//! demonstration, however that ends.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ::metrics::{Label, counter, histogram};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::net::TcpListener;

use super::release::Release;
use crate::{cli::Fault, runtime::clock::Clock};

/// Said on standard output once orders are taken.
pub(super) const LISTENING: &str = "listening";
/// Said when the fault begins.
pub(super) const FAULT: &str = "fault";

/// A release that goes down serves well for so long first: it passes its rollout, as the worst ones do.
const WELL_BEFORE_DOWN: Duration = Duration::from_secs(4);
/// Whoever had the port before may hold it for a moment.
const BIND_TRIES: u32 = 50;
const BIND_DELAY: Duration = Duration::from_millis(100);
/// The exporter merges what its histograms saw so often.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// The limit of a slow answer in the demonstration's configuration is one of these.
const DURATION_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

const REQUESTS: &str = "http_requests_total";
const DURATION: &str = "http_request_duration_seconds";

struct Shop {
    release: Release,
    orders: AtomicU64,
    down: AtomicBool,
    metrics: PrometheusHandle,
    clock: Clock,
}

/// Serves until standard input closes.
pub(crate) fn main(current: &Path, port: u16) -> ExitCode {
    std::thread::spawn(|| {
        // Whatever comes is the end: the one that started us says nothing.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(current, port))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed to open the shop: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells the demonstration something; if it is gone, standard input says so too.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _gone = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

async fn serve(current: &Path, port: u16) -> io::Result<()> {
    let release = Release::read(current)?;
    let recorder = PrometheusBuilder::new().set_buckets(DURATION_BUCKETS).map_err(io::Error::other)?.build_recorder();
    let metrics = recorder.handle();
    ::metrics::set_global_recorder(recorder).map_err(|error| io::Error::other(error.to_string()))?;
    // There from the first look on: a counter that appears late is a counter that was at 0.
    counter!(REQUESTS, labels("200")).increment(0);
    let fault = release.fault;
    let (orders, down) = (AtomicU64::new(0), AtomicBool::new(false));
    let shop = Arc::new(Shop { release, orders, down, metrics, clock: Clock::new() });
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    say(LISTENING);
    match fault {
        None => {}
        Some(Fault::Down) => {
            tokio::spawn(go_down(Arc::clone(&shop)));
        }
        Some(Fault::Errors | Fault::Slow | Fault::Flaky) => say(FAULT),
    }
    tokio::spawn(keep_up(Arc::clone(&shop)));
    let routes = Router::new()
        .route("/order", get(order))
        .route("/health", get(health))
        .route("/health/ready", get(ready))
        .route("/metrics", get(exposition))
        .layer(middleware::from_fn_with_state(Arc::clone(&shop), unless_down))
        .with_state(shop);
    axum::serve(listener, routes).await
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    for _ in 1..BIND_TRIES {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(BIND_DELAY).await,
            other => return other,
        }
    }
    TcpListener::bind(address).await
}

async fn go_down(shop: Arc<Shop>) {
    tokio::time::sleep(WELL_BEFORE_DOWN).await;
    shop.down.store(true, Ordering::Relaxed);
    say(FAULT);
}

async fn keep_up(shop: Arc<Shop>) {
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        shop.metrics.run_upkeep();
    }
}

/// A shop that is down answers nothing but 503, whatever it is asked.
async fn unless_down(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    if shop.down.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

async fn order(State(shop): State<Arc<Shop>>) -> (StatusCode, String) {
    let began = shop.clock.boot();
    let number = shop.orders.fetch_add(1, Ordering::Relaxed);
    let order = shop.release.order(number);
    tokio::time::sleep(Duration::from_millis(order.millis)).await;
    let status = if order.fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    counter!(REQUESTS, labels(status.as_str())).increment(1);
    histogram!(DURATION).record(shop.clock.boot().since(began));
    (status, format!("order {number}\n"))
}

fn labels(code: &str) -> Vec<Label> {
    vec![Label::new("code", code.to_owned())]
}

async fn ready() -> Json<serde_json::Value> {
    Json(json!({"status": "ready"}))
}

async fn health(State(shop): State<Arc<Shop>>) -> Json<serde_json::Value> {
    Json(json!({"status": "ok", "version": shop.release.version}))
}

async fn exposition(State(shop): State<Arc<Shop>>) -> String {
    shop.metrics.render()
}
