//! Faults that a real Prometheus does not produce when it is asked to.

use secrecy::SecretString;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

use super::*;
use crate::{
    config::form::{PrometheusServer, TlsOptions},
    probe::net::tls_server::Authority,
};

const EVERY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// How a double answers the query of `total`, of `errors` or of `latency`.
type Answer = fn(which: &str) -> ResponseTemplate;

async fn server(answer: Answer) -> MockServer {
    let server = MockServer::start().await;
    let respond = move |request: &Request| {
        let query = request.url.query_pairs().find(|(name, _)| name == "query").expect("a query").1;
        answer(query.split('[').next().expect("a selector"))
    };
    Mock::given(matchers::path("/base/api/v1/query")).respond_with(respond).mount(&server).await;
    server
}

fn source(server: &MockServer) -> PrometheusSource {
    PrometheusSource {
        server: PrometheusServer {
            url: format!("{}/base", server.uri()),
            bearer_token: None,
            basic_auth: None,
            tls: TlsOptions::default(),
        },
        total: "total".into(),
        errors: "errors".into(),
        latency: Some("latency_bucket".into()),
    }
}

fn probe(source: &PrometheusSource) -> PrometheusProbe {
    PrometheusProbe::new(source, EVERY, &Network::new()).expect("a valid source")
}

async fn poll(answer: Answer) -> Result<Vec<(BootTime, Counted)>, PrometheusError> {
    let server = server(answer).await;
    probe(&source(&server)).poll(PATIENCE, &Clock::new()).await
}

async fn missed(answer: Answer) -> String {
    poll(answer).await.expect_err("missed").to_string()
}

fn json(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body, "application/json")
}

/// The whole second in which the newest points lie: the same for what is asked together, though a second passes between.
fn newest() -> i64 {
    static LAST: std::sync::Mutex<i64> = std::sync::Mutex::new(0);
    let now = Clock::new().now().wall.as_millis() / 1000;
    let mut last = LAST.lock().expect("no panic holds it");
    if now - *last > 2 {
        *last = now;
    }
    *last
}

