//! A GitOps controller owns the workload, and fights for it: kinds of its own words, and a controller that puts back what
//! Git holds unless its sync is suspended.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backstop::{
    config::form::{KubernetesTarget, Target as Form},
    core::{
        operation::{Attempt, Operation, StepKey},
        release::{GitState, Observation, SyncState},
    },
    target::{PERMISSIONS, Permission, Scope, Shared, Target},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    account::kubeconfig,
    bed::{Bed, current, resource, until},
    deployed::{apply, moved},
    done, failed, image, is_settled_at,
    proxy::{Part, Proxy},
    watched::{PATIENCE, Service, Watch},
};

/// Between two looks of the controller at what is live.
const RECONCILED_EVERY: Duration = Duration::from_millis(100);
/// Argo CD says so often when it last compared what is live with Git, where nothing else is new.
const COMPARED_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Application,
    Kustomization,
    HelmRelease,
}

const KINDS: [Kind; 3] = [Kind::Application, Kind::Kustomization, Kind::HelmRelease];

fn kind(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl Kind {
    fn resource(self) -> ApiResource {
        match self {
            Self::Application => kind("argoproj.io", "v1alpha1", "Application"),
            Self::Kustomization => kind("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
            Self::HelmRelease => kind("helm.toolkit.fluxcd.io", "v2", "HelmRelease"),
        }
    }

    fn source(self) -> ApiResource {
        let name = if self == Self::HelmRelease { "HelmChart" } else { "GitRepository" };
        kind("source.toolkit.fluxcd.io", "v1", name)
    }

    /// What gives the account its permissions, as the tests find it from `deploy/kubernetes`.
    fn manifest(self) -> &'static str {
        match self {
            Self::Application => "../gitops/argo-cd.yaml",
            Self::Kustomization | Self::HelmRelease => "../gitops/flux.yaml",
        }
    }

    /// What it writes on what it makes.
    fn mark(self, namespace: &str) -> Value {
        match self {
            Self::Application => {
                let tracking = format!("{namespace}_shop:apps/Deployment:{namespace}/shop");
                json!({"annotations": {"argocd.argoproj.io/tracking-id": tracking}})
            }
            Self::Kustomization => json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop",
                "kustomize.toolkit.fluxcd.io/namespace": namespace}}),
            Self::HelmRelease => json!({"labels": {"helm.toolkit.fluxcd.io/name": "shop",
                "helm.toolkit.fluxcd.io/namespace": namespace}}),
        }
    }

    fn spec(self) -> Value {
        match self {
            Self::Application => json!({"syncPolicy": {"automated": {"prune": true, "selfHeal": true}}}),
            Self::Kustomization => json!({"interval": "5m", "sourceRef": {"kind": "GitRepository", "name": "shop"}}),
            Self::HelmRelease => json!({"interval": "5m", "values": {"replicas": 2}}),
        }
    }

    /// As Backstop tells it.
    fn owner(self, namespace: &str) -> String {
        match self {
            Self::Application => format!("the Argo CD Application {namespace}/shop"),
            Self::Kustomization => format!("the Flux Kustomization {namespace}/shop"),
            Self::HelmRelease => format!("the Flux HelmRelease {namespace}/shop"),
        }
    }

    fn is_on(self, object: &DynamicObject) -> bool {
        match self {
            Self::Application => object.data.pointer("/spec/syncPolicy/automated").is_some(),
            Self::Kustomization | Self::HelmRelease => object.data["spec"]["suspend"] != true,
        }
    }

    /// A merge patch that turns it on.
    fn on(self) -> Value {
        match self {
            Self::Application => json!({"spec": self.spec()}),
            Self::Kustomization | Self::HelmRelease => json!({"spec": {"suspend": null}}),
        }
    }
}

