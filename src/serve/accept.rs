//! Takes connections and serves them, each within bounds of its own.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Asked, Board, Listeners,
    caller::{Peer, Tokens},
    idle::{Connection, IdleConnections},
    metrics::Metrics,
    routes,
    scrapes::Scrapes,
    throttle::LogThrottle,
};
use crate::{config::form::Token, names};

/// What a client may take up. Each default says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A request's head must come within this, also the next one on an idle connection. Default 10 s: slower is no
    /// client but someone who holds connections.
    pub header_deadline: Duration,
    /// A request, its body and its answer included. Default 30 s: longer than the core's own deadline for a reply.
    pub request_deadline: Duration,
    /// The core answers within a turn of its loop and one commit; after this something is wrong, and the person is told.
    /// Default 10 s.
    pub reply_deadline: Duration,
    /// A client that takes no byte of its answer for so long is given up, and its place is free. Default 30 s: as long as
    /// a whole request may take; a link that is interrupted for a while comes back sooner.
    pub write_deadline: Duration,
    /// A connection's whole life; then it is closed after the request under way. Default 5 min: bounds what a client
    /// that reads byte by byte can hold.
    pub connection_lifetime: Duration,
    /// TCP connections at once. For a further one the longest idle gives way; while all are busy it waits, and those after
    /// it in the kernel's queue. Default 256: scrapers, pages and people, with a wide margin, and far below the limit of
    /// descriptors that probes need.
    pub connections: usize,
    /// Connections of the Unix socket at once, counted apart so that a flood over TCP cannot shut operators out.
    /// Default 64.
    pub socket_connections: usize,
    /// At shutdown requests under way may take so long to end. Default 5 s.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_deadline: Duration::from_secs(10),
            request_deadline: Duration::from_secs(30),
            reply_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(30),
            connection_lifetime: Duration::from_mins(5),
            connections: 256,
            socket_connections: 64,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// Largest head of a request, in bytes: the bearer token is its longest part.
const HEAD_LIMIT_BYTES: usize = 16 * 1024;

/// A pause after a connection could not be taken (no descriptors left): without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An event stream ends so long before its connection is cut, so that its reader sees a whole end.
const STREAM_ENDS_BEFORE: Duration = Duration::from_secs(5);

/// Histograms are folded so often, scraped or not, so that they never grow.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Everything that serves, ready to run.
pub struct Server {
    listeners: Listeners,
    router: Router,
    tokens: Arc<Tokens>,
    metrics: Arc<Metrics>,
    limits: Limits,
    /// Ends the event streams.
    ending: CancellationToken,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl Server {
    /// Puts the parts together. `requests` is the sending half of [`super::requests`].
    pub fn new(
        listeners: Listeners,
        tokens: &[Token],
        board: Arc<Board>,
        metrics: Arc<Metrics>,
        requests: mpsc::Sender<Asked>,
        limits: Limits,
    ) -> Self {
        let ending = CancellationToken::new();
        let shared = routes::Shared {
            board,
            scrapes: Scrapes::of(Arc::clone(&metrics)),
            requests,
            reply_deadline: limits.reply_deadline,
            ending: ending.clone(),
            stream_lifetime: limits.connection_lifetime.saturating_sub(STREAM_ENDS_BEFORE),
        };
        let tokens = Arc::new(Tokens::new(tokens));
        let router = routes::router(shared, Arc::clone(&tokens), &limits);
        Self { listeners, router, tokens, metrics, limits, ending }
    }

    /// Who may speak; may be replaced while it serves.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens)
    }

