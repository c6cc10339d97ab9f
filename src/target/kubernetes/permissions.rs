//! What an account must be allowed to do in a cluster. This table is the only one: the README's Role, the manifests of
//! `deploy/` and `backstop check --live` are held against it.

use std::fmt;

use super::{lease, workload::Kind};
use crate::config::form::{KubernetesTarget, StopTraffic};

/// Where a permission holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// In the workload's namespace: a Role.
    Namespace,
    /// In the whole cluster: a `ClusterRole`.
    Cluster,
    /// In the namespace of the GitOps controller's object that owns the workload, or of its source: a Role there.
    Owner,
}

/// What a permission is for, and so what fails without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To see the target at all.
    See,
    /// To tell what is live where pods are configured by it.
    TellReleases,
    /// To write a rollback.
    RollBack,
    /// To put configuration back.
    RestoreConfiguration,
    /// To be the only one who writes.
    WriteAlone,
    /// To delete pods that fail.
    RestartFailing,
    /// To stop and restore traffic.
    StopTraffic,
    /// To suspend the sync of a GitOps controller, and to resume it.
    SuspendSync,
    /// To say in the cluster what is done.
    Announce,
    /// To gather evidence.
    Gather,
}

impl Purpose {
    /// What fails without it.
    pub const fn lost(self) -> &'static str {
        match self {
            Self::See => "the target cannot be seen, and so nothing is done",
            Self::TellReleases => {
                "what is live is not told where its pods name one, and so not rolled back, unless `config_allow` leaves it out"
            }
            Self::RollBack => "no rollback can be written",
            Self::RestoreConfiguration => "no ConfigMap can be put back",
            Self::WriteAlone => "nothing can be written, since nobody could tell whether another Backstop writes too",
            Self::RestartFailing => "failing pods cannot be restarted, and a StatefulSet that is stuck stays so",
            Self::StopTraffic => "traffic can be neither stopped nor restored",
            Self::SuspendSync => {
                "the sync of its owner can be neither suspended nor resumed, and so nothing is rolled back"
            }
            Self::Announce => "the cluster's events do not tell what Backstop does",
            Self::Gather => "a part of the evidence is missing when all is down",
        }
    }

    /// Whether a plan fails without it, rather than being done with less to show for it.
    pub const fn is_vital(self) -> bool {
        match self {
            Self::See
            | Self::TellReleases
            | Self::RollBack
            | Self::RestoreConfiguration
            | Self::WriteAlone
            | Self::RestartFailing
            | Self::StopTraffic
            | Self::SuspendSync => true,
            Self::Announce | Self::Gather => false,
        }
    }
}

/// Which targets need a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    Always,
    For(Kind),
    /// By StatefulSets and DaemonSets, whose revisions are kept alike.
    ForRevisions,
    /// Where traffic is stopped by the Service's selector.
    BySelector,
    /// Where all that pods name counts. Which of the names that are configured is a ConfigMap's is for the target to see.
    ForAllConfiguration,
    /// Where ConfigMaps are put back.
    ForRestoring,
    /// Where `gates.gitops` is `suspend`, and such an object owns the workload or is the source of one that does.
    ToSuspend,
}

/// Which objects are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Any,
    Workload,
    TrafficService,
    Lease,
    /// The first that is configured, where any are: the account may be given just those.
    Configuration,
}

/// One verb on one kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// As a Role names it: `pods/log` has its subresource behind a slash.
    pub resource: &'static str,
    /// As a Role names it.
    pub verb: &'static str,
    /// Where it holds.
    pub scope: Scope,
    /// What it is for.
    pub purpose: Purpose,
    needed: Needed,
    named: Named,
}

