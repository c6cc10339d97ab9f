//! Where a rollout stands: the same questions in the same order as `kubectl rollout status` asks, for each kind.

use kube::core::DynamicObject;
use serde_json::Value;

use super::workload::{Kind, field, number, text};

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rollout {
    /// Every pod is of the newest release, and there are as many as wanted.
    Complete,
    /// Still going on; with what is waited for.
    UnderWay(String),
    /// The cluster itself has given it up.
    Failed(String),
    /// Its pods are exchanged only when people delete them.
    ByHand,
}

/// Where the rollout of a workload stands.
pub(super) fn rollout(kind: Kind, object: &DynamicObject) -> Rollout {
    let generation = object.metadata.generation.unwrap_or(0);
    if number(object, "/status/observedGeneration", 0) < generation {
        return Rollout::UnderWay("the controller has not seen the change yet".to_owned());
    }
    match kind {
        Kind::Deployment => deployment(object),
        Kind::StatefulSet => stateful_set(object),
        Kind::DaemonSet => daemon_set(object),
    }
}

/// Whether the newest release was rolled out once, whatever has become of its pods since: what fails of them is not the
/// rollout's. A Deployment's controller and a StatefulSet's keep that in the status until the next release comes; a
/// DaemonSet's does not, and there it is enough that no pod of an older release is left.
pub(super) fn was_completed(kind: Kind, object: &DynamicObject) -> bool {
    if number(object, "/status/observedGeneration", 0) < object.metadata.generation.unwrap_or(0) {
        return false;
    }
    let status = |name: &str| number(object, &format!("/status/{name}"), 0);
    match kind {
        Kind::Deployment => {
            let (wanted, updated) = (number(object, "/spec/replicas", 1), status("updatedReplicas"));
            let reason = condition(object, "Progressing").map(|one| one.get("reason").and_then(Value::as_str));
            let none_is_older = status("replicas") <= updated;
            match reason {
                Some(reason) => none_is_older && reason == Some("NewReplicaSetAvailable"),
                // Without a progress deadline nothing is kept.
                None => none_is_older && updated >= wanted,
            }
        }
        Kind::StatefulSet => {
            let newest = text(object, "/status/updateRevision");
            newest.is_some() && newest == text(object, "/status/currentRevision")
        }
        Kind::DaemonSet => status("updatedNumberScheduled") >= status("desiredNumberScheduled"),
    }
}

fn deployment(object: &DynamicObject) -> Rollout {
    if let Some(condition) = condition(object, "Progressing")
        && condition.get("reason").and_then(Value::as_str) == Some("ProgressDeadlineExceeded")
    {
        let deadline = number(object, "/spec/progressDeadlineSeconds", 600);
        return Rollout::Failed(format!("it made no progress within {deadline} s"));
    }
    let wanted = number(object, "/spec/replicas", 1);
    let all = number(object, "/status/replicas", 0);
    let updated = number(object, "/status/updatedReplicas", 0);
    let available = number(object, "/status/availableReplicas", 0);
    if updated < wanted {
        Rollout::UnderWay(format!("{updated} of {wanted} new replicas"))
    } else if all > updated {
        Rollout::UnderWay(format!("{} old replicas are still to end", all - updated))
    } else if available < updated {
        Rollout::UnderWay(format!("{available} of {updated} new replicas are available"))
    } else {
        Rollout::Complete
    }
}

fn stateful_set(object: &DynamicObject) -> Rollout {
    if is_by_hand(object) {
        return Rollout::ByHand;
    }
    let wanted = number(object, "/spec/replicas", 1);
    let ready = number(object, "/status/readyReplicas", 0);
    if ready < wanted {
        return Rollout::UnderWay(format!("{ready} of {wanted} replicas are ready"));
    }
    let updated = number(object, "/status/updatedReplicas", 0);
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition", 0);
    if partition > 0 {
        let due = (wanted - partition).max(0);
        return if updated < due {
            Rollout::UnderWay(format!("{updated} of {due} new replicas, with a partition of {partition}"))
        } else {
            Rollout::Complete
        };
    }
    if text(object, "/status/updateRevision") == text(object, "/status/currentRevision") {
        Rollout::Complete
    } else {
        Rollout::UnderWay(format!("{updated} of {wanted} new replicas"))
    }
}

fn daemon_set(object: &DynamicObject) -> Rollout {
    if is_by_hand(object) {
        return Rollout::ByHand;
    }
    let wanted = number(object, "/status/desiredNumberScheduled", 0);
    let updated = number(object, "/status/updatedNumberScheduled", 0);
    let available = number(object, "/status/numberAvailable", 0);
    if updated < wanted {
        Rollout::UnderWay(format!("{updated} of {wanted} new pods"))
    } else if available < wanted {
        Rollout::UnderWay(format!("{available} of {wanted} pods are available"))
    } else {
        Rollout::Complete
    }
}

fn is_by_hand(object: &DynamicObject) -> bool {
    text(object, "/spec/updateStrategy/type") == Some("OnDelete")
}

