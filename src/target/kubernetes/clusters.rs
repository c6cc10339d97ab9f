//! The clusters that targets live in: one client for each, and one watch for each kind of object and namespace, however
//! many targets share them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{
    KubernetesError,
    configuration::{Configuration, Held, Holder, Key, NAMED_LIMIT, Named, Need, named},
    connection::{Address, Connection},
    mirror::{Copying, LIST_WITHIN, Mirror, Scope},
    revision::{Revision, Template, revisions, template},
    server::ask,
    turns::Turns,
    workload::{Kind, field, resource},
};
use crate::{
    config::form,
    target::{
        TargetError,
        blocking::{self, BlockingCalls, OneAtATime},
    },
};

/// Every cluster that is spoken to.
pub struct Clusters {
    installation: Arc<str>,
    connections: Mutex<HashMap<Address, Connection>>,
    mirrors: Mutex<HashMap<(Address, Scope), Mirror>>,
    /// What of configuration each target has watched: what no target does any more is let go of.
    claims: Mutex<HashMap<u64, Claim>>,
    gathering: Turns,
    key: OnceCell<Key>,
    /// Where the key is, if it is to outlive the process.
    key_path: Option<PathBuf>,
    calls: OneAtATime,
    /// Kinds that not every cluster has, in the version that it has them, if it does, and when that was asked.
    kinds: Mutex<HashMap<KindKey, (Instant, Option<ApiResource>)>>,
}

