//! Connections on which nothing is being asked. When every place is taken, the one that has been idle for the longest gives
//! way to who has just come: whoever holds connections without a word keeps nobody out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
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
    /// Its place among the idle ones; none while it is busy.
    place: Mutex<Option<u64>>,
}

/// A connection is busy for as long as this is held.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl IdleConnections {
    /// One more connection, which nothing was asked on yet.
    pub(super) fn add(&self) -> Arc<Connection> {
        let connection =
            Connection { among: self.clone(), gives_way: CancellationToken::new(), place: Mutex::default() };
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
                sleep(self.end_longest_idle().unwrap_or(GIVES_WAY_AFTER)).await;
            }
        };
        tokio::select! {
            biased;
            place = place => place.expect("this semaphore is never closed"),
            () = end_idle => unreachable!("it goes on for ever"),
        }
    }

    /// Closes the connection that has been idle for the longest, if that is long enough; else says how long until it is.
    fn end_longest_idle(&self) -> Option<Duration> {
        let mut waiting = self.lock();
        let longest = waiting.connections.first_entry()?;
        let left = GIVES_WAY_AFTER.saturating_sub(longest.get().0.elapsed());
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

    /// Something is asked on it, until the answer has gone out.
    pub(super) fn is_asked(self: &Arc<Self>) -> Busy {
        self.leaves_idle();
        Busy(Arc::clone(self))
    }

    fn becomes_idle(&self) {
        let mut waiting = self.among.lock();
        waiting.last += 1;
        let place = waiting.last;
        waiting.connections.insert(place, (Instant::now(), self.gives_way.clone()));
        *self.place() = Some(place);
    }

    fn leaves_idle(&self) {
        let place = self.place().take();
        if let Some(place) = place {
            self.among.lock().connections.remove(&place);
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<u64>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leaves_idle();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.becomes_idle();
    }
}
