//! File systems that may hang: one call at a time for each target, off the runtime's threads, with a deadline.
//!
//! All targets share one thread for their calls, as long as none hangs: what a thousand links lead to is then read in a
//! few wake-ups a second. A call that hangs keeps its thread, and another one takes its place.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::{self, Instant},
};

use super::TargetError;

/// How long a local directory may take to be read; a network's file system that takes longer is away.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A call that takes longer is taken for hanging, and no other waits for its end.
const HANGS_AFTER: Duration = Duration::from_millis(200);

/// A call that hangs occupies a thread for ever; this lets no second one follow it.
#[derive(Debug, Clone)]
pub(super) struct OneAtATime {
    turns: Arc<Semaphore>,
    limit: Duration,
    calls: BlockingCalls,
}

impl OneAtATime {
    /// Calls that may take up to `limit` each, made where those of others are.
    pub(super) fn new(limit: Duration, calls: BlockingCalls) -> Self {
        Self { turns: Arc::new(Semaphore::new(1)), limit, calls }
    }

    /// Runs `call`, which works on `path`, within the limit, the wait for an earlier one included.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        path: &Path,
        call: impl FnOnce() -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let until = Instant::now() + self.limit;
        let hanging = || TargetError::Hanging { path: path.to_owned(), limit: self.limit };
        let turn = time::timeout_at(until, Arc::clone(&self.turns).acquire_owned()).await.map_err(|_| hanging())?;
        let turn = turn.expect("it is never closed");
        let (answer, mut answered) = oneshot::channel();
        self.calls.hand_over(Box::new(move || {
            let result = call();
            // The next call must find the turn free once it knows of this one's end.
            drop(turn);
            // Whoever asked may have given up.
            let _given_up = answer.send(result);
        }));
        // Bounded by the limit.
        loop {
            let now = Instant::now();
            if now >= until {
                return Err(hanging());
            }
            match time::timeout_at(until.min(now + HANGS_AFTER), &mut answered).await {
                Ok(Ok(result)) => return result,
                Ok(Err(_)) => return Err(TargetError::Lost("it panicked".to_owned())),
                Err(_) => self.calls.relieve(),
            }
        }
    }
}

type Call = Box<dyn FnOnce() + Send>;

/// Where the targets' calls are made, by one thread as long as none hangs. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(super) struct BlockingCalls(Arc<Mutex<Queue>>);

/// Calls that wait, and who makes them. A target has one call at most, so they are no more than targets.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Call>,
    /// Counts the threads that took calls; only the last one still does.
    thread: u64,
    /// When that one began with the call that it is at; none if there is no such thread.
    began: Option<Instant>,
}

impl fmt::Debug for BlockingCalls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BlockingCalls").finish_non_exhaustive()
    }
}

impl BlockingCalls {
    /// What this lock guards is whole after every statement.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, call: Call) {
        self.queue().waiting.push_back(call);
        self.relieve();
    }

    /// Sees to it that a thread takes the calls that wait: another one, if the last one hangs.
    fn relieve(&self) {
        let mut queue = self.queue();
        let hangs = queue.began.is_none_or(|began| began.elapsed() > HANGS_AFTER);
        if hangs && !queue.waiting.is_empty() {
            queue.thread += 1;
            queue.began = Some(Instant::now());
            let thread = queue.thread;
            drop(queue);
            let calls = self.clone();
            // It is not waited for; each call answers for itself.
            let _runs = tokio::task::spawn_blocking(move || calls.make(thread));
        }
    }

    /// Makes the calls that wait, until there are none, or until another thread has taken over.
    fn make(&self, thread: u64) {
        loop {
            let call = {
                let mut queue = self.queue();
                if queue.thread != thread {
                    return;
                }
                let call = queue.waiting.pop_front();
                queue.began = call.is_some().then(Instant::now);
                call
            };
            let Some(call) = call else { return };
            // Whoever waits for a call that panics is told by the end of its channel.
            let _panicked = catch_unwind(AssertUnwindSafe(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_hanging_call_is_given_up_and_not_joined_by_others() {
        let calls = OneAtATime::new(Duration::from_millis(100), BlockingCalls::default());
        let (release, hang) = mpsc::channel::<()>();
        let path = Path::new("/somewhere");
        let hanging = calls.run(path, move || Ok(hang.recv().is_ok()));
        assert!(matches!(hanging.await, Err(TargetError::Hanging { .. })));
        assert!(matches!(calls.run(path, || Ok(())).await, Err(TargetError::Hanging { .. })));
        release.send(()).expect("it hangs");
        // Once the file system answers again, so does this.
        while calls.run(path, || Ok(())).await.is_err() {}
    }

    #[tokio::test]
    async fn what_hangs_for_one_target_holds_no_other_up() {
        let path = Path::new("/somewhere");
        let (release, hang) = mpsc::channel::<()>();
        let shared = BlockingCalls::default();
        let hanging = OneAtATime::new(Duration::from_secs(60), shared.clone());
        let hanging = hanging.run(path, move || Ok(hang.recv().is_ok()));
        let others = async {
            for _ in 0..3 {
                OneAtATime::new(LIMIT, shared.clone()).run(path, || Ok(())).await.expect("another thread makes it");
            }
            release.send(()).expect("it still hangs");
        };
        assert!(tokio::join!(hanging, others).0.expect("it was released in time"));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_lost_alone() {
        let calls = OneAtATime::new(LIMIT, BlockingCalls::default());
        let path = Path::new("/somewhere");
        let panicking = || {
            assert!(std::hint::black_box(false), "on purpose");
            Ok(())
        };
        assert!(matches!(calls.run(path, panicking).await, Err(TargetError::Lost(_))));
        calls.run(path, || Ok(())).await.expect("the next one is made");
    }
}
