//! A workload in Kubernetes: a Deployment, a StatefulSet or a DaemonSet.
//!
//! Looks are taken from local copies that watches keep ([`mirror`]); what changes something asks the API server anew
//! first, and writes by a patch that tests whom it changes ([`undo`]).

mod announce;
mod clusters;
pub(super) mod configuration;
mod connection;
pub(super) mod content;
mod error;
mod gather;
mod identity;
mod lease;
mod mirror;
mod newest;
mod owner;
mod patience;
mod permissions;
mod pods;
mod restart;
mod review;
mod revision;
mod rollout;
mod seen;
mod server;
mod settle;
mod suspension;
mod switch;
mod sync;
mod traffic;
mod turns;
mod undo;
mod wait;
mod ways;
mod workload;
mod write;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use clusters::Clusters;
pub use error::KubernetesError;
pub use gather::Gathered;
pub use permissions::{PERMISSIONS, Permission, Purpose, Scope};
pub use review::Denied;
use tokio::time::{Instant, timeout};

use self::{
    clusters::Sight,
    configuration::Kept,
    identity::{Identity, identify},
    lease::{Holder, Lease},
    newest::{Newest, Shown, Standing},
    pods::Health,
    seen::{Look, Seen},
    settle::Settling,
    suspension::How,
    workload::Kind,
};
use super::{
    Notice, TargetError,
    blocking::BlockingCalls,
    names::{Names, base},
};
use crate::{
    config::form,
    core::{
        name::ServiceName,
        operation::{Attempt, Operation},
        release::{Hindrance, Observation, Release},
    },
};

/// Tells targets apart, as long as the process runs.
static TARGETS: AtomicU64 = AtomicU64::new(0);

/// A workload in Kubernetes.
#[derive(Debug)]
pub(super) struct KubernetesTarget {
    service: ServiceName,
    form: form::KubernetesTarget,
    kind: Kind,
    clusters: Arc<Clusters>,
    lease: Lease,
    /// Who this is to them.
    number: u64,
    names: Mutex<Names>,
    kept: Kept,
    seen: Mutex<Seen>,
    /// Changes of the copies that the last look has taken in.
    taken_in: AtomicU64,
    /// Of our own changes, which the copies may be from before.
    newest: Newest<Shown>,
    /// What else was watched for the last look: the workload's owner, and its source.
    watched: Mutex<Vec<mirror::Scope>>,
}