/// Ten seconds apart until now: a counter called `name`, and what else belongs into each series.
fn counter(labels: &str, values: &[u32]) -> String {
    let newest = newest();
    let begin = newest - 10 * (i64::try_from(values.len()).expect("few") - 1);
    let points: Vec<String> =
        (0..).zip(values).map(|(place, value)| format!("[{},\"{value}\"]", begin + 10 * place)).collect();
    format!(r#"{{"metric":{{{labels}}},"values":[{}]}}"#, points.join(","))
}

fn matrix(series: &[String]) -> ResponseTemplate {
    json(&format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#, series.join(",")))
}

fn healthy(which: &str) -> ResponseTemplate {
    match which {
        "total" => matrix(&[counter(r#""instance":"a""#, &[100, 110, 130])]),
        "latency_bucket" => matrix(&[
            counter(r#""instance":"a","le":"0.5""#, &[100, 110, 125]),
            counter(r#""instance":"a","le":"+Inf""#, &[100, 110, 130]),
        ]),
        _ => matrix(&[]),
    }
}

#[tokio::test]
async fn an_empty_errors_beside_a_fresh_total_is_zero_errors() {
    let counted = poll(healthy).await.expect("counts");
    let sums = counted
        .iter()
        .fold((0, 0), |sums, (_, counted)| (sums.0 + counted.counts.total, sums.1 + counted.counts.errors));
    assert_eq!(sums, (30, 0));
    assert_eq!(counted.len(), 2, "each scrape by itself");
    assert!(counted[0].0 < counted[1].0);
    let latency = counted[1].1.counts.latency.as_ref().expect("asked for").as_ref().expect("measured");
    assert_eq!((&*latency.bounds, &*latency.counts), ([0.5, f64::INFINITY].as_slice(), [15, 5].as_slice()));
}

#[tokio::test]
async fn nothing_is_counted_twice_and_each_poll_is_heard() {
    let server = server(healthy).await;
    let mut probe = probe(&source(&server));
    let clock = Clock::new();
    let first = probe.poll(PATIENCE, &clock).await.expect("counts");
    assert!(!first.is_empty());
    // The double's samples move on with each second; within one they are the same.
    let again = probe.poll(PATIENCE, &clock).await.expect("counts");
    assert!(!again.is_empty());
    assert!(again.iter().all(|(_, counted)| counted.counts.total == 0), "{again:?}");
}

#[tokio::test]
async fn refusals_garbage_and_partial_answers_are_missed_in_the_servers_words() {
    let refused: Answer = |_| {
        let body = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter"}"#;
        ResponseTemplate::new(422).set_body_raw(body, "application/json")
    };
    assert_eq!(missed(refused).await, "prometheus: total: bad_data: invalid parameter");
    let garbage: Answer = |_| json("<html>login</html>");
    assert!(missed(garbage).await.starts_with("prometheus: total: status 200 and no valid answer: "));
    let moved: Answer = |_| ResponseTemplate::new(302).insert_header("location", "/login");
    assert!(missed(moved).await.starts_with("prometheus: total: status 302 and no valid answer: "));
    let partial: Answer = |which| match which {
        "errors" => {
            json(r#"{"status":"success","warnings":["a store is away"],"data":{"resultType":"matrix","result":[]}}"#)
        }
        other => healthy(other),
    };
    assert_eq!(missed(partial).await, "prometheus: errors: the answer is partial: a store is away");
    let empty: Answer = |which| if which == "total" { matrix(&[]) } else { healthy(which) };
    assert!(missed(empty).await.contains("answered nothing"));
    let not_a_number: Answer = |which| match which {
        "total" => {
            let now = Clock::new().now().wall.as_millis() / 1000;
            matrix(&[format!(r#"{{"metric":{{}},"values":[[{now},"NaN"]]}}"#)])
        }
        other => healthy(other),
    };
    assert!(missed(not_a_number).await.contains("NaN"));
    let native: Answer =
        |_| matrix(&[r#"{"metric":{"__name__":"total"},"histograms":[[1,{"count":"1"}]]}"#.to_owned()]);
    assert!(missed(native).await.starts_with("prometheus: total: total is a native histogram"));
}

#[tokio::test]
async fn what_is_wrong_with_the_histogram_alone_hides_no_errors() {
    let native: Answer = |which| match which {
        "latency_bucket" => matrix(&[r#"{"metric":{},"histograms":[[1,{"count":"1"}]]}"#.to_owned()]),
        other => healthy(other),
    };
    let no_bound: Answer = |which| match which {
        "latency_bucket" => matrix(&[counter(r#""instance":"a""#, &[1, 2, 3])]),
        other => healthy(other),
    };
    for (answer, part) in [(native, "native histogram"), (no_bound, "without the label \"le\"")] {
        let counted = poll(answer).await.expect("counts");
        let (_, last) = counted.last().expect("two scrapes");
        assert_eq!(last.counts.total, 20);
        let reason = last.latency_missed().expect("told");
        assert!(reason.as_str().contains(part), "{reason}");
    }
}

#[tokio::test]
async fn samples_that_are_not_of_now_are_missed() {
    fn at(offset: i64) -> ResponseTemplate {
        let now = Clock::new().now().wall.as_millis() / 1000 + offset;
        matrix(&[format!(r#"{{"metric":{{}},"values":[[{},"1"],[{now},"2"]]}}"#, now - 10)])
    }
    assert!(missed(|_| at(-100)).await.starts_with("prometheus: stale: the newest sample of total is "));
    assert!(missed(|_| at(60)).await.contains("ahead of this machine's clock"));
}

#[tokio::test]
async fn a_slow_server_is_missed_by_the_deadline() {
    let slow: Answer = |which| healthy(which).set_delay(PATIENCE);
    let server = server(slow).await;
    let mut probe = probe(&source(&server));
    let error = loop {
        match probe.poll(Duration::from_millis(150), &Clock::new()).await.expect_err("slow") {
            // This machine is under load; once more.
            PrometheusError::Stalled(_) => {}
            error => break error.to_string(),
        }
    };
    assert_eq!(error, "prometheus: no answer within 150ms");
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let large: Answer = |_| ResponseTemplate::new(200).set_body_bytes(vec![b' '; REPLY_LIMIT_BYTES + 1]);
    assert!(missed(large).await.contains("the answer is larger than 16777216 bytes"));
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let server = MockServer::start().await;
    Mock::given(matchers::header("authorization", "Bearer t0ken"))
        .respond_with(|_: &Request| ResponseTemplate::new(401).set_body_string("t0ken is known"))
        .mount(&server)
        .await;
    let mut source = source(&server);
    source.server.bearer_token = Some(SecretString::from("t0ken"));
    let mut probe = probe(&source);
    let error = probe.poll(PATIENCE, &Clock::new()).await.expect_err("no answer").to_string();
    assert!(error.starts_with("prometheus: total: status 401"), "{error}");
    assert!(!format!("{error} {probe:?}").contains("t0ken"));
}

#[tokio::test]
async fn its_certificate_is_verified_for_the_configured_name() {
    const REFUSAL: &[u8] =
        b"HTTP/1.0 400 Bad Request\r\n\r\n{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"heard\"}";
    let authority = Authority::new();
    let address = authority.serve(&["prometheus.example"], false, REFUSAL, true).await;
    let with = |ca_file: Option<std::path::PathBuf>, server_name: Option<&str>| PrometheusSource {
        server: PrometheusServer {
            url: format!("https://{address}"),
            bearer_token: None,
            basic_auth: None,
            tls: TlsOptions { ca_file, server_name: server_name.map(str::to_owned) },
        },
        total: "total".into(),
        errors: "errors".into(),
        latency: None,
    };
    let told = async |source: PrometheusSource| {
        probe(&source).poll(PATIENCE, &Clock::new()).await.expect_err("refused").to_string()
    };
    let unknown = told(with(None, Some("prometheus.example"))).await;
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let other = told(with(Some(authority.file()), None)).await;
    assert!(other.contains("not valid for name"), "{other}");
    let heard = told(with(Some(authority.file()), Some("prometheus.example"))).await;
    assert_eq!(heard, "prometheus: total: bad_data: heard");
}

#[test]
fn mistakes_are_refused_before_anything_is_asked() {
    let source = |url: &str, total: &str| PrometheusSource {
        server: PrometheusServer { url: url.into(), bearer_token: None, basic_auth: None, tls: TlsOptions::default() },
        total: total.into(),
        errors: "errors".into(),
        latency: None,
    };
    for (url, total, part) in [
        ("ftp://secret@prometheus/", "total", "the scheme is \"ftp\""),
        ("secret", "total", "relative URL"),
        ("http://prometheus:9090", "rate(total[5m])", "without rate()"),
    ] {
        let error = PrometheusProbe::new(&source(url, total), EVERY, &Network::new()).expect_err("refused").to_string();
        assert!(error.contains(part) && !error.contains("secret"), "{error}");
    }
}
