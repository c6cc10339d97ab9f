//! A workload in Kubernetes: a Deployment, a StatefulSet or a DaemonSet.
//!
//! Looks are taken from local copies that watches keep ([`mirror`]); what changes something asks the API server anew
//! first, and writes by a patch that tests whom it changes ([`undo`]).

mod announce;
mod clusters;
mod content;
mod error;
mod gather;
mod lease;
mod mirror;
mod owner;
mod permissions;
mod pods;
mod restart;
mod review;
mod revision;
mod rollout;
mod seen;
mod server;
mod traffic;
mod undo;
mod workload;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

pub use clusters::Clusters;
pub use error::KubernetesError;
pub use gather::Gathered;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{ApiResource, DynamicObject},
};
pub use permissions::{PERMISSIONS, Permission, Purpose, Scope};
pub use review::Denied;
use serde_json::Value;
use tokio::time::{self, Instant};

use self::{
    clusters::Sight,
    lease::{Holder, Lease},
    pods::{Health, Pod},
    revision::Revision,
    rollout::Rollout,
    seen::Seen,
    server::ask,
    traffic::Change,
    workload::{Kind, resource},
};
use super::{Notice, TargetError, names::Names};
use crate::{
    config::form,
    core::{
        name::Version,
        operation::{Attempt, Operation, StepKey},
        release::{Observation, Release},
    },
};

/// Tries at one write, each after a fresh look, while others write in between: the controllers alone write several times
/// a second to a workload that rolls out.
const WRITES_LIMIT: usize = 8;
/// Between two looks at a rollout that is waited for.
const ROLLOUT_POLL: time::Duration = time::Duration::from_millis(500);
/// Who writes, in the API server's own books.
const FIELD_MANAGER: &str = "backstop";

/// A workload in Kubernetes.
#[derive(Debug)]
pub(super) struct KubernetesTarget {
    form: form::KubernetesTarget,
    kind: Kind,
    clusters: Arc<Clusters>,
    lease: Lease,
    names: Mutex<Names>,
    seen: Mutex<Seen>,
    /// Changes of the copies that the last look has taken in.
    taken_in: AtomicU64,
}

