//! Turns the sync of a workload's owner off and on in a cluster, and looks how it stands.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

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
    newest::{Found, Object, Versions},
    owner::{Owner, owner},
    server::ask,
    sync::{self, Git, Kind, SOURCES, Syncer},
    traffic::Change,
};
use crate::{
    core::{
        operation::Attempt,
        release::{GitSync, SyncState},
    },
    target::TargetError,
};

/// An operation of Argo CD that is under way is waited for no longer than this. One that applies manifests takes seconds; one
/// that waits until its release is healthy may never end where that fails, and people have to hear of it while it matters.
const OPERATION_ENDS_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether it has ended.
const OPERATION_POLL: Duration = Duration::from_secs(1);

/// How long an attempt waits for what the owner has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    limit: Duration,
    until: Instant,
}

impl Patience {
    pub(super) fn of(attempt: &Attempt) -> Self {
        let limit = attempt.deadline.min(OPERATION_ENDS_WITHIN);
        Self { limit, until: Instant::now() + limit }
    }
}

/// Where an owner and its source are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// In copies.
    Copied,
    /// At the API server, now.
    Asked,
}

/// A workload's owner, and where that has its content from.
struct Objects {
    owner: Arc<DynamicObject>,
    source: Option<Arc<DynamicObject>>,
}

impl KubernetesTarget {
    /// How the sync of the workload's owner stands; none where it is not to be suspended, or cannot be. With what was looked at.
    pub(super) async fn sync(&self, sight: &Sight, how: How) -> (Option<GitSync>, Versions) {
        let Some((owner, syncer)) = self.syncer(sight) else { return (None, Versions::new()) };
        let mut scopes = Vec::new();
        let objects = self.objects(&syncer, how, &mut scopes).await;
        if how == How::Copied {
            *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = scopes;
        }
        let mut versions: Versions = [(Object::Owner, Found::of(objects.as_ref().map(|all| Some(&*all.owner))))].into();
        let (state, was) = match objects {
            Ok(Objects { owner, source }) => {
                versions.insert(Object::Source, Found::of(Ok(source.as_deref())));
                let key = self.sealing_key(&syncer).await;
                let git = Git { source: source.as_deref(), key: key.as_ref() };
                (sync::state(syncer.kind, &owner, git, &self.whose()), Some(sync::was(syncer.kind, &owner)))
            }
            Err(error) => (SyncState::Unseen { why: error.to_string() }, None),
        };
        (Some(GitSync { owner: owner.to_string(), state, was }), versions)
    }

    /// The object whose sync is to be suspended, and its source, as far as they are known.
    pub(super) async fn owners(&self, sight: &Sight) -> Vec<Scope> {
        let mut owners = Vec::new();
        if let Some((_, syncer)) = self.syncer(sight) {
            // Where one cannot be seen is told by the look at the target.
            let _seen_or_not = self.objects(&syncer, How::Copied, &mut owners).await;
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

    /// The owner and its source; what is looked at for that goes into `scopes`.
    async fn objects(&self, syncer: &Syncer, how: How, scopes: &mut Vec<Scope>) -> Result<Objects, KubernetesError> {
        let scope = self.scope(syncer).await?;
        scopes.push(scope.clone());
        let owner = self.one(&scope, how).await?.ok_or_else(|| absent(syncer))?;
        let source = match sync::source(syncer.kind, &owner) {
            None => None,
            Some(source) => {
                let scope = self.scope_of(SOURCES, &source.kind, &source.namespace, &source.name).await?;
                scopes.push(scope.clone());
                self.one(&scope, how).await?
            }
        };
        Ok(Objects { owner, source })
    }

    /// The one object that a scope names.
    async fn one(&self, scope: &Scope, how: How) -> Result<Option<Arc<DynamicObject>>, KubernetesError> {
        if how == How::Copied {
            return self.clusters.named(&self.form, scope).await;
        }
        let client = self.clusters.client(&self.form).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(client, &scope.namespace, &scope.resource);
        let name = scope.name.as_deref().unwrap_or_default();
        let what = format!("read {} {}/{name}", scope.resource.kind, scope.namespace);
        Ok(ask(&what, api.get_opt(name)).await?.map(Arc::new))
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

    /// Turns it off. Until the copies show that, it is looked at anew ([`KubernetesTarget::shown`]): what a later look shows on
    /// is what somebody turned on.
    pub(super) async fn suspend_sync(&self, attempt: &Attempt, owner: &str) -> Result<String, TargetError> {
        let syncer = self.syncer_of("suspend the sync", owner, Some(attempt)).await?;
        let scope = self.scope(&syncer).await?;
        let Objects { source, .. } = self.objects(&syncer, How::Asked, &mut Vec::new()).await?;
        let (whose, key) = (self.whose(), self.sealing_key(&syncer).await);
        let git = Git { source: source.as_deref(), key: key.as_ref() };
        let whose = (whose.as_str(), &attempt.key.incident);
        let change = |object: &DynamicObject| sync::suspend(syncer.kind, object, git, whose);
        self.change_syncer(&syncer, &scope.resource, attempt.deadline, change).await
    }

    /// Turns it on as it was, unless it is suspended for another service too.
    pub(super) async fn resume_sync(&self, attempt: &Attempt, owner: &str) -> Result<String, TargetError> {
        let syncer = self.syncer_of("resume the sync", owner, None).await?;
        let scope = self.scope(&syncer).await?;
        let whose = self.whose();
        let whose = (whose.as_str(), &attempt.key.incident);
        let change = |object: &DynamicObject| sync::resume(syncer.kind, object, whose);
        self.change_syncer(&syncer, &scope.resource, attempt.deadline, change).await
    }

    /// Waits until the Argo CD Application that owns the workload has no operation under way, which would go on to write what it
    /// was begun for: suspending the automated sync begins no more of them, and ends none. Argo CD itself refuses a rollback
    /// meanwhile. Returns whether anything was waited for. Flux's objects do not say it: those that cannot be made live say
    /// for good that they are at it.
    pub(super) async fn waited_for_sync(&self, sight: &Sight, patience: Patience) -> Result<bool, KubernetesError> {
        let Some((owner, syncer)) = self.syncer(sight).filter(|(_, syncer)| syncer.kind == Kind::Application) else {
            return Ok(false);
        };
        let scope = match self.scope(&syncer).await {
            Ok(scope) => scope,
            // Nothing syncs, whatever is written on the workload.
            Err(KubernetesError::NoSuchKind { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut has_waited = false;
        // Bounded by its patience.
        loop {
            let application = self.one(&scope, How::Asked).await?;
            let Some(doing) = application.as_deref().and_then(sync::under_way) else { return Ok(has_waited) };
            if Instant::now() + OPERATION_POLL >= patience.until {
                let (owner, name, limit) = (owner.to_string(), syncer.name, patience.limit);
                return Err(KubernetesError::UnderWay { owner, name, doing, limit });
            }
            has_waited = true;
            time::sleep(OPERATION_POLL).await;
        }
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
}

fn absent(syncer: &Syncer) -> KubernetesError {
    let Syncer { kind, namespace, name } = syncer;
    KubernetesError::Absent { kind: kind.as_str(), namespace: namespace.clone(), name: name.clone() }
}
