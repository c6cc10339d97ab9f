//! Puts the daemon together: store first, then the fold, then everything that looks and serves.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{
    child,
    clock::Clock,
    completions::{Completions, Register},
    edges,
    effects::Hands,
    files::Files,
    history::HistoryKeeper,
    log::{StoreTrouble, TargetTrouble},
    manager::{Manager, Signs},
    publish::Press,
    reload::{ConfigurationFile, Reloader},
    turn::{Loop, SAMPLE_QUEUE_LIMIT},
};
use crate::{
    config::form::Config,
    core::{durable::Durable, engine::State, event::Event, name::IncidentId, sample::Reason},
    notify::NotifyError,
    probe::{http::SetupError, net::tls::TlsError, schedule::SpawnError},
    record::history::History,
    serve::{self, Board, ServeError, Server, board, metrics::Metrics},
    store::{self, CompactionBounds, DamagedStore, SqliteStore, StoreError, StoreEvent},
};

/// Locks and receipts of steps are removed at start when they are older: an unfinished plan is resumed within minutes or
/// not at all.
const RECEIPTS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why the daemon could not run, or had to end.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Signals(#[from] SpawnError),
    #[error("prepare the version endpoint of {service}: {error}")]
    Version { service: String, error: SetupError },
    #[error(transparent)]
    Notify(#[from] NotifyError),
    #[error("prepare TLS: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Heartbeat(#[from] crate::notify::HeartbeatError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("prepare the metrics: {0}")]
    Metrics(String),
    #[error("go on: the core panicked a second time")]
    PanickedTwice,
    /// The kernel does not say which start of the machine this is.
    #[error("read /proc/sys/kernel/random/boot_id: {0}; without it nobody knows how long a restart took")]
    MachineStart(std::io::Error),
    #[error("go on: the core panicked, and the journal could not be written within {0:?}")]
    Unsettled(Duration),
    /// No thread, or no descriptors for its runtime.
    #[error("start the thread that serves: {0}")]
    Serving(std::io::Error),
    #[error("go on: the loop ended without being asked to")]
    LoopEnded,
    #[error("serve on: the thread that serves ended without being asked to")]
    ServingEnded,
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the API listens.
    pub address: std::net::SocketAddr,
    /// What readers see, as the API does.
    pub board: Arc<Board>,
    /// What the daemon counts of itself.
    pub metrics: Arc<Metrics>,
    loop_task: tokio::task::JoinHandle<Result<(), RunError>>,
    /// Ends when the server has.
    served: oneshot::Receiver<()>,
    serving: DropGuard,
    shutdown: CancellationToken,
}

impl Running {
    /// Waits until the loop ends: by shutdown, or because it had to.
    pub async fn wait(mut self) -> Result<(), RunError> {
        let ended = tokio::select! {
            ended = &mut self.loop_task => ended.unwrap_or(Err(RunError::LoopEnded)),
            _ = &mut self.served => {
                // Nobody can approve, abort or pause any more. What is in flight still gets its time.
                self.shutdown.cancel();
                self.loop_task.await.unwrap_or(Err(RunError::LoopEnded))?;
                return Err(RunError::ServingEnded);
            }
        };
        drop(self.serving);
        // The server bounds its own grace.
        let _ = self.served.await;
        ended
    }
}

/// Starts the daemon. The configuration was checked; everything that can fail at start fails here, before anything is
/// looked at. With its `file` the configuration is put in force anew when that changes. It ends when `shutdown` is
/// cancelled: what is in flight gets a bounded time, and until then it still serves.
pub async fn start(
    config: Config,
    file: Option<ConfigurationFile>,
    shutdown: CancellationToken,
) -> Result<Running, RunError> {
    assemble(config, file).await?.begin(shutdown)
}

impl Parts {
    /// Begins to turn and to serve.
    fn begin(self, shutdown: CancellationToken) -> Result<Running, RunError> {
        let Self { address, board, metrics, turning, server, reloader } = self;
        if let Some(reloader) = reloader {
            tokio::spawn(reloader.run(shutdown.clone()));
        }
        let serving = CancellationToken::new();
        let served = serve_apart(server, serving.clone()).map_err(RunError::Serving)?;
        let loop_task = tokio::spawn(turning.run(shutdown.clone()));
        Ok(Running { address, board, metrics, loop_task, served, serving: serving.drop_guard(), shutdown })
    }
}

/// Serves on a thread of its own until `serving` is cancelled: however much readers ask for, no probe waits for it.
fn serve_apart(server: Server, serving: CancellationToken) -> std::io::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ended, end) = oneshot::channel();
    let work = move || {
        runtime.block_on(server.run(serving));
        // What still renders for a reader who is gone is not waited for.
        runtime.shutdown_background();
        // Nobody waits where the daemon ends in a hurry.
        let _unheard = ended.send(());
    };
    std::thread::Builder::new().name("serve".to_owned()).spawn(work)?;
    Ok(end)
}

