//! Connections on which nothing is being asked or answered. When every place is taken, the one that has been idle for the
//! longest gives way to who has just come: whoever holds connections without a word keeps nobody out.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Semaphore,
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

/// Who has come gets so much time to ask before giving way: a client's first bytes come with its connection, as a rule. A
/// thousand idle connections are gone through four times this.
const GIVES_WAY_AFTER: Duration = Duration::from_millis(100);

/// The idle connections of one way in, the longest idle first.
#[derive(Debug, Default, Clone)]
pub(super) struct IdleConnections(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// Counts up, so that it is the order in which they became idle.
    last: u64,
    connections: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// One connection, idle until it is asked something.
#[derive(Debug)]
pub(super) struct Connection {
    among: IdleConnections,
    gives_way: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// With its place among the idle ones, which it has lost already if it is to give way.
    Idle(u64),
    /// Something is asked, or its answer is being made.
    Asked,
    /// The answer is made, and waits in memory for a client that may read slowly.
    Sending,
}

/// Something is asked on a connection for as long as this is held. After that the connection is busy still, until what was
/// answered has gone out.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

/// A connection's stream, which tells the connection when all that was answered is with the kernel, and fails once its
/// client has taken nothing for too long.
#[derive(Debug)]
pub(super) struct Told<S> {
    stream: S,
    connection: Arc<Connection>,
    patience: Duration,
    /// Ends the patience; there while what is written is not taken.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl IdleConnections {
    /// One more connection, which nothing was asked on yet.
    pub(super) fn add(&self) -> Arc<Connection> {
        let connection =
            Connection { among: self.clone(), gives_way: CancellationToken::new(), state: Mutex::new(State::Asked) };
        connection.becomes_idle();
        Arc::new(connection)
    }

    /// Waits for a place in `room`, and has idle connections give way for it, one at a time. A place that is free is had at
    /// once.
    pub(super) async fn place_in(&self, room: &Arc<Semaphore>) -> tokio::sync::OwnedSemaphorePermit {
        let place = Arc::clone(room).acquire_owned();
        let end_idle = async {
            // Ends with the place: each turn waits, or closes a connection, which gives one.
            loop {
                sleep(self.end_longest_idle(Instant::now()).unwrap_or(GIVES_WAY_AFTER)).await;
            }
        };
        tokio::select! {
            biased;
            place = place => place.expect("this semaphore is never closed"),
            () = end_idle => unreachable!("it goes on for ever"),
        }
    }

    /// Closes the connection that has been idle for the longest, if that is long enough; else says how long until it is.
    pub(super) fn end_longest_idle(&self, now: Instant) -> Option<Duration> {
        let mut waiting = self.lock();
        let longest = waiting.connections.first_entry()?;
        let left = GIVES_WAY_AFTER.saturating_sub(now.saturating_duration_since(longest.get().0));
        if !left.is_zero() {
            return Some(left);
        }
        longest.remove().1.cancel();
        None
    }

    /// What this lock guards is whole after every statement.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Completes when it is to be closed.
    pub(super) async fn gives_way(&self) {
        self.gives_way.cancelled().await;
    }

    /// Something is asked on it.
    pub(super) fn is_asked(self: &Arc<Self>) -> Busy {
        self.leaves_idle(State::Asked);
        Busy(Arc::clone(self))
    }

    /// Whether nothing is asked, and all that was answered has gone out.
    pub(super) fn is_idle(&self) -> bool {
        matches!(*self.state(), State::Idle(_))
    }

    /// The stream to be served, which tells when answers have gone out. A client that takes no byte of one for as long as
    /// `patience` is given up.
    pub(super) fn told<S>(self: &Arc<Self>, stream: S, patience: Duration) -> Told<S> {
        Told { stream, connection: Arc::clone(self), patience, stalled: None }
    }

    fn becomes_idle(&self) {
        let mut waiting = self.among.lock();
        waiting.last += 1;
        let place = waiting.last;
        waiting.connections.insert(place, (Instant::now(), self.gives_way.clone()));
        *self.state() = State::Idle(place);
    }

    fn leaves_idle(&self, to: State) {
        let before = std::mem::replace(&mut *self.state(), to);
        if let State::Idle(place) = before {
            self.among.lock().connections.remove(&place);
        }
    }

    /// Nothing waits in memory any more.
    fn has_flushed(&self) {
        let is_sending = *self.state() == State::Sending;
        if is_sending {
            self.becomes_idle();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leaves_idle(State::Asked);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.state() = State::Sending;
    }
}

impl<S> Told<S> {
    /// What became of writing; an error where nothing of it was taken for too long.
    fn in_time<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Told<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Told<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The server flushes the stream itself only once it has written all that it held for it.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        ready!(self.in_time(context, flushed))?;
        self.connection.has_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A time by which everything now idle has been so for long.
    fn later() -> Instant {
        Instant::now() + GIVES_WAY_AFTER * 10
    }

    #[tokio::test]
    async fn the_longest_idle_gives_way_first_and_nobody_before_the_time() {
        let idle = IdleConnections::default();
        let [first, second, third] = [(); 3].map(|()| idle.add());
        let gives_way = |one: &Arc<Connection>| one.gives_way.is_cancelled();
        let left = idle.end_longest_idle(Instant::now() - GIVES_WAY_AFTER);
        assert_eq!(left, Some(GIVES_WAY_AFTER), "none is idle for so long");
        // The first is asked and answered meanwhile: by now it is the one that became idle last.
        drop(first.is_asked());
        first.told(tokio::io::sink(), Duration::MAX).flush().await.expect("flushed");
        drop(third);
        assert_eq!(idle.end_longest_idle(later()), None);
        assert_eq!((gives_way(&first), gives_way(&second)), (false, true));
        assert_eq!(idle.end_longest_idle(later()), None, "who is gone already takes no turn");
        assert!(gives_way(&first));
        assert_eq!(idle.end_longest_idle(later()), None, "and there is nobody left");
    }

    #[tokio::test]
    async fn a_connection_is_busy_until_its_answer_has_gone_out() {
        let idle = IdleConnections::default();
        let connection = idle.add();
        let (stream, mut client) = tokio::io::duplex(4);
        let mut stream = connection.told(stream, Duration::MAX);
        stream.flush().await.expect("flushed");
        let stays = |when: &str| {
            assert_eq!(idle.end_longest_idle(later()), None, "{when}");
            assert!(!connection.is_idle() && !connection.gives_way.is_cancelled(), "{when}");
        };
        let asked = connection.is_asked();
        stays("it is being asked");
        stream.flush().await.expect("flushed");
        stays("a flush before the answer says nothing");
        stream.write_all(b"head").await.expect("written");
        drop(asked);
        stays("the answer waits in memory");
        client.read_exact(&mut [0; 4]).await.expect("read");
        stream.flush().await.expect("flushed");
        assert!(connection.is_idle());
        idle.end_longest_idle(later());
        assert!(connection.gives_way.is_cancelled());
    }

    #[tokio::test]
    async fn patience_begins_anew_with_each_byte_that_is_taken() {
        let (stream, mut client) = tokio::io::duplex(4);
        let mut stream = IdleConnections::default().add().told(stream, Duration::from_millis(50));
        let mut context = Context::from_waker(std::task::Waker::noop());
        for _ in 0..3 {
            stream.write_all(b"full").await.expect("there is room");
            assert!(Pin::new(&mut stream).poll_write(&mut context, b"more").is_pending());
            assert!(stream.stalled.is_some());
            client.read_exact(&mut [0; 4]).await.expect("read");
            assert!(Pin::new(&mut stream).poll_write(&mut context, b"m").is_ready());
            assert!(stream.stalled.is_none(), "something was taken");
            client.read_exact(&mut [0; 1]).await.expect("read");
        }
        stream.write_all(b"full").await.expect("there is room");
        let error = stream.write_all(b"more").await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
