//! Puts the daemon together: store first, then the fold, then everything that looks and serves.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    child,
    clock::Clock,
    effects::{Completions, Hands},
    files::Files,
    log::TargetTrouble,
    looks,
    publish::Press,
    turn::{Loop, SAMPLE_QUEUE_LIMIT},
};
use crate::{
    config::form::{self, Config},
    core::{
        durable::{Durable, FoldError},
        engine::State,
        event::{Event, Sequence},
        name::ServiceIndex,
    },
    notify::{Channels, Heartbeat, NotifyError},
    probe::{
        http::SetupError,
        net::{Network, tls::TlsError},
        schedule::{Prober, SpawnError},
        self_check::SelfCheck,
        version::VersionProbe,
    },
    record::history::History,
    serve::{self, Board, ServeError, Server, board, metrics::Metrics},
    store::{self, SqliteStore, StoreError, StoreEvent},
    target::Target,
};

/// A symlink is looked at so often: reading it costs nothing.
const LOOK_AT_RELEASES_EVERY: Duration = Duration::from_secs(1);
/// The user's own tools are run so often, and at once when a probe first fails.
const LOOK_BY_COMMAND_EVERY: Duration = Duration::from_secs(5);

/// Locks and receipts of steps are removed at start when they are older: an unfinished plan is resumed within minutes or
/// not at all.
const RECEIPTS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why the daemon could not run, or had to end.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("fold the journal: {0}")]
    Fold(#[from] FoldError),
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
    #[error("go on: the core panicked, and the journal could not be written within {0:?}")]
    Unsettled(Duration),
    #[error("go on: the loop ended without being asked to")]
    LoopEnded,
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the API listens.
    pub address: std::net::SocketAddr,
    /// What readers see, as the API does.
    pub board: Arc<Board>,
    loop_task: tokio::task::JoinHandle<Result<(), RunError>>,
    server: tokio::task::JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Running {
    /// Waits until the loop ends: by shutdown, or because it had to.
    pub async fn wait(self) -> Result<(), RunError> {
        let ended = self.loop_task.await.unwrap_or(Err(RunError::LoopEnded));
        self.shutdown.cancel();
        // The server bounds its own grace.
        let _ = self.server.await;
        ended
    }
}

/// Starts the daemon. The configuration was checked; everything that can fail at start fails here, before anything is
/// looked at. It ends when `shutdown` is cancelled.
pub async fn start(config: Config, shutdown: CancellationToken) -> Result<Running, RunError> {
    let Parts { address, board, turning, server } = assemble(config).await?;
    let server = tokio::spawn(server.run(shutdown.clone()));
    let loop_task = tokio::spawn(turning.run(shutdown.clone()));
    Ok(Running { address, board, loop_task, server, shutdown })
}

/// A daemon that is put together and does not turn yet.
struct Parts {
    address: std::net::SocketAddr,
    board: Arc<Board>,
    turning: Loop,
    server: Server,
}

async fn assemble(config: Config) -> Result<Parts, RunError> {
    let clock = Clock::new();
    let store = SqliteStore::open(&config.store)?;
    let metrics = Arc::new(Metrics::new(&config.policy).map_err(|error| RunError::Metrics(error.to_string()))?);
    let durable = fold(&store, &metrics)?;
    let installation = store.installation().simple().to_string();
    let network = Network::new();
    let prober = Prober::new(&config.services, &config.policy, &network, &clock)?;
    let versions = versions(&config, &network)?;
    let client = crate::notify::client((*network.tls.client(None)?).clone())?;
    let wall = {
        let clock = clock.clone();
        Arc::new(move || clock.now().wall) as crate::notify::WallClock
    };
    let channels = Arc::new(Channels::new(&config.channels, &client, &wall)?);
    let heartbeat = match &config.heartbeat {
        Some(heartbeat) => Some((Arc::new(Heartbeat::new(heartbeat, &client)?), heartbeat.every)),
        None => None,
    };
    let listeners = serve::Listeners::open(&config.server).await?;
    let address = listeners.address().map_err(|error| ServeError::Listen { address: config.server.listen, error })?;

    let (sample_sender, samples) = mpsc::channel(SAMPLE_QUEUE_LIMIT);
    let (completion_sender, completions) = mpsc::unbounded_channel();
    let completion_sender = Completions(completion_sender);
    let told = completion_sender.clone();
    let store = store::spawn(store, move |event| {
        told.send(match event {
            StoreEvent::Committed(sequence) => Event::Committed(sequence),
            StoreEvent::Failing(reason) => Event::StoreFailing(reason),
        });
    });
    let targets = targets(&config, &installation, &clock);
    let (lookers, tasks) = look_at_everything(&config, &targets, versions, &network, &completion_sender);
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
    let state = State::new(Arc::clone(&config.policy), &installation, durable, clock.now());
    let hands = Hands {
        files: Files::start(config.evidence.directory.clone(), config.evidence.keep, clock.clone()),
        clock,
        store,
        prober: prober.spawn(&sample_sender),
        targets,
        lookers,
        channels,
        external_url: config.server.external_url.as_str().into(),
        history: Arc::new(History::new(&config.history)),
        metrics: Arc::clone(&metrics),
        completions: completion_sender,
        replies: std::collections::BTreeMap::new(),
        tasks,
    };
    let turning = Loop {
        state,
        policy: Arc::clone(&config.policy),
        installation,
        store_path: config.store.clone(),
        hands,
        press: Press::new(publisher, metrics),
        heartbeat,
        samples,
        completions,
        asked,
        trouble: TargetTrouble::default(),
        panicked: false,
    };
    Ok(Parts { address, board, turning, server })
}

/// Begins to look at targets, version endpoints and the watchdog's own network.
fn look_at_everything(
    config: &Config,
    targets: &[Arc<Target>],
    versions: Vec<(ServiceIndex, VersionProbe, Duration)>,
    network: &Network,
    completions: &Completions,
) -> (Vec<Arc<Notify>>, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let mut lookers = Vec::with_capacity(targets.len());
    for (target, (index, service)) in targets.iter().zip((0..).map(ServiceIndex).zip(&config.services)) {
        let every = match service.target {
            form::Target::Releases(_) => LOOK_AT_RELEASES_EVERY,
            form::Target::Command(_) => LOOK_BY_COMMAND_EVERY,
        };
        lookers.push(looks::watch_target(&mut tasks, index, Arc::clone(target), every, completions.clone()));
    }
    for (index, probe, every) in versions {
        looks::watch_version(&mut tasks, index, probe, every, completions.clone());
    }
    if let Some(check) = SelfCheck::new(&config.self_check, network) {
        looks::watch_self(&mut tasks, check, completions.clone());
    }
    (lookers, tasks)
}

fn fold(store: &SqliteStore, metrics: &Metrics) -> Result<Durable, RunError> {
    let mut durable = Durable::default();
    let mut error = None;
    store.read_all(Sequence(1), |sequence, entry| {
        if error.is_none() {
            metrics.entry_folded(&entry);
            error = durable.apply(sequence, &entry).err();
        }
    })?;
    match error {
        Some(error) => Err(error.into()),
        None => Ok(durable),
    }
}

fn versions(config: &Config, network: &Network) -> Result<Vec<(ServiceIndex, VersionProbe, Duration)>, RunError> {
    let mut probes = Vec::new();
    for (index, service) in (0..).map(ServiceIndex).zip(&config.services) {
        if let Some(source) = &service.version {
            let probe = VersionProbe::new(source, network)
                .map_err(|error| RunError::Version { service: service.name.to_string(), error })?;
            probes.push((index, probe, source.every));
        }
    }
    Ok(probes)
}

/// Locks and receipts of plans' steps lie beside the store, apart for each store: incidents are numbered within one.
fn targets(config: &Config, installation: &str, clock: &Clock) -> Vec<Arc<Target>> {
    let beside = config.store.parent().unwrap_or_else(|| std::path::Path::new("."));
    let steps = beside.join("steps").join(installation);
    // A directory that is not there yet has nothing to be removed.
    let _nothing_there = child::prune(&steps, clock.system() - RECEIPTS_KEPT_FOR);
    config
        .services
        .iter()
        .map(|service| Arc::new(Target::new(&service.target, service.name.clone(), steps.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, SystemSecrets};

    /// A configuration whose one probe is refused: nothing listens there.
    fn config(directory: &std::path::Path) -> Config {
        let text = format!(
            "server: {{listen: '127.0.0.1:0', socket: {0}/backstop.sock}}\n\
             store: {{path: {0}/backstop.db}}\n\
             history: {{file: {0}/history.json}}\n\
             evidence: {{directory: {0}/evidence}}\n\
             services:\n\
             - name: shop\n  target: {{releases: {{directory: {0}/releases, current: {0}/current, restart: ['true']}}}}\n  \
             probes: {{ready: {{tcp: '127.0.0.1:1', every: 200ms, timeout: 200ms}}}}\n",
            directory.display()
        );
        let path = directory.join("backstop.yaml");
        std::fs::write(&path, text).expect("a temporary file");
        config::load(&path, &SystemSecrets).expect("a good configuration").0
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what}: not within a minute"));
    }

    #[tokio::test]
    async fn a_panic_of_the_core_is_survived_once() {
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let Parts { board, turning, .. } = assemble(config(directory.path())).await.expect("a daemon");
        let completions = turning.hands.completions.clone();
        let loop_task = tokio::spawn(turning.run(CancellationToken::new()));
        until("the first view", || board.ready().is_ok()).await;
        // The store never says this of itself: the core asserts it, in release too.
        let nonsense = Event::Committed(Sequence(u64::MAX));
        completions.send(nonsense.clone());
        let seen = board.service("shop").flatten().map(|view| view.at);
        until("a view after the panic", || board.service("shop").flatten().map(|view| view.at) > seen).await;
        assert!(board.alive().is_ok());
        completions.send(nonsense);
        let ended = loop_task.await.expect("no panic of the loop itself");
        assert!(matches!(ended, Err(RunError::PanickedTwice)), "{ended:?}");
    }
}
