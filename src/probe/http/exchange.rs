//! One request and its answer on one connection, driven by the task that asks.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http_body_util::Empty;
use hyper::{
    Request, StatusCode,
    body::{Body, Bytes, Incoming},
    client::conn::http1::{self, Connection},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{HttpError, Phase, Wanted};

/// Most of an answer's status line and headers, in bytes: what common servers send at most, several times over.
pub const HEAD_LIMIT_BYTES: usize = 64 * 1024;

/// What is wanted of an answer.
pub(super) struct Wish<'a> {
    /// The body is read only if the status is one of these.
    pub wanted: &'a Wanted,
    /// Most of the body that is read.
    pub limit: usize,
    /// Whether the body is kept, or only waited for.
    pub keep: bool,
}

/// What came.
pub(super) struct Answer {
    pub status: StatusCode,
    /// A redirect's destination.
    pub location: Option<HeaderValue>,
    /// Empty unless it was to be kept.
    pub body: Vec<u8>,
    /// There was more than the limit.
    pub cut: bool,
}

type Driver<S> = Connection<TokioIo<S>, Empty<Bytes>>;

/// Sends `request` and reads the answer; the connection is closed when this returns.
pub(super) async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    wish: &Wish<'_>,
    phase: &mut Phase,
) -> Result<Answer, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    *phase = Phase::FirstByte;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| HttpError::of_hyper(&error, Phase::FirstByte))?;
    let mut connection = Some(connection);
    let response = {
        let mut response = std::pin::pin!(sender.send_request(request));
        poll_fn(|context| {
            drive(&mut connection, context);
            response.as_mut().poll(context)
        })
        .await
        .map_err(|error| HttpError::of_hyper(&error, Phase::FirstByte))?
    };
    let (head, mut body) = response.into_parts();
    let location = if head.status.is_redirection() { head.headers.get(header::LOCATION).cloned() } else { None };
    let mut answer = Answer { status: head.status, location, body: Vec::new(), cut: false };
    if !wish.wanted.holds(head.status) {
        return Ok(answer);
    }
    *phase = Phase::Body;
    // Neither a length nor chunks: the body ends with the connection.
    let ends_with_connection =
        body.size_hint().exact().is_none() && !head.headers.contains_key(header::TRANSFER_ENCODING);
    let mut read = 0_usize;
    while let Some(data) = next_data(&mut connection, &mut body).await {
        match data {
            Ok(data) => {
                let taken = data.len().min(wish.limit - read);
                if wish.keep {
                    answer.body.extend_from_slice(&data[..taken]);
                }
                read += taken;
                if taken < data.len() {
                    answer.cut = true;
                    break;
                }
            }
            // Many servers close a TLS connection without saying so first. What came is then taken as it is.
            Err(error) if ends_with_connection && is_unexpected_end(&error) => break,
            Err(error) => return Err(HttpError::of_hyper(&error, Phase::Body)),
        }
    }
    Ok(answer)
}

/// Lets the connection go on. Its own errors come out by the request or the body that they concern.
fn drive<S>(connection: &mut Option<Driver<S>>, context: &mut Context<'_>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(running) = connection
        && Pin::new(running).poll(context).is_ready()
    {
        *connection = None;
    }
}

/// The next piece of the body; [`None`] at its end.
async fn next_data<S>(connection: &mut Option<Driver<S>>, body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let frame = poll_fn(|context| {
            // Asking for the body first tells the connection that it is wanted.
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) {
                return Poll::Ready(frame);
            }
            drive(connection, context);
            Pin::new(&mut *body).poll_frame(context)
        })
        .await?;
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => return Some(Ok(data)),
            // Trailers.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

fn is_unexpected_end(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}
