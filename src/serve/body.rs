//! JSON bodies: bounded, strict, and refused with a reason.

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use serde::de::DeserializeOwned;

use super::{BODY_LIMIT_BYTES, Problem};

/// A JSON body, decoded. An empty one stands for `{}`.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let media_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return decode(b"{}").map(Self);
        }
        let is_json = media_type.as_ref().and_then(|value| value.to_str().ok()).is_some_and(|text| {
            text.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        });
        if !is_json {
            let detail = "send the body as JSON, with Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        decode(&bytes).map(Self)
    }
}

/// The whole body, if it is small enough. The request's deadline bounds the time.
async fn read(request: Request) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {} KiB", BODY_LIMIT_BYTES / 1024))
    };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > BODY_LIMIT_BYTES) {
        return Err(too_large());
    }
    to_bytes(request.into_body(), BODY_LIMIT_BYTES).await.map_err(|error| {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        // The limit's error stands somewhere in a short chain.
        for _ in 0..8 {
            match source {
                Some(inner) if inner.is::<http_body_util::LengthLimitError>() => return too_large(),
                Some(inner) => source = inner.source(),
                None => break,
            }
        }
        Problem::new(StatusCode::BAD_REQUEST, "the body ended before it was complete")
    })
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let status = match error.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, format!("the body cannot be understood: {error}"))
    })
}
