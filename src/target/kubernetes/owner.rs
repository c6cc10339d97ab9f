//! Who else believes to own a workload: a controller that would undo what Backstop does, or be confused by it.

use std::collections::BTreeMap;

use kube::core::DynamicObject;

use super::workload::{annotation, label};

/// What tells of owners among an object's labels and annotations.
const TRACES: [&str; 9] = [
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "helm.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/namespace",
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
    "meta.helm.sh/release-name",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/instance",
];

/// Of labels or annotations, those that tell of an owner.
pub(super) fn traces(mut all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    all.retain(|name, _| TRACES.contains(&name.as_str()));
    all
}

/// Who owns a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// An Argo CD Application.
    ArgoCd {
        /// Its name, and its namespace where the tracking says one.
        application: String,
        namespace: Option<String>,
    },
    /// A Flux Kustomization.
    FluxKustomization { name: String, namespace: String },
    /// A Flux HelmRelease.
    FluxHelmRelease { name: String, namespace: String },
    /// A Helm release that nothing reconciles.
    Helm { release: String },
    /// An Argo Rollout: it makes ReplicaSets itself.
    ArgoRollouts { name: String },
    /// A Flagger Canary.
    Flagger { name: String },
    /// Some other controller that made the object.
    Other { kind: String, name: String },
}

impl Owner {
    /// Whether a change beside it may be made where the policy says so. Helm and the delivery controllers keep books of
    /// their own, which would be wrong from then on.
    pub(super) const fn can_be_acted_past(&self) -> bool {
        match self {
            Self::ArgoCd { .. } | Self::FluxKustomization { .. } | Self::Other { .. } => true,
            Self::FluxHelmRelease { .. } | Self::Helm { .. } | Self::ArgoRollouts { .. } | Self::Flagger { .. } => {
                false
            }
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ArgoCd { application, namespace: Some(namespace) } => {
                write!(formatter, "the Argo CD Application {namespace}/{application}")
            }
            Self::ArgoCd { application, namespace: None } => write!(formatter, "the Argo CD Application {application}"),
            Self::FluxKustomization { name, namespace } => {
                write!(formatter, "the Flux Kustomization {namespace}/{name}")
            }
            Self::FluxHelmRelease { name, namespace } => write!(formatter, "the Flux HelmRelease {namespace}/{name}"),
            Self::Helm { release } => write!(formatter, "the Helm release {release}"),
            Self::ArgoRollouts { name } => write!(formatter, "the Argo Rollout {name}"),
            Self::Flagger { name } => write!(formatter, "the Flagger Canary {name}"),
            Self::Other { kind, name } => write!(formatter, "the {kind} {name}"),
        }
    }
}

/// Who owns a workload, or a ConfigMap, by its own labels, annotations and owner references. The first that fits: who reconciles comes
/// before who only installed.
pub(super) fn owner(workload: &DynamicObject) -> Option<Owner> {
    if let Some(tracking) = annotation(workload, "argocd.argoproj.io/tracking-id") {
        // application[_namespace]:group/kind:namespace/name, as Argo CD's resource tracking writes it.
        let whole = tracking.split(':').next().unwrap_or(tracking);
        let (namespace, application) =
            whole.split_once('_').map_or((None, whole), |(namespace, name)| (Some(namespace.to_owned()), name));
        return Some(Owner::ArgoCd { application: application.to_owned(), namespace });
    }
    if let Some(application) = label(workload, "argocd.argoproj.io/instance") {
        return Some(Owner::ArgoCd { application: application.to_owned(), namespace: None });
    }
    let flux = |which: &str| {
        let name = label(workload, &format!("{which}.toolkit.fluxcd.io/name"))?.to_owned();
        let namespace = label(workload, &format!("{which}.toolkit.fluxcd.io/namespace"))?.to_owned();
        Some((name, namespace))
    };
    if let Some((name, namespace)) = flux("helm") {
        return Some(Owner::FluxHelmRelease { name, namespace });
    }
    if let Some((name, namespace)) = flux("kustomize") {
        return Some(Owner::FluxKustomization { name, namespace });
    }
    if let Some(reference) = workload.metadata.owner_references.iter().flatten().next() {
        let (group, name) = (reference.api_version.split('/').next().unwrap_or_default(), reference.name.clone());
        return Some(match (group, reference.kind.as_str()) {
            ("argoproj.io", "Rollout") => Owner::ArgoRollouts { name },
            ("flagger.app", "Canary") => Owner::Flagger { name },
            _ => Owner::Other { kind: reference.kind.clone(), name },
        });
    }
    if let Some(release) = annotation(workload, "meta.helm.sh/release-name") {
        return Some(Owner::Helm { release: release.to_owned() });
    }
    // Charts write this label themselves; Helm's own annotation may have been left out by `helm template`.
    if label(workload, "app.kubernetes.io/managed-by") == Some("Helm") {
        let release = label(workload, "app.kubernetes.io/instance").unwrap_or("of an unknown name");
        return Some(Owner::Helm { release: release.to_owned() });
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::workload::tests::object, *};

    #[expect(clippy::needless_pass_by_value, reason = "rows of tables are written where they are used")]
    fn owned(metadata: Value) -> Option<String> {
        let all = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata});
        owner(&object(all)).map(|owner| format!("{owner}; {}", owner.can_be_acted_past()))
    }

    #[test]
    fn owners_by_what_they_leave_on_an_object() {
        let reference = |version: &str, kind: &str| json!({"ownerReferences": [{"apiVersion": version, "kind": kind, "name": "shop", "uid": "u"}]});
        for (metadata, expected) in [
            (json!({"name": "shop"}), None),
            (json!({"labels": {"app.kubernetes.io/instance": "shop"}}), None),
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:prod/shop"}}),
                Some("the Argo CD Application shop; true"),
            ),
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "team_shop:apps/Deployment:prod/shop"}}),
                Some("the Argo CD Application team/shop; true"),
            ),
            (json!({"labels": {"argocd.argoproj.io/instance": "shop"}}), Some("the Argo CD Application shop; true")),
            (
                json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}}),
                Some("the Flux Kustomization flux-system/shop; true"),
            ),
            (
                json!({"labels": {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "prod",
                    "app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "shop"}}),
                Some("the Flux HelmRelease prod/shop; false"),
            ),
            (json!({"annotations": {"meta.helm.sh/release-name": "shop-1"}}), Some("the Helm release shop-1; false")),
            (
                json!({"labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "shop"}}),
                Some("the Helm release shop; false"),
            ),
            (reference("argoproj.io/v1alpha1", "Rollout"), Some("the Argo Rollout shop; false")),
            (reference("flagger.app/v1beta1", "Canary"), Some("the Flagger Canary shop; false")),
            (reference("example.com/v1", "Shop"), Some("the Shop shop; true")),
        ] {
            assert_eq!(owned(metadata.clone()).as_deref(), expected, "{metadata}");
            // A copy without the rest tells the same.
            let mut traced = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}));
            traced.metadata.labels = traced.metadata.labels.map(traces);
            traced.metadata.annotations = traced.metadata.annotations.map(traces);
            let said = owner(&traced).map(|owner| format!("{owner}; {}", owner.can_be_acted_past()));
            assert_eq!(said.as_deref(), expected);
        }
    }
}
