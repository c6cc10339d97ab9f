//! Pages as services serve them, and as they should not.

use std::fmt::Write;

use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;
use crate::config::form::TlsOptions;

const PATIENCE: Duration = Duration::from_secs(30);

fn source(server: &MockServer) -> MetricsSource {
    MetricsSource {
        http: HttpCheck {
            url: format!("{}/metrics", server.uri()),
            method: "GET".into(),
            headers: Vec::new(),
            status: Vec::new(),
            body_contains: None,
            redirects: 0,
            tls: TlsOptions::default(),
        },
        total: "requests_total{app=\"shop\"}".into(),
        errors: "requests_total{app=\"shop\",code=~\"5..\"}".into(),
        latency: Some("latency_seconds_bucket".into()),
    }
}

fn probe(source: &MetricsSource) -> MetricsProbe {
    MetricsProbe::new(source, Duration::from_secs(5), &Network::new()).expect("a valid source")
}

/// Shows one page after the other, and counts each.
async fn polls(pages: &[&str]) -> Vec<Result<Vec<Counted>, String>> {
    let server = MockServer::start().await;
    let mut probe = probe(&source(&server));
    let clock = Clock::new();
    let mut seen = Vec::new();
    for page in pages {
        server.reset().await;
        let answer = ResponseTemplate::new(200).set_body_raw(*page, "text/plain");
        let asked =
            Mock::given(matchers::path("/metrics")).and(matchers::header_regex("accept", "^text/plain;version=0.0.4"));
        asked.respond_with(answer).mount(&server).await;
        let counted = probe.poll(PATIENCE, &clock).await.map_err(|error| error.to_string());
        seen.push(counted.map(|counted| counted.into_iter().map(|(_, counted)| counted).collect()));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    seen
}

fn sums(counted: &Result<Vec<Counted>, String>) -> (u64, u64) {
    let counted = counted.as_ref().expect("counts");
    (counted.iter().map(|one| one.counts.total).sum(), counted.iter().map(|one| one.counts.errors).sum())
}

#[tokio::test]
async fn counts_grow_from_page_to_page() {
    let seen = polls(&[
        "requests_total{app=\"shop\",code=\"200\"} 100\nrequests_total{app=\"other\",code=\"500\"} 9\n\
         latency_seconds_bucket{le=\"0.1\"} 90\nlatency_seconds_bucket{le=\"+Inf\"} 100\n",
        "requests_total{app=\"shop\",code=\"200\"} 110\nrequests_total{app=\"shop\",code=\"503\"} 3\n\
         latency_seconds_bucket{le=\"0.1\"} 95\nlatency_seconds_bucket{le=\"+Inf\"} 113\n",
        "requests_total{app=\"shop\",code=\"200\"} 4\n",
    ])
    .await;
    assert_eq!(seen.iter().map(sums).collect::<Vec<_>>(), [(0, 0), (13, 3), (4, 0)]);
    let second = seen[1].as_ref().expect("counts").last().expect("one");
    let latency = second.counts.latency.as_ref().expect("asked for").as_ref().expect("measured");
    assert_eq!((&*latency.bounds, &*latency.counts), ([0.1, f64::INFINITY].as_slice(), [5, 8].as_slice()));
    let third = seen[2].as_ref().expect("counts").last().expect("one");
    assert!(third.latency_missed().is_some(), "the histogram is gone, and that is told");
}

#[tokio::test]
async fn what_cannot_be_counted_is_missed_and_says_why() {
    let many = (0..=SERIES_LIMIT).fold(String::new(), |mut page, number| {
        writeln!(page, "requests_total{{app=\"shop\",id=\"{number}\"}} 1").expect("memory");
        page
    });
    for (page, part) in [
        ("up 1\n<html>\n", "line 2"),
        ("up 1\nrequests_total{app=\"shop\"} 12", "middle of a line"),
        ("up 1\n", "answered nothing"),
        ("requests_total{app=\"shop\"} NaN\n", "NaN"),
        ("requests_total{app=\"shop\"} -1\n", "-1"),
        (&many, "more than 10000 series"),
    ] {
        let seen = polls(&[page]).await;
        let error = seen[0].as_ref().expect_err(part);
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_histogram_without_bounds_hides_no_errors() {
    let page = "requests_total{app=\"shop\"} 1\nlatency_seconds_bucket 1\n";
    let seen = polls(&[page, "requests_total{app=\"shop\"} 3\nlatency_seconds_bucket 1\n"]).await;
    assert_eq!(sums(&seen[1]), (2, 0));
    let last = seen[1].as_ref().expect("counts").last().expect("one");
    assert!(last.latency_missed().expect("told").as_str().contains("\"le\""));
}

#[tokio::test]
async fn a_page_that_cannot_be_had_is_missed_whoever_is_to_blame() {
    let server = MockServer::start().await;
    let mut probe = probe(&source(&server));
    let error = probe.poll(PATIENCE, &Clock::new()).await.expect_err("not found").to_string();
    assert_eq!(error, "metrics page: status 404, wanted 200 to 299");
    server.reset().await;
    let large = ResponseTemplate::new(200).set_body_bytes(vec![b'#'; PAGE_LIMIT_BYTES + 1]);
    Mock::given(matchers::any()).respond_with(large).mount(&server).await;
    let error = probe.poll(PATIENCE, &Clock::new()).await.expect_err("too large").to_string();
    assert_eq!(error, "metrics page: the body is larger than 8388608 bytes");
}

#[tokio::test]
async fn a_large_page_is_read_whole() {
    let mut page = "# a comment of no importance, many times over\n".repeat(20_000);
    assert!(page.len() > requests::DECODE_HERE_LIMIT_BYTES);
    page.push_str("requests_total{app=\"shop\"} 5\n");
    let grown = page.replace(" 5\n", " 9\n");
    let seen = polls(&[&page, &grown]).await;
    assert_eq!(sums(&seen[1]), (4, 0));
}
