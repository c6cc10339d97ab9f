//! The three kinds of workload, and where each keeps what a rollback needs.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use crate::config::form::Workload;

/// What kind of workload a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Kind {
    pub(super) const fn of(workload: &Workload) -> Self {
        match workload {
            Workload::Deployment(_) => Self::Deployment,
            Workload::StatefulSet(_) => Self::StatefulSet,
            Workload::DaemonSet(_) => Self::DaemonSet,
        }
    }

    /// As `kind` has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// As in `kubectl get`, for hints.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }

    /// Where the API has it.
    pub(super) fn resource(self) -> ApiResource {
        resource("apps", self.as_str())
    }

    /// Where the API has its revisions.
    pub(super) fn revisions(self) -> ApiResource {
        match self {
            Self::Deployment => resource("apps", "ReplicaSet"),
            Self::StatefulSet | Self::DaemonSet => resource("apps", "ControllerRevision"),
        }
    }

    /// The label by which a pod tells the revision that it was made from.
    pub(super) const fn revision_label(self) -> &'static str {
        match self {
            Self::Deployment => "pod-template-hash",
            Self::StatefulSet | Self::DaemonSet => "controller-revision-hash",
        }
    }
}

/// A resource of version v1, by group (empty for the core) and kind.
pub(super) fn resource(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

/// An object's field by a JSON pointer.
pub(super) fn field<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a Value> {
    object.data.pointer(pointer)
}

/// A whole number of an object; absent counts as `default`, which is what the API does with what is left out.
pub(super) fn number(object: &DynamicObject, pointer: &str, default: i64) -> i64 {
    field(object, pointer).and_then(Value::as_i64).unwrap_or(default)
}

/// A text of an object.
pub(super) fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    field(object, pointer).and_then(Value::as_str)
}

/// An annotation of an object.
pub(super) fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// A label of an object.
pub(super) fn label<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// The uid of the object that controls this one.
pub(super) fn controller(object: &DynamicObject) -> Option<&str> {
    let owners = object.metadata.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// Whether `owner` controls `object`.
pub(super) fn controls(owner: &DynamicObject, object: &DynamicObject) -> bool {
    owner.metadata.uid.is_some() && controller(object) == owner.metadata.uid.as_deref()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An object out of JSON.
    pub(crate) fn object(json: Value) -> DynamicObject {
        serde_json::from_value(json).expect("an object")
    }

    #[test]
    fn the_api_has_each_kind_and_its_revisions_somewhere() {
        let plurals = |kind: Kind| (kind.resource().plural, kind.revisions().plural);
        assert_eq!(plurals(Kind::Deployment), ("deployments".to_owned(), "replicasets".to_owned()));
        assert_eq!(plurals(Kind::StatefulSet), ("statefulsets".to_owned(), "controllerrevisions".to_owned()));
        assert_eq!(plurals(Kind::DaemonSet), ("daemonsets".to_owned(), "controllerrevisions".to_owned()));
    }
}
