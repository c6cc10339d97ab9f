//! What stands before the pods of a bed: it sends each request to one that is ready, and counts on a page what comes of it.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::api::ListParams;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{bed::Bed, world::traffic::Traffic};

/// Between two looks at the pods.
const ROUND: Duration = Duration::from_millis(200);
/// Of so many requests to a pod whose image's tag ends with `-errors` this share fails.
const HUNDRED: u64 = 100;
const FAILING: u64 = 12;
/// Requests a second: what a window of the thresholds here holds is evidence enough.
const REQUESTS_A_SECOND: u32 = 80;
/// How a daemon counts them, with windows to match.
pub(crate) const COUNTED: &str =
    "thresholds: {down_after: 3, confirm_every: 200ms, down_for: 1s, min_requests: 50, widen_to: 20s,
    roll_back_above: {error_rate: 5%, over: 10s}, consider_above: {error_rate: 1%, over: 10s, for: 30s},
    slow_above: {latency_p99: 2x, over: 10s, for: 10s}}
  gates: {known_good_after: 2s, settle: 10s}
  verify: {healthy_for: 2s, timeout: 60s}
";

#[derive(Debug, Default)]
struct Pods {
    /// Of each that is ready, whether it errs.
    ready: Vec<bool>,
    requests: usize,
    /// Requests that came to one that errs.
    doubtful: u64,
    well: u64,
    failed: u64,
}

impl Pods {
    /// Whether the next request is answered well.
    fn work(&mut self) -> bool {
        self.requests += 1;
        let Some(errs) = self.ready.get(self.requests % self.ready.len().max(1)).copied() else {
            self.failed += 1;
            return false;
        };
        // Spread evenly.
        let before = self.doubtful * FAILING / HUNDRED;
        self.doubtful += u64::from(errs);
        let is_well = self.doubtful * FAILING / HUNDRED == before;
        if is_well {
            self.well += 1;
        } else {
            self.failed += 1;
        }
        is_well
    }

    fn page(&self) -> String {
        let mut page = "# TYPE http_requests_total counter\n".to_owned();
        for (code, count) in [(200, self.well), (500, self.failed)] {
            page.push_str(&format!("http_requests_total{{app=\"shop\",code=\"{code}\"}} {count}\n"));
        }
        page
    }
}

/// Serves, with traffic of its own, for as long as this value lives.
pub(crate) struct Ingress {
    pub(crate) port: u16,
    looks: JoinHandle<()>,
    _traffic: Traffic,
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.looks.abort();
    }
}

impl Ingress {
    pub(crate) fn begin(bed: &Bed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let pods = Arc::new(Mutex::new(Pods::default()));
        let (api, seen) = (bed.api("", "Pod"), Arc::clone(&pods));
        let looks = tokio::spawn(async move {
            // Ends with this value.
            loop {
                if let Ok(all) = api.list(&ListParams::default()).await {
                    let serve =
                        all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(&pod.data));
                    let ready = serve.map(|pod| errs(&pod.data)).collect();
                    seen.lock().expect("pods").ready = ready;
                }
                tokio::time::sleep(ROUND).await;
            }
        });
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _gone = answer(stream, &pods);
            }
        });
        Self { port, looks, _traffic: Traffic::start(port, REQUESTS_A_SECOND) }
    }

    /// The rest of a service whose requests are counted here.
    pub(crate) fn counted(&self) -> String {
        format!(
            "requests: {{metrics: {{url: 'http://127.0.0.1:{}/metrics', total: 'http_requests_total{{app=\"shop\"}}', \
             errors: 'http_requests_total{{app=\"shop\",code=~\"5..\"}}'}}, every: 1s, timeout: 900ms}}\n  {COUNTED}",
            self.port
        )
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

fn errs(pod: &Value) -> bool {
    pod.pointer("/spec/containers/0/image").and_then(Value::as_str).is_some_and(|image| image.ends_with("-errors"))
}

fn answer(mut stream: TcpStream, pods: &Mutex<Pods>) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let length = stream.read(&mut head)?;
    let head = String::from_utf8_lossy(&head[..length]);
    let (is_well, body) = {
        let mut pods = pods.lock().expect("pods");
        match head.split(' ').nth(1) {
            Some("/work") => (pods.work(), String::new()),
            Some("/metrics") => (true, pods.page()),
            _ => (!pods.ready.is_empty(), String::new()),
        }
    };
    let status = if is_well { "200 OK" } else { "500 Internal Server Error" };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
