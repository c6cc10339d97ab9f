//! Which ConfigMaps and Secrets a pod template names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Holder, Named};

/// Most objects that one template may name, each with a watch of its own.
pub(crate) const NAMED_LIMIT: usize = 32;

/// Written into every namespace by the cluster itself, and the same for all pods.
const CLUSTERS_OWN: &str = "kube-root-ca.crt";

/// Whether pods start without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Optional,
    Required,
}

/// What the containers and volumes of a pod template name: `envFrom`, `env`, volumes and projected volumes, init
/// containers included. Where `allowed` names any, only those count. What pulls images is not among it.
pub(crate) fn named(template: &Value, allowed: Option<&[String]>) -> BTreeMap<Named, Need> {
    let mut found = BTreeMap::new();
    let mut add = |holder: Holder, reference: Option<&Value>, key: &str| {
        let Some(reference) = reference else { return };
        let Some(name) = reference.get(key).and_then(Value::as_str).filter(|name| !name.is_empty()) else { return };
        let is_allowed = allowed.is_none_or(|allowed| allowed.iter().any(|one| one == name));
        if name == CLUSTERS_OWN || !is_allowed {
            return;
        }
        let is_optional = reference.get("optional").and_then(Value::as_bool) == Some(true);
        let need = if is_optional { Need::Optional } else { Need::Required };
        let known = found.entry(Named { holder, name: name.to_owned() }).or_insert(need);
        *known = need.max(*known);
    };
    for containers in ["/spec/initContainers", "/spec/containers"] {
        for container in list(template.pointer(containers)) {
            for source in list(container.get("envFrom")) {
                add(Holder::ConfigMap, source.get("configMapRef"), "name");
                add(Holder::Secret, source.get("secretRef"), "name");
            }
            for variable in list(container.get("env")) {
                add(Holder::ConfigMap, variable.pointer("/valueFrom/configMapKeyRef"), "name");
                add(Holder::Secret, variable.pointer("/valueFrom/secretKeyRef"), "name");
            }
        }
    }
    for volume in list(template.pointer("/spec/volumes")) {
        add(Holder::ConfigMap, volume.get("configMap"), "name");
        add(Holder::Secret, volume.get("secret"), "secretName");
        for source in list(volume.pointer("/projected/sources")) {
            add(Holder::ConfigMap, source.get("configMap"), "name");
            add(Holder::Secret, source.get("secret"), "name");
        }
    }
    found
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_names_one() {
        let template = json!({"spec": {
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "migrations"}}]}],
            "containers": [
                {
                    "envFrom": [{"secretRef": {"name": "login", "optional": true}}, {"configMapRef": {"name": ""}}],
                    "env": [
                        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "limits", "key": "a", "optional": true}}},
                        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "limits", "key": "b"}}},
                        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "token", "key": "c"}}},
                        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "E", "value": "plain"},
                    ],
                },
                {"name": "bare"},
            ],
            "volumes": [
                {"name": "a", "configMap": {"name": "files"}},
                {"name": "b", "secret": {"secretName": "certificate"}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "kube-root-ca.crt"}}, {"configMap": {"name": "extra"}},
                    {"secret": {"name": "pair", "optional": true}}, {"serviceAccountToken": {"path": "token"}},
                ]}},
                {"name": "d", "emptyDir": {}},
            ],
            "imagePullSecrets": [{"name": "registry"}],
        }});
        let words = |allowed: Option<&[String]>| -> Vec<String> {
            named(&template, allowed)
                .into_iter()
                .map(|(named, need)| format!("{named}{}", if need == Need::Optional { "?" } else { "" }))
                .collect()
        };
        assert_eq!(
            words(None),
            [
                "ConfigMap extra",
                "ConfigMap files",
                "ConfigMap limits",
                "ConfigMap migrations",
                "Secret certificate",
                "Secret login?",
                "Secret pair?",
                "Secret token",
            ]
        );
        let allowed = ["files".to_owned(), "token".to_owned(), "kube-root-ca.crt".to_owned(), "other".to_owned()];
        assert_eq!(words(Some(&allowed)), ["ConfigMap files", "Secret token"]);
        assert!(words(Some(&[])).is_empty());
    }
}
