//! Real receivers on loopback: wiremock where an answer is enough, raw listeners for what goes wrong below HTTP.

use std::{io::Write as _, process::Stdio, sync::Once};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;
use crate::core::{
    answer::Answer,
    page::PageKind,
    policy::{Finding, Severity},
    verdict::{AskedQuestion, Path, VerdictKind},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW_SECONDS: i64 = 1_767_781_800;

fn tls() -> rustls::ClientConfig {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _already_there = rustls::crypto::ring::default_provider().install_default();
    });
    rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

fn channels(url: &str, secret: Option<&str>) -> Result<Channels, NotifyError> {
    let channel = form::Channel {
        name: "audit".into(),
        kind: form::ChannelKind::Webhook { url: url.to_owned().into(), secret: secret.map(|s| s.to_owned().into()) },
    };
    let clock: WallClock = Arc::new(|| WallTime::from_millis(NOW_SECONDS * 1000 + 999));
    Channels::new(&[channel], &client(tls()).expect("a client"), &clock)
}

fn page() -> Page {
    Page {
        id: "page-7".into(),
        kind: PageKind::IncidentOpened,
        at: WallTime::from_millis(NOW_SECONDS * 1000),
        service: Some("api".into()),
        incident: Some("api-17".into()),
        severity: Severity::S1,
        finding: Some(Finding::RollbackRefused),
        summary: "api answers 12.4% errors".to_owned(),
        action: "Decide by hand.".to_owned(),
        verdict: Some(VerdictKind::RollBack),
        path: Some(Path {
            verdict: VerdictKind::RollBack,
            plan: None,
            questions: vec![AskedQuestion {
                ask: "Is error rate > 5%?".to_owned(),
                when: "error_rate_critical".into(),
                answer: Answer::Yes,
                depth: 0,
                then: "roll_back".to_owned(),
                decided: true,
                readings: Vec::new(),
                would_change: String::new(),
            }],
            because: "too many errors".to_owned(),
        }),
        outcome: None,
        version_from: Some("v2".into()),
        version_to: Some("v1".into()),
        details: vec!["cooldown ends in 4 minutes".to_owned()],
        test: false,
    }
}

async fn deliver(url: &str) -> DeliveryOutcome {
    let channels = channels(url, None).expect("channels").with_deadline(Duration::from_millis(400));
    channels.deliver(&"audit".into(), &page(), 1, "https://backstop.example.com").await
}

/// What the receiver of a real delivery sees.
async fn received(secret: Option<&str>) -> wiremock::Request {
    let server = MockServer::start().await;
    Mock::given(matchers::method("POST")).respond_with(ResponseTemplate::new(204)).expect(1).mount(&server).await;
    let channels = channels(&format!("{}/hook?token=t0p", server.uri()), secret).expect("channels");
    let outcome = channels.deliver(&"audit".into(), &page(), 3, "https://backstop.example.com/ops/").await;
    assert_eq!(outcome, DeliveryOutcome::Delivered);
    server.received_requests().await.expect("recorded").remove(0)
}

fn header<'a>(request: &'a wiremock::Request, name: &str) -> &'a str {
    request.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().expect("text")
}

#[tokio::test]
async fn an_event_has_the_promised_shape() {
    let request = received(Some(SECRET)).await;
    assert_eq!(header(&request, "webhook-id"), "page-7");
    assert_eq!(header(&request, "webhook-timestamp"), NOW_SECONDS.to_string());
    assert_eq!(header(&request, "content-type"), "application/json");
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    insta::assert_json_snapshot!(body);
}

#[tokio::test]
async fn a_test_page_is_known_by_its_data() {
    let server = MockServer::start().await;
    Mock::given(matchers::method("POST")).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    let channels = channels(&server.uri(), None).expect("channels");
    for test in [true, false] {
        let page = Page { test, ..page() };
        channels.deliver(&"audit".into(), &page, 1, "https://backstop.example.com").await;
    }
    let requests = server.received_requests().await.expect("recorded");
    let told = |place: usize| serde_json::from_slice::<serde_json::Value>(&requests[place].body).expect("JSON");
    assert_eq!(told(0)["data"]["test"], true);
    assert!(told(1)["data"].get("test").is_none());
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    assert!(received(None).await.headers.get("webhook-signature").is_none());
}

/// OpenSSL signs what arrived, headers and all, and comes to the same.
#[tokio::test]
async fn openssl_comes_to_the_same_signature() {
    for (secret, hex_key) in [(SECRET, "31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0"), ("naïve", "6e61c3af7665")]
    {
        let request = received(Some(secret)).await;
        let mut signed =
            format!("{}.{}.", header(&request, "webhook-id"), header(&request, "webhook-timestamp")).into_bytes();
        signed.extend_from_slice(&request.body);
        let mut openssl = std::process::Command::new("openssl")
            .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{hex_key}"), "-binary"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        openssl.stdin.take().expect("piped").write_all(&signed).expect("written");
        let output = openssl.wait_with_output().expect("ran");
        assert!(output.status.success());
        let expected = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, output.stdout);
        assert_eq!(header(&request, "webhook-signature"), format!("v1,{expected}"), "{secret}");
    }
}