/// A condition of the object's status, by its type.
fn condition<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a Value> {
    let conditions = field(object, "/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::workload::tests::object, *};

    #[expect(clippy::needless_pass_by_value, reason = "rows of tables are written where they are used")]
    fn status(kind: Kind, spec: Value, status: Value) -> String {
        let all = json!({
            "apiVersion": "apps/v1", "kind": kind.as_str(), "metadata": {"name": "shop", "generation": 3},
            "spec": spec, "status": status,
        });
        match rollout(kind, &object(all)) {
            Rollout::Complete => "complete".to_owned(),
            Rollout::UnderWay(what) => what,
            Rollout::Failed(why) => format!("failed: {why}"),
            Rollout::ByHand => "by hand".to_owned(),
        }
    }

    #[test]
    fn deployments_as_kubectl_judges_them() {
        let cases = [
            (json!({"replicas": 3}), json!({"observedGeneration": 2}), "the controller has not seen the change yet"),
            (json!({"replicas": 3}), json!({"observedGeneration": 3}), "0 of 3 new replicas"),
            (
                json!({"replicas": 3}),
                json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 4}),
                "1 old replicas are still to end",
            ),
            (
                json!({"replicas": 3}),
                json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}),
                "2 of 3 new replicas are available",
            ),
            (
                json!({"replicas": 3}),
                json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
                "complete",
            ),
            (json!({"replicas": 0}), json!({"observedGeneration": 3}), "complete"),
            (
                json!({"replicas": 3, "progressDeadlineSeconds": 20}),
                json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "conditions": [
                    {"type": "Available", "status": "True"},
                    {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
                ]}),
                "failed: it made no progress within 20 s",
            ),
        ];
        for (spec, of, expected) in cases {
            assert_eq!(status(Kind::Deployment, spec, of), expected);
        }
    }

    #[test]
    fn stateful_sets_and_daemon_sets_too() {
        let strategy = |partition: i64| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        let revisions = |ready: i64, updated: i64, current: &str| {
            json!({"observedGeneration": 3, "readyReplicas": ready, "updatedReplicas": updated,
                "updateRevision": "b", "currentRevision": current})
        };
        let set = |partition: i64| json!({"replicas": 3, "updateStrategy": strategy(partition)});
        for (spec, of, expected) in [
            (set(0), revisions(2, 1, "a"), "2 of 3 replicas are ready"),
            (set(0), revisions(3, 1, "a"), "1 of 3 new replicas"),
            (set(0), revisions(3, 3, "b"), "complete"),
            (set(2), revisions(3, 0, "a"), "0 of 1 new replicas, with a partition of 2"),
            (set(2), revisions(3, 1, "a"), "complete"),
            (json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}}), revisions(3, 3, "b"), "by hand"),
        ] {
            assert_eq!(status(Kind::StatefulSet, spec, of), expected);
        }
        let daemons = |updated: i64, available: i64| {
            json!({"observedGeneration": 3, "desiredNumberScheduled": 3, "updatedNumberScheduled": updated,
                "numberAvailable": available})
        };
        for (of, expected) in [
            (daemons(1, 3), "1 of 3 new pods"),
            (daemons(3, 2), "2 of 3 pods are available"),
            (daemons(3, 3), "complete"),
        ] {
            assert_eq!(status(Kind::DaemonSet, json!({}), of), expected);
        }
    }

    #[test]
    fn a_rollout_that_was_through_stays_so_until_the_next() {
        let of = |kind: Kind, spec: Value, status: Value| {
            was_completed(
                kind,
                &object(json!({
                    "apiVersion": "apps/v1", "kind": kind.as_str(), "metadata": {"name": "shop", "generation": 3},
                    "spec": spec, "status": status,
                })),
            )
        };
        let deployment = |generation: i64, all: i64, updated: i64, reason: &str| {
            let conditions =
                if reason.is_empty() { json!([]) } else { json!([{"type": "Progressing", "reason": reason}]) };
            json!({"observedGeneration": generation, "replicas": all, "updatedReplicas": updated,
                "availableReplicas": updated - 1, "conditions": conditions})
        };
        for (status, expected) in [
            (deployment(3, 4, 4, "NewReplicaSetAvailable"), true),
            (deployment(3, 3, 3, "NewReplicaSetAvailable"), true),
            (deployment(2, 4, 4, "NewReplicaSetAvailable"), false),
            (deployment(3, 5, 4, "NewReplicaSetAvailable"), false),
            (deployment(3, 4, 4, "ReplicaSetUpdated"), false),
            (deployment(3, 4, 4, "ProgressDeadlineExceeded"), false),
            (deployment(3, 4, 4, ""), true),
            (deployment(3, 3, 3, ""), false),
        ] {
            assert_eq!(of(Kind::Deployment, json!({"replicas": 4}), status.clone()), expected, "{status}");
        }
        for (current, expected) in [("b", true), ("a", false)] {
            let status =
                json!({"observedGeneration": 3, "readyReplicas": 1, "updateRevision": "b", "currentRevision": current});
            assert_eq!(of(Kind::StatefulSet, json!({"replicas": 3}), status), expected, "{current}");
        }
        for (updated, expected) in [(3, true), (2, false)] {
            let status = json!({"observedGeneration": 3, "desiredNumberScheduled": 3, "updatedNumberScheduled": updated,
                "numberAvailable": 1});
            assert_eq!(of(Kind::DaemonSet, json!({}), status), expected, "{updated}");
        }
    }
}
