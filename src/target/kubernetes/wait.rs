//! Waits for a rollout, as `kubectl rollout status` does.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::{
    KubernetesTarget,
    clusters::Sight,
    pods::Health,
    revision,
    rollout::{Rollout, rollout},
    seen,
    workload::Kind,
};
use crate::{core::name::Version, target::TargetError};

/// Between two looks at a rollout that is waited for.
const ROLLOUT_POLL: Duration = Duration::from_millis(500);

impl KubernetesTarget {
    pub(super) async fn wait_rollout(&self, wanted: &Version, within: Duration) -> Result<String, TargetError> {
        let until = Instant::now() + within;
        // Bounded by `until`.
        loop {
            // From the copies: each look costs the API server nothing, and a change shows at once.
            let last = match self.clusters.sight(&self.form, self.kind, self.number).await {
                Ok(sight) => match (self.identify(&sight), rollout(self.kind, &sight.workload)) {
                    (Ok(live), Rollout::Complete) if live.version == *wanted => {
                        return Ok(format!("{wanted} is rolled out"));
                    }
                    (Ok(live), Rollout::Failed(why)) if live.version == *wanted => {
                        return Err(TargetError::RolloutFailed { wanted: wanted.clone(), why });
                    }
                    (Ok(live), Rollout::ByHand) if live.version == *wanted => {
                        return Err(TargetError::ByHand { wanted: wanted.clone() });
                    }
                    (Ok(live), Rollout::UnderWay(what)) if live.version == *wanted => {
                        self.unblock(&sight).await?;
                        what
                    }
                    (Ok(live), _) => format!("{} is", live.version),
                    (Err(why), _) => format!("failed to {why}"),
                },
                Err(error) => format!("failed to {error}"),
            };
            if Instant::now() + ROLLOUT_POLL >= until {
                return Err(TargetError::NotYetLive { wanted: wanted.clone(), last });
            }
            time::sleep(ROLLOUT_POLL).await;
        }
    }

    /// A StatefulSet waits for the pod of the accused release to become ready before it exchanges it, which it never does:
    /// Kubernetes' documentation calls that forced rollback, and leaves it to people. So pods of another revision than the
    /// workload's are deleted where they fail; never one that serves.
    async fn unblock(&self, sight: &Sight) -> Result<(), TargetError> {
        if self.kind != Kind::StatefulSet {
            return Ok(());
        }
        let revisions = sight.revisions(self.kind);
        let Some(current) = revision::current(&sight.workload, &revisions) else { return Ok(()) };
        let blocking = seen::pods(self.kind, sight).into_iter().filter(|pod| pod.revision != current.pod_label);
        let blocking = blocking.filter(|pod| matches!(pod.health, Health::Failing(_)));
        self.delete_pods(blocking.collect()).await
    }
}
