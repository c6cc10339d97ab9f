//! What is rolled back: releases directories, the user's own tools, and workloads in Kubernetes, and services of Docker Compose.

mod blocking;
mod command;
mod compose;
mod error;
mod kubernetes;
mod link;
mod names;
mod notice;
mod releases;
mod tool;

use std::{path::PathBuf, sync::Arc, time::Duration};

use blocking::BlockingCalls;
use command::CommandTarget;
pub use compose::ComposeError;
use compose::{ComposeTarget, Engines};
pub use error::TargetError;
use kubernetes::KubernetesTarget;
pub use kubernetes::{Clusters, Denied, Gathered, KubernetesError, PERMISSIONS, Permission, Purpose, Scope};
pub use notice::Notice;
use releases::ReleasesTarget;
use tool::Toolbox;

use crate::{
    config::form,
    core::{
        name::ServiceName,
        operation::{Attempt, OperationOutcome, Receipt, StepKey},
        release::{Observation, Release},
        sample::Reason,
    },
    runtime::child,
};

/// Most versions to go back to that are told, newest first: far more than any plan considers.
pub const AVAILABLE_LIMIT: usize = 100;

/// What the targets of one configuration share.
#[derive(Debug)]
pub struct Shared {
    /// Where what may hang is called.
    calls: BlockingCalls,
    /// The clusters that are spoken to.
    clusters: Arc<Clusters>,
    /// The Docker engines.
    engines: Arc<Engines>,
    /// Where the configuration of releases is kept, if it is.
    configurations: Option<PathBuf>,
}

impl Shared {
    /// For the targets of one `installation`: what its store is known by. Where only one may write, that is the one. The
    /// configuration of releases is kept in `configurations`, which is made when needed; whoever only looks has none.
    pub fn new(installation: &str, configurations: Option<PathBuf>) -> Self {
        let calls = BlockingCalls::default();
        let clusters = Arc::new(Clusters::new(installation, configurations.as_deref(), calls.clone()));
        let engines = Arc::new(Engines::new(configurations.as_deref()));
        Self { calls, clusters, engines, configurations }
    }
}

/// What is rolled back, of one service.
#[derive(Debug)]
pub struct Target {
    tools: Toolbox,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Releases(ReleasesTarget),
    Command(CommandTarget),
    Kubernetes(Box<KubernetesTarget>),
    Compose(Box<ComposeTarget>),
}

impl Target {
    /// The target of `service`. Locks and receipts of its steps go to `run_directory`, which is made when needed; a
    /// step's key is unique within one store only, so the store's installation has to be part of that path. `known` are the
    /// releases that the journal knows, oldest first: they keep their names.
    pub fn new(
        form: &form::Target,
        service: ServiceName,
        run_directory: PathBuf,
        shared: &Shared,
        known: &[Release],
    ) -> Self {
        let configurations = shared.configurations.as_ref().map(|directory| directory.join(service.as_str()));
        let tools = Toolbox::new(service.clone(), run_directory);
        let kind = match form {
            form::Target::Releases(form) => Kind::Releases(ReleasesTarget::new(form.clone(), shared.calls.clone())),
            form::Target::Command(form) => Kind::Command(CommandTarget::new(form.clone())),
            form::Target::Kubernetes(form) => Kind::Kubernetes(Box::new(KubernetesTarget::new(
                service,
                form.clone(),
                Arc::clone(&shared.clusters),
                (configurations, shared.calls.clone()),
                known.iter(),
            ))),
            form::Target::Compose(form) => Kind::Compose(Box::new(ComposeTarget::new(
                form.clone(),
                Arc::clone(&shared.engines),
                (configurations, shared.calls.clone()),
                known.iter(),
            ))),
        };
        Self { tools, kind }
    }

    /// What is live, and what could be gone back to. Bounded in time.
    ///
    /// # Errors
    /// Why it could not be seen; this is neither health nor failure.
    pub async fn observe(&self) -> Result<Observation, Reason> {
        let observed = match &self.kind {
            Kind::Releases(releases) => releases.observe().await,
            Kind::Command(command) => command.observe(&self.tools).await,
            Kind::Kubernetes(workload) => workload.observe().await,
            Kind::Compose(service) => service.observe().await,
        };
        observed.map_err(|error| error.reason())
    }

    /// Whether [`Self::observe`] would find anything else than last time, as far as that can be told at almost no cost:
    /// a command would have to be run. Blocks, and may hang as its file system does; meanwhile further calls say no.
    pub fn has_changed(&self) -> bool {
        match &self.kind {
            Kind::Releases(releases) => releases.has_changed(),
            Kind::Command(_) => false,
            Kind::Kubernetes(workload) => workload.has_changed(),
            Kind::Compose(service) => service.has_changed(),
        }
    }

    /// Carries out `EnsureAvailable`, `Switch`, `WaitRollout` or `RestartFailing`. An attempt runs a command under its key at most once; to
    /// try again is another attempt.
    pub async fn operate(&self, attempt: &Attempt) -> OperationOutcome {
        let outcome = match &self.kind {
            Kind::Releases(releases) => releases.operate(&self.tools, attempt).await,
            Kind::Command(command) => command.operate(&self.tools, attempt).await,
            Kind::Kubernetes(workload) => workload.operate(attempt).await,
            Kind::Compose(service) => service.operate(&self.tools, attempt).await,
        };
        outcome.map_or_else(|error| error.outcome(), OperationOutcome::Done)
    }

