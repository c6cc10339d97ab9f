//! Requests to servers that do what no well-behaved server does. Each one is a listener on loopback.

use std::{future::Future, net::SocketAddr, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    config::form::TlsOptions,
    core::sample::Reason,
    probe::net::tls_server::{Authority, read_head, serve},
};

const FINE: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nfine";

/// For samples that end by themselves.
const PATIENCE: Duration = Duration::from_secs(30);

/// For samples that only the deadline ends.
const SHORT: Duration = Duration::from_millis(150);

fn check(url: &str) -> HttpCheck {
    HttpCheck {
        url: url.to_owned(),
        method: "GET".into(),
        headers: Vec::new(),
        status: Vec::new(),
        body_contains: None,
        redirects: 0,
        tls: TlsOptions::default(),
    }
}

async fn sample(check: &HttpCheck, timeout: Duration) -> Outcome {
    let probe = HttpProbe::new(check, &Network::new()).expect("a valid check");
    loop {
        match probe.sample(timeout).await {
            // This machine is under load; once more.
            Outcome::Missed(reason) if reason.as_str().contains("stalled") => {}
            outcome => return outcome,
        }
    }
}

fn failed(text: &str) -> Outcome {
    Outcome::Failed(Reason::new(text))
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(reason) => reason.as_str(),
        other => panic!("{other:?}"),
    }
}

/// A server that hands every connection, its request read, to `answer`.
async fn server<F>(answer: impl Fn(TcpStream, String) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            tokio::spawn(answer(stream, head));
        }
    });
    address
}

/// A server that answers every request with these bytes and closes.
async fn fixed(answer: &'static [u8]) -> SocketAddr {
    server(move |mut stream, _| async move {
        let _ = stream.write_all(answer).await;
    })
    .await
}

