//! What is written to a workload: JSON Patches that test first whom they change.
//!
//! A whole object is never put back: fields that a newer server has would be lost. Each patch tests the object's uid
//! (another of the same name is another) and its resourceVersion (whoever wrote in between is not overwritten).

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{
    identity::{RELEASE, SWITCHING},
    revision::{CHANGE_CAUSE, Template},
};

/// Which incident last changed an object, written on it.
pub(super) const INCIDENT: &str = "backstop.io/incident";

/// Makes `template` the workload's, and says why on it, and which release it is from then on.
pub(super) fn to_template(
    workload: &DynamicObject,
    template: &Template,
    (cause, incident, release): (&str, &str, &str),
) -> Vec<Value> {
    let mut patch = tests(workload);
    patch.push(json!({"op": "replace", "path": "/spec/template", "value": template.value()}));
    patch.extend(annotate(workload, &[(CHANGE_CAUSE, cause), (INCIDENT, incident), (RELEASE, release)]));
    patch.extend(without(workload, &[SWITCHING]));
    patch
}

/// Says on a workload between which releases it is.
pub(super) fn to_switching(workload: &DynamicObject, switching: &str, incident: &str) -> Vec<Value> {
    let mut patch = tests(workload);
    patch.extend(annotate(workload, &[(SWITCHING, switching), (INCIDENT, incident)]));
    patch
}

/// Makes `data` what a ConfigMap holds: an object with `data` and `binaryData`, each null where there is none.
pub(super) fn to_data(map: &DynamicObject, data: &Value, incident: &str) -> Vec<Value> {
    let mut patch = tests(map);
    for part in ["data", "binaryData"] {
        match data.get(part).filter(|part| !part.is_null()) {
            Some(value) => patch.push(json!({"op": "add", "path": format!("/{part}"), "value": value})),
            None if map.data.get(part).is_some() => {
                patch.push(json!({"op": "remove", "path": format!("/{part}")}));
            }
            None => {}
        }
    }
    patch.extend(annotate(map, &[(INCIDENT, incident)]));
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

pub(super) fn tests(object: &DynamicObject) -> Vec<Value> {
    vec![
        json!({"op": "test", "path": "/metadata/uid", "value": object.metadata.uid}),
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": object.metadata.resource_version}),
    ]
}

pub(super) fn annotate(object: &DynamicObject, annotations: &[(&str, &str)]) -> Vec<Value> {
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
    use super::{
        super::{configuration::plain, workload::tests::object},
        *,
    };

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
            to_template(&deployment(), &template, ("why", "shop-2", "{}")),
            to_switching(&deployment(), "{}", "shop-2"),
            to_data(&deployment(), &json!({}), "shop-2"),
            to_replicas(&deployment(), 0, &[]),
            to_selector(&deployment(), &json!({}), &[]),
        ] {
            assert_eq!(Value::from(patch[..2].to_vec()), first);
        }
    }

    #[test]
    fn a_config_map_holds_just_what_it_held() {
        let map = object(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "shop", "uid": "u", "resourceVersion": "1", "annotations": {"a": "b"}},
            "data": {"new": "1"}, "binaryData": {"logo": "AAEC"}}));
        let (none, some) = (Value::Null, json!({"limit": "5"}));
        for (data, expected) in [
            (json!({"data": some, "binaryData": none}), json!({"data": {"limit": "5"}})),
            (json!({"data": none, "binaryData": some}), json!({"binaryData": {"limit": "5"}})),
            (json!({"data": none, "binaryData": none}), json!({})),
        ] {
            // As it is known here: without what its annotations say.
            let patch = to_data(&plain(map.clone()), &data, "shop-1");
            let patch: json_patch::Patch = serde_json::from_value(Value::Array(patch)).expect("a patch");
            let mut whole = serde_json::to_value(&map).expect("an object");
            json_patch::patch(&mut whole, &patch).expect("it fits");
            for part in ["data", "binaryData"] {
                assert_eq!(whole.get(part), expected.get(part), "{data}");
            }
            assert_eq!(whole["metadata"]["annotations"], json!({"a": "b", INCIDENT: "shop-1"}), "others' stay");
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
            paths(to_template(&bare, &template, ("why", "shop-2", "{}")))[2..],
            [
                "replace /spec/template",
                "add /metadata/annotations",
                "add /metadata/annotations/kubernetes.io~1change-cause",
                "add /metadata/annotations/backstop.io~1incident",
                "add /metadata/annotations/backstop.io~1release",
            ]
        );
        let mut between = deployment();
        between.metadata.annotations = Some([(SWITCHING.to_owned(), "{}".to_owned())].into());
        let last = paths(to_template(&between, &template, ("why", "shop-2", "{}")));
        assert_eq!(last.last().map(String::as_str), Some("remove /metadata/annotations/backstop.io~1switching"));
        assert_eq!(
            paths(without(&deployment(), &[INCIDENT, "other"])),
            ["remove /metadata/annotations/backstop.io~1incident"]
        );
        assert!(without(&bare, &[INCIDENT]).is_empty());
    }
}
