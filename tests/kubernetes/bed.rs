//! A namespace of its own for each test, in the cluster that KUBECONFIG names.

use std::{path::PathBuf, sync::Once, time::Duration};

use backstop::{
    config::form::{KubernetesTarget, StopTraffic, Target as Form, Workload},
    core::{
        name::Version,
        operation::{Attempt, Operation, OperationOutcome, StepKey},
        release::{Observation, Release},
    },
    target::{Shared, Target},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::nodes::Nodes;

/// Far longer than anything here takes, so that a test that fails ends.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Bed {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) nodes: Nodes,
    pub(crate) shared: Shared,
    directory: tempfile::TempDir,
    steps: std::sync::atomic::AtomicU16,
}

/// A resource of version v1.
pub(crate) fn resource(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    });
}

impl Bed {
    /// A bed of that name.
    pub(crate) async fn new(name: &str) -> Self {
        prepare();
        assert!(
            std::env::var_os("KUBECONFIG").is_some(),
            "KUBECONFIG names no cluster: run these tests by `tests/kubernetes/with cargo test --all-features --test kubernetes`"
        );
        let config = Config::infer().await.expect("a kubeconfig");
        let client = Client::try_from(config).expect("a client");
        let namespace = format!("{name}-{}", std::process::id());
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource("", "Namespace"));
        api.create(&PostParams::default(), &serde_json::from_value(object).expect("a namespace"))
            .await
            .expect("a namespace");
        let nodes = Nodes::begin(&client, &namespace).await;
        let directory = tempfile::tempdir().expect("a directory");
        // An installation for each test: none shares a workload with another.
        let shared = Shared::new(&namespace, Some(directory.path().join("configuration")));
        Self { client, namespace, nodes, shared, directory, steps: 0.into() }
    }

    pub(crate) fn api(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource(group, kind))
    }

    /// Makes an object.
    pub(crate) async fn create(&self, group: &str, object: Value) {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        let object = serde_json::from_value(object).expect("an object");
        self.api(group, &kind).create(&PostParams::default(), &object).await.expect("it is made");
    }

    /// Makes the workload `shop` with two replicas of an image.
    pub(crate) async fn workload(&self, kind: &str, image: &str) {
        self.workload_of(kind, image, json!([])).await;
    }

    async fn workload_of(&self, kind: &str, image: &str, configuration: Value) {
        let mut spec = json!({
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "shop", "image": image, "envFrom": configuration}]},
            },
        });
        match kind {
            "Deployment" => spec["replicas"] = 2.into(),
            "StatefulSet" => {
                spec["replicas"] = 2.into();
                spec["serviceName"] = "shop".into();
            }
            // Other beds have nodes, too.
            _ => spec["template"]["spec"]["nodeSelector"] = json!({"bed": self.namespace}),
        }
        self.create("apps", json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "shop"}, "spec": spec}))
            .await;
    }

    /// The same, configured by the ConfigMap `shop-config` and the Secret `login`. The ConfigMap's `fate` says what becomes
    /// of pods that start with it.
    pub(crate) async fn configured(&self, kind: &str, image: &str) {
        self.create(
            "",
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "shop-config", "annotations": {"example.com/team": "shop"}},
                "data": {"fate": "ready", "limit": "5"}, "binaryData": {"logo": "AAEC"}}),
        )
        .await;
        self.create(
            "",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
                "data": {"password": "aHVudGVyMg=="}}),
        )
        .await;
        let both = json!([{"configMapRef": {"name": "shop-config"}}, {"secretRef": {"name": "login"}}]);
        self.workload_of(kind, image, both).await;
    }

    /// Makes a Deployment that has these ConfigMaps, which are made where they are not there yet.
    pub(crate) async fn configured_by(&self, name: &str, image: &str, maps: &[&str]) {
        for map in maps {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map},
                "data": {"limit": "5"}});
            if self.api("", "ConfigMap").get_opt(map).await.expect("asked").is_none() {
                self.create("", object).await;
            }
        }
        let from: Vec<Value> = maps.iter().map(|map| json!({"configMapRef": {"name": map}})).collect();
        let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "shop", "image": image, "envFrom": from}]}}});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec});
        self.create("apps", object).await;
    }

    /// Changes what the ConfigMap holds.
    pub(crate) async fn configure(&self, data: Value) {
        self.change("", "ConfigMap", "shop-config", json!({"data": data})).await;
    }

    /// A kubeconfig by which only what this Role allows can be done.
    pub(crate) async fn allowed(&self, rules: Value) -> PathBuf {
        let group = "rbac.authorization.k8s.io";
        let user = format!("backstop-{}", self.namespace);
        let of = |kind: &str, rest: Value| {
            let mut object = rest;
            object["apiVersion"] = format!("{group}/v1").into();
            object["kind"] = kind.into();
            object["metadata"] = json!({"name": "backstop"});
            object
        };
        self.create(group, of("Role", json!({"rules": rules}))).await;
        let role = json!({"apiGroup": group, "kind": "Role", "name": "backstop"});
        let who = json!([{"apiGroup": group, "kind": "User", "name": user}]);
        self.create(group, of("RoleBinding", json!({"roleRef": role, "subjects": who}))).await;
        let mut file = kube::config::Kubeconfig::read().expect("a kubeconfig");
        for named in &mut file.auth_infos {
            named.auth_info.get_or_insert_default().impersonate = Some(user.clone());
        }
        let path = self.directory.path().join("limited");
        std::fs::write(&path, serde_json::to_string(&file).expect("written")).expect("written");
        path
    }

    /// What a pipeline does.
    pub(crate) async fn deploy(&self, kind: &str, image: &str) {
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": image}]}}}});
        self.change("apps", kind, "shop", patch).await;
    }

    /// A merge patch by somebody else.
    pub(crate) async fn change(&self, group: &str, kind: &str, name: &str, patch: Value) {
        let api = self.api(group, kind);
        api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await.expect("it is changed");
    }

    pub(crate) async fn get(&self, group: &str, kind: &str, name: &str) -> DynamicObject {
        self.api(group, kind).get(name).await.expect("it is there")
    }

    pub(crate) async fn delete(&self, group: &str, kind: &str, name: &str) {
        self.api(group, kind).delete(name, &DeleteParams::default()).await.expect("it is deleted");
    }

    pub(crate) fn form(&self, kind: &str) -> KubernetesTarget {
        let name = "shop".to_owned();
        KubernetesTarget {
            namespace: self.namespace.clone(),
            workload: match kind {
                "Deployment" => Workload::Deployment(name),
                "StatefulSet" => Workload::StatefulSet(name),
                _ => Workload::DaemonSet(name),
            },
            traffic_service: None,
            stop_traffic: StopTraffic::Scale,
            rollout_timeout: Duration::from_secs(30),
            kubeconfig: std::env::var_os("KUBECONFIG").map(PathBuf::from),
            context: None,
            restore_config: false,
            config_allow: None,
            restart_at_most: 0.3,
            suspends_sync: false,
        }
    }

    pub(crate) fn target(&self, kind: &str) -> Target {
        self.target_of(self.form(kind))
    }

    pub(crate) fn target_of(&self, form: KubernetesTarget) -> Target {
        self.target_after(form, &[])
    }

    /// A target as after a restart of the daemon, whose journal knows these releases.
    pub(crate) fn target_after(&self, form: KubernetesTarget, known: &[Release]) -> Target {
        Target::new(&Form::Kubernetes(form), "shop".into(), self.directory.path().to_owned(), &self.shared, known)
    }

    /// The same with nothing but what is on disk and in the cluster.
    pub(crate) fn target_anew(&self, form: KubernetesTarget, known: &[Release]) -> Target {
        let shared = Shared::new(&self.namespace, Some(self.directory.path().join("configuration")));
        Target::new(&Form::Kubernetes(form), "shop".into(), self.directory.path().to_owned(), &shared, known)
    }

    /// Carries an operation out, within a deadline.
    pub(crate) async fn operate(&self, target: &Target, operation: Operation, seconds: u64) -> OperationOutcome {
        self.operate_on(None, target, operation, seconds).await
    }

    /// The same for a plan that is about that object.
    pub(crate) async fn operate_on(
        &self,
        object: Option<String>,
        target: &Target,
        operation: Operation,
        seconds: u64,
    ) -> OperationOutcome {
        let step = self.steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let key = StepKey { incident: "shop-1".into(), plan: 1, step, attempt: 1 };
        target.operate(&Attempt { key, operation, object, deadline: Duration::from_secs(seconds) }).await
    }
}

/// Switches from one version to another.
pub(crate) fn switch(from: &str, to: &str) -> Operation {
    Operation::Switch { from: Version::from(from), to: Version::from(to) }
}

/// Waits until a look at the target shows what is wanted.
pub(crate) async fn until(target: &Target, what: &str, holds: impl Fn(&Observation) -> bool) -> Observation {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < PATIENCE {
        let seen = target.observe().await;
        if let Ok(observation) = &seen
            && holds(observation)
        {
            return observation.clone();
        }
        last = Some(seen);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within {PATIENCE:?}: {what}; last seen: {last:?}");
}

pub(crate) fn current(observation: &Observation) -> &str {
    observation.current.as_ref().map_or("", |release| release.version.as_str())
}
