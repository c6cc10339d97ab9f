//! The journal as it grows, as server-sent events (WHATWG HTML, section 9.2).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};

use super::{Problem, Shared};
use crate::core::{
    entry::{Entry, Fact},
    event::Sequence,
};

/// A comment so often, so that whoever went away without a word is noticed, and proxies keep the connection.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Events that wait for one reader beside the shared queue.
const WAITING_LIMIT: usize = 16;
/// How soon a reader should connect anew after its stream ended, in milliseconds.
const RETRY_MILLIS: u32 = 1000;

pub(super) async fn stream(State(shared): State<Shared>) -> Result<Response, Problem> {
    let Some((entries, place)) = shared.board.follow() else {
        let detail = "too many read the events already";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let (sender, receiver) = mpsc::channel(WAITING_LIMIT);
    let (ending, lifetime) = (shared.ending.clone(), shared.stream_lifetime);
    tokio::spawn(async move {
        let forwarding = tokio::time::timeout(lifetime, forward(entries, sender, place));
        // However it ends, the stream's end tells the reader.
        let _ended = ending.run_until_cancelled(forwarding).await;
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    Ok((headers, Body::new(Events(receiver))).into_response())
}

/// Hands entries on until the reader is gone or too slow. `place` is given back at the end.
async fn forward(
    mut entries: broadcast::Receiver<(Sequence, Arc<Entry>)>,
    sender: mpsc::Sender<Bytes>,
    place: OwnedSemaphorePermit,
) {
    let mut text = format!("retry: {RETRY_MILLIS}\n\n");
    loop {
        if sender.send(Bytes::from(text)).await.is_err() {
            break;
        }
        let next = tokio::select! {
            () = sender.closed() => break,
            next = tokio::time::timeout(KEEP_ALIVE_EVERY, entries.recv()) => next,
        };
        text = match next {
            Ok(Ok((sequence, entry))) => written(sequence, &entry),
            Err(_) => ": still here\n\n".to_owned(),
            // Too slow: what was missed cannot be made up for, so the stream ends and the reader may begin anew.
            Ok(Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed)) => break,
        };
    }
    drop(place);
}

fn written(sequence: Sequence, entry: &Entry) -> String {
    let mut value = serde_json::to_value(entry).expect("an entry is plain data");
    if let Fact::Step { step, .. } = entry.fact {
        // The journal counts from 0; whoever reads compares it with pages and the log.
        value["step"] = (step + 1).into();
    }
    let name = value.get("fact").and_then(serde_json::Value::as_str).unwrap_or("entry");
    // JSON has no line breaks of its own when it is not indented.
    format!("id: {}\nevent: {name}\ndata: {value}\n\n", sequence.0)
}

/// A body of events.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
