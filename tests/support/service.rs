//! A small service for the daemon's tests: it does what the release says that its link leads to, faults included.
//!
//! `backstop-test-service PORT LINK` listens on loopback. The release is a directory with a `release.json`; a file
//! `broken` beside it makes the running service answer 503 on `/health/ready` from that moment on.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;

/// Nothing of the tests takes so long: a service that was forgotten ends by itself.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// How often it is looked whether the release's directory is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Upper bounds of the latency histogram, in milliseconds.
const BUCKETS_MILLIS: [u64; 6] = [5, 25, 100, 250, 500, 1000];

/// What a release does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    version: String,
    /// It takes so long to start: nothing listens meanwhile.
    #[serde(default)]
    starts_after_millis: u64,
    /// What `/health/ready` does.
    #[serde(default)]
    ready: Ready,
    /// So many of a thousand requests end in an error.
    #[serde(default)]
    errors_per_mille: u64,
    /// Each request takes so long.
    #[serde(default)]
    latency_millis: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ready {
    #[default]
    Passes,
    Unavailable,
    Hangs,
}

struct Service {
    release: Release,
    directory: PathBuf,
    requests: AtomicU64,
    errors: AtomicU64,
    buckets: [AtomicU64; BUCKETS_MILLIS.len()],
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).expect("the first argument is a port");
    let link = arguments.next().expect("the second argument is a link");
    let directory = std::fs::canonicalize(link).expect("the link leads to a release");
    let text = std::fs::read_to_string(directory.join("release.json")).expect("a release says what it is");
    let release: Release = serde_json::from_str(&text).expect("a release that is understood");
    std::thread::sleep(Duration::from_millis(release.starts_after_millis));
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let service = Arc::new(Service {
        release,
        directory: directory.clone(),
        requests: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        buckets: Default::default(),
    });
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let service = Arc::clone(&service);
            std::thread::spawn(move || service.serve(connection));
        }
    });
    live(&directory);
    ExitCode::SUCCESS
}

/// Until the release is removed, or for [`LIFE`].
fn live(directory: &Path) {
    for _ in 0..LIFE.as_secs() / LOOK_EVERY.as_secs() {
        std::thread::sleep(LOOK_EVERY);
        if !directory.exists() {
            return;
        }
    }
}

impl Service {
    fn serve(&self, mut connection: TcpStream) {
        let Some(path) = read_path(&mut connection) else { return };
        let (status, body) = match path.as_str() {
            "/health/ready" => {
                if let Some(answer) = self.ready() {
                    answer
                } else {
                    std::thread::sleep(LIFE);
                    return;
                }
            }
            "/health" => (200, format!("{{\"version\":\"{}\"}}", self.release.version)),
            "/metrics" => (200, self.metrics()),
            "/work" => self.work(),
            _ => (404, String::new()),
        };
        // Whoever asked may be gone.
        let _gone = write!(
            connection,
            "HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    }

    /// None where it hangs.
    fn ready(&self) -> Option<(u16, String)> {
        let broken = self.directory.join("broken").exists();
        match self.release.ready {
            Ready::Hangs => None,
            Ready::Passes if !broken => Some((200, "ready\n".to_owned())),
            Ready::Passes | Ready::Unavailable => Some((503, "not ready\n".to_owned())),
        }
    }

    fn work(&self) -> (u16, String) {
        std::thread::sleep(Duration::from_millis(self.release.latency_millis));
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS_MILLIS) {
            if self.release.latency_millis < bound {
                bucket.fetch_add(1, Ordering::SeqCst);
            }
        }
        let share = self.release.errors_per_mille;
        // Spread evenly: of any thousand requests in a row exactly so many fail.
        if (number + 1) * share / 1000 > number * share / 1000 {
            self.errors.fetch_add(1, Ordering::SeqCst);
            (500, "no\n".to_owned())
        } else {
            (200, "done\n".to_owned())
        }
    }

    fn metrics(&self) -> String {
        let errors = self.errors.load(Ordering::SeqCst);
        let requests = self.requests.load(Ordering::SeqCst).max(errors);
        let mut page = format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{app=\"api\",code=\"200\"}} {}\n",
            requests - errors
        );
        if errors > 0 {
            page.push_str(&format!("http_requests_total{{app=\"api\",code=\"500\"}} {errors}\n"));
        }
        page.push_str("# TYPE http_request_duration_seconds histogram\n");
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS_MILLIS) {
            let count = bucket.load(Ordering::SeqCst).min(requests);
            let bound = bound as f64 / 1000.0;
            page.push_str(&format!("http_request_duration_seconds_bucket{{app=\"api\",le=\"{bound}\"}} {count}\n"));
        }
        page.push_str(&format!(
            "http_request_duration_seconds_bucket{{app=\"api\",le=\"+Inf\"}} {requests}\n\
             http_request_duration_seconds_count{{app=\"api\"}} {requests}\n\
             http_request_duration_seconds_sum{{app=\"api\"}} {}\n",
            requests as f64 * self.release.latency_millis as f64 / 1000.0
        ));
        page
    }
}

/// The path of a request, once its head is complete.
fn read_path(connection: &mut TcpStream) -> Option<String> {
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = connection.read(&mut part).ok().filter(|&read| read > 0)?;
        head.extend_from_slice(&part[..read]);
        if head.len() > 64 * 1024 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&head);
    head.split(' ').nth(1).map(str::to_owned)
}
