//! Every manifest of `deploy/kubernetes` is taken by a real API server, and its controllers make a pod of it.

use std::{fs, path::Path, time::Duration};

use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::bed::{Bed, resource};

/// The objects of a manifest, as they stand there.
pub(crate) fn documents(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes").join(file);
    serde_saphyr::from_multiple(&fs::read_to_string(path).expect("a manifest")).expect("YAML")
}

/// The same in the bed's namespace, and of its own name where they belong to the whole cluster.
pub(crate) fn moved(bed: &Bed, file: &str) -> Vec<Value> {
    let mut objects = documents(file);
    for object in &mut objects {
        if object["metadata"]["namespace"].is_string() {
            object["metadata"]["namespace"] = bed.namespace.clone().into();
        } else {
            object["metadata"]["name"] = bed.namespace.clone().into();
        }
        if object["roleRef"]["kind"] == "ClusterRole" {
            object["roleRef"]["name"] = bed.namespace.clone().into();
        }
        if object["subjects"].is_array() {
            object["subjects"][0]["namespace"] = bed.namespace.clone().into();
        }
    }
    objects
}

/// As `kubectl apply --server-side` does.
pub(crate) async fn apply(bed: &Bed, object: &Value) -> DynamicObject {
    let (group, kind) = (object["apiVersion"].as_str().expect("a version"), object["kind"].as_str().expect("a kind"));
    let resource = resource(group.split_once('/').map_or("", |(group, _)| group), kind);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(bed.client.clone(), namespace, &resource),
        None => Api::all_with(bed.client.clone(), &resource),
    };
    let name = object["metadata"]["name"].as_str().expect("a name");
    let applied = api.patch(name, &PatchParams::apply("a-test").force(), &Patch::Apply(object)).await;
    applied.unwrap_or_else(|error| panic!("{kind} {name}: {error}"))
}

/// What of an object was left out by the API server, as it leaves out what it does not know.
fn left_out(written: &Value, taken: &Value, place: &str, missing: &mut Vec<String>) {
    match (written, taken) {
        (Value::Object(written), Value::Object(taken)) => {
            for (key, value) in written {
                match taken.get(key) {
                    Some(taken) => left_out(value, taken, &format!("{place}.{key}"), missing),
                    None => missing.push(format!("{place}.{key}")),
                }
            }
        }
        (Value::Array(written), Value::Array(taken)) => {
            for (index, (value, taken)) in written.iter().zip(taken).enumerate() {
                left_out(value, taken, &format!("{place}[{index}]"), missing);
            }
            assert_eq!(written.len(), taken.len(), "{place}");
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_manifest_is_taken_and_becomes_a_pod() {
    let bed = Bed::new("deployed").await;
    let kustomization = documents("kustomization.yaml").remove(0);
    for file in kustomization["resources"].as_array().expect("a list") {
        for object in moved(&bed, file.as_str().expect("a name")) {
            let taken = serde_json::to_value(apply(&bed, &object).await).expect("JSON");
            let mut missing = Vec::new();
            left_out(&object, &taken, object["kind"].as_str().expect("a kind"), &mut missing);
            assert!(missing.is_empty(), "the API server does not know {missing:?}");
            // The same again changes nothing.
            let again = apply(&bed, &object).await;
            assert_eq!(again.metadata.uid.as_deref(), taken["metadata"]["uid"].as_str());
        }
    }
    let pods = bed.api("", "Pod");
    for _ in 0..200 {
        if let Some(pod) = pods.list(&ListParams::default()).await.expect("a list").items.first() {
            let spec = &pod.data["spec"];
            assert_eq!(spec["serviceAccountName"], "backstop");
            assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], json!(true));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no pod was made of the Deployment within 10 s");
}
