//! Puts the daemon together: store first, then the fold, then everything that looks and serves.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    clock::Clock,
    effects::{Completions, Hands},
    files::Files,
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
    let mut tasks = JoinSet::new();
    let targets = targets(&config, &installation);
    let mut lookers = Vec::with_capacity(targets.len());
    for (target, (index, service)) in targets.iter().zip((0..).map(ServiceIndex).zip(&config.services)) {
        let every = match service.target {
            form::Target::Releases(_) => LOOK_AT_RELEASES_EVERY,
            form::Target::Command(_) => LOOK_BY_COMMAND_EVERY,
        };
        lookers.push(looks::watch_target(&mut tasks, index, Arc::clone(target), every, completion_sender.clone()));
    }
    for (index, probe, every) in versions {
        looks::watch_version(&mut tasks, index, probe, every, completion_sender.clone());
    }
    if let Some(check) = SelfCheck::new(&config.self_check, &network) {
        looks::watch_self(&mut tasks, check, completion_sender.clone());
    }
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
    let server = tokio::spawn(server.run(shutdown.clone()));
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
        panicked: false,
    };
    let loop_task = tokio::spawn(turning.run(shutdown.clone()));
    Ok(Running { address, board, loop_task, server, shutdown })
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
fn targets(config: &Config, installation: &str) -> Vec<Arc<Target>> {
    let beside = config.store.parent().unwrap_or_else(|| std::path::Path::new("."));
    let steps = beside.join("steps").join(installation);
    config
        .services
        .iter()
        .map(|service| Arc::new(Target::new(&service.target, service.name.clone(), steps.clone())))
        .collect()
}
