//! The store's own thread: a slow disk holds up nothing but what must not go on before the disk has it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Journal, StoreError, Tidied};
use crate::core::{entry::Entry, event::Sequence, sample::Reason};

/// Most entries of one transaction: everything that is queued goes together, and a long queue does not hold the first
/// answer up. A batch is never divided, so a single larger one goes whole.
const BATCH_LIMIT: usize = 4096;

/// Wait after the first failure. A lock or a full disk may be over soon.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Longest wait between two tries: once the disk is well again, acting goes on within this.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How often it is looked whether the store is still whole. A page of it that nobody reads can be damaged for long, and a
/// rollback that begins on it could not be gone on with; reading some megabytes takes tens of milliseconds.
const INSPECT_EVERY: Duration = Duration::from_secs(30);

/// How often it is asked whether what another thread works at is ready.
const TIDY_AGAIN: Duration = Duration::from_millis(50);

type Batch = Vec<(Sequence, Arc<Entry>)>;

/// What the store's thread tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// Everything up to here is durable.
    Committed(Sequence),
    /// It could not be written; it is tried again, for ever. Told at each try.
    Failing(Reason),
    /// After that: it is whole and can be written again, though nothing waited to be.
    Works,
}

/// The way to the store's thread. Dropping it leaves the thread to write what is queued; see [`StoreHandle::close`].
#[derive(Debug)]
pub struct StoreHandle {
    queue: Sender<Batch>,
    waiting: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl StoreHandle {
    /// Queues a batch; never waits. The queue itself has no bound: the core holds back once too many of its entries are
    /// not yet committed.
    pub fn append(&self, batch: Vec<(Sequence, Arc<Entry>)>) -> Result<(), StoreError> {
        let count = batch.len();
        self.waiting.fetch_add(count, Ordering::Relaxed);
        self.queue.send(batch).map_err(|_returned| StoreError::Gone)
    }

    /// Entries that were queued and are not durable yet.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the thread has ended, which it does of itself only by a panic.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the thread once what is queued is written. What then cannot be written at one further try is given up:
    /// the effects that depend on it have not left either. True if everything is durable. May block for a slow disk.
    pub fn close(self) -> bool {
        drop(self.queue);
        self.thread.join().is_ok() && self.waiting.load(Ordering::Relaxed) == 0
    }
}

/// Starts the store's thread. `events` is called on it, and must not wait.
///
/// # Panics
/// If the system gives no thread, which is so only at the start of the process.
pub fn spawn(store: impl Journal + 'static, events: impl Fn(StoreEvent) + Send + 'static) -> StoreHandle {
    spawn_with(store, INSPECT_EVERY, events)
}

fn spawn_with(
    store: impl Journal + 'static,
    inspect_every: Duration,
    events: impl Fn(StoreEvent) + Send + 'static,
) -> StoreHandle {
    let (queue, batches) = mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&waiting);
    let thread = thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || write(store, &batches, &counted, Inspection::new(inspect_every), &events))
        .expect("a thread at the start of the process");
    StoreHandle { queue, waiting, thread }
}

/// When the store is inspected next, and whether the last time found it damaged, or unable to take a proof that it is
/// well. Then nothing is appended before it is found whole.
#[derive(Debug)]
struct Inspection {
    every: Duration,
    at: Instant,
    is_damaged: bool,
}

impl Inspection {
    fn new(every: Duration) -> Self {
        Self { every, at: Instant::now() + every, is_damaged: false }
    }

