//! Deletes pods that fail, so that their controller makes others: a bounded share, and never one that serves.

use std::time::Duration;

use kube::{
    Api,
    api::{DeleteParams, ListParams, Preconditions},
    core::DynamicObject,
};
use tokio::time::Instant;

use super::{
    KubernetesError, KubernetesTarget,
    pods::{Health, Pod, pod},
    server::ask,
    workload::resource,
    write::{Try, until_written},
};
use crate::{core::release::Instance, target::TargetError};

/// Pods of one plan, whatever the share allows: each takes two requests, and all of them no more than the step's time.
const PODS_LIMIT: usize = 50;

impl KubernetesTarget {
    /// Deletes these pods and no others: each as it is read just before, and none that serves by then.
    pub(super) async fn restart_failing(
        &self,
        instances: &[Instance],
        within: Duration,
    ) -> Result<String, TargetError> {
        let until = Instant::now() + within;
        let api = &self.api(&resource("", "Pod")).await?;
        let mut notes = Vec::new();
        for instance in instances {
            let left = until.saturating_duration_since(Instant::now());
            let said = until_written(left, || self.restart_one(api, instance)).await?;
            notes.push(format!("{} {said}", instance.name));
        }
        Ok(notes.join(", "))
    }

    async fn restart_one(&self, api: &Api<DynamicObject>, instance: &Instance) -> Result<Try, TargetError> {
        let Instance { name, id, .. } = instance;
        let what = format!("read pod {}/{name}", self.form.namespace);
        let is_gone = || Ok(Try::Done("is gone already".to_owned()));
        // As a list of one: who may watch may list, and needs no other permission.
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let Some(object) = ask(&what, api.list(&only)).await?.items.pop() else { return is_gone() };
        let resource_version = match decide(&object, id, self.kind.revision_label()) {
            Decision::Leave(why) => return Ok(Try::Done(why.to_owned())),
            Decision::Delete(resource_version) => resource_version,
        };
        self.lease.hold(&self.clusters.client(&self.form).await?).await?;
        match self.delete_pod(api, name, id, resource_version).await {
            Ok(()) => Ok(Try::Done("deleted".to_owned())),
            Err(error) if error.code() == Some(404) => is_gone(),
            // Its status was written in between: it may serve by now.
            Err(error) if error.is_conflict() => Ok(Try::Refused(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes pods as they were read. One that has changed since, and may serve by now, stays: the next look sees it.
    pub(super) async fn delete_pods(&self, pods: Vec<Pod>) -> Result<(), TargetError> {
        if pods.is_empty() {
            return Ok(());
        }
        self.lease.hold(&self.clusters.client(&self.form).await?).await?;
        let api = self.api(&resource("", "Pod")).await?;
        for Pod { name, uid, resource_version, .. } in pods {
            match self.delete_pod(&api, &name, &uid, resource_version).await {
                Err(error) if !matches!(error.code(), Some(404 | 409)) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Another pod of the same name is another: those of a `StatefulSet` are called alike.
    async fn delete_pod(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        uid: &str,
        resource_version: Option<String>,
    ) -> Result<(), KubernetesError> {
        let preconditions = Some(Preconditions { uid: Some(uid.to_owned()), resource_version });
        let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
        ask(&format!("delete pod {}/{name}", self.form.namespace), api.delete(name, &parameters)).await.map(drop)
    }
}

/// Which pods would be deleted, and why: the first of those that fail, by name, no more than `share` of all of them and at
/// least one.
pub(super) fn chosen(pods: &[&Pod], fails: impl Fn(&Pod) -> Option<String>, share: f64) -> Vec<Instance> {
    // Rounded down: of three pods, thirty percent are none, and then it is one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let limit = ((pods.len() as f64 * share.clamp(0.0, 1.0)) as usize).clamp(1, PODS_LIMIT);
    pods.iter()
        .filter(|pod| pod.health != Health::Ready)
        .filter_map(|pod| {
            let why = fails(pod)?;
            Some(Instance { name: pod.name.clone(), id: pod.uid.clone(), why })
        })
        .take(limit)
        .collect()
}

/// What becomes of a pod that a plan has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing; in words that follow its name.
    Leave(&'static str),
    /// It is deleted, if this is still the state that was read.
    Delete(Option<String>),
}

/// Decides by the pod as it was just read under the name of the one that was chosen.
pub(super) fn decide(object: &DynamicObject, chosen: &str, revision_label: &str) -> Decision {
    match pod(object, revision_label) {
        // Those of a StatefulSet are called alike.
        Some(pod) if pod.uid != chosen => Decision::Leave("is another one by now"),
        Some(pod) if pod.health == Health::Ready => Decision::Leave("serves by now"),
        Some(pod) => Decision::Delete(pod.resource_version),
        None => Decision::Leave("has ended already"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::workload::tests::object, *};

    fn pod(name: &str, health: Health) -> Pod {
        Pod {
            name: name.to_owned(),
            uid: name.to_owned(),
            resource_version: None,
            revision: "a".to_owned(),
            health,
            restarts: 0,
            images: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_bounded_share_and_never_one_that_serves() {
        let failing = || Health::Failing("CrashLoopBackOff".to_owned());
        let of = |healths: &[Health]| -> Vec<Pod> {
            healths.iter().enumerate().map(|(place, health)| pod(&format!("p{place}"), health.clone())).collect()
        };
        let fails = |pod: &Pod| if let Health::Failing(why) = &pod.health { Some(why.clone()) } else { None };
        let starting = Health::Unready { why: "not ready", patience: std::time::Duration::ZERO };
        for (healths, share, expected) in [
            (vec![Health::Ready, failing(), failing()], 0.3, vec!["p1"]),
            (vec![Health::Ready, failing(), failing(), failing()], 0.5, vec!["p1", "p2"]),
            (vec![Health::Ready, starting], 1.0, vec![]),
            (vec![Health::Ready], 1.0, vec![]),
            (vec![failing(), failing()], 1.0, vec!["p0", "p1"]),
        ] {
            let pods = of(&healths);
            let chosen = chosen(&pods.iter().collect::<Vec<_>>(), fails, share);
            assert_eq!(chosen.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), expected);
        }
        let many = vec![failing(); 3 * PODS_LIMIT];
        let pods = of(&many);
        assert_eq!(chosen(&pods.iter().collect::<Vec<_>>(), fails, 1.0).len(), PODS_LIMIT);
    }

    #[test]
    fn what_was_chosen_is_looked_at_once_more() {
        let of = |uid: &str, ready: &str, phase: &str| {
            object(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "shop-0", "uid": uid, "resourceVersion": "7", "labels": {"pod-template-hash": "a"}},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
            }))
        };
        for (uid, ready, phase, expected) in [
            ("u", "False", "Running", Decision::Delete(Some("7".to_owned()))),
            ("u", "True", "Running", Decision::Leave("serves by now")),
            ("other", "False", "Running", Decision::Leave("is another one by now")),
            ("u", "False", "Failed", Decision::Leave("has ended already")),
        ] {
            assert_eq!(decide(&of(uid, ready, phase), "u", "pod-template-hash"), expected);
        }
    }
}