/// A kind of a cluster: its group and its name.
type KindKey = (Address, &'static str, String);

/// The version of a kind is asked for again after this: an update of its controller may take away the one that was there.
const KINDS_HOLD_FOR: Duration = Duration::from_secs(600);

/// A kind that a cluster does not have is asked for again after this: whoever installs it waits no longer.
const MISSING_KINDS_HOLD_FOR: Duration = Duration::from_secs(60);

/// What of configuration one target has watched.
#[derive(Debug, Default)]
struct Claim {
    /// For which workload, in words.
    whose: String,
    watched: HashSet<(Address, Scope)>,
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
    /// The configuration that its template names.
    pub(super) configuration: Configuration,
    /// What of it another watched workload has too; with that, in words.
    pub(super) shared: BTreeMap<Named, String>,
}

impl Sight {
    pub(super) fn revisions(&self, kind: Kind) -> Vec<Revision> {
        revisions(kind, &self.workload, self.keepers.iter().map(Arc::as_ref))
    }
}

impl Clusters {
    /// Spoken to by this installation of Backstop. The key for Secrets lies in `directory`, which is made when needed; without
    /// one it is nobody's after the process.
    pub(in crate::target) fn new(installation: &str, directory: Option<&Path>, calls: BlockingCalls) -> Self {
        Self {
            installation: installation.into(),
            connections: Mutex::default(),
            mirrors: Mutex::default(),
            claims: Mutex::default(),
            gathering: Turns::default(),
            key: OnceCell::new(),
            key_path: directory.map(|directory| directory.join(".key")),
            kinds: Mutex::default(),
            calls: OneAtATime::new(blocking::LIMIT, calls),
        }
    }

    /// By whom they are spoken to.
    pub(super) fn installation(&self) -> &str {
        &self.installation
    }

    /// The client for a target's cluster. What hangs for one cluster holds no other up.
    pub(super) async fn client(&self, form: &form::KubernetesTarget) -> Result<Client, KubernetesError> {
        let address = address(form);
        let connection = {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.entry(address.clone()).or_default().clone()
        };
        connection.client(&address).await
    }

    /// Waits until nothing else is gathered in that cluster: when all is down every service wants it at once. Whoever holds
    /// what it gives gathers alone.
    pub(super) async fn gathers_alone(
        &self,
        form: &form::KubernetesTarget,
        until: Instant,
    ) -> Result<OwnedSemaphorePermit, KubernetesError> {
        self.gathering.wait(address(form), until).await
    }

    /// What the copies show; begins to keep them where nobody does yet. `target` tells apart who asks.
    pub(super) async fn sight(
        &self,
        form: &form::KubernetesTarget,
        kind: Kind,
        target: u64,
    ) -> Result<Sight, KubernetesError> {
        let client = self.client(form).await?;
        let until = Instant::now() + LIST_WITHIN;
        let scopes = scopes(form, kind);
        self.begin(form, &client, scopes.iter().map(|scope| (scope.clone(), Copying::Whole)), until).await;
        let [workloads, keepers, pods] = scopes;
        let name = form.workload.name();
        let workload = self.read(form, &workloads, |objects| objects.get(name).cloned())?;
        let workload = workload.ok_or_else(|| absent(form, kind))?;
        let keepers = self.read(form, &keepers, |objects| objects.values().cloned().collect())?;
        let chosen = Selector::of(&workload);
        let pods =
            self.read(form, &pods, |objects| objects.values().filter(|pod| chosen.matches(pod)).cloned().collect())?;
        let wanted = wanted(form, template(&workload).as_ref());
        let configuration = self.watched(form, &client, &wanted, (target, whose(form, kind)), until).await;
        let shared = self.shared(form, kind, wanted.keys());
        Ok(Sight { workload, keepers, pods, configuration, shared })
    }

    /// Begins to keep copies where nobody does yet, and waits for the first ones.
    async fn begin(
        &self,
        form: &form::KubernetesTarget,
        client: &Client,
        scopes: impl Iterator<Item = (Scope, Copying)>,
        until: Instant,
    ) {
        let changes: Vec<_> = {
            let mut mirrors = self.lock();
            scopes
                .map(|(scope, copying)| {
                    let key = (address(form), scope);
                    let scope = key.1.clone();
                    mirrors.entry(key).or_insert_with(|| Mirror::begin(client, &scope, copying)).listen()
                })
                .collect()
        };
        join_all(changes.into_iter().map(|changes| Mirror::begun(changes, until))).await;
    }

    /// The configuration as the copies show it, each object watched by its name.
    async fn watched(
        &self,
        form: &form::KubernetesTarget,
        client: &Client,
        wanted: &BTreeMap<Named, Need>,
        (target, whose): (u64, String),
        until: Instant,
    ) -> Configuration {
        if let Some(why) = too_many(wanted) {
            self.claim(target, Claim { whose, watched: HashSet::new() });
            return wanted.keys().map(|named| (named.clone(), Held::Untold(why.clone()))).collect();
        }
        let copying = self.copyings(wanted).await;
        let scope = |named: &Named| named_scope(form, named);
        let claimed = wanted.keys().map(|named| (address(form), scope(named))).collect();
        self.claim(target, Claim { whose, watched: claimed });
        let begun = wanted.keys().filter_map(|named| Some((scope(named), copying(named).ok()?)));
        self.begin(form, client, begun, until).await;
        let held = |(named, need): (&Named, &Need)| {
            let held = copying(named).and_then(|_| {
                let read = self.read(form, &scope(named), |objects| objects.get(&named.name).cloned());
                read.map_err(|error| reason(named, &error))
            });
            let held = match held {
                Ok(object) => Held::of(named.holder, object.as_deref(), *need),
                Err(why) => Held::Untold(why),
            };
            (named.clone(), held)
        };
        wanted.iter().map(held).collect()
    }

    /// How each object is copied; or why it cannot be.
    async fn copyings(&self, wanted: &BTreeMap<Named, Need>) -> impl Fn(&Named) -> Result<Copying, String> + use<> {
        let needs_key = wanted.keys().any(|named| named.holder == Holder::Secret);
        let key = if needs_key { Some(self.key().await) } else { None };
        move |named| match (named.holder, &key) {
            (Holder::ConfigMap, _) => Ok(Copying::ConfigMap),
            (Holder::Secret, Some(key)) => key.clone().map(Copying::Secret),
            (Holder::Secret, None) => unreachable!("it was asked for"),
        }
    }

    pub(super) async fn key(&self) -> Result<Key, String> {
        let load = async || {
            let Some(path) = self.key_path.clone() else {
                return Key::random().map_err(|error| TargetError::Lost(error.to_string()));
            };
            let of = path.clone();
            let load = move || Key::load_or_make(&path).map_err(|source| TargetError::Read { path, source });
            self.calls.run(&of, load).await
        };
        self.key.get_or_try_init(load).await.cloned().map_err(|error| format!("tell Secrets apart: failed to {error}"))
    }

    /// Notes what a target has watched, and lets go of what none has any more.
    fn claim(&self, target: u64, wanted: Claim) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let before = claims.insert(target, wanted).unwrap_or_default();
        let is_claimed = |one: &(Address, Scope)| claims.values().any(|claim| claim.watched.contains(one));
        let gone: Vec<_> = before.watched.into_iter().filter(|one| !is_claimed(one)).collect();
        if !gone.is_empty() {
            let mut mirrors = self.lock();
            for one in &gone {
                mirrors.remove(one);
            }
        }
    }

    /// What of this another workload has too, as far as it is watched.
    fn shared<'a>(
        &self,
        form: &form::KubernetesTarget,
        kind: Kind,
        wanted: impl Iterator<Item = &'a Named>,
    ) -> BTreeMap<Named, String> {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let own = whose(form, kind);
        let other = |named: &Named| {
            let one = (address(form), named_scope(form, named));
            let others = claims.values().filter(|claim| claim.whose != own && claim.watched.contains(&one));
            others.map(|claim| claim.whose.clone()).min()
        };
        wanted.filter_map(|named| Some((named.clone(), other(named)?))).collect()
    }

    /// The one object that a scope names, from copies.
    pub(super) async fn named(
        &self,
        form: &form::KubernetesTarget,
        scope: &Scope,
    ) -> Result<Option<Arc<DynamicObject>>, KubernetesError> {
        let client = self.client(form).await?;
        let one = std::iter::once((scope.clone(), Copying::Whole));
        self.begin(form, &client, one, Instant::now() + LIST_WITHIN).await;
        let name = scope.name.as_deref().unwrap_or_default();
        self.read(form, scope, |objects| objects.get(name).cloned())
    }

    /// A kind of a group that not every cluster has, in the version that this one prefers.
    pub(super) async fn discovered(
        &self,
        form: &form::KubernetesTarget,
        group: &'static str,
        kind: &str,
    ) -> Result<ApiResource, KubernetesError> {
        let key = (address(form), group, kind.to_owned());
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let missing = || KubernetesError::NoSuchKind { group, kind: kind.to_owned() };
        match &known {
            Some((asked_at, Some(known))) if asked_at.elapsed() < KINDS_HOLD_FOR => return Ok(known.clone()),
            Some((asked_at, None)) if asked_at.elapsed() < MISSING_KINDS_HOLD_FOR => return Err(missing()),
            _ => {}
        }
        let client = self.client(form).await?;
        let what = format!("find the kind {kind} of {group}");
        let found = match ask(&what, kube::discovery::group(&client, group)).await {
            Ok(found) => found.recommended_kind(kind).map(|(resource, _)| resource),
            Err(KubernetesError::Asked { source, .. }) if matches!(*source, kube::Error::Discovery(_)) => None,
            // That it could not be asked is no news of the kind: it is asked again the next time.
            Err(error) => return known.and_then(|(_, known)| known).ok_or(error),
        };
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (Instant::now(), found.clone()));
        found.ok_or_else(missing)
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
        let wanted = wanted(form, template(&workload).as_ref());
        let configuration = self.fresh_configuration(form, &wanted).await;
        let shared = self.shared(form, kind, wanted.keys());
        Ok(Sight { workload: Arc::new(workload), keepers, pods: Vec::new(), configuration, shared })
    }

    /// Objects of configuration, asked for now: by lists of one, so that a Role needs no more than the watches do.
    pub(super) async fn fresh_configuration(
        &self,
        form: &form::KubernetesTarget,
        wanted: &BTreeMap<Named, Need>,
    ) -> Configuration {
        let mut found = Configuration::new();
        if let Some(why) = too_many(wanted) {
            return wanted.keys().map(|named| (named.clone(), Held::Untold(why.clone()))).collect();
        }
        let copying = self.copyings(wanted).await;
        let until = Instant::now() + LIST_WITHIN;
        for (named, need) in wanted {
            let held = match copying(named) {
                Ok(copying) => match timeout_at(until, self.list_one(form, named, &copying)).await {
                    Ok(Ok(object)) => Held::of(named.holder, object.as_ref(), *need),
                    Ok(Err(error)) => Held::Untold(reason(named, &error)),
                    Err(_) => Held::Untold(format!("see the {named}: no answer within {LIST_WITHIN:?}")),
                },
                Err(why) => Held::Untold(why),
            };
            found.insert(named.clone(), held);
        }
        found
    }

    async fn list_one(
        &self,
        form: &form::KubernetesTarget,
        named: &Named,
        copying: &Copying,
    ) -> Result<Option<DynamicObject>, KubernetesError> {
        let client = self.client(form).await?;
        let api: Api<DynamicObject> = Api::namespaced_with(client, &form.namespace, &named.holder.resource());
        let one = ListParams::default().fields(&format!("metadata.name={}", named.name));
        let what = format!("read the {named} of namespace {}", form.namespace);
        let mut found = ask(&what, api.list(&one)).await?.items.into_iter();
        Ok(found.next().map(|object| copying.copy(object)))
    }

    /// Other than before where anything of what [`Self::sight`] reads has changed, or of what `others` name.
    pub(super) fn changes(&self, form: &form::KubernetesTarget, kind: Kind, target: u64, others: &[Scope]) -> u64 {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let claimed: Vec<_> = claims.get(&target).into_iter().flat_map(|claim| &claim.watched).cloned().collect();
        drop(claims);
        let mirrors = self.lock();
        let own = scopes(form, kind).into_iter().chain(others.iter().cloned()).map(|scope| (address(form), scope));
        own.chain(claimed).map(|one| mirrors.get(&one).map_or(0, Mirror::changes)).sum()
    }

    fn read<T>(
        &self,
        form: &form::KubernetesTarget,
        scope: &Scope,
        of: impl FnOnce(&BTreeMap<String, Arc<DynamicObject>>) -> T,
    ) -> Result<T, KubernetesError> {
        let mirrors = self.lock();
        let found = mirrors
            .get(&(address(form), scope.clone()))
            .map_or_else(|| Err("nobody watches them yet".to_owned()), |mirror| mirror.read(of));
        found.map_err(|why| KubernetesError::NotSeen {
            plural: match &scope.name {
                Some(name) => format!("{} {name}", scope.resource.kind),
                None => scope.resource.plural.clone(),
            },
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

/// A target's workload, in words.
fn whose(form: &form::KubernetesTarget, kind: Kind) -> String {
    format!("{} {}/{}", kind.word(), form.namespace, form.workload.name())
}

fn absent(form: &form::KubernetesTarget, kind: Kind) -> KubernetesError {
    KubernetesError::Gone {
        kind: kind.word(),
        namespace: form.namespace.clone(),
        name: form.workload.name().to_owned(),
    }
}

/// The configuration that a template names and that counts.
pub(super) fn wanted(form: &form::KubernetesTarget, template: Option<&Template>) -> BTreeMap<Named, Need> {
    template.map(|template| named(template.value(), form.config_allow.as_deref())).unwrap_or_default()
}

fn too_many(wanted: &BTreeMap<Named, Need>) -> Option<String> {
    (wanted.len() > NAMED_LIMIT).then(|| {
        format!(
            "tell what is live: its template names {} ConfigMaps and Secrets, more than {NAMED_LIMIT}; `config_allow` says \
             which of them count",
            wanted.len()
        )
    })
}

/// Why an object of configuration is not known, with what mends it.
fn reason(named: &Named, error: &KubernetesError) -> String {
    let words = error.to_string();
    if words.contains("(403)") {
        let resource = named.holder.resource().plural;
        return format!(
            "{words}; give the account list and watch on {resource}, or leave it out of the target's `config_allow`"
        );
    }
    words
}

fn named_scope(form: &form::KubernetesTarget, named: &Named) -> Scope {
    Scope { resource: named.holder.resource(), namespace: form.namespace.clone(), name: Some(named.name.clone()) }
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