const fn row(
    (group, resource, verb): (&'static str, &'static str, &'static str),
    purpose: Purpose,
    needed: Needed,
    named: Named,
) -> Permission {
    Permission { group, resource, verb, scope: Scope::Namespace, purpose, needed, named }
}

const fn in_cluster(resource: &'static str, verb: &'static str) -> Permission {
    let scope = Scope::Cluster;
    Permission { group: "", resource, verb, scope, purpose: Purpose::Gather, needed: Needed::Always, named: Named::Any }
}

const fn at_owner(group: &'static str, resource: &'static str, verb: &'static str) -> Permission {
    let (scope, purpose, needed) = (Scope::Owner, Purpose::SuspendSync, Needed::ToSuspend);
    Permission { group, resource, verb, scope, purpose, needed, named: Named::Any }
}

use Needed::{Always, BySelector, For, ForAllConfiguration, ForRestoring, ForRevisions};

/// Every permission that some target needs.
pub static PERMISSIONS: &[Permission] = &[
    row(("apps", "deployments", "get"), Purpose::RollBack, For(Kind::Deployment), Named::Workload),
    row(("apps", "deployments", "list"), Purpose::See, For(Kind::Deployment), Named::Any),
    row(("apps", "deployments", "watch"), Purpose::See, For(Kind::Deployment), Named::Any),
    row(("apps", "deployments", "patch"), Purpose::RollBack, For(Kind::Deployment), Named::Workload),
    row(("apps", "statefulsets", "get"), Purpose::RollBack, For(Kind::StatefulSet), Named::Workload),
    row(("apps", "statefulsets", "list"), Purpose::See, For(Kind::StatefulSet), Named::Any),
    row(("apps", "statefulsets", "watch"), Purpose::See, For(Kind::StatefulSet), Named::Any),
    row(("apps", "statefulsets", "patch"), Purpose::RollBack, For(Kind::StatefulSet), Named::Workload),
    row(("apps", "daemonsets", "get"), Purpose::RollBack, For(Kind::DaemonSet), Named::Workload),
    row(("apps", "daemonsets", "list"), Purpose::See, For(Kind::DaemonSet), Named::Any),
    row(("apps", "daemonsets", "watch"), Purpose::See, For(Kind::DaemonSet), Named::Any),
    row(("apps", "daemonsets", "patch"), Purpose::RollBack, For(Kind::DaemonSet), Named::Workload),
    row(("apps", "replicasets", "list"), Purpose::See, For(Kind::Deployment), Named::Any),
    row(("apps", "replicasets", "watch"), Purpose::See, For(Kind::Deployment), Named::Any),
    row(("apps", "controllerrevisions", "list"), Purpose::See, ForRevisions, Named::Any),
    row(("apps", "controllerrevisions", "watch"), Purpose::See, ForRevisions, Named::Any),
    row(("", "pods", "list"), Purpose::See, Always, Named::Any),
    row(("", "pods", "watch"), Purpose::See, Always, Named::Any),
    row(("", "pods", "delete"), Purpose::RestartFailing, Always, Named::Any),
    row(("", "services", "get"), Purpose::StopTraffic, BySelector, Named::TrafficService),
    row(("", "services", "patch"), Purpose::StopTraffic, BySelector, Named::TrafficService),
    row(("", "configmaps", "list"), Purpose::TellReleases, ForAllConfiguration, Named::Any),
    row(("", "configmaps", "watch"), Purpose::TellReleases, ForAllConfiguration, Named::Any),
    row(("", "configmaps", "patch"), Purpose::RestoreConfiguration, ForRestoring, Named::Configuration),
    row(("", "secrets", "list"), Purpose::TellReleases, ForAllConfiguration, Named::Any),
    row(("", "secrets", "watch"), Purpose::TellReleases, ForAllConfiguration, Named::Any),
    row(("coordination.k8s.io", "leases", "get"), Purpose::WriteAlone, Always, Named::Lease),
    row(("coordination.k8s.io", "leases", "create"), Purpose::WriteAlone, Always, Named::Any),
    row(("coordination.k8s.io", "leases", "update"), Purpose::WriteAlone, Always, Named::Lease),
    row(("", "events", "create"), Purpose::Announce, Always, Named::Any),
    row(("", "events", "list"), Purpose::Gather, Always, Named::Any),
    row(("", "pods/log", "get"), Purpose::Gather, Always, Named::Any),
    in_cluster("nodes", "list"),
    in_cluster("pods", "list"),
    at_owner("argoproj.io", "applications", "get"),
    at_owner("argoproj.io", "applications", "list"),
    at_owner("argoproj.io", "applications", "watch"),
    at_owner("argoproj.io", "applications", "patch"),
    at_owner("kustomize.toolkit.fluxcd.io", "kustomizations", "get"),
    at_owner("kustomize.toolkit.fluxcd.io", "kustomizations", "list"),
    at_owner("kustomize.toolkit.fluxcd.io", "kustomizations", "watch"),
    at_owner("kustomize.toolkit.fluxcd.io", "kustomizations", "patch"),
    at_owner("helm.toolkit.fluxcd.io", "helmreleases", "get"),
    at_owner("helm.toolkit.fluxcd.io", "helmreleases", "list"),
    at_owner("helm.toolkit.fluxcd.io", "helmreleases", "watch"),
    at_owner("helm.toolkit.fluxcd.io", "helmreleases", "patch"),
    at_owner("source.toolkit.fluxcd.io", "gitrepositories", "get"),
    at_owner("source.toolkit.fluxcd.io", "gitrepositories", "list"),
    at_owner("source.toolkit.fluxcd.io", "gitrepositories", "watch"),
    at_owner("source.toolkit.fluxcd.io", "ocirepositories", "get"),
    at_owner("source.toolkit.fluxcd.io", "ocirepositories", "list"),
    at_owner("source.toolkit.fluxcd.io", "ocirepositories", "watch"),
    at_owner("source.toolkit.fluxcd.io", "buckets", "get"),
    at_owner("source.toolkit.fluxcd.io", "buckets", "list"),
    at_owner("source.toolkit.fluxcd.io", "buckets", "watch"),
    at_owner("source.toolkit.fluxcd.io", "helmcharts", "get"),
    at_owner("source.toolkit.fluxcd.io", "helmcharts", "list"),
    at_owner("source.toolkit.fluxcd.io", "helmcharts", "watch"),
];

impl Permission {
    /// The resource without its subresource, and that.
    pub fn parts(&self) -> (&'static str, Option<&'static str>) {
        self.resource.split_once('/').map_or((self.resource, None), |(resource, sub)| (resource, Some(sub)))
    }

    /// The rule that gives it, as a Role or `ClusterRole` has it.
    pub fn rule(&self) -> String {
        let group = if self.group.is_empty() { "\"\"" } else { self.group };
        format!("{{apiGroups: [{group}], resources: [{}], verbs: [{}]}}", self.resource, self.verb)
    }

    fn is_needed(&self, form: &KubernetesTarget) -> bool {
        let kind = Kind::of(&form.workload);
        match self.needed {
            Needed::Always => true,
            Needed::For(of) => kind == of,
            Needed::ForRevisions => kind != Kind::Deployment,
            Needed::BySelector => form.stop_traffic == StopTraffic::Selector,
            Needed::ForAllConfiguration => form.config_allow.is_none(),
            Needed::ForRestoring => form.restore_config && form.config_allow.as_ref().is_none_or(|all| !all.is_empty()),
            // Who owns it is not in the configuration: [`at_owners`] tells those.
            Needed::ToSuspend => false,
        }
    }

    /// The one object that it is needed for; none where it is needed for whichever there is.
    pub(super) fn object(&self, form: &KubernetesTarget) -> Option<String> {
        match self.named {
            Named::Any => None,
            Named::Workload => Some(form.workload.name().to_owned()),
            Named::Configuration => form.config_allow.as_ref().and_then(|all| all.first().cloned()),
            Named::TrafficService => form.traffic_service.clone(),
            Named::Lease => Some(lease::name(Kind::of(&form.workload), form.workload.name())),
        }
    }
}

impl fmt::Display for Permission {
    /// "list pods", "patch deployments.apps": as `kubectl auth can-i` takes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, sub) = self.parts();
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(formatter, "{} {resource}{dot}{}", self.verb, self.group)?;
        sub.map_or(Ok(()), |sub| write!(formatter, "/{sub}"))
    }
}