impl KubernetesTarget {
    pub(super) fn new<'a>(
        form: form::KubernetesTarget,
        clusters: Arc<Clusters>,
        known: impl Iterator<Item = &'a Release>,
    ) -> Self {
        let kind = Kind::of(&form.workload);
        let holder = Holder::new(clusters.installation());
        let lease = Lease::new(kind, &form.namespace, form.workload.name(), holder);
        let names = Mutex::new(Names::known(known));
        Self { form, kind, clusters, lease, names, seen: Mutex::default(), taken_in: AtomicU64::new(0) }
    }

    /// Whether the copies have changed since the last look.
    pub(super) fn has_changed(&self) -> bool {
        self.clusters.changes(&self.form, self.kind) != self.taken_in.load(Ordering::Acquire)
    }

    pub(super) async fn observe(&self) -> Result<Observation, TargetError> {
        // Before anything is read: what changes meanwhile is noticed by the next glance.
        let changes = self.clusters.changes(&self.form, self.kind);
        let sight = self.clusters.sight(&self.form, self.kind).await?;
        let observation = self.understand(&sight);
        self.taken_in.store(changes, Ordering::Release);
        Ok(observation)
    }

    fn understand(&self, sight: &Sight) -> Observation {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.observe(self.kind, sight, &mut names, Instant::now())
    }

    pub(super) async fn operate(&self, attempt: &Attempt) -> Result<String, TargetError> {
        match &attempt.operation {
            Operation::EnsureAvailable { version } => {
                let fresh = self.fresh().await?;
                let revision = self.find(&fresh, version)?;
                // Before anything is done: whoever finds another writing has nothing to take back.
                self.lease.hold(&self.clusters.client(&self.form).await?).await?;
                Ok(format!("{version} is there as revision {}", revision.number))
            }
            Operation::Switch { from, to } => self.switch(attempt, from, to).await,
            Operation::WaitRollout { version } => self.wait_rollout(version, attempt.deadline).await,
            other @ Operation::Record { .. } => Err(TargetError::Foreign(other.as_str())),
        }
    }

    /// The workload and its revisions, asked for now.
    async fn fresh(&self) -> Result<Sight, TargetError> {
        Ok(self.clusters.fresh(&self.form, self.kind).await?)
    }

    /// The newest revision that a name stands for.
    fn find(&self, sight: &Sight, version: &Version) -> Result<Revision, TargetError> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |why: &str| TargetError::Unavailable { version: version.clone(), why: why.to_owned() };
        let content = names.content(version).ok_or_else(|| missing("no revision of that name was ever seen"))?;
        let found = sight.revisions(self.kind).into_iter().find(|revision| revision.template.content() == content);
        found.ok_or_else(|| missing("its revision is gone: the workload keeps revisionHistoryLimit of them"))
    }

    /// What a sight shows live; none where the workload has a template that was never named.
    fn live(&self, sight: &Sight) -> Option<Version> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        seen::live(sight, &mut names)
    }

    async fn switch(&self, attempt: &Attempt, from: &Version, to: &Version) -> Result<String, TargetError> {
        let until = Instant::now() + attempt.deadline;
        let incident = attempt.key.incident.as_str();
        let cause = format!("rolled back from {from} to {to} by Backstop, incident {incident}");
        let mut refused = None;
        for _ in 0..WRITES_LIMIT {
            if Instant::now() >= until {
                break;
            }
            let fresh = self.fresh().await?;
            let live = self.live(&fresh).ok_or_else(|| TargetError::Unseen {
                from: from.clone(),
                to: to.clone(),
                why: Box::new(TargetError::Lost("the workload has no template".to_owned())),
            })?;
            if live == *to {
                return Ok(format!("{to} was the workload's already"));
            }
            if live != *from {
                return Err(TargetError::Overtaken { from: from.clone(), to: to.clone(), live });
            }
            let revision = self.find(&fresh, to)?;
            let patch = undo::to_template(&fresh.workload, &revision.template, &cause, incident);
            let client = self.clusters.client(&self.form).await?;
            self.lease.hold(&client).await?;
            let api = Api::namespaced_with(client, &self.form.namespace, &self.kind.resource());
            match self.patch(&api, self.kind.word(), self.form.workload.name(), patch).await {
                Ok(()) => return Ok(format!("revision {} is the workload's again", revision.number)),
                Err(error) if error.is_conflict() => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended(refused))
    }

    /// Stops traffic, in the way that is configured.
    pub(super) async fn stop_traffic(&self, key: &StepKey, within: time::Duration) -> Result<String, TargetError> {
        let incident = key.incident.as_str();
        match self.traffic_service() {
            Some(service) => self.change_service(service, within, |object| traffic::close(object, incident)).await,
            None => self.change_workload(within, |object| traffic::scale_down(object, incident)).await,
        }
    }

    /// Restores it to what it was.
    pub(super) async fn start_traffic(&self, within: time::Duration) -> Result<String, TargetError> {
        match self.traffic_service() {
            Some(service) => self.change_service(service, within, traffic::open).await,
            None => self.change_workload(within, traffic::scale_up).await,
        }
    }

    /// The Service to be changed, where traffic is stopped so.
    fn traffic_service(&self) -> Option<&str> {
        self.form.traffic_service.as_deref().filter(|_| self.form.stop_traffic == form::StopTraffic::Selector)
    }

    async fn change_workload(
        &self,
        within: time::Duration,
        change: impl Fn(&DynamicObject) -> Change,
    ) -> Result<String, TargetError> {
        let name = self.form.workload.name();
        self.change(&self.kind.resource(), self.kind.word(), name, within, change).await
    }

    async fn change_service(
        &self,
        name: &str,
        within: time::Duration,
        change: impl Fn(&DynamicObject) -> Change,
    ) -> Result<String, TargetError> {
        self.change(&resource("", "Service"), "service", name, within, change).await
    }

    /// Looks at an object, and changes it; anew while others write in between.
    async fn change(
        &self,
        resource: &ApiResource,
        word: &'static str,
        name: &str,
        within: time::Duration,
        change: impl Fn(&DynamicObject) -> Change,
    ) -> Result<String, TargetError> {
        let until = Instant::now() + within;
        let client = self.clusters.client(&self.form).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &self.form.namespace, resource);
        let mut refused = None;
        for _ in 0..WRITES_LIMIT {
            if Instant::now() >= until {
                break;
            }
            let what = format!("read {word} {}/{name}", self.form.namespace);
            let object = ask(&what, api.get_opt(name)).await?.ok_or_else(|| KubernetesError::Absent {
                kind: word,
                namespace: self.form.namespace.clone(),
                name: name.to_owned(),
            })?;
            let (patch, note) = match change(&object) {
                Change::Nothing(note) => return Ok(note),
                Change::Patch(patch, note) => (patch, note),
            };
            self.lease.hold(&client).await?;
            match self.patch(&api, word, name, patch).await {
                Ok(()) => return Ok(note),
                Err(error) if error.is_conflict() => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended(refused))
    }

    async fn patch(
        &self,
        api: &Api<DynamicObject>,
        word: &str,
        name: &str,
        patch: Vec<Value>,
    ) -> Result<(), KubernetesError> {
        let what = format!("change {word} {}/{name}", self.form.namespace);
        let patch = serde_json::from_value(Value::Array(patch)).map_err(|error| KubernetesError::Asked {
            what: what.clone(),
            source: Box::new(kube::Error::SerdeError(error)),
        })?;
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        ask(&what, api.patch(name, &parameters, &Patch::<()>::Json(patch))).await?;
        Ok(())
    }

    /// A StatefulSet waits for the pod of the accused release to become ready before it exchanges it, which it never does:
    /// Kubernetes' documentation calls that forced rollback, and leaves it to people. So pods of another revision than the
    /// workload's are deleted where they fail; never one that serves.
    async fn unblock(&self, sight: &Sight) -> Result<(), TargetError> {
        if self.kind != Kind::StatefulSet {
            return Ok(());
        }
        let revisions = sight.revisions(self.kind);
        let Some(current) = revision::current(&sight.workload, &revisions) else { return Ok(()) };
        let blocking = seen::pods(self.kind, sight).into_iter().filter(|pod| pod.revision != current.pod_label);
        let blocking = blocking.filter_map(|pod| match pod.health.clone() {
            Health::Failing(why) => Some((pod, why)),
            Health::Ready | Health::Unready { .. } => None,
        });
        self.delete_pods(blocking.collect()).await?;
        Ok(())
    }

    /// Deletes pods that fail: a bounded share, and never one that serves.
    pub(super) async fn restart_failing(&self) -> Result<String, TargetError> {
        let sight = self.clusters.sight(&self.form, self.kind).await?;
        let chosen: Vec<(Pod, String)> = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let pods = seen::pods(self.kind, &sight);
            let chosen = restart::chosen(&pods, seen.unready(), self.form.restart_at_most, Instant::now());
            chosen.into_iter().map(|(pod, why)| (pod.clone(), why)).collect()
        };
        let notes = self.delete_pods(chosen).await?;
        Ok(if notes.is_empty() { "no pod fails".to_owned() } else { format!("deleted {}", notes.join(", ")) })
    }

    /// Deletes pods as they were read; says which are gone, and why they had to go. One that has changed since, and may
    /// serve by now, stays: the next look sees it.
    async fn delete_pods(&self, pods: Vec<(Pod, String)>) -> Result<Vec<String>, TargetError> {
        if pods.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.clusters.client(&self.form).await?;
        self.lease.hold(&client).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.form.namespace, &resource("", "Pod"));
        let mut notes = Vec::new();
        for (Pod { name, uid, resource_version, .. }, why) in pods {
            // Another pod of the same name is another: those of a StatefulSet are called alike.
            let preconditions = Some(Preconditions { uid: Some(uid), resource_version });
            let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
            match ask(&format!("delete pod {}/{name}", self.form.namespace), api.delete(&name, &parameters)).await {
                Ok(_) => notes.push(format!("{name} ({why})")),
                Err(error) if matches!(error.code(), Some(404 | 409)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(notes)
    }

    /// Gathers what a human would look at first.
    pub(super) async fn gather(&self) -> Result<Vec<Gathered>, TargetError> {
        let client = self.clusters.client(&self.form).await?;
        // While nothing can be seen, what can be gathered without names comes all the same.
        let pods = match self.clusters.sight(&self.form, self.kind).await {
            Ok(sight) => {
                let mut pods = seen::pods(self.kind, &sight);
                pods.sort_by_key(|pod| pod.health == Health::Ready);
                pods.into_iter().map(|pod| pod.name).collect()
            }
            Err(_) => Vec::new(),
        };
        Ok(gather::gather(&client, &self.form.namespace, &pods).await)
    }

    /// Whether the Service is there that traffic is stopped by.
    pub(super) async fn can_stop_traffic(&self) -> Result<(), TargetError> {
        let Some(name) = self.traffic_service() else { return Ok(()) };
        let client = self.clusters.client(&self.form).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.form.namespace, &resource("", "Service"));
        let what = format!("read service {}/{name}", self.form.namespace);
        ask(&what, api.get_opt(name)).await?.map(|_| ()).ok_or_else(|| {
            let (namespace, name) = (self.form.namespace.clone(), name.to_owned());
            KubernetesError::Absent { kind: "service", namespace, name }.into()
        })
    }

    /// Says in the cluster what is done.
    pub(super) async fn announce(&self, notice: &Notice) -> Result<(), TargetError> {
        let client = self.clusters.client(&self.form).await?;
        let sight = self.clusters.sight(&self.form, self.kind).await?;
        let about = (self.kind, &*sight.workload);
        announce::announce(&client, &self.form.namespace, about, self.clusters.installation(), notice).await?;
        Ok(())
    }

    /// What the account may not do, of what this target needs.
    pub(super) async fn denied(&self) -> Result<Vec<Denied>, TargetError> {
        let client = self.clusters.client(&self.form).await?;
        Ok(review::review(&client, &self.form).await?)
    }

    async fn wait_rollout(&self, wanted: &Version, within: time::Duration) -> Result<String, TargetError> {
        let until = Instant::now() + within;
        // Bounded by `until`.
        loop {
            // From the copies: each look costs the API server nothing, and a change shows at once.
            let last = match self.clusters.sight(&self.form, self.kind).await {
                Ok(sight) => match (self.live(&sight), rollout::rollout(self.kind, &sight.workload)) {
                    (Some(live), Rollout::Complete) if live == *wanted => return Ok(format!("{wanted} is rolled out")),
                    (Some(live), Rollout::Failed(why)) if live == *wanted => {
                        return Err(TargetError::RolloutFailed { wanted: wanted.clone(), why });
                    }
                    (Some(live), Rollout::ByHand) if live == *wanted => {
                        return Err(TargetError::ByHand { wanted: wanted.clone() });
                    }
                    (Some(live), Rollout::UnderWay(what)) if live == *wanted => {
                        self.unblock(&sight).await?;
                        what
                    }
                    (Some(live), _) => format!("{live} is"),
                    (None, _) => "nobody knows what is".to_owned(),
                },
                Err(error) => format!("failed to {error}"),
            };
            if Instant::now() + ROLLOUT_POLL >= until {
                return Err(TargetError::NotYetLive { wanted: wanted.clone(), last });
            }
            time::sleep(ROLLOUT_POLL).await;
        }
    }
}

/// Why nothing was written in so many tries. The API server refuses a test of ours as it refuses what is invalid: what it
/// said last is told.
fn contended(refused: Option<KubernetesError>) -> TargetError {
    let said = refused.map_or_else(|| "the deadline came first".to_owned(), |error| error.to_string());
    TargetError::Contended { limit: WRITES_LIMIT, said }
}