impl KubernetesTarget {
    /// `directory` is where the configuration of its releases is kept, and made when needed; without one nothing is kept.
    pub(super) fn new<'a>(
        service: ServiceName,
        form: form::KubernetesTarget,
        clusters: Arc<Clusters>,
        (directory, calls): (Option<PathBuf>, BlockingCalls),
        known: impl Iterator<Item = &'a Release>,
    ) -> Self {
        let kind = Kind::of(&form.workload);
        let holder = Holder::new(clusters.installation());
        let lease = Lease::new(kind, &form.namespace, form.workload.name(), holder);
        let names = Names::known(known);
        let last = names.inherited().map(|(last, content)| (last.clone(), base(content).to_owned()));
        Self {
            service,
            form,
            kind,
            clusters,
            lease,
            number: TARGETS.fetch_add(1, Ordering::Relaxed),
            names: Mutex::new(names),
            kept: Kept::new(directory, calls),
            seen: Mutex::new(Seen::new(Settling::after(last))),
            taken_in: AtomicU64::new(0),
            newest: Newest::default(),
            watched: Mutex::default(),
        }
    }

    /// Whether the copies have changed since the last look, or what they showed then has settled; or they have not come to
    /// what we changed, so that others' changes do not show either.
    pub(super) fn has_changed(&self) -> bool {
        let now = Instant::now();
        let is_due = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_due(now) || self.newest.is_due(now);
        self.changes() != self.taken_in.load(Ordering::Acquire) || is_due()
    }

    fn changes(&self) -> u64 {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        self.clusters.changes(&self.form, self.kind, self.number, &watched)
    }

    pub(super) async fn observe(&self) -> Result<Observation, TargetError> {
        // Before anything is read: what changes meanwhile is noticed by the next glance.
        let changes = self.changes();
        let Shown { sight, sync, .. } = match self.shown().await {
            Ok(shown) => shown,
            Err(gone @ KubernetesError::Gone { .. }) => {
                self.taken_in.store(changes, Ordering::Release);
                return Ok(Observation { gone: Some(gone.to_string()), ..Observation::default() });
            }
            Err(error) => return Err(error.into()),
        };
        self.load_kept().await;
        let (mut observation, live) = self.understand(&sight);
        if let (Some(why), Some(workload)) = (self.lease.refusal(), &mut observation.workload) {
            workload.hindrances.push(Hindrance::NotUndoable { why });
        }
        if let Some(live) = live.filter(|live| live.switching.is_none())
            && let Err(error) = self.kept.keep(&live.manifest, &sight.configuration).await
        {
            tracing::warn!(%error, version = %live.version, "a rollback could not put this configuration back");
        }
        if let Some(workload) = &mut observation.workload {
            workload.sync = sync;
        }
        self.taken_in.store(changes, Ordering::Release);
        Ok(observation)
    }

    /// What the copies show; after a change of our own what the API server says, until the copies have come to it.
    async fn shown(&self) -> Result<Shown, KubernetesError> {
        let sight = self.clusters.sight(&self.form, self.kind, self.number).await?;
        let copies = self.shown_by(sight, How::Copied).await;
        // After the copies and before the API server is asked: a change that ends meanwhile leaves the next look in doubt.
        match self.newest.standing(copies.versions(), Instant::now()) {
            Standing::Reached => Ok(copies),
            Standing::Behind(asked) => Ok(asked.with_pods_of(copies)),
            Standing::Doubt(changes) => {
                let fresh = self.clusters.fresh(&self.form, self.kind).await?;
                let asked = self.shown_by(fresh, How::Asked).await;
                self.newest.asked(changes, asked.versions().clone(), asked.clone(), Instant::now());
                Ok(asked.with_pods_of(copies))
            }
        }
    }

    /// A sight with the sync of its owner, seen in the same way.
    async fn shown_by(&self, sight: Sight, how: How) -> Shown {
        let (sync, others) = self.sync(&sight, how).await;
        Shown::new(sight, sync, others)
    }

    /// Reads what is kept of earlier releases. Without it their templates can still be gone back to, and what takes more
    /// is refused by name.
    async fn load_kept(&self) {
        if let Err(error) = self.kept.load().await {
            tracing::warn!(%error, "the configuration of earlier releases is not at hand");
        }
    }

    fn understand(&self, sight: &Sight) -> (Observation, Option<Identity>) {
        let mut names = self.names();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let look = Look {
            kind: self.kind,
            sight,
            kept: &self.kept,
            restores: self.form.restore_config,
            restart_at_most: self.form.restart_at_most,
            now: Instant::now(),
        };
        seen.observe(look, &mut names)
    }

    pub(super) async fn operate(&self, attempt: &Attempt) -> Result<String, TargetError> {
        let operation = async {
            match &attempt.operation {
                Operation::EnsureAvailable { version } => self.ensure_available(attempt, version).await,
                Operation::Switch { from, to } => self.switch(attempt, from, to).await,
                Operation::WaitRollout { version } => self.wait_rollout(attempt, version).await,
                Operation::RestartFailing { instances, .. } => self.restart_failing(instances, attempt.deadline).await,
                Operation::SuspendSync { owner, .. } => self.suspend_sync(attempt, owner).await,
                Operation::ResumeSync { owner } => self.resume_sync(attempt, owner).await,
                other @ Operation::Record { .. } => Err(TargetError::Foreign(other.as_str())),
            }
        };
        // Each answer has its own patience, and one operation may wait for many of them.
        let limit = attempt.deadline;
        let no_end = || KubernetesError::NoEnd { what: format!("carry out {}", attempt.operation.as_str()), limit };
        let ended = timeout(limit, operation).await.unwrap_or_else(|_| Err(no_end().into()));
        if attempt.operation.changes_the_target() {
            self.newest.changed(Instant::now());
        }
        ended
    }

    /// Another object of the same name is somebody's who deleted the one that the plan is about.
    fn is_the_one(&self, attempt: &Attempt, sight: &Sight) -> Result<(), KubernetesError> {
        if attempt.object.is_none() || attempt.object == sight.workload.metadata.uid {
            return Ok(());
        }
        let (namespace, name) = (self.form.namespace.clone(), self.form.workload.name().to_owned());
        Err(KubernetesError::Replaced { kind: self.kind.word(), namespace, name })
    }

    /// What this lock guards is whole after every statement.
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workload and its revisions, asked for now.
    async fn fresh(&self) -> Result<Sight, TargetError> {
        Ok(self.clusters.fresh(&self.form, self.kind).await?)
    }

    /// Which release a sight shows; or why that cannot be told, to follow "failed to".
    fn identify(&self, sight: &Sight) -> Result<Identity, String> {
        identify(sight, &self.names(), &self.kept)
    }

    /// Gathers what a human would look at first.
    pub(super) async fn gather(&self, within: Duration) -> Result<Vec<Gathered>, TargetError> {
        let until = Instant::now() + within;
        let _alone = self.clusters.gathers_alone(&self.form, until).await?;
        let client = self.clusters.client(&self.form).await?;
        // While nothing can be seen, what can be gathered without names comes all the same.
        let pods = match self.clusters.sight(&self.form, self.kind, self.number).await {
            Ok(sight) => {
                let mut pods = seen::pods(self.kind, &sight);
                pods.sort_by_key(|pod| pod.health == Health::Ready);
                pods.into_iter().map(|pod| pod.name).collect()
            }
            Err(_) => Vec::new(),
        };
        Ok(gather::gather(&client, &self.form.namespace, &pods, until).await)
    }

    /// Says in the cluster what is done.
    pub(super) async fn announce(&self, notice: &Notice) -> Result<(), TargetError> {
        let client = self.clusters.client(&self.form).await?;
        let sight = self.clusters.sight(&self.form, self.kind, self.number).await?;
        let about = (self.kind, &*sight.workload);
        announce::announce(&client, &self.form.namespace, about, self.clusters.installation(), notice).await?;
        Ok(())
    }

    /// Which other Backstop writes here just now, in words.
    pub(super) async fn written_by_another(&self) -> Result<Option<String>, TargetError> {
        Ok(self.lease.held_by_another(&self.clusters.client(&self.form).await?).await?)
    }

    /// What the account may not do, of what this target needs.
    pub(super) async fn denied(&self) -> Result<Vec<Denied>, TargetError> {
        let client = self.clusters.client(&self.form).await?;
        // While the workload cannot be seen, who owns it is not known; that it cannot be is told by itself.
        let owners = match self.clusters.sight(&self.form, self.kind, self.number).await {
            Ok(sight) => self.owners(&sight).await,
            Err(_) => Vec::new(),
        };
        Ok(review::review(&client, &self.form, &owners).await?)
    }
}