/// A daemon that is put together and does not turn yet.
struct Parts {
    address: std::net::SocketAddr,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    turning: Loop,
    server: Server,
    reloader: Option<Reloader>,
}

async fn assemble(config: Config, file: Option<ConfigurationFile>) -> Result<Parts, RunError> {
    let clock = Clock::new();
    let metrics = Arc::new(Metrics::new(&config.policy).map_err(|error| RunError::Metrics(error.to_string()))?);
    let (journal, durable) = journal(&config.store, config.policy.keep, &metrics)?;
    let is_damaged = matches!(journal, Opened::Damaged(..));
    let installation = match &journal {
        Opened::Well(store) | Opened::Unwritable(store, _) => store.installation().simple().to_string(),
        // Its pages must be those of no other store that is damaged.
        Opened::Damaged(..) => format!("damaged_{}", Uuid::now_v7().simple()),
    };
    let prepared = edges::prepare(config, &clock)?;
    let config = &prepared.config;
    // A rollback that cannot be put on record is found out about before one is due.
    let history = Arc::new(HistoryKeeper::new(History::new(&config.history), Arc::clone(&metrics)));
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&history).watch());
    let listeners = serve::Listeners::open(&config.server).await?;
    let address = listeners.address().map_err(|error| ServeError::Listen { address: config.server.listen, error })?;

    let (sample_sender, samples) = mpsc::channel(SAMPLE_QUEUE_LIMIT);
    let (completion_sender, completions) = mpsc::unbounded_channel();
    let completion_sender = Completions::new(completion_sender);
    let store = begin_store(journal, &completion_sender);
    let boot_clock = {
        let clock = clock.clone();
        Arc::new(move || clock.boot()) as serve::BootClock
    };
    let (publisher, board) = board(&config.policy, boot_clock);
    let board = Arc::new(board);
    let (ask, asked) = serve::requests();
    let server = Server::new(
        listeners,
        &config.server.tokens,
        Arc::clone(&board),
        Arc::clone(&metrics),
        ask,
        serve::Limits::default(),
    );
    let counted = Arc::clone(&metrics);
    let machine_start = clock.machine_start().map_err(RunError::MachineStart)?;
    let state = State::new(Arc::clone(&config.policy), &installation, machine_start, durable, clock.now());
    let (to_loop, exchanges) = mpsc::channel(1);
    let (trouble, trouble_seen) = watch::channel(None);
    let manager = Manager::from_environment();
    let known = known_incidents((!is_damaged).then_some(state.durable()), &board);
    let files = files(config, &installation, &clock, known);
    let register = Register::new(&config.policy);
    let steps = steps(config, &installation, state.durable(), &clock);
    let edges = prepared.begin(&sample_sender, &completion_sender, (&installation, &steps), state.durable());
    let reloader = file.map(|file| Reloader {
        file,
        in_force: Arc::clone(&edges.config),
        clock: clock.clone(),
        to_loop,
        trouble,
        manager: manager.clone(),
        metrics: Arc::clone(&metrics),
    });
    let hands = Hands {
        clock,
        store,
        edges,
        history,
        files,
        uncommitted: super::announce::Uncommitted::default(),
        metrics: Arc::clone(&metrics),
        completions: completion_sender,
        replies: std::collections::BTreeMap::new(),
        tasks,
        operating: std::collections::BTreeSet::new(),
    };
    let turning = Loop {
        state,
        installation,
        machine_start,
        steps,
        register,
        hands,
        tokens: server.tokens(),
        press: Press::new(publisher, metrics),
        signs: Signs::new(manager),
        trouble: trouble_seen,
        samples,
        completions,
        asked,
        exchanges,
        target_trouble: TargetTrouble::default(),
        store_trouble: StoreTrouble::default(),
        panicked: false,
    };
    Ok(Parts { address, board, metrics: counted, turning, server, reloader })
}

/// The evidence folders.
fn files(
    config: &Config,
    installation: &str,
    clock: &Clock,
    known: impl FnMut() -> Option<BTreeSet<IncidentId>> + Send + 'static,
) -> Files {
    let form = &config.evidence;
    Files::start(form.directory.clone(), installation.to_owned(), form.keep, clock.clone(), known)
}