/// Kinds without a schema: the least that the API server takes.
async fn define(client: &Client) {
    let definitions: Api<DynamicObject> =
        Api::all_with(client.clone(), &resource("apiextensions.k8s.io", "CustomResourceDefinition"));
    let sources = ["GitRepository", "HelmChart"].map(|name| kind("source.toolkit.fluxcd.io", "v1", name));
    let mut kinds: Vec<ApiResource> = KINDS.iter().map(|kind| kind.resource()).collect();
    kinds.extend(sources);
    // What the guess makes of their names.
    for kind in &mut kinds {
        kind.plural = plural(kind).to_owned();
    }
    for kind in &kinds {
        let name = format!("{}.{}", kind.plural, kind.group);
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {
                "group": kind.group, "scope": "Namespaced",
                "names": {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.to_lowercase()},
                "versions": [{"name": kind.version, "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema":
                    {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
            },
        });
        let definition = serde_json::from_value(definition).expect("a definition");
        match definitions.create(&PostParams::default(), &definition).await {
            Ok(_) => {}
            // Another test was first.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
    for kind in &kinds {
        let name = format!("{}.{}", kind.plural, kind.group);
        let mut is_there = false;
        for _ in 0..300 {
            let definition = definitions.get(&name).await.expect("it is there");
            let conditions = definition.data.pointer("/status/conditions").and_then(Value::as_array).cloned();
            is_there = conditions.iter().flatten().any(|one| one["type"] == "Established" && one["status"] == "True");
            if is_there {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(is_there, "{name} is not served after 30 s");
    }
}

fn plural(kind: &ApiResource) -> &'static str {
    match kind.kind.as_str() {
        "Application" => "applications",
        "Kustomization" => "kustomizations",
        "HelmRelease" => "helmreleases",
        "GitRepository" => "gitrepositories",
        "HelmChart" => "helmcharts",
        other => panic!("no plural of {other}"),
    }
}

fn api(client: &Client, namespace: &str, mut kind: ApiResource) -> Api<DynamicObject> {
    kind.plural = plural(&kind).to_owned();
    Api::namespaced_with(client.clone(), namespace, &kind)
}

/// Revision and image.
type Git = Arc<Mutex<(String, String)>>;

/// What a parent of a controller's object does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    None,
    /// Turns its sync on whenever it is off.
    TurnsOn,
    /// The same once something else is live than Git holds.
    TurnsOnLate,
    /// The same, and makes its annotations what they were.
    Replaces,
    /// Only makes its annotations what they were.
    Forgets,
}

/// A controller that syncs `shop` from Git. Ended when it goes out of scope.
pub(crate) struct Controller {
    kind: Kind,
    namespace: String,
    git: Git,
    parent: Arc<Mutex<Parent>>,
    /// How often it has looked.
    rounds: Arc<AtomicU64>,
    pub(crate) objects: Api<DynamicObject>,
    task: JoinHandle<()>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Controller {
    pub(crate) async fn begin(bed: &Bed, kind: Kind, revision: &str, image: &str) -> Self {
        define(&bed.client).await;
        bed.change("apps", "Deployment", "shop", json!({"metadata": kind.mark(&bed.namespace)})).await;
        let objects = api(&bed.client, &bed.namespace, kind.resource());
        let sources = api(&bed.client, &bed.namespace, kind.source());
        let make = async |api: &Api<DynamicObject>, resource: ApiResource, spec: Value| {
            let object = json!({"apiVersion": resource.api_version, "kind": resource.kind,
                "metadata": {"name": "shop"}, "spec": spec});
            let object = serde_json::from_value(object).expect("an object");
            api.create(&PostParams::default(), &object).await.expect("it is made");
        };
        make(&objects, kind.resource(), kind.spec()).await;
        if kind != Kind::Application {
            make(&sources, kind.source(), json!({})).await;
        }
        let git = Arc::new(Mutex::new((revision.to_owned(), image.to_owned())));
        let (parent, rounds) = (Arc::new(Mutex::new(Parent::None)), Arc::new(AtomicU64::new(0)));
        let deployments = bed.api("apps", "Deployment");
        let namespace = bed.namespace.clone();
        let (its_git, its_parent, its_objects) = (Arc::clone(&git), Arc::clone(&parent), objects.clone());
        let counted = Arc::clone(&rounds);
        let task = tokio::spawn(async move {
            // Ends with the test.
            loop {
                reconcile(kind, &namespace, &its_git, &its_parent, &its_objects, &sources, &deployments).await;
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(RECONCILED_EVERY).await;
            }
        });
        Self { kind, namespace: bed.namespace.clone(), git, parent, rounds, objects, task }
    }

    fn has_parent(&self, parent: Parent) {
        *self.parent.lock().expect("nobody panicked") = parent;
    }

    /// Waits until it has looked so often.
    pub(crate) async fn looks(&self, rounds: u64) {
        let until = self.rounds.load(Ordering::Relaxed) + rounds;
        let wait = async {
            while self.rounds.load(Ordering::Relaxed) < until {
                tokio::time::sleep(RECONCILED_EVERY).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it looks");
    }

    pub(crate) async fn change(&self, patch: Value) {
        self.objects.patch("shop", &PatchParams::default(), &Patch::Merge(patch)).await.expect("it is changed");
    }

    /// A commit.
    pub(crate) fn commit(&self, revision: &str, image: &str) {
        *self.git.lock().expect("nobody panicked") = (revision.to_owned(), image.to_owned());
    }

    pub(crate) async fn is_on(&self) -> bool {
        self.kind.is_on(&self.objects.get("shop").await.expect("it is there"))
    }

    /// What is remembered on its object.
    async fn before(&self) -> Option<Value> {
        let object = self.objects.get("shop").await.expect("it is there");
        let before = object.metadata.annotations?.get("backstop.io/sync-before")?.clone();
        Some(serde_json::from_str(&before).expect("JSON"))
    }
}

/// Makes what is live what Git holds, and tells what it knows of both.
async fn reconcile(
    kind: Kind,
    namespace: &str,
    git: &Git,
    parent: &Mutex<Parent>,
    objects: &Api<DynamicObject>,
    sources: &Api<DynamicObject>,
    deployments: &Api<DynamicObject>,
) {
    let (revision, image) = git.lock().expect("nobody panicked").clone();
    let parent = *parent.lock().expect("nobody panicked");
    let merge = async |api: &Api<DynamicObject>, patch: Value| {
        // Somebody else may write at the same time: the next round does it.
        let _later = api.patch("shop", &PatchParams::default(), &Patch::Merge(patch)).await;
    };
    let tell = async |api: &Api<DynamicObject>, status: Value| {
        let status = json!({"status": status});
        let _later = api.patch_status("shop", &PatchParams::default(), &Patch::Merge(status)).await;
    };
    // In this order: a rollback that is seen was made after the suspension, which is seen then, too.
    let Ok(live) = deployments.get("shop").await else { return };
    let Ok(object) = objects.get("shop").await else { return };
    let is_on = kind.is_on(&object);
    let live =
        live.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str) == Some(image.as_str());
    let annotations = json!({"metadata": {"annotations": null}});
    match parent {
        Parent::TurnsOn if !is_on => merge(objects, kind.on()).await,
        Parent::TurnsOnLate if !is_on && !live => merge(objects, kind.on()).await,
        Parent::Replaces if !is_on && !live => {
            let mut all = kind.on();
            all["metadata"] = annotations["metadata"].clone();
            merge(objects, all).await;
        }
        Parent::Forgets if !is_on && !live => merge(objects, annotations).await,
        _ => {}
    }
    if is_on && !live {
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": image}]}}}});
        let _later = deployments.patch("shop", &PatchParams::default(), &Patch::Strategic(patch)).await;
    }
    let known = &object.data["status"];
    let mut status = match kind {
        Kind::Application => {
            json!({"sync": {"revision": revision, "status": if live { "Synced" } else { "OutOfSync" }}})
        }
        Kind::Kustomization if is_on => json!({"lastAttemptedRevision": revision}),
        Kind::HelmRelease => json!({"helmChart": format!("{namespace}/shop")}),
        Kind::Kustomization => json!({}),
    };
    if kind == Kind::Application {
        let now = jiff::Timestamp::now();
        let at = known["reconciledAt"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let is_due = at.is_none_or(|at| now.duration_since(at) > COMPARED_EVERY);
        if is_due || known["sync"] != status["sync"] {
            status["reconciledAt"] = now.to_string().into();
        }
    } else if is_on && live {
        status["observedGeneration"] = object.metadata.generation.into();
        status["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        if kind == Kind::Kustomization {
            status["lastAppliedRevision"] = revision.clone().into();
        }
    }
    if status.as_object().is_some_and(|all| all.iter().any(|(name, value)| known[name] != *value)) {
        tell(objects, status).await;
    }
    if kind != Kind::Application {
        tell(sources, json!({"artifact": {"revision": revision}})).await;
    }
}

fn form(bed: &Bed) -> KubernetesTarget {
    KubernetesTarget { suspends_sync: true, ..bed.form("Deployment") }
}

fn sync(seen: &Observation) -> Option<&SyncState> {
    seen.sync().map(|sync| &sync.state)
}

/// `1.4.2` ran, and Git put `1.4.3` in its place.
pub(crate) async fn synced(name: &str, kind: Kind) -> (Bed, Controller, Target) {
    let bed = Bed::new(name).await;
    bed.workload("Deployment", "shop:1.4.2").await;
    let target = bed.target_of(form(&bed));
    until(&target, "the first release", is_settled_at("1.4.2")).await;
    let controller = Controller::begin(&bed, kind, "c1", "shop:1.4.3").await;
    until(&target, "the second one", |seen| is_settled_at("1.4.3")(seen) && sync(seen) == Some(&SyncState::Active))
        .await;
    (bed, controller, target)
}

impl Controller {
    pub(crate) fn suspend(&self) -> Operation {
        Operation::SuspendSync { owner: self.owner(), was: None }
    }

    fn resume(&self) -> Operation {
        Operation::ResumeSync { owner: self.owner() }
    }

    fn owner(&self) -> String {
        self.kind.owner(&self.namespace)
    }
}

#[tokio::test]
async fn each_owner_is_suspended_and_resumed_as_it_was() {
    for kind in KINDS {
        let (bed, controller, target) = synced(&format!("synced-{}", format!("{kind:?}").to_lowercase()), kind).await;
        let spec = async || controller.objects.get("shop").await.expect("it is there").data["spec"].clone();
        let was = spec().await;
        let whose = format!("shop@{}", bed.namespace);
        for _ in 0..2 {
            done(bed.operate(&target, controller.suspend(), 20).await);
            assert!(!controller.is_on().await, "{kind:?}");
        }
        assert_eq!(controller.before().await.expect("remembered")["incidents"][&whose], "shop-1");
        done(bed.operate(&target, super::switch("1.4.3", "1.4.2"), 20).await);
        // It holds: the controller would have put it back ten times by then.
        controller.looks(10).await;
        let holds = |seen: &Observation| {
            current(seen) == "1.4.2" && matches!(sync(seen), Some(SyncState::Suspended { git: GitState::Holds, .. }))
        };
        until(&target, "it holds", holds).await;
        if kind == Kind::HelmRelease {
            // Another release of the same chart, or a count of replicas: nobody can tell.
            controller.change(json!({"spec": {"values": {"replicas": 3}}})).await;
        } else {
            controller.commit("c2", "shop:1.4.2");
        }
        let was = if kind == Kind::HelmRelease { json!({"interval": "5m", "values": {"replicas": 3}}) } else { was };
        let has_left = |seen: &Observation| match sync(seen) {
            Some(SyncState::Suspended { git: GitState::Fetched { .. }, .. }) => kind != Kind::Application,
            Some(SyncState::Suspended { git: GitState::Left { compared, .. }, .. }) => compared.is_some(),
            _ => false,
        };
        until(&target, "Git has left", has_left).await;
        for _ in 0..2 {
            done(bed.operate(&target, controller.resume(), 20).await);
            assert_eq!((spec().await, controller.before().await), (was.clone(), None), "{kind:?}");
        }
        until(&target, "it is on", |seen| sync(seen) == Some(&SyncState::Active)).await;
        controller.commit("c3", "shop:1.4.2");
        controller.looks(2).await;
        assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");

        // Once more; and people turn it on for what Git holds by then. Its controller says once it has made that live.
        done(bed.operate(&target, controller.suspend(), 20).await);
        controller.commit("c4", "shop:1.4.4");
        if kind == Kind::HelmRelease {
            controller.change(json!({"spec": {"values": {"replicas": 4}}})).await;
        }
        controller.looks(2).await;
        controller.change(kind.on()).await;
        let has_left = |seen: &Observation| {
            current(seen) == "1.4.4" && matches!(sync(seen), Some(SyncState::Lifted { git: GitState::Left { .. }, .. }))
        };
        until(&target, "it has made that live", has_left).await;
        let note = done(bed.operate(&target, controller.resume(), 20).await);
        assert!(note.contains("so it stays"), "{note}");
        assert!(controller.is_on().await && controller.before().await.is_none());
    }
}

#[tokio::test]
async fn what_is_not_there_as_it_was_suspended_is_not_touched() {
    let (bed, controller, target) = synced("untouched", Kind::Kustomization).await;
    done(bed.operate(&target, controller.suspend(), 20).await);
    controller.change(json!({"metadata": {"annotations": null}})).await;
    until(&target, "it is off, and nothing of ours is there", |seen| sync(seen) == Some(&SyncState::ByHand)).await;
    let outcome = bed.operate(&target, controller.resume(), 20).await;
    assert!(failed(&outcome).contains("what it was is not written there any more"), "{outcome:?}");
    // Another one owns it by now.
    let elsewhere = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "other"}}});
    bed.change("apps", "Deployment", "shop", elsewhere).await;
    let other = format!("it is the Flux Kustomization {}/other that owns the target by now", bed.namespace);
    for operation in [controller.resume(), controller.suspend()] {
        let outcome = bed.operate(&target, operation, 20).await;
        assert!(failed(&outcome).contains(&other), "{outcome:?}");
    }
    assert!(!controller.is_on().await);
}

#[tokio::test]
async fn an_owner_of_two_services_is_on_again_once_neither_needs_it_off() {
    let (bed, controller, target) = synced("two-owned", Kind::Application).await;
    let directory = tempfile::tempdir().expect("a directory");
    let shared = Shared::new(&bed.namespace, None);
    let worker = Target::new(&Form::Kubernetes(form(&bed)), "worker".into(), directory.path().to_owned(), &shared, &[]);
    let of_worker = async |step: u16, operation: Operation| {
        let key = StepKey { incident: "worker-1".into(), plan: 1, step, attempt: 1 };
        worker.operate(&Attempt { key, operation, object: None, deadline: Duration::from_secs(20) }).await
    };
    until(&worker, "it is seen", |seen| sync(seen) == Some(&SyncState::Active)).await;
    done(bed.operate(&target, controller.suspend(), 20).await);
    done(of_worker(1, controller.suspend()).await);
    let note = done(bed.operate(&target, controller.resume(), 20).await);
    assert!(note.contains("its sync stays off, which is suspended for incident worker-1 too"), "{note}");
    assert!(!controller.is_on().await);
    done(of_worker(2, controller.resume()).await);
    assert!(controller.is_on().await && controller.before().await.is_none());
}

#[tokio::test]
async fn who_turns_it_on_again_has_the_last_word() {
    let (bed, controller, target) = synced("overruled", Kind::Application).await;
    controller.has_parent(Parent::TurnsOn);
    done(bed.operate(&target, controller.suspend(), 20).await);
    let lifted = |seen: &Observation| matches!(sync(seen), Some(SyncState::Lifted { .. }));
    until(&target, "it is on again", lifted).await;
    let outcome = bed.operate(&target, controller.suspend(), 20).await;
    assert!(failed(&outcome).contains("somebody turned it on again after incident shop-1"), "{outcome:?}");
    assert!(done(bed.operate(&target, controller.resume(), 20).await).contains("so it stays"));
    assert!(controller.is_on().await && controller.before().await.is_none());
}

#[tokio::test]
async fn an_owner_that_is_not_there_is_told() {
    let bed = Bed::new("ownerless").await;
    define(&bed.client).await;
    bed.workload("Deployment", "shop:1.4.2").await;
    bed.change("apps", "Deployment", "shop", json!({"metadata": Kind::Application.mark(&bed.namespace)})).await;
    let target = bed.target_of(form(&bed));
    let missing = format!("find the Application {}/shop: there is none", bed.namespace);
    until(&target, "it is missing", |seen| sync(seen) == Some(&SyncState::Unseen { why: missing.clone() })).await;
}

#[tokio::test]
async fn a_kind_that_the_cluster_does_not_have_is_told() {
    let (bed, controller, target) = synced("kindless", Kind::Kustomization).await;
    let elsewhere = json!({"spec": {"sourceRef": {"kind": "OCIRepository"}}});
    controller.objects.patch("shop", &PatchParams::default(), &Patch::Merge(elsewhere)).await.expect("it is changed");
    let missing = "find the kind OCIRepository of source.toolkit.fluxcd.io: the cluster does not have it".to_owned();
    until(&target, "it is missing", |seen| sync(seen) == Some(&SyncState::Unseen { why: missing.clone() })).await;
    let outcome = bed.operate(&target, controller.suspend(), 20).await;
    assert_eq!(failed(&outcome), missing);
    assert!(controller.is_on().await, "nothing is suspended of which nobody could tell when to resume it");
}

/// The Role of `deploy/gitops` that a kind needs, without one of its permissions.
fn role(bed: &Bed, kind: Kind, without: &Permission) -> Value {
    let mut role = moved(bed, kind.manifest()).remove(0);
    assert_eq!(role["kind"], "Role");
    let kept = PERMISSIONS.iter().filter(|one| one.scope == Scope::Owner && *one != without);
    role["rules"] =
        kept.map(|one| json!({"apiGroups": [one.group], "resources": [one.resource], "verbs": [one.verb]})).collect();
    role
}

#[tokio::test]
async fn the_roles_of_deploy_are_enough_to_suspend_and_each_verb_of_them_is_needed() {
    for kind in [Kind::Application, Kind::Kustomization] {
        let (bed, controller, _admin) = synced(&format!("role-{}", format!("{kind:?}").to_lowercase()), kind).await;
        let directory = tempfile::tempdir().expect("a directory");
        for file in ["account.yaml", "cluster-role.yaml", "watched.yaml", kind.manifest()] {
            for object in moved(&bed, file) {
                apply(&bed, &object).await;
            }
        }
        let kubeconfig = kubeconfig(&bed, directory.path(), "backstop").await;
        let form = KubernetesTarget { kubeconfig: Some(kubeconfig), ..form(&bed) };
        let target = bed.target_of(form.clone());
        until(&target, "it is seen", |seen| sync(seen) == Some(&SyncState::Active)).await;
        assert_eq!(target.denied().await, Ok(Vec::new()), "{kind:?}");
        done(bed.operate(&target, controller.suspend(), 20).await);
        done(bed.operate(&target, controller.resume(), 20).await);

        let used = [kind.resource(), kind.source()];
        let is_used = |one: &&Permission| {
            let is_of = |used: &ApiResource| (one.group, one.resource) == (used.group.as_str(), plural(used));
            one.scope == Scope::Owner
                && used.iter().any(is_of)
                && (kind, one.resource) != (Kind::Application, "gitrepositories")
        };
        for permission in PERMISSIONS.iter().filter(is_used) {
            apply(&bed, &role(&bed, kind, permission)).await;
            let wanted = [permission.to_string()];
            let mut denied = Vec::new();
            // The authorizer hears of roles a moment later.
            for _ in 0..100 {
                let all = target.denied().await.expect("it may ask");
                denied = all.iter().map(|one| one.permission.to_string()).collect();
                if denied == wanted {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert_eq!(denied, wanted);
            let named = format!("cannot {} resource \"{}\"", permission.verb, permission.resource);
            // One that has no copies of before.
            let alone = Shared::new(&bed.namespace, None);
            let form = Form::Kubernetes(form.clone());
            let fresh = Target::new(&form, "shop".into(), directory.path().to_owned(), &alone, &[]);
            if ["list", "watch"].contains(&permission.verb) {
                let says =
                    |seen: &Observation| matches!(sync(seen), Some(SyncState::Unseen { why }) if why.contains(&named));
                until(&fresh, &named, says).await;
            } else {
                let outcome = bed.operate(&fresh, controller.suspend(), 20).await;
                assert!(failed(&outcome).contains(&named), "{outcome:?}");
            }
            assert!(controller.is_on().await, "{permission}");
        }
    }
}

pub(crate) async fn watched(name: &str, kind: Kind) -> (Bed, Controller, Watch) {
    let bed = Bed::new(name).await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let controller = Controller::begin(&bed, kind, "c1", "shop:1.4.2").await;
    let watch = Watch::begin_with(&bed, "Deployment", ", gitops: suspend");
    watch.trusts("1.4.2").await;
    controller.commit("c2", "shop:1.4.3-crash");
    (bed, controller, watch)
}

/// What status says of the suspended sync.
fn suspended(watch: &Watch) -> Option<String> {
    service(watch)?["sync_suspended"].as_str().map(str::to_owned)
}

fn service(watch: &Watch) -> Option<Value> {
    let mut status: Value = serde_json::from_str(&watch.ask(&["status", "--json"])?).ok()?;
    // None yet just after a start.
    status["services"].get_mut(0).map(Value::take)
}

async fn waits_for_git(kind: Kind) {
    let (bed, controller, watch) = watched(&format!("gitops-{}", format!("{kind:?}").to_lowercase()), kind).await;
    let incident = watch.verified("shop-1").await;
    assert!(incident.to_string().contains("suspend the sync of the "), "{incident:#}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
    assert!(!controller.is_on().await);
    let said = watch.wait("status says so", suspended).await;
    assert!(said.contains("is suspended until Git has left 1.4.3-crash"), "{said}");
    if kind == Kind::Application {
        controller.commit("c3", "shop:1.4.2");
    } else {
        // Something else of the same repository, or a count of replicas: the release is still in Git.
        controller.commit("c3", "shop:1.4.3-crash");
        controller.change(json!({"spec": {"values": {"replicas": 3}}})).await;
        controller.looks(30).await;
        assert!(!controller.is_on().await, "{kind:?}: it would bring the release back");
        controller.commit("c4", "shop:1.4.2");
        controller.looks(2).await;
        controller.change(kind.on()).await;
    }
    watch.wait("it is resumed", |watch| service(watch).filter(|one| one["sync_suspended"].is_null())).await;
    assert!(controller.is_on().await && controller.before().await.is_none());
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
    assert!(!watch.incident("shop-1").expect("it is known").to_string().contains("sync_not_held"), "{kind:?}");
}

#[tokio::test]
async fn the_daemon_suspends_rolls_back_waits_for_git_and_resumes_an_application() {
    waits_for_git(Kind::Application).await;
}

#[tokio::test]
async fn the_daemon_leaves_a_kustomization_to_people() {
    waits_for_git(Kind::Kustomization).await;
}

#[tokio::test]
async fn the_daemon_leaves_a_helm_release_to_people() {
    waits_for_git(Kind::HelmRelease).await;
}

/// The suspension is written, and its answer not heard; or it is known, and the switch not written.
async fn killed_around_a_suspension(is_heard: bool) {
    let kind = Kind::Application;
    let bed = Bed::new(&format!("killed-sync-{is_heard}")).await;
    bed.workload("Deployment", "shop:1.4.2").await;
    until(&bed.target("Deployment"), "the first release", is_settled_at("1.4.2")).await;
    let controller = Controller::begin(&bed, kind, "c1", "shop:1.4.2").await;
    let proxy = Proxy::begin(&bed.client).await;
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = proxy.kubeconfig(directory.path());
    let target = format!("deployment: shop, kubeconfig: '{}'", kubeconfig.display());
    let mut watch = Watch::configured(&bed, &Service::begin(), &target, ", gitops: suspend");
    watch.trusts("1.4.2").await;
    let is_held = async || tokio::time::timeout(PATIENCE, proxy.holds()).await.expect("it writes");
    if is_heard {
        proxy.hold(Part::Template);
    } else {
        proxy.hold_answer(Part::Sync);
    }
    controller.commit("c2", "shop:1.4.3-crash");
    is_held().await;
    watch.end();
    proxy.let_go();
    assert!(!controller.is_on().await, "{kind:?}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3-crash", "{kind:?}");
    watch.kill();
    let incident = watch.verified("shop-1").await;
    assert_eq!(incident["plans"].as_array().map(Vec::len), Some(1), "{incident:#}");
    watch.wait("status says that it is suspended", suspended).await;

    // Once more, while it is off. Git leaves meanwhile, and that the sync is on again is not heard either.
    watch.end();
    controller.commit("c3", "shop:1.4.2");
    proxy.hold_answer(Part::Sync);
    watch.kill();
    is_held().await;
    watch.end();
    proxy.let_go();
    assert!(controller.is_on().await && controller.before().await.is_none(), "{kind:?}");
    watch.kill();
    watch.wait("it is resumed", |watch| service(watch).filter(|one| one["sync_suspended"].is_null())).await;
    assert!(controller.is_on().await && controller.before().await.is_none(), "{kind:?}");
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2", "{kind:?}");
    // It was Backstop that turned it on.
    let incident = watch.incident("shop-1").expect("it is known").to_string();
    assert!(incident.contains("no sync is suspended for it any more"), "{incident}");
    assert!(!incident.contains("sync_not_held"), "{incident}");
}

#[tokio::test]
async fn killed_before_a_suspension_is_heard_it_goes_on_and_resumes_in_the_end() {
    killed_around_a_suspension(false).await;
}

#[tokio::test]
async fn killed_after_a_suspension_it_goes_on_and_resumes_in_the_end() {
    killed_around_a_suspension(true).await;
}

async fn tug_of_war(parent: Parent) {
    let name = format!("tug-{}", format!("{parent:?}").to_lowercase());
    let (bed, controller, watch) = watched(&name, Kind::Application).await;
    controller.has_parent(parent);
    let told = |watch: &Watch| {
        let is_told = |one: &Value| one.to_string().contains("the suspension did not hold");
        watch.incident("shop-1").filter(|one| is_told(one) && one["plans"][0]["outcome"].is_string())
    };
    watch.wait("it is told", told).await;
    // Git brings the release back, and the next rollback of it is refused.
    let held = |watch: &Watch| {
        let all = ["shop-1", "shop-2"].into_iter().filter_map(|id| watch.incident(id)).collect::<Vec<_>>();
        all.iter().any(|one| one.to_string().contains("it is not suspended again until Git")).then_some(all)
    };
    let all = watch.wait("the next one is held", held).await;
    let plans = all.iter().filter_map(|one| one["plans"].as_array()).map(Vec::len).sum::<usize>();
    assert_eq!(plans, 1, "{all:#?}");
    assert!(controller.is_on().await);
    assert_eq!(controller.before().await.is_some(), parent == Parent::TurnsOnLate);
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.3-crash");
}

#[tokio::test]
async fn a_parent_that_reverts_the_suspension_ends_in_a_page_and_in_no_tug_of_war() {
    tug_of_war(Parent::TurnsOnLate).await;
}

#[tokio::test]
async fn a_parent_that_takes_the_annotation_too_ends_in_a_page_and_in_no_tug_of_war() {
    tug_of_war(Parent::Replaces).await;
}

#[tokio::test]
async fn a_parent_that_takes_the_annotation_away_does_not_make_it_forgotten() {
    let (bed, controller, watch) = watched("forgetful", Kind::Application).await;
    controller.has_parent(Parent::Forgets);
    watch.verified("shop-1").await;
    controller.commit("c3", "shop:1.4.2");
    controller.looks(30).await;
    assert!(!controller.is_on().await && controller.before().await.is_none());
    let said = suspended(&watch).expect("it is known");
    assert!(said.contains("is suspended until Git has left 1.4.3-crash"), "{said}");
    controller.has_parent(Parent::None);
    assert_eq!(image(&bed, "Deployment").await, "shop:1.4.2");
}