#[tokio::test]
async fn each_status_has_its_meaning() {
    let retry =
        |reason: &str, retry_after_seconds| DeliveryOutcome::Retry { reason: Reason::new(reason), retry_after_seconds };
    let refused = |reason: &str| DeliveryOutcome::Refused(Reason::new(reason));
    for (status, retry_after, expected) in [
        (200, None, DeliveryOutcome::Delivered),
        (202, None, DeliveryOutcome::Delivered),
        (301, None, retry("answered 301 Moved Permanently: redirects are not followed, mend the URL", None)),
        (400, Some("5"), retry("answered 400 Bad Request", Some(5))),
        (401, None, retry("answered 401 Unauthorized", None)),
        (404, None, retry("answered 404 Not Found", None)),
        (408, None, retry("answered 408 Request Timeout", None)),
        (410, None, refused("answered 410: the receiver is gone for good")),
        (425, None, retry("answered 425 Too Early", None)),
        (429, Some("17"), retry("answered 429 Too Many Requests", Some(17))),
        (429, Some("whenever"), retry("answered 429 Too Many Requests", None)),
        (500, None, retry("answered 500 Internal Server Error", None)),
        (503, Some("Wed, 07 Jan 2026 10:31:00 GMT"), retry("answered 503 Service Unavailable", Some(60))),
    ] {
        let server = MockServer::start().await;
        let mut answer = ResponseTemplate::new(status).insert_header("location", "http://127.0.0.1:9/elsewhere");
        if let Some(value) = retry_after {
            answer = answer.insert_header("retry-after", value);
        }
        Mock::given(matchers::any()).respond_with(answer).expect(1).mount(&server).await;
        let outcome = channels(&server.uri(), None).expect("channels").deliver(&"audit".into(), &page(), 1, "x").await;
        assert_eq!(outcome, expected, "{status}");
    }
}

/// Takes connections and treats each as `treat` says.
async fn raw<F, T>(treat: F) -> String
where
    F: Fn(tokio::net::TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    format!("http://user:hunter2@{address}/s3cret-path?key=s3cret")
}

fn reason_of_retry(outcome: &DeliveryOutcome) -> String {
    match outcome {
        DeliveryOutcome::Retry { reason, retry_after_seconds: None } => reason.as_str().to_owned(),
        other => panic!("expected a retry, got {other:?}"),
    }
}

#[tokio::test]
async fn faults_below_http_are_tried_again_and_tell_no_secret() {
    let hangs = raw(|mut stream| async move {
        let mut sink = Vec::new();
        let _until_it_goes_away = stream.read_to_end(&mut sink).await;
    })
    .await;
    let resets = raw(|stream| async move {
        stream.set_zero_linger().expect("an option");
        drop(stream);
    })
    .await;
    let garbage = raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"\x16\x03\x01 not http at all\r\n\r\n").await;
    })
    .await;
    let trickles = raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-slow: ".iter().chain(std::iter::repeat_n(&b'z', 100)) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("http://user:hunter2@{}/s3cret-path?key=s3cret", listener.local_addr().expect("bound"))
    };
    for (name, url, expected) in [
        ("hangs", hangs, "no answer within 400ms"),
        ("resets", resets, "no answer: "),
        ("garbage", garbage, "no answer: "),
        ("trickles", trickles, "no answer within 400ms"),
        ("nobody", nobody, "could not connect: Connection refused"),
    ] {
        let outcome = deliver(&url).await;
        let reason = reason_of_retry(&outcome);
        assert!(reason.starts_with(expected), "{name}: {reason}");
        for secret in ["hunter2", "s3cret"] {
            assert!(!reason.contains(secret), "{name}: {reason}");
        }
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read() {
    let url = raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"4\r\nmore\r\n").await.is_ok() {}
    })
    .await;
    assert_eq!(deliver(&url).await, DeliveryOutcome::Delivered);
}

#[test]
fn wrong_settings_are_told_without_showing_them() {
    for (url, secret, expected) in [
        ("hooks.example.com/s3cret", None, "prepare channel audit: the URL is not an absolute http or https one"),
        ("ftp://example.com/s3cret", None, "prepare channel audit: the URL is not an absolute http or https one"),
        (
            "http://example.com",
            Some("whsec_s3cret!"),
            "prepare channel audit: the secret begins with whsec_, and what follows is not base64",
        ),
        ("http://example.com", Some(""), "prepare channel audit: the secret is empty"),
        ("http://example.com", Some("whsec_"), "prepare channel audit: the secret is empty"),
    ] {
        let error = channels(url, secret).expect_err("refused").to_string();
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn a_channel_that_is_gone_refuses() {
    let channels = channels("http://127.0.0.1:9", None).expect("channels");
    let outcome = channels.deliver(&"pager".into(), &page(), 1, "x").await;
    assert!(matches!(outcome, DeliveryOutcome::Refused(_)), "{outcome:?}");
}

#[tokio::test]
async fn the_heart_beats_and_tells_when_it_does_not() {
    let server = MockServer::start().await;
    Mock::given(matchers::method("GET"))
        .and(matchers::path("/ping"))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    let client = client(tls()).expect("a client");
    let heartbeat = |path: &str| {
        let url = format!("{}{path}", server.uri()).into();
        Heartbeat::new(&form::Heartbeat { url, every: Duration::from_mins(1) }, &client).expect("a heartbeat")
    };
    assert_eq!(heartbeat("/ping").beat().await, Ok(()));
    let error = heartbeat("/s3cret").beat().await.expect_err("404");
    assert_eq!(error.to_string(), "send the heartbeat: answered 404 Not Found");
}