/// A server that answers these bytes and then keeps the connection open.
async fn holding(answer: &'static [u8]) -> SocketAddr {
    server(move |mut stream, _| async move {
        let _ = stream.write_all(answer).await;
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn what_passes() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".as_slice(),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let address = fixed(answer).await;
        assert_eq!(sample(&check(&format!("http://{address}/")), PATIENCE).await, Outcome::Passed);
    }
}

#[tokio::test]
async fn a_server_that_keeps_the_connection_is_not_waited_for() {
    let address = holding(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok").await;
    assert_eq!(sample(&check(&format!("http://{address}/")), PATIENCE).await, Outcome::Passed);
}

#[tokio::test]
async fn what_never_ends_fails_by_the_deadline_and_names_the_phase() {
    let silent = holding(b"").await;
    let expected = failed("first byte: no complete head of an answer within 150ms");
    assert_eq!(sample(&check(&format!("http://{silent}/")), SHORT).await, expected);

    let half = holding(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf").await;
    assert_eq!(sample(&check(&format!("http://{half}/")), SHORT).await, failed("body: not complete within 150ms"));

    let trickling = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        while stream.write_all(b".").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(sample(&check(&format!("http://{trickling}/")), SHORT).await, failed("body: not complete within 150ms"));

    let hinting = server(|mut stream, _| async move {
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(sample(&check(&format!("http://{hinting}/")), SHORT).await, expected);

    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("bound");
    let outcome = sample(&check(&format!("https://{address}/")), SHORT).await;
    assert_eq!(outcome, failed("TLS handshake: not done within 150ms"));
}

#[tokio::test]
async fn a_hundred_megabytes_are_cut_and_the_status_decides() {
    let big = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n").await;
        let block = vec![b'x'; 64 * 1024];
        while stream.write_all(&block).await.is_ok() {}
    })
    .await;
    let mut check = check(&format!("http://{big}/"));
    assert_eq!(sample(&check, PATIENCE).await, Outcome::Passed);
    check.body_contains = Some("needle".into());
    let expected = failed("the body does not contain \"needle\" in its first 262144 bytes");
    assert_eq!(sample(&check, PATIENCE).await, expected);
    let probe = HttpProbe::new(&check, &Network::new()).expect("a valid check");
    let error = probe.fetch(PATIENCE, 1000).await.expect_err("too large");
    assert_eq!(error.to_string(), "the body is larger than 1000 bytes");
}

#[tokio::test]
async fn the_body_must_contain_the_text() {
    let address = fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nstatus: (fine)").await;
    let mut check = check(&format!("http://{address}/"));
    check.body_contains = Some("(fine)".into());
    assert_eq!(sample(&check, PATIENCE).await, Outcome::Passed);
    check.body_contains = Some("ready".into());
    assert_eq!(sample(&check, PATIENCE).await, failed("the body does not contain \"ready\""));
}

#[tokio::test]
async fn statuses_that_pass_are_those_configured() {
    let address = fixed(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let mut check = check(&format!("http://{address}/"));
    assert_eq!(sample(&check, PATIENCE).await, failed("status 503, wanted 200 to 299"));
    check.status = vec![401, 503];
    assert_eq!(sample(&check, PATIENCE).await, Outcome::Passed);
    check.status = vec![200, 401];
    assert_eq!(sample(&check, PATIENCE).await, failed("status 503, wanted 200, 401"));
}

#[tokio::test]
async fn redirects_are_followed_so_far_and_no_further() {
    let forever = fixed(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n").await;
    let mut check = check(&format!("http://{forever}/"));
    assert_eq!(sample(&check, PATIENCE).await, failed("status 302, wanted 200 to 299"));
    for redirects in [1, 5] {
        check.redirects = redirects;
        assert_eq!(sample(&check, PATIENCE).await, failed(&format!("more than {redirects} redirects")));
    }

    let once = server(|mut stream, head| async move {
        let answer: &[u8] = if head.starts_with("GET /there") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: there?x\r\nContent-Length: 0\r\n\r\n"
        };
        let _ = stream.write_all(answer).await;
    })
    .await;
    check.url = format!("http://{once}/");
    check.redirects = 1;
    assert_eq!(sample(&check, PATIENCE).await, Outcome::Passed);

    let nowhere = fixed(b"HTTP/1.1 302 Found\r\nLocation: http://\r\nContent-Length: 0\r\n\r\n").await;
    check.url = format!("http://{nowhere}/");
    assert!(reason(&sample(&check, PATIENCE).await).starts_with("follow the redirect: read the URL: "));
}

#[tokio::test]
async fn secrets_go_to_the_configured_origin_alone() {
    let (telling, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let there = telling.clone();
    let other = server(move |mut stream, head| {
        there.send(head).expect("listening");
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let first = server(move |mut stream, head| {
        telling.send(head).expect("listening");
        async move {
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let mut check = check(&format!("http://user:word@{first}/"));
    check.headers = vec![("X-Key".into(), SecretString::from("t0ken"))];
    check.redirects = 1;
    assert_eq!(sample(&check, PATIENCE).await, Outcome::Passed);
    let head = heads.recv().await.expect("the first request").to_lowercase();
    assert!(head.contains("x-key: t0ken") && head.contains("authorization: basic dxnlcjp3b3jk"), "{head}");
    assert!(head.contains("connection: close") && head.contains(&format!("host: {first}")), "{head}");
    let head = heads.recv().await.expect("the second request").to_lowercase();
    assert!(!head.contains("t0ken") && !head.contains("authorization"), "{head}");
    assert!(head.contains(&format!("host: {other}")), "{head}");
}

#[tokio::test]
async fn what_is_no_http_fails() {
    for (answer, start) in [
        (b"SSH-2.0-OpenSSH_9.2\r\n".as_slice(), "first byte: not a valid HTTP/1 answer: "),
        (b"HTTP/1.1 banana\r\n\r\n", "first byte: not a valid HTTP/1 answer: "),
        (b"HTTP/1.1 200 OK\r\nBroken Header: x\r\n\r\n", "first byte: not a valid HTTP/1 answer: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n", "body: not a valid HTTP/1 answer: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "first byte: not a valid HTTP/1 answer: "),
        (b"", "first byte: the connection was closed before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "first byte: the connection was closed before the answer was complete"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "body: the connection was closed before the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nha", "body: the connection was closed before"),
    ] {
        let address = fixed(answer).await;
        let outcome = sample(&check(&format!("http://{address}/")), PATIENCE).await;
        assert!(reason(&outcome).starts_with(start), "{}: {outcome:?}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let long = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X-Filler: ..............................................\r\n").await.is_ok() {}
    })
    .await;
    let outcome = sample(&check(&format!("http://{long}/")), PATIENCE).await;
    assert_eq!(outcome, failed("first byte: the answer's headers are larger than 65536 bytes or too many"));

    let line = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Filler: ").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let outcome = sample(&check(&format!("http://{line}/")), PATIENCE).await;
    assert_eq!(outcome, failed("first byte: the answer's headers are larger than 65536 bytes or too many"));
}

#[tokio::test]
async fn resets_and_refusals_fail() {
    let resetting = server(|stream, _| async move {
        stream.set_zero_linger().expect("a socket");
    })
    .await;
    let outcome = sample(&check(&format!("http://{resetting}/")), PATIENCE).await;
    assert_eq!(outcome, failed("first byte: connection reset by peer"));

    let resetting_late = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.set_zero_linger().expect("a socket");
    })
    .await;
    let outcome = sample(&check(&format!("http://{resetting_late}/")), PATIENCE).await;
    assert_eq!(outcome, failed("body: connection reset by peer"));

    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("bound");
    drop(closed);
    let outcome = sample(&check(&format!("http://{address}/")), PATIENCE).await;
    assert_eq!(outcome, failed(&format!("connect to {address}: connection refused")));
}

#[tokio::test]
async fn a_resolver_that_fails_is_missed() {
    let outcome = sample(&check("http://nowhere.invalid/"), PATIENCE).await;
    let Outcome::Missed(reason) = outcome else { panic!("{outcome:?}") };
    assert!(reason.as_str().starts_with("resolver: nowhere.invalid: "), "{reason}");

    let address = fixed(b"HTTP/1.1 302 Found\r\nLocation: http://nowhere.invalid/\r\nContent-Length: 0\r\n\r\n").await;
    let mut check = check(&format!("http://{address}/"));
    check.redirects = 2;
    assert!(matches!(sample(&check, PATIENCE).await, Outcome::Missed(_)));
}

#[tokio::test]
async fn every_sample_closes_its_connection() {
    const SAMPLES: usize = 50;
    let (closed, mut closings) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            let _ = stream.read(&mut [0]).await;
            closed.send(()).expect("listening");
        }
    })
    .await;
    let probe = HttpProbe::new(&check(&format!("http://{address}/")), &Network::new()).expect("a valid check");
    for _ in 0..SAMPLES {
        assert_eq!(probe.sample(PATIENCE).await, Outcome::Passed);
    }
    for _ in 0..SAMPLES {
        closings.recv().await.expect("one for each sample");
    }
}

#[test]
fn what_cannot_be_sent_is_refused_at_once() {
    let network = Network::new();
    let with = |change: fn(&mut HttpCheck)| {
        let mut check = check("http://127.0.0.1/");
        change(&mut check);
        HttpProbe::new(&check, &network).expect_err("refused").to_string()
    };
    assert!(with(|check| check.url = "ftp://x/".into()).contains("ftp"));
    assert!(with(|check| check.method = "GE T".into()).contains("GE T"));
    assert!(with(|check| check.headers = vec![("a b".into(), "x".into())]).contains("a b"));
    let message = with(|check| check.headers = vec![("X-Key".into(), "s3cret\n".into())]);
    assert!(message.contains("x-key") && !message.contains("s3cret"), "{message}");
    assert!(with(|check| check.tls.ca_file = Some("/nowhere.pem".into())).contains("/nowhere.pem"));
}

#[tokio::test]
async fn certificates_are_verified() {
    let authority = Authority::new();
    let mut check = check("");
    check.body_contains = Some("fine".into());

    let good = authority.serve(&["127.0.0.1"], false, FINE, true).await;
    check.url = format!("https://{good}/");
    let unknown = sample(&check, PATIENCE).await;
    assert_eq!(unknown, failed("TLS handshake: invalid peer certificate: UnknownIssuer"));
    check.tls.ca_file = Some(authority.file());
    assert_eq!(sample(&check, PATIENCE).await, Outcome::Passed);

    let unannounced = authority.serve(&["127.0.0.1"], false, FINE, false).await;
    check.url = format!("https://{unannounced}/");
    assert_eq!(sample(&check, PATIENCE).await, Outcome::Passed, "closed without saying so");

    let expired = authority.serve(&["127.0.0.1"], true, FINE, true).await;
    check.url = format!("https://{expired}/");
    let outcome = sample(&check, PATIENCE).await;
    assert!(reason(&outcome).contains("expired"), "{outcome:?}");

    let other = authority.serve(&["other.example"], false, FINE, true).await;
    check.url = format!("https://{other}/");
    let outcome = sample(&check, PATIENCE).await;
    assert!(reason(&outcome).contains("not valid for name"), "{outcome:?}");
    check.tls.server_name = Some("other.example".into());
    assert_eq!(sample(&check, PATIENCE).await, Outcome::Passed);
}

#[tokio::test]
async fn a_certificate_that_signs_itself_and_a_server_without_tls_fail() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let address = serve(cert.der().clone(), signing_key.serialize_der(), FINE, true).await;
    let outcome = sample(&check(&format!("https://{address}/")), PATIENCE).await;
    assert!(reason(&outcome).starts_with("TLS handshake: invalid peer certificate: "), "{outcome:?}");

    let plain = fixed(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    // Its request is never complete for that server, which then waits for more; a wrong first byte ends it at once.
    let outcome = sample(&check(&format!("https://{plain}/")), SHORT).await;
    assert!(reason(&outcome).starts_with("TLS handshake: "), "{outcome:?}");

    let loud = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = loud.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = loud.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let outcome = sample(&check(&format!("https://{address}/")), PATIENCE).await;
    assert!(reason(&outcome).starts_with("TLS handshake: received corrupt message"), "{outcome:?}");
}
