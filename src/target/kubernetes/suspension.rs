//! Turns the sync of a workload's owner off and on in a cluster, and looks how it stands.

use std::{sync::PoisonError, time::Duration};

use kube::{
    Api,
    core::{ApiResource, DynamicObject},
};
use tokio::time::{self, Instant};

use super::{
    KubernetesError, KubernetesTarget,
    clusters::Sight,
    configuration::Key,
    mirror::Scope,
    owner::{Owner, owner},
    server::ask,
    sync::{self, Git, Kind, SOURCES, Source, Syncer},
    traffic::Change,
};
use crate::{
    core::{
        name::IncidentId,
        operation::Attempt,
        release::{GitSync, SyncState},
    },
    target::TargetError,
};

/// Between two looks at copies that do not show a write yet.
const SHOWN_POLL: Duration = Duration::from_millis(200);

impl KubernetesTarget {
    /// How the sync of the workload's owner stands, from the copies; none where it is not to be suspended, or cannot be.
    pub(super) async fn sync(&self, sight: &Sight) -> Option<GitSync> {
        let (owner, syncer) = self.syncer(sight)?;
        let mut watched = Vec::new();
        let seen = self.sync_state(&syncer, &mut watched).await;
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
        let (state, was) = match seen {
            Ok((state, was)) => (state, Some(was)),
            Err(error) => (SyncState::Unseen { why: error.to_string() }, None),
        };
        Some(GitSync { owner: owner.to_string(), state, was })
    }

    /// The object whose sync is to be suspended, and its source, as far as they are known.
    pub(super) async fn owners(&self, sight: &Sight) -> Vec<Scope> {
        let mut owners = Vec::new();
        if let Some((_, syncer)) = self.syncer(sight) {
            // Where one cannot be seen is told by the look at the target.
            let _seen_or_not = self.sync_state(&syncer, &mut owners).await;
        }
        owners
    }

    fn syncer(&self, sight: &Sight) -> Option<(Owner, Syncer)> {
        let owner = owner(&sight.workload).filter(|_| self.form.suspends_sync)?;
        let syncer = Syncer::of(&owner)?;
        Some((owner, syncer))
    }

    /// For whom it is suspended here: one object may sync services of several installations.
    fn whose(&self) -> String {
        format!("{}@{}", self.service, self.clusters.installation())
    }

    /// What seals the values of a HelmRelease. Without it nobody can tell when those are others, which is told.
    async fn sealing_key(&self, syncer: &Syncer) -> Option<Key> {
        if syncer.kind == Kind::HelmRelease { self.clusters.key().await.ok() } else { None }
    }

    /// How its sync stands, and what makes that what it was.
    async fn sync_state(
        &self,
        syncer: &Syncer,
        watched: &mut Vec<Scope>,
    ) -> Result<(SyncState, String), KubernetesError> {
        let scope = self.scope(syncer).await?;
        watched.push(scope.clone());
        let object = self.clusters.named(&self.form, &scope).await?.ok_or_else(|| absent(syncer))?;
        let source = match sync::source(syncer.kind, &object) {
            None => None,
            Some(source) => {
                let scope = self.scope_of(SOURCES, &source.kind, &source.namespace, &source.name).await?;
                watched.push(scope.clone());
                self.clusters.named(&self.form, &scope).await?
            }
        };
        let key = self.sealing_key(syncer).await;
        let git = Git { source: source.as_deref(), key: key.as_ref() };
        Ok((sync::state(syncer.kind, &object, git, &self.whose()), sync::was(syncer.kind, &object)))
    }

    async fn scope(&self, syncer: &Syncer) -> Result<Scope, KubernetesError> {
        self.scope_of(syncer.kind.group(), syncer.kind.as_str(), &syncer.namespace, &syncer.name).await
    }

    async fn scope_of(
        &self,
        group: &'static str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Scope, KubernetesError> {
        let resource = self.clusters.discovered(&self.form, group, kind).await?;
        Ok(Scope { resource, namespace: namespace.to_owned(), name: Some(name.to_owned()) })
    }

    /// Turns it off, and waits until the copies show it: a later look that shows it on is one after somebody turned it on.
    pub(super) async fn suspend_sync(&self, attempt: &Attempt, owner: &str) -> Result<String, TargetError> {
        let until = Instant::now() + attempt.deadline;
        let syncer = self.syncer_of("suspend the sync", owner, Some(attempt)).await?;
        let scope = self.scope(&syncer).await?;
        let source = self.source_now(&syncer, &scope.resource).await?;
        let (whose, key) = (self.whose(), self.sealing_key(&syncer).await);
        let git = Git { source: source.as_ref(), key: key.as_ref() };
        let whose = (whose.as_str(), &attempt.key.incident);
        let change = |object: &DynamicObject| sync::suspend(syncer.kind, object, git, whose);
        let note = self.change_syncer(&syncer, &scope.resource, attempt.deadline, change).await?;
        // That somebody turned it on again at once is seen by the next look.
        let is_shown = |state: &SyncState| *state != SyncState::Active && !matches!(state, SyncState::Unseen { .. });
        self.shown(&syncer, "the sync suspended", until, is_shown).await?;
        Ok(note)
    }

