//! Request counts from a real Prometheus that scrapes a real page once a second.

mod support;

use std::{
    fmt::Write,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use backstop::{
    config::form::{PrometheusServer, PrometheusSource, TlsOptions},
    core::{counter::CounterError, time::BootTime},
    probe::{
        net::Network,
        prometheus::{PrometheusError, PrometheusProbe, StaleError},
    },
    runtime::clock::Clock,
};
use support::{PATIENCE, Running, Waiting, free_port};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

const EVERY: Duration = Duration::from_secs(1);

/// The page that is scraped, and the server of it.
struct Page {
    text: Arc<Mutex<String>>,
    address: String,
    server: JoinHandle<()>,
}

impl Page {
    async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let text = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&text);
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let page = shown.lock().expect("whole").clone();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{page}", page.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { text, address, server }
    }

    /// Shows these counters: requests by code, and how many were no slower than a tenth of a second.
    fn show(&self, codes: &[(u16, u64)], fast: u64) {
        let mut page = String::new();
        for (code, count) in codes {
            writeln!(page, "http_requests_total{{code=\"{code}\"}} {count}").expect("memory");
        }
        let all: u64 = codes.iter().map(|(_, count)| count).sum();
        writeln!(page, "latency_seconds_bucket{{le=\"0.1\"}} {fast}").expect("memory");
        writeln!(page, "latency_seconds_bucket{{le=\"+Inf\"}} {all}").expect("memory");
        *self.text.lock().expect("whole") = page;
    }
}