    fn is_due_in(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    fn inspect(&mut self, store: &mut impl Journal) -> Result<(), StoreError> {
        let inspected = store.inspect();
        self.at = Instant::now() + self.every;
        match &inspected {
            Ok(()) => self.is_damaged = false,
            Err(error) if error.is_finding() => self.is_damaged = true,
            // Nothing was found out: it is for what it was taken before.
            Err(_) => {}
        }
        inspected
    }

    /// Inspects it, and tells what came of that: damage, or that what was damaged is well again.
    fn inspect_idle(&mut self, store: &mut impl Journal, events: &impl Fn(StoreEvent)) {
        let was_damaged = self.is_damaged;
        let found = self.inspect(store).and_then(|()| {
            // What cannot be written is not well yet.
            let proven = if was_damaged { store.prove_writable() } else { Ok(()) };
            self.is_damaged = proven.is_err();
            proven
        });
        match found {
            Ok(()) if was_damaged => events(StoreEvent::Works),
            Ok(()) => {}
            Err(error) if !self.is_damaged => {
                tracing::warn!("failed to inspect the store, which says nothing about it: failed to {error}");
            }
            Err(error) => events(StoreEvent::Failing(Reason::new(&error.to_string()))),
        }
    }

    fn append(&mut self, store: &mut impl Journal, batch: &Batch) -> Result<(), StoreError> {
        if self.is_damaged {
            self.inspect(store)?;
        }
        store.append(batch)
    }
}

fn write(
    mut store: impl Journal,
    batches: &Receiver<Batch>,
    waiting: &AtomicUsize,
    mut inspection: Inspection,
    events: &impl Fn(StoreEvent),
) {
    let mut queued: VecDeque<Batch> = VecDeque::new();
    let mut wait = FIRST_WAIT;
    let mut closing = false;
    // Ends when every handle is gone; each try is followed by a wait or by progress.
    loop {
        if queued.is_empty() {
            match next(&mut store, batches, &mut inspection, events) {
                Some(batch) => queued.push_back(batch),
                None => return,
            }
        }
        queued.extend(batches.try_iter());
        join_first(&mut queued);
        let Some(batch) = queued.front().filter(|batch| !batch.is_empty()) else {
            queued.pop_front();
            continue;
        };
        let count = batch.len();
        match inspection.append(&mut store, batch) {
            Ok(()) => {
                let last = batch.iter().map(|(sequence, _)| *sequence).max().expect("it is not empty");
                queued.pop_front();
                waiting.fetch_sub(count, Ordering::Relaxed);
                wait = FIRST_WAIT;
                events(StoreEvent::Committed(last));
            }
            Err(error) => {
                events(StoreEvent::Failing(Reason::new(&error.to_string())));
                if closing {
                    return;
                }
                closing = !gather(batches, &mut queued, wait);
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// Waits for a batch; keeps the store small meanwhile, and looks whether it is whole. None if nobody is left who could
/// send one.
fn next(
    store: &mut impl Journal,
    batches: &Receiver<Batch>,
    inspection: &mut Inspection,
    events: &impl Fn(StoreEvent),
) -> Option<Batch> {
    // Ends with a batch, or with the last handle; each turn waits, but for what there is to be tidied, which is finite.
    loop {
        if inspection.is_due_in().is_zero() {
            inspection.inspect_idle(store, events);
        }
        let tidied = if inspection.is_damaged { Tidied::Nothing } else { store.tidy() };
        let wait = match tidied {
            Tidied::Nothing => inspection.is_due_in(),
            Tidied::Waits => TIDY_AGAIN,
            Tidied::More => Duration::ZERO,
        };
        match batches.recv_timeout(wait) {
            Ok(batch) => return Some(batch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Makes one batch of as many as go into one transaction. One step's entries stay together: a store that ends between
/// two of them would hold half a decision.
fn join_first(queued: &mut VecDeque<Batch>) {
    let Some(mut first) = queued.pop_front() else { return };
    while let Some(next) = queued.pop_front_if(|next| first.len() + next.len() <= BATCH_LIMIT) {
        first.extend(next);
    }
    queued.push_front(first);
}

/// Takes in what comes while waiting. False if nobody is left who wants it written.
fn gather(batches: &Receiver<Batch>, queued: &mut VecDeque<Batch>, wait: Duration) -> bool {
    let until = Instant::now() + wait;
    loop {
        match batches.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(batch) => queued.push_back(batch),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc::channel};

    use super::*;
    use crate::core::{entry::Fact, time::WallTime};

    fn batch(sequences: std::ops::RangeInclusive<u64>) -> Batch {
        let entry = |number: u64| Entry {
            at: WallTime::from_millis(0),
            boot: None,
            service: None,
            fact: Fact::Resumed { by: number.to_string() },
        };
        sequences.map(|number| (Sequence(number), Arc::new(entry(number)))).collect()
    }

    /// Says no as often as it is told to, and remembers how large the batches were.
    #[derive(Default)]
    struct Reluctant {
        refusals: usize,
        batches: Arc<Mutex<Vec<usize>>>,
        /// A try waits for a word on this, if it is there.
        gate: Option<Receiver<()>>,
    }

    impl Journal for Reluctant {
        fn append(&mut self, batch: &[(Sequence, Arc<Entry>)]) -> Result<(), StoreError> {
            if let Some(gate) = &self.gate {
                gate.recv().expect("the test lets it go on");
            }
            if self.refusals > 0 {
                self.refusals -= 1;
                return Err(StoreError::Gap(batch[0].0));
            }
            self.batches.lock().expect("no panic").push(batch.len());
            Ok(())
        }

        fn prove_writable(&mut self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[test]
    fn what_fails_is_told_and_tried_again() {
        let (tell, told) = channel();
        let store = Reluctant { refusals: 3, ..Reluctant::default() };
        let handle = spawn(store, move |event| tell.send(event).expect("the test listens"));
        handle.append(batch(1..=2)).expect("queued");
        for _ in 0..3 {
            let event = told.recv().expect("told");
            assert!(matches!(&event, StoreEvent::Failing(reason) if reason.as_str().contains("gap")), "{event:?}");
        }
        assert_eq!(told.recv(), Ok(StoreEvent::Committed(Sequence(2))));
        assert_eq!(handle.waiting(), 0);
        assert!(handle.close());
    }

    /// A store that is damaged for its first inspections, while nobody writes.
    struct Damaged(usize);

    impl Journal for Damaged {
        fn append(&mut self, _: &[(Sequence, Arc<Entry>)]) -> Result<(), StoreError> {
            assert_eq!(self.0, 0, "nothing is appended to what is damaged");
            Ok(())
        }

        fn prove_writable(&mut self) -> Result<(), StoreError> {
            assert_eq!(self.0, 0, "nor is anything else written");
            Ok(())
        }

        fn inspect(&mut self) -> Result<(), StoreError> {
            self.0 = self.0.saturating_sub(1);
            if self.0 > 0 { Err(StoreError::Damaged { reason: "page 2".to_owned() }) } else { Ok(()) }
        }
    }

    #[test]
    fn damage_is_told_though_nobody_writes_and_nothing_is_appended_before_it_is_mended() {
        let (tell, told) = channel();
        let every = Duration::from_millis(1);
        let handle = spawn_with(Damaged(5), every, move |event| tell.send(event).expect("the test listens"));
        let is_damage =
            |event: &StoreEvent| matches!(event, StoreEvent::Failing(why) if why.as_str().contains("page 2"));
        assert!(is_damage(&told.recv_timeout(Duration::from_secs(60)).expect("told")));
        handle.append(batch(1..=1)).expect("queued");
        let all: Vec<_> = std::iter::from_fn(|| told.recv().ok().filter(is_damage)).collect();
        assert!(all.len() <= 4, "{all:?}");
        assert!(handle.close(), "and it is written in the end");
    }

    /// A store that has no descriptor for an inspection.
    struct Uninspected;

    impl Journal for Uninspected {
        fn append(&mut self, _: &[(Sequence, Arc<Entry>)]) -> Result<(), StoreError> {
            Ok(())
        }

        fn prove_writable(&mut self) -> Result<(), StoreError> {
            Ok(())
        }

        fn inspect(&mut self) -> Result<(), StoreError> {
            Err(StoreError::Open { path: "backstop.db".into(), reason: "unable to open database file".to_owned() })
        }
    }

    #[test]
    fn an_inspection_that_finds_nothing_out_holds_nothing_up() {
        let (tell, told) = channel();
        let every = Duration::from_millis(1);
        let handle = spawn_with(Uninspected, every, move |event| tell.send(event).expect("the test listens"));
        for number in 1..=20 {
            std::thread::sleep(2 * every);
            handle.append(batch(number..=number)).expect("queued");
            let next = told.recv_timeout(Duration::from_secs(60)).expect("told");
            assert_eq!(next, StoreEvent::Committed(Sequence(number)));
        }
        assert!(handle.close());
    }

    /// A store that is whole at every second inspection, and whose first proof fails.
    #[derive(Default)]
    struct Mended {
        inspections: u32,
        proofs: u32,
    }

    impl Journal for Mended {
        fn append(&mut self, _: &[(Sequence, Arc<Entry>)]) -> Result<(), StoreError> {
            Ok(())
        }

        fn prove_writable(&mut self) -> Result<(), StoreError> {
            self.proofs += 1;
            if self.proofs == 1 { Err(StoreError::Damaged { reason: "read-only".to_owned() }) } else { Ok(()) }
        }

        fn inspect(&mut self) -> Result<(), StoreError> {
            self.inspections += 1;
            if self.inspections == 1 { Err(StoreError::Damaged { reason: "page 2".to_owned() }) } else { Ok(()) }
        }
    }

    #[test]
    fn what_was_mended_is_told_once_it_can_be_written_though_nobody_writes() {
        let (tell, told) = channel();
        // Nobody listens any more once the test is over.
        let handle = spawn_with(Mended::default(), Duration::from_millis(1), move |event| drop(tell.send(event)));
        for expected in [Some("page 2"), Some("read-only"), None] {
            let event = told.recv_timeout(Duration::from_secs(60)).expect("told");
            match (&event, expected) {
                (StoreEvent::Failing(why), Some(words)) => assert!(why.as_str().contains(words), "{event:?}"),
                (StoreEvent::Works, None) => {}
                _ => panic!("{event:?} instead of {expected:?}"),
            }
        }
        handle.append(batch(1..=1)).expect("queued");
        let next = told.recv_timeout(Duration::from_secs(60)).expect("told");
        assert_eq!(next, StoreEvent::Committed(Sequence(1)), "what is well is told no second time");
        assert!(handle.close());
    }

    /// A store that writes a batch at each word, and what it tells and has written.
    struct Gated {
        told: Receiver<StoreEvent>,
        open: Sender<()>,
        batches: Arc<Mutex<Vec<usize>>>,
        handle: StoreHandle,
    }

    fn gated() -> Gated {
        let (tell, told) = channel();
        let (open, gate) = channel();
        let batches = Arc::new(Mutex::new(Vec::new()));
        let store = Reluctant { gate: Some(gate), batches: Arc::clone(&batches), ..Reluctant::default() };
        let handle = spawn(store, move |event| tell.send(event).expect("the test listens"));
        Gated { told, open, batches, handle }
    }

    #[test]
    fn everything_queued_goes_at_once_up_to_the_limit() {
        let Gated { told, open, batches, handle } = gated();
        handle.append(batch(1..=1)).expect("queued");
        // While the first is being written, many more come.
        open.send(()).expect("it waits");
        assert_eq!(told.recv(), Ok(StoreEvent::Committed(Sequence(1))));
        handle.append(batch(2..=2)).expect("queued");
        for number in 3..=5000 {
            handle.append(batch(number..=number)).expect("queued");
        }
        assert_eq!(handle.waiting(), 4999);
        for _ in 0..10 {
            open.send(()).expect("it waits");
        }
        while told.recv().expect("told") != StoreEvent::Committed(Sequence(5000)) {}
        let sizes = batches.lock().expect("no panic").clone();
        assert_eq!(sizes.iter().sum::<usize>(), 5000);
        // The one being written when the others came may have been alone; the rest needs two transactions.
        assert!(sizes.len() <= 4 && sizes.iter().all(|size| *size <= BATCH_LIMIT), "{sizes:?}");
    }

    #[test]
    fn no_batch_is_divided() {
        let Gated { told, open, batches, handle } = gated();
        handle.append(batch(1..=1)).expect("queued");
        open.send(()).expect("it waits");
        assert_eq!(told.recv(), Ok(StoreEvent::Committed(Sequence(1))));
        // Larger than the limit itself, then two that go together and a third that does not.
        for sequences in [2..=5001, 5002..=7001, 7002..=9001, 9002..=9501] {
            handle.append(batch(sequences)).expect("queued");
        }
        for _ in 0..4 {
            open.send(()).expect("it waits");
        }
        while told.recv().expect("told") != StoreEvent::Committed(Sequence(9501)) {}
        let sizes = batches.lock().expect("no panic").clone();
        let ends: Vec<usize> = sizes
            .iter()
            .scan(0, |end, size| {
                *end += size;
                Some(*end)
            })
            .collect();
        // What a transaction holds depends on what was queued when it began, but it ends where a batch ends.
        assert!(ends.iter().all(|end| [1, 5001, 7001, 9001, 9501].contains(end)), "{ends:?}");
        assert_eq!(ends[..2], [1, 5001], "{ends:?}");
    }

    #[test]
    fn batches_are_joined_whole_up_to_the_limit() {
        let mut queued: VecDeque<Batch> = [1..=2000, 2001..=4096, 4097..=4097].map(batch).into();
        join_first(&mut queued);
        assert_eq!(queued.iter().map(Vec::len).collect::<Vec<_>>(), [4096, 1]);
        let mut queued: VecDeque<Batch> = [1..=2000, 2001..=4097].map(batch).into();
        join_first(&mut queued);
        assert_eq!(queued.iter().map(Vec::len).collect::<Vec<_>>(), [2000, 2097]);
        let mut queued: VecDeque<Batch> = [1..=5000, 5001..=5001].map(batch).into();
        join_first(&mut queued);
        assert_eq!(queued.iter().map(Vec::len).collect::<Vec<_>>(), [5000, 1]);
    }

    #[test]
    fn closing_writes_what_is_queued_or_says_that_it_could_not() {
        let handle = spawn(Reluctant::default(), |_| {});
        handle.append(batch(1..=100)).expect("queued");
        assert!(handle.close());
        let handle = spawn(Reluctant { refusals: usize::MAX, ..Reluctant::default() }, |_| {});
        handle.append(batch(1..=1)).expect("queued");
        assert!(!handle.close());
    }
}