/// The journal as it was found.
enum Opened {
    Well(Box<SqliteStore>),
    /// It is read, and cannot be written for now; and why.
    Unwritable(Box<SqliteStore>, Reason),
    /// And why it is taken for damaged.
    Damaged(DamagedStore, Reason),
}

/// Starts the thread of the journal, and says at once what is wrong with it.
fn begin_store(journal: Opened, completions: &Completions) -> store::StoreHandle {
    let told = completions.clone();
    let tell = move |event| {
        told.send(match event {
            StoreEvent::Committed(sequence) => Event::Committed(sequence),
            StoreEvent::Failing(reason) => Event::StoreFailing(reason),
            StoreEvent::Works => Event::StoreWorks,
        });
    };
    match journal {
        Opened::Well(store) => spawn_store(*store, tell),
        Opened::Unwritable(store, reason) => {
            completions.send(Event::StoreFailing(reason));
            spawn_store(*store, tell)
        }
        Opened::Damaged(store, reason) => {
            completions.send(Event::StoreFailing(reason));
            store::spawn(store, tell)
        }
    }
}

/// Starts the thread of a journal that is well.
fn spawn_store(journal: SqliteStore, tell: impl Fn(StoreEvent) + Send + 'static) -> store::StoreHandle {
    #[cfg(feature = "testing")]
    let journal = crate::testing::Failpoint::from_environment(journal);
    store::spawn(journal, tell)
}

/// Opens the journal and folds it. One that its full disk lets nobody write is read: nothing is done, and people are told.
/// A damaged one does not end the watch either: nothing is known of before.
fn journal(path: &Path, keep: Duration, metrics: &Metrics) -> Result<(Opened, Durable), RunError> {
    let opened = SqliteStore::open(path);
    match opened.and_then(|store| store.recover().map(|durable| (store, durable))) {
        Ok((mut store, durable)) => {
            metrics.recovered(&durable);
            store.compact_within(CompactionBounds::keeping(keep));
            Ok((Opened::Well(Box::new(store)), durable))
        }
        Err(error) if error.is_damage() => {
            tracing::error!("failed to {error}; watching without a journal, and nothing is done");
            let store = DamagedStore::own(path, error.to_string())?;
            Ok((Opened::Damaged(store, Reason::new(&error.to_string())), Durable::default()))
        }
        Err(error) if store::has_no_room(path) => {
            let Ok(mut store) = SqliteStore::open_without_room(path) else { return Err(error.into()) };
            tracing::error!("failed to {error}; watching goes on, and nothing is done");
            let durable = store.recover()?;
            metrics.recovered(&durable);
            store.reopen_to_append();
            store.compact_within(CompactionBounds::keeping(keep));
            Ok((Opened::Unwritable(Box::new(store), Reason::new(&error.to_string())), durable))
        }
        Err(error) => Err(error.into()),
    }
}

/// Where locks and receipts of plans' steps lie: beside the store, apart for each store, since incidents are numbered
/// within one.
fn steps(config: &Config, installation: &str, durable: &Durable, clock: &Clock) -> PathBuf {
    let beside = config.store.parent().unwrap_or_else(|| std::path::Path::new("."));
    let steps = beside.join("steps").join(installation);
    let unfinished: Vec<_> = durable
        .incidents
        .values()
        .flat_map(|incident| incident.plans.iter().map(move |plan| (incident, plan)))
        .filter(|(_, plan)| plan.ended.is_none())
        .map(|(incident, plan)| (&incident.id, plan.number))
        .collect();
    // A directory that is not there yet has nothing to be removed.
    let _nothing_there = child::prune(&steps, clock.system() - RECEIPTS_KEPT_FOR, &unfinished);
    steps
}

/// Of which incidents the journal knows at any time: what is shown, and before anything is, what was found at the start
/// (nothing, where it was damaged). None while that cannot be told, for the journal fails.
fn known_incidents(
    durable: Option<&Durable>,
    board: &Arc<Board>,
) -> impl FnMut() -> Option<BTreeSet<IncidentId>> + Send + 'static {
    let mut at_start = durable.map(|durable| durable.incidents.keys().cloned().collect::<BTreeSet<_>>());
    let board = Arc::clone(board);
    move || {
        let at_start = at_start.as_mut()?;
        if board.daemon().store_failing.is_some() {
            return None;
        }
        let shown: BTreeSet<IncidentId> = board.incidents().iter().map(|incident| incident.id.clone()).collect();
        // The first that are shown are those, unless there were none.
        if !shown.is_empty() {
            at_start.clear();
        }
        Some(if at_start.is_empty() { shown } else { at_start.clone() })
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