    /// Serves until `shutdown`, then lets requests under way end within the grace, and removes the socket's file.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listeners: Listeners { tcp, socket, path }, router, tokens: _, metrics, limits, ending } = self;
        let shutdown_of_streams = shutdown.clone();
        let serving = Arc::new(Serving { router, limits, shutdown, tracker: TaskTracker::new() });
        let over_tcp = serving.clone().accept(serving.limits.connections, tcp);
        let over_socket = serving.clone().accept(serving.limits.socket_connections, socket);
        let end_streams = async {
            shutdown_of_streams.cancelled().await;
            ending.cancel();
        };
        let upkeep = async {
            while serving.shutdown.run_until_cancelled(tokio::time::sleep(UPKEEP_EVERY)).await.is_some() {
                metrics.upkeep();
            }
        };
        tokio::join!(over_tcp, over_socket, upkeep, end_streams);
        serving.tracker.close();
        if tokio::time::timeout(serving.limits.shutdown_grace, serving.tracker.wait()).await.is_err() {
            tracing::warn!(
                connections = serving.tracker.len(),
                "closed connections whose requests did not end in time"
            );
        }
        remove(path).await;
    }
}

async fn remove(path: PathBuf) {
    if let Err(error) = tokio::fs::remove_file(&path).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "failed to remove the socket");
    }
}

/// A way in.
trait Door: Sync {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and who is at its other end.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = self.accept().await?;
        // An answer is small; without this its tail could wait for an acknowledgement.
        stream.set_nodelay(true)?;
        Ok((stream, Peer::Network(Some(address.ip()))))
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.accept().await?;
        let peer = socket_peer(&stream)?;
        Ok((stream, peer))
    }
}

/// What all connections share.
struct Serving {
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

impl Serving {
    async fn accept(self: Arc<Self>, limit: usize, door: impl Door) {
        let room = Arc::new(Semaphore::new(limit));
        let idle = IdleConnections::default();
        let (full, failed) = (LogThrottle::default(), LogThrottle::default());
        let accepting = async {
            loop {
                match door.next().await {
                    Ok((stream, peer)) => {
                        if room.available_permits() == 0
                            && let Some(times) = full.count()
                        {
                            tracing::warn!(limit, times, "every place for connections was taken; further ones waited");
                        }
                        let permit = idle.place_in(&room).await;
                        let (serving, connection) = (self.clone(), idle.add());
                        self.tracker.spawn(async move {
                            serving.serve(stream, peer, connection).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        if let Some(times) = failed.count() {
                            tracing::warn!(%error, times, "failed to take a connection");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        let _ends_with_shutdown: Option<()> = self.shutdown.run_until_cancelled(accepting).await;
    }

    /// One connection, from its first byte to its end. How it ends is the client's business, and nothing to log.
    async fn serve<S>(&self, stream: S, peer: Peer, among_others: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let inner = TowerToHyperService::new(self.router.clone());
        let stream = among_others.told(stream, self.limits.write_deadline);
        let connection = Arc::clone(&among_others);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let busy = connection.is_asked();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            let answer = inner.call(request);
            async move {
                // Until the last of its body was taken for being sent. That it has gone out, the stream tells.
                let until_taken = move |body: Body| {
                    body.map_frame(move |frame| {
                        let _held = &busy;
                        frame
                    })
                };
                answer.await.map(|answer| answer.map(until_taken))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_deadline)
            .max_buf_size(HEAD_LIMIT_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let patience = tokio::select! {
            // First, so that what gives way below has seen all that has come.
            biased;
            _ = connection.as_mut() => return,
            () = among_others.gives_way() => {
                if among_others.is_idle() {
                    return;
                }
                // Something came in the moment in which it was to give way: it is carried out, and so it is answered.
                self.limits.request_deadline
            }
            () = self.shutdown.cancelled() => self.limits.shutdown_grace,
            () = tokio::time::sleep(self.limits.connection_lifetime) => self.limits.shutdown_grace,
        };
        connection.as_mut().graceful_shutdown();
        let _cut_off = tokio::time::timeout(patience, connection).await;
    }
}

/// Who is at the other end of the socket: the kernel says so, and it cannot be forged.
fn socket_peer(stream: &UnixStream) -> io::Result<Peer> {
    let uid = stream.peer_cred()?.uid();
    Ok(Peer::Socket(names::user(uid).unwrap_or_else(|| format!("uid {uid}")).into()))
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
