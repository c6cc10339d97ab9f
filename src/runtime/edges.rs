//! Everything that looks at the world and speaks to it, made from one configuration and exchanged as one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet};

use super::{announce::Announcer, clock::Clock, completions::Completions, looks, start::RunError};
use crate::{
    config::form::{self, Config},
    core::{
        durable::{Durable, ServiceRecord},
        name::{ServiceIndex, ServiceName, SignalIndex},
        release::Release,
    },
    notify::{Channels, Heartbeat},
    probe::{
        net::Network,
        schedule::{self, Checker, Prober, Sink},
        self_check::SelfCheck,
        version::VersionProbe,
    },
    target::{Shared, Target},
};

/// A releases directory is read so often, and at once when a glance (every second) finds it or its link changed. What a
/// glance does not see, as a link above them or another order of the releases' ages, is noticed by this; the core counts on
/// five seconds. So are the copies that watches keep of a workload.
const LOOK_AT_RELEASES_EVERY: Duration = Duration::from_secs(5);
/// Targets are glanced at in so many groups, one after another: not all at once, and not each by itself either, since a
/// group costs little more than one.
const GROUPS: u32 = 16;
/// The user's own tools are run so often, and at once when a probe first fails.
pub(super) const LOOK_BY_COMMAND_EVERY: Duration = Duration::from_secs(5);

/// Edges that are prepared and do nothing yet. Making them does nothing to the world either.
#[derive(Debug)]
pub(super) struct Prepared {
    clock: Clock,
    pub(super) config: Config,
    prober: Prober,
    versions: Vec<(ServiceIndex, VersionProbe, Duration)>,
    channels: Channels,
    heartbeat: Option<(Arc<Heartbeat>, Duration)>,
    self_check: Option<SelfCheck>,
}

/// Edges at work. Dropping them ends every look; what a plan has begun goes on.
#[derive(Debug)]
pub(super) struct Edges {
    pub(super) config: Arc<Config>,
    pub(super) prober: schedule::Handle,
    pub(super) targets: Vec<Arc<Target>>,
    pub(super) lookers: Vec<Arc<Notify>>,
    pub(super) announcer: Announcer,
    pub(super) channels: Arc<Channels>,
    pub(super) external_url: Arc<str>,
    pub(super) heartbeat: Option<(Arc<Heartbeat>, Duration)>,
    _watchers: JoinSet<()>,
}

/// Prepares the edges of `config`. May take a while: it reads certificates.
pub(super) fn prepare(config: Config, clock: &Clock) -> Result<Prepared, RunError> {
    let network = Network::new();
    let prober = Prober::new(&config.services, &config.policy, &network, clock)?;
    let versions = versions(&config, &network)?;
    let client = crate::notify::client((*network.tls.client(None)?).clone())?;
    let wall = {
        let clock = clock.clone();
        Arc::new(move || clock.now().wall) as crate::notify::WallClock
    };
    let channels = Channels::new(&config.channels, &client, &wall)?;
    let heartbeat = match &config.heartbeat {
        Some(heartbeat) => Some((Arc::new(Heartbeat::new(heartbeat, &client)?), heartbeat.every)),
        None => None,
    };
    let self_check = SelfCheck::new(&config.self_check, &network);
    Ok(Prepared { clock: clock.clone(), config, prober, versions, channels, heartbeat, self_check })
}

impl Prepared {
    /// Goes on with what the prober of the configuration before knows, where a signal is taken as it was.
    pub(super) fn adopt(
        &mut self,
        old: &Checker,
        kept: impl Fn(ServiceIndex, SignalIndex) -> Option<(ServiceIndex, SignalIndex)>,
    ) {
        self.prober.adopt(old, kept);
    }

    /// Begins to look, as `installation`. `steps` holds locks and receipts of plans' steps; the releases that the journal
    /// knows keep their names.
    pub(super) fn begin(
        self,
        samples: &Sink,
        completions: &Completions,
        (installation, steps): (&str, &Path),
        journal: &Durable,
    ) -> Edges {
        let Self { config, prober, versions, channels, heartbeat, self_check, clock } = self;
        let mut watchers = JoinSet::new();
        let known = known_releases(journal);
        let names: Vec<_> = config.services.iter().map(|service| Arc::new(service.name.clone())).collect();
        // Watches of clusters that the configuration before this one kept end with its targets.
        let shared = Shared::new(installation, Some(beside_the_store(&config.store)));
        let mut targets = Vec::with_capacity(config.services.len());
        let mut lookers = Vec::with_capacity(config.services.len());
        let mut announcer = Announcer::default();
        for ((service, name), group) in config.services.iter().zip(&names).zip((0..GROUPS).cycle()) {
            let target = Arc::new(Target::new(
                &service.target,
                service.name.clone(),
                steps.to_owned(),
                &shared,
                known.get(&service.name).map_or(&[], Vec::as_slice),
            ));
            let every = match service.target {
                form::Target::Releases(_) | form::Target::Kubernetes(_) | form::Target::Compose(_) => {
                    LOOK_AT_RELEASES_EVERY
                }
                form::Target::Command(_) => LOOK_BY_COMMAND_EVERY,
            };
            announcer.add(&mut watchers, name, &target, journal);
            let (name, completions) = (Arc::clone(name), completions.clone());
            lookers.push(looks::watch_target(
                &mut watchers,
                name,
                Arc::clone(&target),
                (every, every * (group + 1) / GROUPS),
                clock.clone(),
                completions,
            ));
            targets.push(target);
        }
        for (group, first) in (0..GROUPS).zip(0..targets.len()) {
            let of_group = targets.iter().zip(&lookers).skip(first).step_by(GROUPS as usize);
            let of_group = of_group.map(|(target, looker)| (Arc::clone(target), Arc::clone(looker)));
            let apart = looks::GLANCE_EVERY + looks::GLANCE_EVERY * group / GROUPS;
            looks::glance(&mut watchers, of_group.collect(), apart);
        }
        for (index, probe, every) in versions {
            looks::watch_version(&mut watchers, Arc::clone(&names[index.get()]), probe, every, completions.clone());
        }
        if let Some(check) = self_check {
            looks::watch_self(&mut watchers, check, completions.clone());
        }
        Edges {
            external_url: config.server.external_url.as_str().into(),
            config: Arc::new(config),
            prober: prober.spawn(samples),
            targets,
            lookers,
            announcer,
            channels: Arc::new(channels),
            heartbeat,
            _watchers: watchers,
        }
    }
}

/// Where what is kept of releases' configuration lies: named as `SQLite` names what goes with a database.
fn beside_the_store(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".configuration");
    path.into()
}

/// The releases that the journal knows of each service, oldest first.
fn known_releases(durable: &Durable) -> BTreeMap<ServiceName, Vec<Release>> {
    let releases = |record: &ServiceRecord| record.deploys.iter().map(|one| one.deploy.release.clone()).collect();
    durable.services.iter().map(|(name, record)| (name.clone(), releases(record))).collect()
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
