//! Deletes pods that fail, so that their controller makes others: a bounded share, and never one that serves.

use std::sync::PoisonError;

use kube::api::{DeleteParams, Preconditions};
use tokio::time::Instant;

use super::{
    KubernetesTarget,
    pods::{Health, Pod, Unready},
    seen,
    server::ask,
    workload::resource,
};
use crate::target::TargetError;

impl KubernetesTarget {
    /// Deletes pods that fail: a bounded share, and never one that serves.
    pub(in crate::target) async fn restart_failing(&self) -> Result<String, TargetError> {
        let sight = self.clusters.sight(&self.form, self.kind, self.number).await?;
        let chosen: Vec<(Pod, String)> = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let pods = seen::pods(self.kind, &sight);
            let chosen = chosen(&pods, seen.unready(), self.form.restart_at_most, Instant::now());
            chosen.into_iter().map(|(pod, why)| (pod.clone(), why)).collect()
        };
        let notes = self.delete_pods(chosen).await?;
        Ok(if notes.is_empty() { "no pod fails".to_owned() } else { format!("deleted {}", notes.join(", ")) })
    }

    /// Deletes pods as they were read; says which are gone, and why they had to go. One that has changed since, and may
    /// serve by now, stays: the next look sees it.
    pub(super) async fn delete_pods(&self, pods: Vec<(Pod, String)>) -> Result<Vec<String>, TargetError> {
        if pods.is_empty() {
            return Ok(Vec::new());
        }
        self.lease.hold(&self.clusters.client(&self.form).await?).await?;
        let api = self.api(&resource("", "Pod")).await?;
        let mut notes = Vec::new();
        for (Pod { name, uid, resource_version, .. }, why) in pods {
            // Another pod of the same name is another: those of a StatefulSet are called alike.
            let preconditions = Some(Preconditions { uid: Some(uid), resource_version });
            let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
            match ask(&format!("delete pod {}/{name}", self.form.namespace), api.delete(&name, &parameters)).await {
                Ok(_) => notes.push(format!("{name} ({why})")),
                Err(error) if matches!(error.code(), Some(404 | 409)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(notes)
    }
}

/// Which pods are deleted, and why: the first of those that fail, by name, no more than `share` of all pods and at least
/// one.
pub(super) fn chosen<'a>(pods: &'a [Pod], unready: &Unready, share: f64, now: Instant) -> Vec<(&'a Pod, String)> {
    // Rounded down: of three pods, thirty percent are none, and then it is one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let limit = ((pods.len() as f64 * share.clamp(0.0, 1.0)) as usize).max(1);
    pods.iter()
        .filter(|pod| pod.health != Health::Ready)
        .filter_map(|pod| Some((pod, unready.failure(pod, now)?)))
        .take(limit)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let starting = Health::Unready { why: "not ready", patience: std::time::Duration::ZERO };
        for (healths, share, expected) in [
            (vec![Health::Ready, failing(), failing()], 0.3, vec!["p1"]),
            (vec![Health::Ready, failing(), failing(), failing()], 0.5, vec!["p1", "p2"]),
            (vec![Health::Ready, starting], 1.0, vec![]),
            (vec![Health::Ready], 1.0, vec![]),
            (vec![failing(), failing()], 1.0, vec!["p0", "p1"]),
        ] {
            let pods = of(&healths);
            let chosen = chosen(&pods, &Unready::default(), share, Instant::now());
            assert_eq!(chosen.iter().map(|(pod, _)| pod.name.as_str()).collect::<Vec<_>>(), expected);
        }
    }
}