struct Prometheus {
    process: Running,
    url: String,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `page` every second, and waits until it is ready.
    async fn start(page: &Page, flags: &[&str]) -> Self {
        for _ in 0..3 {
            let directory = TempDir::new().expect("a directory");
            let configuration = directory.path().join("prometheus.yml");
            let text = format!(
                "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
                 scrape_configs: [{{job_name: api, static_configs: [{{targets: [\"{}\"]}}]}}]\n",
                page.address
            );
            std::fs::write(&configuration, text).expect("written");
            let port = free_port();
            let mut command = Command::new("prometheus");
            command
                .arg(format!("--config.file={}", configuration.display()))
                .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .args(flags);
            let mut process = Running::start(&mut command).expect("Prometheus is installed");
            let url = format!("http://127.0.0.1:{port}");
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let waiting = Waiting::until("Prometheus is ready");
            while process.is_running() {
                let answer = client.get(format!("{url}/-/ready")).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return Self { process, url, _directory: directory };
                }
                waiting.pause().await;
            }
        }
        panic!("Prometheus does not start");
    }

    fn probe(&self, total: &str, errors: &str) -> PrometheusProbe {
        let source = PrometheusSource {
            server: PrometheusServer {
                url: self.url.clone(),
                bearer_token: None,
                basic_auth: None,
                tls: TlsOptions::default(),
            },
            total: total.to_owned(),
            errors: errors.to_owned(),
            latency: Some("latency_seconds_bucket".to_owned()),
        };
        PrometheusProbe::new(&source, EVERY, &Network::new()).expect("a valid source")
    }
}

/// What was counted so far.
#[derive(Debug, Default)]
struct Sum {
    total: u64,
    errors: u64,
    fast: u64,
    slow: u64,
    newest: BootTime,
}

impl Sum {
    /// Polls until `total` requests were counted.
    async fn reach(&mut self, probe: &mut PrometheusProbe, total: u64) {
        let clock = Clock::new();
        let waiting = Waiting::until("all requests are counted");
        while self.total < total {
            for (at, counted) in probe.poll(PATIENCE, &clock).await.expect("Prometheus answers") {
                // The clocks may be compared anew between two polls, which moves a timestamp by a little.
                assert!(at.after(Duration::from_millis(100)) >= self.newest, "in the order of time");
                assert!(at <= clock.boot(), "never of the future");
                self.newest = at;
                self.total += counted.counts.total;
                self.errors += counted.counts.errors;
                assert_eq!(counted.latency_missed(), None);
                if let Some(Ok(latency)) = counted.counts.latency {
                    assert_eq!(*latency.bounds, [0.1, f64::INFINITY]);
                    self.fast += latency.counts[0];
                    self.slow += latency.counts[1];
                }
            }
            assert!(self.total <= total, "counted twice: {self:?}");
            waiting.pause().await;
        }
    }
}

/// Polls until something was scraped.
async fn first_look(probe: &mut PrometheusProbe) {
    let waiting = Waiting::until("the page is scraped");
    loop {
        match probe.poll(PATIENCE, &Clock::new()).await {
            Ok(counted) => {
                assert!(counted.iter().all(|(_, counted)| counted.counts.total == 0), "the first values are baselines");
                return;
            }
            Err(PrometheusError::Counter(CounterError::NoTotal)) => waiting.pause().await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_exact_from_the_first_error_to_the_end_of_the_server() {
    install_tls();
    let page = Page::serve().await;
    page.show(&[(200, 100)], 90);
    let prometheus = Prometheus::start(&page, &[]).await;
    let mut probe = prometheus.probe("http_requests_total", "http_requests_total{code=~\"5..\"}");
    first_look(&mut probe).await;

    // No error yet: the empty answer is zero errors.
    let mut sum = Sum::default();
    page.show(&[(200, 150)], 120);
    sum.reach(&mut probe, 50).await;
    assert_eq!((sum.errors, sum.fast, sum.slow), (0, 30, 20), "{sum:?}");

    // The first errors ever make a new series on a known target.
    page.show(&[(200, 150), (500, 7)], 120);
    sum.reach(&mut probe, 57).await;
    assert_eq!((sum.errors, sum.fast, sum.slow), (7, 30, 27), "{sum:?}");

    // The process begins anew.
    page.show(&[(200, 5), (500, 1)], 4);
    sum.reach(&mut probe, 63).await;
    assert_eq!((sum.errors, sum.fast, sum.slow), (8, 34, 29), "{sum:?}");

    let mut nothing = prometheus.probe("no_such_metric", "http_requests_total{code=~\"5..\"}");
    let error = nothing.poll(PATIENCE, &Clock::new()).await.expect_err("no series");
    assert!(matches!(error, PrometheusError::Counter(CounterError::NoTotal)), "{error}");

    // The scraped process is gone: its last values are not taken for news.
    page.server.abort();
    let waiting = Waiting::until("what is known is stale");
    loop {
        match probe.poll(PATIENCE, &Clock::new()).await {
            Ok(counted) => assert!(counted.iter().all(|(_, counted)| counted.counts.total == 0)),
            Err(PrometheusError::Stale(StaleError::Old { .. })) => break,
            Err(error) => panic!("{error}"),
        }
        waiting.pause().await;
    }

    drop(prometheus.process);
    let waiting = Waiting::until("nothing listens any more");
    loop {
        // A connection that was open may still be closed first.
        let error = probe.poll(PATIENCE, &Clock::new()).await.expect_err("no server").to_string();
        if error == "prometheus: total: connection refused" {
            break;
        }
        assert!(error.starts_with("prometheus: total: connection "), "{error}");
        waiting.pause().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_the_server_refuses_is_missed_with_its_words() {
    install_tls();
    let page = Page::serve().await;
    page.show(&[(200, 1), (404, 1), (500, 1)], 1);
    let prometheus = Prometheus::start(&page, &["--query.max-samples=3"]).await;
    let mut probe = prometheus.probe("http_requests_total", "http_requests_total{code=~\"5..\"}");
    let waiting = Waiting::until("there are too many samples for it");
    let told = loop {
        match probe.poll(PATIENCE, &Clock::new()).await {
            Err(PrometheusError::Counter(CounterError::NoTotal)) | Ok(_) => waiting.pause().await,
            Err(error) => break error.to_string(),
        }
    };
    assert!(told.starts_with("prometheus: total: execution: query processing would load too many samples"), "{told}");
}
