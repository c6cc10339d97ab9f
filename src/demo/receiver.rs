//! Receives the pages, and holds each to its signature as any receiver after the Standard Webhooks specification would.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::{core::time::WallTime, runtime::clock::Clock};

/// A page as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) at: WallTime,
    pub(super) kind: String,
    pub(super) severity: String,
    pub(super) summary: String,
    pub(super) action: String,
}

/// The receiving end of the webhook channel.
pub(super) struct Receiver {
    key: Vec<u8>,
    clock: Clock,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    received: Vec<Received>,
    refused: usize,
}

/// What of the body is shown.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    severity: String,
    summary: String,
    action: String,
}

impl Receiver {
    pub(super) fn new(key: Vec<u8>, clock: Clock) -> Self {
        Self { key, clock, pages: Mutex::default() }
    }

    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let routes = Router::new().route("/", post(receive)).with_state(self);
        // It ends with the demonstration; until then it goes on after whatever a connection does.
        let _ = axum::serve(listener, routes).await;
    }

    /// The pages after the first `known`.
    pub(super) fn since(&self, known: usize) -> Vec<Received> {
        self.pages.lock().expect("nobody panics with it").received.iter().skip(known).cloned().collect()
    }

    /// Messages whose signature or body was wrong.
    pub(super) fn refused(&self) -> usize {
        self.pages.lock().expect("nobody panics with it").refused
    }

    fn take(&self, headers: &HeaderMap, body: &[u8]) -> Option<Received> {
        if !is_signed(&self.key, headers, body) {
            return None;
        }
        let Body { kind, data } = serde_json::from_slice(body).ok()?;
        let Data { severity, summary, action } = data;
        Some(Received { at: self.clock.now().wall, kind, severity, summary, action })
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let page = receiver.take(&headers, &body);
    let mut pages = receiver.pages.lock().expect("nobody panics with it");
    if let Some(page) = page {
        pages.received.push(page);
        StatusCode::NO_CONTENT
    } else {
        pages.refused += 1;
        StatusCode::UNAUTHORIZED
    }
}

/// Whether one of the signatures is that of `id.timestamp.body`.
fn is_signed(key: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name).map(axum::http::HeaderValue::as_bytes);
    let (Some(id), Some(timestamp), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [id, b".", timestamp, b".", body] {
        mac.update(part);
    }
    signatures
        .split(|byte| *byte == b' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix(b"v1,")?).ok())
        .any(|signature| mac.clone().verify_slice(&signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own example of a signed message.
    const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn headers(signature: &'static str) -> HeaderMap {
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", signature),
        ];
        headers
            .into_iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn only_the_right_signature_is_taken() {
        let key = STANDARD.decode(KEY).expect("base64");
        let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert!(is_signed(&key, &headers(right), BODY));
        assert!(is_signed(&key, &headers("v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), BODY));
        assert!(!is_signed(&key, &headers(right), b"{}"));
        assert!(!is_signed(b"another", &headers(right), BODY));
        assert!(!is_signed(&key, &headers("v1,AAAA"), BODY) && !is_signed(&key, &HeaderMap::new(), BODY));
    }
}