    /// Turns it on as it was, unless it is suspended for another service too, and waits until the copies show it.
    pub(super) async fn resume_sync(&self, attempt: &Attempt, owner: &str) -> Result<String, TargetError> {
        let until = Instant::now() + attempt.deadline;
        let syncer = self.syncer_of("resume the sync", owner, None).await?;
        let scope = self.scope(&syncer).await?;
        let whose = self.whose();
        let whose = (whose.as_str(), &attempt.key.incident);
        let change = |object: &DynamicObject| sync::resume(syncer.kind, object, whose);
        let note = self.change_syncer(&syncer, &scope.resource, attempt.deadline, change).await?;
        let is_own = |incident: &IncidentId| *incident == attempt.key.incident;
        let is_shown = |state: &SyncState| match state {
            SyncState::Active | SyncState::ByHand => true,
            SyncState::Suspended { incident, .. } | SyncState::Lifted { incident, .. } => !is_own(incident),
            SyncState::Unseen { .. } => false,
        };
        self.shown(&syncer, "the sync resumed", until, is_shown).await?;
        Ok(note)
    }

    /// The object whose sync is to be changed, which is that of this owner, as the workload says now; where `only` is given, the
    /// workload that this plan is about.
    async fn syncer_of(&self, what: &str, owner: &str, only: Option<&Attempt>) -> Result<Syncer, TargetError> {
        let fresh = self.fresh().await?;
        if let Some(attempt) = only {
            self.is_the_one(attempt, &fresh)?;
        }
        let why = match self.syncer(&fresh) {
            Some((now, syncer)) if now.to_string() == owner => return Ok(syncer),
            Some((now, _)) => format!("it is {now} that owns the target by now, and not {owner}"),
            None if !self.form.suspends_sync => "gates.gitops is not `suspend` any more".to_owned(),
            None => "its owner is gone, or has no sync that could be suspended".to_owned(),
        };
        Err(KubernetesError::Refused { what: what.to_owned(), why }.into())
    }

    /// Waits until the copies show a sync as it should be; no longer than `until`.
    async fn shown(
        &self,
        syncer: &Syncer,
        what: &'static str,
        until: Instant,
        is_shown: impl Fn(&SyncState) -> bool,
    ) -> Result<(), TargetError> {
        // Bounded by `until`.
        loop {
            let last = match self.sync_state(syncer, &mut Vec::new()).await {
                Ok((state, _)) if is_shown(&state) => return Ok(()),
                Ok(_) => "the watch does not show it yet".to_owned(),
                Err(error) => format!("failed to {error}"),
            };
            if Instant::now() + SHOWN_POLL >= until {
                return Err(KubernetesError::NotShown { what, last }.into());
            }
            time::sleep(SHOWN_POLL).await;
        }
    }

    async fn change_syncer(
        &self,
        syncer: &Syncer,
        resource: &ApiResource,
        within: Duration,
        change: impl Fn(&DynamicObject) -> Change,
    ) -> Result<String, TargetError> {
        let place = (syncer.namespace.as_str(), syncer.name.as_str());
        self.change_at(resource, syncer.kind.as_str(), place, within, change).await
    }

    /// The source of a Flux object, asked for now.
    async fn source_now(
        &self,
        syncer: &Syncer,
        resource: &ApiResource,
    ) -> Result<Option<DynamicObject>, KubernetesError> {
        let client = self.clusters.client(&self.form).await?;
        let get = async |resource: &ApiResource, namespace: &str, name: &str| {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
            ask(&format!("read {} {namespace}/{name}", resource.kind), api.get_opt(name)).await
        };
        let object = get(resource, &syncer.namespace, &syncer.name).await?.ok_or_else(|| absent(syncer))?;
        let Some(Source { kind, namespace, name }) = sync::source(syncer.kind, &object) else { return Ok(None) };
        get(&self.clusters.discovered(&self.form, SOURCES, &kind).await?, &namespace, &name).await
    }
}

fn absent(syncer: &Syncer) -> KubernetesError {
    let Syncer { kind, namespace, name } = syncer;
    KubernetesError::Absent { kind: kind.as_str(), namespace: namespace.clone(), name: name.clone() }
}
