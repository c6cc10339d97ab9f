//! Deletes pods that fail, so that their controller makes others: a bounded share, and never one that serves.

use super::pods::{Health, Pod, Unready};
use tokio::time::Instant;

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
