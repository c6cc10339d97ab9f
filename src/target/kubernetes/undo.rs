//! What is written to a workload: JSON Patches that test first whom they change.
//!
//! A whole object is never put back: fields that a newer server has would be lost. Each patch tests the object's uid
//! (another of the same name is another) and its resourceVersion (whoever wrote in between is not overwritten).

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::revision::{CHANGE_CAUSE, Template};

/// Which incident last changed an object, written on it.
pub(super) const INCIDENT: &str = "backstop.io/incident";

/// Makes `template` the workload's, and says why on it.
pub(super) fn to_template(workload: &DynamicObject, template: &Template, cause: &str, incident: &str) -> Vec<Value> {
    let mut patch = tests(workload);
    patch.push(json!({"op": "replace", "path": "/spec/template", "value": template.value()}));
    patch.extend(annotate(workload, &[(CHANGE_CAUSE, cause), (INCIDENT, incident)]));
    patch
}

/// Sets the wanted replicas, and remembers on the object what they were before.
pub(super) fn to_replicas(workload: &DynamicObject, replicas: i64, annotations: &[(&str, &str)]) -> Vec<Value> {
    let mut patch = tests(workload);
    patch.push(json!({"op": "replace", "path": "/spec/replicas", "value": replicas}));
    patch.extend(annotate(workload, annotations));
    patch
}

/// Puts another selector into a Service.
pub(super) fn to_selector(service: &DynamicObject, selector: &Value, annotations: &[(&str, &str)]) -> Vec<Value> {
    let mut patch = tests(service);
    patch.push(json!({"op": "replace", "path": "/spec/selector", "value": selector}));
    patch.extend(annotate(service, annotations));
    patch
}

/// Takes annotations of ours away again.
pub(super) fn without(object: &DynamicObject, names: &[&str]) -> Vec<Value> {
    let has = |name: &&&str| object.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(**name));
    names.iter().filter(has).map(|name| json!({"op": "remove", "path": pointer(name)})).collect()
}

fn tests(object: &DynamicObject) -> Vec<Value> {
    vec![
        json!({"op": "test", "path": "/metadata/uid", "value": object.metadata.uid}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": object.metadata.resource_version}),
    ]
}

fn annotate(object: &DynamicObject, annotations: &[(&str, &str)]) -> Vec<Value> {
    let mut patch = Vec::new();
    if object.metadata.annotations.is_none() && !annotations.is_empty() {
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    patch.extend(annotations.iter().map(|(name, value)| json!({"op": "add", "path": pointer(name), "value": value})));
    patch
}

/// An annotation's place (RFC 6901).
fn pointer(name: &str) -> String {
    format!("/metadata/annotations/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::{super::workload::tests::object, *};

    fn deployment() -> DynamicObject {
        object(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {
            "name": "shop", "uid": "u-1", "resourceVersion": "42", "annotations": {INCIDENT: "shop-1"}}}))
    }

    #[test]
    fn every_patch_tests_whom_it_changes() {
        let template = Template::new(json!({"spec": {"containers": []}}));
        let first = json!([
            {"op": "test", "path": "/metadata/uid", "value": "u-1"},
            {"op": "test", "path": "/metadata/resourceVersion", "value": "42"},
        ]);
        for patch in [
            to_template(&deployment(), &template, "why", "shop-2"),
            to_replicas(&deployment(), 0, &[]),
            to_selector(&deployment(), &json!({}), &[]),
        ] {
            assert_eq!(Value::from(patch[..2].to_vec()), first);
        }
    }

    #[test]
    fn annotations_are_added_where_there_are_none_and_taken_away_where_they_are() {
        let template = Template::new(json!({"spec": {"containers": []}}));
        let mut bare = deployment();
        bare.metadata.annotations = None;
        let paths = |patch: Vec<Value>| -> Vec<String> {
            patch.iter().map(|one| format!("{} {}", one["op"], one["path"]).replace('"', "")).collect()
        };
        assert_eq!(
            paths(to_template(&bare, &template, "why", "shop-2"))[2..],
            [
                "replace /spec/template",
                "add /metadata/annotations",
                "add /metadata/annotations/kubernetes.io~1change-cause",
                "add /metadata/annotations/backstop.io~1incident",
            ]
        );
        assert_eq!(
            paths(without(&deployment(), &[INCIDENT, "other"])),
            ["remove /metadata/annotations/backstop.io~1incident"]
        );
        assert!(without(&bare, &[INCIDENT]).is_empty());
    }
}