    /// Waits until no child of the attempt runs any more, and says what it came to.
    pub async fn receipt(&self, key: &StepKey) -> Result<Receipt, Reason> {
        child::receipt(self.tools.run_directory(), key).await.map_err(|error| Reason::new(&error.to_string()))
    }

    /// Stops traffic by the configured command.
    pub async fn stop_traffic(&self, key: &StepKey, deadline: Duration) -> OperationOutcome {
        if let Kind::Kubernetes(workload) = &self.kind {
            let stopped = workload.stop_traffic(key, deadline).await;
            return stopped.map_or_else(|error| error.outcome(), OperationOutcome::Done);
        }
        if let Kind::Compose(service) = &self.kind {
            let stopped = service.stop_traffic(&self.tools, key, deadline).await;
            return stopped.map_or_else(|error| error.outcome(), OperationOutcome::Done);
        }
        let (stop, timeout) = match &self.kind {
            Kind::Releases(releases) => (&releases.form().stop, releases.form().rollout_timeout),
            Kind::Command(command) => (&command.form().stop, command.form().rollout_timeout),
            Kind::Kubernetes(_) | Kind::Compose(_) => return TargetError::NotConfigured("stop").outcome(),
        };
        self.tools.traffic("stop", stop.as_ref(), key, deadline.min(timeout)).await
    }

    /// Restores traffic by the configured command.
    pub async fn start_traffic(&self, key: &StepKey, deadline: Duration) -> OperationOutcome {
        if let Kind::Kubernetes(workload) = &self.kind {
            let started = workload.start_traffic(deadline).await;
            return started.map_or_else(|error| error.outcome(), OperationOutcome::Done);
        }
        if let Kind::Compose(service) = &self.kind {
            let started = service.start_traffic(&self.tools, key, deadline).await;
            return started.map_or_else(|error| error.outcome(), OperationOutcome::Done);
        }
        let (start, timeout) = match &self.kind {
            Kind::Releases(releases) => (&releases.form().start, releases.form().rollout_timeout),
            Kind::Command(command) => (&command.form().start, command.form().rollout_timeout),
            Kind::Kubernetes(_) | Kind::Compose(_) => return TargetError::NotConfigured("start").outcome(),
        };
        self.tools.traffic("start", start.as_ref(), key, deadline.min(timeout)).await
    }

    /// Whether [`Self::announce`] has a place to tell anything.
    pub const fn takes_notices(&self) -> bool {
        matches!(self.kind, Kind::Kubernetes(_))
    }

    /// Tells people at the target itself, where its platform has a place for that. Bounded in time.
    ///
    /// # Errors
    /// Why it is not told.
    pub async fn announce(&self, notice: &Notice) -> Result<(), Reason> {
        match &self.kind {
            Kind::Kubernetes(workload) => workload.announce(notice).await.map_err(|error| error.reason()),
            Kind::Releases(_) | Kind::Command(_) | Kind::Compose(_) => Ok(()),
        }
    }

    /// Whether traffic could be stopped in the way that is configured, as far as that can be seen; true where no way is.
    ///
    /// # Errors
    /// Why not.
    pub async fn can_stop_traffic(&self) -> Result<(), Reason> {
        match &self.kind {
            Kind::Kubernetes(workload) => workload.can_stop_traffic().await.map_err(|error| error.reason()),
            Kind::Compose(service) => service.can_stop_traffic().await.map_err(|error| error.reason()),
            Kind::Releases(_) | Kind::Command(_) => Ok(()),
        }
    }

    /// What its account may not do, of what plans need. Bounded in time.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub async fn denied(&self) -> Result<Vec<Denied>, Reason> {
        match &self.kind {
            Kind::Kubernetes(workload) => workload.denied().await.map_err(|error| error.reason()),
            Kind::Releases(_) | Kind::Command(_) | Kind::Compose(_) => Ok(Vec::new()),
        }
    }

    /// Which other installation of Backstop writes to it just now, in words to follow "another Backstop writes there:", where
    /// only one may. Bounded in time.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn written_by_another(&self) -> Result<Option<String>, Reason> {
        match &self.kind {
            Kind::Kubernetes(workload) => workload.written_by_another().await.map_err(|error| error.reason()),
            Kind::Compose(_) | Kind::Releases(_) | Kind::Command(_) => Ok(None),
        }
    }

    /// Gathers what a human would look at first when all is down, as much of it as comes within that time.
    ///
    /// # Errors
    /// Why nothing at all could be gathered.
    pub async fn gather(&self, within: Duration) -> Result<Vec<Gathered>, Reason> {
        match &self.kind {
            Kind::Kubernetes(workload) => workload.gather(within).await.map_err(|error| error.reason()),
            Kind::Compose(service) => service.gather(within).await.map_err(|error| error.reason()),
            Kind::Releases(_) | Kind::Command(_) => Err(TargetError::Foreign("gather").reason()),
        }
    }

    /// What would be gone for ever once another release is live: the last words of what runs. As much of it as comes within
    /// that time; nothing where the target leaves them.
    pub async fn last_words(&self, within: Duration) -> Vec<Gathered> {
        match &self.kind {
            Kind::Compose(service) => service.last_words(within).await,
            Kind::Kubernetes(_) | Kind::Releases(_) | Kind::Command(_) => Vec::new(),
        }
    }
}
