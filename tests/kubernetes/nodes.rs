//! Plays the nodes of a cluster that has none: binds pods, and says of each what its image's tag or the test wants.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::bed::resource;

/// Between two rounds.
const ROUND: Duration = Duration::from_millis(100);

/// What is to become of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ready,
    CrashLooping,
    Unpullable,
    Unready,
    /// It serves no more, since its node is lost.
    OnLostNode,
}

impl Fate {
    /// By the tag of its image: `shop:1.4.3-crash`.
    fn of(image: &str) -> Self {
        Self::named(image.rsplit_once('-').map_or("", |(_, end)| end))
    }

    fn named(name: &str) -> Self {
        match name {
            "crash" => Self::CrashLooping,
            "unpullable" => Self::Unpullable,
            "unready" => Self::Unready,
            "lost" => Self::OnLostNode,
            _ => Self::Ready,
        }
    }

    fn status(self, image: &str) -> Value {
        let condition = |name: &str, holds: bool| json!({"type": name, "status": if holds { "True" } else { "False" }});
        let ready = self == Self::Ready;
        // What the last kubelet said of its containers stays.
        let containers_ready = matches!(self, Self::Ready | Self::OnLostNode);
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let (state, restarts) = match self {
            Self::Ready | Self::Unready | Self::OnLostNode => (json!({"running": {}}), 0),
            Self::CrashLooping => (waiting("CrashLoopBackOff"), 3),
            Self::Unpullable => (waiting("ImagePullBackOff"), 0),
        };
        let last = if restarts > 0 { json!({"terminated": {"exitCode": 1}}) } else { json!({}) };
        let digest = if self == Self::Unpullable { String::new() } else { format!("sha256:{image}") };
        json!({"status": {
            "phase": if restarts == 0 && self == Self::Unpullable { "Pending" } else { "Running" },
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", true), condition("ContainersReady", containers_ready),
                condition("Ready", ready),
            ],
            "containerStatuses": [{
                "name": "shop", "image": image, "imageID": digest, "ready": containers_ready, "restartCount": restarts,
                "state": state, "lastState": last,
            }],
        }})
    }
}

/// What is to become of pods: by name, and of those by name and image.
type Fates = Arc<Mutex<BTreeMap<(String, Option<String>), Fate>>>;

/// The nodes of one namespace's pods.
pub(crate) struct Nodes {
    fates: Fates,
    task: JoinHandle<()>,
    kubelet: JoinHandle<()>,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.task.abort();
        self.kubelet.abort();
    }
}

impl Nodes {
    pub(crate) async fn begin(client: &Client, namespace: &str) -> Self {
        let node = format!("node-{namespace}");
        let (port, kubelet) = super::kubelet::serve_logs().await;
        let object = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {"bed": namespace}},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        let nodes: Api<DynamicObject> = Api::all_with(client.clone(), &resource("", "Node"));
        let object = serde_json::from_value(object).expect("a node");
        nodes.create(&PostParams::default(), &object).await.expect("a node");
        // A new one is tainted until a controller that does not run here sees it ready.
        let ready = json!({"spec": {"taints": null}});
        nodes.patch(&node, &PatchParams::default(), &Patch::Merge(ready)).await.expect("a node without taints");
        let fates = Fates::default();
        let pods: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource("", "Pod"));
        let task = tokio::spawn(play(client.clone(), namespace.to_owned(), pods, node, Arc::clone(&fates)));
        Self { fates, task, kubelet }
    }

    /// From now on this becomes of that pod, whatever its tag says.
    pub(crate) fn decide(&self, pod: &str, fate: Fate) {
        self.fates.lock().expect("fates").insert((pod.to_owned(), None), fate);
    }

    /// From now on nobody serves logs.
    pub(crate) async fn end_kubelet(&self) {
        self.kubelet.abort();
        while !self.kubelet.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// The same of every pod of that name while it has that image.
    pub(crate) fn decide_with(&self, pod: &str, image: &str, fate: Fate) {
        self.fates.lock().expect("fates").insert((pod.to_owned(), Some(image.to_owned())), fate);
    }
}

async fn play(client: Client, namespace: String, pods: Api<DynamicObject>, node: String, fates: Fates) {
    // Ends with the test.
    loop {
        // What fails now is done in the next round: others write to pods, too.
        if let Ok(all) = pods.list(&ListParams::default()).await {
            for pod in all {
                let _ = attend(&client, &namespace, &pods, &node, &fates, &pod).await;
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}

async fn attend(
    client: &Client,
    namespace: &str,
    pods: &Api<DynamicObject>,
    node: &str,
    fates: &Fates,
    pod: &DynamicObject,
) -> kube::Result<()> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete(&name, &at_once).await?;
        return Ok(());
    }
    if pod.data.pointer("/spec/nodeName").is_none() {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(binding.to_string().into_bytes()).expect("a request");
        client.request::<Value>(request).await?;
        return Ok(());
    }
    let image = pod.data.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
    let mut decided = {
        let fates = fates.lock().expect("fates");
        let by_image = fates.get(&(name.clone(), Some(image.to_owned())));
        by_image.or_else(|| fates.get(&(name.clone(), None))).copied()
    };
    let configured = pod.data.pointer("/spec/containers/0/envFrom/0/configMapRef/name").and_then(Value::as_str);
    if let (None, Some(map)) = (decided, configured) {
        // What a pod is told by its environment it is told when it starts.
        let maps: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource("", "ConfigMap"));
        let fate = match maps.get_opt(map).await? {
            Some(map) => Fate::named(map.data.pointer("/data/fate").and_then(Value::as_str).unwrap_or_default()),
            None => Fate::Unpullable,
        };
        if fate != Fate::Ready {
            decided = Some(fate);
        }
        fates
            .lock()
            .expect("fates")
            .entry((name.clone(), None))
            .or_insert_with(|| decided.unwrap_or_else(|| Fate::of(image)));
    }
    let status = decided.unwrap_or_else(|| Fate::of(image)).status(image);
    let is_so = |pointer: &str| pod.data.pointer(pointer) == status.pointer(pointer);
    let told = ["phase", "conditions/3/status", "containerStatuses/0/ready", "containerStatuses/0/restartCount"];
    if !told.iter().all(|part| is_so(&format!("/status/{part}"))) {
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    }
    Ok(())
}
