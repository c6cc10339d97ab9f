//! The clusters that targets live in: one client for each, and one watch for each kind of object and namespace, however
//! many targets share them.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};

use super::{
    KubernetesError,
    mirror::{Mirror, Scope},
    revision::{Revision, revisions},
    server::{ask, connect},
    workload::{Kind, field, resource},
};
use crate::config::form;

/// Which cluster: kubeconfig and context, where they are named.
type Address = (Option<PathBuf>, Option<String>);

/// Every cluster that is spoken to.
pub struct Clusters {
    installation: Arc<str>,
    clients: tokio::sync::Mutex<HashMap<Address, Client>>,
    mirrors: Mutex<HashMap<(Address, Scope), Mirror>>,
}

impl std::fmt::Debug for Clusters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A client holds credentials, and says nothing of itself.
        formatter.debug_struct("Clusters").field("mirrors", &self.lock().len()).finish_non_exhaustive()
    }
}

/// A workload with what belongs to it.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) workload: Arc<DynamicObject>,
    /// The objects that keep its revisions; those of other workloads may be among them.
    pub(super) keepers: Vec<Arc<DynamicObject>>,
    /// Pods that its selector names.
    pub(super) pods: Vec<Arc<DynamicObject>>,
}

impl Sight {
    pub(super) fn revisions(&self, kind: Kind) -> Vec<Revision> {
        revisions(kind, &self.workload, self.keepers.iter().map(Arc::as_ref))
    }
}

impl Clusters {
    /// Spoken to by this installation of Backstop.
    pub(in crate::target) fn new(installation: &str) -> Self {
        Self { installation: installation.into(), clients: tokio::sync::Mutex::default(), mirrors: Mutex::default() }
    }

    /// By whom they are spoken to.
    pub(super) fn installation(&self) -> &str {
        &self.installation
    }

    /// The client for a target's cluster.
    pub(super) async fn client(&self, form: &form::KubernetesTarget) -> Result<Client, KubernetesError> {
        let address = (form.kubeconfig.clone(), form.context.clone());
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(&address) {
            return Ok(client.clone());
        }
        let client = connect(form.kubeconfig.as_deref(), form.context.as_deref()).await?;
        clients.insert(address, client.clone());
        Ok(client)
    }

    /// What the copies show; begins to keep them where nobody does yet.
    pub(super) async fn sight(&self, form: &form::KubernetesTarget, kind: Kind) -> Result<Sight, KubernetesError> {
        let client = self.client(form).await?;
        for scope in scopes(form, kind) {
            let changes = {
                let mut mirrors = self.lock();
                let key = (address(form), scope.clone());
                mirrors.entry(key).or_insert_with(|| Mirror::begin(&client, &scope)).listen()
            };
            Mirror::begun(changes).await;
        }
        let [workloads, keepers, pods] = scopes(form, kind);
        let name = form.workload.name();
        let workload = self.read(form, &workloads, |objects| objects.get(name).cloned())?;
        let workload = workload.ok_or_else(|| absent(form, kind))?;
        let keepers = self.read(form, &keepers, |objects| objects.values().cloned().collect())?;
        let chosen = Selector::of(&workload);
        let pods =
            self.read(form, &pods, |objects| objects.values().filter(|pod| chosen.matches(pod)).cloned().collect())?;
        Ok(Sight { workload, keepers, pods })
    }

    /// The same, asked for now, without pods.
    pub(super) async fn fresh(&self, form: &form::KubernetesTarget, kind: Kind) -> Result<Sight, KubernetesError> {
        let client = self.client(form).await?;
        let name = form.workload.name();
        let api = |resource: &ApiResource| -> Api<DynamicObject> {
            Api::namespaced_with(client.clone(), &form.namespace, resource)
        };
        let what = format!("read {} {}/{name}", kind.word(), form.namespace);
        let workload = ask(&what, api(&kind.resource()).get_opt(name)).await?.ok_or_else(|| absent(form, kind))?;
        let labels = ListParams::default().labels(&Selector::of(&workload).text());
        let what = format!("list the revisions of {} {}/{name}", kind.word(), form.namespace);
        let keepers = ask(&what, api(&kind.revisions()).list(&labels)).await?;
        let keepers = keepers.items.into_iter().map(Arc::new).collect();
        Ok(Sight { workload: Arc::new(workload), keepers, pods: Vec::new() })
    }

    /// Counts up with each change of what [`Self::sight`] reads.
    pub(super) fn changes(&self, form: &form::KubernetesTarget, kind: Kind) -> u64 {
        let mirrors = self.lock();
        let count = |scope: Scope| mirrors.get(&(address(form), scope)).map_or(0, Mirror::changes);
        scopes(form, kind).into_iter().map(count).sum()
    }

    fn read<T>(
        &self,
        form: &form::KubernetesTarget,
        scope: &Scope,
        of: impl FnOnce(&std::collections::BTreeMap<String, Arc<DynamicObject>>) -> T,
    ) -> Result<T, KubernetesError> {
        let mirrors = self.lock();
        let found = mirrors
            .get(&(address(form), scope.clone()))
            .map_or_else(|| Err("nobody watches them yet".to_owned()), |mirror| mirror.read(of));
        found.map_err(|why| KubernetesError::NotSeen {
            plural: scope.resource.plural.clone(),
            namespace: scope.namespace.clone(),
            why,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Address, Scope), Mirror>> {
        self.mirrors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(form: &form::KubernetesTarget) -> Address {
    (form.kubeconfig.clone(), form.context.clone())
}

fn absent(form: &form::KubernetesTarget, kind: Kind) -> KubernetesError {
    KubernetesError::Absent {
        kind: kind.word(),
        namespace: form.namespace.clone(),
        name: form.workload.name().to_owned(),
    }
}

/// What has to be watched for a target: its workload, what keeps its revisions, and pods.
fn scopes(form: &form::KubernetesTarget, kind: Kind) -> [Scope; 3] {
    [kind.resource(), kind.revisions(), resource("", "Pod")].map(|resource| Scope {
        resource,
        namespace: form.namespace.clone(),
        name: None,
    })
}

/// The labels by which a workload chooses its pods. Expressions are left to its controller: pods are told apart by
/// their owner and revision anyway.
struct Selector(Vec<(String, String)>);

impl Selector {
    fn of(workload: &DynamicObject) -> Self {
        let labels = field(workload, "/spec/selector/matchLabels").and_then(serde_json::Value::as_object);
        let text = |(name, value): (&String, &serde_json::Value)| Some((name.clone(), value.as_str()?.to_owned()));
        Self(labels.into_iter().flatten().filter_map(text).collect())
    }

    fn matches(&self, pod: &DynamicObject) -> bool {
        let labels = pod.metadata.labels.as_ref();
        self.0.iter().all(|(name, value)| labels.and_then(|all| all.get(name)) == Some(value))
    }

    fn text(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    }
}