/// What the account of one target must be allowed to do.
pub(super) fn needed(form: &KubernetesTarget) -> impl Iterator<Item = &'static Permission> {
    PERMISSIONS.iter().filter(|permission| permission.is_needed(form))
}

/// What it must be allowed to do to an object that owns the workload, or is the source of one that does.
pub(super) fn at_owners(group: &str, plural: &str) -> impl Iterator<Item = &'static Permission> {
    let is_at = move |one: &&Permission| one.scope == Scope::Owner && (one.group, one.resource) == (group, plural);
    PERMISSIONS.iter().filter(is_at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::form::Workload;

    fn form(workload: Workload, stop_traffic: StopTraffic) -> KubernetesTarget {
        KubernetesTarget {
            namespace: "prod".to_owned(),
            workload,
            traffic_service: Some("front".to_owned()),
            stop_traffic,
            rollout_timeout: Duration::from_secs(1),
            kubeconfig: None,
            context: None,
            restore_config: false,
            config_allow: None,
            restart_at_most: 0.3,
            suspends_sync: false,
        }
    }

    #[test]
    fn a_target_needs_what_its_kind_and_its_way_of_stopping_traffic_need() {
        let said = |form: &KubernetesTarget| needed(form).map(ToString::to_string).collect::<Vec<_>>();
        let deployment = said(&form(Workload::Deployment("shop".to_owned()), StopTraffic::Scale));
        for (permission, is_needed) in [
            ("patch deployments.apps", true),
            ("watch replicasets.apps", true),
            ("patch statefulsets.apps", false),
            ("list controllerrevisions.apps", false),
            ("get services", false),
            ("get pods/log", true),
            ("update leases.coordination.k8s.io", true),
            ("watch secrets", true),
            ("patch configmaps", false),
        ] {
            assert_eq!(deployment.iter().any(|one| one == permission), is_needed, "{permission}: {deployment:?}");
        }
        let restoring = KubernetesTarget {
            restore_config: true,
            config_allow: Some(vec!["settings".to_owned()]),
            ..form(Workload::Deployment("shop".to_owned()), StopTraffic::Scale)
        };
        let patch = needed(&restoring).find(|one| one.to_string() == "patch configmaps").expect("it puts them back");
        assert_eq!(patch.object(&restoring).as_deref(), Some("settings"));
        assert!(!said(&restoring).iter().any(|one| one == "watch secrets"), "the names say which");
        let daemon_set = said(&form(Workload::DaemonSet("shop".to_owned()), StopTraffic::Selector));
        assert!(daemon_set.iter().any(|one| one == "list controllerrevisions.apps"), "{daemon_set:?}");
        assert!(daemon_set.iter().any(|one| one == "patch services"), "{daemon_set:?}");
    }

    #[test]
    fn no_permission_stands_there_twice_and_each_is_a_rule() {
        for (place, one) in PERMISSIONS.iter().enumerate() {
            let is_same = |other: &Permission| (other.to_string(), other.scope) == (one.to_string(), one.scope);
            assert!(!PERMISSIONS[..place].iter().any(is_same), "{one} stands there twice");
        }
        assert_eq!(PERMISSIONS[3].rule(), "{apiGroups: [apps], resources: [deployments], verbs: [patch]}");
        let form = form(Workload::Deployment("shop".to_owned()), StopTraffic::Selector);
        let objects: Vec<String> = needed(&form).filter_map(|permission| permission.object(&form)).collect();
        assert!(
            needed(&form).all(|permission| permission.scope != Scope::Owner),
            "who owns it is not known by its form"
        );
        let words = |group: &str, plural: &str| at_owners(group, plural).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            words("helm.toolkit.fluxcd.io", "helmreleases"),
            ["get", "list", "watch", "patch"].map(|verb| format!("{verb} helmreleases.helm.toolkit.fluxcd.io"))
        );
        assert_eq!(words("source.toolkit.fluxcd.io", "buckets").len(), 3, "a source is only looked at");
        assert!(words("apps", "deployments").is_empty());
        assert_eq!(objects, ["shop", "shop", "front", "front", "backstop-deployment-shop", "backstop-deployment-shop"]);
    }
}
